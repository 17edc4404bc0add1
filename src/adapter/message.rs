//! What the nodes of a cluster say to each other about one namespace, whatever carries it. Plain
//! data: arguments are JSON text and attachments, as everywhere between parsers.

use std::{fmt, sync::Arc, time::Duration};

use rand::RngExt;
use serde_json::Value;
use smallvec::SmallVec;

use crate::{
    packet::{Args, Payload},
    room::{Room, Target, messages::Flags},
    trace::TraceParent,
};

/// The name of a node in one namespace, new whenever it links that namespace; also that of a
/// request.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Uid(Arc<str>);

impl Uid {
    #[cfg(feature = "redis")]
    pub(crate) const HEX_LENGTH: usize = 16;

    /// 16 hexadecimal digits, as in cluster messages.
    pub(crate) fn hex() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()).into())
    }

    /// Six characters, as in the classic Redis format.
    pub(crate) fn short() -> Self {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut random = rand::rng();
        let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
        Self((0..6).map(letter).collect::<String>().into())
    }

    /// Whether it is of a process that sends without being a node.
    pub(crate) fn is_emitter(&self) -> bool {
        &*self.0 == EMITTER
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What emitters call themselves.
pub(crate) const EMITTER: &str = "emitter";

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether servers keep the name of a server-side event for themselves; besides those that clients keep.
pub(crate) fn is_kept_by_servers(event: &str) -> bool {
    matches!(event, "connection" | "new_namespace")
}

pub(crate) type Rooms = SmallVec<[Room; 1]>;

/// How a broadcast is sent, as far as other nodes have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) volatile: bool,
    pub(crate) compress: bool,
    /// How long answers are collected.
    pub(crate) timeout: Option<Duration>,
    /// The span of the broadcast at its server.
    pub(crate) trace: Option<TraceParent>,
}

impl Default for Sending {
    fn default() -> Self {
        Self { volatile: false, compress: true, timeout: None, trace: None }
    }
}

impl Sending {
    /// The flags of a broadcast that another node has sent.
    pub(crate) fn flags(self) -> Flags {
        Flags { volatile: self.volatile, compress: self.compress, local: true, ..Flags::default() }
    }
}

/// See the module's description.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// A node is there; the first time it asks the others to say so too.
    Heartbeat {
        first: bool,
    },
    /// A node ends.
    Close,
    Broadcast {
        payload: Payload,
        target: Target,
        sending: Sending,
        request: Option<Uid>,
    },
    Join {
        target: Target,
        rooms: Rooms,
    },
    Leave {
        target: Target,
        rooms: Rooms,
    },
    Disconnect {
        target: Target,
        close: bool,
    },
    Fetch {
        target: Target,
        request: Uid,
        wanted: Wanted,
    },
    /// Which rooms have members? Only some engines have a message for it.
    AllRooms {
        request: Uid,
    },
    ServerSideEmit {
        payload: Payload,
        request: Option<Uid>,
    },
    Answer {
        request: Uid,
        answer: Answer,
    },
}

/// What is to be told of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Details,
    /// Servers of old versions want no more.
    Ids,
    /// Only how many there are. Other servers may tell more.
    Count,
}

/// What a node answers to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// To [`Message::Fetch`]: the details of each socket, or its id. `count` is how many there are,
    /// also where only that was asked for.
    Sockets { sockets: Vec<Value>, count: usize },
    /// To [`Message::AllRooms`].
    Rooms(Vec<Room>),
    /// To [`Message::ServerSideEmit`]: one value, or none.
    Value(Args),
    /// To [`Message::Broadcast`], first: how many clients it goes to.
    Clients(usize),
    /// To [`Message::Broadcast`], then: the first argument of one client's answer.
    Ack(Args),
}

/// A message, and who says it in which namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Envelope {
    /// Not known of some answers.
    pub(crate) uid: Option<Uid>,
    pub(crate) namespace: String,
    pub(crate) message: Message,
}

/// Why a message from the bus was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It cannot be read.
    Malformed,
    /// It is larger than messages may be.
    TooLarge,
    /// It is of a type that nobody knows.
    UnknownType,
}
