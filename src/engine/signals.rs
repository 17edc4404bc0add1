//! The signals that ask a process to end.

use std::io;

use tracing::error;

#[cfg(unix)]
use actix_web::rt::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT; elsewhere than on Unix, Ctrl-C.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    streams: [Signal; 2],
}

impl Signals {
    /// From now on the process does not end by them any more. `None` if they cannot be heard.
    pub(crate) fn new() -> Option<Self> {
        Self::listen().inspect_err(|error| error!(%error, "signals cannot be heard")).ok()
    }

    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        Ok(Self { streams: [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?] })
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next of them.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        let [terminate, interrupt] = &mut self.streams;
        let (terminate, interrupt) = (terminate.recv(), interrupt.recv());
        futures_util::future::select(std::pin::pin!(terminate), std::pin::pin!(interrupt)).await;
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        if let Err(error) = actix_web::rt::signal::ctrl_c().await {
            error!(%error, "signals cannot be heard");
            std::future::pending::<()>().await;
        }
    }
}
