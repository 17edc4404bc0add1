//! Closing the sessions of a server one after the other, so that its clients do not all come back
//! at the same moment.

use std::{cmp::max, time::Duration};

use rand::{RngExt as _, seq::SliceRandom as _};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::{Engine, Service, pipe::Pipe};

/// How often a session that has been told to end looks whether it can. It is woken by what it waits
/// for, but not by an answer that somebody gives up waiting for.
const TICK: Duration = Duration::from_millis(50);

/// The part of the time that is left for what is in flight at the last sessions.
const RESERVE: u32 = 4;

/// When which session is told to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) deadline: Instant,
    /// Sessions per second.
    pub(crate) rate: u32,
}

impl Plan {
    /// The time between two of so many sessions.
    fn interval(&self, sessions: usize, now: Instant) -> Duration {
        let wanted = Duration::from_secs(1) / max(self.rate, 1);
        let sessions = u32::try_from(max(sessions, 1)).unwrap_or(u32::MAX);
        let left = self.deadline.saturating_duration_since(now);
        let possible = (left - left / RESERVE) / sessions;
        if possible < wanted {
            let rate = self.rate;
            warn!(sessions, rate, "too many sessions for this rate: they are closed faster");
        }
        wanted.min(possible)
    }
}

impl<S: Service> Engine<S> {
    /// Tells the sessions to end, each at its moment, and waits until they have, or until the
    /// deadline. Returns how many were there.
    pub(crate) async fn drain(&self, plan: Plan) -> usize {
        self.stop_accepting();
        // A worker that is stuck has until the deadline, as everybody.
        let listed = tokio::time::timeout_at(plan.deadline, self.workers.pipes()).await;
        let mut waiting = listed.unwrap_or_default();
        let count = waiting.len();
        waiting.shuffle(&mut rand::rng());
        let start = Instant::now();
        let interval = plan.interval(count, start);
        let mut told: Vec<Pipe> = Vec::new();
        let (mut now, mut tick, mut next, mut index) = (start, start + TICK, start, 0);
        while now < plan.deadline {
            while now >= next
                && let Some(pipe) = waiting.pop()
            {
                pipe.ask_drain();
                told.push(pipe);
                index += 1;
                // Somewhere within its own share of the time.
                next = start + interval * index + interval.mul_f64(rand::rng().random());
            }
            if now >= tick {
                told.retain(|pipe| !pipe.is_closed());
                told.iter().for_each(Pipe::nudge);
                tick = now + TICK;
            }
            if waiting.is_empty() && self.workers.sessions() == 0 {
                break;
            }
            let wake = if waiting.is_empty() { tick } else { tick.min(next) };
            sleep_until(wake.min(plan.deadline)).await;
            now = Instant::now();
        }
        count
    }
}
