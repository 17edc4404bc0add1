//! The latest events of a namespace, in the order it took them.

use std::{collections::VecDeque, fmt::Write as _};

use super::{Moment, Offset, Position, Settings};
use crate::{
    engine::outbox::Frames,
    room::{Room, SocketId, Target},
};

/// What keeping an event costs besides its bytes.
const OVERHEAD: usize = 160;

/// Digits of the part of an offset that tells logs apart.
const EPOCH_DIGITS: usize = 8;

/// Whom an event was sent to.
#[derive(Clone, Debug)]
pub(crate) enum Audience {
    /// One socket, whatever rooms it is in.
    Socket(SocketId),
    Target(Target),
}

impl Audience {
    /// Whether a socket is meant; `member` says whether it was in a room when this was sent.
    pub(super) fn includes(&self, id: &SocketId, member: impl Fn(&Room) -> bool) -> bool {
        match self {
            Self::Socket(only) => only == id,
            Self::Target(Target { rooms, except }) => {
                (rooms.is_empty() || rooms.iter().any(&member)) && !except.iter().any(&member)
            }
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Socket(_) => 0,
            Self::Target(Target { rooms, except }) => {
                rooms.iter().chain(except).map(|room| room.len()).sum()
            }
        }
    }
}

/// An event that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    time: Moment,
    /// Its name, if the engine gives them.
    given: Offset,
    pub(super) audience: Audience,
    pub(super) frames: Frames,
    size: usize,
}

/// What the events are called for clients.
#[derive(Debug)]
enum Names {
    /// Their positions, behind what tells the offsets of this log from those of others: of other
    /// namespaces, and of this one before the server was started anew.
    Positions { epoch: u32 },
    /// The engine has names for them. That of the last one, and of the last that is not kept.
    Given { last: Offset, evicted: Offset },
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Log {
    names: Names,
    last: Position,
    /// Without gaps.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The latest event that is not kept any more.
    evicted: Option<(Position, Moment)>,
}

impl Log {
    pub(super) fn new(epoch: u32) -> Self {
        Self {
            names: Names::Positions { epoch },
            last: 0,
            entries: VecDeque::new(),
            bytes: 0,
            evicted: None,
        }
    }

    /// The latest event that was taken.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The engine names the events from now on; before the first one.
    pub(super) fn take_names(&mut self) {
        if matches!(self.names, Names::Positions { .. }) {
            self.names = Names::Given { last: Offset::default(), evicted: Offset::default() };
        }
    }

    /// The name of the next event, if the engine gives them; `given` if it has given it.
    fn next_name(&self, given: Option<Offset>) -> Offset {
        match (&self.names, given) {
            (_, Some(given)) => given,
            (Names::Given { last, .. }, None) => last.next_apart(),
            (Names::Positions { .. }, None) => Offset::default(),
        }
    }

    /// The next event as clients know it.
    pub(super) fn next_offset(&self, given: Option<Offset>) -> String {
        match &self.names {
            Names::Positions { epoch } => Self::offset(*epoch, self.last + 1),
            Names::Given { .. } => self.next_name(given).to_string(),
        }
    }

    /// The last event as clients know it.
    pub(super) fn last_offset(&self) -> String {
        match &self.names {
            Names::Positions { epoch } => Self::offset(*epoch, self.last),
            Names::Given { last, .. } => last.to_string(),
        }
    }

    fn offset(epoch: u32, position: Position) -> String {
        let mut offset = String::with_capacity(EPOCH_DIGITS + 8);
        // A String takes every write.
        let _ = write!(offset, "{epoch:0EPOCH_DIGITS$x}-{position}");
        offset
    }

    /// The position that a client gave as its offset; `None` if no log can have given it. That of
    /// another log comes before all of this one: clients keep theirs until the next event, so after
    /// a restart one comes with a session of this log.
    pub(super) fn parse(&self, offset: &str) -> Option<Position> {
        let own = match &self.names {
            Names::Positions { epoch } => *epoch,
            Names::Given { last, evicted } => {
                let given = offset.parse().ok()?;
                let mut entries = self.entries.iter().rev();
                return match entries.find(|entry| entry.given == given) {
                    Some(entry) => Some(entry.position),
                    None if given == *evicted => self.evicted.map(|(position, _)| position),
                    // It was sent before all that is kept.
                    None if self.entries.front().map_or(*last, |first| first.given) >= given => {
                        Some(0)
                    }
                    None => None,
                };
            }
        };
        let (epoch, number) = offset.split_once('-')?;
        let hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        let well_formed = epoch.len() == EPOCH_DIGITS
            && epoch.bytes().all(hex)
            && number.bytes().all(|digit| digit.is_ascii_digit());
        let position = number.parse().ok().filter(|_| well_formed)?;
        if u32::from_str_radix(epoch, 16) != Ok(own) {
            return Some(0);
        }
        // Nobody has got what has not been sent.
        (position <= self.last).then_some(position)
    }

    /// The last event that is kept and comes in the engine's order no later than `offset`.
    pub(super) fn position_at(&self, offset: Offset) -> Position {
        let mut entries = self.entries.iter().rev();
        let found = entries.find(|entry| entry.given.place() <= offset.place());
        let first = self.entries.front().map(|first| first.position - 1);
        found.map(|entry| entry.position).or(first).unwrap_or(self.last)
    }

    /// Keeps the next event. Returns how many others it displaced before their time.
    pub(super) fn push(
        &mut self,
        now: Moment,
        audience: Audience,
        frames: Frames,
        given: Option<Offset>,
        settings: &Settings,
    ) -> usize {
        self.expire(now, settings);
        self.last += 1;
        let given = self.next_name(given);
        if let Names::Given { last, .. } = &mut self.names {
            *last = given;
        }
        let packets: usize = frames.iter().map(|frame| frame.len()).sum();
        let size = OVERHEAD + audience.size() + packets;
        self.bytes += size;
        let position = self.last;
        self.entries.push_back(Entry { position, time: now, given, audience, frames, size });
        let mut displaced = 0;
        while self.entries.len() > settings.recovery.max_packets
            || self.bytes > settings.recovery.max_bytes
        {
            self.evict();
            displaced += 1;
        }
        displaced
    }

    /// Forgets what nobody can come back for any more.
    pub(super) fn expire(&mut self, now: Moment, settings: &Settings) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.time.saturating_add(settings.retention) < now)
        {
            self.evict();
        }
        if self.entries.is_empty() {
            // A burst may have been long ago.
            self.entries = VecDeque::new();
        }
    }

    fn evict(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.size;
            self.evicted = Some((entry.position, entry.time));
            if let Names::Given { evicted, .. } = &mut self.names {
                *evicted = entry.given;
            }
        }
    }

    /// Whether nothing is missing behind a position, for a client that has certainly got what was
    /// sent before `sure`.
    pub(super) fn is_complete(&self, after: Position, sure: Moment) -> bool {
        self.evicted.is_none_or(|(position, time)| position <= after || time < sure)
    }

    /// What is kept behind a position and was not sent before `sure`.
    pub(super) fn behind(&self, after: Position, sure: Moment) -> impl Iterator<Item = &Entry> {
        let by_position = self.entries.partition_point(|entry| entry.position <= after);
        let by_time = self.entries.partition_point(|entry| entry.time < sure);
        self.entries.range(by_position.max(by_time)..)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
