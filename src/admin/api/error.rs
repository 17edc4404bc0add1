//! What a caller reads when something is refused: a status, and `{"error": ".."}`.

use std::{fmt, time::Duration};

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::StatusCode, http::header};
use serde_json::json;

use crate::admin::{authentication::Denied, commands::CommandError};

#[derive(Debug)]
pub(super) enum ApiError {
    /// Nobody that may.
    Unauthorized,
    /// Too many have tried to log in.
    TooMany(Option<Duration>),
    ReadOnly,
    NotFound(&'static str),
    Bad(String),
    /// A body that is not said to be JSON.
    NotJson,
    TooLarge,
    /// A body that did not come.
    TooSlow,
    /// The server is being dropped.
    Gone,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthorized => Denied::Credentials.text(),
            Self::TooMany(_) => Denied::TooMany(Duration::ZERO).text(),
            Self::ReadOnly => "the admin interface is read-only",
            Self::NotFound(what) => what,
            Self::Bad(what) => what,
            Self::NotJson => "the content type must be application/json",
            Self::TooLarge => "the body is too large",
            Self::TooSlow => "the body did not come in time",
            Self::Gone => "the server is gone",
        })
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Credentials => Self::Unauthorized,
            Denied::TooMany(wait) => Self::TooMany(Some(wait)),
            Denied::Busy => Self::TooMany(None),
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::UnknownNamespace => Self::NotFound("there is no such namespace"),
            other => Self::Bad(other.to_string()),
        }
    }
}

/// With the headers that all answers have.
pub(super) fn prepared(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Gone => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = prepared(HttpResponse::build(self.status_code()));
        match self {
            // Not Basic: a browser would ask its user, and send the answer along from then on,
            // whoever's page causes the request.
            Self::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"admin\""));
            }
            Self::TooMany(wait) => {
                let seconds = wait.unwrap_or_default().as_secs() + 1;
                response.insert_header((header::RETRY_AFTER, seconds));
            }
            _ => {}
        }
        response.json(json!({ "error": self.to_string() }))
    }
}
