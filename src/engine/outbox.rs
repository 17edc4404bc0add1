//! The only queue toward a client: ready frames, in order, bounded in packets and in bytes.
//!
//! It also keeps the order promise between what takes the short way (a client's own emits and
//! acks) and what takes the long one (broadcasts through namespace and room actor): while an
//! operation that may come back to this client is in flight, its own frames are *held* behind it.

mod full;
mod order;

use std::collections::VecDeque;

use smallvec::SmallVec;

pub use self::full::WhenFull;
use self::order::{Held, InFlight};
pub(crate) use self::{
    full::{Came, Dropped},
    order::{Owner, Sequence, Start, Way},
};
use super::{frame::Frame, queue::Queue};

/// The frames of one packet: a text frame and its attachments, never separated.
pub(crate) type Frames = SmallVec<[Frame; 1]>;

/// What a queued frame costs besides its bytes: its place in the queue, which may be twice as large
/// as it has to be, and what the allocator adds.
const FRAME_OVERHEAD: usize = 96;

/// Above this many quarters of the configured bounds a client is closed at once, without grace.
const HARD_QUARTERS: usize = 7;

/// The same as long as the session has not seen that its client is above the bounds: what a single
/// listener sends leaves nobody time to read.
const BURST_QUARTERS: usize = 12;

/// Above this many quarters nothing more is taken: the session has had no turn yet to close its client,
/// and will do so, as packets are missing now.
const MOST_QUARTERS: usize = 24;

/// How much may wait for a client.
/// Packets behind which a volatile one may be joined, on their way to a transport that has been woken for
/// them.
const SHORT: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) packets: usize,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fill {
    /// Within the bounds.
    Normal,
    /// Within the bounds, but the client was slow and has not read down to half of them since.
    Lagging,
    /// Above the bounds: the client has some time to catch up.
    Slow,
    /// Far above the bounds: the client is closed at once.
    Full,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Queue<Frame>,
    bytes: usize,
    bounds: Bounds,
    last: Sequence,
    /// In the order of their numbers.
    in_flight: VecDeque<InFlight>,
    /// Operations were taken out to be started, and somebody is at it.
    starting: bool,
    /// Bytes of the packet that came last.
    newest: usize,
    held: VecDeque<Held>,
    /// Eighths of the bounds below which looking for packets to drop is in vain.
    hopeless: u8,
    /// The session has seen that the client is above the bounds.
    noticed: bool,
    /// The session is being closed: nothing new is taken.
    sealed: bool,
    /// Something was not taken because far too much waits.
    overflown: bool,
    /// Volatile packets that were not sent because they would have had to wait, and nobody has counted.
    dropped_volatile: u64,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            queue: Queue::default(),
            bytes: 0,
            bounds,
            last: 0,
            in_flight: VecDeque::new(),
            starting: false,
            newest: 0,
            hopeless: 0,
            noticed: false,
            held: VecDeque::new(),
            sealed: false,
            overflown: false,
            dropped_volatile: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What waits: packets (each attachment counts as one) and bytes, their overhead included.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        (self.queue.len() + self.held.len(), self.bytes)
    }

    /// How full it is, after `before` and what was put in since.
    pub(crate) fn fill_after_push(&self, before: Fill) -> Fill {
        // Nobody catches up by being sent something.
        self.fill().max(before.min(Fill::Lagging))
    }

    /// How full it is, after `before` and what was taken out since.
    pub(crate) fn fill_after_pop(&self, before: Fill) -> Fill {
        let fill = self.fill();
        if fill < before && fill == Fill::Normal && !self.is_half_empty() {
            return Fill::Lagging;
        }
        fill
    }

    fn fill(&self) -> Fill {
        if self.overflown {
            return Fill::Full;
        }
        let (bytes, packets) = self.load();
        let Bounds { bytes: max_bytes, packets: max_packets } = self.bounds;
        if bytes <= max_bytes && packets <= max_packets {
            return Fill::Normal;
        }
        let quarters = if self.noticed { HARD_QUARTERS } else { BURST_QUARTERS };
        if self.exceeds(quarters) { Fill::Full } else { Fill::Slow }
    }

    /// Whether more waits than so many quarters of the bounds.
    fn exceeds(&self, quarters: usize) -> bool {
        let (bytes, packets) = self.load();
        let far = |load: usize, bound: usize| load > bound.saturating_mul(quarters) / 4;
        far(bytes, self.bounds.bytes) || far(packets, self.bounds.packets)
    }

    /// Takes nothing new from now on if far too much waits, see [`MOST_QUARTERS`].
    pub(crate) fn stop_overflow(&mut self) {
        self.overflown |= self.exceeds(MOST_QUARTERS);
    }

    /// Where a packet of so many frames goes that is not taken.
    fn refuses(&self, frames: usize) -> Option<Came> {
        if self.sealed || frames == 0 {
            return Some(Came::Nowhere);
        }
        self.overflown.then_some(Came::Refused(frames))
    }

    /// The session looks at how full it is.
    pub(crate) fn notice(&mut self, fill: Fill) {
        self.noticed = fill >= Fill::Slow;
    }

    /// Whether what is ready is little enough for more to be joined to it.
    pub(crate) fn is_short(&self) -> bool {
        self.queue.len() < SHORT
    }

    /// Whether something waits for operations that are in flight.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is held against the bounds: bytes and packets.
    fn load(&self) -> (usize, usize) {
        // The packet that came last does not count, however large: a bound below the size of a
        // legitimate message would make that message impossible to send.
        (self.bytes.saturating_sub(self.newest), self.queue.len() + self.held.len())
    }

    fn is_half_empty(&self) -> bool {
        let (bytes, packets) = self.load();
        bytes <= self.bounds.bytes / 2 && packets <= self.bounds.packets / 2
    }

    /// Volatile packets that were dropped since this was asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped_volatile)
    }

    /// Whether nothing waits, not even behind an operation in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.held.is_empty()
    }

    /// Takes nothing new from now on; what waits is still sent.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Appends a packet; a volatile one only when `writable`.
    pub(crate) fn push(&mut self, frames: Frames, volatile: bool, writable: bool) -> Came {
        if let Some(refused) = self.refuses(frames.len()) {
            return refused;
        }
        self.append(frames, volatile, writable)
    }

    /// The same for a packet of which there are more receivers.
    pub(crate) fn push_clone(&mut self, frames: &Frames, volatile: bool, writable: bool) -> Came {
        if let Some(refused) = self.refuses(frames.len()) {
            return refused;
        }
        if let [frame] = &**frames
            && !volatile
        {
            self.newest = cost(frame);
            self.bytes += self.newest;
            self.queue.push(frame.clone());
            return Came::Queue;
        }
        self.append(frames.clone(), volatile, writable)
    }

    fn append(&mut self, frames: Frames, volatile: bool, writable: bool) -> Came {
        if volatile && !writable {
            return self.drop_volatile();
        }
        self.newest = size(&frames);
        self.bytes += self.newest;
        self.queue.extend(frames);
        Came::Queue
    }

    fn drop_volatile(&mut self) -> Came {
        self.dropped_volatile += 1;
        Came::Nowhere
    }

    /// Moves frames out: at least one, and more as long as they are no more than `max` bytes together.
    /// There must be one.
    pub(crate) fn take(&mut self, max: usize, into: &mut Queue<Frame>) {
        if self.held.is_empty() && into.is_empty() && self.bytes <= max {
            std::mem::swap(&mut self.queue, into);
            self.bytes = 0;
            return;
        }
        let mut taken = 0;
        while let Some(frame) = self.queue.front() {
            taken += frame.len();
            if taken > max && !into.is_empty() {
                break;
            }
            into.extend(self.pop());
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.queue.pop();
        match &frame {
            Some(frame) => self.bytes -= cost(frame),
            None => self.trim(),
        }
        frame
    }

    /// Gives back what a burst has left behind.
    pub(crate) fn trim(&mut self) {
        self.queue.trim();
        if self.held.is_empty() && self.held.capacity() > 0 {
            self.held = VecDeque::new();
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > 0 {
            self.in_flight = VecDeque::new();
        }
    }

    /// Takes nothing new, and drops what is held behind operations; with `discard` also what is
    /// ready to be sent. Returns how many packets were dropped, and the operations that waited:
    /// they concern others too.
    #[must_use = "operations that nobody starts are lost"]
    pub(crate) fn clear(&mut self, discard: bool) -> (usize, Vec<Start>) {
        let mut starts = Vec::new();
        let mut lost = 0;
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Operation { start, .. } => {
                    self.bytes -= FRAME_OVERHEAD;
                    starts.push(start);
                }
                Held::Frames { frames, .. } => {
                    self.bytes -= size(&frames);
                    lost += frames.len();
                }
            }
        }
        if discard {
            lost += self.queue.len();
            self.queue = Queue::default();
            self.bytes = 0;
        }
        self.sealed = true;
        (lost, starts)
    }
}

fn size(frames: &Frames) -> usize {
    frames.iter().map(cost).sum()
}

fn cost(frame: &Frame) -> usize {
    frame.len() + FRAME_OVERHEAD
}

#[cfg(test)]
mod tests;
