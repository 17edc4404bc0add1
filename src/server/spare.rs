//! Children of parents that nobody is in: they stay, as in the reference, until others want the room.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use tokio::time::Instant;

use crate::{
    namespace::{Namespace, messages::MakeWay},
    socket::home::Home,
};

/// Those that are empty, the longest empty first. The lock is held to note that one is or is not any
/// more.
#[derive(Default)]
pub(super) struct Spare {
    list: Mutex<BTreeMap<u64, Addr<Namespace>>>,
    last: AtomicU64,
}

impl Spare {
    fn list(&self) -> MutexGuard<'_, BTreeMap<u64, Addr<Namespace>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody is in this one. It keeps its place if it has one.
    pub(super) fn add(&self, home: &Home, addr: Addr<Namespace>) {
        let mut list = self.list();
        let place = home.spare_place();
        if !list.contains_key(&place) {
            let place = self.last.fetch_add(1, Ordering::Relaxed) + 1;
            home.set_spare_place(place);
            list.insert(place, addr);
        }
    }

    /// Somebody is in this one, or it has ended.
    pub(super) fn remove(&self, home: &Home) {
        if home.spare_place() != 0 {
            self.list().remove(&home.spare_place());
            home.set_spare_place(0);
        }
    }

    /// Tells the first ones to go: those beyond `most`, and one more if there is no room for another
    /// namespace. Who is not empty after all comes back when it is.
    pub(super) fn shrink(&self, most: usize, full: bool) {
        let mut list = self.list();
        let excess = list.len().saturating_sub(most).max(usize::from(full));
        let leaving: Vec<_> = std::iter::from_fn(|| list.pop_first()).take(excess).collect();
        drop(list);
        for (_, addr) in leaving {
            addr.do_send(MakeWay);
        }
    }
}

/// How often what clients cause is said aloud.
const INTERVAL: Duration = Duration::from_secs(60);

/// Says something aloud once a minute, and counts how often it would have been said.
#[derive(Default)]
pub(super) struct Complaints(Mutex<(Option<Instant>, u64)>);

impl Complaints {
    /// How often it has happened since it was said last, if it is to be said now.
    pub(super) fn next(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, count) = &mut *state;
        *count += 1;
        let now = Instant::now();
        if said.is_some_and(|said| now.duration_since(said) < INTERVAL) {
            return None;
        }
        *said = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn what_clients_cause_at_will_is_said_once_a_minute_with_a_count() {
        tokio::time::pause();
        let complaints = Complaints::default();
        assert_eq!(complaints.next(), Some(1));
        for _ in 0..99_999 {
            assert_eq!(complaints.next(), None);
        }
        tokio::time::advance(INTERVAL).await;
        assert_eq!(complaints.next(), Some(100_000));
        assert_eq!(complaints.next(), None);
    }
}
