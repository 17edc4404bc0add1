//! Layer 3: who hears a broadcast. The room actor of one namespace on one worker.
//!
//! It owns the members, of every room, that live on its worker, and puts what is sent to them into
//! their outboxes. One actor knows all of them, so a union of rooms reaches each member once, and
//! everything the namespace sends to one client goes through one chain of mailboxes.

mod full;
mod id;
#[cfg(feature = "internals")]
pub(crate) mod internals;
pub(crate) mod messages;
mod missing;
pub(crate) mod orders;
mod sent;
mod typed;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use actix::prelude::*;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use indexmap::IndexMap;
use tracing::trace;

pub(crate) use self::sent::Sent;
pub use self::{
    id::{IntoRooms, Room, SocketId},
    messages::{
        Broadcast, BroadcastTarget, CountSockets, Disconnect, Join, Leave, MembersOf, RoomSizes,
        RoomsOf, Target,
    },
    missing::{Incomplete, Missing},
};
use self::{
    messages::Answer,
    orders::{Admit, Confirm, Dismiss, Fanout, Move, Roster, Selection},
};
use crate::{engine::pipe::Pipe, metrics::meters::NamespaceMeters, trace};

/// Deliveries after which a room actor lets the other actors of its thread work: 2 to 3 ms. What a client
/// gets in one turn leaves in one write, so a smaller number makes bursts dearer.
const DELIVERIES_PER_TURN: usize = 16 * 1024;

/// The number of a socket in its namespace, never used twice.
pub(crate) type Key = u64;

/// What a room actor needs of a member: its outbox, and its connection for what is not a packet.
pub(crate) trait Port: Send + Sync + fmt::Debug {
    fn pipe(&self) -> &Pipe;
    /// Whether it has been greeted.
    fn greeted(&self) -> bool;
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

/// See the module's description. Started by its namespace, which tells it all its members again if it
/// panics. It has no public messages of its own.
pub(crate) struct Rooms {
    everyone: Members,
    rooms: HashMap<Room, Members>,
    /// Called when the actor has panicked or ended: the namespace decides what that means.
    ended: Recipient<Ended>,
    worker: usize,
    generation: u64,
    meters: Arc<NamespaceMeters>,
    delivered: usize,
    /// Whether it has panicked.
    panicked: bool,
    /// Members after which it panics, once.
    #[cfg(feature = "testing")]
    fuse: Option<usize>,
}

/// A room actor has panicked, or ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ended {
    pub(crate) worker: usize,
    pub(crate) generation: u64,
    pub(crate) fate: Fate,
}

/// What has become of a room actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It panicked, lost the operation that it was at, and goes on.
    Restarted,
    /// It panicked too often.
    GivenUp,
    /// Its thread has ended, or nobody needs it.
    Ended,
}

impl Rooms {
    pub(crate) fn new(
        worker: usize,
        generation: u64,
        ended: Recipient<Ended>,
        meters: Arc<NamespaceMeters>,
    ) -> Self {
        Self {
            everyone: Members::default(),
            rooms: HashMap::new(),
            ended,
            worker,
            generation,
            meters,
            delivered: 0,
            panicked: false,
            #[cfg(feature = "testing")]
            fuse: None,
        }
    }

    fn tell(&self, fate: Fate) {
        let (worker, generation) = (self.worker, self.generation);
        self.ended.do_send(Ended { worker, generation, fate });
    }

    /// A test may want it to panic about here.
    #[cfg(feature = "testing")]
    fn burn(&mut self, members: usize) {
        if let Some(left) = self.fuse {
            assert!(left > members, "a room actor dies in the middle of something, for a test");
        }
    }

    #[cfg(not(feature = "testing"))]
    fn burn(&mut self, _members: usize) {}

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

/// Polled when the mailbox is empty: a turn has ended by itself, and the next one begins.
struct EndOfTurn;

impl ActorFuture<Rooms> for EndOfTurn {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        rooms: &mut Rooms,
        ctx: &mut Context<Rooms>,
        _: &mut Task<'_>,
    ) -> Poll<()> {
        rooms.delivered = 0;
        // Nobody is left to send anything: what the actor waits for must not keep it.
        if ctx.connected() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Actor for Rooms {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(EndOfTurn);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.tell(if self.panicked { Fate::GivenUp } else { Fate::Ended });
    }
}

impl Supervised for Rooms {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.panicked = true;
        #[cfg(feature = "testing")]
        {
            self.fuse = None;
        }
        // Until the namespace has answered it goes on with the members it had.
        self.tell(Fate::Restarted);
    }
}

impl Handler<Admit> for Rooms {
    type Result = ();

    fn handle(&mut self, admit: Admit, _: &mut Self::Context) {
        self.admit(admit);
    }
}

impl Handler<Roster> for Rooms {
    type Result = ();

    fn handle(&mut self, Roster { members, fresh }: Roster, ctx: &mut Self::Context) {
        let count = members.len();
        let before = std::mem::take(&mut self.everyone);
        self.rooms.clear();
        for (admit, dismiss) in members {
            let known = fresh || before.contains_key(&admit.key);
            // One that has been greeted and is not here any more was put out already.
            if known || dismiss.is_none() || !admit.port.greeted() {
                self.admit(admit);
                if let Some(dismiss) = dismiss {
                    self.dismiss(dismiss);
                }
            }
        }
        self.rest(count, ctx);
    }
}

impl Rooms {
    fn admit(&mut self, Admit { key, port, rooms, greeting }: Admit) {
        self.everyone.insert(key, Arc::clone(&port));
        for room in rooms {
            self.enter(key, room);
        }
        // After a panic its newest members may come twice.
        if let Some(frames) = greeting.filter(|_| !port.greeted()) {
            port.pipe().send(frames, false);
            port.admitted();
        }
    }

    fn dismiss(&mut self, dismiss: Dismiss) {
        let Some(port) = self.everyone.get(&dismiss.key).cloned() else { return };
        for room in &dismiss.rooms {
            self.exit(dismiss.key, room);
        }
        if let Some(frames) = dismiss.farewell {
            port.pipe().send(frames, false);
        }
        if dismiss.notify {
            port.dismissed(dismiss.close);
        }
        self.everyone.swap_remove(&dismiss.key);
    }
}

impl Handler<Move> for Rooms {
    type Result = ();

    fn handle(&mut self, Move { keys, enter, exit, confirm }: Move, ctx: &mut Self::Context) {
        for (index, key) in keys.iter().enumerate() {
            self.burn(index);
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
        self.dismiss(dismiss);
    }
}

impl Handler<Fanout> for Rooms {
    type Result = ();

    fn handle(&mut self, fanout: Fanout, ctx: &mut Self::Context) {
        let Fanout { selection, frames, volatile, ack, confirm, copy, span } = fanout;
        let delivery = trace::delivery(&span, self.worker);
        let _entered = delivery.enter();
        let (mut sent, mut receivers) = (None, 0);
        #[cfg(feature = "testing")]
        let (fuse, mut reached) = (self.fuse, 0);
        let count = self.select(&selection, |port| {
            #[cfg(feature = "testing")]
            {
                assert_ne!(fuse, Some(reached), "a room actor dies in the middle, for a test");
                reached += 1;
            }
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
                port.pipe().send_clone(&frames, volatile);
                receivers += 1;
            }
        });
        self.meters.sent.add(receivers);
        delivery.record("receivers", receivers);
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

impl Handler<orders::Pass> for Rooms {
    type Result = ();

    fn handle(&mut self, pass: orders::Pass, _: &mut Self::Context) {
        drop(pass);
    }
}

#[cfg(feature = "testing")]
impl Handler<orders::Die> for Rooms {
    type Result = ();

    fn handle(&mut self, _: orders::Die, _: &mut Self::Context) {
        panic!("a room actor dies for a test");
    }
}

#[cfg(feature = "testing")]
impl Handler<orders::Break> for Rooms {
    type Result = ();

    fn handle(&mut self, orders::Break(after): orders::Break, _: &mut Self::Context) {
        self.fuse = Some(after);
    }
}
