//! What may be sent to a namespace about its rooms and members.

use std::sync::Arc;

use actix::prelude::*;
use serde::Serialize;
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tracing::Span;

use super::{IntoRooms, Missing, Room, SocketId};
use crate::{
    engine::{
        WhenFull,
        outbox::{Sequence, Way},
        pipe::Pipe,
    },
    packet::{Args, EncodeError, Payload},
    trace,
};

/// Which sockets of a namespace are meant: the union of some rooms (all sockets if there is none),
/// without the members of others.
///
/// ```no_run
/// use actix::Addr;
/// use greenroom::{Join, Leave, prelude::*};
///
/// fn sort(chat: &Addr<Namespace>) {
///     chat.do_send(Join::new(Target::room(["red", "blue"]).except("captains"), "players"));
///     chat.do_send(Leave::new(Target::everyone(), "waiting"));
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub(crate) rooms: SmallVec<[Room; 1]>,
    pub(crate) except: SmallVec<[Room; 1]>,
}

impl Target {
    /// Every socket of the namespace.
    pub fn everyone() -> Self {
        Self::default()
    }

    /// The members of one room or several; an empty list selects everybody, as in the reference.
    pub fn room(rooms: impl IntoRooms) -> Self {
        Self::default().and(rooms)
    }

    /// Adds the members of one more room or several.
    #[must_use]
    pub fn and(mut self, rooms: impl IntoRooms) -> Self {
        self.rooms.extend(rooms.into_rooms());
        self
    }

    /// Leaves out the members of one room or several; wins over being in a selected room.
    #[must_use]
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.except.extend(rooms.into_rooms());
        self
    }
}

/// The connection an operation came from, if what it sends may come back there.
///
/// It travels with the operation. When the last clone is dropped, the operation has arrived (or
/// has been lost with the actor that held it), and the connection's own packets may follow: that
/// no operation can stay in flight for ever is the point of doing it on drop.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<InFlight>);

#[derive(Debug)]
struct InFlight {
    pipe: Pipe,
    sequence: Sequence,
}

impl Origin {
    /// Starts an operation of the client of `pipe` that may come back to it: `start` hands it to
    /// its way, now or when everything before it on other ways has arrived.
    pub(crate) fn begin(pipe: &Pipe, way: Way, start: impl FnOnce(Self) + Send + 'static) {
        let own = pipe.clone();
        pipe.begin(way, move |sequence| start(Self(Arc::new(InFlight { pipe: own, sequence }))));
    }

    pub(crate) fn worker(&self) -> usize {
        self.0.pipe.worker()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pipe.confirm(self.sequence);
    }
}

/// How an event is sent, besides to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Receivers that cannot take it at once do not get it.
    pub(crate) volatile: bool,
    /// Transports that compress may compress it.
    pub(crate) compress: bool,
    /// Only sockets of this server get it.
    pub(crate) local: bool,
    /// How long answers are collected, in milliseconds, which other servers have to know.
    pub(crate) timeout: u32,
    /// What becomes of it for slow clients, if not what the namespace says.
    pub(crate) when_full: Option<WhenFull>,
}

impl Default for Flags {
    fn default() -> Self {
        Self { volatile: false, compress: true, local: false, timeout: 0, when_full: None }
    }
}

/// Send an event to many sockets of a namespace.
///
/// ```
/// use greenroom::{Broadcast, EmitError};
/// # fn main() -> Result<(), EmitError> {
/// let goal = Broadcast::to("sport").except("muted").event("goal", &"2:1")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Broadcast {
    pub(crate) target: Target,
    pub(crate) payload: Payload,
    pub(crate) flags: Flags,
    pub(crate) origin: Option<Origin>,
    pub(crate) ack: Option<AckRequest>,
    /// One socket instead of the target, whatever rooms it is in.
    pub(crate) socket: Option<SocketId>,
    /// Of which events this may be the latest.
    pub(crate) key: Option<Arc<str>>,
    pub(crate) span: Span,
}

/// A [`Broadcast`] without its event.
///
/// ```no_run
/// # use actix::Addr;
/// # use greenroom::{EncodeError, prelude::*};
/// # fn tell(chat: &Addr<Namespace>) -> Result<(), EncodeError> {
/// let target = Broadcast::to(["sport", "live"]).except("muted").volatile();
/// chat.do_send(target.event("clock", &"89:59")?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BroadcastTarget {
    pub(super) target: Target,
    pub(super) flags: Flags,
    pub(super) key: Option<Arc<str>>,
}

impl Broadcast {
    /// To the members of one room or several.
    pub fn to(rooms: impl IntoRooms) -> BroadcastTarget {
        BroadcastTarget { target: Target::room(rooms), ..BroadcastTarget::default() }
    }

    /// To every socket of the namespace.
    pub fn everyone() -> BroadcastTarget {
        BroadcastTarget::default()
    }

    pub(crate) fn new(target: Target, payload: Payload, flags: Flags) -> Self {
        let span = trace::broadcast(|| payload.name());
        Self::within(span, target, payload, flags)
    }

    /// The same in a span of its own.
    pub(crate) fn within(span: Span, target: Target, payload: Payload, flags: Flags) -> Self {
        Self { target, payload, flags, origin: None, ack: None, socket: None, key: None, span }
    }
}

impl BroadcastTarget {
    /// Adds the members of one more room or several.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.target = self.target.and(rooms);
        self
    }

    /// Leaves out the members of one room or several.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.target = self.target.except(rooms);
        self
    }

    /// Drops the event for every receiver that cannot take it at once.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether transports that compress may compress the event. Default `true`.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    /// Only to sockets of this server, not of the others in its cluster.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Adds the event; `data` becomes its arguments as [`Payload`] says.
    ///
    /// # Errors
    /// If the name is reserved or the data has no JSON form.
    pub fn event<T: Serialize + ?Sized>(
        self,
        name: &str,
        data: &T,
    ) -> Result<Broadcast, EncodeError> {
        let payload = Payload::event(name, data)?;
        Ok(Broadcast { key: self.key, ..Broadcast::new(self.target, payload, self.flags) })
    }
}

/// Let sockets join rooms.
///
/// ```no_run
/// use actix::Addr;
/// use greenroom::{Join, SocketId, Target, prelude::*};
/// fn promote(chat: &Addr<Namespace>, moderator: SocketId) {
///     chat.do_send(Join::socket(moderator, ["staff", "logs"]));
///     chat.do_send(Join::new(Target::room("staff"), "meeting"));        // all who are in it
/// }
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Join {
    pub(crate) target: Target,
    pub(crate) rooms: SmallVec<[Room; 1]>,
    /// One socket instead of the target, whatever rooms it is in.
    pub(crate) socket: Option<SocketId>,
    /// Only on this server of a cluster.
    pub(crate) local: bool,
    /// Dropped when other servers know that the rooms have members here.
    pub(crate) settled: Option<mpsc::Sender<()>>,
}

impl Join {
    /// The sockets of `target` join one room or several.
    pub fn new(target: Target, rooms: impl IntoRooms) -> Self {
        Self {
            target,
            rooms: rooms.into_rooms().collect(),
            socket: None,
            local: false,
            settled: None,
        }
    }

    /// One socket joins.
    pub fn socket(id: impl Into<SocketId>, rooms: impl IntoRooms) -> Self {
        Self { socket: Some(id.into()), ..Self::new(Target::everyone(), rooms) }
    }
}

/// Let sockets leave rooms. A socket that is not in a room stays as it is.
///
/// ```no_run
/// # use actix::Addr;
/// # use greenroom::{Leave, Target, prelude::*};
/// # fn end(chat: &Addr<Namespace>) {
/// chat.do_send(Leave::new(Target::room("meeting"), "meeting"));         // it is empty then
/// # }
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Leave {
    pub(crate) target: Target,
    pub(crate) rooms: SmallVec<[Room; 1]>,
    pub(crate) socket: Option<SocketId>,
    /// Behind a leave its client's acks wait: after them nothing more comes from the room.
    pub(crate) origin: Option<Origin>,
    /// Only on this server of a cluster.
    pub(crate) local: bool,
}

impl Leave {
    /// The sockets of `target` leave one room or several.
    pub fn new(target: Target, rooms: impl IntoRooms) -> Self {
        Self {
            target,
            rooms: rooms.into_rooms().collect(),
            socket: None,
            origin: None,
            local: false,
        }
    }

    /// One socket leaves.
    pub fn socket(id: impl Into<SocketId>, rooms: impl IntoRooms) -> Self {
        Self { socket: Some(id.into()), ..Self::new(Target::everyone(), rooms) }
    }
}

/// Disconnect sockets from the namespace. Answers with their number when all of them have left
/// their rooms and their `disconnect` listeners have started.
///
/// ```no_run
/// # use actix::{Addr, MailboxError};
/// # use greenroom::{Disconnect, Target, prelude::*};
/// # async fn clear(chat: &Addr<Namespace>) -> Result<(), MailboxError> {
/// let gone: usize = chat.send(Disconnect::new(Target::room("guests")).close(true)).await?;
/// # println!("{gone}"); Ok(()) }
/// ```
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Disconnect {
    pub(crate) target: Target,
    pub(crate) close: bool,
    pub(crate) origin: Option<Origin>,
    pub(crate) socket: Option<SocketId>,
    /// Who waits, besides the sender of the message.
    pub(crate) done: Option<mpsc::UnboundedSender<usize>>,
    /// Only on this server of a cluster.
    pub(crate) local: bool,
}

impl Disconnect {
    /// The sockets of `target` are disconnected.
    pub fn new(target: Target) -> Self {
        Self { target, close: false, origin: None, socket: None, done: None, local: false }
    }

    /// Closes the whole connections, with all their namespaces.
    #[must_use]
    pub fn close(mut self, close: bool) -> Self {
        self.close = close;
        self
    }
}

/// Which connected sockets are selected? In no particular order.
///
/// ```no_run
/// # use actix::{Addr, MailboxError};
/// # use greenroom::{CountSockets, MembersOf, Room, RoomSizes, RoomsOf, SocketId, prelude::*};
/// async fn look(chat: &Addr<Namespace>) -> Result<(), MailboxError> {
///     let present: Vec<SocketId> = chat.send(MembersOf::room("lobby")).await?;
///     let all: usize = chat.send(CountSockets).await?;
///     let rooms: Vec<(Room, usize)> = chat.send(RoomSizes).await?;
///     println!("{} of {all} in the lobby, {} rooms", present.len(), rooms.len());
///     if let Some(first) = present.first() {
///         println!("{:?}", chat.send(RoomsOf(first.clone())).await?);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<SocketId>")]
pub struct MembersOf(pub(crate) Target);

impl MembersOf {
    /// Those of one room or several.
    pub fn room(rooms: impl IntoRooms) -> Self {
        Self(Target::room(rooms))
    }

    /// Those of a target.
    pub fn target(target: Target) -> Self {
        Self(target)
    }

    /// All of the namespace.
    pub fn everyone() -> Self {
        Self(Target::everyone())
    }
}

/// How many connected sockets does the namespace have? See [`MembersOf`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "usize")]
pub struct CountSockets;

/// Which rooms is this socket in? The room of its own id comes first, if it is still in it;
/// `None` if the namespace does not know the socket. See [`MembersOf`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Vec<Room>>")]
pub struct RoomsOf(pub SocketId);

/// Which rooms exist, and how many members has each? Without the rooms of the sockets' own ids. See
/// [`MembersOf`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<(Room, usize)>")]
pub struct RoomSizes;

/// A broadcast wants an answer of each receiver.
#[derive(Clone, Debug)]
pub(crate) struct AckRequest {
    pub(crate) id: u64,
    pub(crate) answers: mpsc::UnboundedSender<Answer>,
}

/// What becomes known about the answers to a broadcast.
#[derive(Debug)]
pub(crate) enum Answer {
    /// So many room actors of one namespace will say how many receivers they have.
    Workers(usize),
    /// One of them has so many.
    Receivers(usize),
    /// A client has answered.
    From(SocketId, Args),
    /// A client has left without answer.
    Gone,
    /// Other servers of the cluster will say how many receivers they have.
    Elsewhere,
    /// Some of them have not said it yet.
    Awaited(Missing),
    /// All have; so many.
    ReceiversElsewhere(usize),
    /// A client of one of them has answered. Servers do not say which.
    FromElsewhere(Args),
}
