//! Whose word about the address of a client is believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Proxies in front of the server, and the header in which they name the client.
///
/// A header can be written by anybody. So it is read from its end, where the nearest proxy has
/// added what it saw, and only as far as the one who added it is trusted: the first address that is
/// not a trusted proxy's is the client's. What the client itself has put into the header lies behind
/// that and is not looked at. An entry that is no address (`unknown`, an obfuscated name, garbage)
/// ends the search: the client then has the address of the proxy that passed it on.
///
/// ```
/// use greenroom::{engine::TrustedProxies, prelude::*};
///
/// let builder = SocketIo::builder()
///     .trusted_proxies(TrustedProxies::x_forwarded_for(["10.0.0.0/8", "fd00::/8"]))
///     .max_connections_per_address(100);
/// ```
///
/// A network is an address with a prefix (`10.0.0.0/8`), an address alone, or `unix` for peers that
/// have no address because they come over a Unix socket. List the proxies and nothing else: whoever
/// sends from one of these networks can have any address it likes.
#[derive(Clone, Debug)]
#[must_use]
pub struct TrustedProxies {
    form: Form,
    networks: Vec<IpNet>,
    unix: bool,
}

/// The header, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    XForwardedFor,
    Forwarded,
    XRealIp,
}

impl TrustedProxies {
    /// Proxies that add the address they saw to `X-Forwarded-For`, as most do.
    ///
    /// # Panics
    /// If one is no network.
    #[track_caller]
    pub fn x_forwarded_for(networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::new(Form::XForwardedFor, networks)
    }

    /// Proxies that add an element to `Forwarded` (RFC 7239). Only its `for` is read.
    ///
    /// # Panics
    /// If one is no network.
    #[track_caller]
    pub fn forwarded(networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::new(Form::Forwarded, networks)
    }

    /// Proxies that put one address into `X-Real-IP`, in place of what was there. Of several such
    /// headers the last is read.
    ///
    /// # Panics
    /// If one is no network.
    #[track_caller]
    pub fn x_real_ip(networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::new(Form::XRealIp, networks)
    }

    #[track_caller]
    fn new(form: Form, networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut proxies = Self { form, networks: Vec::new(), unix: false };
        for network in networks {
            match network.as_ref() {
                "unix" => proxies.unix = true,
                text => {
                    let address = || text.parse::<IpAddr>().map(IpNet::from);
                    match text.parse().or_else(|_| address()) {
                        Ok(network) => proxies.networks.push(network),
                        Err(_) => panic!("{text:?} is no network: write 10.0.0.0/8, or an address"),
                    }
                }
            }
        }
        proxies
    }

    /// The name of the header.
    pub(crate) fn header(&self) -> &'static str {
        match self.form {
            Form::XForwardedFor => "x-forwarded-for",
            Form::Forwarded => "forwarded",
            Form::XRealIp => "x-real-ip",
        }
    }

    /// The client's address: the peer's own, or what trusted proxies say. A port is 0 where they do
    /// not name it. `values` are those of all headers of that name, in their order.
    pub(crate) fn client<'a>(
        &self,
        peer: Option<SocketAddr>,
        values: impl Iterator<Item = &'a [u8]>,
    ) -> Option<SocketAddr> {
        let mut client = peer;
        if !self.trusts(client) {
            return client;
        }
        let lines: Vec<&str> = values.map(|v| std::str::from_utf8(v).unwrap_or("?")).collect();
        for hop in self.hops(&lines) {
            let Some(address) = hop else { break };
            client = Some(address);
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether one who has this address may say who is behind it.
    fn trusts(&self, address: Option<SocketAddr>) -> bool {
        let Some(address) = address else { return self.unix };
        let ip = address.ip().to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// What the proxies say, the nearest first; `None` for what is no address.
    fn hops(&self, lines: &[&str]) -> Vec<Option<SocketAddr>> {
        match self.form {
            Form::XRealIp => lines.last().map(|line| node(line.trim())).into_iter().collect(),
            Form::XForwardedFor => {
                let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
                let entries = entries.map(str::trim).filter(|entry| !entry.is_empty());
                entries.map(node).collect()
            }
            Form::Forwarded => {
                let elements =
                    lines.iter().rev().flat_map(|line| split(line, b',').into_iter().rev());
                let elements = elements.map(|element| element.map(str::trim));
                elements
                    .filter(|element| *element != Some(""))
                    .map(|element| named(element?))
                    .collect()
            }
        }
    }
}

/// The address in the `for` of an element of `Forwarded`.
fn named(element: &str) -> Option<SocketAddr> {
    for pair in split(element, b';') {
        let (name, value) = pair?.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            // No address has anything to escape.
            return node(quoted.unwrap_or(value));
        }
    }
    None
}

/// The parts of a list, separated outside of quoted strings. A string that does not end makes the
/// part that it begins in worthless: `None`.
fn split(text: &str, separator: u8) -> Vec<Option<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                parts.push(Some(&text[start..index]));
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push((!quoted).then_some(&text[start..]));
    parts
}

/// An address as proxies write it: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
            (IpAddr::V6(host.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (host, port) = text.split_once(':')?;
            (host.parse().ok()?, port)
        }
    };
    // RFC 7239, 6.1: a port may be hidden behind a name.
    Some(SocketAddr::new(host, port.parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"];

    fn client(proxies: &TrustedProxies, peer: &str, values: &[&str]) -> String {
        let peer = Some(SocketAddr::new(peer.parse().unwrap(), 4000));
        let client = proxies.client(peer, values.iter().map(|value| value.as_bytes()));
        client.unwrap().ip().to_string()
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        let proxies = TrustedProxies::x_forwarded_for(PROXIES);
        let client = |values: &[&str]| client(&proxies, "10.0.0.1", values);
        assert_eq!(client(&[]), "10.0.0.1");
        assert_eq!(client(&["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&["203.0.113.7, 10.1.1.1,192.0.2.1"]), "203.0.113.7");
        assert_eq!(client(&["1.1.1.1, 203.0.113.7"]), "203.0.113.7", "the client wrote the first");
        assert_eq!(client(&["1.1.1.1", "203.0.113.7", "10.2.2.2"]), "203.0.113.7");
        assert_eq!(client(&["10.3.3.3, 10.2.2.2"]), "10.3.3.3", "a client among the proxies");
        assert_eq!(client(&["203.0.113.7:5555"]), "203.0.113.7");
        assert_eq!(client(&["2001:db8::7"]), "2001:db8::7");
        assert_eq!(client(&["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(client(&["203.0.113.7,, "]), "203.0.113.7");
    }

    #[test]
    fn who_is_not_trusted_is_not_believed() {
        for proxies in [
            TrustedProxies::x_forwarded_for(PROXIES),
            TrustedProxies::forwarded(PROXIES),
            TrustedProxies::x_real_ip(PROXIES),
        ] {
            for value in ["203.0.113.7", "for=203.0.113.7"] {
                assert_eq!(client(&proxies, "198.51.100.9", &[value]), "198.51.100.9");
                assert_eq!(client(&proxies, "192.0.2.2", &[value]), "192.0.2.2");
            }
        }
        let nobody: [&str; 0] = [];
        let nobody = TrustedProxies::x_forwarded_for(nobody);
        assert_eq!(client(&nobody, "10.0.0.1", &["203.0.113.7"]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_address_leaves_the_client_with_the_proxy_s() {
        let proxies = TrustedProxies::x_forwarded_for(PROXIES);
        for garbage in ["unknown", "203.0.113", "[::1", "a:b:c", "203.0.113.7 10.0.0.1", "\u{e9}"] {
            let value = format!("203.0.113.7, {garbage}");
            assert_eq!(client(&proxies, "10.0.0.1", &[&value]), "10.0.0.1", "{garbage}");
            let value = format!("{value}, 10.5.5.5");
            assert_eq!(client(&proxies, "10.0.0.1", &[&value]), "10.5.5.5", "{garbage}");
        }
        let invalid = proxies.client("10.0.0.1:1".parse().ok(), [&b"\xff"[..]].into_iter());
        assert_eq!(invalid, "10.0.0.1:1".parse().ok());
    }

    #[test]
    fn a_peer_in_ipv6_clothes_is_known_by_its_ipv4_address() {
        let proxies = TrustedProxies::x_forwarded_for(PROXIES);
        assert_eq!(client(&proxies, "::ffff:10.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&proxies, "fd00::1", &["203.0.113.7, ::ffff:10.0.0.9"]), "203.0.113.7");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        let proxies = TrustedProxies::forwarded(PROXIES);
        let client = |values: &[&str]| client(&proxies, "10.0.0.1", values);
        assert_eq!(client(&["for=203.0.113.7;proto=https;by=10.0.0.1"]), "203.0.113.7");
        assert_eq!(client(&["proto=https; For=\"[2001:db8:cafe::17]:4711\""]), "2001:db8:cafe::17");
        assert_eq!(
            client(&["for=1.1.1.1, for=\"203.0.113.7:_port\", for=10.1.1.1"]),
            "203.0.113.7"
        );
        assert_eq!(client(&["for=203.0.113.7;host=\"a,b;for=1.1.1.1\""]), "203.0.113.7");
        assert_eq!(client(&["for=203.0.113.7, for=unknown"]), "10.0.0.1");
        assert_eq!(client(&["for=203.0.113.7, for=_hidden"]), "10.0.0.1");
        assert_eq!(client(&["for=203.0.113.7, proto=https"]), "10.0.0.1");
        assert_eq!(client(&["203.0.113.7"]), "10.0.0.1");
    }

    #[test]
    fn a_string_that_the_client_leaves_open_swallows_no_proxy() {
        let proxies = TrustedProxies::forwarded(PROXIES);
        for own in ["for=\"", "for=1.1.1.1;x=\"", "for=\"1.1.1.1\\", "for=1.1.1.1, for=\""] {
            for added in ["for=203.0.113.7", "for=\"[2001:db8::7]\""] {
                let value = format!("{own}, {added}");
                let client = client(&proxies, "10.0.0.1", &[&value]);
                assert!(["10.0.0.1", "203.0.113.7", "2001:db8::7"].contains(&&*client), "{value}");
            }
        }
    }

    #[test]
    fn x_real_ip_has_one_address() {
        let proxies = TrustedProxies::x_real_ip(PROXIES);
        let client = |values: &[&str]| client(&proxies, "10.0.0.1", values);
        assert_eq!(client(&["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&["1.1.1.1", "203.0.113.7"]), "203.0.113.7");
        assert_eq!(client(&["1.1.1.1, 203.0.113.7"]), "10.0.0.1");
    }

    #[test]
    fn peers_of_a_unix_socket_are_trusted_by_that_name() {
        let named = [&b"203.0.113.7"[..]];
        let trusting = TrustedProxies::x_real_ip(["unix"]);
        let client = trusting.client(None, named.into_iter());
        assert_eq!(client, "203.0.113.7:0".parse().ok());
        assert_eq!(TrustedProxies::x_real_ip(PROXIES).client(None, named.into_iter()), None);
    }

    #[test]
    #[should_panic(expected = "\"10.0.0.0/33\" is no network")]
    fn what_is_no_network_is_refused_at_once() {
        let _ = TrustedProxies::x_forwarded_for(["10.0.0.0/33"]);
    }
}
