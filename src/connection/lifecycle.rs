//! Joining and leaving namespaces.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use bytestring::ByteString;
use serde_json::{Map, Value};
use tracing::{debug, error};

use super::{
    Client, Connection, Joined, Phase,
    returning::{self, Wish},
    running,
};
use crate::{
    engine::{LocalFuture, link::Link},
    namespace::{
        messages::{Connect, Depart, Departed, Entrance, Prepare, Told},
        returning::Claim,
    },
    packet::Outgoing,
    socket::{
        ConnectError, DisconnectReason, Handshake, Socket,
        current::{Guarded, Panicked},
        listeners::Middleware,
    },
};

/// Namespaces that a connection remembers having been put out of.
const MAX_TOMBSTONES: usize = 16;

/// How long the `disconnecting` listeners of a socket may keep it in its rooms.
const PARTING_TIMEOUT: Duration = Duration::from_secs(5);

// ---- joining -------------------------------------------------------------------------------------

/// The client asks to join a namespace.
pub(super) fn connect(
    link: &mut Connection,
    name: ByteString,
    auth: Option<ByteString>,
    ctx: &mut Context<Connection>,
) {
    let client = &mut link.upper;
    client.tombstones.retain(|tombstone| **tombstone != *name);
    let metrics = &client.shared.metrics;
    let Some(entrance) = client.shared.directory.find(&name) else {
        metrics.unknown_namespaces.increment();
        refuse(link, &name, &ConnectError::new("Invalid namespace"));
        return;
    };
    if client.joined.len() + client.sought.len() >= client.shared.limits.max_namespaces {
        metrics.connects_refused.increment();
        refuse(link, &name, &ConnectError::new("Too many namespaces"));
        return;
    }
    let auth = match auth.map(|text| serde_json::from_str(&text)) {
        None => Value::Object(Map::new()),
        Some(Ok(auth)) => auth,
        Some(Err(error)) => {
            // JSON it is, but nested too deeply to be looked at.
            debug!(%error, "auth refused");
            metrics.bad_packets.increment();
            force_close(link, ctx);
            return;
        }
    };
    let handshake = Handshake { request: Arc::clone(link.request()), auth };
    match Wish::of(&entrance, &handshake) {
        Some(wish) => returning::ask(link, entrance, handshake, wish, ctx),
        None => enter(link, entrance, handshake, None, ctx),
    }
}

/// The client gets a socket in a namespace, a new one or the one it had, if the middlewares agree.
pub(super) fn enter(
    link: &mut Connection,
    entrance: Arc<Entrance>,
    handshake: Handshake,
    mut claim: Option<Claim>,
    ctx: &mut Context<Connection>,
) {
    let home = Arc::clone(&entrance.home);
    let previous = claim.as_mut().map(Claim::previous);
    let passes = previous.is_some()
        && home.description.recovery.as_ref().is_some_and(|recovery| recovery.skips_middlewares());
    let connection = ctx.address().recipient();
    let socket = Socket::new(home, link.pipe().clone(), connection, handshake, previous);
    let client = &mut link.upper;
    client.joined.push(Joined {
        socket: socket.clone(),
        entrance: Arc::clone(&entrance),
        phase: Phase::Asking,
        reason: None,
        serial: None,
        claim,
    });
    if passes || entrance.home.description.listeners.before_connect.is_empty() {
        checked(link, &socket, Ok(()), ctx);
        return;
    }
    let place = client.place.clone();
    entrance.addr.do_send(Prepare { socket: socket.clone(), place });
    ask(link, socket, ctx);
}

/// Runs the middlewares, one after the other, until one refuses.
fn ask(link: &mut Connection, socket: Socket, ctx: &mut Context<Connection>) {
    let home = Arc::clone(socket.home());
    let asked = socket.clone();
    let chain = move || -> LocalFuture<Result<(), ConnectError>> {
        Box::pin(async move {
            let middlewares: &[Middleware] = &home.description.listeners.before_connect;
            for middleware in middlewares {
                middleware(asked.clone()).await?;
            }
            Ok(())
        })
    };
    let mut chain = match Guarded::start(socket.pipe(), chain) {
        Ok(chain) => chain,
        Err(panicked) => return answer(link, &socket, Err(panicked), ctx),
    };
    match running::poll_once(&mut chain) {
        std::task::Poll::Ready(result) => answer(link, &socket, result, ctx),
        std::task::Poll::Pending => {
            let connection = ctx.address();
            actix::spawn(async move {
                let result = chain.await;
                connection.do_send(Checked { socket, result });
            });
        }
    }
}

/// The middlewares have come to an end.
#[derive(Message)]
#[rtype(result = "()")]
struct Checked {
    socket: Socket,
    result: Result<Result<(), ConnectError>, Panicked>,
}

impl Handler<Checked> for Link<Client> {
    type Result = ();

    fn handle(&mut self, Checked { socket, result }: Checked, ctx: &mut Self::Context) {
        answer(self, &socket, result, ctx);
    }
}

fn answer(
    link: &mut Connection,
    socket: &Socket,
    result: Result<Result<(), ConnectError>, Panicked>,
    ctx: &mut Context<Connection>,
) {
    let result = result.unwrap_or_else(|Panicked| {
        link.upper.shared.metrics.panics.increment();
        error!(namespace = socket.namespace(), "middleware panicked");
        Err(ConnectError::new("internal error"))
    });
    checked(link, socket, result, ctx);
}

fn checked(
    link: &mut Connection,
    socket: &Socket,
    result: Result<(), ConnectError>,
    ctx: &mut Context<Connection>,
) {
    // Gone if the client left meanwhile: then the namespace has been told.
    let Some(index) = link.upper.position(socket) else { return };
    match result {
        Ok(()) => {
            let place = link.upper.place.clone();
            let joined = &mut link.upper.joined[index];
            joined.phase = Phase::Entering;
            let (socket, claim) = (Told::new(socket), joined.claim.take());
            joined.entrance.addr.do_send(Connect { socket, place, claim });
            if let Some(deadline) = link.upper.connect_deadline.take() {
                ctx.cancel_future(deadline);
            }
        }
        Err(error) => {
            link.upper.shared.metrics.connects_refused.increment();
            abandon(link, index);
            refuse(link, socket.namespace(), &error);
        }
    }
}

/// Takes back what a socket did before it was connected.
fn abandon(link: &mut Connection, index: usize) {
    let joined = link.upper.joined.remove(index);
    joined.socket.set_disconnected();
    joined.socket.questions().close();
    let (socket, heard) = (Told::new(&joined.socket), link.heard());
    joined.entrance.addr.do_send(Depart { socket, reason: None, heard });
    // If the client has come back for its socket, that is given back now, and not before.
    drop(joined);
}

fn refuse(link: &Connection, namespace: &str, error: &ConnectError) {
    debug!(namespace, %error, "connect refused");
    let refusal = Outgoing::ConnectError { namespace, data: &error.to_json() };
    link.pipe().send_own(link.upper.shared.codec.frames(&refusal, true), false, 0);
}

/// The namespace has let the socket in, and its greeting is out.
pub(super) fn admitted(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(socket) else { return };
    let joined = &mut link.upper.joined[index];
    if joined.phase != Phase::Entering {
        return;
    }
    joined.phase = Phase::Joined;
    debug!(namespace = socket.namespace(), id = %socket.id(), "socket connected");
    for listener in &socket.home().description.listeners.connect {
        let called = socket.clone();
        running::run_hook(&link.upper, socket, "connect", || listener(called), ctx);
    }
}

// ---- leaving -------------------------------------------------------------------------------------

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
            Phase::Entering | Phase::Joined => leave(link, index, reason, ctx),
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
    let greeted = joined.phase == Phase::Joined;
    joined.phase = Phase::Leaving;
    joined.serial = None;
    let socket = joined.socket.clone();
    if reason == DisconnectReason::ClientNamespaceDisconnect {
        socket.set_gone();
    }
    socket.questions().close();
    debug!(namespace = socket.namespace(), id = %socket.id(), %reason, "socket disconnects");
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

/// The server has put the socket out; its farewell has been queued.
pub(super) fn dismissed(
    link: &mut Connection,
    socket: &Socket,
    close: bool,
    ctx: &mut Context<Connection>,
) {
    if let Some(index) = link.upper.position(socket)
        && matches!(link.upper.joined[index].phase, Phase::Entering | Phase::Joined)
    {
        let client = &mut link.upper;
        if client.tombstones.len() >= MAX_TOMBSTONES {
            client.tombstones.remove(0);
        }
        client.tombstones.push(Arc::clone(&socket.home().name));
        leave(link, index, DisconnectReason::ServerNamespaceDisconnect, ctx);
    }
    if close && !link.upper.closing {
        link.upper.closing = true;
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

/// The namespace ended with what it was told still in its mailbox.
pub(super) fn lost(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(socket) else { return };
    match link.upper.joined[index].phase {
        Phase::Entering => {
            link.upper.joined.remove(index);
            socket.set_disconnected();
            socket.questions().close();
            refuse(link, socket.namespace(), &ConnectError::new("Invalid namespace"));
            finish_if_done(link, ctx);
        }
        Phase::Leaving => departed(link, socket, ctx),
        Phase::Asking | Phase::Joined => {}
    }
}

/// The namespace has taken the socket out of everything.
pub(super) fn departed(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(socket) else { return };
    let joined = link.upper.joined.remove(index);
    socket.set_departed(joined.reason);
    if let Some(reason) = joined.reason {
        for listener in socket.disconnect_listeners() {
            let called = socket.clone();
            running::run_hook(&link.upper, socket, "disconnect", || listener(called, reason), ctx);
        }
    }
    joined.entrance.addr.do_send(Departed(socket.clone()));
    finish_if_done(link, ctx);
}

/// The actor ends when its session has ended and the last socket has left.
pub(super) fn finish_if_done(link: &mut Connection, ctx: &mut Context<Connection>) {
    if link.has_ended() && link.upper.joined.is_empty() {
        link.finish(ctx);
    }
}
