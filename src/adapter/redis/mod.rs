//! Clusters over Redis, in the formats of the official adapters for Node.js.
//!
//! [`publisher`] and [`subscriber`] are the driver: a connection each, which are made again whenever
//! they break. [`classic`] is the bus over channels of ordinary pub/sub, [`streams`] that
//! over streams.

mod classic;
mod publisher;
mod state;
mod streams;
mod subscriber;

use std::{fmt, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion};

use self::classic::Classic;
pub use self::streams::RedisStreamsAdapter;
use super::{
    Adapter, BoxedAdapter,
    bus::{Bus, Connect, Inbox},
};

/// How long a connection may take to be made, and a command to be answered, before the connection is
/// given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before a connection is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Several servers over one Redis, by ordinary pub/sub: together with Node.js servers that use
/// `createAdapter` of `@socket.io/redis-adapter` 8 and with emitters of `@socket.io/redis-emitter` 5,
/// where key and Redis are the same.
///
/// Every broadcast goes to every server. What is sent while Redis is away reaches the clients of this
/// server only; it goes on by itself, and takes part again when Redis is back.
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
    client: Client,
    key: Arc<str>,
    answers_to_one: bool,
}

/// An address of a Redis server that is none.
#[derive(Debug, thiserror::Error)]
#[error("no address of a Redis server: {0}")]
pub struct RedisError(#[from] redis::RedisError);

impl RedisAdapter {
    /// An adapter for the Redis at `url`: `redis://[user][:password@]host[:port][/database]`, or
    /// `unix:` and a path. Nothing is connected before the server starts.
    ///
    /// # Errors
    /// If `url` is no such address.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self { client: connectable(url)?, key: "socket.io".into(), answers_to_one: false })
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

fn connectable(url: &str) -> Result<Client, RedisError> {
    let info = url.into_connection_info()?;
    // Messages of subscriptions come beside the answers to commands.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(Client::open(info.set_redis_settings(settings))?)
}

fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
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
