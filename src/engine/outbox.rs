//! The only queue toward a client: ready frames, in order, bounded in packets and in bytes.
//!
//! It also keeps the order promise between what takes the short way (a client's own emits and
//! acks) and what takes the long one (broadcasts through namespace and room actor): while an
//! operation that may come back to this client is in flight, its own frames are *held* behind it.

use std::{collections::VecDeque, time::Duration};

use smallvec::SmallVec;

use super::frame::Frame;

/// The frames of one packet: a text frame and its attachments, never separated.
pub(crate) type Frames = SmallVec<[Frame; 1]>;

/// What a queued frame costs besides its bytes, so that tiny packets are bounded too.
const FRAME_OVERHEAD: usize = 48;

/// Above this many times the configured bound a client is closed at once, without grace.
const HARD_FACTOR: usize = 3;

/// Capacity an idle queue may keep.
const IDLE_CAPACITY: usize = 8;

/// The number of an operation of one client, in the order they were started.
pub(crate) type Sequence = u64;

/// How much may wait for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) packets: usize,
    /// How long a client may stay above the bounds.
    pub(crate) grace: Duration,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Within the bounds.
    Normal,
    /// Above the bounds: the client has some time to catch up.
    Slow,
    /// Far above the bounds: the client is closed at once.
    Full,
}

#[derive(Debug)]
struct Held {
    /// Sent only when every operation up to this one is confirmed.
    after: Sequence,
    frames: Frames,
    volatile: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Frame>,
    bytes: usize,
    bounds: Bounds,
    last: Sequence,
    in_flight: SmallVec<[Sequence; 2]>,
    held: VecDeque<Held>,
    /// Volatile packets that were not sent because they would have had to wait.
    pub(crate) dropped_volatile: u64,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            bounds,
            last: 0,
            in_flight: SmallVec::new(),
            held: VecDeque::new(),
            dropped_volatile: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn fill(&self) -> Fill {
        // One packet is always taken, however large: a bound below the size of a legitimate
        // message would make that message impossible to send.
        if self.queue.len() + self.held.len() <= 1 {
            return Fill::Normal;
        }
        let packets = self.queue.len() + self.held.len();
        let Bounds { bytes: max_bytes, packets: max_packets, .. } = self.bounds;
        if self.bytes > max_bytes.saturating_mul(HARD_FACTOR)
            || packets > max_packets.saturating_mul(HARD_FACTOR)
        {
            Fill::Full
        } else if self.bytes > max_bytes || packets > max_packets {
            Fill::Slow
        } else {
            Fill::Normal
        }
    }

    pub(crate) fn grace(&self) -> Duration {
        self.bounds.grace
    }

    /// Appends a packet; a volatile one only when `writable`.
    pub(crate) fn push(&mut self, frames: Frames, volatile: bool, writable: bool) {
        if volatile && !(writable && self.queue.is_empty()) {
            self.dropped_volatile += 1;
            return;
        }
        for frame in frames {
            self.bytes += frame.len() + FRAME_OVERHEAD;
            self.queue.push_back(frame);
        }
    }

    /// Appends a packet that the client's own listener produced: behind what is in flight.
    pub(crate) fn push_own(&mut self, frames: Frames, volatile: bool, writable: bool) {
        if self.in_flight.is_empty() && self.held.is_empty() {
            self.push(frames, volatile, writable);
            return;
        }
        let size: usize = frames.iter().map(|f| f.len() + FRAME_OVERHEAD).sum();
        self.bytes += size;
        self.held.push_back(Held { after: self.last, frames, volatile });
    }

    /// Starts an operation that may come back to this client.
    pub(crate) fn begin(&mut self) -> Sequence {
        self.last += 1;
        self.in_flight.push(self.last);
        self.last
    }

    /// The operation has arrived, and with it all that came before it on its way.
    pub(crate) fn confirm(&mut self, sequence: Sequence, writable: bool) {
        self.in_flight.retain(|s| *s != sequence);
        let oldest = self.in_flight.iter().min().copied().unwrap_or(Sequence::MAX);
        while self.held.front().is_some_and(|held| held.after < oldest) {
            if let Some(held) = self.held.pop_front() {
                let size: usize = held.frames.iter().map(|f| f.len() + FRAME_OVERHEAD).sum();
                self.bytes -= size;
                self.push(held.frames, held.volatile, writable);
            }
        }
        self.trim();
    }

    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.queue.pop_front();
        match &frame {
            Some(frame) => self.bytes -= frame.len() + FRAME_OVERHEAD,
            None => self.trim(),
        }
        frame
    }

    /// Gives back what a burst has left behind.
    fn trim(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > IDLE_CAPACITY {
            self.queue = VecDeque::new();
        }
        if self.held.is_empty() && self.held.capacity() > IDLE_CAPACITY {
            self.held = VecDeque::new();
        }
    }

    /// Drops all that waits; returns how many packets that were.
    pub(crate) fn clear(&mut self) -> usize {
        let lost = self.queue.len() + self.held.len();
        self.queue = VecDeque::new();
        self.held = VecDeque::new();
        self.in_flight = SmallVec::new();
        self.bytes = 0;
        lost
    }
}

#[cfg(test)]
mod tests;
