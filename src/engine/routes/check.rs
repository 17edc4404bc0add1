//! The checks of a request, in the reference's order, and its facts.

use std::time::SystemTime;

use actix_web::{
    HttpRequest,
    http::{Method, header},
};

use super::{
    super::{
        Service, Transport,
        dialect::Revision,
        handshake::{Headers, Request, SessionId},
        pipe::Pipe,
    },
    Endpoint, RequestError,
};

/// A request that passed the checks.
pub(super) enum Checked {
    Open(Transport),
    Session(Pipe),
}

impl<S: Service> Endpoint<S> {
    pub(super) async fn check(
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
        if !fits || Revision::of(Some(get("EIO"))) != pipe.dialect().revision {
            return Err(RequestError::BadRequest);
        }
        Ok(Checked::Session(pipe))
    }
}

pub(super) fn parse_query(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Visible characters, spaces and tabs (RFC 9110, 5.5).
fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b'\t' | 32..=126 | 128..))
}

pub(super) fn facts(
    req: &HttpRequest,
    query: Vec<(String, String)>,
    transport: Transport,
) -> Request {
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
