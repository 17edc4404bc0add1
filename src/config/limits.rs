//! What one client may send, beyond the sizes of single messages.

use std::time::Duration;

/// How fast one client may send: events per second, bytes per second, or both.
///
/// Each is a bucket that holds what may come at once ([`burst`](Self::burst)) and is filled at the
/// rate. A client that has emptied one is not read until there is something in it again, so nothing
/// is lost and its transport slows it down; with [`close`](Self::close) it is closed instead, with
/// the reason "rate limit" (WebSocket close code 1008). Both are counted in
/// [`Snapshot::rate_limited`](crate::Snapshot::rate_limited).
///
/// Everything that comes counts as one event: each packet of Socket.IO (with all of its attachments),
/// also an ack or a CONNECT, and each of Engine.IO, as the answer to a heartbeat. On a WebSocket so do
/// pings and pongs, and of a message in several frames each of them.
///
/// ```
/// use greenroom::{RateLimit, SocketIo};
/// let limit = RateLimit::new().events_per_second(50).bytes_per_second(200_000).close(true);
/// let builder = SocketIo::builder().rate_limit(limit);
/// ```
#[derive(Clone, Debug)]
pub struct RateLimit {
    pub(crate) events: f64,
    pub(crate) bytes: f64,
    pub(crate) burst: Duration,
    pub(crate) close: bool,
}

impl RateLimit {
    /// No limit yet; a burst of one second.
    pub fn new() -> Self {
        let (events, bytes) = (f64::INFINITY, f64::INFINITY);
        Self { events, bytes, burst: Duration::from_secs(1), close: false }
    }

    /// Packets per second. Default: any number.
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    #[track_caller]
    pub fn events_per_second(mut self, events: u32) -> Self {
        assert!(events > 0, "`events_per_second` is zero: no client could say anything");
        self.events = f64::from(events);
        self
    }

    /// Bytes per second, of packets as they are after decompression, and of what is in pings and pongs.
    /// Default: any number.
    ///
    /// # Panics
    /// If it is zero.
    #[must_use]
    #[track_caller]
    pub fn bytes_per_second(mut self, bytes: u32) -> Self {
        assert!(bytes > 0, "`bytes_per_second` is zero: no client could say anything");
        self.bytes = f64::from(bytes);
        self
    }

    /// The time whose worth may come at once. Default 1 s. At least one packet may, in any case. After
    /// a time of silence it may be twice as much, for the clock is read only when a burst is used up.
    #[must_use]
    pub fn burst(mut self, burst: Duration) -> Self {
        self.burst = burst;
        self
    }

    /// Whether a client that sends more is closed. Default `false`: it is not read for a while.
    #[must_use]
    pub fn close(mut self, close: bool) -> Self {
        self.close = close;
        self
    }

    /// What a full bucket holds: packets and bytes.
    pub(crate) fn capacity(&self) -> Capacity {
        let burst = self.burst.as_secs_f64();
        // Infinity times zero is no number. What is beyond 32 bits is as good as infinite.
        let full = |rate: f64| if rate.is_finite() { (rate * burst) as u32 } else { u32::MAX };
        Capacity { packets: full(self.events).max(1), bytes: full(self.bytes) }
    }
}

/// What may come at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

impl Default for RateLimit {
    /// What servers have: 200,000 packets and 256 MiB per second, more than a client in good faith
    /// sends.
    fn default() -> Self {
        Self::new().events_per_second(200_000).bytes_per_second(256 << 20)
    }
}

/// The bounds of one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketLimits {
    /// Rooms that it may be in, besides its own.
    pub(crate) rooms: usize,
    /// Bytes of a room's name.
    pub(crate) room_name: usize,
    /// Acks that may be awaited of it.
    pub(crate) asked: usize,
    /// Events of it whose ack somebody still owes, after their listeners have ended.
    pub(crate) owed: usize,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self { rooms: 16_384, room_name: 8_192, asked: 16_384, owed: 16_384 }
    }
}
