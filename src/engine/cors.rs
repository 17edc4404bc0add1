//! Cross-origin requests: which headers an answer gets, and the answer to a preflight.
//!
//! The rules are those of the npm package `cors`, which the reference uses, see
//! `docs/decisions/0008-own-cors.md`.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

type Judge<T> = Arc<dyn Fn(T) -> bool + Send + Sync>;

/// Which pages of other origins may talk to the server, and how.
///
/// Of most that goes over HTTP, a browser asks the server and keeps to the answer. About a WebSocket
/// and about scripts (JSONP) it does not ask, so the server itself refuses these requests to pages of
/// other origins, with status 403; see [`refuse_foreign`](Self::refuse_foreign).
///
/// ```
/// use std::time::Duration;
/// use greenroom::engine::Cors;
///
/// let cors = Cors::origins(["https://app.example", "https://admin.example"])
///     .methods(["GET", "POST"])
///     .credentials(true)
///     .max_age(Duration::from_secs(600));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Cors {
    origin: Origin,
    methods: String,
    allowed_headers: Option<String>,
    exposed_headers: String,
    credentials: bool,
    max_age: Option<u64>,
    preflight_status: u16,
    refuses_foreign: bool,
}

#[derive(Clone)]
enum Origin {
    Any,
    Fixed(String),
    List(Vec<String>),
    Reflected,
    Matching(Judge<String>),
    Decided(Judge<Option<String>>),
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Fixed(origin) => origin.fmt(f),
            Self::List(origins) => origins.fmt(f),
            Self::Reflected => f.write_str("reflected"),
            Self::Matching(_) | Self::Decided(_) => f.write_str("fn(..)"),
        }
    }
}

impl Cors {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            methods: "GET,HEAD,PUT,PATCH,POST,DELETE".into(),
            allowed_headers: None,
            exposed_headers: String::new(),
            credentials: false,
            max_age: None,
            preflight_status: 204,
            refuses_foreign: true,
        }
    }

    /// Pages of every origin: `Access-Control-Allow-Origin: *`. Browsers do not combine it with
    /// [`credentials`](Self::credentials).
    pub fn any() -> Self {
        Self::new(Origin::Any)
    }

    /// Pages of this one origin, such as `https://app.example` or `http://localhost:5173`: as
    /// browsers say it, without a slash at the end. It is announced to every request,
    /// and the browser compares. `*` is the same as [`Cors::any`].
    ///
    /// # Panics
    /// If it is empty, or has characters that no header may have.
    #[track_caller]
    pub fn origin(origin: impl Into<String>) -> Self {
        let origin = value(origin.into());
        assert!(!origin.is_empty(), "an origin is not empty");
        Self::new(if origin == "*" { Origin::Any } else { Origin::Fixed(origin) })
    }

    /// Pages of these origins, as browsers say them, see [`Cors::origin`]. They are compared exactly; the one that asks is announced.
    pub fn origins(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Origin::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Pages of every origin, announcing the one that asks. Unlike `*` it goes together with
    /// [`credentials`](Self::credentials), so that any page can act for the users of this server.
    pub fn reflect() -> Self {
        Self::new(Origin::Reflected)
    }

    /// Pages whose origin matches, where the reference has a regular expression.
    ///
    /// ```
    /// # use greenroom::engine::Cors;
    /// let cors = Cors::matching(|origin| origin.ends_with(".example"));
    /// ```
    pub fn matching(matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origin::Matching(Arc::new(move |origin| matches(&origin))))
    }

    /// Asks for each request, where the reference has a function of the origin, which is `None` if
    /// the request names none. A request that is not accepted is handled as if there were no
    /// [`Cors`] at all.
    pub fn decide(accepts: impl Fn(Option<&str>) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origin::Decided(Arc::new(move |origin| accepts(origin.as_deref()))))
    }

    /// The methods that preflights announce. Default: `GET,HEAD,PUT,PATCH,POST,DELETE`.
    ///
    /// # Panics
    /// If one has characters that no header may have.
    #[track_caller]
    pub fn methods(mut self, methods: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.methods = list(methods);
        self
    }

    /// The request headers that preflights allow. Default: those that the preflight asks for.
    ///
    /// # Panics
    /// If one has characters that no header may have.
    #[track_caller]
    pub fn allowed_headers(mut self, headers: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.allowed_headers = Some(list(headers));
        self
    }

    /// The response headers that scripts may read. Default: none beyond the browser's own choice.
    ///
    /// # Panics
    /// If one has characters that no header may have.
    #[track_caller]
    pub fn exposed_headers(mut self, headers: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.exposed_headers = list(headers);
        self
    }

    /// Whether requests may carry cookies and the like. Default `false`.
    pub fn credentials(mut self, allowed: bool) -> Self {
        self.credentials = allowed;
        self
    }

    /// How long, in whole seconds, a browser may remember the answer to a preflight. Default: it is
    /// not said.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs());
        self
    }

    /// The status of the answer to a preflight. Default 204.
    ///
    /// # Panics
    /// If it is not from 200 to 599.
    #[track_caller]
    pub fn options_success_status(mut self, status: u16) -> Self {
        assert!((200..600).contains(&status), "{status} is not the status of an answer");
        self.preflight_status = status;
        self
    }

    /// Whether WebSocket and JSONP requests of pages that may not talk to the server are refused:
    /// status 403, reported with code 4. Default `true`; the reference lets them pass.
    ///
    /// Let in are requests without `Origin`, as of clients that are no browsers; those of a page of
    /// the server itself, whose origin names the same host and port as the request's `Host` (and
    /// `https`, if the server ends TLS itself); and those whose origin is one of these here. Behind
    /// a proxy that rewrites `Host`, name the origin of your own pages as well.
    ///
    /// A script (JSONP) is asked for without `Origin`: if the browser says that it is for a page of
    /// another origin (`Sec-Fetch-Site`), that page is the one in `Referer`. A browser that says
    /// neither cannot be told from other clients.
    pub fn refuse_foreign(mut self, refuse: bool) -> Self {
        self.refuses_foreign = refuse;
        self
    }
}

/// Whether it may be what a browser says of a page (RFC 6454, 6.1). Schemes other than HTTP, as of
/// apps, have rules of their own.
fn may_be_said(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return origin == "null" };
    let own_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return true,
    };
    let is_lower = !origin.bytes().any(|b| b.is_ascii_uppercase());
    is_lower
        && !host.is_empty()
        && !host.contains(['/', '?', '#', '*'])
        && !host.ends_with(own_port)
}

/// Visible characters, spaces and tabs (RFC 9110, 5.5).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b'\t' | 32..=126 | 128..))
}

#[track_caller]
fn value(text: String) -> String {
    assert!(is_field_value(text.as_bytes()), "{text:?} cannot be the value of a header");
    text
}

#[track_caller]
fn list(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut joined = String::new();
    for item in items {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(item.as_ref());
    }
    value(joined)
}

/// What a request says that matters here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Question<'a> {
    pub(crate) origin: Option<&'a [u8]>,
    /// The method is OPTIONS.
    pub(crate) preflight: bool,
    /// `Access-Control-Request-Headers`.
    pub(crate) wanted_headers: Option<&'a [u8]>,
}

/// The page that a request comes from, and where the request went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    pub(crate) origin: &'a [u8],
    /// The `Host` of the request.
    pub(crate) host: &'a [u8],
    /// The server ends TLS itself.
    pub(crate) secure: bool,
}

impl Page<'_> {
    /// Whether the page is the server's own. Only a server that ends TLS itself knows the scheme:
    /// any other may have a proxy in front that does it.
    fn is_own(&self) -> bool {
        let (https, http) = (&b"https://"[..], &b"http://"[..]);
        let (page, port) = match (self.origin.strip_prefix(https), self.origin.strip_prefix(http)) {
            (Some(page), _) => (page, &b":443"[..]),
            (None, Some(page)) if !self.secure => (page, &b":80"[..]),
            _ => return false,
        };
        let bare = |authority| <[u8]>::strip_suffix(authority, port).unwrap_or(authority);
        !page.is_empty() && bare(page).eq_ignore_ascii_case(bare(self.host))
    }
}

/// The origin of a page, given its address as browsers write it.
pub(crate) fn origin_of(url: &[u8]) -> Option<&[u8]> {
    let authority = memchr::memmem::find(url, b"://")? + 3;
    let path = url[authority..].iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
    Some(path.map_or(url, |path| &url[..authority + path]))
}

/// What the response gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) headers: Vec<(&'static str, Cow<'a, [u8]>)>,
    /// The request is answered with that: an empty body and this status.
    pub(crate) status: Option<u16>,
}

impl Cors {
    /// Whether it asks for what browsers do not do: `*` together with credentials.
    pub(crate) fn contradicts_itself(&self) -> bool {
        self.credentials && matches!(self.origin, Origin::Any)
    }

    /// An origin that no browser says, so that its pages are refused.
    pub(crate) fn mistaken_origin(&self) -> Option<&str> {
        let origins = match &self.origin {
            Origin::Fixed(origin) => std::slice::from_ref(origin),
            Origin::List(origins) => origins,
            _ => return None,
        };
        origins.iter().map(String::as_str).find(|origin| !may_be_said(origin))
    }

    /// The answer, or `None` if the request is none of our business.
    pub(crate) fn answer<'a>(&'a self, question: &Question<'a>) -> Option<Answer<'a>> {
        let mut headers = Vec::with_capacity(7);
        let mut vary = Vec::with_capacity(2);
        let allowed = self.allowed_origin(question.origin)?;
        if self.varies() {
            vary.push("Origin");
        }
        headers.extend(allowed.map(|origin| ("access-control-allow-origin", origin)));
        if self.credentials {
            headers.push(("access-control-allow-credentials", Cow::Borrowed(&b"true"[..])));
        }
        if question.preflight {
            let wanted = match &self.allowed_headers {
                Some(allowed) => Some(allowed.as_bytes()),
                None => {
                    vary.push("Access-Control-Request-Headers");
                    question.wanted_headers
                }
            };
            let mut add = |name, value: &'a [u8]| {
                if !value.is_empty() {
                    headers.push((name, Cow::Borrowed(value)));
                }
            };
            add("access-control-allow-methods", self.methods.as_bytes());
            add("access-control-allow-headers", wanted.unwrap_or_default());
            let age = self.max_age.map(|age| Cow::Owned(age.to_string().into_bytes()));
            headers.extend(age.map(|age| ("access-control-max-age", age)));
        }
        if !self.exposed_headers.is_empty() {
            let exposed = Cow::Borrowed(self.exposed_headers.as_bytes());
            headers.push(("access-control-expose-headers", exposed));
        }
        if !vary.is_empty() {
            headers.push(("vary", Cow::Owned(vary.join(", ").into_bytes())));
        }
        let status = question.preflight.then_some(self.preflight_status);
        Some(Answer { headers, status })
    }

    /// The origin to announce, if there is one; `None` outside if the request is not handled.
    fn allowed_origin<'a>(&'a self, asking: Option<&'a [u8]>) -> Option<Option<Cow<'a, [u8]>>> {
        let text = || asking.map(|origin| String::from_utf8_lossy(origin).into_owned());
        let accepted = match &self.origin {
            Origin::Any => return Some(Some(Cow::Borrowed(b"*"))),
            Origin::Fixed(origin) => return Some(Some(Cow::Borrowed(origin.as_bytes()))),
            Origin::List(list) => {
                asking.is_some_and(|asking| list.iter().any(|own| own.as_bytes() == asking))
            }
            Origin::Reflected => true,
            Origin::Matching(matches) => text().is_some_and(|origin| matches(origin)),
            Origin::Decided(accepts) => {
                if !accepts(text()) {
                    return None;
                }
                true
            }
        };
        Some(asking.filter(|origin| accepted && !origin.is_empty()).map(Cow::Borrowed))
    }

    /// Whether a request is refused because of the page it comes from.
    pub(crate) fn refuses(&self, page: &Page<'_>) -> bool {
        self.refuses_foreign && !page.is_own() && !self.lists(page.origin)
    }

    fn lists(&self, origin: &[u8]) -> bool {
        let text = || String::from_utf8_lossy(origin).into_owned();
        match &self.origin {
            Origin::Any | Origin::Reflected => true,
            Origin::Fixed(own) => own.as_bytes() == origin,
            Origin::List(list) => list.iter().any(|own| own.as_bytes() == origin),
            Origin::Matching(matches) => matches(text()),
            Origin::Decided(accepts) => accepts(Some(text())),
        }
    }

    /// Whether the answer depends on who asks, as caches have to know.
    fn varies(&self) -> bool {
        !matches!(self.origin, Origin::Any)
    }
}

#[cfg(test)]
mod tests;
