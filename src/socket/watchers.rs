//! Who watches the events of one socket: rarely anybody, so a socket without watchers knows it by
//! one byte.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{
    ListenerId, Socket,
    catch_all::{AnyListener, CatchAll, OutgoingListener, Unheard},
    home::Home,
    listeners::ErrorHook,
    middleware::EventMiddleware,
};

/// What a socket got at run time besides listeners of single events.
#[derive(Default)]
pub(super) struct Watchers {
    pub(super) any: CatchAll<AnyListener>,
    pub(super) any_outgoing: CatchAll<OutgoingListener>,
    pub(super) before_event: Vec<EventMiddleware>,
    pub(super) errors: Vec<ErrorHook>,
    pub(super) unheard: Unheard,
}

/// Something sees the events that come before their listeners do.
const INCOMING: u8 = 1;
/// Something sees the events that are sent.
const OUTGOING: u8 = 2;
/// Events were sent that their listeners have not seen yet.
const UNHEARD: u8 = 4;

/// What there is, so that most sockets need not look.
#[derive(Default)]
pub(super) struct Watched(AtomicU8);

impl Watched {
    fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Acquire) & bit != 0
    }

    /// Whether anything sees the events that are sent to a socket of this namespace.
    pub(super) fn hears(&self, home: &Home) -> bool {
        self.has(OUTGOING)
            || !home.description.listeners.any_outgoing.is_empty()
            || home.description.is_tapped()
    }

    /// Sets or takes back a bit; whether it was set before.
    fn set(&self, bit: u8, on: bool) -> bool {
        let before = match on {
            true => self.0.fetch_or(bit, Ordering::AcqRel),
            false => self.0.fetch_and(!bit, Ordering::AcqRel),
        };
        before & bit != 0
    }
}

impl Socket {
    /// Whether anything sees the client's events before their listeners.
    pub(crate) fn is_watched(&self) -> bool {
        let description = &self.home().description;
        self.0.watched.has(INCOMING)
            || !description.listeners.any.is_empty()
            || !description.listeners.before_event.is_empty()
            || description.is_tapped()
    }

    /// Whether anything sees the events that are sent.
    pub(crate) fn hears_outgoing(&self) -> bool {
        self.0.watched.hears(self.home())
    }

    /// Says that sent events wait for their listeners; whether others did before.
    pub(super) fn set_unheard(&self) -> bool {
        self.0.watched.set(UNHEARD, true)
    }

    /// Whether sent events waited for their listeners; whoever asks takes them.
    pub(super) fn take_unheard_mark(&self) -> bool {
        // Looking costs less than changing, and mostly there is nothing to change.
        self.0.watched.has(UNHEARD) && self.0.watched.set(UNHEARD, false)
    }

    /// Looks at the watchers; without any, at empty ones.
    pub(super) fn watchers<R: Default>(&self, look: impl FnOnce(&Watchers) -> R) -> R {
        let extras = self.extras();
        extras.as_ref().and_then(|extras| extras.watchers.as_deref()).map(look).unwrap_or_default()
    }

    /// Changes the watchers, and sees to it that everybody knows what there is.
    pub(super) fn change_watchers<R>(&self, change: impl FnOnce(&mut Watchers) -> R) -> R {
        let mut extras = self.extras();
        let watchers = extras.get_or_insert_default().watchers();
        let result = change(watchers);
        let incoming = !(watchers.any.is_empty() && watchers.before_event.is_empty());
        self.0.watched.set(INCOMING, incoming);
        self.0.watched.set(OUTGOING, !watchers.any_outgoing.is_empty());
        result
    }

    /// Adds something that has a name of its own.
    pub(super) fn watch(&self, add: impl FnOnce(&mut Watchers, ListenerId)) -> ListenerId {
        let id = self.extras().get_or_insert_default().listeners.next_id();
        self.change_watchers(|watchers| add(watchers, id));
        id
    }
}
