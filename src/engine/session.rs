//! The life of one Engine.IO session as a pure state machine: packets and times in, actions out.
//!
//! Times are durations since the session was opened. Nothing here knows sockets, actors or clocks.

use std::{fmt, time::Duration};

use super::{
    dialect::Revision,
    packet::{Message, Packet},
    pipe::Generation,
};

/// Why a session ended, in the words the reference reports to `disconnect` listeners.
///
/// ```
/// use greenroom::{CloseReason, prelude::*};
///
/// Namespace::new("/").on_disconnect(|socket: Socket, reason: DisconnectReason| async move {
///     if let DisconnectReason::Session(CloseReason::SlowClient | CloseReason::RateLimit) = reason {
///         println!("{} met a bound: {reason}", socket.id());
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The transport failed, or the client broke its rules.
    TransportError,
    /// The client closed the transport.
    TransportClose,
    /// The application closed the session.
    ForcedClose,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// A packet could not be decoded.
    ParseError,
    /// The client did not read what was sent to it: more waited than the outbox may hold.
    SlowClient,
    /// The client sent faster than it may, see [`RateLimit`](crate::RateLimit).
    RateLimit,
    /// The client had joined no namespace when too many others were about to: it made way for them.
    TooManyHandshakes,
    /// The server shuts down.
    ServerShuttingDown,
}

impl CloseReason {
    /// The reason as Socket.IO spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::SlowClient => "slow client",
            Self::RateLimit => "rate limit",
            Self::TooManyHandshakes => "too many handshakes",
            Self::ServerShuttingDown => "server shutting down",
        }
    }

    /// The code of the close frame of a WebSocket that ends for this reason.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::RateLimit => 1008,
            Self::SlowClient | Self::TooManyHandshakes => 1013,
            Self::ServerShuttingDown => 1001,
            _ => 1000,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the owner of the state machine has to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    Nothing,
    /// Give this to the layer above.
    Deliver(Message),
    SendPing,
    /// Answer the client's ping: in revision 3 the heartbeat is the client's.
    AnswerPing,
    /// Answer the probe on the transport under test.
    AnswerProbe,
    /// The transport under test becomes the session's transport.
    Switch,
    /// Close the transport under test; the session stays.
    DropProbe,
    /// Let a waiting poll return, so that the client can go on with its upgrade.
    ReleasePoll,
    Close(CloseReason),
    /// The client closed an orderly polling session: its waiting poll gets a no-op.
    CloseByClient,
}

/// The intervals of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    /// From the answer to a probe until a waiting poll is released.
    pub(crate) first_release: Duration,
}

impl Timing {
    /// Time a client of revision 3 has for its next ping.
    fn patience(&self) -> Duration {
        self.ping_interval + self.ping_timeout
    }
}

/// How often a session that is behind with its reading gives its client more time. Who sends more than
/// is read in that time has had its pong lost among it.
const MAX_POSTPONED: u8 = 2;

/// When a waiting poll is released after the answer to a probe. A client that gets the answer first waits for
/// its poll and moves; one whose poll returns first polls again, and moves an interval later. The
/// reference has no first time of its own.
pub(crate) const FIRST_RELEASE: Duration = Duration::from_millis(10);

/// How often a waiting poll is released from then on, while the upgrade is under way.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum Heartbeat {
    /// The next ping is due.
    Idle { due: Duration },
    /// A pong is expected.
    Pinged { sent: Duration, until: Duration, refreshed: bool },
    /// In revision 3: a ping is expected.
    Listening { until: Duration },
}

#[derive(Debug)]
struct Upgrade {
    generation: Generation,
    until: Duration,
    release: Option<Duration>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Session {
    timing: Timing,
    heartbeat: Heartbeat,
    upgrade: Option<Upgrade>,
    /// How often the present wait for a pong was put off because the session itself was behind.
    postponed: u8,
    /// When the last ping was sent that the client has answered.
    heard: Duration,
}

impl Session {
    pub(crate) fn new(timing: Timing, revision: Revision) -> Self {
        let heartbeat = match revision {
            Revision::Three => Heartbeat::Listening { until: timing.patience() },
            Revision::Four => Heartbeat::Idle { due: timing.ping_interval },
        };
        Self { timing, heartbeat, upgrade: None, postponed: 0, heard: Duration::ZERO }
    }

    /// A WebSocket request came for this session: the whole upgrade has a deadline.
    pub(crate) fn probe_started(&mut self, now: Duration, generation: Generation) {
        let until = now + self.timing.upgrade_timeout;
        self.upgrade = Some(Upgrade { generation, until, release: None });
    }

    pub(crate) fn is_upgrading(&self) -> bool {
        self.upgrade.is_some()
    }

    /// A packet on the session's transport or on the one under test. The time is asked for only
    /// where it matters: for most packets it does not.
    pub(crate) fn packet(
        &mut self,
        now: impl FnOnce() -> Duration,
        from: Generation,
        packet: Packet,
    ) -> Action {
        match &self.upgrade {
            Some(upgrade) if upgrade.generation == from => self.probe_packet(now(), packet),
            _ => self.own_packet(now, packet),
        }
    }

    fn probe_packet(&mut self, now: Duration, packet: Packet) -> Action {
        match packet {
            Packet::Ping(data) if &*data == "probe" => {
                if let Some(upgrade) = &mut self.upgrade {
                    // A client that asks again gets no more of them.
                    upgrade.release.get_or_insert(now + self.timing.first_release);
                }
                Action::AnswerProbe
            }
            Packet::Upgrade => {
                self.upgrade = None;
                // The ping may have gone with the old transport's last breath: the client gets the
                // whole time again (the reference stops its heartbeat for good).
                self.start_again(now);
                Action::Switch
            }
            _ => {
                self.upgrade = None;
                Action::DropProbe
            }
        }
    }

    fn own_packet(&mut self, now: impl FnOnce() -> Duration, packet: Packet) -> Action {
        let packet = match packet {
            Packet::Message(message) if !matches!(self.heartbeat, Heartbeat::Pinged { .. }) => {
                return Action::Deliver(message);
            }
            packet => packet,
        };
        let now = now();
        if let Heartbeat::Pinged { until, refreshed, .. } = &mut self.heartbeat
            && !*refreshed
            && !matches!(packet, Packet::Pong(_))
        {
            // A long message may delay the pong behind it: other traffic extends once.
            *until = now + self.timing.ping_timeout;
            *refreshed = true;
        }
        match (packet, &mut self.heartbeat) {
            (Packet::Message(message), _) => Action::Deliver(message),
            // Other traffic does not count, and the answer is bare, as in the reference.
            (Packet::Ping(_), Heartbeat::Listening { until }) => {
                *until = now + self.timing.patience();
                self.postponed = 0;
                Action::AnswerPing
            }
            (Packet::Pong(_), Heartbeat::Listening { .. }) => {
                Action::Close(CloseReason::TransportError)
            }
            (Packet::Pong(_), _) => {
                if let Heartbeat::Pinged { sent, .. } = self.heartbeat {
                    self.heard = sent;
                }
                self.heartbeat = Heartbeat::Idle { due: now + self.timing.ping_interval };
                self.postponed = 0;
                Action::Nothing
            }
            // In revision 4 only the server pings.
            (Packet::Ping(_), _) => Action::Close(CloseReason::TransportError),
            (Packet::Close, _) => Action::CloseByClient,
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop, _) => Action::Nothing,
        }
    }

    /// Whether a pong is expected.
    pub(crate) fn is_pinged(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::Pinged { .. })
    }

    /// The transport under test has ended by itself.
    pub(crate) fn probe_closed(&mut self) -> Action {
        self.upgrade = None;
        Action::DropProbe
    }

    /// The pong may be among what the session itself has not read yet: the client gets the whole
    /// time again, but not for ever. Whether it does.
    pub(crate) fn postpone_timeout(&mut self, now: Duration) -> bool {
        if !self.start_again(now) {
            return false;
        }
        self.postponed += 1;
        self.postponed <= MAX_POSTPONED
    }

    /// Gives the client the whole time again for what is expected of it. Whether anything is.
    fn start_again(&mut self, now: Duration) -> bool {
        match &mut self.heartbeat {
            Heartbeat::Idle { .. } => return false,
            Heartbeat::Pinged { until, .. } => *until = now + self.timing.ping_timeout,
            Heartbeat::Listening { until } => *until = now + self.timing.patience(),
        }
        true
    }

    /// When the last ping was sent that the client has answered: it has got all that was sent
    /// before.
    pub(crate) fn heard(&self) -> Duration {
        self.heard
    }

    /// When [`Session::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Duration {
        let heartbeat = match self.heartbeat {
            Heartbeat::Idle { due } => due,
            Heartbeat::Pinged { until, .. } | Heartbeat::Listening { until } => until,
        };
        match &self.upgrade {
            Some(upgrade) => {
                let release = upgrade.release.unwrap_or(Duration::MAX);
                heartbeat.min(upgrade.until).min(release)
            }
            None => heartbeat,
        }
    }

    /// Time has passed. Call again until it answers [`Action::Nothing`].
    pub(crate) fn tick(&mut self, now: Duration) -> Action {
        match &mut self.upgrade {
            Some(upgrade) if upgrade.until <= now => {
                self.upgrade = None;
                return Action::DropProbe;
            }
            Some(Upgrade { release: Some(release), .. }) if *release <= now => {
                *release = now + RELEASE_INTERVAL;
                return Action::ReleasePoll;
            }
            _ => {}
        }
        match self.heartbeat {
            Heartbeat::Idle { due } if due <= now => {
                let until = now + self.timing.ping_timeout;
                self.heartbeat = Heartbeat::Pinged { sent: now, until, refreshed: false };
                Action::SendPing
            }
            Heartbeat::Pinged { until, .. } | Heartbeat::Listening { until } if until <= now => {
                Action::Close(CloseReason::PingTimeout)
            }
            _ => Action::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
