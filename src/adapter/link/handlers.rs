//! The link as an actor: its beginning, its end, and its messages.

use std::{pin::pin, sync::Arc, time::Duration};

use actix::prelude::*;
use futures_util::future::select;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{
    Attach, CAPACITY, Close, Detach, Ended, Incoming, Link, Operation, Outgoing, Respond, Seated,
    WhenReady, members::Members,
};
use crate::adapter::{
    bus::{BusEvent, Membership, Patience, Seat, SeatNumber},
    message::Message,
};

impl Actor for Link {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
        if let Membership::Heartbeats { interval, timeout } = self.bus.membership() {
            let step = (interval / 5).max(Duration::from_millis(1));
            ctx.run_interval(step, move |link, _| link.beat(interval, timeout));
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        for request in self.requests.drain() {
            request.end();
        }
        if let Some(ended) = self.ended.take() {
            ended.do_send(Ended { generation: self.generation });
        }
    }
}

impl Handler<Attach> for Link {
    type Result = ();

    fn handle(&mut self, attach: Attach, _: &mut Self::Context) {
        let Attach { seat: number, namespace, inbox } = attach;
        if self.seats.contains_key(&number) {
            return;
        }
        let seat = Arc::new(Seat { number, namespace, uid: self.bus.uid() });
        let members = Members::default();
        self.seats
            .insert(number, Seated { seat: Arc::clone(&seat), inbox, members, linked: false });
        self.health.set_ready(false);
        self.bus.link(&seat);
    }
}

impl Handler<Detach> for Link {
    type Result = ();

    fn handle(&mut self, Detach(number): Detach, _: &mut Self::Context) {
        if self.bus.membership() != Membership::Census {
            self.send(number, None, &Message::Close);
        }
        if let Some(seated) = self.seats.remove(&number) {
            self.bus.unlink(&seated.seat);
        }
        self.requests.retain(|request| request.seat != number);
        self.check_ready();
    }
}

impl Handler<Outgoing> for Link {
    type Result = ();

    fn handle(&mut self, outgoing: Outgoing, ctx: &mut Self::Context) {
        let Outgoing { seat: number, operation, since } = outgoing;
        let Some(seated) = self.seats.get(&number) else { return };
        match operation {
            Operation::Say(message) => {
                self.send(number, None, &message);
                self.metrics.meters.outgoing(since);
            }
            Operation::Keep { number: event, message } => {
                self.keep(number, event, &message);
                self.metrics.meters.outgoing(since);
            }
            Operation::Deposit(change) => self.deposit(number, change),
            Operation::Recall(recall) => {
                let (inbox, pid) = (seated.inbox.clone(), recall.pid.clone());
                let recalled = self.bus.recall(&Arc::clone(&seated.seat), recall).into_actor(self);
                ctx.spawn(recalled.map(move |recalled, _, _| {
                    inbox.do_send(Incoming::Recalled { pid, recalled: recalled.map(Box::new) });
                }));
            }
            Operation::Ask { question, timeout, sink } => {
                self.ask(number, question, timeout, sink, ctx);
                self.metrics.meters.outgoing(since);
            }
            Operation::Count(answer) => match self.bus.membership() {
                Membership::Heartbeats { .. } => {
                    // Whoever asked may have gone.
                    let _ = answer.send(Some(seated.members.census().others));
                }
                Membership::Census => {
                    let seat = Arc::clone(&seated.seat);
                    let census = self.bus.census(&seat, Patience::None).into_actor(self);
                    ctx.spawn(census.map(|census, _, _| {
                        // As above.
                        let _ = answer.send(census.map(|census| census.others));
                    }));
                }
            },
            Operation::Interest { room, wanted } => {
                self.bus.interest(&Arc::clone(&seated.seat), &room, wanted);
            }
            Operation::Interests(rooms) => {
                self.bus.interests(&Arc::clone(&seated.seat), rooms);
            }
            Operation::Settle(done) => {
                if let Some(settled) = self.bus.settled(&Arc::clone(&seated.seat)) {
                    let waited = async move {
                        // Nobody may wait for it any more.
                        select(settled, pin!(done.closed())).await;
                    };
                    ctx.spawn(waited.into_actor(self));
                }
            }
        }
    }
}

impl Handler<Respond> for Link {
    type Result = ();

    fn handle(&mut self, respond: Respond, ctx: &mut Self::Context) {
        self.respond(respond, ctx);
    }
}

impl Handler<BusEvent> for Link {
    type Result = ();

    fn handle(&mut self, event: BusEvent, ctx: &mut Self::Context) {
        match event {
            BusEvent::Received { seat, envelope, offset, permit } => {
                self.receive(seat, envelope, offset, permit, ctx.address());
            }
            BusEvent::Kept { seat, number, offset, permit } => {
                if let Some(seated) = self.seats.get(&seat) {
                    seated.inbox.do_send(Incoming::Kept { number, offset, permit });
                }
            }
            BusEvent::Linked { seat: number, behind } => {
                if let Some(seated) = self.seats.get_mut(&number) {
                    seated.linked = true;
                    if let Some(offset) = behind {
                        seated.inbox.do_send(Incoming::Behind(offset));
                    }
                    if self.bus.membership() != Membership::Census {
                        self.send(number, None, &Message::Heartbeat { first: true });
                    }
                }
                self.check_ready();
            }
            BusEvent::Away => {
                warn!("the cluster's engine cannot be reached; local clients are served");
                self.metrics.cluster_disconnections.increment();
                self.health.set_away(true);
                // What was on its way may have been kept; local clients do not wait for it.
                for seated in self.seats.values().filter(|_| self.bus.keeps()) {
                    seated.inbox.do_send(Incoming::Unkept(u64::MAX));
                }
            }
            BusEvent::Back => {
                info!("the cluster's engine can be reached again");
                self.health.set_away(false);
                for seated in self.seats.values().filter(|_| self.bus.keeps()) {
                    seated.inbox.do_send(Incoming::Back);
                }
            }
        }
    }
}

impl Handler<WhenReady> for Link {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: WhenReady, _: &mut Self::Context) -> Self::Result {
        let (sender, ready) = oneshot::channel();
        self.waiting.push(sender);
        self.check_ready();
        Box::pin(async move {
            // The link has ended if nobody says so.
            let _ = ready.await;
        })
    }
}

impl Handler<Close> for Link {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Close, _: &mut Self::Context) -> Self::Result {
        self.ended = None;
        let numbers: Vec<SeatNumber> = self.seats.keys().copied().collect();
        for number in numbers {
            if self.bus.membership() != Membership::Census {
                self.send(number, None, &Message::Close);
            }
        }
        let closed = self.bus.close().into_actor(self);
        Box::pin(closed.map(|(), _, ctx| ctx.stop()))
    }
}

/// The link dies of a real panic, to show that it is started again.
#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Die;

#[cfg(feature = "testing")]
impl Handler<Die> for Link {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Self::Context) {
        panic!("the link was told to die");
    }
}
