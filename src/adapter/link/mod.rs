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
mod members;
mod requests;

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use hashbrown::HashMap;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{info, warn};

pub(crate) use self::{
    handle::{LinkHandle, Reply, Respond},
    requests::{Gathered, Sink},
};
use self::{members::Members, requests::Request};
use super::{
    bus::{Bus, BusEvent, Census, Membership, Permit, Seat, SeatNumber, Unsent},
    message::{Answer, Envelope, Message, Sending, Uid, Wanted},
    node::Health,
};
use crate::{
    metrics::Metrics,
    packet::Payload,
    room::{Room, Target},
};

/// Messages of namespaces that may wait for the link.
pub(super) const CAPACITY: usize = 16_384;

// ---- messages ----------------------------------------------------------------------------------

/// A namespace takes part from now on.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) seat: SeatNumber,
    pub(crate) namespace: Arc<str>,
    pub(crate) inbox: Recipient<Incoming>,
}

/// A namespace takes part no more.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Detach(pub(crate) SeatNumber);

/// What a namespace has for the other nodes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Outgoing {
    pub(crate) seat: SeatNumber,
    pub(crate) operation: Operation,
}

/// The same as a namespace is asked for it: it hands it on, behind what it was told before.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Consult {
    pub(crate) operation: Operation,
    /// Only this server is asked.
    pub(crate) local: bool,
}

/// See [`Outgoing`].
pub(crate) enum Operation {
    /// A message that nobody answers.
    Say(Message),
    /// A question to all other nodes.
    Ask { question: Question, timeout: Duration, sink: Sink },
    /// How many other nodes are there?
    Count(oneshot::Sender<Option<usize>>),
    /// A room has got its first member, or lost its last one.
    Interest { room: Room, wanted: bool },
    /// Dropped when all interest so far is in effect.
    Settle(mpsc::Sender<()>),
}

/// What can be asked of all other nodes.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// Send this to clients, and say what they answer.
    Broadcast {
        payload: Payload,
        target: Target,
        sending: Sending,
    },
    Fetch {
        target: Target,
        wanted: Wanted,
    },
    AllRooms,
    ServerSideEmit(Payload),
    /// Has everything that was sent before been done?
    Settled,
}

/// What other nodes, and the link itself, have for a namespace.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Incoming {
    Message {
        message: Message,
        /// To answer with, if it is a request.
        reply: Option<Reply>,
        /// Dropped when the namespace has taken the message.
        permit: Permit,
    },
    /// The link has died, and this is the next one: it has to be told of the rooms again.
    Relinked(Addr<Link>),
}

/// Answers when all namespaces hear everything that is sent to them.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct WhenReady;

/// The server closes.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

// ---- the actor ---------------------------------------------------------------------------------

/// See the module's description.
pub(crate) struct Link {
    bus: Box<dyn Bus>,
    seats: HashMap<SeatNumber, Seated>,
    requests: HashMap<Uid, Request>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// Called when the actor has ended, however.
    ended: Option<Recipient<Ended>>,
    generation: u64,
    started: Instant,
    /// Whoever waits for all namespaces to be linked.
    waiting: Vec<oneshot::Sender<()>>,
}

/// A link has ended without being told to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ended {
    pub(crate) generation: u64,
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
            requests: HashMap::new(),
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
        let now = self.now();
        let Some(seated) = self.seats.get_mut(&number) else { return };
        match self.bus.send(&seated.seat, to, message) {
            Ok(()) => {
                if to.is_none() {
                    seated.members.said = now;
                }
                self.metrics.cluster_messages_sent.increment();
            }
            Err(Unsent::Away) => self.metrics.cluster_messages_dropped.increment(),
            Err(Unsent::Unknown) => {}
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
        let seat = Arc::clone(&seated.seat);
        let uid = self.bus.uid();
        let message = self.message(question, uid.clone());
        self.requests.insert(uid.clone(), Request::new(number, sink));
        ctx.run_later(timeout, {
            let uid = uid.clone();
            move |link, _| link.give_up(&uid)
        });
        match self.bus.membership() {
            Membership::Heartbeats { .. } => {
                let census = seated.members.census();
                self.send(number, None, &message);
                self.expect(&uid, census);
            }
            Membership::Census => {
                self.send(number, None, &message);
                let census = self.bus.census(&seat).into_actor(self);
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
            // Whoever answers it has done what came before. Nobody is in a room of that name.
            Question::Settled => {
                let target = Target::room(format!("\u{1}{request}"));
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

    /// The time of a request is up.
    fn give_up(&mut self, uid: &Uid) {
        if let Some(request) = self.requests.remove(uid) {
            let missing = request.end();
            self.metrics.cluster_answers_missing.add(missing.count.unwrap_or(1) as u64);
        }
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
                seated.inbox.do_send(Incoming::Message { message, reply, permit });
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
        self.requests.retain(|_, request| !(request.seat == number && request.forget(uid)));
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
        for (_, request) in self.requests.drain() {
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
        self.requests.retain(|_, request| request.seat != number);
        self.check_ready();
    }
}

impl Handler<Outgoing> for Link {
    type Result = ();

    fn handle(&mut self, Outgoing { seat: number, operation }: Outgoing, ctx: &mut Self::Context) {
        let Some(seated) = self.seats.get(&number) else { return };
        match operation {
            Operation::Say(message) => self.send(number, None, &message),
            Operation::Ask { question, timeout, sink } => {
                self.ask(number, question, timeout, sink, ctx);
            }
            Operation::Count(answer) => match self.bus.membership() {
                Membership::Heartbeats { .. } => {
                    // Whoever asked may have gone.
                    let _ = answer.send(Some(seated.members.census().others));
                }
                Membership::Census => {
                    let census = self.bus.census(&Arc::clone(&seated.seat)).into_actor(self);
                    ctx.spawn(census.map(|census, _, _| {
                        // As above.
                        let _ = answer.send(census.map(|census| census.others));
                    }));
                }
            },
            Operation::Interest { room, wanted } => {
                self.bus.interest(&Arc::clone(&seated.seat), &room, wanted);
            }
            Operation::Settle(done) => {
                if let Some(settled) = self.bus.settled(&Arc::clone(&seated.seat)) {
                    ctx.spawn(settled.into_actor(self).map(|(), _, _| drop(done)));
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
            BusEvent::Received { seat, envelope, permit } => {
                self.receive(seat, envelope, permit, ctx.address());
            }
            BusEvent::Linked(number) => {
                if let Some(seated) = self.seats.get_mut(&number) {
                    seated.linked = true;
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
            }
            BusEvent::Back => {
                info!("the cluster's engine can be reached again");
                self.health.set_away(false);
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
