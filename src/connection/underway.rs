//! How much of a client's events is at work or waits, and the bounds of both.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use super::Limits;
use crate::{packet::Event, socket::Socket};

/// How many listeners of a connection are under way or waiting for their turn, and the bytes of
/// their events.
#[derive(Debug, Default)]
pub(super) struct Running {
    count: Cell<usize>,
    bytes: Cell<usize>,
    /// Of these, listeners of sockets' lives, which no event has called.
    hooks: Cell<usize>,
}

impl Running {
    /// Whether there may be one more.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.count.get() < limits.max_running && self.bytes.get() < limits.max_running_bytes
    }

    /// How many listeners of sockets' lives are under way.
    pub(super) fn hooks(&self) -> usize {
        self.hooks.get()
    }

    /// One more, until the returned value is dropped.
    pub(super) fn begin(self: &Rc<Self>, socket: &Socket, event: Option<&Event>) -> Underway {
        let bytes = event.map_or(0, size);
        let is_hook = event.is_none();
        self.hooks.set(self.hooks.get() + usize::from(is_hook));
        self.count.set(self.count.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        Underway { running: Rc::clone(self), socket: socket.clone(), bytes, is_hook }
    }
}

/// A listener under way, or an event that waits for one.
#[derive(Debug)]
pub(super) struct Underway {
    running: Rc<Running>,
    pub(super) socket: Socket,
    bytes: usize,
    is_hook: bool,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.running.count.set(self.running.count.get() - 1);
        self.running.hooks.set(self.running.hooks.get() - usize::from(self.is_hook));
        self.running.bytes.set(self.running.bytes.get() - self.bytes);
        // The connection may have stopped reading.
        self.socket.pipe().nudge();
    }
}

/// Events that wait because as many listeners are at work as may be.
#[derive(Debug)]
pub(super) struct Parked<S = Socket> {
    events: VecDeque<(S, Event, Option<u64>)>,
    bytes: usize,
}

impl<S> Default for Parked<S> {
    fn default() -> Self {
        Self { events: VecDeque::new(), bytes: 0 }
    }
}

impl<S> Parked<S> {
    /// Events that may wait before nothing more is read at all.
    const EVENTS: usize = 16_384;
    /// Bytes of them.
    const BYTES: usize = 4 << 20;

    pub(super) fn push(&mut self, socket: S, event: Event, id: Option<u64>) {
        self.bytes += size(&event);
        self.events.push_back((socket, event, id));
    }

    pub(super) fn pop(&mut self) -> Option<(S, Event, Option<u64>)> {
        let (socket, event, id) = self.events.pop_front()?;
        self.bytes -= size(&event);
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        Some((socket, event, id))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= Self::EVENTS || self.bytes >= Self::BYTES
    }
}

fn size(event: &Event) -> usize {
    let attachments: usize = event.args.attachments().iter().map(|data| data.len()).sum();
    event.name.len() + event.args.raw_json().len() + attachments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;

    /// An event of so many bytes, if that is possible.
    fn event(bytes: usize) -> Event {
        let empty = Event { name: "e".into(), args: Args::of(&"").unwrap() };
        let text = "x".repeat(bytes.saturating_sub(size(&empty)));
        Event { args: Args::of(&text).unwrap(), ..empty }
    }

    #[test]
    fn as_many_events_wait_for_their_turn_as_may() {
        let mut parked = Parked::<()>::default();
        for _ in 0..16_383 {
            parked.push((), event(0), None);
        }
        assert!(!parked.is_full());
        parked.push((), event(0), None);
        assert!(parked.is_full());
        parked.pop().unwrap();
        assert!(!parked.is_full());
    }

    #[test]
    fn as_many_bytes_of_events_wait_for_their_turn_as_may() {
        let mut parked = Parked::<()>::default();
        for _ in 0..3 {
            parked.push((), event(1 << 20), None);
        }
        parked.push((), event((1 << 20) - 1), None);
        assert!(!parked.is_full());
        parked.push((), event(100), None);
        assert!(parked.is_full());
        parked.pop().unwrap();
        assert!(!parked.is_full());
    }
}
