//! What a namespace keeps for clients that may come back: their sockets and the events they miss.

use std::sync::Arc;

use actix::prelude::*;
use hashbrown::HashMap;
use tokio::time::Instant;
use tracing::debug;

use super::{
    Namespace, Tenure,
    ahead::Ahead,
    keeping::Unnamed,
    messages::{Place, RoomEvent},
    returning::Waiting,
};
use crate::{
    adapter::recovery::{Audience, Departure, Failure, Moment, Offset, Returned, Settings, Store},
    engine::{frame::Frame, outbox::Frames},
    packet::{Outgoing, Payload},
    room::{Broadcast, Key, SocketId},
    socket::{DisconnectReason, Errand, Socket},
};

/// What a namespace has for recovery.
pub(super) struct Keeper {
    pub(super) store: Store,
    started: Instant,
    /// Clients that have come back before their old sockets have gone.
    pub(super) waiting: HashMap<SocketId, Waiting>,
    pub(super) last_waiting: u64,
    sweeping: bool,
    /// What waits for its name, if the engine of the cluster keeps events.
    pub(super) unnamed: Option<Unnamed>,
    /// The same, for the sessions.
    pub(super) ahead: Option<Box<Ahead>>,
}

impl Keeper {
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        Self {
            store: Store::new(Arc::clone(settings)),
            started: Instant::now(),
            waiting: HashMap::new(),
            last_waiting: 0,
            sweeping: false,
            unnamed: None,
            ahead: None,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// Notes when its sockets join and leave rooms.
    pub(super) fn note(&mut self, event: &RoomEvent) {
        if let Some(ahead) = &mut self.ahead {
            ahead.note(event);
        }
        match event {
            RoomEvent::Joined { room, socket } => self.store.joined(socket, room),
            RoomEvent::Left { room, socket } => self.store.left(socket, room),
            RoomEvent::Created { .. } | RoomEvent::Deleted { .. } => {}
        }
    }
}

// ---- events ----------------------------------------------------------------------------------

impl Namespace {
    /// An event as ready frames; with recovery, it gets its offset and is kept. `None` if nobody
    /// hears it, neither now nor later.
    pub(super) fn event_frames(
        &mut self,
        broadcast: &Broadcast,
        heard: bool,
        offset: Option<Offset>,
        ctx: &mut Context<Self>,
    ) -> Option<Frames> {
        let Broadcast { payload, flags, ack, key, .. } = broadcast;
        let id = ack.as_ref().map(|ack| ack.id);
        let encode = |namespace: &Self, payload: &Payload| {
            let event = Outgoing::Event { namespace: &namespace.name, id, payload };
            let frames = namespace.description.codec.frames(&event, flags.compress);
            // Whoever asks for answers must not wait for those of clients that were never asked.
            if id.is_some() {
                return frames;
            }
            namespace.description.mark(frames, &namespace.name, payload, *flags, key.as_deref())
        };
        let share = |namespace: &Self, frames| namespace.description.shared_by_receivers(frames);
        match &self.keeper {
            Some(keeper) if id.is_none() && flags.volatile && payload.ends_with_text() => {
                // A client would take that text for an offset, and forget the real one.
                let payload = payload.with_text(&keeper.store.last_offset());
                heard.then(|| share(self, encode(self, &payload)))
            }
            Some(keeper) if id.is_none() && !flags.volatile => {
                if !self.is_wanted(keeper, broadcast, heard) {
                    return None;
                }
                let payload = payload.with_text(&keeper.store.next_offset(offset));
                let frames = encode(self, &payload);
                // Not yet shared: what receivers make of it would be kept too, and nobody counts it.
                self.keep(broadcast, &frames, offset);
                self.sweep_later(ctx);
                Some(share(self, frames))
            }
            _ => heard.then(|| share(self, encode(self, payload))),
        }
    }

    /// Whether anybody hears an event, now or later.
    fn is_wanted(&self, keeper: &Keeper, broadcast: &Broadcast, heard: bool) -> bool {
        let Some(id) = &broadcast.socket else { return heard || keeper.store.has_absent() };
        let wanted = keeper.store.knows(id);
        if !wanted {
            self.metrics.recovery_emits_dropped.increment();
        }
        wanted
    }

    fn keep(&mut self, broadcast: &Broadcast, frames: &Frames, offset: Option<Offset>) {
        let Some(keeper) = &mut self.keeper else { return };
        let audience = match &broadcast.socket {
            Some(id) => Audience::Socket(id.clone()),
            None => Audience::Target(broadcast.target.clone()),
        };
        // Who comes back gets all that it missed, what was dropped at the end of its connection too.
        let frames = frames.iter().map(Frame::unmarked).collect();
        let displaced = keeper.store.push(keeper.now(), audience, frames, offset);
        self.metrics.recovery_packets_evicted.add(displaced as u64);
    }
}

// ---- sockets that come and go ----------------------------------------------------------------

impl Namespace {
    /// Takes a socket in before it is let in: one that comes back is in its rooms at once.
    pub(super) fn receive(&mut self, socket: Socket, place: Place) -> Key {
        let id = socket.id().clone();
        let key = self.members.insert(socket, place);
        if self.tenure == Tenure::Spare
            && let Some(listing) = &self.listing
        {
            listing.entered();
        }
        if let Some(keeper) = &self.keeper {
            let mut events = Vec::new();
            for room in keeper.store.rooms_of_claimed(&id) {
                self.members.join(key, room, &mut events);
            }
            self.tell_rooms(events.into_iter());
        }
        key
    }

    /// A socket is let in. Returns what it has to be sent before anything else; `None` if it has
    /// come back in vain: what it missed was forgotten while its middlewares ran.
    pub(super) fn welcome(&mut self, key: Key, ctx: &mut Context<Self>) -> Option<Frames> {
        let member = self.members.get(key)?;
        let socket = member.socket.clone();
        let Some(keeper) = &mut self.keeper else { return self.greeting(&socket) };
        let now = keeper.now();
        match keeper.store.admit(socket.id(), member.rooms(), now) {
            Ok(missed) => {
                if socket.recovered() {
                    debug!(id = %socket.shown_id(), missed = missed.len(), "socket recovered");
                    self.metrics.sockets_recovered.increment();
                }
                self.sweep_later(ctx);
                self.deposit_newcomer(socket.id(), socket.protocol());
                Some(self.greet(&socket, missed))
            }
            Err(failure) => {
                self.withdraw(socket.id());
                self.end_session(socket.id());
                self.failed(failure);
                // It comes back once more, and gets a new socket.
                socket.errand(Errand::Outlived);
                None
            }
        }
    }

    /// What a socket gets first; once more, if its room actor has died with it.
    pub(super) fn greeting(&self, socket: &Socket) -> Option<Frames> {
        let missed = match &self.keeper {
            Some(keeper) => keeper.store.missed(socket.id()),
            None => Ok(Frames::new()),
        };
        match missed {
            Ok(missed) => Some(self.greet(socket, missed)),
            Err(_) => {
                socket.errand(Errand::Outlived);
                None
            }
        }
    }

    /// What it missed comes before the CONNECT, as in the reference: the client has it all when it
    /// knows that it is connected.
    fn greet(&self, socket: &Socket, mut frames: Frames) -> Frames {
        let id = socket.id();
        let pid = self.keeper.as_ref().and_then(|keeper| keeper.store.pid(id));
        let pid = pid.map(|pid| pid.as_str());
        // An old client makes the id itself.
        let sid = (socket.protocol() != 3).then(|| id.as_str());
        let greeting = Outgoing::Connect { namespace: &self.name, sid, pid };
        frames.extend(self.description.codec.frames(&greeting, true));
        frames
    }

    /// A socket that was let in leaves; it still is in its rooms.
    pub(super) fn part(&mut self, key: Key, reason: DisconnectReason, heard: Instant) {
        let (Some(member), Some(keeper)) = (self.members.get(key), &mut self.keeper) else {
            return;
        };
        let id = member.socket.id();
        // Old clients cannot say that they come back.
        if reason.is_recoverable() && member.socket.protocol() != 3 {
            let heard = heard.saturating_duration_since(keeper.started);
            let departure = Departure { now: keeper.now(), heard, rooms: member.rooms().to_vec() };
            let ended = keeper.store.depart(id, departure);
            self.metrics.recovery_sessions_evicted.add(ended as u64);
            return;
        }
        let id = id.clone();
        self.withdraw(&id);
        let Some(keeper) = &mut self.keeper else { return };
        keeper.store.end(&id);
        if let Some(waiting) = keeper.waiting.remove(&id) {
            self.failed(Failure::Unknown);
            // Whoever asked may have gone.
            let _ = waiting.answer.send(None);
        }
    }

    /// The disconnect listeners of a socket have been called: its client may have it back now.
    pub(super) fn parted(&mut self, socket: &Socket, ctx: &mut Context<Self>) {
        let Some(keeper) = &mut self.keeper else { return };
        let left = || Returned { data: socket.data_values(), expires: socket.has_expiry() };
        keeper.store.parted(socket.id(), left);
        let waiting = keeper.waiting.remove(socket.id());
        let pid = keeper.store.pid(socket.id()).map(|pid| pid.as_str().to_owned());
        self.deposit_soon(socket.id());
        match (waiting, pid) {
            (None, _) => {}
            (Some(waiting), Some(pid)) if self.recalls() => {
                self.recall(&pid, waiting.offset, waiting.answer, ctx);
            }
            (Some(waiting), _) => {
                let claim = self.claim(socket.id(), waiting.offset.as_deref(), ctx);
                // If whoever asked has gone, the claim gives the socket back.
                let _ = waiting.answer.send(claim);
            }
        }
        self.sweep_later(ctx);
    }
}

// ---- what is counted, and what is forgotten ---------------------------------------------------

impl Namespace {
    pub(super) fn failed(&self, failure: Failure) {
        debug!(?failure, "a socket was not recovered");
        let counter = match failure {
            Failure::Unknown => &self.metrics.recoveries_unknown,
            Failure::Expired => &self.metrics.recoveries_expired,
            Failure::Evicted => &self.metrics.recoveries_evicted,
            Failure::Offset => &self.metrics.recoveries_malformed,
        };
        counter.increment();
    }

    fn end_session(&mut self, id: &SocketId) {
        if let Some(keeper) = &mut self.keeper {
            keeper.store.end(id);
        }
    }

    /// Whether clients that are away may come back: then the namespace has to be there.
    pub(super) fn expects_returns(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.store.has_absent())
    }

    /// The actor has panicked: its timers are gone, and who waits for a socket would wait for ever.
    pub(super) fn renew_keeper(&mut self, ctx: &mut Context<Self>) {
        let Some(keeper) = &mut self.keeper else { return };
        keeper.sweeping = false;
        for (_, waiting) in keeper.waiting.drain() {
            // Whoever asked may have gone; else it gets a new socket.
            let _ = waiting.answer.send(None);
        }
        self.sweep_later(ctx);
        self.renew_unnamed(ctx);
        self.renew_ahead(ctx);
    }

    /// Looks from time to time what need not be kept any longer, as long as something is kept.
    pub(super) fn sweep_later(&mut self, ctx: &mut Context<Self>) {
        let Some(keeper) = &mut self.keeper else { return };
        if keeper.sweeping {
            return;
        }
        keeper.sweeping = true;
        let interval = keeper.store.settings().sweep_interval();
        ctx.run_later(interval, |namespace, ctx| {
            let Some(keeper) = &mut namespace.keeper else { return };
            keeper.sweeping = false;
            if keeper.store.sweep(keeper.now()) {
                namespace.sweep_later(ctx);
            }
            namespace.retire_if_empty(ctx);
        });
    }
}
