//! What namespaces, nodes and buses tell a link, and what it tells them.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use hashbrown::HashSet;
use tokio::sync::{mpsc, oneshot};

use super::{Link, Reply, Sink};
use crate::{
    adapter::{
        bus::{Permit, SeatNumber},
        message::{Message, Sending, Uid, Wanted},
        recovery::Offset,
    },
    metrics::meters::Since,
    packet::Payload,
    room::{Room, Target},
};

/// A namespace takes part from now on.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) seat: SeatNumber,
    pub(crate) namespace: Arc<str>,
    pub(crate) inbox: Recipient<Incoming>,
}

/// A namespace takes part no more.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Detach(pub(crate) SeatNumber);

/// What a namespace has for the other nodes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Outgoing {
    pub(crate) seat: SeatNumber,
    pub(crate) operation: Operation,
    pub(crate) since: Since,
}

impl Outgoing {
    pub(super) fn new(seat: SeatNumber, operation: Operation) -> Self {
        Self { seat, operation, since: Since::now() }
    }
}

/// The same as a namespace is asked for it: it hands it on, behind what it was told before.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Consult {
    pub(crate) operation: Operation,
    /// Only this server is asked.
    pub(crate) local: bool,
}

/// See [`Outgoing`].
pub(crate) enum Operation {
    /// A message that nobody answers.
    Say(Message),
    /// A broadcast to which [`Incoming::Kept`] says what its name is, or that it has none.
    Keep { number: u64, message: Message },
    /// A question to all other nodes.
    Ask { question: Question, timeout: Duration, sink: Sink },
    /// How many other nodes are there?
    Count(oneshot::Sender<Option<usize>>),
    /// A room has got its first member, or lost its last one.
    Interest { room: Room, wanted: bool },
    /// These rooms have members, and no others: what was said of single ones may have been lost.
    Interests(HashSet<Room>),
    /// Dropped when all interest so far is in effect.
    Settle(mpsc::Sender<()>),
}

/// What can be asked of all other nodes.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// Send this to clients, and say what they answer.
    Broadcast {
        payload: Payload,
        target: Target,
        sending: Sending,
    },
    Fetch {
        target: Target,
        wanted: Wanted,
    },
    AllRooms,
    ServerSideEmit(Payload),
    /// Has everything that was sent before been done?
    Settled,
}

impl Question {
    /// What metrics call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Broadcast { .. } => "broadcast_with_ack",
            Self::Fetch { .. } => "fetch_sockets",
            Self::AllRooms => "all_rooms",
            Self::ServerSideEmit(_) => "server_side_emit",
            Self::Settled => "settle",
        }
    }

    /// The target of a request that asks [`Question::Settled`]: nobody is in a room of that name.
    pub(super) fn settled_target(request: &Uid) -> Target {
        Target::room(format!("\u{1}{request}"))
    }

    /// Whether a request for sockets asks it.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for Redis Streams"))]
    pub(crate) fn is_settled(target: &Target, request: &Uid) -> bool {
        let room = target.rooms.first().filter(|_| target.rooms.len() == 1);
        room.and_then(|room| room.strip_prefix('\u{1}')) == Some(request.as_str())
    }
}

/// What other nodes, and the link itself, have for a namespace.
#[derive(Message)]
#[rtype(result = "()")]
#[allow(clippy::large_enum_variant, reason = "nearly all are of the largest")]
pub(crate) enum Incoming {
    Message {
        message: Message,
        /// To answer with, if it is a request.
        reply: Option<Reply>,
        /// Its name, if the bus keeps it.
        offset: Option<Offset>,
        /// Dropped when the namespace has taken the message.
        permit: Permit,
    },
    /// A broadcast of this node is kept under a name; those before it that have not been are not.
    Kept { number: u64, offset: Offset, permit: Permit },
    /// Broadcasts of this node up to this number are not kept, or nobody will say so.
    Unkept(u64),
    /// The link has died, and this is the next one: it has to be told of the rooms again.
    Relinked(Addr<Link>),
}

/// Answers when all namespaces hear everything that is sent to them.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WhenReady;

/// The server closes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// A link has ended without being told to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ended {
    pub(crate) generation: u64,
}
