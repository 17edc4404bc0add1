//! Sessions that other servers may take up, and those that were taken up here.

use super::{
    Deposit, Failure, Moment, Offset, Pid, Returned, Store, Whereabouts,
    sessions::{Belongings, Session},
};
use crate::{
    engine::outbox::Frames,
    room::{Room, SocketId},
};

/// How long it may take until a client that was let in has got its greeting.
const GREETING: Moment = Moment::from_secs(30);

/// What is known of a session that the engine of the cluster keeps too.
#[derive(Debug)]
pub(super) struct Beyond {
    /// No event up to this one concerns it.
    since: Offset,
    is_deposited: Deposited,
    /// If it was taken up here: what came up to this one is not in the log.
    taken_up: Option<Offset>,
    /// What it had missed by then.
    replay: Option<Frames>,
    is_forgotten: bool,
}

/// Whether other servers find a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deposited {
    Never,
    /// The engine was away, and may have lost it.
    Perhaps,
    Yes,
}

/// A session as it was found.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) deposit: Deposit,
    /// What it has missed up to an event. The log has what comes behind it.
    pub(crate) missed: Frames,
    pub(crate) end: Offset,
}

impl Beyond {
    /// What was missed elsewhere, and then here.
    pub(super) fn followed_by(&self, here: Frames) -> Result<Frames, Failure> {
        match &self.replay {
            None if self.is_forgotten => Err(Failure::Evicted),
            None => Ok(here),
            Some(replay) => Ok(replay.iter().cloned().chain(here).collect()),
        }
    }

    /// Where a client takes up the log that got this last: if it is where the log begins for it.
    pub(super) fn begins_at(&self, offset: &str) -> bool {
        self.taken_up.is_some_and(|begin| offset.parse().is_ok_and(|o: Offset| o.place() == begin))
    }

    /// Its client has come back to this server: the log has all.
    pub(super) fn came_back(&mut self) {
        self.is_forgotten = false;
    }

    /// Its client has what it missed, or has gone.
    pub(super) fn forget(&mut self) {
        self.replay = None;
        self.is_forgotten = self.taken_up.is_some();
    }
}

impl Session {
    /// Whether it was taken up here, and has not been let in.
    pub(super) fn is_imported_for(&self, whereabouts: Whereabouts) -> bool {
        self.whereabouts == whereabouts
            && self.beyond.as_ref().is_some_and(|beyond| beyond.replay.is_some())
    }
}

impl Store {
    /// The session of a socket that is there may be wanted by other servers. `reached` is the last
    /// event of the namespace.
    pub(crate) fn share(&mut self, id: &SocketId, reached: Offset) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.beyond.get_or_insert_with(|| {
                Box::new(Beyond {
                    since: reached,
                    is_deposited: Deposited::Never,
                    taken_up: None,
                    replay: None,
                    is_forgotten: false,
                })
            });
        }
    }

    pub(crate) fn deposited(&self, id: &SocketId) -> Deposited {
        let beyond = self.sessions.get(id).and_then(|session| session.beyond.as_ref());
        beyond.map_or(Deposited::Never, |beyond| beyond.is_deposited)
    }

    pub(crate) fn set_deposited(&mut self, id: &SocketId, deposited: Deposited) {
        let session = self.sessions.get_mut(id);
        if let Some(beyond) = session.and_then(|session| session.beyond.as_mut()) {
            beyond.is_deposited = deposited;
        }
    }

    /// The engine may have lost everything. Returns whose sessions have to be deposited again.
    pub(crate) fn doubt_deposits(&mut self) -> Vec<SocketId> {
        let ids: Vec<_> = self.sessions.ids().cloned().collect();
        for id in &ids {
            if self.deposited(id) == Deposited::Yes {
                self.set_deposited(id, Deposited::Perhaps);
            }
        }
        ids
    }

    /// The secrets of sockets that are there and whose sessions other servers find.
    pub(crate) fn deposited_here(&self) -> Vec<Pid> {
        let is_deposited = |id: &&SocketId| {
            self.deposited(id) == Deposited::Yes && self.whereabouts(id) == Some(Whereabouts::Here)
        };
        self.sessions.ids().filter(is_deposited).filter_map(|id| self.pid(id).cloned()).collect()
    }

    pub(crate) fn whereabouts(&self, id: &SocketId) -> Option<Whereabouts> {
        self.sessions.get(id).map(|session| session.whereabouts)
    }

    /// The session of a socket that is there, for other servers.
    pub(crate) fn deposit_here(
        &self,
        id: &SocketId,
        rooms: &[Room],
        returned: Returned,
    ) -> Option<Deposit> {
        let session = self.sessions.get(id).filter(|s| s.whereabouts == Whereabouts::Here)?;
        Some(deposit(id, session, rooms, returned))
    }

    /// The same of one that is away, and since when it is.
    pub(crate) fn deposit_away(&self, id: &SocketId) -> Option<(Deposit, Moment)> {
        let session = self.sessions.get(id).filter(|s| s.whereabouts == Whereabouts::Away)?;
        let Belongings { since, rooms, returned } = &session.kept;
        Some((deposit(id, session, rooms, returned.clone()), *since))
    }

    /// The same of one that was taken up here, and whose client has turned away.
    pub(crate) fn deposit_untaken(&self, id: &SocketId) -> Option<Deposit> {
        let session = self.sessions.get(id)?;
        let untaken = session.is_imported_for(Whereabouts::Claimed);
        let Belongings { rooms, returned, .. } = &session.kept;
        untaken.then(|| deposit(id, session, rooms, returned.clone()))
    }

    /// Whether the log has what a client missed of a session that is here: not if it was taken up
    /// behind what the client got last.
    pub(crate) fn covers(&self, id: &SocketId, offset: Option<&str>) -> bool {
        let session = self.sessions.get(id);
        let Some(begin) = session.and_then(|s| s.beyond.as_ref()).and_then(|b| b.taken_up) else {
            return session.is_some();
        };
        let offset = offset.and_then(|offset| offset.parse::<Offset>().ok());
        offset.is_some_and(|offset| offset.place() >= begin)
    }

    /// Somebody asks about a client's session, so that from now on all events are kept; or nobody
    /// any more.
    pub(crate) fn recall(&mut self, more: bool) {
        self.recalls = if more { self.recalls + 1 } else { self.recalls.saturating_sub(1) };
    }

    /// Takes up a session of another server, or of this one, with what it had missed there. It waits
    /// for [`Store::admit`] or [`Store::release`].
    pub(crate) fn import(&mut self, import: Import, now: Moment) {
        let Import { deposit, missed, end } = import;
        let Deposit { id, pid, rooms, data, expires, since } = deposit;
        if let Some(other) = self.sessions.find(pid.as_str()).cloned() {
            self.sessions.end(&other);
        }
        self.sessions.end(&id);
        let after = self.log.position_at(end);
        let session = self.sessions.insert(id.clone(), pid, after, now);
        session.after = Some(after);
        session.rooms = rooms.iter().map(|room| (room.clone(), after)).collect();
        session.kept = Belongings { since: now, rooms, returned: Returned { data, expires } };
        session.beyond = Some(Box::new(Beyond {
            since: since.unwrap_or_default(),
            is_deposited: Deposited::Never,
            taken_up: Some(end),
            replay: Some(missed),
            is_forgotten: false,
        }));
        self.sessions.set(&id, Whereabouts::Claimed);
        self.replays.push_back((now, id));
    }

    /// Forgets what has been replayed. Whether anything is left.
    pub(super) fn forget_replays(&mut self, now: Moment) -> bool {
        while let Some((time, _)) = self.replays.front()
            && time.saturating_add(GREETING) < now
            && let Some((_, id)) = self.replays.pop_front()
        {
            let session = self.sessions.get_mut(&id);
            let session = session.filter(|session| session.whereabouts == Whereabouts::Here);
            if let Some(beyond) = session.and_then(|session| session.beyond.as_mut()) {
                beyond.forget();
            }
        }
        !self.replays.is_empty()
    }
}

fn deposit(id: &SocketId, session: &Session, rooms: &[Room], returned: Returned) -> Deposit {
    let Returned { data, expires } = returned;
    let since = session.beyond.as_ref().map(|beyond| beyond.since);
    Deposit {
        id: id.clone(),
        pid: session.pid.clone(),
        rooms: rooms.to_vec(),
        data,
        expires,
        since: since.filter(|since| *since != Offset::default()),
    }
}
