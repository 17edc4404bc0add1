//! Who is in which room: the maps of a namespace. Plain data, no actor.

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::messages::{Place, RoomEvent};
use crate::{
    room::{Key, Room, SocketId, Target, orders::Selection},
    socket::Socket,
};

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In a middleware: it may be in rooms, but hears nothing.
    Pending,
    Connected,
    /// Put out; it still is in its rooms until its `disconnecting` listeners have run.
    Leaving {
        close: bool,
    },
}

pub(super) struct Member {
    pub(super) socket: Socket,
    pub(super) place: Place,
    pub(super) phase: Phase,
    /// In the order they were joined, the own one included.
    rooms: SmallVec<[Room; 2]>,
}

impl Member {
    fn in_own_room(&self) -> bool {
        self.rooms.iter().any(|room| **room == **self.socket.id())
    }

    pub(super) fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// The rooms that the room actor has to know: all but the own one, which is found by id.
    pub(super) fn shared_rooms(&self) -> Vec<Room> {
        let id = self.socket.id();
        self.rooms.iter().filter(|room| ***room != **id).cloned().collect()
    }
}

/// The members of one room. A socket's own room is not kept here unless others joined it.
#[derive(Default)]
struct Members {
    keys: HashSet<Key>,
    /// How many live on each worker.
    workers: SmallVec<[u32; 4]>,
}

impl Members {
    fn insert(&mut self, key: Key, worker: usize) -> bool {
        if self.workers.len() <= worker {
            self.workers.resize(worker + 1, 0);
        }
        let new = self.keys.insert(key);
        self.workers[worker] += u32::from(new);
        new
    }

    fn remove(&mut self, key: Key, worker: usize) -> bool {
        let was = self.keys.remove(&key);
        if was {
            self.workers[worker] -= 1;
        }
        was
    }
}

/// See the module's description.
#[derive(Default)]
pub(super) struct Membership {
    members: HashMap<Key, Member>,
    ids: HashMap<SocketId, Key>,
    rooms: HashMap<Room, Members>,
    last_key: Key,
    /// Members that are not pending.
    admitted: usize,
}

/// The workers that an operation concerns.
pub(super) type Workers = SmallVec<[usize; 4]>;

fn add_worker(workers: &mut Workers, worker: usize) {
    if !workers.contains(&worker) {
        workers.push(worker);
    }
}

impl Membership {
    pub(super) fn insert(&mut self, socket: Socket, place: Place) -> Key {
        self.last_key += 1;
        let key = self.last_key;
        self.ids.insert(socket.id().clone(), key);
        let member = Member { socket, place, phase: Phase::Pending, rooms: SmallVec::new() };
        self.members.insert(key, member);
        key
    }

    pub(super) fn key(&self, id: &str) -> Option<Key> {
        self.ids.get(id).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Member> {
        self.members.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Member> {
        self.members.get_mut(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Member)> {
        self.members.iter().map(|(key, member)| (*key, member))
    }

    /// The sockets that are in a middleware.
    pub(super) fn pending(&self) -> Vec<SocketId> {
        let pending = self.members.values().filter(|member| member.phase == Phase::Pending);
        pending.map(|member| member.socket.id().clone()).collect()
    }

    /// Makes everything again from what is written down with each member.
    pub(super) fn rebuild(&mut self) {
        self.ids.clear();
        self.rooms.clear();
        self.admitted = 0;
        for (key, member) in &mut self.members {
            self.admitted += usize::from(member.phase != Phase::Pending);
            let id = member.socket.id().clone();
            let mut seen = HashSet::new();
            member.rooms.retain(|room| seen.insert(room.clone()));
            member.socket.set_left_own_room(!seen.contains(&*id));
            for room in member.rooms.iter().filter(|room| ***room != *id) {
                self.rooms.entry(room.clone()).or_default().insert(*key, member.place.worker);
            }
            self.ids.insert(id, *key);
        }
    }

    /// As after a panic in the middle of something, only worse.
    #[cfg(feature = "testing")]
    pub(super) fn scramble(&mut self) {
        self.ids.clear();
        self.rooms.clear();
    }

    /// The members that have gone, as their connections see it.
    pub(super) fn over(&self) -> Vec<Key> {
        let over = self.iter().filter(|(_, member)| member.socket.is_over());
        over.map(|(key, _)| key).collect()
    }

    /// A pending member is connected from now on.
    pub(super) fn admit(&mut self, key: Key) {
        if let Some(member) = self.members.get_mut(&key)
            && member.phase == Phase::Pending
        {
            member.phase = Phase::Connected;
            self.admitted += 1;
        }
    }

    /// How many sockets have been let in, and how many rooms there are besides their own.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.admitted, self.rooms.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn exists(&self, room: &Room) -> bool {
        self.rooms.contains_key(room) || self.owner(room).is_some()
    }

    /// The socket whose own room this is, if it still is in it.
    fn owner(&self, room: &Room) -> Option<(Key, &Member)> {
        let key = self.key(room)?;
        self.members.get(&key).filter(|member| member.in_own_room()).map(|member| (key, member))
    }

    /// Lets a socket join; says what happened. Nothing if it is in the room already.
    pub(super) fn join(&mut self, key: Key, room: &Room, events: &mut Vec<RoomEvent>) -> bool {
        let existed = self.exists(room);
        if self.is_in(key, room) {
            return false;
        }
        let Some(member) = self.members.get_mut(&key) else { return false };
        let id = member.socket.id().clone();
        let worker = member.place.worker;
        member.rooms.push(room.clone());
        if *id == **room {
            member.socket.set_left_own_room(false);
        } else {
            self.rooms.entry(room.clone()).or_default().insert(key, worker);
        }
        if !existed {
            events.push(RoomEvent::Created { room: room.clone() });
        }
        events.push(RoomEvent::Joined { room: room.clone(), socket: id });
        true
    }

    /// How many rooms a socket is in, its own included.
    pub(super) fn rooms_of(&self, key: Key) -> usize {
        self.members.get(&key).map_or(0, |member| member.rooms.len())
    }

    pub(super) fn is_in(&self, key: Key, room: &Room) -> bool {
        match self.members.get(&key) {
            Some(member) if **member.socket.id() == **room => member.in_own_room(),
            // By the room's map: a socket may be in very many rooms.
            _ => self.rooms.get(room).is_some_and(|members| members.keys.contains(&key)),
        }
    }

    /// Lets a socket leave; says what happened. Nothing if it is not in the room.
    pub(super) fn leave(&mut self, key: Key, room: &Room, events: &mut Vec<RoomEvent>) -> bool {
        if !self.is_in(key, room) {
            return false;
        }
        let Some(member) = self.members.get_mut(&key) else { return false };
        // Rooms that were joined last are left first, more often than not.
        if let Some(position) = member.rooms.iter().rposition(|joined| joined == room) {
            member.rooms.remove(position);
        }
        self.vacate(key, room, events);
        true
    }

    /// Takes a socket out of a room that is no more on its own list.
    fn vacate(&mut self, key: Key, room: &Room, events: &mut Vec<RoomEvent>) {
        let Some(member) = self.members.get(&key) else { return };
        let id = member.socket.id().clone();
        let worker = member.place.worker;
        if *id == **room {
            member.socket.set_left_own_room(true);
        } else if let Some(members) = self.rooms.get_mut(room) {
            members.remove(key, worker);
            if members.keys.is_empty() {
                self.rooms.remove(room);
            }
        }
        events.push(RoomEvent::Left { room: room.clone(), socket: id });
        if !self.exists(room) {
            events.push(RoomEvent::Deleted { room: room.clone() });
        }
    }

    /// Takes a socket out of everything.
    pub(super) fn remove(&mut self, key: Key, events: &mut Vec<RoomEvent>) -> Option<Member> {
        let rooms = std::mem::take(&mut self.members.get_mut(&key)?.rooms);
        for room in &rooms {
            self.vacate(key, room, events);
        }
        let member = self.members.remove(&key)?;
        self.admitted -= usize::from(member.phase != Phase::Pending);
        self.ids.remove(member.socket.id());
        Some(member)
    }

    /// The connected sockets that a target means, each once.
    pub(super) fn select(&self, target: &Target) -> Vec<Key> {
        let connected =
            |key: &Key| self.members.get(key).is_some_and(|member| member.phase != Phase::Pending);
        let excepted: HashSet<Key> = self.union(&target.except).collect();
        let wanted = |key: &Key| connected(key) && !excepted.contains(key);
        if target.rooms.is_empty() {
            return self.members.keys().copied().filter(wanted).collect();
        }
        let mut seen = HashSet::new();
        self.union(&target.rooms).filter(|key| wanted(key) && seen.insert(*key)).collect()
    }

    fn union<'a>(&'a self, rooms: &'a [Room]) -> impl Iterator<Item = Key> + 'a {
        rooms.iter().flat_map(|room| {
            let owner = self.owner(room).map(|(key, _)| key);
            let others = self.rooms.get(room).into_iter().flat_map(|members| members.keys.iter());
            owner.into_iter().chain(others.copied())
        })
    }

    /// A target as room actors understand it, and the workers that have somebody of it. `all` are
    /// the workers that have any member.
    pub(super) fn resolve(&self, target: &Target, all: Workers) -> (Selection, Workers) {
        let mut selection = Selection { everyone: target.rooms.is_empty(), ..Selection::default() };
        let mut workers = if selection.everyone { all } else { Workers::new() };
        for room in &target.rooms {
            if let Some((key, member)) = self.owner(room) {
                selection.keys.push(key);
                add_worker(&mut workers, member.place.worker);
            }
            if let Some(members) = self.rooms.get(room) {
                selection.rooms.push(room.clone());
                let counts = members.workers.iter().enumerate();
                counts.filter(|(_, n)| **n > 0).for_each(|(w, _)| add_worker(&mut workers, w));
            }
        }
        for room in &target.except {
            selection.except_keys.extend(self.owner(room).map(|(key, _)| key));
            if self.rooms.contains_key(room) {
                selection.except_rooms.push(room.clone());
            }
        }
        (selection, workers)
    }

    /// The same for one socket.
    pub(super) fn resolve_one(&self, id: &SocketId) -> (Selection, Workers) {
        let mut selection = Selection::default();
        let mut workers = Workers::new();
        if let Some((key, member)) = self.key(id).and_then(|key| Some((key, self.get(key)?))) {
            selection.keys.push(key);
            workers.push(member.place.worker);
        }
        (selection, workers)
    }

    /// All rooms that have members, those of sockets' own ids included.
    pub(super) fn rooms(&self) -> impl Iterator<Item = Room> + '_ {
        let own = self.members.values().filter(|member| member.in_own_room());
        let own = own.map(|member| Room::from(member.socket.id()));
        // Where others have joined it, it is among the others.
        let own = own.filter(|room| !self.rooms.contains_key(room));
        own.chain(self.rooms.keys().cloned())
    }

    /// The rooms that are not a socket's own, with their sizes.
    pub(super) fn sizes(&self) -> Vec<(Room, usize)> {
        let shared = self.rooms.iter().filter(|(room, _)| self.owner(room).is_none());
        shared.map(|(room, members)| (room.clone(), members.keys.len())).collect()
    }
}
