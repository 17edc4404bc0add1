//! Listeners that one socket gets at run time.

use std::{collections::BTreeSet, future::Future};

use super::{
    BoxedListener, DisconnectReason, IntoOutcome, Listener, ListenerId, Socket, listeners,
};
use crate::{engine::ConnectionEvent, packet::is_reserved};

impl Socket {
    /// Adds a listener for this socket alone. It is called after those of the namespace.
    ///
    /// # Panics
    /// If the name is reserved, as no client can send it: see
    /// [`on_disconnecting`](Self::on_disconnecting) and [`on_disconnect`](Self::on_disconnect).
    #[track_caller]
    pub fn on<M>(&self, event: &str, listener: impl Listener<M>) -> ListenerId {
        self.add(event, false, false, listener)
    }

    /// Adds a listener that is called once at most.
    ///
    /// # Panics
    /// As [`Socket::on`].
    #[track_caller]
    pub fn once<M>(&self, event: &str, listener: impl Listener<M>) -> ListenerId {
        self.add(event, true, false, listener)
    }

    /// Adds a listener before the others of this socket; those of the namespace still come first.
    ///
    /// # Panics
    /// As [`Socket::on`].
    #[track_caller]
    pub fn prepend<M>(&self, event: &str, listener: impl Listener<M>) -> ListenerId {
        self.add(event, false, true, listener)
    }

    /// The same for a listener that is called once at most.
    ///
    /// # Panics
    /// As [`Socket::on`].
    #[track_caller]
    pub fn prepend_once<M>(&self, event: &str, listener: impl Listener<M>) -> ListenerId {
        self.add(event, true, true, listener)
    }

    #[track_caller]
    fn add<M>(
        &self,
        event: &str,
        once: bool,
        first: bool,
        listener: impl Listener<M>,
    ) -> ListenerId {
        assert!(
            !is_reserved(event),
            "no client can send {event:?}: use on_disconnecting or on_disconnect"
        );
        let BoxedListener(handler) = listener.into_handler();
        self.extras().get_or_insert_default().listeners.add(event, once, first, handler)
    }

    /// The listeners of an event that were added to this socket, in the order of their calls.
    pub fn listeners(&self, event: &str) -> Vec<ListenerId> {
        let extras = self.extras();
        let own = extras.iter().flat_map(|extras| &extras.listeners.events);
        own.filter(|own| &*own.event == event).map(|own| own.id).collect()
    }

    /// Whether anything listens to an event by name, in the namespace or in this socket.
    pub fn has_listeners(&self, event: &str) -> bool {
        self.home().description.listeners.events.contains_key(event)
            || self.extras().as_ref().is_some_and(|extras| {
                extras.listeners.events.iter().any(|own| &*own.event == event)
            })
    }

    /// The names of the events that have listeners, in the namespace or in this socket, sorted.
    pub fn event_names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> =
            self.home().description.listeners.events.keys().cloned().collect();
        if let Some(extras) = self.extras().as_ref() {
            names.extend(extras.listeners.events.iter().map(|own| own.event.to_string()));
        }
        names.into_iter().collect()
    }

    /// Removes a listener that was added with [`Socket::on`] or [`Socket::once`]; whether it was
    /// still there.
    pub fn off(&self, id: ListenerId) -> bool {
        let mut extras = self.extras();
        let Some(extras) = extras.as_mut() else { return false };
        let before = extras.listeners.events.len();
        extras.listeners.events.retain(|own| own.id != id);
        extras.listeners.events.len() != before
    }

    /// Removes all listeners of an event that were added to this socket; how many there were.
    pub fn off_all(&self, event: &str) -> usize {
        let mut extras = self.extras();
        let Some(extras) = extras.as_mut() else { return 0 };
        let before = extras.listeners.events.len();
        extras.listeners.events.retain(|own| &*own.event != event);
        before - extras.listeners.events.len()
    }

    /// Calls `listener` when the socket is about to leave, while it still is in its rooms.
    pub fn on_disconnecting<F, Fut>(&self, listener: F)
    where
        F: Fn(Self, DisconnectReason) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoOutcome,
    {
        let listener = listeners::hook(listener);
        self.extras().get_or_insert_default().listeners.disconnecting.push(listener);
    }

    /// Calls `listener` when the socket has left its rooms and its namespace.
    pub fn on_disconnect<F, Fut>(&self, listener: F)
    where
        F: Fn(Self, DisconnectReason) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoOutcome,
    {
        let listener = listeners::hook(listener);
        self.extras().get_or_insert_default().listeners.disconnect.push(listener);
    }

    /// Calls `listener` when something happens to the underlying connection: it was upgraded, its
    /// client answered a ping, nothing waits to be sent any more, or it has ended.
    pub fn on_connection_event<F, Fut>(&self, listener: F)
    where
        F: Fn(Self, ConnectionEvent) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoOutcome,
    {
        let listener = listeners::hook(listener);
        self.pipe().watch_drains();
        self.extras().get_or_insert_default().listeners.connection.push(listener);
    }
}
