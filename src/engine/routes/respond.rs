//! What every answer gets, and the answers of refused requests.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use tracing::debug;

use super::{
    super::{
        Config, Service,
        cookie::Cookie,
        cors::{Answer, Question},
        handshake::SessionId,
        transport::websocket,
    },
    Asked, Endpoint, Refused, RequestError,
};

/// When a client that found the server full or closed may try again, in seconds.
pub(crate) const RETRY_AFTER: &str = "5";

/// The headers about origins, ready for a response.
pub(crate) struct CorsHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    preflight: Option<StatusCode>,
}

impl CorsHeaders {
    /// What is to be said to a request about origins; `None` if nothing.
    pub(crate) fn of(config: &Config, req: &HttpRequest) -> Option<Self> {
        let cors = config.cors.as_ref()?;
        let origin = joined(req, &header::ORIGIN);
        let wanted = joined(req, &header::ACCESS_CONTROL_REQUEST_HEADERS);
        let answer = cors.answer(&Question {
            origin: origin.as_deref(),
            preflight: req.method() == Method::OPTIONS,
            wanted_headers: wanted.as_deref(),
        })?;
        Some(Self::new(answer))
    }

    fn new(answer: Answer<'_>) -> Self {
        let header = |(name, value): (&'static str, Cow<'_, [u8]>)| {
            // What is no value of a header was refused by the setters and the HTTP parser.
            Some((HeaderName::from_static(name), HeaderValue::from_bytes(&value).ok()?))
        };
        Self {
            headers: answer.headers.into_iter().filter_map(header).collect(),
            preflight: answer.status.and_then(|status| StatusCode::from_u16(status).ok()),
        }
    }

    /// Whether the request is a preflight, which is answered with nothing else.
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// The answer to a preflight.
    pub(crate) fn answer(self, upgrade: bool) -> HttpResponse {
        let mut response = HttpResponse::build(self.preflight.unwrap_or(StatusCode::NO_CONTENT));
        if upgrade {
            response.force_close();
        }
        let mut response = response.finish();
        self.add_to(&mut response);
        response
    }

    pub(crate) fn add_to(self, response: &mut HttpResponse) {
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
    }
}

impl<S: Service> Endpoint<S> {
    /// The answer to a request that is refused, when everybody has been told.
    pub(super) fn refuse(&self, refused: &Refused, asked: &mut Asked<'_>) -> HttpResponse {
        let hooks = &self.engine.hooks;
        let tell = || hooks.report(refused, &asked.facts());
        let untold = if hooks.want_errors() { self.engine.unharmed(tell).unwrap_or(0) } else { 0 };
        self.engine.service.refused(&refused.error, untold);
        refused.error.respond(asked.upgrade)
    }

    /// Adds what the options and the application want to say in the headers.
    pub(super) fn finish(
        &self,
        response: &mut HttpResponse,
        cors: Option<CorsHeaders>,
        asked: &mut Asked<'_>,
    ) {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(cors) = cors
            && (!asked.upgrade || switched)
        {
            cors.add_to(response);
        }
        let initial = asked.is_initial();
        let succeeded = switched || response.status() == StatusCode::OK;
        if succeeded && self.engine.hooks.want_headers(initial) {
            let (hooks, facts) = (&self.engine.hooks, asked.facts());
            let change = || hooks.change_headers(response.headers_mut(), &facts, initial);
            if let Err(refused) = self.engine.unharmed(change) {
                // Half of the headers could be the wrong ones. What is in the answer is lost, and its
                // session ends, as when the connection breaks.
                self.engine.service.refused(&refused.error, 0);
                *response = refused.error.respond(asked.upgrade);
            }
        }
    }
}

/// The value of a header, several as one list.
fn joined<'a>(req: &'a HttpRequest, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = req.headers().get_all(name).map(HeaderValue::as_bytes);
    let first = values.next()?;
    Some(values.fold(Cow::Borrowed(first), |list, value| [&list, value].join(&b", "[..]).into()))
}

/// Names the session to load balancers, in the first answer of a polling session.
pub(super) fn set_cookie(response: &mut HttpResponse, cookie: Option<&Cookie>, sid: &SessionId) {
    // What is no value of a header was refused by the setters of the cookie.
    let value = cookie.and_then(|cookie| HeaderValue::try_from(cookie.header(sid.as_str())).ok());
    if let Some(value) = value {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

impl RequestError {
    pub(super) fn respond(&self, upgrade: bool) -> HttpResponse {
        debug!(error = %self, code = self.code(), upgrade, "request refused");
        let message = self.to_string();
        if *self == Self::RequestTooLarge {
            return HttpResponse::RequestHeaderFieldsTooLarge().force_close().body(message);
        }
        if *self == Self::HookPanicked {
            return HttpResponse::InternalServerError().force_close().body(message);
        }
        let Some(code) = self.code() else {
            return HttpResponse::ServiceUnavailable()
                .force_close()
                .insert_header((header::RETRY_AFTER, RETRY_AFTER))
                .body(message);
        };
        if upgrade {
            // A WebSocket client cannot read a JSON body: plain text, and 400 but for what the
            // reference does not refuse (RFC 6455, 10.2).
            let foreign = *self == Self::ForeignOrigin;
            let status = if foreign { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
            return HttpResponse::build(status)
                .force_close()
                .insert_header((header::CONTENT_TYPE, "text/html"))
                .body(message);
        }
        let status = match self {
            Self::Forbidden(_) | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = serde_json::json!({ "code": code, "message": message });
        HttpResponse::build(status)
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(body.to_string())
    }
}

pub(super) fn bad_websocket(error: &websocket::Rejected) -> HttpResponse {
    debug!(%error, "websocket handshake refused");
    error.response().insert_header((header::CONTENT_TYPE, "text/html")).body(error.to_string())
}
