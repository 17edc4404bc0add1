//! The requests that wait for answers, and when their time is up. Plain data; times are given.
//!
//! One timer is enough for all of them, that of the earliest: an actor polls all of its timers
//! whenever it has anything to do, and of those who are answered at once there may be many.

use std::{collections::BTreeSet, time::Duration};

use hashbrown::HashMap;
use tokio::time::Instant;

use super::requests::Request;
use crate::adapter::message::Uid;

/// No request waits longer, so that sums of times have an end.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// See the module's description.
#[derive(Default)]
pub(super) struct Pending {
    requests: HashMap<Uid, (Instant, Request)>,
    ends: BTreeSet<(Instant, Uid)>,
    /// When the timer wakes.
    armed: Option<Instant>,
}

impl Pending {
    /// Adds a request that may take so long.
    pub(super) fn add(&mut self, uid: Uid, request: Request, timeout: Duration, now: Instant) {
        let end = now + timeout.min(LONGEST);
        self.ends.insert((end, uid.clone()));
        self.requests.insert(uid, (end, request));
    }

    pub(super) fn get_mut(&mut self, uid: &Uid) -> Option<&mut Request> {
        self.requests.get_mut(uid).map(|(_, request)| request)
    }

    pub(super) fn remove(&mut self, uid: &Uid) -> Option<Request> {
        let (end, request) = self.requests.remove(uid)?;
        self.ends.remove(&(end, uid.clone()));
        Some(request)
    }

    /// Keeps those that are to be kept.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&mut Request) -> bool) {
        self.requests.retain(|uid, (end, request)| {
            let kept = is_kept(request);
            if !kept {
                self.ends.remove(&(*end, uid.clone()));
            }
            kept
        });
    }

    /// All of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Request> {
        self.ends.clear();
        self.requests.drain().map(|(_, (_, request))| request)
    }

    /// How long the timer has to wait, if it does not wake early enough already. It is set then.
    pub(super) fn arm(&mut self, now: Instant) -> Option<Duration> {
        let end = self.ends.first().map(|(end, _)| *end)?;
        if self.armed.is_some_and(|armed| armed <= end) {
            return None;
        }
        self.armed = Some(end);
        Some(end.saturating_duration_since(now))
    }

    /// The timer has woken: one whose time is up. [`Pending::arm`] has to follow when there is none
    /// any more.
    pub(super) fn due(&mut self, now: Instant) -> Option<Request> {
        self.armed = None;
        let (end, uid) = self.ends.first()?;
        if *end > now {
            return None;
        }
        let uid = uid.clone();
        self.remove(&uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapter::link::{Question, Sink},
        metrics::Metrics,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn request(seat: u64) -> Request {
        let sink = Sink::Gather(tokio::sync::mpsc::unbounded_channel().0);
        Request::new(seat, sink, Metrics::default().meters.request(Question::AllRooms.kind()))
    }

    fn uid(n: u64) -> Uid {
        Uid::from(&*n.to_string())
    }

    #[test]
    fn one_timer_does_for_requests_that_are_answered_in_time() {
        let (mut pending, begin) = (Pending::default(), Instant::now());
        let mut timers = 0;
        for n in 0..1000 {
            let now = begin + SECOND / 1000 * n as u32;
            pending.add(uid(n), request(1), 5 * SECOND, now);
            timers += usize::from(pending.arm(now).is_some());
            assert!(pending.remove(&uid(n)).is_some());
        }
        assert_eq!(timers, 1);
        assert!(pending.requests.is_empty() && pending.ends.is_empty());
        assert!(pending.due(begin + 5 * SECOND).is_none());
        assert_eq!(pending.arm(begin + 5 * SECOND), None, "there is nothing to wait for");
    }

    #[test]
    fn each_ends_in_its_time_and_an_earlier_one_gets_an_earlier_timer() {
        let (mut pending, begin) = (Pending::default(), Instant::now());
        pending.add(uid(1), request(1), 5 * SECOND, begin);
        assert_eq!(pending.arm(begin), Some(5 * SECOND));
        pending.add(uid(2), request(2), SECOND, begin + SECOND);
        assert_eq!(pending.arm(begin + SECOND), Some(SECOND));
        pending.add(uid(3), request(3), 9 * SECOND, begin + SECOND);
        assert_eq!(pending.arm(begin + SECOND), None);
        let now = begin + 2 * SECOND;
        assert_eq!(pending.due(now).map(|request| request.seat), Some(2));
        assert!(pending.due(now).is_none());
        assert_eq!(pending.arm(now), Some(3 * SECOND));
        pending.retain(|request| request.seat == 3);
        assert!(pending.due(begin + 5 * SECOND).is_none());
        assert_eq!(pending.arm(begin + 5 * SECOND), Some(5 * SECOND));
        assert_eq!(pending.drain().count(), 1);
        assert_eq!(pending.arm(begin + 5 * SECOND), None);
    }

    #[test]
    fn the_longest_time_is_a_time() {
        let (mut pending, begin) = (Pending::default(), Instant::now());
        pending.add(uid(1), request(1), Duration::MAX, begin);
        assert_eq!(pending.arm(begin), Some(LONGEST));
    }
}
