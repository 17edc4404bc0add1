//! Why a request is refused.

use std::{error::Error, fmt};

use serde_json::{Value, json};

use crate::metrics::{Metrics, meters::Rare};

/// Why a request is refused: the numeric codes of the protocol.
///
/// ```
/// use greenroom::{ConnectionError, SocketIo, engine::RequestError};
///
/// SocketIo::builder().on_connection_error(|error: ConnectionError| {
///     if Some(error.code) == RequestError::UnknownSession.code() {
///         eprintln!("{}: is the load balancer sticky?", error.request.url);
///     }
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Code 0: the transport is missing, unknown or not enabled.
    UnknownTransport,
    /// Code 1: no session has this id.
    UnknownSession,
    /// Code 2: a session is opened by GET only.
    BadHandshakeMethod,
    /// Code 3: the request does not fit the session, or its headers are broken.
    BadRequest,
    /// Code 4: the application refused the request, with its message.
    Forbidden(Option<String>),
    /// Code 5: another revision of the protocol than 4, or than 3 and 4 if both are allowed.
    UnsupportedVersion,
    /// Code 4: a WebSocket or JSONP request of a page whose origin [`Cors`](crate::engine::Cors) does not
    /// have. Status 403.
    ForeignOrigin,
    /// The server is closing or closed. Not a code of the protocol: status 503.
    Closed,
    /// As many sessions are open as may be. Not a code of the protocol, as those that follow: status
    /// 503, with `Retry-After`.
    TooManyConnections,
    /// The address of the client has as many sessions open as it may have.
    TooManyConnectionsOfAddress,
    /// As many clients are about to connect, or have joined nothing yet, as may be.
    TooManyHandshakes,
    /// A request that would open a session has more in its headers and its URL than may be kept. Not a
    /// code of the protocol: status 431.
    RequestTooLarge,
    /// A function of the application that was asked about the request panicked. Not a code of the
    /// protocol: status 500.
    HookPanicked,
    /// A function of the application did not say in time what to do with the request. Not a code of
    /// the protocol: status 503, with `Retry-After`.
    HookTimeout,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(Some(message)) => f.write_str(message),
            Self::ForeignOrigin => f.write_str("Origin not allowed"),
            _ => f.write_str(self.text()),
        }
    }
}

impl Error for RequestError {}

impl RequestError {
    /// The protocol's numeric code; `None` for what the protocol does not know.
    pub fn code(&self) -> Option<u8> {
        match self {
            Self::UnknownTransport => Some(0),
            Self::UnknownSession => Some(1),
            Self::BadHandshakeMethod => Some(2),
            Self::BadRequest => Some(3),
            Self::Forbidden(_) | Self::ForeignOrigin => Some(4),
            Self::UnsupportedVersion => Some(5),
            Self::Closed
            | Self::TooManyConnections
            | Self::TooManyConnectionsOfAddress
            | Self::TooManyHandshakes
            | Self::RequestTooLarge
            | Self::HookPanicked
            | Self::HookTimeout => None,
        }
    }

    /// The protocol's text, whatever the application says.
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden(_) | Self::ForeignOrigin => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
            Self::Closed => "Server is closed",
            Self::TooManyConnections => "Too many connections",
            Self::TooManyConnectionsOfAddress => "Too many connections from this address",
            Self::TooManyHandshakes => "Too many handshakes",
            Self::RequestTooLarge => "Request headers too large",
            Self::HookPanicked => "Internal server error",
            Self::HookTimeout => "Request timed out",
        }
    }

    /// Notes that a request was refused, of which so many listeners could not be told.
    pub(crate) fn count(&self, metrics: &Metrics, untold: usize) {
        metrics.requests_refused.increment();
        metrics.meters.count(Rare::RequestRefused, self.reason());
        match self {
            Self::TooManyConnections => metrics.connections_refused.increment(),
            Self::TooManyConnectionsOfAddress => metrics.address_connections_refused.increment(),
            Self::TooManyHandshakes => metrics.handshakes_refused.increment(),
            Self::RequestTooLarge => metrics.requests_over_limit.increment(),
            Self::HookTimeout => metrics.hook_timeouts.increment(),
            Self::ForeignOrigin => metrics.foreign_origins_refused.increment(),
            _ => {}
        }
        metrics.connection_errors_lost.add(untold as u64);
    }

    /// What metrics call it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::UnknownTransport => "unknown_transport",
            Self::UnknownSession => "unknown_session",
            Self::BadHandshakeMethod => "bad_handshake_method",
            Self::BadRequest => "bad_request",
            Self::Forbidden(_) => "forbidden",
            Self::UnsupportedVersion => "unsupported_version",
            Self::ForeignOrigin => "foreign_origin",
            Self::Closed => "closed",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyConnectionsOfAddress => "too_many_connections_of_address",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::RequestTooLarge => "request_too_large",
            Self::HookPanicked => "hook_panicked",
            Self::HookTimeout => "hook_timeout",
        }
    }

    /// With the facts that a `connection_error` tells, an object.
    pub(crate) fn because(self, context: Value) -> Refused {
        Refused { error: self, context }
    }
}

/// A refusal, and what the application may know of it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: RequestError,
    pub(crate) context: Value,
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        error.because(json!({}))
    }
}
