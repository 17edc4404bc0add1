//! Leaving namespaces, for whatever reason, and the end of a connection.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tracing::{debug, error};

use super::{
    Client, Connection, Phase, expiring,
    joining::{Returning, connect},
    passing,
    refusing::{refuse, refuse_unknown},
    running,
};
use crate::{
    engine::link::Link,
    namespace::messages::{Depart, Departed, Told},
    socket::{ConnectError, DisconnectReason, Socket, current::Guarded},
};

/// Namespaces that a connection remembers having been put out of.
const MAX_TOMBSTONES: usize = 16;

/// How long the `disconnecting` listeners of a socket may keep it in its rooms.
const PARTING_TIMEOUT: Duration = Duration::from_secs(5);

/// The client did what it must not: its sockets end at once, the connection after what waits.
pub(super) fn force_close(link: &mut Connection, ctx: &mut Context<Connection>) {
    if link.is_open() {
        link.close();
        leave_all(link, DisconnectReason::ForcedServerClose, ctx);
    }
}

/// Every socket of the client leaves.
pub(super) fn leave_all(
    link: &mut Connection,
    reason: DisconnectReason,
    ctx: &mut Context<Connection>,
) {
    link.upper.sought.clear();
    let sockets: Vec<Socket> = link.upper.joined.iter().map(|j| j.socket.clone()).collect();
    for socket in sockets {
        let Some(index) = link.upper.position(&socket) else { continue };
        match link.upper.joined[index].phase {
            Phase::Asking => abandon(link, index),
            Phase::Entering | Phase::Joined | Phase::Expired => leave(link, index, reason, ctx),
            Phase::Leaving => {}
        }
    }
}

/// One socket leaves: its listeners run while it still is in its rooms, then the namespace is told.
pub(super) fn leave(
    link: &mut Connection,
    index: usize,
    reason: DisconnectReason,
    ctx: &mut Context<Connection>,
) {
    let joined = &mut link.upper.joined[index];
    let greeted = matches!(joined.phase, Phase::Joined | Phase::Expired);
    let reason = expiring::reason(joined.phase, reason);
    joined.phase = Phase::Leaving;
    let socket = joined.socket.clone();
    running::drop_waiting(&mut link.upper, index);
    // What was sent before comes before what is done at the end.
    passing::hear(&link.upper, &socket);
    if reason == DisconnectReason::ClientNamespaceDisconnect {
        socket.set_gone();
    }
    socket.close_questions();
    debug!(namespace = socket.namespace(), id = %socket.shown_id(), %reason, "socket disconnects");
    if !greeted {
        // Its connect listeners have not been called, so nobody knows it.
        depart(link, &socket, reason);
        return;
    }
    link.upper.joined[index].reason = Some(reason);
    let mut pending = Vec::new();
    for listener in socket.disconnecting_listeners() {
        let called = socket.clone();
        let end = running::hook_end(&link.upper, &socket, "disconnecting");
        match Guarded::start(socket.pipe(), || listener(called, reason)) {
            Err(panicked) => end(Err(panicked)),
            Ok(mut future) => match running::poll_once(&mut future) {
                std::task::Poll::Ready(result) => end(result),
                std::task::Poll::Pending => pending.push(async move { end(future.await) }),
            },
        }
    }
    if pending.is_empty() {
        depart(link, &socket, reason);
        return;
    }
    let connection = ctx.address();
    actix::spawn(async move {
        let all = futures_util::future::join_all(pending);
        if tokio::time::timeout(PARTING_TIMEOUT, all).await.is_err() {
            error!(namespace = socket.namespace(), "disconnecting listeners took too long");
        }
        connection.do_send(Parting { socket, reason });
    });
}

/// The `disconnecting` listeners of a socket have finished.
#[derive(Message)]
#[rtype(result = "()")]
struct Parting {
    socket: Socket,
    reason: DisconnectReason,
}

impl Handler<Parting> for Link<Client> {
    type Result = ();

    fn handle(&mut self, Parting { socket, reason }: Parting, _: &mut Self::Context) {
        let span = self.span().clone();
        let _entered = span.enter();
        depart(self, &socket, reason);
    }
}

fn depart(link: &Connection, socket: &Socket, reason: DisconnectReason) {
    if let Some(index) = link.upper.position(socket) {
        let entrance = &link.upper.joined[index].entrance;
        let (socket, reason, heard) = (Told::new(socket), Some(reason), link.heard());
        entrance.addr.do_send(Depart { socket, reason, heard });
    }
}

/// What its client still sends to this socket is no fault of the client's.
pub(super) fn remember(client: &mut Client, socket: &Socket) {
    let name = &socket.home().name;
    if client.tombstones.contains(name) {
        return;
    }
    if client.tombstones.len() >= MAX_TOMBSTONES {
        client.tombstones.remove(0);
    }
    client.tombstones.push(Arc::clone(name));
}

/// The server has put the socket out; its farewell has been queued.
pub(super) fn dismissed(
    link: &mut Connection,
    socket: &Socket,
    close: bool,
    ctx: &mut Context<Connection>,
) {
    if let Some(index) = link.upper.position(socket)
        && matches!(
            link.upper.joined[index].phase,
            Phase::Entering | Phase::Joined | Phase::Expired
        )
    {
        remember(&mut link.upper, socket);
        leave(link, index, DisconnectReason::ServerNamespaceDisconnect, ctx);
    }
    if close && !link.upper.closing {
        link.upper.closing = true;
        link.upper.sought.clear();
        link.upper.returning.clear();
        let others: Vec<Socket> = link.upper.joined.iter().map(|j| j.socket.clone()).collect();
        for other in others {
            match link.upper.position(&other).map(|index| (index, link.upper.joined[index].phase)) {
                Some((index, Phase::Asking)) => abandon(link, index),
                // The goodbye of each namespace takes the way of its broadcasts.
                Some((_, Phase::Entering | Phase::Joined)) => drop(other.disconnect(false)),
                _ => {}
            }
        }
    }
    if link.upper.closing && link.upper.joined.iter().all(|j| j.phase == Phase::Leaving) {
        link.close();
    }
}

/// The namespace ended with what it was told still in its mailbox, or panicked at it.
pub(super) fn lost(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(socket) else { return };
    match link.upper.joined[index].phase {
        Phase::Entering => {
            let open = link.upper.joined[index].entrance.is_open();
            // It may know of the client from before.
            abandon(link, index);
            if open {
                refuse(link, socket.namespace(), &ConnectError::new("internal error"));
            } else {
                refuse_unknown(link, socket.namespace());
            }
            finish_if_done(link, ctx);
        }
        Phase::Leaving => departed(link, socket, ctx),
        Phase::Asking | Phase::Joined | Phase::Expired => {}
    }
}

/// The namespace has taken the socket out of everything.
pub(super) fn departed(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(socket) else { return };
    let joined = link.upper.joined.remove(index);
    passing::hear(&link.upper, socket);
    socket.set_departed(joined.reason);
    if let Some(reason) = joined.reason {
        for listener in socket.disconnect_listeners() {
            let called = socket.clone();
            running::run_hook(&link.upper, socket, "disconnect", || listener(called, reason), ctx);
        }
    }
    linger(link);
    let (reason, heard) = (joined.reason, link.heard());
    joined.entrance.addr.do_send(Departed { socket: socket.clone(), reason, heard });
    let waiting = &mut link.upper.returning;
    if let Some(index) = waiting.iter().position(|back| *back.name == *joined.entrance.home.name) {
        let Returning { name, auth } = waiting.remove(index);
        if link.is_open() {
            connect(link, name, auth, ctx);
        }
    }
    finish_if_done(link, ctx);
}

/// The actor ends when its session has ended and the last socket has left.
pub(super) fn finish_if_done(link: &mut Connection, ctx: &mut Context<Connection>) {
    if link.has_ended() && link.upper.joined.is_empty() {
        // Nobody gets what still waits.
        let parked = std::mem::take(&mut link.upper.parked);
        link.upper.shared.metrics.events_after_disconnect.add(parked.count() as u64);
        link.finish(ctx);
    }
}

/// Takes back what a socket did before it was connected.
pub(super) fn abandon(link: &mut Connection, index: usize) {
    let joined = link.upper.joined.remove(index);
    joined.socket.set_disconnected();
    joined.socket.close_questions();
    let (socket, heard) = (Told::new(&joined.socket), link.heard());
    joined.entrance.addr.do_send(Depart { socket, reason: None, heard });
    // If the client has come back for its socket, that is given back now, and not before.
    drop(joined);
    linger(link);
}

/// A client that is in no namespace any more is as one that has just come: it has its time to join
/// another, and makes way for others if there are too many of its kind.
fn linger(link: &mut Connection) {
    let client = &link.upper;
    if client.joined.is_empty() && client.connect_deadline == Duration::MAX && link.is_open() {
        let timeout = client.shared.limits.connect_timeout;
        link.upper.connect_deadline = link.now().saturating_add(timeout);
        link.unsettle();
    }
}
