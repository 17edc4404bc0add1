//! How a socket came, and why it went.

use std::{fmt, sync::Arc};

use serde_json::Value;

use crate::engine::{CloseReason, Request};

/// Why a socket left its namespace, in the words of the reference.
///
/// ```
/// use greenroom::{CloseReason, prelude::*};
///
/// Namespace::new("/").on_disconnect(|socket: Socket, reason: DisconnectReason| async move {
///     match reason {
///         DisconnectReason::ClientNamespaceDisconnect => println!("{} said goodbye", socket.id()),
///         DisconnectReason::Session(CloseReason::PingTimeout) => println!("{} is not heard of", socket.id()),
///         other => println!("{}: {other}", socket.id()),                // in the words of JavaScript
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The session ended.
    Session(CloseReason),
    /// The server closed the connection: the client sent what it must not, or joined no namespace
    /// in time.
    ForcedServerClose,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server put the socket out of the namespace.
    ServerNamespaceDisconnect,
    /// The credentials of its client have expired, see [`Socket::expire_in`](crate::Socket::expire_in).
    CredentialsExpired,
}

impl DisconnectReason {
    /// The reason as Socket.IO spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session(reason) => reason.as_str(),
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::CredentialsExpired => "credentials expired",
        }
    }

    /// Whether the client of such a socket may have it back: neither side wanted its end.
    pub(crate) fn is_recoverable(self) -> bool {
        match self {
            Self::Session(CloseReason::ParseError)
            | Self::ClientNamespaceDisconnect
            | Self::ServerNamespaceDisconnect
            | Self::CredentialsExpired => false,
            Self::Session(_) | Self::ForcedServerClose => true,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The facts of a connection's opening, and what the client gave when it joined this namespace.
///
/// ```
/// use greenroom::prelude::*;
///
/// fn describe(socket: &Socket) -> String {
///     let handshake = socket.handshake();
///     let agent = handshake.request.headers.get("user-agent").unwrap_or_default();
///     let language = handshake.request.query("lang").unwrap_or("en");          // io({ query: { lang: "de" } })
///     let name = handshake.auth["name"].as_str().unwrap_or("nobody");          // io({ auth: { name: "ann" } })
///     format!("{name} from {:?} with {agent}, {language}", handshake.request.address)
/// }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Handshake {
    /// The request that opened the connection.
    pub request: Arc<Request>,
    /// The `auth` of the client; an empty object if it gave none.
    pub auth: Value,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values carry credentials, as those of headers do, and the secret of recovery.
        let names: Vec<&String> =
            self.auth.as_object().into_iter().flat_map(|auth| auth.keys()).collect();
        f.debug_struct("Handshake").field("request", &self.request).field("auth", &names).finish()
    }
}
