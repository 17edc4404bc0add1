//! Every limit and interval of the server, with its default and what it bounds.
//!
//! The defaults of the options that the Node.js reference also has are the reference's own.

use std::time::Duration;

use crate::engine::{Cookie, Cors, Message, PerMessageDeflate, Transport};

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
    /// Whether a slash is added to the path. Without it `/socket.io?EIO=4` is answered too, and all
    /// that begins with the path. Default `true`.
    pub add_trailing_slash: bool,
    /// Transports a client may use. Default: polling and WebSocket.
    pub transports: Vec<Transport>,
    /// Whether a polling session may move to WebSocket. Default `true`.
    pub allow_upgrades: bool,
    /// Whether clients of revision 3 are let in: Socket.IO 1 and 2. Default `false`.
    pub allow_eio3: bool,
    /// Time between the answer to one ping and the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// Time the client has to answer a ping. Default 20 s.
    pub ping_timeout: Duration,
    /// Time a client has to finish an upgrade, from the WebSocket request on. Default 10 s.
    pub upgrade_timeout: Duration,
    /// What pages of other origins may do. Default `None`: no headers about it, and preflights are
    /// refused.
    pub cors: Option<Cors>,
    /// The cookie that names a polling session to load balancers. Default: none.
    pub cookie: Option<Cookie>,
    /// Bodies of polls from this size on, in bytes, are compressed if the client takes gzip or
    /// deflate; with `None`, none are. Default 1,024.
    pub http_compression: Option<usize>,
    /// A message that every client gets right after the handshake. Default: none.
    pub initial_packet: Option<Message>,
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
            add_trailing_slash: true,
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            allow_eio3: false,
            ping_interval: Duration::from_millis(25_000),
            ping_timeout: Duration::from_millis(20_000),
            upgrade_timeout: Duration::from_millis(10_000),
            cors: None,
            cookie: None,
            http_compression: Some(1024),
            initial_packet: None,
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

    /// The configured path with exactly one slash at its end, or with none.
    pub(crate) fn mount_path(&self) -> String {
        let path = self.path.trim_end_matches('/');
        let lead = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        let tail = if self.add_trailing_slash { "/" } else { "" };
        format!("{lead}{path}{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_has_one_slash_at_its_end_or_none() {
        let mounted = |path: &str, slash| {
            let config =
                Config { path: path.into(), add_trailing_slash: slash, ..Config::default() };
            config.mount_path()
        };
        for path in ["/a", "/a/", "a", "a//"] {
            assert_eq!(mounted(path, true), "/a/", "{path}");
            assert_eq!(mounted(path, false), "/a", "{path}");
        }
        // All paths, as in the reference.
        assert_eq!(mounted("/", true), "/");
        assert_eq!(mounted("/", false), "");
    }
}
