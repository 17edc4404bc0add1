//! Sessions that the engine of the cluster keeps besides the events, so that clients may come back to
//! any server, also when their own has died.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Failure, Offset, Pid};
use crate::{
    engine::outbox::Bounds,
    packet::Payload,
    room::{Room, SocketId},
};

/// What another server needs to know of a socket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deposit {
    pub(crate) id: SocketId,
    pub(crate) pid: Pid,
    pub(crate) rooms: Vec<Room>,
    pub(crate) data: Map<String, Value>,
    /// Its credentials had a time to live.
    pub(crate) expires: bool,
    /// No event up to this one concerns it. Node.js servers do not say it.
    pub(crate) since: Option<Offset>,
}

/// What a deposit may take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Of anything: nobody else can have the session.
    Anything,
    /// Of what this server has left there, or of nothing: the engine may have lost it.
    OwnOrNothing,
    /// Of what this server has left there: else another one has taken the session.
    Own,
}

/// Changes what is deposited.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put {
        deposit: Box<Deposit>,
        over: Over,
        time_to_live: Duration,
    },
    /// These stay for longer.
    Renew {
        pids: Vec<Pid>,
        time_to_live: Duration,
    },
    /// Nobody comes back for it. One of another server stays.
    Withdraw(Pid),
}

/// A client has come back: its session is wanted, and nobody else may have it then.
#[derive(Clone, Debug)]
pub(crate) struct Recall {
    pub(crate) pid: Pid,
    /// What the client got last.
    pub(crate) offset: Option<Offset>,
    /// This server has the session, and what was missed. It only wants to know whether it is still
    /// its own.
    pub(crate) is_here: bool,
    /// What may have been missed.
    pub(crate) bounds: Bounds,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) enum Recalled {
    /// Nothing: nobody has left it there, somebody else has taken it, or it was too late.
    Nothing,
    /// What this server has left there, and has itself.
    Own,
    Found {
        deposit: Box<Deposit>,
        missed: Result<Missed, Failure>,
    },
}

/// The events that a session has missed.
#[derive(Clone, Debug)]
pub(crate) struct Missed {
    pub(crate) events: Vec<(Offset, Payload)>,
    /// The last event that was looked at, of whatever namespace.
    pub(crate) end: Offset,
}
