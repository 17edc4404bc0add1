//! What is done to those who are there: broadcasts, rooms, disconnects.

use std::sync::Arc;

use actix::prelude::*;
use futures_util::future::join_all;
use smallvec::SmallVec;
use tracing::debug;

use super::{Namespace, membership::Phase, rebuilding::Moment};
use crate::{
    adapter::recovery::Offset,
    room::{
        Broadcast, Disconnect, Join, Key, Leave, Room, SocketId, Target,
        messages::{Answer, Origin},
        orders::{Confirm, Fanout, Move},
    },
};

impl Namespace {
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

    /// Whether a socket may join a room, which it may be in already.
    fn may_join(&self, key: Key, room: &Room) -> bool {
        let limits = &self.description.limits;
        let may = room.len() <= limits.room_name
            && (self.members.rooms_of(key) <= limits.rooms || self.members.is_in(key, room));
        if !may {
            debug!(namespace = &*self.name, "room not joined: too many, or its name is too long");
            self.metrics.joins_refused.increment();
        }
        may
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
        // Sockets that may not join all of the rooms.
        let mut bounded: Vec<(usize, Key, SmallVec<[Room; 1]>)> = Vec::new();
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
            let mut entered = 0;
            for room in enter {
                if self.may_join(*key, room) {
                    self.members.join(*key, room, &mut events);
                    entered += 1;
                }
            }
            if entered < enter.len() {
                let rooms = enter.iter().filter(|room| self.members.is_in(*key, room));
                let rooms: SmallVec<[Room; 1]> = rooms.cloned().collect();
                if events.len() > before && phase == Phase::Connected {
                    bounded.push((worker, *key, rooms));
                }
                continue;
            }
            if events.len() > before && phase == Phase::Connected {
                match moved.iter_mut().find(|(w, _)| *w == worker) {
                    Some((_, keys)) => keys.push(*key),
                    None => moved.push((worker, SmallVec::from_slice(&[*key]))),
                }
            }
        }
        self.take_census();
        self.burn(Moment::Untold);
        // Before anything can go wrong: what is written down has been told.
        self.tell_rooms(events.into_iter());
        for (worker, key, enter) in bounded {
            let exit = exit.iter().cloned().collect();
            let keys = SmallVec::from_slice(&[key]);
            self.post(worker, Move { keys, enter, exit, confirm: None }, ctx);
        }
        for (worker, keys) in moved {
            let (enter, exit) = (enter.iter().cloned().collect(), exit.iter().cloned().collect());
            let confirm = origin.as_ref().filter(|origin| origin.worker() == worker).cloned();
            self.post(worker, Move { keys, enter, exit, confirm }, ctx);
        }
    }
}

impl Handler<Broadcast> for Namespace {
    type Result = ();

    fn handle(&mut self, broadcast: Broadcast, ctx: &mut Self::Context) {
        self.burn(Moment::Before);
        if self.link.is_none() {
            self.deliver(broadcast, None, ctx);
        } else if let Some(broadcast) = self.defer(broadcast, ctx) {
            self.deliver(broadcast, None, ctx);
        }
        self.rest(ctx);
    }
}

impl Namespace {
    /// Hands a broadcast to the room actors of those of this server whom it means. `offset` is its
    /// name, if the engine of the cluster has given it one.
    pub(super) fn deliver(
        &mut self,
        broadcast: Broadcast,
        offset: Option<Offset>,
        ctx: &mut Context<Self>,
    ) {
        broadcast.span.record("namespace", &*self.name);
        let (selection, mut workers) = match &broadcast.socket {
            Some(id) => self.members.resolve_one(id),
            None => self.members.resolve(&broadcast.target, self.crew.workers()),
        };
        // Where nobody has been let in yet there is no room actor, and nobody to hear it.
        workers.retain(|worker| self.crew.has(*worker));
        let frames = self.event_frames(&broadcast, !workers.is_empty(), offset, ctx);
        // `None` if nobody hears it, empty if the parser could not write it.
        let frames = frames.filter(|frames| !frames.is_empty());
        if frames.is_none() {
            workers.clear();
        }
        if let Some(request) = &broadcast.ack {
            // The caller may have given up.
            let _ = request.answers.send(Answer::Workers(workers.len()));
        }
        if let Some(frames) = frames {
            let Broadcast { payload, flags, origin, ack, span, .. } = broadcast;
            let selection = Arc::new(selection);
            for worker in workers {
                let confirm = origin.as_ref().filter(|origin| origin.worker() == worker).cloned();
                let fanout = Fanout {
                    selection: Arc::clone(&selection),
                    frames: frames.clone(),
                    volatile: flags.volatile,
                    ack: ack.clone(),
                    confirm,
                    copy: self.description.wants_copies().then(|| payload.clone()),
                    span: span.clone(),
                };
                self.post(worker, fanout, ctx);
            }
        }
    }
}

impl Handler<Join> for Namespace {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) {
        self.burn(Moment::Before);
        self.publish_join(&join);
        let Join { target, rooms, socket, settled, .. } = join;
        let keys = self.keys(socket.as_ref(), &target);
        self.relocate(&keys, &rooms, &[], None, ctx);
        if let Some(settled) = settled {
            self.settle(settled);
        }
        self.rest(ctx);
    }
}

impl Handler<Leave> for Namespace {
    type Result = ();

    fn handle(&mut self, leave: Leave, ctx: &mut Self::Context) {
        self.burn(Moment::Before);
        self.publish_leave(&leave);
        let Leave { target, rooms, socket, origin, .. } = leave;
        let keys = self.keys(socket.as_ref(), &target);
        self.relocate(&keys, &[], &rooms, origin, ctx);
        self.rest(ctx);
    }
}

impl Handler<Disconnect> for Namespace {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, message: Disconnect, ctx: &mut Self::Context) -> Self::Result {
        self.burn(Moment::Before);
        if !message.local {
            // What was sent before it arrives before it.
            self.release(u64::MAX, ctx);
        }
        self.publish_disconnect(&message);
        let Disconnect { target, close, origin, socket, done, .. } = message;
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
