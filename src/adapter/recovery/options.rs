//! What an application can set.

use std::time::Duration;

use crate::{config::Config, engine::outbox::Bounds};

/// Options of connection state recovery, see
/// [`SocketIoBuilder::connection_state_recovery`](crate::SocketIoBuilder::connection_state_recovery).
///
/// The bounds are those of each namespace. What exceeds them is forgotten, the oldest first; a
/// client that comes back for it gets a new socket.
///
/// ```
/// use std::time::Duration;
/// use greenroom::{Recovery, SocketIo};
///
/// let recovery = Recovery::new()
///     .max_disconnection_duration(Duration::from_secs(30))
///     .skip_middlewares(false);
/// let builder = SocketIo::builder().connection_state_recovery(recovery);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Recovery {
    pub(super) max_disconnection_duration: Duration,
    pub(super) skip_middlewares: bool,
    pub(super) max_packets: usize,
    pub(super) max_bytes: usize,
    pub(super) max_sessions: usize,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            max_packets: 65_536,
            max_bytes: 32 << 20,
            max_sessions: 16_384,
        }
    }
}

impl Recovery {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long after the end of its connection a client can come back. Default 2 min.
    pub fn max_disconnection_duration(mut self, duration: Duration) -> Self {
        self.max_disconnection_duration = duration;
        self
    }

    /// Whether the middlewares are passed over for a client that comes back. Default `true`.
    pub fn skip_middlewares(mut self, skip: bool) -> Self {
        self.skip_middlewares = skip;
        self
    }

    /// Events that a namespace keeps. Default 65,536.
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets;
        self
    }

    /// Bytes of the events that a namespace keeps, with what it takes to keep them. Default 32 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sockets without connection that a namespace keeps. Default 16,384.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }
}

/// The options, and what follows from those of the connections.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(super) recovery: Recovery,
    /// The age at which nobody can come back for an event any more.
    pub(super) retention: Duration,
    /// What a returning client may have missed: no more than may wait for one that is there.
    pub(super) missed: Bounds,
}

/// How much later than the heartbeat an event may reach the outbox although it was kept earlier.
pub(super) const LAG: Duration = Duration::from_secs(10);

impl Settings {
    pub(crate) fn new(recovery: Recovery, config: &Config) -> Self {
        // A session ends at the latest so long after the last ping that its client answered.
        let unheard = config.ping_interval.saturating_add(config.ping_timeout.saturating_mul(2));
        let unheard = unheard.saturating_add(LAG);
        Self {
            retention: recovery.max_disconnection_duration.saturating_add(unheard),
            missed: Bounds { bytes: config.max_outbox_bytes, packets: config.max_outbox_packets },
            recovery,
        }
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.recovery.skip_middlewares
    }

    pub(crate) fn max_disconnection_duration(&self) -> Duration {
        self.recovery.max_disconnection_duration
    }

    /// What a returning client may have missed.
    pub(crate) fn missed(&self) -> Bounds {
        self.missed
    }

    /// How often a namespace looks for what need not be kept any longer.
    pub(crate) fn sweep_interval(&self) -> Duration {
        let half = self.recovery.max_disconnection_duration / 2;
        half.clamp(Duration::from_secs(1), Duration::from_secs(60))
    }
}
