//! A session on its transport: the actor of one client, generic over what speaks through it.
//!
//! It owns the session's state machine and the pipe, runs on the worker that opened the session
//! and outlives every transport of it. The layer above is a [`Protocol`]: it gets messages, sends
//! through the pipe and is told the end.

mod driver;
mod protocol;
mod turn;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use actix::prelude::*;
use smallvec::smallvec;
use tokio::time::Instant;
use tracing::{Span, debug, debug_span, trace, warn};

use self::driver::Driver;
pub use self::protocol::ConnectionEvent;
pub(crate) use self::protocol::Protocol;
pub(crate) use self::turn::{Turn, start};
use super::{
    admission::Seat,
    config::Config,
    dialect::Revision,
    frame::Frame,
    handshake::{Request, SessionId},
    outbox::Fill,
    packet::Packet,
    pipe::{Farewell, Generation, Inbound, Look, Pipe},
    registry::Sessions,
    session::{Action, CloseReason, FIRST_RELEASE, Session, Timing},
    transport::Transport,
};
use crate::metrics::{Metrics, meters::Rare};

/// Connections of this process so far, to tell them apart in logs.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// See the module's description.
pub(crate) struct Link<P: Protocol> {
    pub(crate) upper: P,
    sid: SessionId,
    request: Arc<Request>,
    pipe: Pipe,
    config: Arc<Config>,
    session: Session,
    opened: Instant,
    sessions: Sessions,
    ended: bool,
    closing: bool,
    /// It closes as soon as nothing is in flight.
    draining: bool,
    /// When a client that reads too slowly, or does not fetch its farewell, is given up.
    given_up: Option<(Duration, CloseReason)>,
    driver: Option<Waker>,
    rearm: bool,
    /// The transport that carries the session.
    current: Generation,
    /// The layer above has been told that the client is slow.
    lagging: bool,
    span: Span,
}

impl<P: Protocol> fmt::Debug for Link<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What a new session starts with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) sid: SessionId,
    pub(crate) request: Arc<Request>,
    pub(crate) pipe: Pipe,
    pub(crate) config: Arc<Config>,
    pub(crate) sessions: Sessions,
}

impl<P: Protocol> Link<P> {
    pub(crate) fn new(opening: Opening, upper: P) -> Self {
        let Opening { sid, request, pipe, config, sessions } = opening;
        // A number, as session ids are secrets.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let span = debug_span!("connection", number, address = request.address.map(display));
        let timing = Timing {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            upgrade_timeout: config.upgrade_timeout,
            first_release: FIRST_RELEASE,
        };
        let session = Session::new(timing, pipe.dialect().revision);
        Self {
            upper,
            sid,
            request,
            pipe,
            config,
            session,
            opened: Instant::now(),
            sessions,
            ended: false,
            closing: false,
            draining: false,
            given_up: None,
            driver: None,
            rearm: false,
            current: 0,
            lagging: false,
            span,
        }
    }

    pub(crate) fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    pub(crate) fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// What the layer above knows to carry the session.
    pub(crate) fn carried_by(&self) -> Transport {
        if self.current == 0 { self.request.transport } else { Transport::WebSocket }
    }

    /// Whether the layer above has been told that the client is slow.
    pub(crate) fn is_lagging(&self) -> bool {
        self.lagging
    }

    /// The session's id, a secret of the client.
    pub(crate) fn sid(&self) -> &SessionId {
        &self.sid
    }

    /// The revision that the client speaks.
    pub(crate) fn revision(&self) -> Revision {
        self.pipe.dialect().revision
    }

    /// Whether messages still reach the client.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended && !self.closing
    }

    /// The client has joined something: it is no handshake any more.
    pub(crate) fn settle(&mut self) {
        self.pipe.with_seat(Seat::settle);
    }

    /// The client has left all that it had joined.
    pub(crate) fn unsettle(&mut self) {
        let pipe = self.pipe.clone();
        self.pipe.with_seat(|seat| seat.unsettle(&pipe));
        self.touch();
    }

    /// What was sent before this has reached the client.
    pub(crate) fn heard(&self) -> Instant {
        self.opened + self.session.heard()
    }

    /// The counters of the server.
    pub(crate) fn metrics(&self) -> &Metrics {
        self.sessions.metrics()
    }

    /// Where the log lines of this connection belong.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Whether the session is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Sends what waits, then closes: the reference's `conn.close()`.
    pub(crate) fn close(&mut self) {
        self.close_for(CloseReason::ForcedClose);
    }

    fn close_for(&mut self, reason: CloseReason) {
        if self.ended || self.closing {
            return;
        }
        self.closing = true;
        if self.pipe.close_gracefully(reason) {
            let until = self.now() + self.config.close_timeout;
            self.given_up = Some((until, reason));
        }
        self.touch();
    }

    /// Everything that came has been handled: a session that drains may close now.
    fn close_if_drained(&mut self) {
        if self.draining && P::in_flight(self) == 0 {
            self.close_for(CloseReason::ServerShuttingDown);
        }
    }

    /// Ends the session at once; what waits is dropped.
    pub(crate) fn abort(&mut self, reason: CloseReason, ctx: &mut Context<Self>) {
        if reason == CloseReason::SlowClient {
            warn!(address = ?self.request.address, "slow client closed");
        }
        self.end(reason, Farewell::Close(reason.close_code()), ctx);
    }

    /// Nothing is left to do: the actor ends.
    pub(crate) fn finish(&mut self, ctx: &mut Context<Self>) {
        debug_assert!(self.ended, "a link finishes after its end");
        ctx.stop();
    }

    /// The age of the session.
    pub(crate) fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Lets the driver look again: a deadline has changed, or reading may go on.
    fn touch(&mut self) {
        self.rearm = true;
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    fn end(&mut self, reason: CloseReason, farewell: Farewell, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        self.ended = true;
        // What a listener sent before the end still leaves, as long as there is somebody to read.
        let discard = matches!(
            reason,
            CloseReason::SlowClient | CloseReason::PingTimeout | CloseReason::TransportClose
        );
        let lost = self.pipe.close_now(farewell, discard);
        self.sessions.remove(&self.sid);
        // Where there is no runtime any more, there is no connection either.
        if self.pipe.is_carried()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.pipe.clone().see_off(self.config.close_timeout));
        }
        debug!(%reason, lost, "session closed");
        P::closed(self, reason, ctx);
    }

    fn receive(&mut self, from: Generation, inbound: Inbound, ctx: &mut Context<Self>) {
        match inbound {
            Inbound::Packet(packet) => {
                if self.closing {
                    return;
                }
                if from != self.current {
                    if self.pipe.look().probing != Some(from) {
                        // A transport that the session has left, or refused.
                        return;
                    }
                    // It may have begun since this turn did.
                    self.begin_probe(from);
                }
                if !matches!(packet, Packet::Message(_)) {
                    P::aside(self, 1, packet.len(), ctx);
                    if self.ended {
                        return;
                    }
                }
                let pong = matches!(packet, Packet::Pong(_)) && self.session.is_pinged();
                let opened = self.opened;
                let action = self.session.packet(|| opened.elapsed(), from, packet);
                if action == Action::DropProbe {
                    self.sessions.metrics().meters.count(Rare::UpgradeFailed, "bad_packet");
                }
                let heartbeat = (pong && action == Action::Nothing) || action == Action::AnswerPing;
                self.act(action, ctx);
                if heartbeat {
                    P::noticed(self, ConnectionEvent::Heartbeat, ctx);
                }
            }
            Inbound::Aside { frames, bytes } => {
                if !self.closing {
                    P::aside(self, frames, bytes as usize, ctx);
                }
            }
            Inbound::Closed(reason) => {
                if from == self.current {
                    self.abort(reason, ctx);
                } else if self.pipe.look().probing == Some(from) {
                    let action = self.session.probe_closed();
                    self.sessions.metrics().meters.count(Rare::UpgradeFailed, "closed");
                    self.act(action, ctx);
                }
                // Otherwise a transport that the session has left has ended at last.
            }
            Inbound::Barrier(done) => {
                // Whoever waits may have left: its client has gone.
                let _ = done.send(());
            }
        }
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Nothing => {}
            Action::Deliver(message) => P::message(self, message, ctx),
            Action::SendPing => self.pipe.send(smallvec![Frame::text_packet("2")], false),
            Action::AnswerPing => self.pipe.send(smallvec![Frame::text_packet("3")], false),
            Action::AnswerProbe => {
                self.rearm = true;
                self.pipe.send_probe(Frame::text_packet("3probe"));
            }
            Action::Switch => {
                trace!("session upgraded");
                self.rearm = true;
                if let Some(generation) = self.pipe.switch() {
                    self.current = generation;
                    P::noticed(self, ConnectionEvent::Upgraded(Transport::WebSocket), ctx);
                } else {
                    debug!("an upgrade ended without its transport");
                }
            }
            Action::DropProbe => self.pipe.drop_probe(),
            Action::ReleasePoll => self.pipe.release_poll(),
            Action::Close(reason) => self.abort(reason, ctx),
            Action::CloseByClient => self.end(CloseReason::TransportClose, Farewell::Noop, ctx),
        }
    }

    /// Everything that is due by now.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        if let Some((until, reason)) = self.given_up
            && until <= now
        {
            self.abort(reason, ctx);
        }
        if !self.ended && self.upper.deadline() <= now {
            P::due(self, ctx);
        }
        while !self.ended {
            match self.session.tick(now) {
                Action::Nothing => break,
                // A session that is being closed is pinged no more, only timed.
                Action::SendPing if self.closing => {}
                Action::Close(CloseReason::PingTimeout)
                    if self.pipe.is_behind() && self.session.postpone_timeout(now) => {}
                Action::DropProbe => {
                    debug!("an upgrade took too long");
                    self.sessions.metrics().upgrade_timeouts.increment();
                    self.act(Action::DropProbe, ctx);
                }
                action => self.act(action, ctx),
            }
        }
    }

    fn deadline(&self) -> Duration {
        let given_up = self.given_up.map_or(Duration::MAX, |(until, _)| until);
        self.session.deadline().min(given_up).min(self.upper.deadline())
    }

    /// Gives the upgrade its deadline, once.
    fn begin_probe(&mut self, generation: Generation) {
        if !self.session.is_upgrading() {
            self.session.probe_started(self.now(), generation);
            self.rearm = true;
        }
    }

    /// Looks at what other threads may have changed: the outbox's fill, a probe that began.
    fn observe(&mut self, look: Look, ctx: &mut Context<Self>) {
        if let Some(generation) = look.probing {
            self.begin_probe(generation);
        }
        if look.close_asked {
            self.close();
        }
        if self.closing {
            return;
        }
        if look.drain_asked && !self.draining {
            self.draining = true;
            P::draining(self);
        }
        if look.drained {
            P::noticed(self, ConnectionEvent::Drained, ctx);
        }
        let lagging = look.fill != Fill::Normal;
        if lagging != self.lagging {
            self.lagging = lagging;
            let event = if lagging { ConnectionEvent::Slow } else { ConnectionEvent::CaughtUp };
            debug!(slow = lagging, "the client's pace has changed");
            P::noticed(self, event, ctx);
        }
        match look.fill {
            Fill::Normal | Fill::Lagging => self.given_up = None,
            Fill::Slow if self.given_up.is_none() => {
                debug!("client is slow: more waits for it than its outbox should hold");
                let until = self.now() + self.config.slow_timeout;
                self.given_up = Some((until, CloseReason::SlowClient));
                self.rearm = true;
            }
            Fill::Slow => {}
            Fill::Full => self.abort(CloseReason::SlowClient, ctx),
        }
    }
}

impl<P: Protocol> Actor for Link<P> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let span = self.span.clone();
        let _entered = span.enter();
        debug!(transport = %self.request.transport, "session opened");
        let open = self.request.open_packet(&self.sid, &self.config);
        self.pipe.send(smallvec![Frame::text_packet(&open)], false);
        if let Some(message) = &self.config.initial_packet {
            self.pipe.send(smallvec![Frame::message(message)], false);
        }
        P::opened(self, ctx);
        let deadline = self.opened + self.deadline();
        ctx.spawn(Driver::new(deadline));
    }

    fn stopped(&mut self, ctx: &mut Self::Context) {
        // Also the way out after a panic in this actor: the client is not left waiting.
        self.end(CloseReason::TransportError, Farewell::Close(1011), ctx);
        self.sessions.actor_ended();
    }
}
