//! What goes over the wire, for an admin interface.
//!
//! Packets are counted only while somebody looks, and by each worker for itself: many threads that
//! count in one place would wait for each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// More workers than this share places.
const SHARDS: usize = 16;
/// More than there are reasons for the end of a session.
const REASONS: usize = 16;

/// Packets and bytes, all since somebody looked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
}

/// One worker's, in cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    packets_in: AtomicU64,
    bytes_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_out: AtomicU64,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    on: AtomicBool,
    shards: [Shard; SHARDS],
    /// Sessions that are open, and poll.
    polling: AtomicUsize,
    /// Sessions that ended, by reason.
    closed: [AtomicU64; REASONS],
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Traffic {
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(crate) fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, worker: usize, bytes: usize) {
        if self.is_on() {
            let shard = &self.shards[worker % SHARDS];
            add(&shard.packets_in, 1);
            add(&shard.bytes_in, bytes);
        }
    }

    pub(crate) fn sent(&self, worker: usize, packets: usize, bytes: usize) {
        let shard = &self.shards[worker % SHARDS];
        add(&shard.packets_out, packets);
        add(&shard.bytes_out, bytes);
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in &self.shards {
            totals.packets_in += shard.packets_in.load(Ordering::Relaxed);
            totals.bytes_in += shard.bytes_in.load(Ordering::Relaxed);
            totals.packets_out += shard.packets_out.load(Ordering::Relaxed);
            totals.bytes_out += shard.bytes_out.load(Ordering::Relaxed);
        }
        totals
    }

    pub(crate) fn opened(&self, polling: bool) {
        self.polling.fetch_add(usize::from(polling), Ordering::Relaxed);
    }

    /// A session that polled has moved to another transport.
    pub(crate) fn polling_ended(&self) {
        self.polling.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, reason: usize, polling: bool) {
        self.polling.fetch_sub(usize::from(polling), Ordering::Relaxed);
        add(&self.closed[reason % REASONS], 1);
    }

    pub(crate) fn polling(&self) -> usize {
        self.polling.load(Ordering::Relaxed)
    }

    /// How many sessions have ended for this reason.
    pub(crate) fn closed_for(&self, reason: usize) -> u64 {
        self.closed[reason % REASONS].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_while_somebody_looks() {
        let traffic = Traffic::default();
        traffic.received(0, 10);
        assert_eq!(traffic.totals(), Totals::default());
        traffic.set_on(true);
        traffic.received(0, 10);
        traffic.received(17, 5);
        traffic.sent(1, 3, 30);
        let totals = Totals { packets_in: 2, bytes_in: 15, packets_out: 3, bytes_out: 30 };
        assert_eq!(traffic.totals(), totals);
    }

    #[test]
    fn sessions_that_poll_are_those_that_have_not_moved_or_ended() {
        let traffic = Traffic::default();
        traffic.opened(true);
        traffic.opened(true);
        traffic.opened(false);
        traffic.polling_ended();
        assert_eq!(traffic.polling(), 1);
        traffic.closed(3, false);
        traffic.closed(3, true);
        assert_eq!((traffic.polling(), traffic.closed_for(3)), (0, 2));
    }
}
