//! Clusters over Redis, in the formats of the official adapters for Node.js.
//!
//! [`publisher`] and [`subscriber`] are the driver: a connection each, which are made again whenever
//! they break. [`classic`] is the bus over channels of ordinary pub/sub, [`sharded`] that over
//! channels of sharded pub/sub, [`streams`] that over streams. [`emitter`] sends without being a
//! server.

mod audience;
mod census;
mod classic;
mod emitter;
mod endpoint;
mod named;
mod publisher;
mod publishing;
mod queue;
mod recent;
mod roster;
mod server;
mod sharded;
mod state;
mod streams;
mod subscriber;
mod unanswered;
mod wants;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tracing::{debug, warn};

use self::{
    classic::Classic,
    endpoint::Endpoint,
    publisher::{Publish, Publisher},
    server::Server,
    sharded::Sharded,
    state::State,
    subscriber::{Heard, Subscriber},
};
pub use self::{
    emitter::{RedisEmitError, RedisEmitter},
    streams::RedisStreamsAdapter,
};
use super::{
    Adapter, BoxedAdapter,
    bus::{Bus, Connect, Inbox, Seat},
};

/// How long a connection may take to be made, and a command to be answered, before the connection is
/// given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long what is sent while Redis is away waits for it, if nothing else was said.
const PUBLISH_WITHIN: Duration = Duration::from_secs(60);

/// How long to wait before a connection is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Several servers over one Redis, by ordinary pub/sub: together with Node.js servers that use
/// `createAdapter` of `@socket.io/redis-adapter` 8 and with emitters of `@socket.io/redis-emitter` 5,
/// where key and Redis are the same.
///
/// Every broadcast goes to every server. While Redis is away this server goes on by itself; what it
/// sends to others waits until it is back, see [`publish_within`](Self::publish_within).
///
/// ```no_run
/// use greenroom::{RedisAdapter, SocketIo};
/// # fn main() -> Result<(), greenroom::RedisError> {
/// let builder = SocketIo::builder().adapter(RedisAdapter::new("redis://127.0.0.1:6379")?);
/// # let _ = builder; Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisAdapter {
    endpoint: Endpoint,
    key: Arc<str>,
    answers_to_one: bool,
    publish_within: Duration,
}

/// An address of a Redis server that is none, or a certificate that is none.
///
/// ```
/// use greenroom::RedisAdapter;
///
/// let error = RedisAdapter::new("localhost").unwrap_err();
/// assert!(error.to_string().starts_with("not the address of a Redis server"));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct RedisError {
    what: &'static str,
    source: redis::RedisError,
}

impl RedisError {
    fn address(source: redis::RedisError) -> Self {
        Self { what: "not the address of a Redis server, such as redis://localhost:6379", source }
    }

    #[cfg(feature = "redis-tls")]
    fn certificate(source: redis::RedisError) -> Self {
        Self { what: "not a certificate in PEM", source }
    }
}

impl RedisAdapter {
    /// An adapter for the Redis at `url`: `redis://[user][:password@]host[:port][/database]`, or
    /// `unix:` and a path. With the feature `redis-tls` also `rediss://`, which is the same over TLS.
    /// Nothing is connected before the server starts.
    ///
    /// # Errors
    /// If `url` is no such address.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self::at(Endpoint::single(url)?))
    }

    /// An adapter for a Redis Cluster, of which some servers are at `urls`; they know the others.
    /// All are reached with the user and the password of the first.
    ///
    /// # Errors
    /// If one is no address (see [`new`](Self::new)), or there is none.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, RedisError> {
        Ok(Self::at(Endpoint::cluster(urls)?))
    }

    fn at(endpoint: Endpoint) -> Self {
        let key = "socket.io".into();
        Self { endpoint, key, answers_to_one: false, publish_within: PUBLISH_WITHIN }
    }

    /// Whom to trust with `rediss://`: the certificate of an authority, or of the server itself, in
    /// PEM. Default: those that the system trusts.
    ///
    /// # Errors
    /// If it is no certificate.
    #[cfg(feature = "redis-tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Result<Self, RedisError> {
        self.endpoint.trust(pem.into())?;
        Ok(self)
    }

    /// What the names of all channels begin with, the same on all servers. Default `socket.io`.
    pub fn key(mut self, key: &str) -> Self {
        self.key = key.into();
        self
    }

    /// Whether answers go to the server that asked, and not to all of them, of which the others
    /// ignore them: cheaper with many servers, and understood by all of the adapter's versions since
    /// 7.1. Default `false`, as there.
    pub fn publish_on_specific_response_channel(mut self, specific: bool) -> Self {
        self.answers_to_one = specific;
        self
    }

    /// How long what is sent to other servers while Redis is away waits for it, at most 16,384 messages
    /// and 64 MiB; what waits longer is dropped and counted. Zero: nothing waits. Default 60 s.
    ///
    /// Volatile events never wait, and requests not longer than somebody waits for their answers.
    pub fn publish_within(mut self, time: Duration) -> Self {
        self.publish_within = time;
        self
    }
}

impl fmt::Debug for RedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may have a password.
        f.debug_struct("RedisAdapter").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Adapter for RedisAdapter {
    fn into_boxed(self) -> BoxedAdapter {
        BoxedAdapter(Some(Arc::new(self)))
    }
}

impl Connect for RedisAdapter {
    fn connect(&self, inbox: Inbox) -> Box<dyn Bus> {
        Box::new(Classic::new(self, inbox))
    }
}

/// Several servers over one Redis (7.0 or later), by sharded pub/sub: together with Node.js servers
/// that use `createShardedAdapter` of `@socket.io/redis-adapter` 8, where prefix, mode and Redis are
/// the same. In a Redis Cluster, other than with [`RedisAdapter`], its servers share the work.
///
/// A broadcast to one room goes only to the servers that have members there (see
/// [`SubscriptionMode`]). A join that was awaited with `join_confirmed` is done when Redis has
/// confirmed that this server hears the room.
///
/// ```no_run
/// use greenroom::{ShardedRedisAdapter, SocketIo};
/// # fn main() -> Result<(), greenroom::RedisError> {
/// let adapter = ShardedRedisAdapter::new("redis://127.0.0.1:6379")?;
/// let builder = SocketIo::builder().adapter(adapter);
/// # let _ = builder; Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ShardedRedisAdapter {
    endpoint: Endpoint,
    prefix: Arc<str>,
    mode: SubscriptionMode,
    publish_within: Duration,
}

/// Which rooms have a channel of their own; the same on all servers.
///
/// ```
/// use greenroom::{ShardedRedisAdapter, SubscriptionMode};
///
/// # fn main() -> Result<(), greenroom::RedisError> {
/// let adapter = ShardedRedisAdapter::new("redis://127.0.0.1:6379")?
///     .subscription_mode(SubscriptionMode::DynamicPrivate);
/// # let _ = adapter; Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// None: every broadcast goes to every server. Two subscriptions for each namespace.
    Static,
    /// Those whose name has not 20 characters, as the ids of sockets have. A subscription more for
    /// each room that has members.
    #[default]
    Dynamic,
    /// All, the rooms of single sockets too, so that what is sent to one socket goes to its server
    /// only. A subscription more for each socket.
    DynamicPrivate,
}

impl ShardedRedisAdapter {
    /// An adapter for the Redis at `url`, see [`RedisAdapter::new`].
    ///
    /// # Errors
    /// If `url` is no such address.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self::at(Endpoint::single(url)?))
    }

    /// An adapter for a Redis Cluster, see [`RedisAdapter::cluster`]. What is sent to one channel
    /// keeps its order; broadcasts to different rooms may be on different servers, and overtake each
    /// other, unless the prefix has braces, such as `{socket.io}`: then one server has all.
    ///
    /// # Errors
    /// If one is no address, or there is none.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, RedisError> {
        Ok(Self::at(Endpoint::cluster(urls)?))
    }

    fn at(endpoint: Endpoint) -> Self {
        let (prefix, mode) = ("socket.io".into(), SubscriptionMode::default());
        Self { endpoint, prefix, mode, publish_within: PUBLISH_WITHIN }
    }

    /// See [`RedisAdapter::root_certificate`].
    ///
    /// # Errors
    /// If it is no certificate.
    #[cfg(feature = "redis-tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Result<Self, RedisError> {
        self.endpoint.trust(pem.into())?;
        Ok(self)
    }

    /// What the names of all channels begin with, the same on all servers. Default `socket.io`.
    pub fn channel_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Which rooms have a channel of their own, the same on all servers. Default
    /// [`SubscriptionMode::Dynamic`].
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> Self {
        self.mode = mode;
        self
    }

    /// See [`RedisAdapter::publish_within`].
    pub fn publish_within(mut self, time: Duration) -> Self {
        self.publish_within = time;
        self
    }
}

impl fmt::Debug for ShardedRedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may have a password.
        let mut shown = f.debug_struct("ShardedRedisAdapter");
        shown.field("prefix", &self.prefix).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Adapter for ShardedRedisAdapter {
    fn into_boxed(self) -> BoxedAdapter {
        BoxedAdapter(Some(Arc::new(self)))
    }
}

impl Connect for ShardedRedisAdapter {
    fn connect(&self, inbox: Inbox) -> Box<dyn Bus> {
        Box::new(Sharded::new(self, inbox))
    }
}

/// Says that a namespace hears all when what is wanted now is in effect.
fn say_when_linked(subscriber: &Subscriber, inbox: &Inbox, seat: &Arc<Seat>) {
    let settled = subscriber.settled();
    let (inbox, seat) = (inbox.clone(), Arc::clone(seat));
    actix::spawn(async move {
        let heard = match settled {
            Some(settled) => settled.await.is_ok(),
            None => true,
        };
        if heard {
            inbox.linked(&seat);
        }
    });
}

/// What every bus over Redis begins with: a connection to publish, and one that hears.
struct Links {
    state: State,
    publisher: Publisher,
    subscriber: Subscriber,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Links {
    /// What is given while Redis is away is kept for `keep`.
    fn start(server: &Server, how: Publish, keep: Duration, inbox: &Inbox) -> Self {
        let state = State::new(inbox.clone());
        let metrics = inbox.metrics();
        let publisher = Publisher::start(server.clone(), how, keep, state.clone(), inbox.clone());
        let (subscriber, heard) =
            Subscriber::start(server.clone(), state.clone(), Arc::clone(metrics));
        Self { state, publisher, subscriber, heard }
    }
}

/// Says why there is no connection: once for each reason, not at each attempt.
#[derive(Default)]
struct Reason(String);

impl Reason {
    fn tell(&mut self, error: &redis::RedisError) {
        let reason = error.to_string();
        if self.0 == reason {
            return debug!(%error, "no connection to Redis");
        }
        warn!(%error, "no connection to Redis");
        self.0 = reason;
    }
}

/// How long to wait before the next attempt.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// Waits, each time longer, and not as long as others that have lost their connections too.
    async fn pause(&mut self) {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}
