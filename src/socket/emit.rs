//! Sending events to one client.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{AckFuture, Socket, Waiting, errors::EmitError};
use crate::{
    engine::outbox::Frames,
    packet::{Outgoing, Payload},
    room::messages::Flags,
};

/// How one event is sent to one client: made by [`Socket::volatile`] and [`Socket::timeout`].
///
/// ```
/// use greenroom::prelude::*;
///
/// Namespace::new("/game").on("where am i?", |socket: Socket, (): ()| async move {
///     socket.volatile().compress(false).emit("at", &(3.5, 7.25))      // of no use later
/// });
/// ```
#[derive(Clone)]
#[must_use]
pub struct Emitter {
    socket: Socket,
    pub(super) flags: Flags,
    pub(super) key: Option<Arc<str>>,
    timeout: Option<Duration>,
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("socket", &self.socket)
            .field("flags", &self.flags)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Socket {
    /// Sends an event. `data` becomes its arguments: a tuple as many as it has, `()` none,
    /// anything else one. An array `[T; N]` is a tuple to serde and is spread too; a slice or a `Vec`
    /// is one argument.
    ///
    /// # Errors
    /// If the name is reserved, the data has no JSON form, or the socket is disconnected.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.emitter().emit(event, data)
    }

    /// Sends the event `message`, as the client's `send()` does.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }

    /// Sends an event, and gives the client's answer. Without [`Socket::timeout`] it waits as long
    /// as the client is there.
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        self.emitter().emit_with_ack(event, data)
    }

    /// The next event is dropped if it cannot be sent at once.
    pub fn volatile(&self) -> Emitter {
        self.emitter().volatile()
    }

    /// Whether transports that compress may compress the next event. Default `true`.
    pub fn compress(&self, compress: bool) -> Emitter {
        self.emitter().compress(compress)
    }

    /// The next event is answered within that time or not at all.
    pub fn timeout(&self, timeout: Duration) -> Emitter {
        self.emitter().timeout(timeout)
    }

    pub(super) fn emitter(&self) -> Emitter {
        Emitter { socket: self.clone(), flags: Flags::default(), key: None, timeout: None }
    }
}

impl Emitter {
    /// The event is dropped if it cannot be sent at once.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether transports that compress may compress the event. Default `true`.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    /// The event is answered within that time or not at all.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends an event, see [`Socket::emit`].
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        let payload = Payload::event(event, data)?;
        if self.socket.is_recorded(&payload, self.flags.volatile) {
            self.socket.emit_recorded(payload, self.flags, self.key.clone());
        } else if self.socket.is_silent() {
            return Err(EmitError::Disconnected);
        } else {
            let home = self.socket.home();
            let frames = self.frames(None, &payload)?;
            let (name, key) = (self.socket.namespace(), self.key.as_deref());
            let frames = home.description.mark(frames, name, &payload, self.flags, key);
            self.send_frames(frames, &payload);
        }
        Ok(())
    }

    fn frames(&self, id: Option<u64>, payload: &Payload) -> Result<Frames, EmitError> {
        let event = Outgoing::Event { namespace: self.socket.namespace(), id, payload };
        Ok(self.socket.codec().try_frames(&event, self.flags.compress)?)
    }

    fn send_frames(&self, frames: Frames, payload: &Payload) {
        self.socket.note_own(payload);
        self.socket.home().description.meters.sent.add(1);
        self.socket.pipe().send_own(frames, self.flags.volatile, self.socket.owner());
    }

    fn payload<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<Payload, EmitError> {
        let payload = Payload::event(event, data)?;
        if self.socket.is_silent() {
            return Err(EmitError::Disconnected);
        }
        Ok(payload)
    }

    /// Sends an event, and gives the client's answer, see [`Socket::emit_with_ack`].
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        let payload = match self.payload(event, data) {
            Ok(payload) => payload,
            Err(error) => return AckFuture::failed(error),
        };
        let socket = &self.socket;
        let id = socket.home().next_ack();
        let frames = match self.frames(Some(id), &payload) {
            Ok(frames) => frames,
            Err(error) => return AckFuture::failed(error),
        };
        let (sender, answer) = oneshot::channel();
        // Before the event, so that no answer can come too early.
        if !socket.expect(id, Waiting::One(sender)) {
            return AckFuture::failed(EmitError::TooManyQuestions);
        }
        self.send_frames(frames, &payload);
        AckFuture::new(socket, id, answer, self.timeout)
    }
}
