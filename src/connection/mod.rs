//! Layer 7: the actor of one client. Its session, and the namespaces it has joined.
//!
//! [`Connection`] is a [`Link`] that carries a [`Client`]. It turns messages into packets and
//! hands them on, runs middlewares and listeners on its own worker, and keeps the answers that
//! are awaited of the client.

mod expiring;
mod inbound;
mod intake;
mod joining;
mod leaving;
mod passing;
mod refusing;
mod returning;
mod revision3;
mod running;
mod underway;

use std::{fmt, rc::Rc, sync::Arc, time::Duration};

use actix::prelude::*;
use smallvec::SmallVec;

use self::underway::{Parked, Running};
#[cfg(feature = "admin")]
use crate::engine::Transport;
use crate::{
    config::{Capacity, RateLimit},
    engine::{
        CloseReason, ConnectionEvent, LocalFuture, Message,
        dialect::Revision,
        link::{Link, Protocol},
    },
    metrics::{Metrics, meters::Rare},
    namespace::{
        messages::{Arrival, Entrance, Place},
        returning::Claim,
    },
    packet::ParserLimits,
    socket::{Codec, DisconnectReason, Errand, Handshake, Reader, Socket},
};

/// The actor of one client.
pub(crate) type Connection = Link<Client>;

/// Where a connection finds namespaces.
pub(crate) trait Directory: Send + Sync {
    fn find(&self, name: &str, handshake: &Handshake) -> Search;
}

/// What a [`Directory`] says of a name.
pub(crate) enum Search {
    Found(Arrival),
    Unknown,
    /// The application has to be asked first.
    Asking(LocalFuture<Option<Arrival>>),
}

/// The limits of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Time to join a first namespace.
    pub(crate) connect_timeout: Duration,
    /// Attachments of one packet, and its levels.
    pub(crate) parser: ParserLimits,
    /// Bytes of one packet, its attachments included.
    pub(crate) max_packet_bytes: usize,
    /// Time until the last attachment of a packet has come.
    pub(crate) attachment_timeout: Duration,
    /// How fast a client may send.
    pub(crate) rate: RateLimit,
    /// The same: what may come at once.
    pub(crate) burst: Capacity,
    /// Listeners that may be under way before no more is read.
    pub(crate) max_running: usize,
    /// Bytes of their events.
    pub(crate) max_running_bytes: usize,
    /// Namespaces a client may be in, or be asking to join, at the same time.
    pub(crate) max_namespaces: usize,
    /// Bytes of what the client has said to join these, together.
    pub(crate) max_auth_bytes: usize,
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) directory: Box<dyn Directory>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) codec: Codec,
}

/// How far the socket of one namespace has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its middlewares run.
    Asking,
    /// The namespace has been told, its welcome is on its way.
    Entering,
    Joined,
    /// The credentials of its client have expired; its goodbye is on its way.
    Expired,
    /// Its `disconnecting` listeners run, or the namespace takes it out.
    Leaving,
}

/// One namespace of the client.
struct Joined {
    socket: Socket,
    entrance: Arc<Entrance>,
    phase: Phase,
    /// Its middlewares, while they wait for something.
    asking: Option<joining::Asking>,
    /// Why it leaves, once it does.
    reason: Option<DisconnectReason>,
    /// In serial mode: what came while a listener was under way.
    serial: Option<Box<running::Serial>>,
    /// Bytes of the auth, if they count.
    auth_bytes: u32,
    /// Until it is let in: what the client has come back for.
    claim: Option<Box<Claim>>,
}

/// What rides on the session: Socket.IO.
pub(crate) struct Client {
    shared: Arc<Shared>,
    place: Place,
    decoder: Reader,
    intake: intake::Intake,
    joined: SmallVec<[Joined; 1]>,
    /// Names the client has asked for, and about which the application is being asked.
    sought: Vec<joining::Seeking>,
    /// Namespaces the server has put the client out of, while it may not know yet.
    tombstones: SmallVec<[Arc<str>; 1]>,
    /// Of a client of revision 3: namespaces it wants to be in again before it has left them. Its
    /// sockets have the same id every time, so one has to go before the next one comes.
    returning: Vec<joining::Returning>,
    running: Rc<Running>,
    /// Events that wait until fewer listeners are at work. All other packets go on.
    parked: Parked,
    /// Until when it has to be on its way into a namespace, counted from the opening. Set whenever it
    /// is in none.
    connect_deadline: Duration,
    /// Only where credentials expire.
    alarm: Option<Box<expiring::Alarm>>,
    /// The whole connection is to be closed as soon as every namespace has said goodbye.
    closing: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, place: Place) -> Self {
        let decoder = shared.codec.reader(shared.limits.parser);
        let connect_deadline = shared.limits.connect_timeout;
        Self {
            shared,
            place,
            decoder,
            intake: intake::Intake::default(),
            joined: SmallVec::new(),
            sought: Vec::new(),
            tombstones: SmallVec::new(),
            returning: Vec::new(),
            running: Rc::default(),
            parked: Parked::default(),
            connect_deadline,
            alarm: None,
            closing: false,
        }
    }
}

impl Protocol for Client {
    fn opened(link: &mut Link<Self>, ctx: &mut Context<Link<Self>>) {
        link.upper.shared.metrics.sessions_opened.increment();
        link.upper.shared.metrics.meters.opened(link.carried_by());
        #[cfg(feature = "admin")]
        link.upper.shared.metrics.traffic.opened(link.pipe().transport() == Transport::Polling);
        if link.revision() == Revision::Three {
            joining::connect(link, "/".into(), None, ctx);
        }
    }

    fn message(link: &mut Link<Self>, message: Message, ctx: &mut Context<Link<Self>>) {
        inbound::message(link, message, ctx);
    }

    fn aside(link: &mut Link<Self>, count: u32, bytes: usize, ctx: &mut Context<Link<Self>>) {
        intake::count(link, count, bytes, ctx);
    }

    fn noticed(link: &mut Link<Self>, event: ConnectionEvent, ctx: &mut Context<Link<Self>>) {
        let meters = &link.upper.shared.metrics.meters;
        match event {
            ConnectionEvent::Upgraded(_) => meters.upgraded(),
            ConnectionEvent::Slow => meters.slow.change(1),
            ConnectionEvent::CaughtUp => meters.slow.change(-1),
            _ => {}
        }
        #[cfg(feature = "admin")]
        if matches!(event, ConnectionEvent::Upgraded(_)) {
            link.upper.shared.metrics.traffic.polling_ended();
            link.upper.sockets().iter().for_each(Socket::show_upgrade);
        }
        for socket in link.upper.sockets() {
            running::notice(&link.upper, &socket, event, ctx);
        }
    }

    fn closed(link: &mut Link<Self>, reason: CloseReason, ctx: &mut Context<Link<Self>>) {
        let metrics = &link.upper.shared.metrics;
        metrics.sessions_closed.increment();
        metrics.meters.closed(link.carried_by());
        metrics.meters.count(Rare::Closed, reason.as_str());
        if link.is_lagging() {
            metrics.meters.slow.change(-1);
        }
        #[cfg(feature = "admin")]
        metrics.traffic.closed(reason as usize, link.pipe().transport() == Transport::Polling);
        match reason {
            CloseReason::SlowClient => metrics.slow_clients_closed.increment(),
            CloseReason::PingTimeout => metrics.ping_timeouts.increment(),
            _ => {}
        }
        link.upper.connect_deadline = Duration::MAX;
        let sockets = link.upper.sockets();
        leaving::leave_all(link, DisconnectReason::Session(reason), ctx);
        for socket in sockets {
            running::notice(&link.upper, &socket, ConnectionEvent::Closed(reason), ctx);
        }
        leaving::finish_if_done(link, ctx);
    }

    fn turn(link: &mut Link<Self>, ctx: &mut Context<Link<Self>>) {
        passing::hear_all(link);
        running::unpark(link, ctx);
    }

    fn deadline(&self) -> Duration {
        self.connect_deadline
    }

    fn due(link: &mut Link<Self>, ctx: &mut Context<Link<Self>>) {
        link.upper.connect_deadline = Duration::MAX;
        tracing::debug!("no namespace joined in time");
        link.upper.shared.metrics.connect_timeouts.increment();
        leaving::force_close(link, ctx);
    }

    fn ready(&self) -> bool {
        // Answers come behind events: a client that its own listeners ask must be read on.
        !self.parked.is_full() && !self.intake.is_paused()
    }

    fn in_flight(link: &Link<Self>) -> usize {
        // Not the listeners as such: one may run for as long as its client is there.
        let client = &link.upper;
        let joined = client.joined.iter().map(|joined| {
            let joining = matches!(joined.phase, Phase::Asking | Phase::Entering);
            let waiting = joined.serial.as_ref().map_or(0, |serial| serial.count());
            usize::from(joining) + waiting + joined.socket.questions().count()
        });
        link.pipe().owed() + client.parked.count() + client.sought.len() + joined.sum::<usize>()
    }

    fn draining(link: &mut Link<Self>) {
        let asked: usize = link.upper.joined.iter().map(|j| j.socket.questions().count()).sum();
        let awaited = link.pipe().owed() + asked;
        link.upper.shared.metrics.drain_acks_awaited.add(awaited as u64);
    }
}

impl Handler<Errand> for Link<Client> {
    type Result = ();

    fn handle(&mut self, errand: Errand, ctx: &mut Self::Context) {
        let span = self.span().clone();
        let _entered = span.enter();
        match errand {
            Errand::Admitted(socket) => joining::admitted(self, &socket, ctx),
            Errand::Dismissed { socket, close } => {
                leaving::dismissed(self, &socket, close, ctx);
            }
            Errand::Departed(socket) => leaving::departed(self, &socket, ctx),
            Errand::Lost(socket) => leaving::lost(self, &socket, ctx),
            Errand::Expiring => expiring::look(self, ctx),
            Errand::Outlived => self.abort(CloseReason::TransportClose, ctx),
            Errand::Orphaned => self.abort(CloseReason::TransportError, ctx),
        }
    }
}

impl Client {
    fn position(&self, socket: &Socket) -> Option<usize> {
        self.joined.iter().position(|joined| joined.socket == *socket)
    }

    /// Whether the client is on its way out of the namespace, and not in it again.
    fn is_leaving(&self, namespace: &str) -> bool {
        let mut entries =
            self.joined.iter().filter(|joined| *joined.entrance.home.name == *namespace);
        entries.any(|joined| joined.phase == Phase::Leaving)
    }

    /// Whether somebody is being asked about this name.
    fn is_sought(&self, name: &str) -> bool {
        self.sought.iter().any(|sought| *sought.name == *name)
    }

    /// The sockets that take part.
    fn sockets(&self) -> SmallVec<[Socket; 1]> {
        let joined = self.joined.iter().filter(|joined| joined.phase == Phase::Joined);
        joined.map(|joined| joined.socket.clone()).collect()
    }

    /// The namespace's entry that takes part; one that leaves makes room for another.
    fn active(&self, namespace: &str) -> Option<usize> {
        self.joined.iter().position(|joined| {
            joined.phase != Phase::Leaving && *joined.entrance.home.name == *namespace
        })
    }
}
