//! Broadcasts that the engine of the cluster keeps. With recovery on, they are delivered here when it
//! has named them, in the order in which all servers hear them: so what a client got last says what
//! it has missed, on whatever server it comes back.

use std::{collections::VecDeque, time::Duration};

use actix::prelude::*;
use tokio::time::Instant;

use super::{Namespace, ahead::Ahead};
use crate::{
    adapter::{
        link::Operation,
        message::{Message, Sending},
        recovery::Offset,
    },
    room::{Broadcast, Target},
};

/// How long local clients wait for the engine. Then they get their events without its names.
const PATIENCE: Duration = Duration::from_secs(2);

/// Events that may wait for their names. The driver's own bounds are met before it.
const MAX_WAITING: usize = 65_536;

/// What waits for its name, in the order it was sent.
#[derive(Default)]
pub(super) struct Unnamed {
    queue: VecDeque<Waiting>,
    last: u64,
    watching: bool,
}

struct Waiting {
    /// `None` for what gets no name, but must not overtake what was sent before it.
    number: Option<u64>,
    since: Instant,
    broadcast: Broadcast,
}

impl Unnamed {
    fn push(&mut self, number: Option<u64>, broadcast: Broadcast) {
        self.queue.push_back(Waiting { number, since: Instant::now(), broadcast });
    }

    /// The next one that has no number beyond this.
    fn pop(&mut self, number: u64) -> Option<Waiting> {
        let next = self.queue.front()?;
        if next.number.is_some_and(|other| other > number) {
            return None;
        }
        self.queue.pop_front()
    }

    /// The last number that has waited for too long.
    fn overdue(&self, now: Instant) -> Option<u64> {
        let overdue =
            self.queue.iter().take_while(|waiting| now.duration_since(waiting.since) >= PATIENCE);
        overdue.filter_map(|waiting| waiting.number).last()
    }
}

impl Namespace {
    /// The engine of the cluster keeps broadcasts, and this server wants recovery: so both are one.
    pub(super) fn arrange_keeping(&mut self, addr: &Addr<Self>) {
        if self.link.as_ref().is_some_and(|link| link.keeps)
            && let Some(keeper) = &mut self.keeper
            && keeper.unnamed.is_none()
        {
            keeper.store.take_names();
            keeper.unnamed = Some(Unnamed::default());
            keeper.ahead = Some(Box::new(Ahead::new(addr.clone().recipient())));
            if let Some(home) = self.home.upgrade() {
                home.set_depositing();
            }
        }
    }

    /// Has a broadcast of this server kept, if it is to be, and delivered later. Returns one that is
    /// to be delivered now.
    pub(super) fn defer(
        &mut self,
        broadcast: Broadcast,
        ctx: &mut Context<Self>,
    ) -> Option<Broadcast> {
        let Some(unnamed) = self.keeper.as_mut().and_then(|keeper| keeper.unnamed.as_mut()) else {
            self.publish_broadcast(&broadcast);
            return Some(broadcast);
        };
        let Broadcast { target, payload, flags, ack, socket, .. } = &broadcast;
        if flags.local || flags.volatile || ack.is_some() {
            if unnamed.queue.is_empty() {
                self.publish_broadcast(&broadcast);
                return Some(broadcast);
            }
            unnamed.push(None, broadcast.clone());
            self.publish_broadcast(&broadcast);
            return None;
        }
        unnamed.last += 1;
        let number = unnamed.last;
        let trace = self.description.propagation.of(&broadcast.span);
        let sending = Sending { volatile: false, compress: flags.compress, timeout: None, trace };
        // Elsewhere a socket is addressed by the room of its id.
        let target = socket.as_ref().map_or_else(|| target.clone(), Target::room);
        let payload = payload.clone();
        let message = Message::Broadcast { payload, target, sending, request: None };
        unnamed.push(Some(number), broadcast);
        let full = unnamed.queue.len() > MAX_WAITING;
        let taken =
            self.link.as_ref().is_some_and(|link| link.submit(Operation::Keep { number, message }));
        if !taken || full {
            self.release(number, ctx);
        }
        self.watch_unnamed(ctx);
        None
    }

    /// The engine has kept a broadcast. It has lost those that came before it and have not been named.
    pub(super) fn named(&mut self, number: u64, offset: Offset, ctx: &mut Context<Self>) {
        self.reach(Some(offset));
        while let Some(waiting) = self.next_unnamed(number) {
            let offset = (waiting.number == Some(number)).then_some(offset);
            self.deliver(waiting.broadcast, offset, ctx);
        }
    }

    /// Delivers what waits, up to a number, without names.
    pub(super) fn release(&mut self, number: u64, ctx: &mut Context<Self>) {
        while let Some(waiting) = self.next_unnamed(number) {
            self.deliver(waiting.broadcast, None, ctx);
        }
    }

    fn next_unnamed(&mut self, number: u64) -> Option<Waiting> {
        self.keeper.as_mut()?.unnamed.as_mut()?.pop(number)
    }

    /// Looks from time to time whether something waits for too long, as long as something waits.
    fn watch_unnamed(&mut self, ctx: &mut Context<Self>) {
        let Some(unnamed) = self.keeper.as_mut().and_then(|keeper| keeper.unnamed.as_mut()) else {
            return;
        };
        if unnamed.watching || unnamed.queue.is_empty() {
            return;
        }
        unnamed.watching = true;
        ctx.run_later(PATIENCE / 2, |namespace, ctx| {
            let Some(unnamed) =
                namespace.keeper.as_mut().and_then(|keeper| keeper.unnamed.as_mut())
            else {
                return;
            };
            unnamed.watching = false;
            if let Some(number) = unnamed.overdue(Instant::now()) {
                namespace.release(number, ctx);
            }
            namespace.watch_unnamed(ctx);
        });
    }

    /// The actor has panicked: its timers are gone.
    pub(super) fn renew_unnamed(&mut self, ctx: &mut Context<Self>) {
        if let Some(unnamed) = self.keeper.as_mut().and_then(|keeper| keeper.unnamed.as_mut()) {
            unnamed.watching = false;
        }
        self.watch_unnamed(ctx);
    }
}
