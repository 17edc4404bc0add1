//! Calling listeners: at once as far as they go, the rest as a task of its own.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context as Task, Poll, Waker},
};

use actix::prelude::*;
use bytestring::ByteString;
use tracing::{Instrument, debug, error, warn};

use super::{
    Client, Connection, Phase,
    passing::{self, Passage},
    underway::{Running, Underway},
};
use crate::{
    engine::{ConnectionEvent, LocalFuture, link::Link, unharmed::Panicked},
    metrics::{Metrics, meters::Since},
    packet::{Event, Payload},
    socket::{
        AckSender, EventError, EventErrorKind, Outcome, Pace, Socket,
        current::{Guarded, enter},
        listeners::Call,
    },
    trace,
};

/// Serial mode: one listener at a time, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Serial {
    busy: usize,
    queue: VecDeque<(Event, Option<u64>, Underway)>,
}

impl Serial {
    /// How many events wait.
    pub(super) fn count(&self) -> usize {
        self.queue.len()
    }
}

/// In serial mode: a listener of this socket has finished.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Finished(Socket);

impl Handler<Finished> for Link<Client> {
    type Result = ();

    fn handle(&mut self, Finished(socket): Finished, ctx: &mut Self::Context) {
        let span = self.span().clone();
        let _entered = span.enter();
        finished(self, &socket, ctx);
    }
}

/// In serial mode: what waits for its turn at this socket gets none any more.
pub(super) fn drop_waiting(client: &mut Client, index: usize) {
    let waiting = client.joined[index].serial.take().map_or(0, |serial| serial.count());
    client.shared.metrics.events_after_disconnect.add(waiting as u64);
}

/// In serial mode: the next event of this socket gets its turn, if nothing is under way any more.
pub(super) fn finished(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    loop {
        let Some(index) = link.upper.position(socket) else { return };
        let Some(serial) = &mut link.upper.joined[index].serial else { return };
        serial.busy = serial.busy.saturating_sub(1);
        if serial.busy > 0 {
            return;
        }
        let Some((event, id, waited)) = serial.queue.pop_front() else { return };
        // Counts as under way until it has been started.
        serial.busy = 1;
        let started = start(link, socket, event, id, ctx);
        drop(waited);
        if started {
            return;
        }
    }
}

/// Gives an event to its listeners, unless so many are at work that it has to wait for its turn.
pub(super) fn take(
    link: &mut Connection,
    index: usize,
    event: Event,
    id: Option<u64>,
    ctx: &mut Context<Connection>,
) {
    let client = &mut link.upper;
    if client.running.has_room(&client.shared.limits) && client.parked.is_empty() {
        dispatch(link, index, event, id, ctx);
    } else {
        client.parked.push(client.joined[index].socket.clone(), event, id);
    }
}

/// Refuses an event that wants an ack, because too many others have not got theirs.
#[cold]
pub(super) fn turn_away(link: &Connection, index: usize, event: &Event, id: Option<u64>) {
    let socket = &link.upper.joined[index].socket;
    let metrics = &link.upper.shared.metrics;
    metrics.events_over_limit.increment();
    let error = EventError::new("too many events without answer");
    report(metrics, socket, &event.name, &error);
    if let Ok(answer) = Payload::ack(&error.answer()) {
        AckSender::new(socket, id).send_payload(&answer);
    }
}

/// Takes up the events that waited, in order, as far as there is room.
pub(super) fn unpark(link: &mut Connection, ctx: &mut Context<Connection>) {
    while link.upper.running.has_room(&link.upper.shared.limits) {
        let Some((socket, event, id)) = link.upper.parked.pop() else { return };
        // What a socket had waiting is dropped when it leaves, as in the reference.
        let index = link.upper.position(&socket);
        let index = index.filter(|index| link.upper.joined[*index].phase == Phase::Joined);
        if let Some(index) = index {
            dispatch(link, index, event, id, ctx);
        } else {
            link.upper.shared.metrics.events_after_disconnect.increment();
        }
    }
}

/// Gives an event to its listeners, now or when those before it have finished.
fn dispatch(
    link: &mut Connection,
    index: usize,
    event: Event,
    id: Option<u64>,
    ctx: &mut Context<Connection>,
) {
    let joined = &mut link.upper.joined[index];
    let socket = joined.socket.clone();
    if !socket.home().description.serial {
        start(link, &socket, event, id, ctx);
        return;
    }
    let serial = joined.serial.get_or_insert_default();
    if serial.busy > 0 {
        let waiting = link.upper.running.begin(&socket, Some(&event));
        serial.queue.push_back((event, id, waiting));
        return;
    }
    serial.busy = 1;
    if !start(link, &socket, event, id, ctx)
        && let Some(serial) = &mut link.upper.joined[index].serial
    {
        serial.busy = 0;
    }
}

/// Gives an event to its listeners, past whatever comes before them; whether something is still
/// under way.
fn start(
    link: &mut Connection,
    socket: &Socket,
    event: Event,
    id: Option<u64>,
    ctx: &mut Context<Connection>,
) -> bool {
    // What the listeners before sent comes before this.
    passing::hear(&link.upper, socket);
    let span = trace::event(socket.namespace(), &event.name, &socket.shown_id(), id.is_some());
    let _entered = span.enter();
    let ack = AckSender::new(socket, id);
    if socket.is_watched() {
        match passing::pass(link, socket, &event, &ack, ctx) {
            Passage::Open => {}
            Passage::Refused => return false,
            Passage::Held => return true,
        }
    }
    listen(link, socket, event, ack, ctx)
}

/// Calls the listeners of an event; whether one of them is still under way.
pub(super) fn listen(
    link: &mut Connection,
    socket: &Socket,
    event: Event,
    ack: AckSender,
    ctx: &mut Context<Connection>,
) -> bool {
    let handlers = socket.handlers(&event.name);
    let metrics = &link.upper.shared.metrics;
    if handlers.is_empty() {
        metrics.events_unhandled.increment();
        return false;
    }
    let mut pending = 0;
    for handler in handlers {
        let call = Call { socket: socket.clone(), event: event.clone(), ack: ack.clone() };
        let end = End {
            socket: socket.clone(),
            event: event.name.clone(),
            ack: ack.clone(),
            metrics: Arc::clone(metrics),
            called: Some(Since::now()),
        };
        pending += usize::from(run(
            &link.upper.running,
            (socket, Some(&event)),
            || handler(call),
            move |result| end.reach(result),
            ctx,
        ));
    }
    if let Some(index) = link.upper.position(socket)
        && let Some(serial) = &mut link.upper.joined[index].serial
    {
        serial.busy = pending;
    }
    pending > 0
}

/// Calls user code, polls it once, and leaves the rest to a task. Whether there is a rest.
fn run(
    running: &Rc<Running>,
    (socket, event): (&Socket, Option<&Event>),
    call: impl FnOnce() -> LocalFuture<Outcome>,
    end: impl FnOnce(Result<Outcome, Panicked>) + 'static,
    ctx: &mut Context<Connection>,
) -> bool {
    let mut future = match Guarded::start(socket.pipe(), call) {
        Ok(future) => future,
        Err(panicked) => {
            end(Err(panicked));
            return false;
        }
    };
    if let Poll::Ready(result) = poll_once(&mut future) {
        end(result);
        return false;
    }
    let underway = running.begin(socket, event);
    let serial = socket.home().description.serial.then(|| ctx.address());
    let rest = async move {
        end(future.await);
        if let Some(connection) = serial {
            connection.do_send(Finished(underway.socket.clone()));
        }
    };
    actix::spawn(rest.in_current_span());
    true
}

/// Most listeners never wait: they are done after this, without a task of their own.
pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Task::from_waker(Waker::noop()))
}

/// What is done when a listener has ended.
struct End {
    socket: Socket,
    event: ByteString,
    ack: AckSender,
    metrics: Arc<Metrics>,
    /// Of a listener of events.
    called: Option<Since>,
}

impl End {
    fn reach(self, result: Result<Outcome, Panicked>) {
        if let Some(called) = self.called {
            self.socket.home().description.meters.handled(&self.event, called);
        }
        match result {
            Ok(Outcome::Silent) => self.ack.owe(),
            Ok(Outcome::Answered(payload)) => self.ack.send_payload(&payload),
            Ok(Outcome::Failed(error)) => {
                self.metrics.events_failed.increment();
                self.fail(&error);
            }
            Err(Panicked(reason)) => {
                self.metrics.panics.increment();
                error!(
                    namespace = self.socket.namespace(),
                    event = &*self.event,
                    reason,
                    "listener panicked"
                );
                self.fail(&EventError::panicked(reason));
            }
        }
    }

    fn fail(&self, error: &EventError) {
        report(&self.metrics, &self.socket, &self.event, error);
        if let Ok(answer) = Payload::ack(&error.answer()) {
            self.ack.send_payload(&answer);
        }
    }
}

/// Tells the error hooks of the namespace and of the socket.
pub(super) fn report(metrics: &Metrics, socket: &Socket, event: &str, error: &EventError) {
    let id = socket.shown_id();
    use EventErrorKind::{Packet, Payload, Refused};
    // What clients can cause at will is no warning.
    if matches!(error.kind(), Payload | Packet | Refused) {
        debug!(namespace = socket.namespace(), %id, event, %error, "event refused");
    } else {
        warn!(namespace = socket.namespace(), %id, event, %error, "event failed");
    }
    for hook in socket.error_hooks() {
        if let Err(Panicked(reason)) = enter(socket.pipe(), || hook(socket, event, error)) {
            metrics.panics.increment();
            error!(namespace = socket.namespace(), reason, "error hook panicked");
        }
    }
}

/// Calls a listener of the socket's life; its errors are only reported.
pub(super) fn run_hook(
    client: &Client,
    socket: &Socket,
    name: &'static str,
    call: impl FnOnce() -> LocalFuture<Outcome>,
    ctx: &mut Context<Connection>,
) {
    let end = hook_end(client, socket, name);
    run(&client.running, (socket, None), call, end, ctx);
}

/// Tells the listeners of a socket what happened to its connection. What clients can cause at will is
/// not told while too many listeners of the like are at work.
pub(super) fn notice(
    client: &Client,
    socket: &Socket,
    event: ConnectionEvent,
    ctx: &mut Context<Connection>,
) {
    let once = matches!(event, ConnectionEvent::Closed(_) | ConnectionEvent::Upgraded(_));
    if !once && client.running.hooks() >= client.shared.limits.max_running {
        client.shared.metrics.connection_events_dropped.increment();
        debug!(
            namespace = socket.namespace(),
            ?event,
            "connection event dropped: its listeners are busy"
        );
        return;
    }
    for listener in socket.connection_listeners() {
        let called = socket.clone();
        run_hook(client, socket, "connection", || listener(called, event), ctx);
    }
    let Some(pace) = Pace::of(event) else { return };
    for listener in &socket.home().description.listeners.pace {
        let called = socket.clone();
        run_hook(client, socket, "pace", || listener(called, pace), ctx);
    }
}

/// The end of a listener that answers nobody.
pub(super) fn hook_end(
    client: &Client,
    socket: &Socket,
    name: &'static str,
) -> impl FnOnce(Result<Outcome, Panicked>) + 'static {
    let end = End {
        socket: socket.clone(),
        event: ByteString::from_static(name),
        ack: AckSender::new(socket, None),
        metrics: Arc::clone(&client.shared.metrics),
        called: None,
    };
    move |result| end.reach(result)
}
