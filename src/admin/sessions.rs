//! Who has logged in already: the ids that spare the user his password after a reconnection.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use subtle::ConstantTimeEq;

/// What a [`SessionStore`] answers with.
pub type SessionFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where the sessions of an admin interface are kept.
///
/// By default in the memory of the server, at most 1,024 for 24 hours each. Several servers behind
/// one load balancer need a store that they share, else their users log in again whenever they reach
/// another one.
///
/// ```
/// use std::{collections::HashSet, future::ready, sync::Mutex};
/// use greenroom::admin::{Admin, SessionFuture, SessionStore};
///
/// /// For as long as the process runs, and without a bound.
/// #[derive(Default)]
/// struct Kept(Mutex<HashSet<String>>);
///
/// impl SessionStore for Kept {
///     fn exists<'a>(&'a self, id: &'a str) -> SessionFuture<'a, bool> {
///         Box::pin(ready(self.0.lock().unwrap().contains(id)))
///     }
///     fn save<'a>(&'a self, id: &'a str) -> SessionFuture<'a, ()> {
///         self.0.lock().unwrap().insert(id.to_owned());
///         Box::pin(ready(()))
///     }
/// }
/// let admin = Admin::new().session_store(Kept::default());
/// ```
pub trait SessionStore: Send + Sync + 'static {
    /// Whether a session of this id was saved and has not ended. The id is what a client sent.
    fn exists<'a>(&'a self, id: &'a str) -> SessionFuture<'a, bool>;

    /// Keeps the id of somebody who has logged in, for as long as sessions last.
    fn save<'a>(&'a self, id: &'a str) -> SessionFuture<'a, ()>;
}

/// Sessions that are kept at a time.
const SESSIONS: usize = 1024;
/// How long one lasts.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The default [`SessionStore`].
#[derive(Default)]
pub(super) struct MemorySessions {
    /// The oldest first. Locked to look through them when somebody logs in.
    sessions: Mutex<VecDeque<(Instant, String)>>,
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemorySessions")
    }
}

impl MemorySessions {
    fn exists_at(&self, id: &str, now: Instant) -> bool {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        while sessions.front().is_some_and(|(until, _)| *until <= now) {
            sessions.pop_front();
        }
        // All of them, whichever it is.
        let found = sessions.iter().map(|(_, known)| known.as_bytes().ct_eq(id.as_bytes()));
        found.fold(subtle::Choice::from(0), |all, one| all | one).into()
    }

    fn save_at(&self, id: &str, now: Instant) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back((now + LIFETIME, id.to_owned()));
    }
}

impl SessionStore for MemorySessions {
    fn exists<'a>(&'a self, id: &'a str) -> SessionFuture<'a, bool> {
        Box::pin(ready(self.exists_at(id, Instant::now())))
    }

    fn save<'a>(&'a self, id: &'a str) -> SessionFuture<'a, ()> {
        self.save_at(id, Instant::now());
        Box::pin(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_for_a_day() {
        let (store, start) = (MemorySessions::default(), Instant::now());
        store.save_at("a", start);
        store.save_at("b", start + Duration::from_secs(1));
        assert!(store.exists_at("a", start) && store.exists_at("b", start));
        assert!(!store.exists_at("c", start) && !store.exists_at("", start));
        let later = start + LIFETIME;
        assert!(!store.exists_at("a", later) && store.exists_at("b", later));
    }

    #[test]
    fn so_many_sessions_are_kept_and_the_oldest_end_first() {
        let (store, start) = (MemorySessions::default(), Instant::now());
        for n in 0..=SESSIONS {
            store.save_at(&n.to_string(), start);
        }
        assert!(!store.exists_at("0", start));
        assert!(store.exists_at("1", start) && store.exists_at("1024", start));
    }
}
