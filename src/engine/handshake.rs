//! The opening of a session: its id, the facts of its first request, the open packet.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::{Transport, config::Config, dialect::Revision};

/// Random bytes of a session id: 144 bits, of a cryptographic generator that is seeded by the
/// operating system.
const RANDOM_BYTES: usize = 18;
/// Characters of a session id that name the worker it was opened on.
const WORKER_CHARS: usize = 2;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id of an Engine.IO session. It travels on the URL and is a secret of its client.
///
/// Its first two characters name the worker that holds the session, so that a request which
/// reaches another worker is handed over without a table that all workers share.
///
/// It is found by a hash with a random seed; what has the same hash is compared in constant
/// time.
#[derive(Clone)]
pub(crate) struct SessionId(Box<str>);

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SessionId {}

impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl SessionId {
    pub(crate) fn random(worker: usize) -> Self {
        let mut id = String::with_capacity(WORKER_CHARS + RANDOM_BYTES.div_ceil(3) * 4);
        push_worker(&mut id, worker);
        URL_SAFE_NO_PAD.encode_string(rand::random::<[u8; RANDOM_BYTES]>(), &mut id);
        Self(id.into())
    }

    /// An id that the application made.
    pub(crate) fn given(worker: usize, id: &str) -> Self {
        let mut text = String::with_capacity(WORKER_CHARS + id.len());
        push_worker(&mut text, worker);
        text.push_str(id);
        Self(text.into())
    }

    /// Any text a client sent as its session id.
    pub(crate) fn from_client(text: &str) -> Self {
        Self(text.into())
    }

    /// The worker that the id names, whether or not there is one.
    pub(crate) fn worker(&self) -> Option<usize> {
        let digit = |c: &u8| ALPHABET.iter().position(|a| a == c);
        match self.0.as_bytes() {
            [high, low, ..] => Some(digit(high)? << 6 | digit(low)?),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn push_worker(id: &mut String, worker: usize) {
    id.push(ALPHABET[worker >> 6 & 63] as char);
    id.push(ALPHABET[worker & 63] as char);
}

impl fmt::Debug for SessionId {
    /// Session ids are secrets: logs must not carry them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// A random public id in the form of the reference's socket ids: 20 characters.
pub(crate) fn random_socket_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 15]>())
}

/// The headers of the opening request, copied into one allocation.
///
/// ```
/// use greenroom::prelude::*;
///
/// fn token(socket: &Socket) -> Option<String> {
///     let headers = &socket.handshake().request.headers;
///     Some(headers.get("authorization")?.strip_prefix("Bearer ")?.to_owned())
/// }
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    text: Box<[u8]>,
    /// Ends of name and value of each header.
    ends: Box<[(u32, u32)]>,
}

impl Headers {
    pub(crate) fn collect<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut text = Vec::new();
        let mut ends = Vec::new();
        for (name, value) in headers {
            text.extend_from_slice(name.as_bytes());
            let name_end = text.len() as u32;
            text.extend_from_slice(value);
            ends.push((name_end, text.len() as u32));
        }
        Self { text: text.into(), ends: ends.into() }
    }

    /// All headers, in the order they came. Names are in lower case; a value that is not UTF-8 is
    /// shown with replacement characters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(self.ends.iter()).map(|(start, (name_end, end))| {
            let name = &self.text[start as usize..*name_end as usize];
            let value = &self.text[*name_end as usize..*end as usize];
            (std::str::from_utf8(name).unwrap_or(""), String::from_utf8_lossy(value))
        })
    }

    /// The first header of that name, in any case.
    pub fn get(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values carry credentials.
        f.debug_list().entries(self.iter().map(|(name, _)| name.to_owned())).finish()
    }
}

/// The facts of an HTTP request: of the one that opened a session, or the one that a function of
/// [`Hooks`](super::Hooks) is asked about.
///
/// ```
/// use greenroom::prelude::*;
///
/// Namespace::new("/").on_connect(|socket: Socket| async move {
///     let request = &socket.handshake().request;
///     let language = request.query("lang").unwrap_or("en");       // io({ query: { lang: "de" } })
///     println!("{:?} at {:?}, in {language}", request.address, request.time);
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Its headers.
    pub headers: Headers,
    /// Path and query as the client sent them.
    pub url: String,
    /// The parameters of the query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The address of the peer on the network; a proxy's, if there is one in between, unless it is
    /// one of the [`TrustedProxies`](super::TrustedProxies): then that of the client, with port 0 if
    /// the proxy names none.
    pub address: Option<SocketAddr>,
    /// Whether the server itself ends TLS.
    pub secure: bool,
    /// When it came, and with it the session was opened.
    pub time: SystemTime,
    /// The transport it is for. The session that it opened may have another one by now.
    pub transport: Transport,
}

impl Request {
    /// The value of a parameter of the query; of several of one name, the last.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The revision of the Engine.IO protocol that the client speaks: 4, or 3 for everything but
    /// `EIO=4`.
    pub fn protocol(&self) -> u8 {
        Revision::of(self.query("EIO")).number()
    }

    /// Whether a browser says that the request comes from a page of another origin.
    pub fn cross_origin(&self) -> bool {
        self.headers.get("origin").is_some()
    }

    /// [`Request::time`] in milliseconds since 1970.
    pub fn issued(&self) -> u64 {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn open_packet(&self, sid: &SessionId, config: &Config) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Open<'a> {
            sid: &'a str,
            upgrades: &'a [&'a str],
            ping_interval: u128,
            ping_timeout: u128,
            max_payload: usize,
        }
        let open = Open {
            sid: sid.as_str(),
            upgrades: config.upgrades(self.transport),
            ping_interval: config.ping_interval.as_millis(),
            ping_timeout: config.ping_timeout.as_millis(),
            max_payload: config.max_http_buffer_size,
        };
        // Strings and numbers always have a JSON form.
        format!("0{}", serde_json::to_string(&open).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_names_its_worker_and_is_never_the_same_twice() {
        for worker in [0, 1, 63, 64, 4095] {
            let id = SessionId::random(worker);
            assert_eq!(id.worker(), Some(worker));
            assert_eq!(id.as_str().len(), 26);
            assert_ne!(id, SessionId::random(worker));
        }
    }

    #[test]
    fn every_bit_of_an_id_is_random() {
        let draw =
            |_| URL_SAFE_NO_PAD.decode(&SessionId::random(0).as_str()[WORKER_CHARS..]).unwrap();
        let ids: Vec<Vec<u8>> = (0..256).map(draw).collect();
        for (byte, bit) in (0..RANDOM_BYTES).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let set = ids.iter().filter(|id| id[byte] >> bit & 1 == 1).count();
            // 128 are expected; this far off it is once in 10^14 times.
            assert!((64..=192).contains(&set), "bit {bit} of byte {byte}: {set} of 256");
        }
        const { assert!(RANDOM_BYTES * 8 >= 120) };
    }

    #[test]
    fn an_id_of_the_application_is_found_on_its_worker_too() {
        for id in ["", "x", "user/ü"] {
            let given = SessionId::given(65, id);
            assert_eq!(given.worker(), Some(65));
            assert_eq!(given.as_str(), format!("BB{id}"));
        }
    }

    #[test]
    fn what_a_client_invents_as_an_id_names_no_worker_or_a_wrong_one_but_never_fails() {
        for text in ["", "é", "a", "constructor", "__proto__", "\0\0\0"] {
            let _ = SessionId::from_client(text).worker();
        }
        assert_eq!(SessionId::from_client("!x").worker(), None);
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let headers = Headers::collect([("host", &b"x"[..]), ("cookie", b"a=1")].into_iter());
        assert_eq!(headers.get("Cookie").as_deref(), Some("a=1"));
        assert_eq!(headers.iter().count(), 2);
        assert!(headers.get("origin").is_none());
        assert_eq!(format!("{headers:?}"), r#"["host", "cookie"]"#);
    }
}
