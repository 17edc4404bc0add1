//! The signals that ask a process to end.

use std::{
    future::{Future, pending},
    io,
    pin::pin,
};

use futures_util::future::{Either, select};
use tracing::{error, info, warn};

#[cfg(unix)]
use actix_web::rt::signal::unix::{Signal, SignalKind, signal};

/// Waits for a signal, then for what `drain` begins: `true` when that is done, `false` when a second
/// signal came before. If signals cannot be heard, it waits for ever.
pub(crate) async fn drained<F: Future>(
    signals: Option<Signals>,
    drain: impl FnOnce() -> F,
) -> bool {
    let Some(mut signals) = signals else { return pending().await };
    signals.next().await;
    info!("asked to end: the server drains");
    let done = matches!(select(pin!(drain()), pin!(signals.next())).await, Either::Left(_));
    if !done {
        warn!("asked to end once more: who is left is cut off");
    }
    done
}

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
        select(pin!(terminate), pin!(interrupt)).await;
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        if let Err(error) = actix_web::rt::signal::ctrl_c().await {
            error!(%error, "signals cannot be heard");
            pending::<()>().await;
        }
    }
}
