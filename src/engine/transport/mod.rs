//! What carries the bytes of a session: HTTP long-polling or a WebSocket.

use std::{fmt, str::FromStr};

pub(crate) mod deflate;
pub(crate) mod frame;
pub(crate) mod polling;
pub(crate) mod websocket;

pub(crate) use self::frame::Partial;

/// What carries the bytes of a session now.
///
/// ```
/// use greenroom::{SocketIo, Transport, prelude::*};
///
/// // Without long-polling no load balancer has to be sticky.
/// SocketIo::builder().transports([Transport::WebSocket]).namespace(
///     Namespace::new("/").on_connect(|socket: Socket| async move {
///         println!("{} has come by {}", socket.id(), socket.transport());
///     }),
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling: GET requests wait for packets, POST requests bring them.
    Polling,
    /// A WebSocket (RFC 6455).
    WebSocket,
}

impl Transport {
    /// The name on the URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no transport of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Transport unknown")]
pub struct UnknownTransport;

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "polling" => Ok(Self::Polling),
            "websocket" => Ok(Self::WebSocket),
            _ => Err(UnknownTransport),
        }
    }
}
