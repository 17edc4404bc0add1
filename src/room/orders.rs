//! What a namespace sends to its room actors.

use std::sync::Arc;

use actix::prelude::*;
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tracing::Span;

use super::{
    Key, Port, Room,
    messages::{AckRequest, Origin},
};
use crate::{engine::outbox::Frames, packet::Payload};

/// A socket is connected: greet it and let it take part. Its rooms come with it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Admit {
    pub(crate) key: Key,
    pub(crate) port: Arc<dyn Port>,
    pub(crate) rooms: Vec<Room>,
    /// Sent before anything else reaches the socket.
    pub(crate) greeting: Option<Frames>,
}

/// All members of the worker, as the namespace has them now, when either of them has panicked.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Roster {
    pub(crate) members: Vec<(Admit, Option<Dismiss>)>,
    /// The room actor has just been made: it knows nothing of what its predecessor did.
    pub(crate) fresh: bool,
}

/// Members enter and leave rooms.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Move {
    pub(crate) keys: SmallVec<[Key; 1]>,
    pub(crate) enter: SmallVec<[Room; 1]>,
    pub(crate) exit: SmallVec<[Room; 1]>,
    pub(crate) confirm: Option<Origin>,
}

/// A socket takes part no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Dismiss {
    pub(crate) key: Key,
    pub(crate) rooms: Vec<Room>,
    /// The last thing it gets, if its client is still there, and what its connection is told.
    pub(crate) farewell: Option<Frames>,
    pub(crate) close: bool,
    /// Whether the connection has to be told, because it did not ask for it.
    pub(crate) notify: bool,
}

/// Send frames to the selected members of this worker.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Fanout {
    pub(crate) selection: Arc<Selection>,
    pub(crate) frames: Frames,
    pub(crate) volatile: bool,
    pub(crate) ack: Option<AckRequest>,
    pub(crate) confirm: Option<Origin>,
    /// The event itself, if some receivers may want to see what is sent to them.
    pub(crate) copy: Option<Payload>,
    /// Of the broadcast.
    pub(crate) span: Span,
}

/// A [`Target`] as a room actor understands it.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) everyone: bool,
    pub(crate) rooms: SmallVec<[Room; 1]>,
    pub(crate) keys: SmallVec<[Key; 1]>,
    pub(crate) except_rooms: SmallVec<[Room; 1]>,
    pub(crate) except_keys: SmallVec<[Key; 1]>,
}

/// What an operation sent has been delivered before this.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Confirm(
    #[allow(dead_code, reason = "its drop is what it is for")] pub(crate) Origin,
);

/// All that was sent to the room actor before has been delivered when this is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Pass(
    #[allow(dead_code, reason = "its drop is what it is for")] pub(crate) mpsc::Sender<()>,
);

/// Panic in the middle of the next delivery or move, after so many members.
#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Break(pub(crate) usize);

/// Panic.
#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Die;
