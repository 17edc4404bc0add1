//! What becomes of events for clients that do not keep up, and who is told of such clients.

use std::sync::Arc;

use super::{BroadcastOperator, Emitter, Socket, home::Description};
use crate::{
    engine::{ConnectionEvent, WhenFull, frame::Mark, outbox::Frames},
    packet::Payload,
    room::messages::Flags,
};

/// How a client keeps up with what is sent to it, see [`Namespace::on_pace`](crate::Namespace::on_pace).
///
/// ```
/// use greenroom::{Pace, prelude::*};
///
/// Namespace::new("/prices").on_pace(|socket: Socket, pace: Pace| async move {
///     match pace {
///         Pace::Slow => socket.leave("every change"),
///         _ => socket.join("every change"),
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pace {
    /// More waits for it than its outbox should hold. It is closed if it does not catch up, or loses
    /// events, see [`WhenFull`].
    Slow,
    /// It has read until no more than half of the bounds waited.
    CaughtUp,
}

impl Pace {
    /// What an event of the connection says about it.
    pub(crate) fn of(event: ConnectionEvent) -> Option<Self> {
        match event {
            ConnectionEvent::Slow => Some(Self::Slow),
            ConnectionEvent::CaughtUp => Some(Self::CaughtUp),
            _ => None,
        }
    }
}

impl Socket {
    /// What becomes of the next event if the client's outbox is full. Default: what the namespace
    /// says, see [`Namespace::when_full`](crate::Namespace::when_full).
    pub fn when_full(&self, when_full: WhenFull) -> Emitter {
        self.emitter().when_full(when_full)
    }

    /// Of the events with this key the client may get the latest only, if it is slow, see
    /// [`WhenFull::KeepLatest`].
    pub fn latest(&self, key: impl Into<Arc<str>>) -> Emitter {
        self.emitter().latest(key)
    }
}

impl Emitter {
    /// What becomes of the event if the client's outbox is full, see [`Socket::when_full`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.flags.when_full = Some(when_full);
        self
    }

    /// Of the events with this key the client may get the latest only, see [`Socket::latest`].
    pub fn latest(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self.when_full(WhenFull::KeepLatest)
    }
}

impl BroadcastOperator {
    /// What becomes of the event for receivers whose outbox is full. Default: what the namespace
    /// says, see [`Namespace::when_full`](crate::Namespace::when_full). One that wants answers is
    /// never dropped.
    pub fn when_full(&self, when_full: WhenFull) -> Self {
        let mut operator = self.clone();
        operator.flags.when_full = Some(when_full);
        operator
    }

    /// Of the events with this key a slow client may get the latest only, see
    /// [`WhenFull::KeepLatest`].
    pub fn latest(&self, key: impl Into<Arc<str>>) -> Self {
        let mut operator = self.when_full(WhenFull::KeepLatest);
        operator.key = Some(key.into());
        operator
    }
}

impl Description {
    /// Says in the frames of an event that wants no ack what may become of it.
    pub(crate) fn mark(
        &self,
        frames: Frames,
        namespace: &str,
        payload: &Payload,
        flags: Flags,
        key: Option<&str>,
    ) -> Frames {
        match flags.when_full.unwrap_or(self.when_full) {
            WhenFull::Close => frames,
            WhenFull::KeepLatest => {
                // A client may be in several namespaces. Their names have no such character: a
                // client could not ask for one.
                let key = format!("{namespace}\0{}", key.unwrap_or(payload.name()));
                mark(frames, Mark::KeepLatest, Some(&key))
            }
            when_full => mark(frames, when_full.mark(), None),
        }
    }
}

fn mark(frames: Frames, mark: Mark, key: Option<&str>) -> Frames {
    let marked = frames.into_iter().enumerate().map(|(index, frame)| match (index, key) {
        (0, Some(key)) => frame.with_key(key),
        (0, None) => frame.with_mark(mark),
        _ => frame.with_mark(Mark::Part),
    });
    marked.collect()
}
