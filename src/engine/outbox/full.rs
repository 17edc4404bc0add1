//! When too much waits for a client: what may be dropped to make room, in which order.
//!
//! Nothing of this runs as long as the outbox is within its bounds. A pass over the whole queue
//! frees an eighth of it at once, so that a flood does not pay one pass for each packet; one that
//! finds too little is not repeated before another eighth has come.

use std::collections::HashSet;

use super::{Held, Outbox, size};
use crate::engine::frame::{Frame, Mark};

/// What becomes of an event for a client whose outbox is full: more waits for it than
/// [`max_outbox_bytes`](crate::SocketIoBuilder::max_outbox_bytes) or
/// [`max_outbox_packets`](crate::SocketIoBuilder::max_outbox_packets) allow.
///
/// It is said for a namespace with [`Namespace::when_full`](crate::Namespace::when_full) and for a
/// single event with `when_full` of an emitter, an operator or a broadcast. It concerns the event
/// it is said for, whatever made the outbox full, and only clients that are slow: others get
/// everything. What is dropped is counted in [`Snapshot`](crate::Snapshot).
///
/// Events that want an ack, acks, and what belongs to the protocol (a connect, a disconnect, a
/// ping) are never dropped. Nor is a part of an event: its attachments go with it.
///
/// ```
/// use greenroom::{WhenFull, prelude::*};
///
/// Namespace::new("/prices").when_full(WhenFull::KeepLatest).on("watch", |socket: Socket, name: String| async move {
///     socket.latest(name.as_str()).emit("price", &(&name, 17))          // one of each name is kept
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is kept, and the client closed with the reason "slow client" if it does not come below
    /// the bounds in time, see [`slow_timeout`](crate::SocketIoBuilder::slow_timeout).
    #[default]
    Close,
    /// It is dropped once newer ones need its place: the client gets the latest of them.
    DropOldest,
    /// It is dropped if there is no room for it when it comes, or to make room for what may not be
    /// dropped: the client gets the first of them.
    DropNewest,
    /// It is dropped if a newer one of the same key waits behind it. The key is given at the emit,
    /// else it is the event's name; each namespace has its own. If the latest of every key do not
    /// fit, the client is closed as with [`WhenFull::Close`].
    KeepLatest,
}

impl WhenFull {
    /// What is said in the packet's first frame.
    pub(crate) fn mark(self) -> Mark {
        match self {
            Self::Close => Mark::Keep,
            Self::DropOldest => Mark::DropOldest,
            Self::DropNewest => Mark::DropNewest,
            Self::KeepLatest => Mark::KeepLatest,
        }
    }
}

/// Where a packet was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Nowhere,
    Queue,
    Held,
}

/// How many packets were dropped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
    pub(crate) superseded: u64,
}

/// A packet that may be dropped.
struct Waiting<'a> {
    /// Its first frame in the queue, or, counted on behind the queue, its place among the held.
    at: usize,
    /// How many places it takes.
    places: usize,
    size: usize,
    mark: Mark,
    key: Option<&'a str>,
    dropped: bool,
}

/// What a pass has to free.
struct Need {
    bytes: usize,
    packets: usize,
}

impl Need {
    fn is_met(&self) -> bool {
        self.bytes == 0 && self.packets == 0
    }

    fn drop(&mut self, waiting: &mut Waiting<'_>) {
        waiting.dropped = true;
        self.bytes = self.bytes.saturating_sub(waiting.size);
        self.packets = self.packets.saturating_sub(waiting.places);
    }
}

impl Outbox {
    /// Bytes of the packet that came last.
    pub(crate) fn newest(&self) -> usize {
        self.newest
    }

    /// The outbox was within its bounds for a while: the next time may be different.
    pub(crate) fn forget_hopeless(&mut self) {
        self.hopeless = 0;
    }

    /// Drops what may be dropped. `came` is the packet that was too much, `before` the size of the
    /// one that had come last before it.
    #[cold]
    pub(crate) fn make_room(&mut self, came: Came, before: usize) -> Dropped {
        let mut dropped = Dropped::default();
        let hopeless = self.eighths() <= self.hopeless;
        match self.mark_of_newest(came) {
            Some(Mark::DropNewest) => dropped.newest += self.drop_newest(came, before),
            // What may not be dropped leaves no room for any of its kind.
            Some(Mark::DropOldest) if hopeless => dropped.oldest += self.drop_newest(came, before),
            _ if hopeless => {}
            _ => self.pass(came, before, &mut dropped),
        }
        dropped
    }

    /// The load in eighths of the bounds, rounded up.
    fn eighths(&self) -> u8 {
        let (bytes, packets) = self.load();
        let eighths = |load: usize, bound: usize| load.saturating_mul(8).div_ceil(bound.max(1));
        let most = eighths(bytes, self.bounds.bytes).max(eighths(packets, self.bounds.packets));
        u8::try_from(most).unwrap_or(u8::MAX)
    }

    fn mark_of_newest(&self, came: Came) -> Option<Mark> {
        match came {
            Came::Nowhere => None,
            Came::Queue => {
                self.queue.iter().rev().map(Frame::mark).find(|mark| *mark != Mark::Part)
            }
            Came::Held => match self.held.back()? {
                Held::Frames { frames, .. } => frames.first().map(Frame::mark),
                Held::Operation { .. } => None,
            },
        }
    }

    /// Takes back the packet that has just come.
    fn drop_newest(&mut self, came: Came, before: usize) -> u64 {
        match came {
            Came::Nowhere => return 0,
            Came::Held => drop(self.held.pop_back()),
            Came::Queue => {
                while let Some(frame) = self.queue.pop_back() {
                    if frame.mark() != Mark::Part {
                        break;
                    }
                }
            }
        }
        self.bytes -= self.newest;
        self.newest = before;
        1
    }

    fn pass(&mut self, came: Came, before: usize, dropped: &mut Dropped) {
        let (bytes, packets) = self.load();
        let (most_bytes, most_packets) = (self.bounds.bytes, self.bounds.packets);
        let mut need = Need {
            bytes: bytes.saturating_sub(most_bytes - most_bytes / 8),
            packets: packets.saturating_sub(most_packets - most_packets / 8),
        };
        let mut waiting = self.droppable();
        dropped.superseded += supersede(&mut waiting, &mut need);
        // The packet that has just come is not counted against the bounds, so it is not among those
        // that have to go.
        let last = match came {
            Came::Held => self.queue.len() + self.held.len(),
            Came::Queue | Came::Nowhere => self.queue.len(),
        };
        let is_newest = |waiting: &Waiting<'_>| waiting.at + waiting.places == last;
        let mut newest_is_dropped = false;
        for one in waiting.iter_mut().filter(|one| one.mark == Mark::DropOldest) {
            if need.is_met() {
                break;
            }
            newest_is_dropped = came != Came::Nowhere && is_newest(one);
            need.drop(one);
            dropped.oldest += 1;
        }
        for one in waiting.iter_mut().rev().filter(|one| one.mark == Mark::DropNewest) {
            if need.is_met() {
                break;
            }
            need.drop(one);
            dropped.newest += 1;
        }
        let gone: Vec<_> = waiting.iter().filter(|one| one.dropped).map(Waiting::ticket).collect();
        self.remove(&gone);
        if newest_is_dropped {
            self.newest = before;
        }
        self.hopeless = if need.is_met() { 0 } else { self.eighths() };
    }

    /// All packets that may be dropped, the oldest first.
    fn droppable(&self) -> Vec<Waiting<'_>> {
        let mut waiting: Vec<Waiting<'_>> = Vec::new();
        for (at, frame) in self.queue.iter().enumerate() {
            let size = super::cost(frame);
            match (frame.mark(), waiting.last_mut()) {
                (Mark::Keep, _) => {}
                (Mark::Part, Some(packet)) => {
                    packet.places += 1;
                    packet.size += size;
                }
                // The rest of a packet that the transport is sending.
                (Mark::Part, None) => {}
                (mark, _) => {
                    let key = frame.key();
                    waiting.push(Waiting { at, places: 1, size, mark, key, dropped: false });
                }
            }
        }
        for (index, held) in self.held.iter().enumerate() {
            let Held::Frames { frames, .. } = held else { continue };
            let Some(first) = frames.first().filter(|first| first.mark() != Mark::Keep) else {
                continue;
            };
            waiting.push(Waiting {
                at: self.queue.len() + index,
                places: 1,
                size: size(frames),
                mark: first.mark(),
                key: first.key(),
                dropped: false,
            });
        }
        waiting
    }

    /// Takes out packets, given in the order in which they wait: place, places, bytes.
    fn remove(&mut self, gone: &[(usize, usize, usize)]) {
        self.bytes -= gone.iter().map(|(_, _, size)| size).sum::<usize>();
        let mut gone = gone.iter().copied().peekable();
        let mut at = 0;
        let mut stays = || {
            while gone.next_if(|(start, places, _)| start + places <= at).is_some() {}
            let stays = gone.peek().is_none_or(|(start, _, _)| at < *start);
            at += 1;
            stays
        };
        self.queue.retain(|_| stays());
        self.held.retain(|_| stays());
    }
}

impl Waiting<'_> {
    fn ticket(&self) -> (usize, usize, usize) {
        (self.at, self.places, self.size)
    }
}

/// Drops all packets for which a newer one of the same key stands.
fn supersede(waiting: &mut [Waiting<'_>], need: &mut Need) -> u64 {
    let mut newer = HashSet::new();
    let mut dropped = 0;
    for one in waiting.iter_mut().rev() {
        if let Some(key) = one.key
            && !newer.insert(key)
        {
            need.drop(one);
            dropped += 1;
        }
    }
    dropped
}

#[cfg(test)]
mod tests;
