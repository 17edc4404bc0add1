//! Joining namespaces: finding them, asking the middlewares, being let in.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use bytestring::ByteString;
use serde_json::{Map, Value};
use tracing::{debug, error};

use super::{
    Client, Connection, Joined, Phase, Search, expiring,
    leaving::{abandon, force_close},
    refusing::{refuse, refuse_excess, refuse_unknown},
    returning::{self, Wish},
    running,
};
use crate::{
    engine::{LocalFuture, dialect::Revision, link::Link, unharmed::Panicked},
    metrics::meters::Rare,
    namespace::{
        messages::{Arrival, Connect, Prepare, Told},
        returning::Claim,
    },
    room::SocketId,
    socket::{ConnectError, Handshake, Socket, current::Guarded, listeners::Middleware},
};

/// Auths of up to so many bytes are bounded by the number of namespaces alone.
const SMALL_AUTH: usize = 1024;

impl Client {
    /// Whether the client may join with this auth: sockets keep theirs until they have left, and parsed
    /// it takes many times as much.
    fn has_room_for(&self, auth: Option<&ByteString>) -> bool {
        let bytes = weight(auth) as usize;
        if bytes == 0 {
            return true;
        }
        let joined = self.joined.iter().map(|joined| joined.auth_bytes);
        let sought = self.sought.iter().map(|sought| sought.auth_bytes);
        let returning = self.returning.iter().map(|returning| weight(returning.auth.as_ref()));
        let kept: usize = joined.chain(sought).chain(returning).map(|bytes| bytes as usize).sum();
        kept + bytes <= self.shared.limits.max_auth_bytes
    }

    /// Whether listeners of sockets that have left are still at work, and too many of them for another
    /// socket to come. Those of sockets that are there are bounded by the number of namespaces.
    fn is_haunted(&self) -> bool {
        let (hooks, most) = (self.running.hooks(), self.shared.limits.max_running);
        let of = |joined: &Joined| joined.entrance.home.description.listeners.connect.len();
        hooks >= most && hooks >= most + self.joined.iter().map(of).sum::<usize>()
    }
}

/// The bytes of an auth, as far as they count.
fn weight(auth: Option<&ByteString>) -> u32 {
    let bytes = auth.map_or(0, |auth| auth.len());
    if bytes <= SMALL_AUTH { 0 } else { u32::try_from(bytes).unwrap_or(u32::MAX) }
}

/// What a client shows to be let in.
pub(super) struct Petition {
    pub(super) handshake: Handshake,
    /// See [`weight`].
    pub(super) auth_bytes: u32,
}

/// A CONNECT that waits until the client is out of the namespace.
pub(super) struct Returning {
    pub(super) name: ByteString,
    pub(super) auth: Option<ByteString>,
}

/// The client asks to join a namespace.
pub(super) fn connect(
    link: &mut Connection,
    name: ByteString,
    auth: Option<ByteString>,
    ctx: &mut Context<Connection>,
) {
    if link.revision() == Revision::Three && link.upper.is_leaving(&name) {
        // One is enough, as for a client of today that asks twice.
        if !link.upper.returning.iter().any(|returning| returning.name == name) {
            if link.upper.has_room_for(auth.as_ref()) {
                link.upper.returning.push(Returning { name, auth });
            } else {
                refuse_excess(link, &name, "Too much auth");
            }
        }
        return;
    }
    if link.upper.closing {
        // The whole connection is about to end.
        return;
    }
    let client = &mut link.upper;
    client.tombstones.retain(|tombstone| **tombstone != *name);
    if client.joined.len() + client.sought.len() >= client.shared.limits.max_namespaces
        || client.is_haunted()
    {
        refuse_excess(link, &name, "Too many namespaces");
        return;
    }
    if !client.has_room_for(auth.as_ref()) {
        refuse_excess(link, &name, "Too much auth");
        return;
    }
    let auth_bytes = weight(auth.as_ref());
    let auth = match auth.map(|text| serde_json::from_str(&text)) {
        None => Value::Object(Map::new()),
        Some(Ok(auth)) => auth,
        Some(Err(error)) => {
            // JSON it is, but nested too deeply to be looked at.
            debug!(%error, "auth refused");
            client.shared.metrics.bad_packets.increment();
            client.shared.metrics.meters.count(Rare::PacketRefused, "over_limit");
            force_close(link, ctx);
            return;
        }
    };
    let handshake = Handshake { request: Arc::clone(link.request()), auth };
    search(link, name, Petition { handshake, auth_bytes }, ctx);
}

fn search(
    link: &mut Connection,
    name: ByteString,
    petition: Petition,
    ctx: &mut Context<Connection>,
) {
    let future = match link.upper.shared.directory.find(&name, &petition.handshake) {
        Search::Found(arrival) => return enter(link, arrival, petition, ctx),
        Search::Unknown => return unknown(link, &name),
        Search::Asking(future) => future,
    };
    // The application's function is called when this is polled, so this cannot panic.
    let Ok(mut future) = Guarded::start(link.pipe(), || future) else { return };
    match running::poll_once(&mut future) {
        std::task::Poll::Ready(result) => found(link, &name, petition, result, ctx),
        std::task::Poll::Pending => {
            let (connection, sought) = (ctx.address(), name.clone());
            let auth_bytes = petition.auth_bytes;
            let task = actix::spawn(async move {
                let result = future.await;
                connection.do_send(Sought { name, petition, result });
            });
            link.upper.sought.push(Seeking { name: sought, auth_bytes, _task: Some(Asking(task)) });
        }
    }
}

/// A name the client has asked for, while somebody is asked about it.
pub(super) struct Seeking {
    pub(super) name: ByteString,
    /// See [`Petition::auth_bytes`].
    pub(super) auth_bytes: u32,
    /// The application's function. A client that leaves takes it along.
    pub(super) _task: Option<Asking>,
}

/// The application has said what it knows of a name.
#[derive(Message)]
#[rtype(result = "()")]
struct Sought {
    name: ByteString,
    petition: Petition,
    result: Result<Option<Arrival>, Panicked>,
}

impl Handler<Sought> for Link<Client> {
    type Result = ();

    fn handle(&mut self, sought: Sought, ctx: &mut Self::Context) {
        let Sought { name, petition, result } = sought;
        let span = self.span().clone();
        let _entered = span.enter();
        let known = self.upper.sought.iter().position(|sought| sought.name == name);
        let Some(index) = known else { return };
        self.upper.sought.swap_remove(index);
        if self.is_open() && !self.upper.closing {
            found(self, &name, petition, result, ctx);
        }
    }
}

fn found(
    link: &mut Connection,
    name: &str,
    petition: Petition,
    result: Result<Option<Arrival>, Panicked>,
    ctx: &mut Context<Connection>,
) {
    let arrival = result.unwrap_or_else(|Panicked(reason)| {
        link.upper.shared.metrics.panics.increment();
        error!(namespace = name, reason, "the function of a parent namespace panicked");
        None
    });
    match arrival {
        Some(arrival) => enter(link, arrival, petition, ctx),
        None => unknown(link, name),
    }
}

fn unknown(link: &Connection, name: &str) {
    link.upper.shared.metrics.unknown_namespaces.increment();
    refuse_unknown(link, name);
}

/// The client has found a namespace. If it says that it was there before, that is asked for.
fn enter(
    link: &mut Connection,
    arrival: Arrival,
    petition: Petition,
    ctx: &mut Context<Connection>,
) {
    match Wish::of(link, arrival.entrance(), &petition.handshake) {
        Some(wish) => returning::ask(link, arrival, petition, wish, ctx),
        None => settle(link, arrival, petition, None, ctx),
    }
}

/// The client gets a socket in a namespace, a new one or the one it had, if the middlewares agree.
pub(super) fn settle(
    link: &mut Connection,
    arrival: Arrival,
    Petition { handshake, auth_bytes }: Petition,
    mut claim: Option<Claim>,
    ctx: &mut Context<Connection>,
) {
    let entrance = Arc::clone(arrival.entrance());
    let home = Arc::clone(&entrance.home);
    let previous = claim.as_mut().map(Claim::previous);
    // Nobody knows any more how long the credentials last that it had shown.
    let passes = previous.as_ref().is_some_and(|previous| !previous.expires)
        && home.description.recovery.as_ref().is_some_and(|recovery| recovery.skips_middlewares());
    let id = match (&previous, link.revision()) {
        (Some(previous), _) => previous.id.clone(),
        (None, Revision::Three) => SocketId::of_session(link.sid(), &home.name),
        (None, Revision::Four) => SocketId::random(),
    };
    let connection = ctx.address().recipient();
    let socket = Socket::new(id, home, link.pipe().clone(), connection, handshake, previous);
    let client = &mut link.upper;
    client.joined.push(Joined {
        socket: socket.clone(),
        entrance: Arc::clone(&entrance),
        phase: Phase::Asking,
        asking: None,
        reason: None,
        serial: None,
        auth_bytes,
        claim: claim.map(Box::new),
    });
    if passes || entrance.home.description.listeners.before_connect.is_empty() {
        checked(link, &socket, Ok(()), Some(arrival));
        return;
    }
    let place = client.place.clone();
    entrance.addr.do_send(Prepare { socket: socket.clone(), place, arrival });
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
        Err(panicked) => return answer(link, &socket, Err(panicked)),
    };
    match running::poll_once(&mut chain) {
        std::task::Poll::Ready(result) => answer(link, &socket, result),
        std::task::Poll::Pending => {
            let (connection, asker) = (ctx.address(), socket.clone());
            let task = actix::spawn(async move {
                let result = chain.await;
                connection.do_send(Checked { socket, result });
            });
            if let Some(index) = link.upper.position(&asker) {
                link.upper.joined[index].asking = Some(Asking(task));
            }
        }
    }
}

/// Middlewares that wait for something. A client that leaves takes them along: what they wait for
/// concerns nobody any more.
#[derive(Debug)]
pub(super) struct Asking(tokio::task::JoinHandle<()>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
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

    fn handle(&mut self, Checked { socket, result }: Checked, _: &mut Self::Context) {
        let span = self.span().clone();
        let _entered = span.enter();
        answer(self, &socket, result);
    }
}

fn answer(
    link: &mut Connection,
    socket: &Socket,
    result: Result<Result<(), ConnectError>, Panicked>,
) {
    let result = result.unwrap_or_else(|Panicked(reason)| {
        link.upper.shared.metrics.panics.increment();
        error!(namespace = socket.namespace(), reason, "middleware panicked");
        Err(ConnectError::new("internal error"))
    });
    checked(link, socket, result, None);
}

fn checked(
    link: &mut Connection,
    socket: &Socket,
    result: Result<(), ConnectError>,
    arrival: Option<Arrival>,
) {
    // Gone if the client left meanwhile: then the namespace has been told.
    let Some(index) = link.upper.position(socket) else { return };
    link.upper.joined[index].asking = None;
    if !link.is_open() {
        // It is about to be closed: nobody is let in any more, and nobody would read a refusal.
        abandon(link, index);
        return;
    }
    match result {
        Ok(()) => {
            let place = link.upper.place.clone();
            let joined = &mut link.upper.joined[index];
            joined.phase = Phase::Entering;
            let (socket, claim) = (Told::new(socket), joined.claim.take().map(|claim| *claim));
            joined.entrance.addr.do_send(Connect { socket, place, arrival, claim });
            if link.upper.connect_deadline != Duration::MAX {
                link.upper.connect_deadline = Duration::MAX;
                link.settle();
            }
        }
        Err(error) => {
            link.upper.shared.metrics.connects_refused.increment();
            link.upper.shared.metrics.meters.count(Rare::ConnectRefused, "middleware");
            abandon(link, index);
            refuse(link, socket.namespace(), &error);
        }
    }
}

/// The namespace has let the socket in, and its greeting is out.
pub(super) fn admitted(link: &mut Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(socket) else { return };
    let joined = &mut link.upper.joined[index];
    if joined.phase != Phase::Entering {
        return;
    }
    joined.phase = Phase::Joined;
    debug!(namespace = socket.namespace(), id = %socket.shown_id(), "socket connected");
    for listener in &socket.home().description.listeners.connect {
        let called = socket.clone();
        running::run_hook(&link.upper, socket, "connect", || listener(called), ctx);
    }
    if socket.has_expiry() {
        expiring::look(link, ctx);
    }
}
