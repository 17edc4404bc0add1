//! The log and the sessions of one namespace together.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Moment, Offset, Pid, Position, Settings, Whereabouts,
    log::{Audience, Log},
    options::LAG,
    sessions::{Belongings, Returned, Session, Sessions},
};
use crate::{
    engine::outbox::Frames,
    room::{Room, SocketId},
};

/// Why a client cannot have its socket back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody has this secret, or another connection has come for it first.
    Unknown,
    /// It came too late.
    Expired,
    /// Something it missed is not kept any more, or it missed too much.
    Evicted,
    /// Its offset was never given.
    Offset,
}

/// A socket leaves, and its client may come back.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) now: Moment,
    /// When the last ping was sent that its client answered.
    pub(crate) heard: Moment,
    /// In the order they were joined.
    pub(crate) rooms: Vec<Room>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Store {
    pub(super) settings: Arc<Settings>,
    pub(super) log: Log,
    pub(super) sessions: Sessions,
    /// When what was missed elsewhere may be forgotten, and whose it is.
    pub(super) replays: VecDeque<(Moment, SocketId)>,
    /// Clients about whose sessions other servers are asked.
    pub(super) recalls: usize,
}

impl Store {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            log: Log::new(rand::random()),
            sessions: Sessions::default(),
            replays: VecDeque::new(),
            recalls: 0,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    // ---- events ------------------------------------------------------------------------------

    /// The engine keeps the events too, and names them, from now on: before the first one.
    pub(crate) fn take_names(&mut self) {
        self.log.take_names();
    }

    /// The offset of the event that is kept next; `given` if the engine has named it.
    pub(crate) fn next_offset(&self, given: Option<Offset>) -> String {
        self.log.next_offset(given)
    }

    /// The offset of the latest event that was kept. For an event that is not.
    pub(crate) fn last_offset(&self) -> String {
        self.log.last_offset()
    }

    /// Keeps an event. Returns how many others it displaced before their time.
    pub(crate) fn push(
        &mut self,
        now: Moment,
        audience: Audience,
        frames: Frames,
        given: Option<Offset>,
    ) -> usize {
        self.log.push(now, audience, frames, given, &self.settings)
    }

    /// Whether an event may concern somebody who is not there.
    pub(crate) fn has_absent(&self) -> bool {
        self.sessions.absent() + self.recalls > 0
    }

    pub(crate) fn knows(&self, id: &SocketId) -> bool {
        self.sessions.get(id).is_some()
    }

    // ---- sockets that are there --------------------------------------------------------------

    /// A socket is let in, in these rooms: for the first time, or again. Returns what it missed.
    pub(crate) fn admit(
        &mut self,
        id: &SocketId,
        rooms: &[Room],
        now: Moment,
    ) -> Result<Frames, Failure> {
        let end = self.log.last();
        if self.sessions.get(id).is_none() {
            self.sessions.begin(id.clone(), end, now);
        }
        let Some(session) = self.sessions.get_mut(id) else { return Err(Failure::Unknown) };
        // Rooms that it was in before keep their beginning: what it missed there is replayed.
        let joined = |room: &Room| session.rooms.get(room).copied().unwrap_or(end);
        session.rooms = rooms.iter().map(|room| (room.clone(), joined(room))).collect();
        session.admitted = now;
        session.kept = Belongings::default();
        self.sessions.set(id, Whereabouts::Here);
        self.missed(id)
    }

    /// The secret of a socket that is there, for its client.
    pub(crate) fn pid(&self, id: &SocketId) -> Option<&Pid> {
        self.sessions.get(id).map(|session| &session.pid)
    }

    /// What a socket that has come back missed while it was away: nothing for others.
    pub(crate) fn missed(&self, id: &SocketId) -> Result<Frames, Failure> {
        let session = self.sessions.get(id).ok_or(Failure::Unknown)?;
        let Some(after) = session.after else { return Ok(Frames::new()) };
        let here = self.collect(id, session, after)?;
        match &session.beyond {
            Some(beyond) => beyond.followed_by(here),
            None => Ok(here),
        }
    }

    fn collect(
        &self,
        id: &SocketId,
        session: &Session,
        after: Position,
    ) -> Result<Frames, Failure> {
        if !self.log.is_complete(after, session.sure) {
            return Err(Failure::Evicted);
        }
        let mut missed = Frames::new();
        let mut bytes = 0;
        for entry in self.log.behind(after, session.sure) {
            if entry.audience.includes(id, |room| session.was_in(room, entry.position)) {
                bytes += entry.frames.iter().map(|frame| frame.len()).sum::<usize>();
                missed.extend(entry.frames.iter().cloned());
                // It waits in an outbox like anything else.
                let bounds = self.settings.missed;
                if missed.len() > bounds.packets || bytes > bounds.bytes {
                    return Err(Failure::Evicted);
                }
            }
        }
        Ok(missed)
    }

    /// A socket that is there has joined a room.
    pub(crate) fn joined(&mut self, id: &SocketId, room: &Room) {
        let end = self.log.last();
        if let Some(session) = self.here(id) {
            session.rooms.insert(room.clone(), end);
        }
    }

    /// A socket that is there has left a room.
    pub(crate) fn left(&mut self, id: &SocketId, room: &Room) {
        if let Some(session) = self.here(id) {
            session.rooms.remove(room);
        }
    }

    fn here(&mut self, id: &SocketId) -> Option<&mut Session> {
        self.sessions.get_mut(id).filter(|session| session.whereabouts == Whereabouts::Here)
    }

    // ---- sockets that leave ------------------------------------------------------------------

    /// A socket leaves and may come back. Returns how many others are forgotten for it.
    pub(crate) fn depart(&mut self, id: &SocketId, departure: Departure) -> usize {
        let Departure { now, heard, rooms } = departure;
        let Some(session) = self.here(id) else { return 0 };
        let heard = heard.saturating_sub(LAG);
        if heard >= session.admitted {
            // What a ping before its admission says is nothing about what was sent at it.
            session.sure = heard;
        }
        session.kept = Belongings { since: now, rooms, returned: Returned::default() };
        if let Some(beyond) = &mut session.beyond {
            beyond.forget();
        }
        self.sessions.set(id, Whereabouts::Parting);
        self.sessions.end_beyond(self.settings.recovery.max_sessions)
    }

    /// The disconnect listeners of a socket that has left have been called; this is what it leaves.
    pub(crate) fn parted(&mut self, id: &SocketId, left: impl FnOnce() -> Returned) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.whereabouts == Whereabouts::Parting
        {
            session.kept.returned = left();
            self.sessions.set(id, Whereabouts::Away);
        }
    }

    /// Nobody comes back for the socket any more.
    pub(crate) fn end(&mut self, id: &SocketId) {
        self.sessions.end(id);
    }

    /// Forgets what is too old. Whether anything is left.
    pub(crate) fn sweep(&mut self, now: Moment) -> bool {
        // For a while it is remembered who came too late.
        let duration = self.settings.recovery.max_disconnection_duration;
        let duration = duration.saturating_add(self.settings.sweep_interval());
        if let Some(time) = now.checked_sub(duration) {
            self.sessions.end_older_than(time);
        }
        self.log.expire(now, &self.settings);
        let replays = self.forget_replays(now);
        replays || !self.log.is_empty() || self.has_absent()
    }

    // ---- sockets that come back --------------------------------------------------------------

    /// Whose secret this is.
    pub(crate) fn find(&self, pid: &str) -> Option<(SocketId, Whereabouts)> {
        let id = self.sessions.find(pid)?;
        Some((id.clone(), self.sessions.get(id)?.whereabouts))
    }

    /// A client comes back for its socket. Returns what it left; the session waits for
    /// [`Store::admit`] or [`Store::release`].
    pub(crate) fn claim(
        &mut self,
        id: &SocketId,
        offset: Option<&str>,
        now: Moment,
    ) -> Result<Returned, Failure> {
        let after = self.may_claim(id, offset, now);
        let found = after.and_then(|after| {
            let session = self.sessions.get_mut(id).ok_or(Failure::Unknown)?;
            session.after = Some(after);
            if let Some(beyond) = &mut session.beyond {
                beyond.came_back();
            }
            Ok(session.kept.returned.clone())
        });
        match &found {
            Ok(_) => self.sessions.set(id, Whereabouts::Claimed),
            Err(Failure::Expired) => self.sessions.end(id),
            // With another offset it may be had back.
            Err(_) => {}
        }
        found
    }

    fn may_claim(
        &self,
        id: &SocketId,
        offset: Option<&str>,
        now: Moment,
    ) -> Result<Position, Failure> {
        let session = self.sessions.get(id).ok_or(Failure::Unknown)?;
        let duration = self.settings.recovery.max_disconnection_duration;
        if session.kept.since.saturating_add(duration) < now {
            return Err(Failure::Expired);
        }
        let begins =
            |offset: &&str| session.beyond.as_ref().is_some_and(|beyond| beyond.begins_at(offset));
        let after =
            match offset.filter(|offset| !begins(offset)).map(|offset| self.log.parse(offset)) {
                Some(None) => return Err(Failure::Offset),
                // An older one is of the session that the client had before. The secret is of this log.
                Some(Some(position)) => position.max(session.first),
                None => session.first,
            };
        self.collect(id, session, after).map(|_| after)
    }

    /// The rooms of a socket whose client has come back for it.
    pub(crate) fn rooms_of_claimed(&self, id: &SocketId) -> &[Room] {
        match self.sessions.get(id) {
            Some(session) if session.whereabouts == Whereabouts::Claimed => &session.kept.rooms,
            _ => &[],
        }
    }

    /// What such a socket has.
    pub(crate) fn belongings_of_claimed(&self, id: &SocketId) -> Option<Returned> {
        let session = self.sessions.get(id)?;
        let claimed = session.whereabouts == Whereabouts::Claimed;
        claimed.then(|| session.kept.returned.clone())
    }

    /// Who came back for a socket has turned away: the next one may have it.
    pub(crate) fn release(&mut self, id: &SocketId) -> usize {
        match self.sessions.get(id) {
            // What it missed elsewhere is found where the session is.
            Some(session) if session.is_imported_for(Whereabouts::Claimed) => {
                self.sessions.end(id);
                0
            }
            Some(session) if session.whereabouts == Whereabouts::Claimed => {
                self.sessions.set(id, Whereabouts::Away);
                self.sessions.end_beyond(self.settings.recovery.max_sessions)
            }
            _ => 0,
        }
    }

    #[cfg(test)]
    pub(super) fn log(&self) -> &Log {
        &self.log
    }
}
