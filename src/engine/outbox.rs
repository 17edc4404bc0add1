//! The only queue toward a client: ready frames, in order, bounded in packets and in bytes.
//!
//! It also keeps the order promise between what takes the short way (a client's own emits and
//! acks) and what takes the long one (broadcasts through namespace and room actor): while an
//! operation that may come back to this client is in flight, its own frames are *held* behind it.

mod full;

use std::{collections::VecDeque, fmt};

use smallvec::SmallVec;

pub use self::full::WhenFull;
pub(crate) use self::full::{Came, Dropped};
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

/// Operations of one client that may be on their way before nothing more is read from it.
const MAX_IN_FLIGHT: usize = 1024;

/// Capacity an idle queue may keep: most connections are idle most of the time.
const IDLE_CAPACITY: usize = 0;

/// The number of an operation of one client, in the order they were started.
pub(crate) type Sequence = u64;

/// How much may wait for a client.
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

/// Which way an operation takes: operations of one way stay in order by themselves.
pub(crate) type Way = usize;

/// Whose packet it is: a number that no other socket of the client has.
pub(crate) type Owner = usize;

/// Hands an operation to its way, once nothing on another way can be overtaken any more.
pub(crate) type Start = Box<dyn FnOnce() + Send>;

enum Held {
    /// Sent only when every operation up to this one is confirmed.
    Frames { after: Sequence, frames: Frames, volatile: bool, owner: Owner },
    /// Started only when no earlier operation on another way is in flight.
    Operation { before: Sequence, way: Way, start: Start },
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames { after, .. } => f.debug_tuple("Frames").field(after).finish(),
            Self::Operation { before, .. } => f.debug_tuple("Operation").field(before).finish(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    sequence: Sequence,
    way: Way,
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
        let (bytes, packets) = self.load();
        let Bounds { bytes: max_bytes, packets: max_packets } = self.bounds;
        if bytes <= max_bytes && packets <= max_packets {
            return Fill::Normal;
        }
        let quarters = if self.noticed { HARD_QUARTERS } else { BURST_QUARTERS };
        let far = |load: usize, bound: usize| load > bound.saturating_mul(quarters) / 4;
        let full = far(bytes, max_bytes) || far(packets, max_packets);
        if full { Fill::Full } else { Fill::Slow }
    }

    /// The session looks at how full it is.
    pub(crate) fn notice(&mut self, fill: Fill) {
        self.noticed = fill >= Fill::Slow;
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

    /// Whether so many operations are on their way that no more should be caused.
    pub(crate) fn is_crowded(&self) -> bool {
        self.in_flight.len() >= MAX_IN_FLIGHT
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
        if self.sealed || frames.is_empty() {
            return Came::Nowhere;
        }
        self.append(frames, volatile, writable)
    }

    /// The same for a packet of which there are more receivers.
    pub(crate) fn push_clone(&mut self, frames: &Frames, volatile: bool, writable: bool) -> Came {
        if self.sealed || frames.is_empty() {
            return Came::Nowhere;
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
        if volatile && !(writable && self.queue.is_empty()) {
            self.dropped_volatile += 1;
            return Came::Nowhere;
        }
        self.newest = size(&frames);
        self.bytes += self.newest;
        self.queue.extend(frames);
        Came::Queue
    }

    /// Appends a packet that the client's own listener produced: behind what is in flight.
    pub(crate) fn push_own(
        &mut self,
        frames: Frames,
        volatile: bool,
        owner: Owner,
        writable: bool,
    ) -> Came {
        if self.in_flight.is_empty() && self.held.is_empty() {
            return self.push(frames, volatile, writable);
        }
        if self.sealed || frames.is_empty() {
            return Came::Nowhere;
        }
        self.newest = size(&frames);
        self.bytes += self.newest;
        self.held.push_back(Held::Frames { after: self.last, frames, volatile, owner });
        Came::Held
    }

    /// Starts an operation that may come back to this client. It is in flight from now on.
    pub(crate) fn begin(&mut self, way: Way) -> Sequence {
        self.last += 1;
        self.in_flight.push_back(InFlight { sequence: self.last, way });
        self.last
    }

    /// Whether an operation on this way has to wait for those on others. `sequence` is its own
    /// number, if it has one.
    pub(crate) fn must_wait(&self, way: Way, sequence: Option<Sequence>) -> bool {
        self.starting
            || self.overtakes(way, sequence.unwrap_or(self.last + 1))
            || self.held.iter().any(|held| matches!(held, Held::Operation { .. }))
    }

    fn overtakes(&self, way: Way, before: Sequence) -> bool {
        // Bounded: a client with many operations on their way is not read from.
        let mut earlier = self.in_flight.iter().take_while(|flight| flight.sequence < before);
        earlier.any(|flight| flight.way != way)
    }

    /// Keeps an operation that has to wait.
    pub(crate) fn hold(&mut self, way: Way, sequence: Option<Sequence>, start: Start) {
        let before = sequence.unwrap_or(self.last + 1);
        self.bytes += FRAME_OVERHEAD;
        self.held.push_back(Held::Operation { before, way, start });
    }

    /// The operation has arrived, and with it all that came before it on its way.
    pub(crate) fn confirm(&mut self, sequence: Sequence) {
        let found = self.in_flight.binary_search_by_key(&sequence, |flight| flight.sequence);
        if let Ok(index) = found {
            self.in_flight.remove(index);
        }
    }

    /// Lets go what need not be held any longer. Returns the operations that are to be started, in
    /// order; until [`Outbox::started`] says so, everything else waits behind them.
    #[must_use = "operations that nobody starts are lost"]
    pub(crate) fn release(&mut self, writable: bool) -> Vec<Start> {
        let mut starts = Vec::new();
        if self.starting {
            // Whoever starts the last ones looks again afterwards.
            return starts;
        }
        while let Some(held) = self.held.pop_front() {
            match held {
                Held::Frames { after, frames, volatile, .. } if !self.is_in_flight(after) => {
                    let newest = self.newest;
                    self.bytes -= size(&frames);
                    self.append(frames, volatile, writable);
                    self.newest = newest;
                }
                Held::Operation { before, way, start } if !self.overtakes(way, before) => {
                    self.bytes -= FRAME_OVERHEAD;
                    starts.push(start);
                }
                held => {
                    self.held.push_front(held);
                    break;
                }
            }
        }
        self.starting = !starts.is_empty();
        self.trim();
        starts
    }

    /// What [`Outbox::release`] gave has been started.
    pub(crate) fn started(&mut self) {
        self.starting = false;
    }

    /// Whether an operation up to this one is in flight.
    fn is_in_flight(&self, last: Sequence) -> bool {
        self.in_flight.front().is_some_and(|flight| flight.sequence <= last)
    }

    /// Drops what is held of a socket that has got its goodbye.
    pub(crate) fn drop_held(&mut self, gone: Owner) {
        let bytes = &mut self.bytes;
        self.held.retain(|held| match held {
            Held::Frames { frames, owner, .. } if *owner == gone => {
                *bytes -= size(frames);
                false
            }
            _ => true,
        });
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
        if self.held.is_empty() && self.held.capacity() > IDLE_CAPACITY {
            self.held = VecDeque::new();
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > IDLE_CAPACITY {
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
