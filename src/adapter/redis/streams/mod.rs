//! The third Redis adapter: what concerns the clients goes over a stream, in which it stays for a
//! while, and what servers ask each other over ordinary pub/sub.

mod bus;
mod deposit;
pub(super) mod entry;
mod reader;
mod recall;

use std::{fmt, sync::Arc, time::Duration};

use self::bus::Streams;
use super::{PUBLISH_WITHIN, RedisError, endpoint::Endpoint, publisher::Publish};
use crate::adapter::{
    Adapter, BoxedAdapter,
    bus::{Bus, Connect, Inbox},
};

/// How many entries a stream keeps, about, as with the official adapter and emitter.
pub(super) const MAX_LEN: usize = 10_000;

/// Several servers over the streams of one Redis: together with Node.js servers that use
/// `createAdapter` of `@socket.io/redis-streams-adapter` 0.3 and with emitters of
/// `@socket.io/redis-streams-emitter`, where the options are the same.
///
/// Every broadcast goes to every server. A server that has lost its connection to Redis reads what it
/// missed when it is back, as far as the stream still has it. What it sends to others while Redis is
/// away waits until it is back, see [`publish_within`](Self::publish_within).
///
/// ```no_run
/// use greenroom::{RedisStreamsAdapter, SocketIo};
/// # fn main() -> Result<(), greenroom::RedisError> {
/// let adapter = RedisStreamsAdapter::new("redis://127.0.0.1:6379")?.max_len(100_000);
/// let builder = SocketIo::builder().adapter(adapter);
/// # let _ = builder; Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisStreamsAdapter {
    pub(super) endpoint: Endpoint,
    pub(super) stream_name: Arc<str>,
    pub(super) stream_count: usize,
    channel_prefix: Arc<str>,
    session_key_prefix: Arc<str>,
    pub(super) max_len: usize,
    read_count: usize,
    block_time: Duration,
    pub(super) only_plaintext: bool,
    sharded_pub_sub: bool,
    publish_within: Duration,
}

impl RedisStreamsAdapter {
    /// An adapter for the Redis at `url`, as [`RedisAdapter::new`](super::RedisAdapter::new) has it.
    /// Nothing is connected before the server starts.
    ///
    /// # Errors
    /// If `url` is no such address.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self::at(Endpoint::single(url)?))
    }

    /// An adapter for a Redis Cluster, see [`RedisAdapter::cluster`](super::RedisAdapter::cluster).
    /// Each stream is on one of its servers.
    ///
    /// # Errors
    /// If one is no address, or there is none.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, RedisError> {
        Ok(Self::at(Endpoint::cluster(urls)?))
    }

    fn at(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            stream_name: "socket.io".into(),
            stream_count: 1,
            channel_prefix: "socket.io".into(),
            session_key_prefix: "sio:session:".into(),
            max_len: MAX_LEN,
            read_count: 100,
            block_time: Duration::from_secs(5),
            only_plaintext: false,
            sharded_pub_sub: false,
            publish_within: PUBLISH_WITHIN,
        }
    }

    /// See [`RedisAdapter::root_certificate`](super::RedisAdapter::root_certificate).
    ///
    /// # Errors
    /// If it is no certificate.
    #[cfg(feature = "redis-tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Result<Self, RedisError> {
        self.endpoint.trust(pem.into())?;
        Ok(self)
    }

    /// The name of the stream, the same on all servers. Default `socket.io`.
    pub fn stream_name(mut self, name: &str) -> Self {
        self.stream_name = name.into();
        self
    }

    /// How many streams there are, the same on all servers; at least 1. With more than one their
    /// names end with `-0`, `-1` and so on, each namespace has one of them, and this server has a
    /// connection to each. Default 1.
    ///
    /// Node.js servers do not read the streams of about half of the namespaces, those whose name has a
    /// negative hash; this server reads them, and warns of it.
    pub fn stream_count(mut self, count: usize) -> Self {
        self.stream_count = count.max(1);
        self
    }

    /// What the names of all channels begin with, the same on all servers. Default `socket.io`.
    pub fn channel_prefix(mut self, prefix: &str) -> Self {
        self.channel_prefix = prefix.into();
        self
    }

    /// What the keys of sessions begin with that are kept for
    /// [recovery](crate::SocketIoBuilder::connection_state_recovery), the same on all servers. Default
    /// `sio:session:`.
    pub fn session_key_prefix(mut self, prefix: &str) -> Self {
        self.session_key_prefix = prefix.into();
        self
    }

    /// Entries that a stream keeps, or somewhat more. Redis forgets the oldest ones; a server that was
    /// away for longer misses them. Default 10,000.
    pub fn max_len(mut self, entries: usize) -> Self {
        self.max_len = entries;
        self
    }

    /// Entries that are read at a time; at least 1. Default 100.
    pub fn read_count(mut self, entries: usize) -> Self {
        self.read_count = entries.max(1);
        self
    }

    /// How long Redis waits for the next entry before it says that there is none, which shows that the
    /// connection is alive; at least 1 ms. Default 5 s.
    pub fn block_time(mut self, time: Duration) -> Self {
        self.block_time = time;
        self
    }

    /// Whether entries are JSON even if there is binary in the events, which then arrives as
    /// `{"type":"Buffer","data":[...]}`. Default `false`.
    pub fn only_plaintext(mut self, only: bool) -> Self {
        self.only_plaintext = only;
        self
    }

    /// Whether questions and answers go by the sharded pub/sub of Redis 7, the same on all servers:
    /// cheaper in a Redis Cluster. Default `false`.
    pub fn use_sharded_pub_sub(mut self, sharded: bool) -> Self {
        self.sharded_pub_sub = sharded;
        self
    }

    /// See [`RedisAdapter::publish_within`](super::RedisAdapter::publish_within).
    pub fn publish_within(mut self, time: Duration) -> Self {
        self.publish_within = time;
        self
    }

    fn publish(&self) -> Publish {
        if self.sharded_pub_sub { Publish::Sharded } else { Publish::Ordinary }
    }
}

impl fmt::Debug for RedisStreamsAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may have a password.
        f.debug_struct("RedisStreamsAdapter")
            .field("stream_name", &self.stream_name)
            .field("stream_count", &self.stream_count)
            .finish_non_exhaustive()
    }
}

impl Adapter for RedisStreamsAdapter {
    fn into_boxed(self) -> BoxedAdapter {
        BoxedAdapter(Some(Arc::new(self)))
    }
}

impl Connect for RedisStreamsAdapter {
    fn connect(&self, inbox: Inbox) -> Box<dyn Bus> {
        Box::new(Streams::new(self, inbox))
    }
}
