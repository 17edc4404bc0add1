//! Layer 5: the handle that listeners get. One client in one namespace.

mod ack;
mod broadcast_acks;
mod catch_all;
mod cluster;
mod codec;
pub(crate) mod current;
mod data;
mod emit;
mod errors;
mod expiry;
mod facts;
mod full;
mod handshake;
pub(crate) mod home;
pub(crate) mod listeners;
pub(crate) mod middleware;
pub(crate) mod operator;
mod outcome;
mod outstanding;
mod own_listeners;
mod port;
mod questions;
mod recovery;
pub(crate) mod remote;
mod scope;
mod shown;
#[cfg(feature = "admin")]
pub(crate) mod tap;
mod typed;
mod watchers;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
};

use actix::prelude::*;
use tokio::sync::mpsc;

pub use self::{
    ack::{AckFuture, AckSender},
    broadcast_acks::{Answered, BroadcastAcks, NoAnswer},
    data::Data,
    emit::Emitter,
    errors::{AckError, ConnectError, EmitError, EventError, EventErrorKind},
    facts::{DisconnectReason, Handshake},
    full::Pace,
    listeners::{BoxedListener, FromSocket, Listener, ListenerId},
    middleware::{BoxedEventMiddleware, IntoEventMiddleware, Receiving},
    operator::BroadcastOperator,
    outcome::{Ack, IntoOutcome, Outcome},
    remote::{RemoteAck, RemoteSocket, SocketDetails},
    typed::{Returns, TypedAckSender, TypedListener},
};
pub(crate) use self::{
    codec::{Codec, Reader},
    expiry::Verdict,
    operator::OperatorBase,
    questions::{Questions, Waiting},
    recovery::{DataChanged, Previous},
    scope::Scope,
};
use self::{
    expiry::Expiry,
    home::Home,
    listeners::{OnConnection, OnDisconnect, OwnListeners},
    watchers::{Watched, Watchers},
};
use crate::{
    engine::{Transport, outbox::Owner, pipe::Pipe},
    room::{Disconnect, IntoRooms, Join, Leave, Port, Room, RoomsOf, SocketId, Target},
};

/// What a socket needs done by the connection it belongs to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Errand {
    /// The namespace has let the socket in.
    Admitted(Socket),
    /// The namespace has put the socket out.
    Dismissed { socket: Socket, close: bool },
    /// The namespace has taken the socket out of everything.
    Departed(Socket),
    /// The namespace has ended before it took what the socket's connection told it.
    Lost(Socket),
    /// The client has come back on another connection: this one is dead.
    Outlived,
    /// The namespace has ended unasked: the client may come back for another one.
    Orphaned,
    /// The credentials of a socket have got a time to live.
    Expiring,
}

const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
/// Asked to be put out: it sends nothing more, but still is in its rooms.
const LEAVING: u8 = 2;
/// Its client has left by itself: it wants nothing more, but still is in its rooms.
const GONE: u8 = 3;
const DISCONNECTED: u8 = 4;

struct Inner {
    id: SocketId,
    home: Arc<Home>,
    pipe: Pipe,
    connection: Recipient<Errand>,
    handshake: Handshake,
    recovered: bool,
    state: AtomicU8,
    left_own_room: AtomicBool,
    watched: Watched,
    extras: Mutex<Option<Box<Extras>>>,
    questions: Questions,
    /// Answers that the application has kept to itself for later.
    owed: AtomicU32,
}

/// What most sockets have not.
#[derive(Default)]
struct Extras {
    data: Data,
    listeners: OwnListeners,
    watchers: Option<Box<Watchers>>,
    expiry: Option<Box<Expiry>>,
}

impl Extras {
    fn watchers(&mut self) -> &mut Watchers {
        self.watchers.get_or_insert_default()
    }
}

/// One client in one namespace: a cheap handle that may be cloned, kept and sent anywhere.
///
/// What a socket sends, it sends in order; see the promises in `docs/architecture.md`.
///
/// ```
/// use greenroom::prelude::*;
///
/// Namespace::new("/").on("say", |socket: Socket, text: String| async move {
///     socket.join("talkers");                                   // in effect for what is sent below
///     socket.emit("heard", &text)?;                             // to this client
///     socket.to("talkers").emit("said", &(socket.id(), &text))?;  // to the others in the room
///     socket.everyone().emit("count", &1)?;                     // to all of the namespace, this one too
///     Ok::<_, EventError>(Ack(socket.rooms().await.len()))
/// });
/// ```
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.0.home.name)
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl Socket {
    pub(crate) fn new(
        id: SocketId,
        home: Arc<Home>,
        pipe: Pipe,
        connection: Recipient<Errand>,
        handshake: Handshake,
        previous: Option<Previous>,
    ) -> Self {
        let recovered = previous.is_some();
        Self(Arc::new(Inner {
            id,
            home,
            pipe,
            connection,
            handshake,
            recovered,
            state: AtomicU8::new(CONNECTING),
            left_own_room: AtomicBool::new(false),
            watched: Watched::default(),
            extras: Mutex::new(previous.and_then(Previous::extras)),
            questions: Questions::default(),
            owed: AtomicU32::new(0),
        }))
    }

    /// The public id; the client has the same.
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// The name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.0.home.name
    }

    /// How the connection was opened, and what the client gave when it joined the namespace.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Whether the socket is in its namespace: not yet in a middleware, no more after its end.
    pub fn connected(&self) -> bool {
        (CONNECTED..=GONE).contains(&self.0.state.load(Ordering::Acquire))
    }

    /// What carries the connection's bytes now.
    pub fn transport(&self) -> Transport {
        self.0.pipe.transport()
    }

    /// What waits to be sent to the client, over all its namespaces: packets and bytes.
    pub fn backlog(&self) -> (usize, usize) {
        self.0.pipe.backlog()
    }

    /// The revision of the Engine.IO protocol that the client speaks: 4, or 3 if such clients are
    /// [allowed](crate::SocketIoBuilder::allow_eio3).
    pub fn protocol(&self) -> u8 {
        self.0.pipe.dialect().revision.number()
    }

    /// A value that the application shares with the listeners of the namespace or the server,
    /// see [`Namespace::share`](crate::Namespace::share).
    pub fn shared<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.home.description.shared.get()
    }

    // ---- rooms -------------------------------------------------------------------------------

    /// Joins one room or several. What is sent to the rooms afterwards reaches the socket. After
    /// its disconnection nothing happens.
    pub fn join(&self, rooms: impl IntoRooms) {
        if !self.is_silent() {
            let join = Join { local: true, ..Join::socket(self.id(), rooms) };
            self.follow(move |home| home.join.do_send(join));
        }
    }

    /// Leaves one room or several. Rooms it is not in are passed over.
    pub fn leave(&self, rooms: impl IntoRooms) {
        if self.is_over() {
            return;
        }
        let leave = Leave { local: true, ..Leave::socket(self.id(), rooms) };
        if leave.rooms.iter().any(|room| **room == **self.id()) {
            self.0.left_own_room.store(true, Ordering::Release);
        }
        // What is sent afterwards, an ack above all, comes behind the last of the rooms' messages.
        self.0.home.submit(Some(&self.0.pipe), true, move |home, origin| {
            home.leave.do_send(Leave { origin, ..leave });
        });
    }

    /// Hands to the namespace what sends nothing, in order with what was done before.
    fn follow(&self, send: impl FnOnce(&Home) + Send + 'static) {
        self.0.home.submit(Some(&self.0.pipe), false, |home, _| send(home));
    }

    /// The rooms the socket is in, the one of its own id first. Empty after its disconnection.
    pub async fn rooms(&self) -> Vec<Room> {
        if self.is_over() {
            return Vec::new();
        }
        let ask = RoomsOf(self.id().clone());
        let rooms = self.0.home.ask(Some(&self.0.pipe), move |home| home.rooms.send(ask)).await;
        rooms.flatten().unwrap_or_default()
    }

    // ---- end ---------------------------------------------------------------------------------

    /// Removes the socket from its namespace; with `close`, closes the client's whole connection.
    ///
    /// It happens behind everything sent before. The returned future may be dropped; it is done
    /// when the socket has left its rooms and its `disconnect` listeners have been called.
    pub fn disconnect(&self, close: bool) -> impl Future<Output = ()> + use<> {
        let (sender, mut done) = mpsc::unbounded_channel();
        let socket = self.clone();
        let ask = move |home: &Home, origin| {
            home.disconnect.do_send(Disconnect {
                target: Target::everyone(),
                close,
                origin,
                socket: Some(socket.id().clone()),
                done: Some(sender),
                local: true,
            });
        };
        if !self.is_over() {
            self.0.home.submit(Some(&self.0.pipe), true, ask);
        }
        self.set_leaving();
        async move {
            // Without its namespace the socket is disconnected anyway.
            done.recv().await;
        }
    }

    /// Closes the underlying connection, once what waits has been sent: every namespace of the
    /// client ends with the reason "forced close".
    pub fn close_connection(&self) {
        self.0.pipe.ask_close();
    }
}

/// For the layers above.
impl Socket {
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.0.home
    }

    pub(crate) fn pipe(&self) -> &Pipe {
        &self.0.pipe
    }

    pub(crate) fn codec(&self) -> &Codec {
        &self.0.home.description.codec
    }

    /// The socket as its room actor sees it.
    pub(crate) fn port(&self) -> Arc<dyn Port> {
        Arc::clone(&self.0) as Arc<dyn Port>
    }

    pub(crate) fn questions(&self) -> &Questions {
        &self.0.questions
    }

    pub(crate) fn errand(&self, errand: Errand) {
        self.0.connection.do_send(errand);
    }

    fn set_connected(&self) {
        let (old, new) = (CONNECTING, CONNECTED);
        // A room actor that was rebuilt may say it again.
        let _ = self.0.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Only what was sent before reaches the client; a socket that has left already stays so.
    fn set_leaving(&self) {
        let (old, new) = (CONNECTED, LEAVING);
        let _ = self.0.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Marks packets as this socket's.
    pub(crate) fn owner(&self) -> Owner {
        Arc::as_ptr(&self.0).addr()
    }

    /// The client has left; its `disconnecting` listeners come next.
    pub(crate) fn set_gone(&self) {
        self.0.state.store(GONE, Ordering::Release);
    }

    pub(crate) fn set_disconnected(&self) {
        self.0.state.store(DISCONNECTED, Ordering::Release);
    }

    pub(crate) fn set_left_own_room(&self, left: bool) {
        self.0.left_own_room.store(left, Ordering::Release);
    }

    /// Whether the socket is out of everything. An old client that comes back gets a socket with
    /// the same id: this one has no part in its life.
    pub(crate) fn is_over(&self) -> bool {
        self.0.state.load(Ordering::Acquire) >= DISCONNECTED
    }

    /// Whether nothing more is sent to the client through this socket.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.state.load(Ordering::Acquire) >= LEAVING
    }

    /// Whether a broadcast that excludes the socket's own room cannot come back to it.
    fn excluded_by_own_room(&self) -> bool {
        !self.0.left_own_room.load(Ordering::Acquire)
    }

    /// The listeners of an event: the namespace's, then the socket's own.
    pub(crate) fn handlers(&self, event: &str) -> listeners::Handlers {
        let listeners = &self.0.home.description.listeners;
        let mut handlers = listeners.events.get(event).cloned().unwrap_or_default();
        if let Some(extras) = self.extras().as_mut() {
            extras.listeners.take(event, &mut handlers);
        }
        if handlers.is_empty() {
            handlers.extend(listeners.fallback.iter().cloned());
        }
        handlers
    }

    pub(crate) fn connection_listeners(&self) -> Vec<OnConnection> {
        self.extras().as_ref().map(|extras| extras.listeners.connection.clone()).unwrap_or_default()
    }

    pub(crate) fn disconnecting_listeners(&self) -> Vec<OnDisconnect> {
        let mut all = self.0.home.description.listeners.disconnecting.clone();
        if let Some(extras) = self.extras().as_mut() {
            all.append(&mut extras.listeners.disconnecting);
        }
        all
    }

    pub(crate) fn disconnect_listeners(&self) -> Vec<OnDisconnect> {
        let mut all = self.0.home.description.listeners.disconnect.clone();
        if let Some(extras) = self.extras().as_mut() {
            all.append(&mut extras.listeners.disconnect);
        }
        all
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inner").field(&self.id).finish()
    }
}
