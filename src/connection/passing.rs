//! What an event passes before its listeners get it, and who hears what is sent.
//!
//! First the catch-all listeners see it, then its middlewares may refuse it. One that waits holds
//! its own event only; in serial mode also those behind it. Without either nothing of this runs.

use std::task::Poll;

use actix::prelude::*;
use tracing::{Instrument, Span, error};

use super::{Client, Connection, Phase, running};
use crate::{
    engine::{LocalFuture, link::Link, unharmed::Panicked},
    packet::Event,
    socket::{
        AckSender, EventError, Socket,
        current::{Guarded, enter},
        listeners::Call,
    },
};

/// What became of an event on its way to its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Its listeners may have it.
    Open,
    /// A middleware did not let it through.
    Refused,
    /// A middleware waits for something.
    Held,
}

/// What a chain of middlewares comes to: whether the event goes on to its listeners. It does not
/// when its socket has left meanwhile.
type Verdict = Result<bool, EventError>;

/// Shows an event to the catch-all listeners and asks the middlewares.
pub(super) fn pass(
    link: &Connection,
    socket: &Socket,
    event: &Event,
    ack: &AckSender,
    ctx: &mut Context<Connection>,
) -> Passage {
    #[cfg(feature = "admin")]
    socket.show_received(event);
    for listener in socket.any_listeners() {
        call(&link.upper, socket, event, || listener(socket, event, ack));
    }
    let middlewares = socket.event_middlewares();
    if middlewares.is_empty() {
        return Passage::Open;
    }
    let asked = Call { socket: socket.clone(), event: event.clone(), ack: ack.clone() };
    let chain = move || -> LocalFuture<Verdict> {
        Box::pin(async move {
            for middleware in middlewares {
                let Call { socket, event, ack } = &asked;
                if socket.is_silent() {
                    return Ok(false);
                }
                let call = Call { socket: socket.clone(), event: event.clone(), ack: ack.clone() };
                middleware(call).await?;
            }
            Ok(true)
        })
    };
    let mut chain = match Guarded::start(socket.pipe(), chain) {
        Ok(chain) => chain,
        Err(panicked) => return judge(&link.upper, socket, event, Err(panicked)),
    };
    if let Poll::Ready(result) = running::poll_once(&mut chain) {
        return judge(&link.upper, socket, event, result);
    }
    let underway = link.upper.running.begin(socket, Some(event));
    let passed = (socket.clone(), event.clone(), ack.clone());
    let connection = ctx.address();
    let rest = async move {
        let (result, (socket, event, ack)) = (chain.await, passed);
        // Counts as under way until its listeners do. Without its connection nobody wants it.
        let span = Span::current();
        let _ = connection.send(Passed { socket, event, ack, result, span }).await;
        drop(underway);
    };
    actix::spawn(rest.in_current_span());
    Passage::Held
}

fn judge(
    client: &Client,
    socket: &Socket,
    event: &Event,
    result: Result<Verdict, Panicked>,
) -> Passage {
    let error = match result {
        Ok(Ok(true)) => return Passage::Open,
        Ok(Ok(false)) => {
            client.shared.metrics.events_after_disconnect.increment();
            return Passage::Refused;
        }
        Ok(Err(error)) => error,
        Err(Panicked(reason)) => {
            client.shared.metrics.panics.increment();
            let namespace = socket.namespace();
            error!(namespace, event = &*event.name, reason, "middleware of events panicked");
            EventError::panicked(reason)
        }
    };
    client.shared.metrics.events_refused.increment();
    running::report(&client.shared.metrics, socket, &event.name, &error);
    Passage::Refused
}

/// The middlewares of an event that was held have come to an end.
#[derive(Message)]
#[rtype(result = "()")]
struct Passed {
    socket: Socket,
    event: Event,
    ack: AckSender,
    result: Result<Verdict, Panicked>,
    /// Where what it does belongs.
    span: Span,
}

impl Handler<Passed> for Link<Client> {
    type Result = ();

    fn handle(&mut self, passed: Passed, ctx: &mut Self::Context) {
        let Passed { socket, event, ack, result, span } = passed;
        let _entered = span.enter();
        let open = judge(&self.upper, &socket, &event, result) == Passage::Open;
        let index = self.upper.position(&socket);
        let here = index.is_some_and(|index| self.upper.joined[index].phase == Phase::Joined);
        if open && (!here || socket.is_silent()) {
            self.upper.shared.metrics.events_after_disconnect.increment();
        }
        if !here {
            return;
        }
        let waits = open && !socket.is_silent() && running::listen(self, &socket, event, ack, ctx);
        if !waits {
            // In serial mode it is the next one's turn.
            running::finished(self, &socket, ctx);
        }
    }
}

/// Tells the listeners of what is sent what was sent since, for all sockets of the client.
pub(super) fn hear_all(link: &Connection) {
    for joined in &link.upper.joined {
        hear(&link.upper, &joined.socket);
    }
}

/// The same for one socket.
pub(super) fn hear(client: &Client, socket: &Socket) {
    let Some((sent, dropped)) = socket.take_unheard() else { return };
    client.shared.metrics.outgoing_unheard.add(dropped);
    for sent in sent {
        let Some(event) = sent.event() else { continue };
        #[cfg(feature = "admin")]
        socket.show_sent(event);
        for listener in socket.outgoing_listeners() {
            call(client, socket, event, || listener(socket, event));
        }
    }
}

/// Calls a catch-all listener.
fn call(client: &Client, socket: &Socket, event: &Event, listener: impl FnOnce()) {
    if let Err(Panicked(reason)) = enter(socket.pipe(), listener) {
        client.shared.metrics.panics.increment();
        let namespace = socket.namespace();
        error!(namespace, event = &*event.name, reason, "catch-all listener panicked");
        running::report(&client.shared.metrics, socket, &event.name, &EventError::panicked(reason));
    }
}
