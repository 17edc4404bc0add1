//! What a namespace tells the other servers of its cluster, and does for them.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::error;

use super::{Namespace, messages::RoomEvent};
use crate::{
    adapter::{
        link::{Consult, Gathered, Incoming, LinkHandle, Operation, Question, Reply, Sink},
        message::{Answer, Message, Sending, Wanted},
        recovery::Offset,
    },
    engine::unharmed::{Panicked, unharmed, unharmed_future},
    packet::{Args, Event, Payload},
    room::{
        Broadcast, Disconnect, Join, Leave, Missing, SocketId, Target,
        messages::{AckRequest, Answer as LocalAnswer},
    },
    socket::{
        Outcome, SocketDetails,
        listeners::OnServerSide,
        operator::ACK_TIMEOUT,
        remote::{Fetch, Found, SOCKETS_PER_TURN},
    },
    trace,
};

/// Listeners of other servers' events that may be under way; more events are dropped.
const MAX_SERVING: usize = 1024;

/// Tells the link of rooms that come and go.
pub(super) fn announce(link: &LinkHandle, event: &RoomEvent) {
    if !link.wants_rooms {
        return;
    }
    let (room, wanted) = match event {
        RoomEvent::Created { room } => (room.clone(), true),
        RoomEvent::Deleted { room } => (room.clone(), false),
        RoomEvent::Joined { .. } | RoomEvent::Left { .. } => return,
    };
    link.insist(Operation::Interest { room, wanted });
}

// ---- to other servers --------------------------------------------------------------------------

impl Namespace {
    /// A broadcast for the other servers, unless it is for this one alone.
    #[cold]
    pub(super) fn publish_broadcast(&self, broadcast: &Broadcast) {
        let Broadcast { target, payload, flags, ack, socket, .. } = broadcast;
        let Some(link) = self.link.as_ref().filter(|_| !flags.local && socket.is_none()) else {
            return;
        };
        let (payload, target) = (payload.clone(), target.clone());
        let trace = self.description.propagation.of(&broadcast.span);
        let mut sending =
            Sending { volatile: flags.volatile, compress: flags.compress, timeout: None, trace };
        let Some(request) = ack else {
            let message = Message::Broadcast { payload, target, sending, request: None };
            link.submit(Operation::Say(message));
            return;
        };
        let timeout = match flags.timeout {
            0 => ACK_TIMEOUT,
            milliseconds => Duration::from_millis(milliseconds.into()),
        };
        sending.timeout = Some(timeout);
        // Before anything else is said about answers. The caller may have given up.
        let _ = request.answers.send(LocalAnswer::Elsewhere);
        let sink = Sink::Acks(request.answers.clone());
        let question = Question::Broadcast { payload, target, sending };
        link.submit(Operation::Ask { question, timeout, sink });
    }

    /// Whom an operation means on other servers; `None` if it stays here.
    fn elsewhere(&self, target: &Target, socket: Option<&SocketId>, local: bool) -> Option<Target> {
        if local || self.link.is_none() {
            return None;
        }
        match socket {
            // Elsewhere a socket is addressed by the room of its id.
            Some(id) => self.members.key(id).is_none().then(|| Target::room(id)),
            None => Some(target.clone()),
        }
    }

    fn say(&self, message: Message) {
        if let Some(link) = &self.link {
            link.submit(Operation::Say(message));
        }
    }

    pub(super) fn publish_join(&self, join: &Join) {
        if let Some(target) = self.elsewhere(&join.target, join.socket.as_ref(), join.local) {
            self.say(Message::Join { target, rooms: join.rooms.clone() });
        }
    }

    pub(super) fn publish_leave(&self, leave: &Leave) {
        if let Some(target) = self.elsewhere(&leave.target, leave.socket.as_ref(), leave.local) {
            self.say(Message::Leave { target, rooms: leave.rooms.clone() });
        }
    }

    pub(super) fn publish_disconnect(&self, message: &Disconnect) {
        let Disconnect { target, socket, local, close, .. } = message;
        if let Some(target) = self.elsewhere(target, socket.as_ref(), *local) {
            self.say(Message::Disconnect { target, close: *close });
        }
    }

    /// Tells the link which rooms there are, whatever it was told before.
    pub(super) fn announce_rooms(&self) {
        if let Some(link) = self.link.as_ref().filter(|link| link.wants_rooms) {
            link.insist(Operation::Interests(self.members.rooms().collect()));
        }
    }

    /// Drops `settled` when other servers reach the rooms that have members here.
    pub(super) fn settle(&self, settled: mpsc::Sender<()>) {
        if let Some(link) = &self.link {
            link.insist(Operation::Settle(settled));
        }
    }
}

impl Handler<Consult> for Namespace {
    type Result = ();

    fn handle(&mut self, consult: Consult, _: &mut Self::Context) {
        let Consult { operation, local } = consult;
        if let Operation::Ask { question: Question::AllRooms, sink: Sink::Gather(sink), .. } =
            &operation
        {
            // Of this server nobody else knows. Whoever asked may have given up.
            let rooms = self.members.rooms().collect();
            let _ = sink.send(Gathered::Answer(Answer::Rooms(rooms)));
        }
        match (self.link.as_ref().filter(|_| !local), operation) {
            (Some(link), operation) => {
                link.submit(operation);
            }
            // Alone: nobody is missing. As above.
            (None, Operation::Ask { sink: Sink::Gather(sink), .. }) => {
                let _ = sink.send(Gathered::End(Missing::nobody()));
            }
            (None, Operation::Count(answer)) => {
                let _ = answer.send(Some(0));
            }
            (None, _) => {}
        }
    }
}

// ---- for other servers -------------------------------------------------------------------------

impl Handler<Incoming> for Namespace {
    type Result = ();

    fn handle(&mut self, incoming: Incoming, ctx: &mut Self::Context) {
        match incoming {
            Incoming::Message { message, reply, offset, permit } => {
                self.serve(message, reply, offset, ctx);
                drop(permit);
            }
            Incoming::Kept { number, offset, permit } => {
                self.named(number, offset, ctx);
                drop(permit);
            }
            Incoming::Behind(offset) => self.reach_at_least(offset),
            Incoming::Back => self.deposit_all(),
            Incoming::Undeposited(id) => self.deposit_again(id, ctx),
            Incoming::Recalled { pid, recalled } => self.recalled(&pid, recalled, ctx),
            Incoming::Unkept(number) => self.release(number, ctx),
            Incoming::Relinked(addr) => {
                // Nobody will name what waits.
                self.release(u64::MAX, ctx);
                if let Some(link) = &mut self.link {
                    link.relink(addr);
                }
                self.give_up_recalls(ctx);
                self.announce_rooms();
            }
        }
    }
}

impl Namespace {
    fn serve(
        &mut self,
        message: Message,
        reply: Option<Reply>,
        offset: Option<Offset>,
        ctx: &mut Context<Self>,
    ) {
        match message {
            Message::Broadcast { payload, target, sending, .. } => {
                self.reach(offset);
                let span = trace::relayed(|| payload.name());
                self.description.propagation.adopt(&span, sending.trace);
                let mut broadcast = Broadcast::within(span, target, payload, sending.flags());
                broadcast.ack = reply.and_then(|reply| self.collect(reply, sending));
                self.deliver(broadcast, offset, ctx);
                self.rest(ctx);
            }
            Message::Join { target, rooms } => {
                self.handle(Join { local: true, ..Join::new(target, &*rooms) }, ctx);
            }
            Message::Leave { target, rooms } => {
                self.handle(Leave { local: true, ..Leave::new(target, &*rooms) }, ctx);
            }
            Message::Disconnect { target, close } => {
                let message = Disconnect { local: true, close, ..Disconnect::new(target) };
                // Nobody waits until they are gone.
                drop(Handler::<Disconnect>::handle(self, message, ctx));
            }
            Message::Fetch { target, wanted, .. } => {
                if let Some(reply) = reply {
                    self.tell_sockets_to(target, wanted, reply, ctx);
                }
            }
            Message::AllRooms { .. } => {
                if let Some(reply) = reply {
                    reply.send(Answer::Rooms(self.members.rooms().collect()));
                }
            }
            Message::ServerSideEmit { payload, .. } => self.hear(&payload, reply),
            Message::Heartbeat { .. } | Message::Close | Message::Answer { .. } => {}
        }
    }

    /// Has the answers of clients passed on to the server that asked them.
    fn collect(&self, reply: Reply, sending: Sending) -> Option<AckRequest> {
        let id = self.home.upgrade()?.next_ack();
        let (answers, receiver) = mpsc::unbounded_channel();
        let until = Instant::now() + sending.timeout.unwrap_or(ACK_TIMEOUT);
        actix::spawn(async move {
            // Afterwards nobody wants them.
            let _ = timeout_at(until, pass_on(receiver, reply)).await;
        });
        Some(AckRequest { id, answers })
    }

    fn tell_sockets_to(
        &mut self,
        target: Target,
        wanted: Wanted,
        reply: Reply,
        ctx: &mut Context<Self>,
    ) {
        let found: Vec<Found> = Handler::<Fetch>::handle(self, Fetch(target), ctx);
        let count = found.len();
        let sockets = match wanted {
            Wanted::Count => Vec::new(),
            Wanted::Ids => found.iter().map(|found| found.socket.id().as_str().into()).collect(),
            // With nobody to be found, the answer says that what came before has been done: at once.
            Wanted::Details if count == 0 => Vec::new(),
            Wanted::Details => {
                actix::spawn(async move {
                    let sockets = details(found).await;
                    let count = sockets.len();
                    reply.send(Answer::Sockets { sockets, count });
                });
                return;
            }
        };
        reply.send(Answer::Sockets { sockets, count });
    }

    /// Calls the listeners of an event of another server.
    fn hear(&self, payload: &Payload, reply: Option<Reply>) {
        let Some(event) = payload.to_event() else { return };
        let listeners = &self.description.listeners.server_side;
        let Some(listeners) = listeners.get(&*event.name) else { return };
        let answered = Arc::new(std::sync::OnceLock::new());
        for listener in listeners {
            if Arc::strong_count(&self.serving) > MAX_SERVING {
                self.metrics.server_side_events_dropped.increment();
                continue;
            }
            let (listener, event) = (Arc::clone(listener), event.clone());
            let (metrics, reply) = (Arc::clone(&self.metrics), reply.clone());
            let (serving, answered) = (Arc::clone(&self.serving), Arc::clone(&answered));
            actix::spawn(async move {
                let outcome = run(&*listener, event.clone()).await;
                let answer = match outcome {
                    Ok(Outcome::Silent) => None,
                    Ok(Outcome::Answered(payload)) => Some(payload),
                    Ok(Outcome::Failed(error)) => {
                        error!(event = &*event.name, %error, "a server-side listener failed");
                        Payload::ack(&error.answer()).ok()
                    }
                    Err(Panicked(reason)) => {
                        metrics.panics.increment();
                        error!(event = &*event.name, reason, "a server-side listener panicked");
                        None
                    }
                };
                // The first answer counts.
                if let (Some(answer), Some(reply)) = (answer, reply)
                    && answered.set(()).is_ok()
                {
                    reply.send(Answer::Value(answer.to_args().unwrap_or_default()));
                }
                drop(serving);
            });
        }
    }
}

/// Runs user code.
async fn run(listener: &OnServerSide, event: Event) -> Result<Outcome, Panicked> {
    unharmed_future(unharmed(|| listener(event))?).await
}

/// Tells another server how many clients a broadcast goes to, and then what each answers.
async fn pass_on(mut answers: mpsc::UnboundedReceiver<LocalAnswer>, reply: Reply) {
    let (mut workers, mut reported, mut receivers, mut done) = (None, 0, 0, 0);
    let mut early: Vec<Args> = Vec::new();
    let mut told = false;
    while let Some(answer) = answers.recv().await {
        match answer {
            LocalAnswer::Workers(count) => workers = Some(count),
            LocalAnswer::Receivers(count) => {
                reported += 1;
                receivers += count;
            }
            LocalAnswer::From(_, args) if told => {
                done += 1;
                reply.send(Answer::Ack(args.take(1)));
            }
            LocalAnswer::From(_, args) => early.push(args),
            LocalAnswer::Gone => done += 1,
            _ => {}
        }
        if !told && workers == Some(reported) {
            told = true;
            reply.send(Answer::Clients(receivers));
            for args in early.drain(..) {
                done += 1;
                reply.send(Answer::Ack(args.take(1)));
            }
        }
        if told && done >= receivers {
            return;
        }
    }
}

async fn details(found: Vec<Found>) -> Vec<Value> {
    let mut sockets = Vec::with_capacity(found.len());
    for found in found {
        // Everything in it has a JSON form.
        sockets.extend(serde_json::to_value(SocketDetails::from(found)));
        if sockets.len() % SOCKETS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    sockets
}
