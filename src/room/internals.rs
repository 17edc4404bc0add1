//! A door to the tables of a room actor, for this repository's own benchmarks.

use std::sync::Arc;

use actix::prelude::*;

use super::{Ended, Key, Port, Room, Rooms, Sent, messages::AckRequest, orders::Selection};
use crate::engine::pipe::Pipe;

/// The members of rooms, as a room actor keeps them, without the actor around it and with members
/// that have no client.
pub struct RoomTable(Rooms);

impl std::fmt::Debug for RoomTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
struct Nobody(Pipe);

impl Port for Nobody {
    fn pipe(&self) -> &Pipe {
        &self.0
    }

    fn greeted(&self) -> bool {
        true
    }

    fn listens(&self) -> bool {
        false
    }

    fn admitted(self: Arc<Self>) {}

    fn dismissed(self: Arc<Self>, _: bool) {}

    fn hears(&self) -> bool {
        false
    }

    fn hear(self: Arc<Self>, _: &Sent) {}

    fn expect_answer(&self, _: &AckRequest) {}
}

/// Whoever is told that a room actor has ended.
struct Nowhere;

impl Actor for Nowhere {
    type Context = Context<Self>;
}

impl Handler<Ended> for Nowhere {
    type Result = ();

    fn handle(&mut self, _: Ended, _: &mut Self::Context) {}
}

impl RoomTable {
    /// An empty one. To be called inside an actix system.
    #[must_use]
    pub fn new() -> Self {
        Self(Rooms::new(0, 0, Nowhere.start().recipient(), Arc::default()))
    }

    /// A new member of the namespace.
    pub fn admit(&mut self, key: Key) {
        use crate::engine::{dialect::Dialect, outbox::Bounds, transport::Transport};
        let bounds = Bounds { bytes: 1, packets: 1 };
        let dialect = Dialect::new(|_| None);
        let pipe = Pipe::new(0, Transport::WebSocket, dialect, bounds, Arc::default());
        self.0.everyone.insert(key, Arc::new(Nobody(pipe)));
    }

    /// A member joins a room.
    pub fn enter(&mut self, key: Key, room: Room) {
        self.0.enter(key, room);
    }

    /// A member leaves a room.
    pub fn exit(&mut self, key: Key, room: &Room) {
        self.0.exit(key, room);
    }

    /// How many a broadcast to these rooms, without those, would reach: the lookup and the walk.
    #[must_use]
    pub fn count(&self, rooms: &[Room], except: &[Room]) -> usize {
        let selection = Selection {
            everyone: rooms.is_empty(),
            rooms: rooms.into(),
            except_rooms: except.into(),
            ..Selection::default()
        };
        self.0.select(&selection, |port| {
            std::hint::black_box(port);
        })
    }
}

impl Default for RoomTable {
    fn default() -> Self {
        Self::new()
    }
}
