//! The options about who may open a connection, and how many may.

use super::SocketIoBuilder;
use crate::engine::TrustedProxies;

impl SocketIoBuilder {
    /// Connections that may be open at a time. One more is answered with status 503 and
    /// `Retry-After`, and counted in
    /// [`Snapshot::connections_refused`](crate::Snapshot::connections_refused). If more than a quarter
    /// have joined no namespace yet, the oldest of these is closed as well, as with
    /// [`max_handshakes`](Self::max_handshakes). Default 1,000,000.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.config.max_connections = count;
        self
    }

    /// Connections that one address may have open at a time. One more is answered with status 503
    /// and `Retry-After`, and counted in
    /// [`Snapshot::address_connections_refused`](crate::Snapshot::address_connections_refused). An
    /// IPv6 network of [`ipv6_prefix`](Self::ipv6_prefix) bits is one address. Default `None`: no
    /// limit.
    ///
    /// Behind a proxy all clients have its address, unless it is among the
    /// [`trusted_proxies`](Self::trusted_proxies): name it first.
    pub fn max_connections_per_address(mut self, count: impl Into<Option<usize>>) -> Self {
        self.config.max_connections_per_address = count.into();
        self
    }

    /// Clients that may be about to connect at a time: those whose request is being judged, and
    /// those that have not joined a namespace yet. For one more the oldest of the latter is closed,
    /// with the reason "too many handshakes", and counted in
    /// [`Snapshot::handshakes_evicted`](crate::Snapshot::handshakes_evicted). If there is none, the
    /// newcomer is answered with status 503 and `Retry-After`, and counted in
    /// [`Snapshot::handshakes_refused`](crate::Snapshot::handshakes_refused). Default 65,536.
    pub fn max_handshakes(mut self, count: usize) -> Self {
        self.config.max_handshakes = count;
        self
    }

    /// Bytes that a request which opens a connection may have in its headers and URL: they are kept as
    /// long as the connection. Each parameter of the query counts for 64 more. Beyond it, the request is
    /// answered with status 431 and counted in
    /// [`Snapshot::requests_over_limit`](crate::Snapshot::requests_over_limit). Default 16 KiB.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.config.max_request_bytes = bytes;
        self
    }

    /// How many bits of an IPv6 address tell clients apart, from 0 to 128, where
    /// [addresses are counted](Self::max_connections_per_address). Default 64.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.config.ipv6_prefix = bits;
        self
    }

    /// The proxies whose word about the address of a client is believed, see [`TrustedProxies`]:
    /// [`Request::address`](crate::Request::address) is then that of the client. Default: none.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.config.trusted_proxies = Some(proxies);
        self
    }
}
