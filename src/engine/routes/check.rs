//! The checks of a request, in the reference's order, and its facts.

use std::{borrow::Cow, net::SocketAddr, rc::Rc, sync::Arc, time::SystemTime};

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
};

use serde_json::json;
use tracing::debug;

use super::{
    super::{
        Config, Service, Transport,
        cors::{Page, is_field_value, origin_of},
        dialect::Revision,
        handshake::{Headers, Request, SessionId},
        link::Turn,
        pipe::Pipe,
    },
    Endpoint, Refused, RequestError,
};

/// A request that passed the checks.
pub(super) enum Checked {
    Open(Transport),
    /// `turn` if the session lives on this thread.
    Session(Pipe, Option<Rc<dyn Turn>>),
}

impl<S: Service> Endpoint<S> {
    pub(super) async fn check(
        &self,
        req: &HttpRequest,
        query: &Query<'_>,
        upgrade: bool,
    ) -> Result<Checked, Refused> {
        let find = |name: &str| query.find(name);
        let get = |name: &str| find(name).unwrap_or_default();
        let transport: Option<Transport> = get("transport").parse().ok();
        let enabled = |transport: &Transport| self.engine.config.transports.contains(transport);
        let Some(transport) = transport.filter(enabled) else {
            let asked = find("transport").map(|name| json!({ "transport": name }));
            return Err(RequestError::UnknownTransport.because(asked.unwrap_or_else(|| json!({}))));
        };
        let origin = req.headers().get(header::ORIGIN).map(|value| value.as_bytes());
        if let Some(origin) = origin.filter(|origin| !is_field_value(origin)) {
            let origin = String::from_utf8_lossy(origin);
            return Err(bad_request("INVALID_ORIGIN", json!({ "origin": origin })));
        }
        let page = match &self.engine.config.cors {
            None => None,
            Some(_) if upgrade => origin,
            Some(_) => find("j").and_then(|_| page_of_script(req)),
        };
        if let Some(origin) = page {
            let host = req.headers().get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
            let page = Page { origin, host, secure: req.app_config().secure() };
            self.engine.config.check_page(&page)?;
        }
        let sid = get("sid");
        if sid.is_empty() {
            if req.method() != Method::GET {
                let context = json!({ "method": req.method().as_str() });
                return Err(RequestError::BadHandshakeMethod.because(context));
            }
            if (transport == Transport::WebSocket) != upgrade {
                // Polling cannot carry an upgraded connection (the reference accepts, and closes).
                return Err(bad_request("TRANSPORT_HANDSHAKE_ERROR", json!({})));
            }
            return Ok(Checked::Open(transport));
        }
        let known = SessionId::from_client(sid);
        let Some(pipe) = self.engine.workers.find(&self.sessions, &known).await else {
            return Err(RequestError::UnknownSession.because(json!({ "sid": sid })));
        };
        if upgrade && transport != Transport::WebSocket {
            return Err(bad_request("TRANSPORT_HANDSHAKE_ERROR", json!({})));
        }
        let previous = pipe.transport();
        if !upgrade && transport != previous {
            let (asked, previous) = (transport.as_str(), previous.as_str());
            let context = json!({ "transport": asked, "previousTransport": previous });
            return Err(bad_request("TRANSPORT_MISMATCH", context));
        }
        let (revision, previous) = (Revision::of(Some(get("EIO"))), pipe.dialect().revision);
        if revision != previous {
            let (revision, previous) = (revision.number(), previous.number());
            let context = json!({ "protocol": revision, "previousProtocol": previous });
            return Err(bad_request("PROTOCOL_MISMATCH", context));
        }
        Ok(Checked::Session(pipe, self.sessions.turn(&known)))
    }
}

impl Config {
    /// Refuses requests of pages that [`Cors`](super::super::Cors) does not have.
    pub(crate) fn check_page(&self, page: &Page<'_>) -> Result<(), Refused> {
        let cors = self.cors.as_ref();
        if cors.is_some_and(|cors| cors.refuses(page)) {
            let origin = String::from_utf8_lossy(page.origin);
            let context = json!({ "name": "FOREIGN_ORIGIN", "origin": origin });
            return Err(RequestError::ForeignOrigin.because(context));
        }
        Ok(())
    }
}

/// The origin of the page that asks for a script, or sends a form, as far as the browser says so.
fn page_of_script(req: &HttpRequest) -> Option<&[u8]> {
    let value = |name| req.headers().get(name).map(HeaderValue::as_bytes);
    if let Some(origin) = value(header::ORIGIN) {
        return Some(origin);
    }
    let site = value(HeaderName::from_static("sec-fetch-site"))?;
    let foreign = matches!(site, b"cross-site" | b"same-site");
    // A page may keep its address to itself.
    foreign.then(|| value(header::REFERER).and_then(origin_of).unwrap_or(b"null"))
}

/// Whom the request comes from, as far as proxies are believed.
pub(crate) fn client_address(req: &HttpRequest, config: &Config) -> Option<SocketAddr> {
    let peer = req.peer_addr();
    let Some(proxies) = &config.trusted_proxies else { return peer };
    let values = req.headers().get_all(proxies.header());
    proxies.client(peer, values.map(|value| value.as_bytes()))
}

/// Code 3, with the name that the reference gives the reason.
fn bad_request(name: &str, mut context: serde_json::Value) -> Refused {
    context["name"] = name.into();
    RequestError::BadRequest.because(context)
}

/// What a parameter of the query takes besides its text.
const PARAMETER: usize = 64;

/// The query of a request, decoded.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    /// The last parameter of this name.
    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// What is kept as long as the session.
    fn to_owned(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }
}

/// A request, and its facts as soon as somebody wants them.
pub(super) struct Asked<'a> {
    pub(super) req: &'a HttpRequest,
    pub(super) upgrade: bool,
    pub(super) query: Query<'a>,
    config: &'a Config,
    facts: Option<Arc<Request>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(req: &'a HttpRequest, config: &'a Config, upgrade: bool) -> Self {
        Self { req, upgrade, query: Query::parse(req.query_string()), config, facts: None }
    }

    /// Whether it opens a session, or would.
    pub(super) fn is_initial(&self) -> bool {
        self.query.find("sid").is_none_or(str::is_empty)
    }

    /// Whether it may be kept as long as a session.
    pub(super) fn check_size(&self, most: usize) -> Result<(), RequestError> {
        let url = self.req.uri().path_and_query().map_or(0, |url| url.as_str().len());
        let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let headers: usize = self.req.headers().iter().map(header).sum();
        let size = url + headers + self.query.0.len() * PARAMETER;
        if size > most {
            debug!(size, "request refused: headers and URL too large");
            return Err(RequestError::RequestTooLarge);
        }
        Ok(())
    }

    pub(super) fn facts(&mut self) -> Arc<Request> {
        let (req, config, query) = (self.req, self.config, &self.query);
        let facts = self.facts.get_or_insert_with(|| {
            let came = if self.upgrade { Transport::WebSocket } else { Transport::Polling };
            let asked = query.find("transport").and_then(|name| name.parse().ok());
            Arc::new(facts(req, config, query.to_owned(), asked.unwrap_or(came)))
        });
        Arc::clone(facts)
    }
}

fn facts(
    req: &HttpRequest,
    config: &Config,
    query: Vec<(String, String)>,
    transport: Transport,
) -> Request {
    let headers = req.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Request {
        headers: Headers::collect(headers),
        url: req.uri().path_and_query().map_or_else(String::new, |url| url.as_str().to_owned()),
        query,
        address: client_address(req, config),
        secure: req.app_config().secure(),
        time: SystemTime::now(),
        transport,
    }
}
