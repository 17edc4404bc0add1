//! Every limit and interval of the server, with its default and what it bounds.
//!
//! The defaults of the options that the Node.js reference also has are the reference's own.

mod limits;

use std::time::Duration;

use tracing::warn;

pub use self::limits::RateLimit;
pub(crate) use self::limits::{Capacity, SocketLimits};
use crate::engine::{Cookie, Cors, Message, PerMessageDeflate, Transport, TrustedProxies};

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
    /// Time a session without waiting poll is kept so that it can still be told it was closed, and time
    /// that a client has to take the end of its connection: after it the connection counts no more
    /// among [`max_connections`](Self::max_connections). Default 30 s.
    pub close_timeout: Duration,
    /// Time a request body has to arrive completely. Default 30 s.
    pub body_timeout: Duration,
    /// Time that the application has for one request in each of these: the middlewares together,
    /// `allow_request`, `generate_id`. After it the request is refused with status 503. Default 30 s.
    pub hook_timeout: Duration,
    /// Sessions that may be open at a time; one more is refused with status 503. Default 1,000,000.
    pub max_connections: usize,
    /// Sessions that one address may have open at a time; one more is refused with status 503.
    /// Default `None`: as many as there may be, because behind a proxy that is not among the
    /// `trusted_proxies` all clients have one address.
    pub max_connections_per_address: Option<usize>,
    /// Clients that may be about to connect at a time: their request is being judged, or their
    /// session is open and they have joined nothing yet. For one more the oldest of the latter is
    /// closed; if there is none, it is refused with status 503. Default 65,536.
    pub max_handshakes: usize,
    /// Bytes that a request which opens a session may have in its headers and URL, which are kept with
    /// the session; each parameter of the query counts for 64 more. Beyond it, the request is refused
    /// with status 431. Default 16 KiB.
    pub max_request_bytes: usize,
    /// Bits of an IPv6 address that tell clients apart where addresses are counted. Default 64: a
    /// network of a customer is one address.
    pub ipv6_prefix: u8,
    /// Proxies whose word about the address of a client is believed. Default: none.
    pub trusted_proxies: Option<TrustedProxies>,
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
            hook_timeout: Duration::from_secs(30),
            max_connections: 1_000_000,
            max_connections_per_address: None,
            max_handshakes: 65_536,
            max_request_bytes: 16 * 1024,
            ipv6_prefix: 64,
            trusted_proxies: None,
            max_outbox_bytes: 1 << 20,
            max_outbox_packets: 16_384,
            slow_timeout: Duration::from_secs(2),
            per_message_deflate: None,
        }
    }
}

impl Config {
    /// Looks for options with which nobody could connect or stay connected, and warns of one that
    /// does not do what it seems to.
    ///
    /// # Panics
    /// If there is no transport, or if one of the times, the largest request body, one of the bounds
    /// of the outbox or one of the limits of connections is zero.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert!(!self.transports.is_empty(), "`transports` is empty: no client could connect");
        let times = [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("body_timeout", self.body_timeout),
            ("hook_timeout", self.hook_timeout),
        ];
        for (name, time) in times {
            assert!(!time.is_zero(), "`{name}` is zero: it has to be longer");
        }
        let bounds = [
            ("max_http_buffer_size", self.max_http_buffer_size),
            ("max_outbox_bytes", self.max_outbox_bytes),
            ("max_outbox_packets", self.max_outbox_packets),
        ];
        for (name, bound) in bounds {
            assert!(bound > 0, "`{name}` is zero: nothing could be sent");
        }
        let limits = [
            ("max_connections", self.max_connections),
            ("max_connections_per_address", self.max_connections_per_address.unwrap_or(1)),
            ("max_handshakes", self.max_handshakes),
            ("max_request_bytes", self.max_request_bytes),
        ];
        for (name, limit) in limits {
            assert!(limit > 0, "`{name}` is zero: no client could connect");
        }
        assert!(
            self.ipv6_prefix <= 128,
            "`ipv6_prefix` is beyond 128: an address has no more bits"
        );
        if self.cookie.as_ref().is_some_and(Cookie::contradicts_itself) {
            warn!(
                "a cookie with SameSite::None or partitioned(true) goes without secure(true): browsers \
                 do not take it"
            );
        }
        if self.cors.as_ref().is_some_and(Cors::contradicts_itself) {
            warn!(
                "Cors::any() goes with credentials(true), which browsers do not accept: name the \
                 origins, or use Cors::reflect() if any page may act for your users"
            );
        }
        if let Some(origin) = self.cors.as_ref().and_then(Cors::mistaken_origin) {
            warn!(
                origin,
                "cors has an origin that no browser says: write scheme, host and port (none if it \
                 is the scheme's own), in lower case, without a slash at the end"
            );
        }
    }

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
    use std::{
        io,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::engine::{SameSite, supervision::panic_text};

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

    /// What the check panics with.
    fn complaint(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        let check = AssertUnwindSafe(|| config.check());
        let panic = catch_unwind(check).expect_err("the check has to fail");
        panic_text(&*panic)
    }

    #[test]
    fn the_defaults_and_the_least_that_is_possible_pass() {
        Config::default().check();
        let tick = Duration::from_nanos(1);
        let least = Config {
            transports: vec![Transport::Polling],
            ping_interval: tick,
            ping_timeout: tick,
            max_http_buffer_size: 1,
            max_outbox_bytes: 1,
            max_outbox_packets: 1,
            ..Config::default()
        };
        least.check();
    }

    #[test]
    fn a_server_without_transports_is_refused() {
        let text = complaint(|config| config.transports.clear());
        assert_eq!(text, "`transports` is empty: no client could connect");
    }

    #[test]
    fn a_ping_interval_of_zero_is_refused() {
        let text = complaint(|config| config.ping_interval = Duration::ZERO);
        assert_eq!(text, "`ping_interval` is zero: it has to be longer");
    }

    #[test]
    fn a_ping_timeout_of_zero_is_refused() {
        let text = complaint(|config| config.ping_timeout = Duration::ZERO);
        assert_eq!(text, "`ping_timeout` is zero: it has to be longer");
    }

    #[test]
    fn times_in_which_nothing_can_be_done_are_refused() {
        let text = complaint(|config| config.upgrade_timeout = Duration::ZERO);
        assert_eq!(text, "`upgrade_timeout` is zero: it has to be longer");
        let text = complaint(|config| config.body_timeout = Duration::ZERO);
        assert_eq!(text, "`body_timeout` is zero: it has to be longer");
        let text = complaint(|config| config.hook_timeout = Duration::ZERO);
        assert_eq!(text, "`hook_timeout` is zero: it has to be longer");
    }

    #[test]
    fn a_request_body_of_no_bytes_is_refused() {
        let text = complaint(|config| config.max_http_buffer_size = 0);
        assert_eq!(text, "`max_http_buffer_size` is zero: nothing could be sent");
    }

    #[test]
    fn an_outbox_of_no_bytes_is_refused() {
        let text = complaint(|config| config.max_outbox_bytes = 0);
        assert_eq!(text, "`max_outbox_bytes` is zero: nothing could be sent");
    }

    #[test]
    fn an_outbox_of_no_packets_is_refused() {
        let text = complaint(|config| config.max_outbox_packets = 0);
        assert_eq!(text, "`max_outbox_packets` is zero: nothing could be sent");
    }

    #[test]
    fn limits_under_which_nobody_could_connect_are_refused() {
        let text = complaint(|config| config.max_connections = 0);
        assert_eq!(text, "`max_connections` is zero: no client could connect");
        let text = complaint(|config| config.max_handshakes = 0);
        assert_eq!(text, "`max_handshakes` is zero: no client could connect");
        let text = complaint(|config| config.max_connections_per_address = Some(0));
        assert_eq!(text, "`max_connections_per_address` is zero: no client could connect");
        let text = complaint(|config| config.ipv6_prefix = 129);
        assert_eq!(text, "`ipv6_prefix` is beyond 128: an address has no more bits");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the check logs.
    fn warning(config: &Config) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || config.check());
        let lines = log.0.lock().unwrap();
        String::from_utf8_lossy(&lines).into_owned()
    }

    #[test]
    fn a_cookie_that_browsers_do_not_take_is_warned_of() {
        let logged = |cookie| warning(&Config { cookie: Some(cookie), ..Config::default() });
        for cookie in
            [Cookie::default().same_site(SameSite::None), Cookie::default().partitioned(true)]
        {
            let warning = logged(cookie.clone());
            assert!(warning.contains("WARN") && warning.contains("secure(true)"), "{warning}");
            assert_eq!(logged(cookie.secure(true)), "");
        }
        assert_eq!(logged(Cookie::default()), "");
    }

    #[test]
    fn any_origin_with_credentials_is_warned_of() {
        let logged = |cors| warning(&Config { cors, ..Config::default() });
        let warning = logged(Some(Cors::any().credentials(true)));
        assert!(warning.contains("WARN") && warning.contains("Cors::any()"), "{warning}");
        for cors in [
            Cors::any(),
            Cors::reflect().credentials(true),
            Cors::origin("http://a.example").credentials(true),
        ] {
            assert_eq!(logged(Some(cors)), "");
        }
        assert_eq!(logged(None), "");
    }

    #[test]
    fn an_origin_that_no_browser_says_is_warned_of() {
        let logged =
            |origin| warning(&Config { cors: Some(Cors::origin(origin)), ..Config::default() });
        let warning = logged("https://a.example/");
        assert!(
            warning.contains("WARN") && warning.contains("\"https://a.example/\""),
            "{warning}"
        );
        assert_eq!(logged("https://a.example"), "");
    }
}
