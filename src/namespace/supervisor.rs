//! Letting sockets in and out, and the end.

use std::sync::Arc;

use actix::prelude::*;
use futures_util::future::join_all;
use tokio::{sync::oneshot, time::Instant};
use tracing::debug;

use super::{
    Namespace,
    membership::Phase,
    messages::{
        Connect, Depart, Departed, Describe, Entrance, MakeWay, Place, Prepare, SocketEvent, Stop,
        Tidy,
    },
    rebuilding::Moment,
};
use crate::{
    room::{
        Key, Room, SocketId, Target,
        orders::{Admit, Dismiss},
    },
    socket::{DisconnectReason, Errand, Socket},
};

impl Namespace {
    /// Whether another socket has this one's id: that of an old client is its session's, and the
    /// application may give the id of a session that has ended to the next one while the socket is
    /// still leaving. The client is sent away then, and tries again.
    fn is_taken(&self, socket: &Socket) -> bool {
        let member = self.members.key(socket.id()).and_then(|key| self.members.get(key));
        let taken = member.is_some_and(|member| member.socket != *socket);
        if taken {
            socket.errand(Errand::Outlived);
        }
        taken
    }

    fn admit(&mut self, key: Key, ctx: &mut Context<Self>) {
        let Some(member) = self.members.get(key) else { return };
        let (socket, Place { worker, arbiter }) = (member.socket.clone(), member.place.clone());
        let mut events = Vec::new();
        self.members.join(key, &Room::from(socket.id()), &mut events);
        self.tell_rooms(events.into_iter());
        let Some(greeting) = self.welcome(key, ctx) else { return };
        self.members.admit(key);
        self.take_census();
        self.engage(worker, arbiter, ctx);
        let rooms = self.members.get(key).map(|member| member.shared_rooms()).unwrap_or_default();
        let admit = Admit { key, port: socket.port(), rooms, greeting: Some(greeting) };
        self.tell_sockets(&SocketEvent::Connected(socket));
        self.post(worker, admit, ctx);
    }

    /// Puts a connected socket out; whoever asks may wait until it has left.
    pub(super) fn put_out(
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

    /// Takes out a socket that was not let in.
    fn discard(&mut self, id: Option<&SocketId>) {
        let key = id.and_then(|id| self.members.key(id));
        let pending =
            |key: &Key| self.members.get(*key).is_some_and(|member| member.phase == Phase::Pending);
        if let Some(key) = key.filter(pending) {
            let mut events = Vec::new();
            self.members.remove(key, &mut events);
            self.take_census();
            self.tell_rooms(events.into_iter());
        }
    }

    pub(super) fn end_if_empty(&mut self, ctx: &mut Context<Self>) {
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
        if !self.is_taken(&socket) {
            self.receive(socket, place);
        }
        drop(arrival);
    }
}

impl Handler<Connect> for Namespace {
    type Result = ();

    fn handle(&mut self, connect: Connect, ctx: &mut Self::Context) {
        self.burn(Moment::Before);
        let Connect { socket: told, place, arrival, claim } = connect;
        if self.stopping {
            // Dropping it tells its connection.
            self.discard(told.id());
            self.end_if_empty(ctx);
            return;
        }
        let Some(socket) = told.socket().cloned() else { return };
        if self.is_taken(&socket) {
            told.take();
            return;
        }
        let known = self.members.key(socket.id());
        let key = known.unwrap_or_else(|| self.receive(socket, place));
        // From here on it is known who was being let in, should this end in a panic.
        self.admitting = Some(key);
        told.take();
        drop(arrival);
        if let Some(claim) = claim {
            claim.settle();
        }
        self.admit(key, ctx);
        self.rest(ctx);
        self.admitting = None;
    }
}

impl Namespace {
    /// Takes a socket out of everything. Whether it was there.
    fn take_out(
        &mut self,
        socket: &Socket,
        reason: Option<DisconnectReason>,
        heard: Instant,
        ctx: &mut Context<Self>,
    ) -> bool {
        let member =
            self.members.key(socket.id()).and_then(|key| Some((key, self.members.get(key)?)));
        let Some((key, member)) = member.filter(|(_, member)| member.socket == *socket) else {
            return false;
        };
        let mut events = Vec::new();
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
        self.take_census();
        self.tell_rooms(events.into_iter());
        // One that was never let in came back in vain.
        if let Some(reason) = reason.filter(|_| phase != Phase::Pending) {
            self.tell_sockets(&SocketEvent::Disconnected { socket: socket.clone(), reason });
        }
        true
    }
}

impl Handler<Depart> for Namespace {
    type Result = ();

    fn handle(&mut self, depart: Depart, ctx: &mut Self::Context) {
        self.burn(Moment::Before);
        let Depart { socket: told, reason, heard } = depart;
        let Some(socket) = told.socket().cloned() else { return };
        // If it was not let in, its connection waits nevertheless.
        let was_here = self.take_out(&socket, reason, heard, ctx);
        told.take();
        socket.errand(Errand::Departed(socket.clone()));
        if was_here {
            self.end_if_empty(ctx);
            self.retire_if_empty(ctx);
            self.rest(ctx);
        }
    }
}

impl Handler<Tidy> for Namespace {
    type Result = ();

    fn handle(&mut self, _: Tidy, ctx: &mut Self::Context) {
        self.retire_if_empty(ctx);
    }
}

impl Handler<MakeWay> for Namespace {
    type Result = ();

    fn handle(&mut self, _: MakeWay, ctx: &mut Self::Context) {
        self.room_events.retain(|subscriber| subscriber.connected());
        self.socket_events.retain(|subscriber| subscriber.connected());
        // An actor that wants to know what happens here would wait in vain.
        let is_watched = !self.room_events.is_empty() || !self.socket_events.is_empty();
        if !is_watched && self.retire(ctx) {
            self.metrics.empty_namespaces_ended.increment();
        }
    }
}

impl Handler<Departed> for Namespace {
    type Result = ();

    fn handle(&mut self, departed: Departed, ctx: &mut Self::Context) {
        let Departed { socket, reason, heard } = departed;
        // Still here if it panicked when it was told the first time.
        self.take_out(&socket, reason, heard, ctx);
        for parting in self.partings.remove(socket.id()).unwrap_or_default() {
            // Whoever asked may not wait.
            let _ = parting.send(());
        }
        self.parted(&socket, ctx);
        self.end_if_empty(ctx);
        self.retire_if_empty(ctx);
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
        self.release(u64::MAX, ctx);
        if let Some(listing) = &self.listing {
            listing.stopping();
        }
        if let Some(home) = self.home.upgrade() {
            home.close();
        }
        // Whoever is still in a middleware is told when it has passed.
        for id in self.members.pending() {
            self.discard(Some(&id));
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
