//! Sending events to one client.

use std::{fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use smallvec::smallvec;
use tokio::sync::oneshot;

use super::{AckFuture, Socket, Waiting, errors::EmitError};
use crate::{
    engine::{
        frame::{Frame, FrameBuffer},
        outbox::Frames,
    },
    packet::{self, Payload},
};

/// Room for what stands before the JSON text of a packet.
const HEAD: usize = 24;

fn frames(namespace: &str, payload: &Payload, write: impl FnOnce(&mut Vec<u8>)) -> Frames {
    let mut buffer = FrameBuffer::with_capacity(HEAD + namespace.len() + payload.json().len());
    buffer.out().push(b'4');
    write(buffer.out());
    let mut frames: Frames = smallvec![buffer.finish()];
    frames.extend(payload.attachments().iter().map(|data| Frame::binary_message(data)));
    frames
}

/// An event as ready frames, its attachments behind it.
pub(crate) fn event_frames(namespace: &str, ack: Option<u64>, payload: &Payload) -> Frames {
    frames(namespace, payload, |out| packet::write_event(out, namespace, ack, payload))
}

/// An answer as ready frames.
pub(crate) fn ack_frames(namespace: &str, id: u64, payload: &Payload) -> Frames {
    frames(namespace, payload, |out| packet::write_ack(out, namespace, id, payload))
}

/// A packet without payload of its own as a ready frame.
pub(crate) fn control_frame(write: impl FnOnce(&mut Vec<u8>)) -> Frames {
    let mut buffer = FrameBuffer::with_capacity(64);
    buffer.out().push(b'4');
    write(buffer.out());
    smallvec![buffer.finish()]
}

/// How one event is sent to one client: made by [`Socket::volatile`] and [`Socket::timeout`].
#[derive(Clone)]
#[must_use]
pub struct Emitter {
    socket: Socket,
    volatile: bool,
    timeout: Option<Duration>,
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("socket", &self.socket)
            .field("volatile", &self.volatile)
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
        Emitter { volatile: true, ..self.emitter() }
    }

    /// The next event is answered within that time or not at all.
    pub fn timeout(&self, timeout: Duration) -> Emitter {
        Emitter { timeout: Some(timeout), ..self.emitter() }
    }

    fn emitter(&self) -> Emitter {
        Emitter { socket: self.clone(), volatile: false, timeout: None }
    }
}

impl Emitter {
    /// The event is dropped if it cannot be sent at once.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
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
        let payload = self.payload(event, data)?;
        let frames = event_frames(self.socket.namespace(), None, &payload);
        self.socket.pipe().send_own(frames, self.volatile, self.socket.owner());
        Ok(())
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
        let (sender, answer) = oneshot::channel();
        // Before the event, so that no answer can come too early.
        socket.questions().ask(id, Waiting::One(sender));
        let frames = event_frames(socket.namespace(), Some(id), &payload);
        socket.pipe().send_own(frames, self.volatile, socket.owner());
        AckFuture::new(socket, id, answer, self.timeout)
    }
}
