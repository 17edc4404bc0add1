//! What a namespace answers about its sockets and rooms, and who is told what happens to them.

use actix::prelude::*;

use super::{FindSocket, Namespace, Sockets, SubscribeRooms, SubscribeSockets, membership::Phase};
#[cfg(feature = "admin")]
use crate::{
    namespace::messages::{Leaf, Page},
    room::{Key, Target},
};
use crate::{
    room::{CountSockets, MembersOf, Room, RoomSizes, RoomsOf, SocketId},
    socket::{
        Socket,
        remote::{Fetch, Found},
    },
};

impl Handler<MembersOf> for Namespace {
    type Result = Vec<SocketId>;

    fn handle(&mut self, MembersOf(target): MembersOf, _: &mut Self::Context) -> Vec<SocketId> {
        let keys = self.members.select(&target).into_iter();
        keys.filter_map(|key| Some(self.members.get(key)?.socket.id().clone())).collect()
    }
}

impl Handler<Sockets> for Namespace {
    type Result = Vec<Socket>;

    fn handle(&mut self, Sockets(target): Sockets, _: &mut Self::Context) -> Vec<Socket> {
        let keys = self.members.select(&target).into_iter();
        keys.filter_map(|key| Some(self.members.get(key)?.socket.clone())).collect()
    }
}

impl Handler<Fetch> for Namespace {
    type Result = Vec<Found>;

    fn handle(&mut self, Fetch(target): Fetch, _: &mut Self::Context) -> Vec<Found> {
        // Only what the namespace alone knows; the rest is for whoever asked.
        let found = |key| {
            let member = self.members.get(key)?;
            Some(Found { socket: member.socket.clone(), rooms: member.rooms().into() })
        };
        self.members.select(&target).into_iter().filter_map(found).collect()
    }
}

impl Handler<FindSocket> for Namespace {
    type Result = Option<Socket>;

    fn handle(&mut self, FindSocket(id): FindSocket, _: &mut Self::Context) -> Option<Socket> {
        let member = self.members.get(self.members.key(&id)?)?;
        // One that was told to go is not there any more for whoever looks for it now.
        (member.phase == Phase::Connected).then(|| member.socket.clone())
    }
}

impl Handler<CountSockets> for Namespace {
    type Result = usize;

    fn handle(&mut self, _: CountSockets, _: &mut Self::Context) -> usize {
        self.members.iter().filter(|(_, member)| member.phase != Phase::Pending).count()
    }
}

impl Handler<RoomsOf> for Namespace {
    type Result = Option<Vec<Room>>;

    fn handle(&mut self, RoomsOf(id): RoomsOf, _: &mut Self::Context) -> Option<Vec<Room>> {
        let member = self.members.get(self.members.key(&id)?)?;
        let mut rooms = member.rooms().to_vec();
        // Stable: the own room first, the others as they were joined.
        rooms.sort_by_key(|room| **room != *id);
        Some(rooms)
    }
}

impl Handler<RoomSizes> for Namespace {
    type Result = Vec<(Room, usize)>;

    fn handle(&mut self, _: RoomSizes, _: &mut Self::Context) -> Vec<(Room, usize)> {
        self.members.sizes()
    }
}

#[cfg(feature = "admin")]
impl Handler<Page> for Namespace {
    type Result = Leaf;

    /// Goes through all members, and keeps only as many as are wanted.
    fn handle(&mut self, Page { after, limit, room }: Page, _: &mut Self::Context) -> Leaf {
        let keys = match room {
            Some(room) => self.members.select(&Target::room(room)),
            None => {
                let there = self.members.iter().filter(|(_, m)| m.phase != Phase::Pending);
                there.map(|(key, _)| key).collect()
            }
        };
        let mut keys: Vec<_> = keys.into_iter().filter(|key| *key > after).collect();
        let more = keys.len() > limit;
        if more && limit > 0 {
            keys.select_nth_unstable(limit - 1);
        }
        keys.truncate(limit);
        keys.sort_unstable();
        let next = if more { keys.last().copied() } else { None };
        let found = |key: &Key| {
            let member = self.members.get(*key)?;
            Some(Found { socket: member.socket.clone(), rooms: member.rooms().into() })
        };
        Leaf { sockets: keys.iter().filter_map(found).collect(), next }
    }
}

impl Handler<SubscribeRooms> for Namespace {
    type Result = ();

    fn handle(&mut self, SubscribeRooms(subscriber): SubscribeRooms, _: &mut Self::Context) {
        self.room_events.push(subscriber);
    }
}

impl Handler<SubscribeSockets> for Namespace {
    type Result = ();

    fn handle(&mut self, SubscribeSockets(subscriber): SubscribeSockets, _: &mut Self::Context) {
        self.socket_events.push(subscriber);
    }
}
