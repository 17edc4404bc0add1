//! The actix-web endpoint: check the request, open a session or find its session, or refuse.
//!
//! The order of the checks and the answers are the reference's, see `docs/protocol.md`.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::{AppService, Payload, ResourceDef, ServiceRequest, ServiceResponse, fn_service},
    http::{Method, header},
};

pub use self::error::RequestError;
use self::{
    check::{Checked, facts, parse_query},
    respond::bad_websocket,
};
use super::{
    Engine, Service, Transport,
    dialect::Dialect,
    handshake::{Request, SessionId},
    link::{Link, Opening},
    outbox::Bounds,
    pipe::Pipe,
    registry::Sessions,
    transport::{polling, websocket},
};

mod check;
mod error;
mod respond;

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
        if let Err(error) = websocket::check(req) {
            return Ok(bad_websocket(&error));
        }
        let accepted = match pipe.begin_probe() {
            Ok(generation) => {
                let limit = self.engine.config.max_http_buffer_size;
                websocket::accept(req, payload, pipe, generation, limit)
            }
            // Already upgraded, or trying: the new WebSocket is closed, the session stays.
            Err(_) => websocket::accept_and_close(req),
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
        let request = Arc::new(facts(req, query, transport));
        if let Some(allow) = &self.engine.allow_request {
            allow(Arc::clone(&request))
                .await
                .map_err(|refusal| RequestError::Forbidden(refusal.0))?;
        }
        if request.protocol() != 4 && !self.engine.config.allow_eio3 {
            return Err(RequestError::UnsupportedVersion);
        }
        if !self.engine.is_accepting() {
            return Err(RequestError::Closed);
        }
        if transport == Transport::WebSocket
            && let Err(error) = websocket::check(req)
        {
            return Ok(bad_websocket(&error));
        }
        let pipe = self.start(request, transport);
        Ok(match transport {
            Transport::Polling => polling::receive(req, pipe).await,
            Transport::WebSocket => {
                let limit = self.engine.config.max_http_buffer_size;
                websocket::accept(req, payload, pipe, 0, limit)
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
            Dialect::new(|name| request.query(name)),
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
