//! The link of one node to the others: an actor between the namespaces and the bus.
//!
//! * **Owns** the bus, the requests that wait for answers, and what is known of the other nodes.
//! * **Started by** its [`Node`](super::node::Node), which starts another one if it dies.
//! * **Ends when** the server closes.
//! * **Its mailbox** is bounded for what namespaces send (`CAPACITY`): what finds it full is dropped
//!   and counted, so that an engine that is slow costs no memory. What comes from the bus is bounded
//!   by the permits of the [`Inbox`](super::bus::Inbox).
//!
//! Namespaces never wait for it, and it never waits for them.

mod expectation;
mod handle;
mod handlers;
mod members;
mod messages;
mod pending;
mod requests;

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use hashbrown::HashMap;
use tokio::{sync::oneshot, time::Instant};
use tracing::warn;

#[cfg(feature = "testing")]
pub(crate) use self::handlers::Die;
pub(crate) use self::{
    handle::{LinkHandle, Reply, Respond},
    messages::{
        Attach, Close, Consult, Detach, Ended, Incoming, Operation, Outgoing, Question, WhenReady,
    },
    requests::{Gathered, Sink},
};
use self::{members::Members, pending::Pending, requests::Request};
use super::{
    bus::{Bus, Census, Membership, Patience, Permit, Seat, SeatNumber, Unsent},
    message::{Answer, Envelope, Message, Uid, Wanted},
    node::Health,
    recovery::{Change, Offset},
};
use crate::{metrics::Metrics, room::Target};

/// Messages of namespaces that may wait for the link.
pub(super) const CAPACITY: usize = 16_384;

/// See the module's description.
pub(crate) struct Link {
    bus: Box<dyn Bus>,
    seats: HashMap<SeatNumber, Seated>,
    requests: Pending,
    /// Wakes when the time of the first of them is up.
    timer: Option<SpawnHandle>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// Called when the actor has ended, however.
    ended: Option<Recipient<Ended>>,
    generation: u64,
    started: Instant,
    /// Whoever waits for all namespaces to be linked.
    waiting: Vec<oneshot::Sender<()>>,
}

struct Seated {
    seat: Arc<Seat>,
    inbox: Recipient<Incoming>,
    members: Members,
    linked: bool,
}

impl Link {
    pub(super) fn new(
        bus: Box<dyn Bus>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        ended: Recipient<Ended>,
        generation: u64,
    ) -> Self {
        Self {
            bus,
            seats: HashMap::new(),
            requests: Pending::default(),
            timer: None,
            metrics,
            health,
            ended: Some(ended),
            generation,
            started: Instant::now(),
            waiting: Vec::new(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn send(&mut self, number: SeatNumber, to: Option<&Uid>, message: &Message) {
        self.send_patiently(number, to, message, Patience::of(message));
    }

    fn send_patiently(
        &mut self,
        number: SeatNumber,
        to: Option<&Uid>,
        message: &Message,
        patience: Patience,
    ) {
        let now = self.now();
        let Some(seated) = self.seats.get_mut(&number) else { return };
        match self.bus.send(&seated.seat, to, message, patience) {
            Ok(()) => {
                if to.is_none() {
                    seated.members.said = now;
                }
                self.metrics.cluster_messages_sent.increment();
            }
            Err(Unsent::Away | Unsent::TooLarge) => {
                self.metrics.cluster_messages_dropped.increment();
            }
            Err(Unsent::Unawaited) => self.metrics.cluster_messages_volatile.increment(),
            Err(Unsent::Unknown) => {}
        }
    }

    /// Has a broadcast kept, or says that it is not.
    fn keep(&mut self, number: SeatNumber, event: u64, message: &Message) {
        let now = self.now();
        let Some(seated) = self.seats.get_mut(&number) else { return };
        if !seated.linked || self.health.is_away() {
            // Others may hear it, but what they hear is not heard here now.
            seated.inbox.do_send(Incoming::Unkept(event));
            return self.send(number, None, message);
        }
        match self.bus.keep(&seated.seat, event, message) {
            Ok(()) => {
                seated.members.said = now;
                self.metrics.cluster_messages_sent.increment();
            }
            Err(_) => {
                self.metrics.cluster_messages_dropped.increment();
                seated.inbox.do_send(Incoming::Unkept(event));
            }
        }
    }

    /// Changes what other nodes find of a session, or says that it could not be done.
    fn deposit(&mut self, number: SeatNumber, change: Change) {
        let Some(seated) = self.seats.get(&number) else { return };
        let id = match &change {
            Change::Put { deposit, .. } => Some(deposit.id.clone()),
            // The next time they are renewed is early enough, and what is left ends by itself.
            Change::Renew { .. } | Change::Withdraw(_) => None,
        };
        // While the engine is away nothing is deposited; afterwards all is, again.
        let deposited = self.bus.deposit(&seated.seat, change);
        if matches!(deposited, Err(Unsent::Away | Unsent::Unawaited))
            && !self.health.is_away()
            && let Some(id) = id
        {
            seated.inbox.do_send(Incoming::Undeposited(id));
        }
    }

    /// Sends a question, and waits for the answers of those who are there.
    fn ask(
        &mut self,
        number: SeatNumber,
        question: Question,
        timeout: Duration,
        sink: Sink,
        ctx: &mut Context<Self>,
    ) {
        let Some(seated) = self.seats.get(&number) else { return };
        let (seat, members) = (Arc::clone(&seated.seat), &seated.members);
        // As they are known before the question is sent.
        let heard = match self.bus.membership() {
            Membership::Heartbeats { .. } => Some(members.census()),
            Membership::Census => None,
        };
        let uid = self.bus.uid();
        let took = self.metrics.meters.request(question.kind());
        let message = self.message(question, uid.clone());
        // Nobody would take the answer later.
        let patience = Patience::of_request(&message, Instant::now() + timeout);
        let request = Request::new(number, sink, took);
        self.requests.add(uid.clone(), request, timeout, Instant::now());
        self.set_timer(ctx);
        self.send_patiently(number, None, &message, patience);
        match heard {
            Some(census) => self.expect(&uid, census),
            None => {
                let census = self.bus.census(&seat, patience).into_actor(self);
                ctx.spawn(census.map(move |census, link, _| {
                    if let Some(census) = census {
                        link.expect(&uid, census);
                    }
                }));
            }
        }
    }

    fn message(&self, question: Question, request: Uid) -> Message {
        match question {
            Question::Broadcast { payload, target, sending } => {
                Message::Broadcast { payload, target, sending, request: Some(request) }
            }
            Question::Fetch { target, wanted } => Message::Fetch { target, request, wanted },
            Question::AllRooms if self.bus.has_all_rooms() => Message::AllRooms { request },
            Question::AllRooms => {
                let (target, wanted) = (Target::everyone(), Wanted::Details);
                Message::Fetch { target, request, wanted }
            }
            Question::ServerSideEmit(payload) => {
                Message::ServerSideEmit { payload, request: Some(request) }
            }
            // Whoever answers it has done what came before.
            Question::Settled => {
                let target = Question::settled_target(&request);
                Message::Fetch { target, request, wanted: Wanted::Details }
            }
        }
    }

    fn expect(&mut self, uid: &Uid, census: Census) {
        if let Some(request) = self.requests.get_mut(uid)
            && request.expect(census)
        {
            self.requests.remove(uid);
        }
    }

    /// Sees to it that requests end when their time is up.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let Some(wait) = self.requests.arm(Instant::now()) else { return };
        if let Some(late) = self.timer.take() {
            ctx.cancel_future(late);
        }
        self.timer = Some(ctx.run_later(wait, |link, ctx| {
            link.timer = None;
            let now = Instant::now();
            while let Some(request) = link.requests.due(now) {
                let missing = request.end();
                link.metrics.cluster_answers_missing.add(missing.count.unwrap_or(1) as u64);
            }
            link.set_timer(ctx);
        }));
    }

    /// Sends an answer to whoever asked. What was done for the request before has to be in effect.
    fn respond(&mut self, respond: Respond, ctx: &mut Context<Self>) {
        let Respond { seat: number, to, message } = respond;
        let Some(seated) = self.seats.get(&number) else { return };
        match self.bus.settled(&Arc::clone(&seated.seat)) {
            None => self.send(number, to.as_ref(), &message),
            Some(settled) => {
                let settled = settled.into_actor(self);
                ctx.spawn(settled.map(move |(), link, _| link.send(number, to.as_ref(), &message)));
            }
        }
    }

    fn receive(
        &mut self,
        number: SeatNumber,
        envelope: Envelope,
        offset: Option<Offset>,
        permit: Permit,
        addr: Addr<Self>,
    ) {
        let now = self.now();
        let heartbeats = self.bus.membership() != Membership::Census;
        let Some(seated) = self.seats.get_mut(&number) else { return };
        let Envelope { uid, message, .. } = envelope;
        if heartbeats && let Some(uid) = &uid {
            if message == Message::Close {
                return self.forget(number, &uid.clone());
            }
            seated.members.hear(uid, now);
        }
        match message {
            Message::Heartbeat { first: true } => {
                self.send(number, None, &Message::Heartbeat { first: false });
            }
            Message::Heartbeat { first: false } | Message::Close => {}
            Message::Answer { request, answer } => self.answered(&request, uid.as_ref(), answer),
            message => {
                let request = match &message {
                    Message::Broadcast { request, .. }
                    | Message::ServerSideEmit { request, .. } => request.clone(),
                    Message::Fetch { request, .. } | Message::AllRooms { request } => {
                        Some(request.clone())
                    }
                    _ => None,
                };
                let reply =
                    request.map(|request| Reply::new(addr.recipient(), number, uid, request));
                seated.inbox.do_send(Incoming::Message { message, reply, offset, permit });
            }
        }
    }

    fn answered(&mut self, uid: &Uid, from: Option<&Uid>, answer: Answer) {
        if let Some(request) = self.requests.get_mut(uid)
            && request.answer(from, answer)
        {
            self.requests.remove(uid);
        }
    }

    /// A node is gone: nobody waits for it any more.
    fn forget(&mut self, number: SeatNumber, uid: &Uid) {
        let Some(seated) = self.seats.get_mut(&number) else { return };
        seated.members.forget(uid);
        self.requests.retain(|request| !(request.seat == number && request.forget(uid)));
    }

    // ---- heartbeats ----------------------------------------------------------------------------

    fn beat(&mut self, interval: Duration, timeout: Duration) {
        let now = self.now();
        let numbers: Vec<SeatNumber> = self.seats.keys().copied().collect();
        for number in numbers {
            let Some(seated) = self.seats.get_mut(&number) else { continue };
            let gone = seated.members.expire(now, timeout);
            if now.saturating_sub(seated.members.said) >= interval {
                self.send(number, None, &Message::Heartbeat { first: false });
            }
            for uid in gone {
                warn!(node = %uid, "a node of the cluster is not heard of any more");
                self.forget(number, &uid);
            }
        }
    }

    /// Tells those who wait for it that all namespaces are linked.
    fn check_ready(&mut self) {
        let ready = self.seats.values().all(|seated| seated.linked);
        self.health.set_ready(ready);
        if ready {
            for waiting in self.waiting.drain(..) {
                // Whoever waited may have given up.
                let _ = waiting.send(());
            }
        }
    }
}
