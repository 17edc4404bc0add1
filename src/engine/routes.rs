//! The actix-web endpoint: check the request, open a session or find its session, or refuse.
//!
//! The order of the checks and the answers are the reference's, see `docs/protocol.md`.

use std::{rc::Rc, sync::Arc, time::SystemTime};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::{AppService, Payload, ResourceDef, ServiceRequest, ServiceResponse, fn_service},
    http::{Method, StatusCode, header},
};
use tracing::debug;

use super::{
    Engine, Service, Transport,
    handshake::{Headers, Request, SessionId},
    link::{Link, Opening},
    outbox::Bounds,
    pipe::Pipe,
    registry::Sessions,
    transport::{polling, websocket},
};

/// Why a request is refused: the numeric codes of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Code 0: the transport is missing, unknown or not enabled.
    #[error("Transport unknown")]
    UnknownTransport,
    /// Code 1: no session has this id.
    #[error("Session ID unknown")]
    UnknownSession,
    /// Code 2: a session is opened by GET only.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// Code 3: the request does not fit the session, or its headers are broken.
    #[error("Bad request")]
    BadRequest,
    /// Code 4: the application refused the request, with its message.
    #[error("{}", .0.as_deref().unwrap_or("Forbidden"))]
    Forbidden(Option<String>),
    /// Code 5: another revision of the protocol than 4.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
    /// The server is closing or closed. Not a code of the protocol: status 503.
    #[error("Server is closed")]
    Closed,
}

impl RequestError {
    /// The protocol's numeric code; `None` for what the protocol does not know.
    pub fn code(&self) -> Option<u8> {
        match self {
            Self::UnknownTransport => Some(0),
            Self::UnknownSession => Some(1),
            Self::BadHandshakeMethod => Some(2),
            Self::BadRequest => Some(3),
            Self::Forbidden(_) => Some(4),
            Self::UnsupportedVersion => Some(5),
            Self::Closed => None,
        }
    }

    fn respond(&self, upgrade: bool) -> HttpResponse {
        debug!(error = %self, code = self.code(), upgrade, "request refused");
        let message = self.to_string();
        let Some(code) = self.code() else {
            return HttpResponse::ServiceUnavailable().force_close().body(message);
        };
        if upgrade {
            // A WebSocket client cannot read a JSON body: always 400 and plain text.
            return HttpResponse::BadRequest()
                .force_close()
                .insert_header((header::CONTENT_TYPE, "text/html"))
                .body(message);
        }
        let status = match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = serde_json::json!({ "code": code, "message": message });
        HttpResponse::build(status)
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(body.to_string())
    }
}

/// Registers the endpoint with the application of the current worker.
pub(crate) fn register<S: Service>(engine: &Arc<Engine<S>>, app: &mut AppService) {
    let sessions = engine.join_worker();
    let endpoint = Rc::new(Endpoint { engine: Arc::clone(engine), sessions });
    // Everything below the path is ours, as in the reference, which compares a prefix.
    let resource = ResourceDef::new(format!("{}{{tail:.*}}", engine.config.mount_path()));
    let service = fn_service(move |req: ServiceRequest| {
        let endpoint = Rc::clone(&endpoint);
        async move {
            let (req, payload) = req.into_parts();
            let response = endpoint.handle(&req, payload).await;
            Ok(ServiceResponse::new(req, response))
        }
    });
    app.register_service(resource, None, service, None);
}

struct Endpoint<S: Service> {
    engine: Arc<Engine<S>>,
    sessions: Sessions,
}

/// A request that passed the checks.
enum Checked {
    Open(Transport),
    Session(Pipe),
}

impl<S: Service> Endpoint<S> {
    async fn handle(&self, req: &HttpRequest, payload: Payload) -> HttpResponse {
        // Without the WebSocket transport nothing listens for upgrades: they are plain requests.
        let upgrade = req.head().upgrade()
            && req.headers().contains_key(header::UPGRADE)
            && self.engine.config.transports.contains(&Transport::WebSocket);
        let query = parse_query(req.query_string());
        let answer = match self.check(req, &query, upgrade).await {
            Ok(Checked::Open(transport)) => self.open(req, payload, query, transport).await,
            Ok(Checked::Session(pipe)) if upgrade => self.upgrade(req, payload, pipe),
            Ok(Checked::Session(pipe)) => Ok(self.serve(req, payload, pipe).await),
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| {
            self.engine.service.refused(&error);
            error.respond(upgrade)
        })
    }

    async fn check(
        &self,
        req: &HttpRequest,
        query: &[(String, String)],
        upgrade: bool,
    ) -> Result<Checked, RequestError> {
        let get = |name: &str| {
            query.iter().rev().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str())
        };
        let transport: Transport =
            get("transport").parse().map_err(|_| RequestError::UnknownTransport)?;
        if !self.engine.config.transports.contains(&transport) {
            return Err(RequestError::UnknownTransport);
        }
        if req.headers().get(header::ORIGIN).is_some_and(|value| !is_field_value(value.as_bytes()))
        {
            return Err(RequestError::BadRequest);
        }
        let sid = get("sid");
        if sid.is_empty() {
            if req.method() != Method::GET {
                return Err(RequestError::BadHandshakeMethod);
            }
            if (transport == Transport::WebSocket) != upgrade {
                // Polling cannot carry an upgraded connection (the reference accepts, and closes).
                return Err(RequestError::BadRequest);
            }
            return Ok(Checked::Open(transport));
        }
        let sid = SessionId::from_client(sid);
        let found = self.engine.workers.find(&self.sessions, &sid).await;
        let pipe = found.ok_or(RequestError::UnknownSession)?;
        let fits =
            if upgrade { transport == Transport::WebSocket } else { transport == pipe.transport() };
        if !fits || get("EIO") != "4" {
            return Err(RequestError::BadRequest);
        }
        Ok(Checked::Session(pipe))
    }

    /// A request of an open session over HTTP.
    async fn serve(&self, req: &HttpRequest, payload: Payload, pipe: Pipe) -> HttpResponse {
        let config = &self.engine.config;
        match *req.method() {
            Method::GET => polling::receive(req, pipe).await,
            Method::POST => {
                let (limit, timeout) = (config.max_http_buffer_size, config.body_timeout);
                polling::send(req, payload, pipe, limit, timeout).await
            }
            _ => HttpResponse::InternalServerError().finish(),
        }
    }

    /// A WebSocket request of a session that was opened by polling.
    fn upgrade(
        &self,
        req: &HttpRequest,
        payload: Payload,
        pipe: Pipe,
    ) -> Result<HttpResponse, RequestError> {
        if let Err(error) = websocket::check(req, &self.engine.websocket) {
            return Ok(bad_websocket(&error));
        }
        let accepted = match pipe.begin_probe() {
            Ok(generation) => {
                websocket::accept(req, payload, pipe, generation, &self.engine.websocket)
            }
            // Already upgraded, or trying: the new WebSocket is closed, the session stays.
            Err(_) => websocket::accept_and_close(req, &self.engine.websocket),
        };
        Ok(accepted.unwrap_or_else(|error| bad_websocket(&error)))
    }

    async fn open(
        &self,
        req: &HttpRequest,
        payload: Payload,
        query: Vec<(String, String)>,
        transport: Transport,
    ) -> Result<HttpResponse, RequestError> {
        let revision_4 =
            query.iter().rev().find(|(n, _)| n == "EIO").is_some_and(|(_, v)| v == "4");
        let request = Arc::new(facts(req, query, transport));
        if let Some(allow) = &self.engine.allow_request {
            allow(Arc::clone(&request))
                .await
                .map_err(|refusal| RequestError::Forbidden(refusal.0))?;
        }
        if !revision_4 {
            return Err(RequestError::UnsupportedVersion);
        }
        if !self.engine.is_accepting() {
            return Err(RequestError::Closed);
        }
        if transport == Transport::WebSocket
            && let Err(error) = websocket::check(req, &self.engine.websocket)
        {
            return Ok(bad_websocket(&error));
        }
        let pipe = self.start(request, transport);
        Ok(match transport {
            Transport::Polling => polling::receive(req, pipe).await,
            Transport::WebSocket => {
                websocket::accept(req, payload, pipe, 0, &self.engine.websocket)
                    .unwrap_or_else(|error| bad_websocket(&error))
            }
        })
    }

    /// Starts the actor of a new client on this worker.
    fn start(&self, request: Arc<Request>, transport: Transport) -> Pipe {
        self.engine.open_session(&self.sessions, request, transport)
    }
}

impl<S: Service> Engine<S> {
    /// Starts the actor of a new client on the current worker and registers its session.
    pub(crate) fn open_session(
        &self,
        sessions: &Sessions,
        request: Arc<Request>,
        transport: Transport,
    ) -> Pipe {
        let config = &self.config;
        let pipe = Pipe::new(
            sessions.worker(),
            transport,
            Bounds { bytes: config.max_outbox_bytes, packets: config.max_outbox_packets },
        );
        let sid = SessionId::random(sessions.worker());
        sessions.insert(sid.clone(), pipe.clone());
        let opening = Opening {
            sid,
            request,
            pipe: pipe.clone(),
            config: Arc::clone(config),
            sessions: sessions.clone(),
        };
        let upper = self.service.open(sessions.worker(), &opening);
        actix::Actor::start(Link::new(opening, upper));
        pipe
    }
}

fn bad_websocket(error: &websocket::Rejected) -> HttpResponse {
    debug!(%error, "websocket handshake refused");
    HttpResponse::BadRequest()
        .force_close()
        .insert_header((header::CONTENT_TYPE, "text/html"))
        .body(error.to_string())
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Visible characters, spaces and tabs (RFC 9110, 5.5).
fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b'\t' | 32..=126 | 128..))
}

fn facts(req: &HttpRequest, query: Vec<(String, String)>, transport: Transport) -> Request {
    let headers = req.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Request {
        headers: Headers::collect(headers),
        url: req.uri().path_and_query().map_or_else(String::new, |url| url.as_str().to_owned()),
        query,
        address: req.peer_addr(),
        secure: req.app_config().secure(),
        time: SystemTime::now(),
        transport,
    }
}
