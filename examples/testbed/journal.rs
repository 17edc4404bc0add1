//! What happened in a namespace, in order: an actor that is told and asked.

use actix::prelude::*;
use greenroom::{EventError, RoomEvent, prelude::*};
use serde::Serialize;

/// The logs of one namespace. Room events reach it because it has subscribed to them.
#[derive(Default)]
pub(crate) struct Journal {
    rooms: Vec<RoomEntry>,
    disconnects: Vec<DisconnectEntry>,
    errors: Vec<ErrorEntry>,
}

/// `["join-room", room, id]` and the like.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum RoomEntry {
    Room(&'static str, Room),
    Member(&'static str, Room, SocketId),
}

#[derive(Clone, Message, Serialize)]
#[rtype(result = "()")]
pub(crate) struct DisconnectEntry {
    pub(crate) id: SocketId,
    pub(crate) event: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) rooms: Vec<Room>,
}

#[derive(Clone, Message, Serialize)]
#[rtype(result = "()")]
pub(crate) struct ErrorEntry {
    pub(crate) id: SocketId,
    pub(crate) message: String,
}

impl ErrorEntry {
    pub(crate) fn new(socket: &Socket, error: &EventError) -> Self {
        Self { id: socket.id().clone(), message: error.message().to_owned() }
    }
}

/// What was reported about rooms? With `clear`, that is forgotten then.
#[derive(Message)]
#[rtype(result = "Vec<RoomEntry>")]
pub(crate) struct RoomLog {
    pub(crate) clear: bool,
}

/// The disconnections of all sockets, or of one.
#[derive(Message)]
#[rtype(result = "Vec<DisconnectEntry>")]
pub(crate) struct DisconnectLog(pub(crate) Option<SocketId>);

/// The errors of all sockets, or of one.
#[derive(Message)]
#[rtype(result = "Vec<ErrorEntry>")]
pub(crate) struct ErrorLog(pub(crate) Option<SocketId>);

impl Actor for Journal {
    type Context = Context<Self>;
}

impl Handler<RoomEvent> for Journal {
    type Result = ();

    fn handle(&mut self, event: RoomEvent, _: &mut Context<Self>) {
        self.rooms.push(match event {
            RoomEvent::Created { room } => RoomEntry::Room("create-room", room),
            RoomEvent::Joined { room, socket } => RoomEntry::Member("join-room", room, socket),
            RoomEvent::Left { room, socket } => RoomEntry::Member("leave-room", room, socket),
            RoomEvent::Deleted { room } => RoomEntry::Room("delete-room", room),
        });
    }
}

impl Handler<DisconnectEntry> for Journal {
    type Result = ();

    fn handle(&mut self, entry: DisconnectEntry, _: &mut Context<Self>) {
        self.disconnects.push(entry);
    }
}

impl Handler<ErrorEntry> for Journal {
    type Result = ();

    fn handle(&mut self, entry: ErrorEntry, _: &mut Context<Self>) {
        self.errors.push(entry);
    }
}

impl Handler<RoomLog> for Journal {
    type Result = Vec<RoomEntry>;

    fn handle(&mut self, RoomLog { clear }: RoomLog, _: &mut Context<Self>) -> Self::Result {
        if clear { std::mem::take(&mut self.rooms) } else { self.rooms.clone() }
    }
}

impl Handler<DisconnectLog> for Journal {
    type Result = Vec<DisconnectEntry>;

    fn handle(&mut self, DisconnectLog(id): DisconnectLog, _: &mut Context<Self>) -> Self::Result {
        let asked = |entry: &&DisconnectEntry| id.as_ref().is_none_or(|id| entry.id == *id);
        self.disconnects.iter().filter(asked).cloned().collect()
    }
}

impl Handler<ErrorLog> for Journal {
    type Result = Vec<ErrorEntry>;

    fn handle(&mut self, ErrorLog(id): ErrorLog, _: &mut Context<Self>) -> Self::Result {
        let asked = |entry: &&ErrorEntry| id.as_ref().is_none_or(|id| entry.id == *id);
        self.errors.iter().filter(asked).cloned().collect()
    }
}
