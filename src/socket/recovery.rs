//! Connection state recovery as a socket sees it.

use std::sync::{Arc, atomic::Ordering};

use actix::prelude::*;
use serde_json::{Map, Value};

use super::{CONNECTED, DISCONNECTED, Data, DisconnectReason, Extras, Socket};
use crate::{
    packet::Payload,
    room::{Broadcast, SocketId, Target, messages::Flags},
};

/// The data of a socket have changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DataChanged(pub(crate) SocketId);

/// A state beyond those of `Inner`: disconnected, but the client may come back.
const AWAY: u8 = DISCONNECTED + 1;

/// What a socket that comes back has from before.
pub(crate) struct Previous {
    pub(crate) id: SocketId,
    pub(crate) data: Map<String, Value>,
    /// Its credentials had a time to live.
    pub(crate) expires: bool,
}

impl Previous {
    /// Most sockets have no data.
    pub(super) fn extras(self) -> Option<Box<Extras>> {
        let data = (!self.data.is_empty()).then(|| Data::from_map(self.data))?;
        Some(Box::new(Extras { data, ..Extras::default() }))
    }
}

impl Socket {
    /// Whether the client has come back for this socket after its connection had broken, see
    /// [`SocketIoBuilder::connection_state_recovery`](crate::SocketIoBuilder::connection_state_recovery).
    ///
    /// Then id, rooms and data are those it had, and what it missed is sent to it before anything
    /// else. It is a new handle nevertheless: listeners that were added to the old one are not on
    /// it, and connect listeners run again. The data are those that the socket had when its
    /// disconnect listeners had been called, as far as these did not wait: what is written to the
    /// old handle later, after an `await` that waits or by a task that still has it, is lost.
    pub fn recovered(&self) -> bool {
        self.0.recovered
    }

    /// A copy of the values of [`Socket::data`].
    pub(crate) fn data_values(&self) -> Map<String, Value> {
        let mut extras = self.extras();
        extras.as_mut().map(|extras| extras.data.copy()).unwrap_or_default()
    }

    /// The namespace has taken the socket out of everything. What it emits later is kept for its
    /// client, if that may come back.
    pub(crate) fn set_departed(&self, reason: Option<DisconnectReason>) {
        // Old clients cannot say that they come back.
        let kept = self.home().description.recovery.is_some()
            && self.protocol() != 3
            && reason.is_some_and(DisconnectReason::is_recoverable);
        self.0.state.store(if kept { AWAY } else { DISCONNECTED }, Ordering::Release);
    }

    /// Whether an event that wants no ack goes the long way, through the namespace, which gives it
    /// its offset. A volatile one gets one too where the client would take its text for one.
    pub(crate) fn is_recorded(&self, payload: &Payload, volatile: bool) -> bool {
        self.home().description.recovery.is_some()
            && match self.0.state.load(Ordering::Acquire) {
                CONNECTED => !volatile || payload.ends_with_text(),
                AWAY => !volatile,
                _ => false,
            }
    }

    /// Sends an event the long way.
    pub(crate) fn emit_recorded(&self, payload: Payload, flags: Flags, key: Option<Arc<str>>) {
        let mut broadcast = Broadcast::new(Target::everyone(), payload, flags);
        broadcast.socket = Some(self.id().clone());
        broadcast.key = key;
        self.home().submit(Some(self.pipe()), true, move |home, origin| {
            broadcast.origin = origin;
            home.broadcast.do_send(broadcast);
        });
    }
}
