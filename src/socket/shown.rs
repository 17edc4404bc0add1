//! Sockets in log lines.

use std::fmt;

use super::Socket;

/// The id of a socket, as far as logs may have it.
pub(crate) struct ShownId<'a>(&'a Socket);

impl Socket {
    /// The id for log lines. That of an old client is the secret id of its session, so whoever
    /// reads it could take the session over: it is left out.
    pub(crate) fn shown_id(&self) -> ShownId<'_> {
        ShownId(self)
    }
}

impl fmt::Display for ShownId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.protocol() == 3 { f.write_str("hidden") } else { self.0.id().fmt(f) }
    }
}
