//! The order between what a client sends itself and the operations that may come back to it.

use std::fmt;

use super::{Came, FRAME_OVERHEAD, Frames, Outbox, size};

/// Operations of one client that may be on their way before nothing more is read from it.
const MAX_IN_FLIGHT: usize = 1024;

/// The number of an operation of one client, in the order they were started.
pub(crate) type Sequence = u64;

/// Which way an operation takes: operations of one way stay in order by themselves.
pub(crate) type Way = usize;

/// Whose packet it is: a number that no other socket of the client has.
pub(crate) type Owner = usize;

/// Hands an operation to its way, once nothing on another way can be overtaken any more.
pub(crate) type Start = Box<dyn FnOnce() + Send>;

pub(super) enum Held {
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
pub(super) struct InFlight {
    pub(super) sequence: Sequence,
    pub(super) way: Way,
}

impl Outbox {
    /// Whether so many operations are on their way that no more should be caused.
    pub(crate) fn is_crowded(&self) -> bool {
        self.in_flight.len() >= MAX_IN_FLIGHT
    }

    /// Appends a packet that the client's own listener produced: behind what is in flight.
    ///
    /// A volatile one that could not be sent now, were nothing in flight, is dropped now. Else it waits for
    /// the server itself, not for its client, which is asked once more when it is let go: what a
    /// listener sends after a broadcast of its own would be lost in any case otherwise.
    pub(crate) fn push_own(
        &mut self,
        frames: Frames,
        volatile: bool,
        owner: Owner,
        writable: bool,
    ) -> Came {
        if self.in_flight.is_empty() && self.held.is_empty() {
            let writable = writable && self.queue.is_empty();
            return self.push(frames, volatile, writable);
        }
        if let Some(refused) = self.refuses(frames.len()) {
            return refused;
        }
        let behind_others = || matches!(self.held.back(), Some(Held::Frames { .. }));
        if volatile && !(writable && self.queue.is_empty() && !behind_others()) {
            return self.drop_volatile();
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
                    let writable = writable && self.queue.is_empty();
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
}
