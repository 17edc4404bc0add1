//! Who may come back: the sessions of a namespace, by socket and by secret.

use std::collections::BTreeMap;

use hashbrown::{HashMap, hash_map::Entry};
use serde_json::{Map, Value};

use super::{Moment, Pid, Position, imported::Beyond, pid};
use crate::room::{Room, SocketId};

/// Where the socket of a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In the namespace.
    Here,
    /// It has left; its disconnect listeners have not been called yet.
    Parting,
    /// Gone. Its client may come back.
    Away,
    /// A connection has it, and is not let in yet.
    Claimed,
}

/// What is kept of a socket that is not there.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    /// When it left.
    pub(super) since: Moment,
    /// In the order they were joined.
    pub(super) rooms: Vec<Room>,
    pub(super) returned: Returned,
}

/// What a socket has left behind that its client gets when it comes back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Returned {
    pub(crate) data: Map<String, Value>,
    /// Its credentials had a time to live.
    pub(crate) expires: bool,
}

/// One socket that has a secret.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) pid: Pid,
    pub(super) whereabouts: Whereabouts,
    /// The log's end when the session began: it has heard nothing before.
    pub(super) first: Position,
    /// What was sent before this has certainly arrived.
    pub(super) sure: Moment,
    /// When its present connection was let in.
    pub(super) admitted: Moment,
    /// Where its present connection takes up the log, if it has come back.
    pub(super) after: Option<Position>,
    /// The rooms, with the log's end when each was joined.
    pub(super) rooms: HashMap<Room, Position>,
    pub(super) kept: Belongings,
    /// If the engine of the cluster keeps it too.
    pub(super) beyond: Option<Box<Beyond>>,
    place: Option<Place>,
}

/// In the queue of those who are away, by when they left.
type Place = (Moment, u64);

impl Session {
    /// Whether it was in a room when the event at a position was sent.
    pub(super) fn was_in(&self, room: &Room, position: Position) -> bool {
        self.rooms.get(room).is_some_and(|joined| *joined < position)
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<SocketId, Session>,
    by_pid: HashMap<Pid, SocketId>,
    /// Those that are parting or away, the longest first.
    away: BTreeMap<Place, SocketId>,
    places: u64,
    absent: usize,
}

impl Sessions {
    pub(super) fn get(&self, id: &SocketId) -> Option<&Session> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &SocketId) -> Option<&mut Session> {
        self.by_id.get_mut(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &SocketId> {
        self.by_id.keys()
    }

    pub(super) fn find(&self, pid: &str) -> Option<&SocketId> {
        self.by_pid.get(&pid::Claimed(pid))
    }

    /// How many are not in the namespace.
    pub(super) fn absent(&self) -> usize {
        self.absent
    }

    /// A socket is let in for the first time.
    pub(super) fn begin(&mut self, id: SocketId, end: Position, now: Moment) {
        self.insert(id, Pid::random(), end, now);
    }

    /// A session with a secret that there is already, or a new one.
    pub(super) fn insert(
        &mut self,
        id: SocketId,
        pid: Pid,
        end: Position,
        now: Moment,
    ) -> &mut Session {
        let session = Session {
            pid: pid.clone(),
            whereabouts: Whereabouts::Here,
            first: end,
            sure: Moment::ZERO,
            admitted: now,
            after: None,
            rooms: HashMap::new(),
            kept: Belongings::default(),
            beyond: None,
            place: None,
        };
        self.by_pid.insert(pid, id.clone());
        match self.by_id.entry(id) {
            Entry::Occupied(mut entry) => {
                entry.insert(session);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(session),
        }
    }

    /// Changes where a session's socket is. Those who are away queue by when they left.
    pub(super) fn set(&mut self, id: &SocketId, whereabouts: Whereabouts) {
        let Some(session) = self.by_id.get_mut(id) else { return };
        let absent = |whereabouts| usize::from(whereabouts != Whereabouts::Here);
        self.absent = self.absent - absent(session.whereabouts) + absent(whereabouts);
        session.whereabouts = whereabouts;
        if let Some(place) = session.place.take() {
            self.away.remove(&place);
        }
        if matches!(whereabouts, Whereabouts::Parting | Whereabouts::Away) {
            self.places += 1;
            let place = (session.kept.since, self.places);
            session.place = Some(place);
            self.away.insert(place, id.clone());
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, id: &SocketId) {
        let Some(session) = self.by_id.remove(id) else { return };
        self.by_pid.remove(&session.pid);
        self.absent -= usize::from(session.whereabouts != Whereabouts::Here);
        if let Some(place) = session.place {
            self.away.remove(&place);
        }
    }

    /// Ends the sessions that left before a time.
    pub(super) fn end_older_than(&mut self, time: Moment) {
        while let Some(id) = self.oldest(|since| since < time) {
            self.end(&id);
        }
    }

    /// Ends the oldest ones that are more than there may be. Returns how many.
    pub(super) fn end_beyond(&mut self, max: usize) -> usize {
        let mut ended = 0;
        while self.away.len() > max {
            let Some(id) = self.oldest(|_| true) else { break };
            self.end(&id);
            ended += 1;
        }
        ended
    }

    fn oldest(&self, wanted: impl Fn(Moment) -> bool) -> Option<SocketId> {
        let ((since, _), id) = self.away.first_key_value()?;
        wanted(*since).then(|| id.clone())
    }
}
