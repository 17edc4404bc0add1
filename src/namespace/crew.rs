//! The room actors of a namespace: starting them, watching them, replacing one that died.

use actix::prelude::*;
use tokio::sync::mpsc;
use tracing::error;

use super::{
    Namespace,
    membership::{Phase, Workers},
    messages::Flush,
};
use crate::{
    packet::Outgoing,
    room::{
        Ended, Key, Room, Rooms,
        messages::{Admit, Dismiss, Pass},
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
        if self.crew.get(worker).is_some_and(|post| !post.rooms.connected()) {
            self.rebuild(worker, ctx);
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
        let rooms =
            Rooms::start_in_arbiter(&arbiter, move |_| Rooms::new(worker, generation, ended));
        self.crew.0[worker] = Some(Post { rooms, generation, arbiter });
    }

    /// Starts a new room actor where one died, with all its members.
    fn rebuild(&mut self, worker: usize, ctx: &mut Context<Self>) {
        let Some(post) = self.crew.get(worker) else { return };
        error!(namespace = &*self.name, worker, "a room actor died and is rebuilt");
        self.metrics.rooms_rebuilt.increment();
        let arbiter = post.arbiter.clone();
        self.hire(worker, arbiter, ctx);
        let Some(post) = self.crew.get(worker) else { return };
        let here = self.members.iter().filter(|(_, member)| member.place.worker == worker);
        for (key, member) in here.filter(|(_, member)| member.phase != Phase::Pending) {
            // A socket that its predecessor had not greeted yet is greeted now.
            let greeting =
                (!member.socket.connected()).then(|| self.greeting(&member.socket)).flatten();
            let rooms = member.shared_rooms();
            post.rooms.do_send(Admit {
                key,
                port: member.socket.port(),
                rooms: rooms.clone(),
                greeting,
            });
            if let Phase::Leaving { close } = member.phase {
                post.rooms.do_send(self.dismissal(key, rooms, close));
            }
        }
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

    fn handle(&mut self, Ended { worker, generation }: Ended, ctx: &mut Self::Context) {
        if !self.stopping && self.crew.get(worker).is_some_and(|p| p.generation == generation) {
            self.rebuild(worker, ctx);
        }
    }
}

#[cfg(feature = "testing")]
impl Handler<super::KillRooms> for Namespace {
    type Result = ();

    fn handle(&mut self, _: super::KillRooms, _: &mut Self::Context) {
        for post in self.crew.0.iter().flatten() {
            post.rooms.do_send(crate::room::messages::Die);
        }
    }
}
