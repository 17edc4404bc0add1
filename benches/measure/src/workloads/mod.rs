//! What the connections do while a server is measured, and what they must get.
pub mod broadcast;
pub mod cycles;
pub mod echo;
pub mod membership;
pub mod rooms;
pub mod storm;

use crate::histogram::Histogram;
use std::time::{Duration, Instant};

/// What has been done so far.
#[derive(Default)]
pub struct Progress {
    pub operations: u64,
    pub latencies: Histogram,
}

/// How long a workload begins new operations.
#[derive(Clone, Copy)]
pub struct Span {
    until: Instant,
}

impl Span {
    pub fn of(time: Duration) -> Self {
        Self { until: Instant::now() + time }
    }

    pub fn is_over(self, now: Instant) -> bool {
        now >= self.until
    }
}

/// A small generator of numbers, the same in every run (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// The name of a room.
pub fn room_name(room: usize) -> String {
    format!("room-{room}")
}
