//! Why a request is refused.

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
    /// Code 5: another revision of the protocol than 4, or than 3 and 4 if both are allowed.
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
}
