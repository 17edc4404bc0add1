//! The rooms that others were told to let sockets join, for as long as it may take them to subscribe.

use std::collections::VecDeque;

use hashbrown::HashMap;
use tokio::time::{Duration, Instant};

use crate::room::Room;

/// How long a room counts. By then all have subscribed, or Redis is away.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// Rooms that are remembered. With more in that time, every room counts.
const MAX_ROOMS: usize = 16_384;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Recent {
    until: HashMap<Room, Instant>,
    order: VecDeque<(Instant, Room)>,
    /// Until then every room counts.
    all: Option<Instant>,
}

impl Recent {
    pub(super) fn add(&mut self, rooms: &[Room]) {
        let until = Instant::now() + PERIOD;
        for room in rooms {
            self.until.insert(room.clone(), until);
            self.order.push_back((until, room.clone()));
        }
        if self.order.len() > MAX_ROOMS {
            *self = Self { all: Some(until), ..Self::default() };
        }
    }

    /// From now on every room counts.
    pub(super) fn add_all(&mut self) {
        *self = Self { all: Some(Instant::now() + PERIOD), ..Self::default() };
    }

    pub(super) fn has(&mut self, room: &str) -> bool {
        if self.order.is_empty() && self.all.is_none() {
            return false;
        }
        let now = Instant::now();
        self.all = self.all.filter(|until| *until > now);
        while let Some((until, _)) = self.order.front().filter(|(until, _)| *until <= now) {
            let until = *until;
            if let Some((_, room)) = self.order.pop_front()
                && self.until.get(&room) == Some(&until)
            {
                self.until.remove(&room);
            }
        }
        self.all.is_some() || self.until.contains_key(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_room_counts_for_a_while_and_nothing_is_kept_longer() {
        tokio::time::pause();
        let mut recent = Recent::default();
        recent.add(&["a".into()]);
        tokio::time::advance(PERIOD / 2).await;
        recent.add(&["a".into(), "b".into()]);
        tokio::time::advance(PERIOD / 2).await;
        assert!(recent.has("a") && recent.has("b") && !recent.has("c"));
        tokio::time::advance(PERIOD / 2).await;
        assert!(!recent.has("a") && !recent.has("b"));
        assert!(recent.until.is_empty() && recent.order.is_empty());
    }

    #[actix_rt::test]
    async fn of_too_many_rooms_all_count() {
        tokio::time::pause();
        let mut recent = Recent::default();
        for n in 0..=MAX_ROOMS {
            recent.add(&[n.to_string().into()]);
        }
        assert!(recent.order.is_empty());
        assert!(recent.has("0") && recent.has("any"));
        tokio::time::advance(PERIOD).await;
        assert!(!recent.has("any"));
    }
}
