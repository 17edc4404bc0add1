//! Catch-all listeners: told of every event that comes, or that is sent.
//!
//! They are called and not awaited, before anything else happens with the event. What is sent is
//! told in the order of sending: a broadcast when it reaches the socket, an emit of the socket
//! itself when what it waits behind has. User code runs on the client's own worker only, so what
//! is sent is kept for a moment, bounded, until its connection calls the listeners.

use std::{collections::VecDeque, sync::Arc};

use smallvec::SmallVec;

use super::{AckSender, ListenerId, Socket};
use crate::{
    packet::{Event, Payload},
    room::Sent,
};

/// A listener of all that comes.
pub(crate) type AnyListener = Arc<dyn Fn(&Socket, &Event, &AckSender) + Send + Sync>;
/// A listener of all that is sent.
pub(crate) type OutgoingListener = Arc<dyn Fn(&Socket, &Event) + Send + Sync>;

/// The catch-all listeners of one direction that one socket got at run time, in order.
pub(super) struct CatchAll<F>(Vec<(ListenerId, F)>);

impl<F> Default for CatchAll<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Clone> CatchAll<F> {
    fn add(&mut self, id: ListenerId, listener: F, first: bool) {
        let index = if first { 0 } else { self.0.len() };
        self.0.insert(index, (id, listener));
    }

    /// Removes one or all; how many there were.
    fn remove(&mut self, id: Option<ListenerId>) -> usize {
        let before = self.0.len();
        self.0.retain(|(own, _)| id.is_some_and(|id| *own != id));
        before - self.0.len()
    }

    fn ids(&self) -> Vec<ListenerId> {
        self.0.iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn listeners(&self) -> SmallVec<[F; 2]> {
        self.0.iter().map(|(_, listener)| listener.clone()).collect()
    }
}

/// What was sent and has not been told yet.
#[derive(Default)]
pub(super) struct Unheard {
    queue: VecDeque<Sent>,
    bytes: usize,
    dropped: u64,
}

impl Unheard {
    /// As many events as the outbox of a client holds before its connection is closed.
    const EVENTS: usize = 49_152;
    /// Bytes of them.
    const BYTES: usize = 4 << 20;

    fn push(&mut self, sent: Sent) {
        let full = self.queue.len() >= Self::EVENTS || self.bytes >= Self::BYTES;
        if full {
            self.dropped += 1;
            return;
        }
        self.bytes += sent.size();
        self.queue.push_back(sent);
    }
}

/// Catch-all listeners. They see every event, are called on the client's worker and should be
/// short: what takes time is sent to an actor, or spawned.
impl Socket {
    /// Calls `listener` with every event that comes from the client, before its middlewares and
    /// its listeners: also one that is refused then, and one that nobody listens to. By the
    /// [`AckSender`] it sees whether the client wants an answer, and may give it.
    ///
    /// It is called behind those of the [namespace](crate::Namespace::on_any).
    pub fn on_any(
        &self,
        listener: impl Fn(&Self, &Event, &AckSender) + Send + Sync + 'static,
    ) -> ListenerId {
        self.watch(|watchers, id| watchers.any.add(id, Arc::new(listener), false))
    }

    /// The same before the socket's other catch-all listeners.
    pub fn prepend_any(
        &self,
        listener: impl Fn(&Self, &Event, &AckSender) + Send + Sync + 'static,
    ) -> ListenerId {
        self.watch(|watchers, id| watchers.any.add(id, Arc::new(listener), true))
    }

    /// Removes one listener of [`Socket::on_any`] and [`Socket::prepend_any`], or with `None` all
    /// of them; how many there were.
    pub fn off_any(&self, id: impl Into<Option<ListenerId>>) -> usize {
        self.change_watchers(|watchers| watchers.any.remove(id.into()))
    }

    /// The listeners of [`Socket::on_any`] and [`Socket::prepend_any`], in the order of their
    /// calls.
    pub fn listeners_any(&self) -> Vec<ListenerId> {
        self.watchers(|watchers| watchers.any.ids())
    }

    /// Calls `listener` with every event that is sent to the client: emits of the socket and
    /// broadcasts that reach it, those that want an answer included, but no answers to the client's
    /// own events.
    ///
    /// It is called soon after the event was sent, in the order of sending, and behind those of
    /// the [namespace](crate::Namespace::on_any_outgoing). It sees volatile events also when the
    /// client cannot take them. What a client missed that comes back, and is sent to it again (see
    /// [`Socket::recovered`]), it does not hear. It should not send to its own client: it would be
    /// called for that again, for ever.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Self, &Event) + Send + Sync + 'static,
    ) -> ListenerId {
        self.listen_outgoing(Arc::new(listener), false)
    }

    /// The same before the socket's other listeners of what is sent.
    pub fn prepend_any_outgoing(
        &self,
        listener: impl Fn(&Self, &Event) + Send + Sync + 'static,
    ) -> ListenerId {
        self.listen_outgoing(Arc::new(listener), true)
    }

    fn listen_outgoing(&self, listener: OutgoingListener, first: bool) -> ListenerId {
        let id = self.watch(|watchers, id| watchers.any_outgoing.add(id, listener, first));
        self.home().description.want_copies();
        id
    }

    /// Removes one listener of [`Socket::on_any_outgoing`] and [`Socket::prepend_any_outgoing`],
    /// or with `None` all of them; how many there were.
    pub fn off_any_outgoing(&self, id: impl Into<Option<ListenerId>>) -> usize {
        self.change_watchers(|watchers| watchers.any_outgoing.remove(id.into()))
    }

    /// The listeners of [`Socket::on_any_outgoing`] and [`Socket::prepend_any_outgoing`], in the
    /// order of their calls.
    pub fn listeners_any_outgoing(&self) -> Vec<ListenerId> {
        self.watchers(|watchers| watchers.any_outgoing.ids())
    }
}

/// For those who send, and for the connection that calls the listeners.
impl Socket {
    /// Notes an event that this socket sends, behind the broadcasts that it will come behind.
    pub(crate) fn note_own(&self, payload: &Payload) {
        if self.hears_outgoing() {
            let (socket, sent) = (self.clone(), Sent::new(payload));
            // A way of its own: it waits for all that is in flight, as the event itself does.
            self.pipe().follow(self.owner(), move || socket.note(sent));
        }
    }

    /// Notes an event that reaches the socket now.
    pub(super) fn note(&self, sent: Sent) {
        self.extras().get_or_insert_default().watchers().unheard.push(sent);
        if !self.set_unheard() {
            self.pipe().nudge();
        }
    }

    /// What has been sent and not been told yet, in order, and how much more was dropped.
    pub(crate) fn take_unheard(&self) -> Option<(VecDeque<Sent>, u64)> {
        if !self.take_unheard_mark() {
            return None;
        }
        let unheard = self.change_watchers(|watchers| std::mem::take(&mut watchers.unheard));
        Some((unheard.queue, unheard.dropped))
    }

    pub(crate) fn outgoing_listeners(&self) -> SmallVec<[OutgoingListener; 2]> {
        let mut all: SmallVec<_> =
            self.home().description.listeners.any_outgoing.iter().cloned().collect();
        all.extend(self.watchers(|watchers| watchers.any_outgoing.listeners()));
        all
    }

    pub(crate) fn any_listeners(&self) -> SmallVec<[AnyListener; 2]> {
        let mut all: SmallVec<_> = self.home().description.listeners.any.iter().cloned().collect();
        all.extend(self.watchers(|watchers| watchers.any.listeners()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: usize) -> Sent {
        let empty = Payload::event("e", &"").unwrap().json().len();
        Sent::new(&Payload::event("e", &"x".repeat(bytes.saturating_sub(empty))).unwrap())
    }

    #[test]
    fn so_many_sent_events_wait_for_listeners_and_those_beyond_are_counted() {
        let (mut unheard, sent) = (Unheard::default(), sent(0));
        for _ in 0..49_152 {
            unheard.push(sent.clone());
        }
        assert_eq!((unheard.queue.len(), unheard.dropped), (49_152, 0));
        unheard.push(sent);
        assert_eq!((unheard.queue.len(), unheard.dropped), (49_152, 1));
    }

    #[test]
    fn so_many_bytes_of_sent_events_wait_for_listeners_and_those_beyond_are_counted() {
        let mut unheard = Unheard::default();
        for bytes in [3 << 20, (1 << 20) - 1, 100, 100] {
            unheard.push(sent(bytes));
        }
        assert_eq!((unheard.queue.len(), unheard.dropped), (3, 1));
    }
}
