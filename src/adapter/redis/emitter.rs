//! Sending to the clients of a cluster from a process that serves none.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::{Cmd, ErrorKind, PushInfo, PushKind};
use serde::Serialize;
use tokio::sync::Mutex;

use super::{
    RedisAdapter, RedisError, RedisStreamsAdapter, ShardedRedisAdapter,
    endpoint::Endpoint,
    server::{self, Server},
    streams::{MAX_LEN, entry},
};
use crate::{
    adapter::{
        message::{EMITTER, Message, Sending, Uid, is_kept_by_servers},
        wire::{
            classic::{self, Channel},
            envelope,
        },
    },
    packet::{EncodeError, Payload},
    room::{IntoRooms, Target},
};

/// Sends to the clients of a cluster from a process that serves none: a job, a command, another
/// service. In JavaScript `new Emitter(redisClient)` of `@socket.io/redis-emitter` 5 or of
/// `@socket.io/redis-streams-emitter`; Greenroom servers and Node.js servers with the adapter of
/// that kind hear it.
///
/// For a Redis Cluster, TLS, or another prefix it is made from an adapter:
/// `RedisEmitter::from(ShardedRedisAdapter::cluster(urls)?)`.
///
/// It needs tokio, and neither actix nor a server. Clones share a connection, which is made when
/// something is first sent, and again when it broke. What one task sends arrives in its order, if it
/// awaits one after the other. Nothing is kept back: what could not be sent is an error at once.
///
/// ```no_run
/// use greenroom::{RedisEmitError, RedisEmitter};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let chat = RedisEmitter::new("redis://127.0.0.1:6379")?.of("/chat");
///     chat.to("general").except("muted").emit("news", &("it rains", 7)).await?;
///     chat.to("general").join("archive").await?;
///     chat.to("banned").disconnect(true).await?;
///     chat.server_side_emit("reload", "settings").await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisEmitter {
    shared: Arc<Shared>,
    form: Form,
    key: Arc<str>,
    max_len: usize,
    stream_count: usize,
    only_plaintext: bool,
    namespace: Arc<str>,
    target: Target,
    sending: Sending,
}

/// What the servers listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Classic,
    Sharded,
    Streams,
}

/// Why an emitter has not sent something, or may not have.
///
/// ```no_run
/// # use greenroom::{RedisEmitError, RedisEmitter};
/// # async fn tell(emitter: RedisEmitter) {
/// match emitter.to("general").emit("news", "it rains").await {
///     Ok(()) => {}
///     Err(RedisEmitError::Unconfirmed(error)) => eprintln!("perhaps they know: {error}"),
///     Err(error) => eprintln!("nobody knows: {error}"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum RedisEmitError {
    /// The event's name is reserved, or its data has no JSON form. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Redis could not be reached. Nothing was sent.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// Redis did not take it, for instance because the user may not publish there. Nothing was sent.
    #[error("Redis refused: {0}")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, or Redis has not answered within 5 s: it was sent or it was not.
    #[error("Redis has not confirmed it: {0}")]
    Unconfirmed(#[source] Box<dyn Error + Send + Sync>),
}

impl RedisEmitter {
    /// An emitter for servers with [`RedisAdapter`], or with `createAdapter` of
    /// `@socket.io/redis-adapter`, on the Redis at `url`, see [`RedisAdapter::new`]. It sends to the
    /// namespace `/`. Nothing is connected yet.
    ///
    /// # Errors
    /// If `url` is no such address.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        RedisAdapter::new(url).map(Self::from)
    }

    /// The same for servers with [`ShardedRedisAdapter`], or with `createShardedAdapter` of
    /// `@socket.io/redis-adapter`, in any of its subscription modes (Redis 7): it sends to the channel
    /// that all of them hear.
    ///
    /// # Errors
    /// As [`RedisEmitter::new`].
    pub fn sharded(url: &str) -> Result<Self, RedisError> {
        ShardedRedisAdapter::new(url).map(Self::from)
    }

    /// The same for servers with [`RedisStreamsAdapter`], or with `@socket.io/redis-streams-adapter`, and a
    /// single stream. With several it is made from an adapter.
    ///
    /// # Errors
    /// As [`RedisEmitter::new`].
    pub fn streams(url: &str) -> Result<Self, RedisError> {
        RedisStreamsAdapter::new(url).map(Self::from)
    }

    fn at(endpoint: &Endpoint, form: Form, key: Arc<str>) -> Self {
        let shared = Shared { server: endpoint.server(), connection: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            form,
            key,
            max_len: MAX_LEN,
            stream_count: 1,
            only_plaintext: false,
            namespace: "/".into(),
            target: Target::everyone(),
            sending: Sending::default(),
        }
    }

    /// What the names of the channels begin with, or the name of the stream, as on the servers.
    /// Default `socket.io`.
    pub fn key(mut self, key: &str) -> Self {
        self.key = key.into();
        self
    }

    /// How many entries the stream keeps, about; the oldest ones go when one is added. Default 10,000,
    /// as on the servers. Of no meaning without streams.
    pub fn max_len(mut self, entries: usize) -> Self {
        self.max_len = entries;
        self
    }

    /// The same for another namespace. A slash is put before a name that has none.
    pub fn of(&self, namespace: &str) -> Self {
        let namespace = match namespace.starts_with('/') {
            true => namespace.into(),
            false => format!("/{namespace}").into(),
        };
        Self { namespace, ..self.clone() }
    }

    /// To the members of one room or several, together with those selected before. Without it,
    /// everybody in the namespace is meant.
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        let mut selected = self.clone();
        selected.target = selected.target.and(rooms);
        selected
    }

    /// The same as [`RedisEmitter::to`].
    pub fn within(&self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the members of one room or several.
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        let mut selected = self.clone();
        selected.target = selected.target.except(rooms);
        selected
    }

    /// Events are dropped for every receiver that cannot take them at once.
    pub fn volatile(&self) -> Self {
        let sending = Sending { volatile: true, ..self.sending };
        Self { sending, ..self.clone() }
    }

    /// Whether transports that compress may compress the events. Default `true`.
    pub fn compress(&self, compress: bool) -> Self {
        let sending = Sending { compress, ..self.sending };
        Self { sending, ..self.clone() }
    }

    /// Sends an event to the selected sockets. It is encoded by the call, and sent when the future is
    /// awaited, which ends when Redis has it. Whether a server has heard it is not known.
    ///
    /// # Errors
    /// See [`RedisEmitError`].
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> impl Future<Output = Result<(), RedisEmitError>> + Send + use<T> {
        let (target, sending) = (self.target.clone(), self.sending);
        let message = Payload::event(event, data).map(|payload| Message::Broadcast {
            payload,
            target,
            sending,
            request: None,
        });
        self.say(message)
    }

    /// Lets the selected sockets join one room or several, wherever they are.
    ///
    /// # Errors
    /// See [`RedisEmitError`].
    pub fn join<R: IntoRooms>(
        &self,
        rooms: R,
    ) -> impl Future<Output = Result<(), RedisEmitError>> + Send + use<R> {
        let rooms = rooms.into_rooms().collect();
        self.say(Ok(Message::Join { target: self.target.clone(), rooms }))
    }

    /// Lets the selected sockets leave one room or several, wherever they are.
    ///
    /// # Errors
    /// See [`RedisEmitError`].
    pub fn leave<R: IntoRooms>(
        &self,
        rooms: R,
    ) -> impl Future<Output = Result<(), RedisEmitError>> + Send + use<R> {
        let rooms = rooms.into_rooms().collect();
        self.say(Ok(Message::Leave { target: self.target.clone(), rooms }))
    }

    /// Disconnects the selected sockets; with `close`, closes their whole connections.
    ///
    /// # Errors
    /// See [`RedisEmitError`].
    pub fn disconnect(
        &self,
        close: bool,
    ) -> impl Future<Output = Result<(), RedisEmitError>> + Send + use<> {
        self.say(Ok(Message::Disconnect { target: self.target.clone(), close }))
    }

    /// Sends an event to all servers, in this namespace: to their
    /// [`Namespace::on_server_side`](crate::Namespace::on_server_side) listeners. Which sockets are
    /// selected does not matter. What they answer goes nowhere. Binary arrives as an object of its
    /// bytes, as with the official emitter, unless it goes by sharded pub/sub or a stream.
    ///
    /// # Errors
    /// See [`RedisEmitError`].
    pub fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> impl Future<Output = Result<(), RedisEmitError>> + Send + use<T> {
        let payload = match is_kept_by_servers(event) {
            true => Err(EncodeError::Reserved(event.to_owned())),
            false => Payload::event(event, data),
        };
        self.say(payload.map(|payload| Message::ServerSideEmit { payload, request: None }))
    }

    fn say(
        &self,
        message: Result<Message, EncodeError>,
    ) -> impl Future<Output = Result<(), RedisEmitError>> + Send + use<> {
        let command = message.map(|message| self.command(&message));
        let shared = Arc::clone(&self.shared);
        // By ordinary pub/sub, whose messages any server of a cluster takes.
        let in_one_place = self.form == Form::Classic;
        async move {
            match command? {
                Some(command) => shared.carry_out(command, in_one_place).await,
                None => Ok(()),
            }
        }
    }

    /// All forms have all that emitters say.
    fn command(&self, message: &Message) -> Option<Cmd> {
        let (uid, key, namespace) = (Uid::from(EMITTER), &*self.key, &*self.namespace);
        Some(match self.form {
            Form::Classic => {
                let (channel, bytes) = classic::write(message, &uid, namespace)?;
                let channel = match channel {
                    Channel::Broadcast(None) => format!("{key}#{namespace}#"),
                    Channel::Broadcast(Some(room)) => format!("{key}#{namespace}#{room}#"),
                    Channel::Request => format!("{key}-request#{namespace}#"),
                    Channel::Response => format!("{key}-response#{namespace}#"),
                };
                redis::cmd("PUBLISH").arg(channel).arg(bytes).take()
            }
            Form::Sharded => {
                let bytes = envelope::mixed(&envelope::write(message, &uid, namespace)?);
                redis::cmd("SPUBLISH").arg(format!("{key}#{namespace}#")).arg(bytes).take()
            }
            Form::Streams => {
                let written = entry::write(self.only_plaintext, &uid, namespace, message)?;
                let stream = entry::stream_of(key, self.stream_count, namespace);
                written.into_command(&stream, self.max_len, None).0
            }
        })
    }
}

/// For servers with an adapter of these settings: address, certificate, key.
impl From<RedisAdapter> for RedisEmitter {
    fn from(adapter: RedisAdapter) -> Self {
        Self::at(&adapter.endpoint, Form::Classic, adapter.key)
    }
}

/// For servers with an adapter of these settings: address, certificate, prefix.
impl From<ShardedRedisAdapter> for RedisEmitter {
    fn from(adapter: ShardedRedisAdapter) -> Self {
        Self::at(&adapter.endpoint, Form::Sharded, adapter.prefix)
    }
}

/// For servers with an adapter of these settings: address, certificate, streams.
impl From<RedisStreamsAdapter> for RedisEmitter {
    fn from(adapter: RedisStreamsAdapter) -> Self {
        let emitter = Self::at(&adapter.endpoint, Form::Streams, adapter.stream_name);
        Self {
            max_len: adapter.max_len,
            stream_count: adapter.stream_count,
            only_plaintext: adapter.only_plaintext,
            ..emitter
        }
    }
}

impl fmt::Debug for RedisEmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may have a password.
        f.debug_struct("RedisEmitter")
            .field("form", &self.form)
            .field("key", &self.key)
            .field("namespace", &self.namespace)
            .field("target", &self.target)
            .field("sending", &self.sending)
            .finish_non_exhaustive()
    }
}

/// The connection of an emitter and its clones.
struct Shared {
    server: Server,
    /// Held while it is made, so that one is.
    connection: Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    commands: server::Connection,
    broken: Arc<AtomicBool>,
}

impl Shared {
    async fn carry_out(&self, command: Cmd, in_one_place: bool) -> Result<(), RedisEmitError> {
        let connection = self.connection().await;
        let mut connection = connection.map_err(|e| RedisEmitError::Unreachable(e.into()))?;
        match connection.commands.carry_out(command, in_one_place).await {
            Ok(_) => Ok(()),
            Err(error) if is_refusal(&error) => Err(RedisEmitError::Refused(error.into())),
            Err(error) => {
                // Also one that has only fallen silent is not used again.
                connection.broken.store(true, Ordering::Relaxed);
                Err(RedisEmitError::Unconfirmed(error.into()))
            }
        }
    }

    /// The one that is there, or a new one.
    async fn connection(&self) -> redis::RedisResult<Connection> {
        let mut current = self.connection.lock().await;
        if let Some(usable) = current.as_ref().filter(|c| !c.broken.load(Ordering::Relaxed)) {
            return Ok(usable.clone());
        }
        *current = None;
        let broken = Arc::<AtomicBool>::default();
        let breaks = Arc::clone(&broken);
        let ears = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                breaks.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        let commands = self.server.connect(ears).await?;
        Ok(current.insert(Connection { commands, broken }).clone())
    }
}

/// Whether it is an answer, and says no.
fn is_refusal(error: &redis::RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}
