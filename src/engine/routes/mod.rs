//! The actix-web endpoint: check the request, open a session or find its session, or refuse.
//!
//! The order of the checks and the answers are the reference's, see `docs/protocol.md`.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::{AppService, Payload, ResourceDef, ServiceRequest, ServiceResponse, fn_service},
    http::{Method, header},
};

pub use self::error::RequestError;
use self::{
    check::{Asked, Checked},
    respond::bad_websocket,
};
#[cfg_attr(not(feature = "client"), allow(unused_imports, reason = "for the bundles"))]
pub(crate) use self::{
    error::Refused,
    respond::{CorsHeaders, RETRY_AFTER},
};
use serde_json::json;

use super::{
    Engine, Service, Transport,
    admission::Seat,
    dialect::Dialect,
    handshake::{Request, SessionId},
    hooks,
    link::{self, Link, Opening, Turn},
    outbox::Bounds,
    pipe::{Farewell, Pipe},
    registry::Sessions,
    transport::{polling, websocket},
};

use crate::metrics::meters::Rare;

mod check;
#[cfg(feature = "admin")]
pub(crate) use self::check::client_address;
mod error;
mod respond;

/// Registers the endpoint with the application of the current worker.
pub(crate) fn register<S: Service>(engine: &Arc<Engine<S>>, app: &mut AppService) {
    let sessions = engine.join_worker();
    let endpoint = Rc::new(Endpoint { engine: Arc::clone(engine), sessions });
    let path = engine.config.mount_path();
    // Everything below the path is ours, as in the reference, which compares a prefix. Nearly all requests
    // are for the path itself, which needs no regular expression.
    for pattern in [path.clone(), format!("{path}{{tail:.*}}")] {
        let endpoint = Rc::clone(&endpoint);
        let service = fn_service(move |req: ServiceRequest| {
            let endpoint = Rc::clone(&endpoint);
            async move {
                let (req, payload) = req.into_parts();
                let response = endpoint.handle(&req, payload).await;
                Ok(ServiceResponse::new(req, response))
            }
        });
        app.register_service(ResourceDef::new(pattern), None, service, None);
    }
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
        let mut asked = Asked::new(req, &self.engine.config, upgrade);
        let mut cors = CorsHeaders::of(&self.engine.config, req);
        if let Some(cors) = cors.take_if(|cors| cors.is_preflight()) {
            return cors.answer(upgrade);
        }
        let answer = self.answer(&mut asked, payload).await;
        let mut response = answer.unwrap_or_else(|refused| self.refuse(&refused, &mut asked));
        self.finish(&mut response, cors, &mut asked);
        response
    }

    async fn answer(
        &self,
        asked: &mut Asked<'_>,
        payload: Payload,
    ) -> Result<HttpResponse, Refused> {
        // Before anything is asked: what a full server says costs it nothing more.
        let seat = if asked.is_initial() { Some(self.admit(asked)?) } else { None };
        if self.engine.hooks.has_middlewares() {
            let facts = asked.facts();
            self.engine.ask(self.engine.hooks.run_middlewares(&facts)).await?;
        }
        let (req, upgrade) = (asked.req, asked.upgrade);
        match self.check(req, &asked.query, upgrade).await? {
            Checked::Open(transport) => {
                asked.check_size(self.engine.config.max_request_bytes)?;
                let seat = seat.map_or_else(|| self.admit(asked), Ok)?;
                self.open(req, payload, asked.facts(), transport, seat).await
            }
            Checked::Session(pipe, turn) if upgrade => self.upgrade(req, payload, pipe, turn),
            Checked::Session(pipe, _) => Ok(self.serve(req, payload, pipe).await),
        }
    }

    /// A place for whoever wants to open a session.
    fn admit(&self, asked: &mut Asked<'_>) -> Result<Seat, Refused> {
        let known = self.engine.counts_addresses();
        Ok(self.engine.admit(if known { asked.facts().address } else { None })?)
    }

    /// A request of an open session over HTTP.
    async fn serve(&self, req: &HttpRequest, payload: Payload, pipe: Pipe) -> HttpResponse {
        let config = &self.engine.config;
        match *req.method() {
            Method::GET => polling::receive(req, pipe, config.http_compression).await,
            Method::POST => {
                let (limit, timeout) = (config.max_http_buffer_size, config.body_timeout);
                polling::send(req, payload, pipe, limit, timeout, self.sessions.metrics()).await
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
        turn: Option<Rc<dyn Turn>>,
    ) -> Result<HttpResponse, Refused> {
        if let Err(error) = websocket::check(req, &self.engine.websocket) {
            self.sessions.metrics().meters.count(Rare::UpgradeFailed, "refused");
            return Ok(bad_websocket(&error));
        }
        let accepted = match pipe.begin_probe() {
            Ok(generation) => {
                websocket::accept(req, payload, pipe, generation, turn, &self.engine.websocket)
            }
            // Already upgraded, or trying: the new WebSocket is closed, the session stays.
            Err(_) => {
                self.sessions.metrics().meters.count(Rare::UpgradeFailed, "refused");
                websocket::accept_and_close(req, payload, &self.engine.websocket)
            }
        };
        Ok(accepted.unwrap_or_else(|error| bad_websocket(&error)))
    }

    async fn open(
        &self,
        req: &HttpRequest,
        payload: Payload,
        request: Arc<Request>,
        transport: Transport,
        seat: Seat,
    ) -> Result<HttpResponse, Refused> {
        if self.engine.hooks.wants_permission() {
            self.engine.ask(self.engine.hooks.ask_permission(&request)).await?;
        }
        if transport == Transport::WebSocket
            && let Err(error) = websocket::check(req, &self.engine.websocket)
        {
            return Ok(bad_websocket(&error));
        }
        if request.protocol() != 4 && !self.engine.config.allow_eio3 {
            return Err(RequestError::UnsupportedVersion.because(json!({ "protocol": 3 })));
        }
        if !self.engine.is_accepting() {
            return Err(RequestError::Closed.into());
        }
        let (sid, pipe, turn) =
            self.engine.open_session(&self.sessions, request, transport, seat).await?;
        let config = &self.engine.config;
        Ok(match transport {
            Transport::Polling => {
                let mut response = polling::receive(req, pipe, config.http_compression).await;
                respond::set_cookie(&mut response, config.cookie.as_ref(), &sid);
                response
            }
            Transport::WebSocket => {
                let (session, setup) = (Some(Rc::clone(&turn)), &self.engine.websocket);
                match websocket::accept(req, payload, pipe, 0, session, setup) {
                    Ok(response) => {
                        // What it says to its client leaves together with the head of the response.
                        greeted(&*turn).await;
                        response
                    }
                    Err(error) => bad_websocket(&error),
                }
            }
        })
    }
}

/// Waits until a new session has had its first turn, but not longer than its thread is expected to take for it.
async fn greeted(turn: &dyn Turn) {
    // actix-http may poll twice in one turn of its own.
    let mut polls = 0..8;
    poll_fn(|cx| {
        if turn.has_begun() || polls.next().is_none() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<S: Service> Engine<S> {
    /// Starts the actor of a new client on the current worker and registers its session.
    ///
    /// # Errors
    /// If the application makes the ids, and has none or one that is in use; if it panics.
    pub(crate) async fn open_session(
        &self,
        sessions: &Sessions,
        request: Arc<Request>,
        transport: Transport,
        seat: Seat,
    ) -> Result<(SessionId, Pipe, Rc<dyn Turn>), Refused> {
        let sid = if self.hooks.makes_ids() {
            let id = self.ask(self.hooks.make_id(&request)).await?;
            SessionId::given(sessions.worker(), &id)
        } else {
            SessionId::random(sessions.worker())
        };
        if !self.is_accepting() {
            // It was closed while the application thought of an id.
            return Err(RequestError::Closed.into());
        }
        let config = &self.config;
        let pipe = Pipe::new(
            sessions.worker(),
            transport,
            Dialect::new(|name| request.query(name)),
            Bounds { bytes: config.max_outbox_bytes, packets: config.max_outbox_packets },
            self.service.metrics(),
        );
        if !sessions.insert(sid.clone(), pipe.clone()) {
            return Err(hooks::no_id("the id is in use"));
        }
        pipe.seat(seat);
        let opening = Opening {
            sid: sid.clone(),
            request,
            pipe: pipe.clone(),
            config: Arc::clone(config),
            sessions: sessions.clone(),
        };
        let open = || self.service.open(sessions.worker(), &opening);
        let upper = self.unharmed(open).inspect_err(|_| {
            // Nobody runs it: it is as if it had never been.
            sessions.remove(&sid);
            sessions.actor_ended();
            pipe.close_now(Farewell::Noop, true);
        })?;
        let turn = link::start(Link::new(opening, upper));
        sessions.started(&sid, &turn);
        Ok((sid, pipe, turn))
    }
}
