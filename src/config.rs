//! Every limit and interval of the server, with its default and what it bounds.
//!
//! The defaults of the options that the Node.js reference also has are the reference's own.

use std::time::Duration;

use crate::engine::{PerMessageDeflate, Transport};

/// Options of the Engine.IO layer: transports, heartbeat, sizes.
///
/// ```
/// use greenroom::engine::Config;
/// let config = Config::default();
/// assert_eq!(config.max_http_buffer_size, 1_000_000);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Path under which the server answers; a trailing slash is added. Default `/socket.io`.
    pub path: String,
    /// Transports a client may use. Default: polling and WebSocket.
    pub transports: Vec<Transport>,
    /// Whether a polling session may move to WebSocket. Default `true`.
    pub allow_upgrades: bool,
    /// Time between the answer to one ping and the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// Time the client has to answer a ping. Default 20 s.
    pub ping_timeout: Duration,
    /// Time a client has to finish an upgrade, from the WebSocket request on. Default 10 s.
    pub upgrade_timeout: Duration,
    /// Largest request body and largest WebSocket message, in bytes. Default 1,000,000.
    pub max_http_buffer_size: usize,
    /// Time a session without waiting poll is kept so that it can still be told it was closed.
    /// Default 30 s.
    pub close_timeout: Duration,
    /// Time a request body has to arrive completely. Default 30 s.
    pub body_timeout: Duration,
    /// Bytes that may wait for one client; above it the client counts as slow. Default 1 MiB.
    pub max_outbox_bytes: usize,
    /// Packets that may wait for one client; above it the client counts as slow. Default 16,384.
    pub max_outbox_packets: usize,
    /// Time a slow client has to come below the bounds before it is closed. Default 2 s.
    pub slow_timeout: Duration,
    /// Compression of WebSocket messages. Default `None`: it is not offered.
    pub per_message_deflate: Option<PerMessageDeflate>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io".into(),
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            ping_interval: Duration::from_millis(25_000),
            ping_timeout: Duration::from_millis(20_000),
            upgrade_timeout: Duration::from_millis(10_000),
            max_http_buffer_size: 1_000_000,
            close_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            max_outbox_bytes: 1 << 20,
            max_outbox_packets: 16_384,
            slow_timeout: Duration::from_secs(2),
            per_message_deflate: None,
        }
    }
}

impl Config {
    /// The upgrades announced to a session that was opened over `transport`.
    pub(crate) fn upgrades(&self, transport: Transport) -> &'static [&'static str] {
        let possible = transport == Transport::Polling
            && self.allow_upgrades
            && self.transports.contains(&Transport::WebSocket);
        if possible { &["websocket"] } else { &[] }
    }

    /// The configured path with exactly one slash at its end.
    pub(crate) fn mount_path(&self) -> String {
        let path = self.path.trim_end_matches('/');
        let lead = if path.starts_with('/') { "" } else { "/" };
        format!("{lead}{path}/")
    }
}
