//! From a socket back to its server.

use std::sync::{Arc, OnceLock};

use super::{SocketIo, WeakSocketIo};
use crate::socket::Socket;

/// Shared with all namespaces of a server, as the values of the application are. It does not keep
/// the server: that keeps the namespaces.
#[derive(Clone, Default)]
pub(super) struct Own(Arc<OnceLock<WeakSocketIo>>);

impl Own {
    /// What all sockets find from now on.
    pub(super) fn know(&self, io: &SocketIo) {
        let _ = self.0.set(io.downgrade());
    }
}

impl Socket {
    /// The server that the socket belongs to, to reach what is outside of its namespace: other
    /// namespaces, or a new one.
    ///
    /// `None` when the server has been dropped, and of a namespace that was started without a
    /// server, like any actor.
    ///
    /// ```no_run
    /// use greenroom::prelude::*;
    ///
    /// Namespace::new("/").on("report", |socket: Socket, text: String| async move {
    ///     let Some(io) = socket.server() else { return Ok(()) };
    ///     match io.of("/moderators") {
    ///         Some(moderators) => moderators.emit("reported", &(socket.id(), text)),
    ///         None => Ok(()),
    ///     }
    /// });
    /// ```
    pub fn server(&self) -> Option<SocketIo> {
        self.shared::<Own>()?.0.get()?.upgrade()
    }
}
