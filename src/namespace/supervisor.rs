//! Letting sockets in and out, moving them, sending to them; watching the room actors.

use std::sync::Arc;

use actix::prelude::*;
use futures_util::future::join_all;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::{
    Namespace,
    membership::{Phase, Workers},
    messages::{
        Connect, Depart, Departed, Describe, Entrance, Place, Prepare, SocketEvent, Stop, Tidy,
    },
};
use crate::{
    packet::Outgoing,
    room::{
        Broadcast, Disconnect, Ended, Join, Key, Leave, Room, Rooms, SocketId, Target,
        messages::{Admit, Answer, Confirm, Dismiss, Fanout, Move, Origin},
    },
    socket::Errand,
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
    fn workers(&self) -> Workers {
        self.0.iter().enumerate().filter(|(_, post)| post.is_some()).map(|(w, _)| w).collect()
    }

    fn get(&self, worker: usize) -> Option<&Post> {
        self.0.get(worker)?.as_ref()
    }
}

impl Namespace {
    /// Sends to the room actor of a worker, after seeing to it that there is one that lives.
    fn post<M>(&mut self, worker: usize, message: M, ctx: &mut Context<Self>)
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

    fn dismissal(&self, key: Key, rooms: Vec<Room>, close: bool) -> Dismiss {
        let farewell = Outgoing::Disconnect { namespace: &self.name };
        let farewell = self.description.codec.frames(&farewell, true);
        Dismiss { key, rooms, farewell: Some(farewell), close, notify: true }
    }

    /// Lets an operation's own connection go on, behind all that has been sent to its worker.
    fn confirm(&mut self, origin: Option<Origin>, ctx: &mut Context<Self>) {
        if let Some(origin) = origin {
            self.post(origin.worker(), Confirm(origin), ctx);
        }
    }

    fn keys(&self, socket: Option<&SocketId>, target: &Target) -> Vec<Key> {
        match socket {
            Some(id) => self.members.key(id).into_iter().collect(),
            None => self.members.select(target),
        }
    }

    /// Moves sockets and tells the room actors of those that take part.
    fn relocate(
        &mut self,
        keys: &[Key],
        enter: &[Room],
        exit: &[Room],
        origin: Option<Origin>,
        ctx: &mut Context<Self>,
    ) {
        let mut events = Vec::new();
        let mut moved: SmallVec<[(usize, SmallVec<[Key; 1]>); 1]> = SmallVec::new();
        for key in keys {
            let Some(member) = self.members.get(*key) else { continue };
            let (worker, phase) = (member.place.worker, member.phase);
            if matches!(phase, Phase::Leaving { .. }) && !enter.is_empty() {
                continue;
            }
            let before = events.len();
            for room in exit {
                self.members.leave(*key, room, &mut events);
            }
            for room in enter {
                self.members.join(*key, room, &mut events);
            }
            if events.len() > before && phase == Phase::Connected {
                match moved.iter_mut().find(|(w, _)| *w == worker) {
                    Some((_, keys)) => keys.push(*key),
                    None => moved.push((worker, SmallVec::from_slice(&[*key]))),
                }
            }
        }
        for (worker, keys) in moved {
            let (enter, exit) = (enter.iter().cloned().collect(), exit.iter().cloned().collect());
            let confirm = origin.as_ref().filter(|origin| origin.worker() == worker).cloned();
            self.post(worker, Move { keys, enter, exit, confirm }, ctx);
        }
        self.tell_rooms(events.into_iter());
    }

    fn admit(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get(key) else { return };
        let (socket, Place { worker, arbiter }) = (member.socket.clone(), member.place.clone());
        let mut events = Vec::new();
        self.members.join(key, &Room::from(socket.id()), &mut events);
        self.tell_rooms(events.into_iter());
        let Some(greeting) = self.welcome(key, ctx) else { return };
        if let Some(member) = self.members.get_mut(key) {
            member.phase = Phase::Connected;
        }
        match self.crew.0.get_mut(worker).and_then(Option::as_mut) {
            None => self.hire(worker, arbiter, ctx),
            // The worker may be another thread than before; where its room actor has ended, the
            // next one starts there.
            Some(post) => post.arbiter = arbiter,
        }
        let rooms = self.members.get(key).map(|member| member.shared_rooms()).unwrap_or_default();
        let greeting = Some(greeting);
        self.post(worker, Admit { key, port: socket.port(), rooms, greeting }, ctx);
        self.tell_sockets(&SocketEvent::Connected(socket));
    }

    /// Puts a connected socket out; whoever asks may wait until it has left.
    fn put_out(
        &mut self,
        key: Key,
        close: bool,
        ctx: &mut Context<Self>,
    ) -> Option<oneshot::Receiver<()>> {
        let member = self.members.get_mut(key).filter(|member| member.phase != Phase::Pending)?;
        let id = member.socket.id().clone();
        if member.phase == Phase::Connected {
            member.phase = Phase::Leaving { close };
            let (worker, rooms) = (member.place.worker, member.shared_rooms());
            let dismissal = self.dismissal(key, rooms, close);
            self.post(worker, dismissal, ctx);
        }
        let (sender, parted) = oneshot::channel();
        self.partings.entry(id).or_default().push(sender);
        Some(parted)
    }

    fn end_if_empty(&mut self, ctx: &mut Context<Self>) {
        if self.stopping && self.members.is_empty() {
            debug!(namespace = &*self.name, "namespace ends");
            ctx.stop();
        }
    }
}

impl Handler<Prepare> for Namespace {
    type Result = ();

    fn handle(&mut self, prepare: Prepare, _: &mut Self::Context) {
        let Prepare { socket, place, arrival } = prepare;
        self.receive(socket, place);
        drop(arrival);
    }
}

impl Handler<Connect> for Namespace {
    type Result = ();

    fn handle(&mut self, connect: Connect, ctx: &mut Self::Context) {
        let Connect { socket, place, arrival, claim } = connect;
        if self.stopping {
            // Dropping it tells its connection.
            return;
        }
        let Some(socket) = socket.take() else { return };
        let known = self.members.key(socket.id());
        let key = known.unwrap_or_else(|| self.receive(socket, place));
        drop(arrival);
        if let Some(claim) = claim {
            claim.settle();
        }
        self.admit(key, ctx);
        self.rest(ctx);
    }
}

impl Handler<Depart> for Namespace {
    type Result = ();

    fn handle(&mut self, Depart { socket, reason, heard }: Depart, ctx: &mut Self::Context) {
        let Some(socket) = socket.take() else { return };
        let Some(key) = self.members.key(socket.id()) else { return };
        let mut events = Vec::new();
        let Some(member) = self.members.get(key) else { return };
        debug_assert!(member.socket == socket, "an id has one socket at a time");
        let phase = member.phase;
        if phase == Phase::Connected {
            let (worker, rooms) = (member.place.worker, member.shared_rooms());
            let dismiss = Dismiss { key, rooms, farewell: None, close: false, notify: false };
            self.post(worker, dismiss, ctx);
        }
        if let Some(reason) = reason {
            self.part(key, reason, heard);
        }
        self.members.remove(key, &mut events);
        self.tell_rooms(events.into_iter());
        if let Some(reason) = reason {
            // One that was never let in came back in vain.
            if phase != Phase::Pending {
                self.tell_sockets(&SocketEvent::Disconnected { socket: socket.clone(), reason });
            }
            socket.errand(Errand::Departed(socket.clone()));
        }
        self.end_if_empty(ctx);
        self.retire_if_empty(ctx);
        self.rest(ctx);
    }
}

impl Handler<Tidy> for Namespace {
    type Result = ();

    fn handle(&mut self, _: Tidy, ctx: &mut Self::Context) {
        self.retire_if_empty(ctx);
    }
}

impl Handler<Departed> for Namespace {
    type Result = ();

    fn handle(&mut self, Departed(socket): Departed, ctx: &mut Self::Context) {
        for parting in self.partings.remove(socket.id()).unwrap_or_default() {
            // Whoever asked may not wait.
            let _ = parting.send(());
        }
        self.parted(&socket, ctx);
        self.retire_if_empty(ctx);
    }
}

impl Handler<Broadcast> for Namespace {
    type Result = ();

    fn handle(&mut self, broadcast: Broadcast, ctx: &mut Self::Context) {
        let (selection, mut workers) = match &broadcast.socket {
            Some(id) => self.members.resolve_one(id),
            None => self.members.resolve(&broadcast.target, self.crew.workers()),
        };
        // Where nobody has been let in yet there is no room actor, and nobody to hear it.
        workers.retain(|worker| self.crew.get(*worker).is_some());
        if let Some(request) = &broadcast.ack {
            // The caller may have given up.
            let _ = request.answers.send(Answer::Workers(workers.len()));
        }
        if let Some(frames) = self.event_frames(&broadcast, !workers.is_empty(), ctx) {
            let Broadcast { flags, origin, ack, .. } = broadcast;
            let selection = Arc::new(selection);
            for worker in workers {
                let confirm = origin.as_ref().filter(|origin| origin.worker() == worker).cloned();
                let fanout = Fanout {
                    selection: Arc::clone(&selection),
                    frames: frames.clone(),
                    volatile: flags.volatile,
                    ack: ack.clone(),
                    confirm,
                };
                self.post(worker, fanout, ctx);
            }
        }
        self.rest(ctx);
    }
}

impl Handler<Join> for Namespace {
    type Result = ();

    fn handle(&mut self, Join { target, rooms, socket }: Join, ctx: &mut Self::Context) {
        let keys = self.keys(socket.as_ref(), &target);
        self.relocate(&keys, &rooms, &[], None, ctx);
        self.rest(ctx);
    }
}

impl Handler<Leave> for Namespace {
    type Result = ();

    fn handle(&mut self, Leave { target, rooms, socket, origin }: Leave, ctx: &mut Self::Context) {
        let keys = self.keys(socket.as_ref(), &target);
        self.relocate(&keys, &[], &rooms, origin, ctx);
        self.rest(ctx);
    }
}

impl Handler<Disconnect> for Namespace {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, message: Disconnect, ctx: &mut Self::Context) -> Self::Result {
        let Disconnect { target, close, origin, socket, done } = message;
        let keys = self.keys(socket.as_ref(), &target);
        let partings: Vec<_> =
            keys.into_iter().filter_map(|key| self.put_out(key, close, ctx)).collect();
        self.confirm(origin, ctx);
        Box::pin(async move {
            let count = join_all(partings).await.len();
            if let Some(done) = done {
                // Whoever asked may not wait.
                let _ = done.send(count);
            }
            count
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

impl Handler<Describe> for Namespace {
    type Result = Option<Arc<Entrance>>;

    fn handle(&mut self, _: Describe, ctx: &mut Self::Context) -> Self::Result {
        (!self.stopping).then(|| self.entrance(&ctx.address()))
    }
}

impl Handler<Stop> for Namespace {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        if let Some(home) = self.home.upgrade() {
            home.close();
        }
        let keys = self.members.select(&Target::everyone());
        let partings: Vec<_> =
            keys.into_iter().filter_map(|key| self.put_out(key, false, ctx)).collect();
        self.end_if_empty(ctx);
        Box::pin(async move {
            join_all(partings).await;
        })
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
