//! Layer 3: who hears a broadcast. The room actor of one namespace on one worker.
//!
//! It owns the members, of every room, that live on its worker, and puts what is sent to them into
//! their outboxes. One actor knows all of them, so a union of rooms reaches each member once, and
//! everything the namespace sends to one client goes through one chain of mailboxes.

mod id;
#[cfg(feature = "internals")]
pub(crate) mod internals;
pub(crate) mod messages;
mod missing;
mod sent;

use std::{fmt, sync::Arc};

use actix::prelude::*;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use indexmap::IndexMap;
use tracing::trace;

use self::messages::{Admit, Answer, Confirm, Dismiss, Fanout, Move, Selection};
pub(crate) use self::sent::Sent;
pub use self::{
    id::{IntoRooms, Room, SocketId},
    messages::{
        Broadcast, BroadcastTarget, CountSockets, Disconnect, Join, Leave, MembersOf, RoomSizes,
        RoomsOf, Target,
    },
    missing::{Incomplete, Missing},
};
use crate::engine::pipe::Pipe;

/// Deliveries after which a room actor lets the other actors of its thread work.
const DELIVERIES_PER_TURN: usize = 4096;

/// The number of a socket in its namespace, never used twice.
pub(crate) type Key = u64;

/// What a room actor needs of a member: its outbox, and its connection for what is not a packet.
pub(crate) trait Port: Send + Sync + fmt::Debug {
    fn pipe(&self) -> &Pipe;
    /// Whether its client still wants what is sent to the namespace.
    fn listens(&self) -> bool;
    /// The namespace has let the socket in; its greeting is on its way.
    fn admitted(self: Arc<Self>);
    /// The namespace has put the socket out.
    fn dismissed(self: Arc<Self>, close: bool);
    /// Whether it wants to see what is sent to it.
    fn hears(&self) -> bool;
    /// This is sent to it now.
    fn hear(self: Arc<Self>, sent: &Sent);
    /// An answer to a broadcast will come from this socket.
    fn expect_answer(&self, request: &messages::AckRequest);
}

type Members = IndexMap<Key, Arc<dyn Port>, DefaultHashBuilder>;

/// See the module's description. Started by its namespace, which starts another one from its own
/// maps if this one dies. It has no public messages of its own.
pub(crate) struct Rooms {
    everyone: Members,
    rooms: HashMap<Room, Members>,
    /// Called when the actor has ended, however: the namespace decides what that means.
    ended: Recipient<Ended>,
    worker: usize,
    generation: u64,
    delivered: usize,
}

/// A room actor has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ended {
    pub(crate) worker: usize,
    pub(crate) generation: u64,
}

impl Rooms {
    pub(crate) fn new(worker: usize, generation: u64, ended: Recipient<Ended>) -> Self {
        Self {
            everyone: Members::default(),
            rooms: HashMap::new(),
            ended,
            worker,
            generation,
            delivered: 0,
        }
    }

    fn enter(&mut self, key: Key, room: Room) {
        if let Some(port) = self.everyone.get(&key) {
            self.rooms.entry(room).or_default().insert(key, Arc::clone(port));
        }
    }

    fn exit(&mut self, key: Key, room: &Room) {
        if let Some(members) = self.rooms.get_mut(room) {
            members.swap_remove(&key);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    /// Calls `each` once for every selected member; returns how many there were.
    fn select(&self, selection: &Selection, mut each: impl FnMut(&Arc<dyn Port>)) -> usize {
        let excepted = |key: &Key| {
            selection.except_keys.contains(key)
                || selection.except_rooms.iter().any(|room| {
                    self.rooms.get(room).is_some_and(|members| members.contains_key(key))
                })
        };
        let no_exceptions = selection.except_keys.is_empty() && selection.except_rooms.is_empty();
        let mut count = 0;
        let mut visit = |members: &mut dyn Iterator<Item = (&Key, &Arc<dyn Port>)>| {
            for (key, port) in members {
                if no_exceptions || !excepted(key) {
                    count += 1;
                    each(port);
                }
            }
        };
        if selection.everyone {
            visit(&mut self.everyone.iter());
        } else if let ([room], []) = (&*selection.rooms, &*selection.keys) {
            if let Some(members) = self.rooms.get(room) {
                visit(&mut members.iter());
            }
        } else if let ([], [key]) = (&*selection.rooms, &*selection.keys) {
            visit(&mut self.everyone.get(key).map(|port| (key, port)).into_iter());
        } else {
            let mut seen = HashSet::new();
            let keys = selection.keys.iter();
            let single = keys.filter_map(|key| self.everyone.get_key_value(key));
            let rooms = selection.rooms.iter().filter_map(|room| self.rooms.get(room)).flatten();
            visit(&mut single.chain(rooms).filter(|(key, _)| seen.insert(**key)));
        }
        count
    }

    /// Lets others work after a long stretch of deliveries; the mailbox waits meanwhile.
    fn rest(&mut self, delivered: usize, ctx: &mut Context<Self>) {
        self.delivered += delivered + 1;
        if self.delivered >= DELIVERIES_PER_TURN {
            self.delivered = 0;
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Actor for Rooms {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.ended.do_send(Ended { worker: self.worker, generation: self.generation });
    }
}

impl Handler<Admit> for Rooms {
    type Result = ();

    fn handle(&mut self, admit: Admit, _: &mut Self::Context) {
        let Admit { key, port, rooms, greeting } = admit;
        // A namespace that finds this actor's predecessor dead admits its newest member twice.
        let new = self.everyone.insert(key, Arc::clone(&port)).is_none();
        for room in rooms {
            self.enter(key, room);
        }
        if let Some(frames) = greeting.filter(|_| new) {
            port.pipe().send(frames, false);
            port.admitted();
        }
    }
}

impl Handler<Move> for Rooms {
    type Result = ();

    fn handle(&mut self, Move { keys, enter, exit, confirm }: Move, ctx: &mut Self::Context) {
        for key in &keys {
            for room in &exit {
                self.exit(*key, room);
            }
            for room in &enter {
                self.enter(*key, room.clone());
            }
        }
        drop(confirm);
        self.rest(keys.len(), ctx);
    }
}

impl Handler<Dismiss> for Rooms {
    type Result = ();

    fn handle(&mut self, dismiss: Dismiss, _: &mut Self::Context) {
        for room in &dismiss.rooms {
            self.exit(dismiss.key, room);
        }
        let Some(port) = self.everyone.swap_remove(&dismiss.key) else { return };
        if let Some(frames) = dismiss.farewell {
            port.pipe().send(frames, false);
        }
        if dismiss.notify {
            port.dismissed(dismiss.close);
        }
    }
}

impl Handler<Fanout> for Rooms {
    type Result = ();

    fn handle(&mut self, fanout: Fanout, ctx: &mut Self::Context) {
        let Fanout { selection, frames, volatile, ack, confirm, copy } = fanout;
        let mut sent = None;
        let count = self.select(&selection, |port| {
            if let Some(request) = &ack {
                // Before the packet, so that no answer can come first.
                port.expect_answer(request);
            }
            // A client that has just left must not find old events when it comes back.
            if port.listens() {
                if let Some(payload) = &copy
                    && port.hears()
                {
                    let sent = sent.get_or_insert_with(|| Sent::new(payload));
                    Arc::clone(port).hear(sent);
                }
                port.pipe().send(frames.clone(), volatile);
            }
        });
        if let Some(request) = ack {
            // The caller may have given up.
            let _ = request.answers.send(Answer::Receivers(count));
        }
        drop(confirm);
        trace!(count, "broadcast delivered");
        self.rest(count, ctx);
    }
}

impl Handler<Confirm> for Rooms {
    type Result = ();

    fn handle(&mut self, Confirm(origin): Confirm, _: &mut Self::Context) {
        drop(origin);
    }
}

impl Handler<messages::Pass> for Rooms {
    type Result = ();

    fn handle(&mut self, pass: messages::Pass, _: &mut Self::Context) {
        drop(pass);
    }
}

#[cfg(feature = "testing")]
impl Handler<messages::Die> for Rooms {
    type Result = ();

    fn handle(&mut self, _: messages::Die, _: &mut Self::Context) {
        panic!("a room actor dies for a test");
    }
}
