//! The room actors of a namespace: starting them, watching them, mending one that panicked.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{
    Namespace,
    membership::{Phase, Workers},
    messages::Flush,
    rebuilding::Moment,
};
use crate::{
    engine::supervision::start_gathering_in,
    packet::Outgoing,
    room::{
        Ended, Fate, Key, Room, Rooms,
        orders::{Admit, Dismiss, Pass, Roster},
    },
};

/// The room actors of a namespace, by worker.
#[derive(Default)]
pub(super) struct Crew(Vec<Option<Post>>);

struct Post {
    rooms: Addr<Rooms>,
    generation: u64,
    arbiter: ArbiterHandle,
}

impl Crew {
    /// The workers that have a room actor.
    pub(super) fn workers(&self) -> Workers {
        self.0.iter().enumerate().filter(|(_, post)| post.is_some()).map(|(w, _)| w).collect()
    }

    pub(super) fn has(&self, worker: usize) -> bool {
        self.get(worker).is_some()
    }

    fn get(&self, worker: usize) -> Option<&Post> {
        self.0.get(worker)?.as_ref()
    }
}

impl Namespace {
    /// Sees to it that a worker has a room actor.
    pub(super) fn engage(
        &mut self,
        worker: usize,
        arbiter: ArbiterHandle,
        ctx: &mut Context<Self>,
    ) {
        match self.crew.0.get_mut(worker).and_then(Option::as_mut) {
            None => self.hire(worker, arbiter, ctx),
            // The worker may be another thread than before; where its room actor has ended, the
            // next one starts there.
            Some(post) => post.arbiter = arbiter,
        }
    }

    /// Sends to the room actor of a worker, after seeing to it that there is one that lives.
    pub(super) fn post<M>(&mut self, worker: usize, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Rooms: Handler<M>,
    {
        self.burn(Moment::Within);
        if self.crew.get(worker).is_some_and(|post| !post.rooms.connected()) {
            self.replace(worker, ctx);
        }
        if let Some(post) = self.crew.get(worker) {
            post.rooms.do_send(message);
        }
    }

    fn hire(&mut self, worker: usize, arbiter: ArbiterHandle, ctx: &mut Context<Self>) {
        if self.crew.0.len() <= worker {
            self.crew.0.resize_with(worker + 1, || None);
        }
        let generation = self.crew.get(worker).map_or(0, |post| post.generation + 1);
        let ended = ctx.address().recipient();
        let meters = Arc::clone(&self.description.meters);
        let rooms =
            start_gathering_in(&arbiter, move || Rooms::new(worker, generation, ended, meters));
        self.crew.0[worker] = Some(Post { rooms, generation, arbiter });
    }

    /// Starts a new room actor where one has ended, with all its members.
    fn replace(&mut self, worker: usize, ctx: &mut Context<Self>) {
        let Some(post) = self.crew.get(worker) else { return };
        error!(namespace = &*self.name, worker, "a room actor has ended and is replaced");
        let arbiter = post.arbiter.clone();
        self.hire(worker, arbiter, ctx);
        self.muster(worker, true);
    }

    /// Tells a room actor all its members.
    pub(super) fn muster(&mut self, worker: usize, fresh: bool) {
        let Some(post) = self.crew.get(worker) else { return };
        let here = self.members.iter().filter(|(_, member)| member.place.worker == worker);
        let here = here.filter(|(_, member)| member.phase != Phase::Pending);
        let members = here.map(|(key, member)| {
            // A socket that was not greeted yet is greeted now.
            let greeting =
                (!member.socket.connected()).then(|| self.greeting(&member.socket)).flatten();
            let (port, rooms) = (member.socket.port(), member.shared_rooms());
            let dismiss = match member.phase {
                Phase::Leaving { close } => Some(self.dismissal(key, rooms.clone(), close)),
                Phase::Pending | Phase::Connected => None,
            };
            (Admit { key, port, rooms, greeting }, dismiss)
        });
        post.rooms.do_send(Roster { members: members.collect(), fresh });
    }

    pub(super) fn dismissal(&self, key: Key, rooms: Vec<Room>, close: bool) -> Dismiss {
        let farewell = Outgoing::Disconnect { namespace: &self.name };
        let farewell = self.description.codec.frames(&farewell, true);
        Dismiss { key, rooms, farewell: Some(farewell), close, notify: true }
    }
}

impl Handler<Flush> for Namespace {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) -> Self::Result {
        let (passing, mut passed) = mpsc::channel(1);
        for worker in self.crew.workers() {
            self.post(worker, Pass(passing.clone()), ctx);
        }
        drop(passing);
        Box::pin(async move {
            // Nothing comes; it ends with the last of those that were sent.
            passed.recv().await;
        })
    }
}

impl Handler<Ended> for Namespace {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Self::Context) {
        let Ended { worker, generation, fate } = ended;
        if self.crew.get(worker).is_none_or(|post| post.generation != generation) {
            return;
        }
        if fate != Fate::Ended {
            self.metrics.rooms_rebuilt.increment();
        }
        match fate {
            Fate::Restarted => {
                warn!(namespace = &*self.name, worker, "a room actor is told its members again");
                self.muster(worker, false);
            }
            Fate::GivenUp | Fate::Ended if self.stopping => {}
            Fate::GivenUp => {
                // What was in its mailbox is lost, and may have been anything.
                self.orphan_worker(worker);
                self.replace(worker, ctx);
            }
            Fate::Ended => self.replace(worker, ctx),
        }
    }
}

#[cfg(feature = "testing")]
impl Handler<super::BreakRooms> for Namespace {
    type Result = ();

    fn handle(&mut self, super::BreakRooms(after): super::BreakRooms, _: &mut Self::Context) {
        for post in self.crew.0.iter().flatten() {
            post.rooms.do_send(crate::room::orders::Break(after));
        }
    }
}

#[cfg(feature = "testing")]
impl Handler<super::KillRooms> for Namespace {
    type Result = ();

    fn handle(&mut self, _: super::KillRooms, _: &mut Self::Context) {
        for post in self.crew.0.iter().flatten() {
            post.rooms.do_send(crate::room::orders::Die);
        }
    }
}
