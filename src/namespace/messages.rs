//! What a namespace is told by connections and asked by applications.

use std::sync::Arc;

use actix::prelude::*;

use tokio::time::Instant;

use super::{Namespace, returning::Claim};
use crate::{
    room::{Room, SocketId},
    socket::{DisconnectReason, Errand, Socket, home::Home},
};

/// The handles of the connected sockets that are selected, in no particular order.
///
/// ```no_run
/// # use actix::{Addr, MailboxError};
/// # use greenroom::{Sockets, prelude::*};
/// # async fn look(chat: &Addr<Namespace>) -> Result<(), MailboxError> {
/// for socket in chat.send(Sockets(Target::room("lobby"))).await? {
///     println!("{} by {}", socket.id(), socket.transport());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<Socket>")]
pub struct Sockets(pub crate::room::Target);

/// The handle of one connected socket, if the namespace has it.
///
/// ```no_run
/// use actix::{Addr, MailboxError};
/// use greenroom::{FindSocket, SocketId, prelude::*};
/// async fn greet(chat: &Addr<Namespace>, id: SocketId) -> Result<(), MailboxError> {
///     match chat.send(FindSocket(id)).await? {
///         Some(socket) => println!("since {:?}", socket.handshake().request.time),
///         None => println!("it has gone"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Socket>")]
pub struct FindSocket(pub SocketId);

/// What happens to the rooms of a namespace, in order. Sockets' own rooms are rooms too.
///
/// [`SubscribeRooms`] shows an actor that gets them.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum RoomEvent {
    /// A room got its first member, who joins next.
    Created {
        /// The room.
        room: Room,
    },
    /// A socket joined a room.
    Joined {
        /// The room.
        room: Room,
        /// The socket.
        socket: SocketId,
    },
    /// A socket left a room.
    Left {
        /// The room.
        room: Room,
        /// The socket.
        socket: SocketId,
    },
    /// The last member has left.
    Deleted {
        /// The room.
        room: Room,
    },
}

/// What happens to the sockets of a namespace, in order.
///
/// [`SubscribeSockets`] shows an actor that gets them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum SocketEvent {
    /// A socket is connected.
    Connected(Socket),
    /// A socket has left its rooms and the namespace.
    Disconnected {
        /// The socket.
        socket: Socket,
        /// Why.
        reason: DisconnectReason,
    },
}

/// Tell an actor what happens to rooms, until it has ended.
///
/// A subscriber that does not keep up is not waited for: its mailbox takes what comes.
///
/// ```no_run
/// use actix::prelude::*;
/// use greenroom::{RoomEvent, SubscribeRooms, prelude::*};
///
/// struct Games;
///
/// impl Actor for Games {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<RoomEvent> for Games {
///     type Result = ();
///
///     fn handle(&mut self, event: RoomEvent, _: &mut Context<Self>) {
///         if let RoomEvent::Deleted { room } = event {
///             println!("nobody plays {room} any more");
///         }
///     }
/// }
///
/// fn watch(chat: &Addr<Namespace>) {
///     chat.do_send(SubscribeRooms(Games.start().recipient()));
/// }
/// ```
#[derive(Message)]
#[rtype(result = "()")]
pub struct SubscribeRooms(pub Recipient<RoomEvent>);

/// Tell an actor what happens to sockets, until it has ended.
///
/// ```no_run
/// use actix::prelude::*;
/// use greenroom::{SocketEvent, SubscribeSockets, prelude::*};
///
/// struct Doorkeeper;
///
/// impl Actor for Doorkeeper {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<SocketEvent> for Doorkeeper {
///     type Result = ();
///
///     fn handle(&mut self, event: SocketEvent, _: &mut Context<Self>) {
///         match event {
///             SocketEvent::Connected(socket) => println!("{} has come", socket.id()),
///             SocketEvent::Disconnected { socket, reason } => println!("{} has gone: {reason}", socket.id()),
///         }
///     }
/// }
///
/// async fn watch(chat: &Addr<Namespace>) -> Result<(), MailboxError> {
///     chat.send(SubscribeSockets(Doorkeeper.start().recipient())).await
/// }
/// ```
#[derive(Message)]
#[rtype(result = "()")]
pub struct SubscribeSockets(pub Recipient<SocketEvent>);

impl std::fmt::Debug for SubscribeRooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubscribeRooms")
    }
}

impl std::fmt::Debug for SubscribeSockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubscribeSockets")
    }
}

/// The end of the namespace: its sockets are disconnected, then its actors end. Nobody can join it
/// from the moment it takes the message, and another one of its name can be started. Answers when
/// the last socket has left.
///
/// ```no_run
/// use greenroom::{Stop, prelude::*};
///
/// async fn play(io: &SocketIo) -> Result<(), EventError> {
///     let game = io.spawn(Namespace::new("/game-7"));
///     // When it is over:
///     game.send(Stop).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The namespace dies of a real panic, to show that it is rebuilt.
///
/// ```
/// # use greenroom::{prelude::*, testing::{KillNamespace, TestServer}};
/// # actix_rt::System::new().block_on(async {
/// # let server = TestServer::start(SocketIo::builder());
/// let client = server.connect("/", ()).await.unwrap();
/// server.io().namespace("/").unwrap().do_send(KillNamespace::Now);
/// server.settle().await;
/// server.io().emit("still there?", &()).unwrap();
/// assert_eq!(client.next_event().await.name, "still there?");
/// # });
/// ```
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum KillNamespace {
    /// At once: nothing but this message is lost.
    Now,
    /// At the next message that changes or sends something, before anything of it is done.
    BeforeNext,
    /// In the middle of the next message that changes or sends something: what it changes has been
    /// written down, and no room actor has heard of it.
    DuringNext,
    /// In the middle of the next join or leave: it has been written down, and nobody has been told.
    BeforeTelling,
    /// Too often in a short time: it ends.
    ForGood,
}

/// The room actors of the namespace die, each of a real panic, in the middle of the next broadcast
/// or move, when so many members have had it. Those with fewer members go on.
///
/// [`KillRooms`] shows how it is sent.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct BreakRooms(pub usize);

/// The room actors of the namespace die, each of a real panic, to show that they are rebuilt.
///
/// ```
/// # use greenroom::{prelude::*, testing::{KillRooms, TestServer}};
/// # actix_rt::System::new().block_on(async {
/// # let server = TestServer::start(SocketIo::builder());
/// let client = server.connect("/", ()).await.unwrap();
/// server.io().namespace("/").unwrap().send(KillRooms).await.unwrap();
/// server.settle().await;
/// server.io().emit("still there?", &()).unwrap();
/// assert_eq!(client.next_event().await.name, "still there?");
/// # });
/// ```
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct KillRooms;

/// The sockets of a namespace, so many at a time and in the order in which they came. One that is
/// there all the time is in exactly one page.
#[cfg(feature = "admin")]
#[derive(Debug, Message)]
#[rtype(result = "Leaf")]
pub(crate) struct Page {
    /// Behind the one with this key: 0, or [`Leaf::next`].
    pub(crate) after: crate::room::Key,
    pub(crate) limit: usize,
    /// Only those in this room.
    pub(crate) room: Option<Room>,
}

/// A page of sockets.
#[cfg(feature = "admin")]
#[derive(MessageResponse)]
pub(crate) struct Leaf {
    pub(crate) sockets: Vec<crate::socket::remote::Found>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<crate::room::Key>,
}

// ---- connection → namespace --------------------------------------------------------------------

/// A client is before the middlewares: it may join rooms already, but takes no part.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Prepare {
    pub(crate) socket: Socket,
    pub(crate) place: Place,
    pub(crate) arrival: Arrival,
}

/// Where a socket lives.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) worker: usize,
    pub(crate) arbiter: ArbiterHandle,
}

/// A socket that a connection tells its namespace about. If the namespace ends or panics before it
/// has taken the message, the connection is told, so that it waits for nothing.
pub(crate) struct Told {
    socket: Option<Socket>,
}

impl Told {
    pub(crate) fn new(socket: &Socket) -> Self {
        Self { socket: Some(socket.clone()) }
    }

    pub(crate) fn id(&self) -> Option<&SocketId> {
        self.socket.as_ref().map(Socket::id)
    }

    /// Still the message's: if the namespace panics now, the connection is told.
    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// The namespace has the message.
    pub(crate) fn take(mut self) -> Option<Socket> {
        self.socket.take()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.errand(Errand::Lost(socket.clone()));
        }
    }
}

/// The middlewares have let the client in.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Connect {
    pub(crate) socket: Told,
    pub(crate) place: Place,
    /// If the namespace has not heard of the client before.
    pub(crate) arrival: Option<Arrival>,
    /// If the client has come back for its socket.
    pub(crate) claim: Option<Claim>,
}

/// The socket has left: take it out of everything.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Depart {
    pub(crate) socket: Told,
    /// `None` for one that was never connected.
    pub(crate) reason: Option<DisconnectReason>,
    /// What was sent before this has reached its client.
    pub(crate) heard: Instant,
}

/// The disconnect listeners of a socket have been called: who waits for its end may go on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Departed {
    pub(crate) socket: Socket,
    /// As in [`Depart`], which may have been lost.
    pub(crate) reason: Option<DisconnectReason>,
    pub(crate) heard: Instant,
}

/// How a connection reaches this namespace.
#[derive(Message)]
#[rtype(result = "Option<Arc<Entrance>>")]
pub(crate) struct Describe;

/// A namespace as connections see it.
pub(crate) struct Entrance {
    pub(crate) home: Arc<Home>,
    pub(crate) addr: Addr<Namespace>,
    /// Whether it may end when its last client has left.
    pub(crate) may_retire: bool,
}

impl Entrance {
    /// Whether clients may still join.
    pub(crate) fn is_open(&self) -> bool {
        !self.home.is_closed() && self.addr.connected()
    }
}

/// A client that has found a namespace; until the namespace knows of it, it does not end for want
/// of clients. Made under the lock of the list, so that finding and ending exclude each other.
pub(crate) struct Arrival(Arc<Entrance>);

impl Arrival {
    pub(crate) fn new(entrance: &Arc<Entrance>) -> Self {
        entrance.home.arrive();
        Self(Arc::clone(entrance))
    }

    pub(crate) fn entrance(&self) -> &Arc<Entrance> {
        &self.0
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.0.home.arrived();
        if self.0.may_retire {
            // It may have been the only reason to stay.
            self.0.addr.do_send(Tidy);
        }
    }
}

/// Answers when all that was sent to the namespace before has reached its members' outboxes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Flush;

/// End if nobody is left.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Tidy;

/// End if nobody is there: others want the room. Who may come back for a socket gets a new one.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct MakeWay;

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Entrance").field(&self.home).finish()
    }
}
