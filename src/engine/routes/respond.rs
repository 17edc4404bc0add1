//! The answers of refused requests.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use tracing::debug;

use super::RequestError;

impl RequestError {
    pub(super) fn respond(&self, upgrade: bool) -> HttpResponse {
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

pub(super) fn bad_websocket(error: &actix_web_actors::ws::HandshakeError) -> HttpResponse {
    debug!(%error, "websocket handshake refused");
    HttpResponse::BadRequest()
        .force_close()
        .insert_header((header::CONTENT_TYPE, "text/html"))
        .body(error.to_string())
}
