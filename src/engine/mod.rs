//! Layer 1: bytes ↔ messages of one session. It knows no Socket.IO.
//!
//! A client opens a *session* by HTTP ([`Transport::Polling`]) or directly on a WebSocket, and may
//! move from the first to the second. The session's actor lives on the worker that opened it; what
//! carries its bytes may change and may run elsewhere. Heartbeats find out dead clients.
//!
//! The layer is usable by itself, see [`EngineIo`].

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::error;

use self::{
    admission::{Admission, Seat},
    link::{Opening, Protocol},
    registry::{Sessions, Workers},
    routes::Refused,
    transport::websocket,
    unharmed::{Panicked, unharmed_future},
};
pub use self::{
    cookie::{Cookie, CookiePriority, SameSite},
    cors::Cors,
    handshake::{Headers, Request},
    hooks::{BoxedErrorListener, ConnectionError, Hooks, OnConnectionError},
    lean::LeanHttp,
    link::ConnectionEvent,
    outbox::WhenFull,
    packet::Message,
    proxies::TrustedProxies,
    routes::RequestError,
    session::CloseReason,
    standalone::{EngineIo, EngineSocket, Opened},
    supervision::start_supervised,
    transport::{
        Transport, UnknownTransport,
        deflate::{PerMessageDeflate, WindowBits},
        websocket::bare_websocket,
    },
    unread::{close_unread_after, unread_timeout},
};
pub use crate::config::Config;
use crate::{config, metrics::Metrics};

mod admission;
pub(crate) mod compression;
mod cookie;
pub(crate) mod cors;
pub(crate) mod dialect;
pub(crate) mod drain;
pub(crate) mod frame;
pub(crate) mod handshake;
mod hooks;
mod lean;
pub(crate) mod link;
pub(crate) mod outbox;
pub(crate) mod packet;
pub(crate) mod payload;
pub(crate) mod pipe;
mod proxies;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod routes;
pub(crate) mod session;
pub(crate) mod signals;
mod standalone;
pub(crate) mod supervision;
pub(crate) mod transport;
pub(crate) mod unharmed;
mod unread;

/// The application refuses a handshake: status 403, code 4.
///
/// ```
/// use greenroom::{Refusal, SocketIo};
///
/// SocketIo::builder().allow_request(|request| async move {
///     match request.query("token") {
///         Some("secret") => Ok(()),
///         Some(_) => Err(Refusal::message("wrong token")),    // {"code":4,"message":"wrong token"}
///         None => Err(Refusal::new()),                        // {"code":4,"message":"Forbidden"}
///     }
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal(pub(crate) Option<String>);

impl Refusal {
    /// Refuses with the protocol's own text, "Forbidden".
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses with this message.
    pub fn message(text: impl Into<String>) -> Self {
        Self(Some(text.into()))
    }
}

pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// The layer above, as the engine needs it: it makes a protocol for every new session.
pub(crate) trait Service: Send + Sync + 'static {
    type Protocol: Protocol;
    /// The counters of the server.
    fn metrics(&self) -> Arc<Metrics>;
    /// A session was opened on this worker.
    fn open(&self, worker: usize, opening: &Opening) -> Self::Protocol;
    /// A worker has registered the endpoint; called on its thread.
    fn worker_joined(&self, worker: usize);
    /// A request was refused; so many listeners could not be told.
    fn refused(&self, error: &RequestError, untold: usize);
}

/// All sessions of one server, whatever is spoken on them.
pub(crate) struct Engine<S> {
    pub(crate) config: Arc<Config>,
    pub(crate) hooks: Hooks,
    pub(crate) workers: Workers,
    pub(crate) service: S,
    pub(crate) websocket: websocket::Setup,
    admission: Arc<Admission>,
    accepting: AtomicBool,
}

impl<S> fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Service> Engine<S> {
    pub(crate) fn new(config: Config, hooks: Hooks, service: S) -> Self {
        Self {
            websocket: websocket::Setup::new(&config, service.metrics()),
            admission: Arc::new(Admission::new(&config, service.metrics())),
            workers: Workers::new(service.metrics()),
            config: Arc::new(config),
            hooks,
            service,
            accepting: AtomicBool::new(true),
        }
    }

    /// Calls user code on behalf of a request.
    ///
    /// # Errors
    /// If it panics, which is counted.
    fn unharmed<T>(&self, call: impl FnOnce() -> T) -> Result<T, Refused> {
        unharmed::unharmed(call).map_err(|panicked| self.panicked(&panicked))
    }

    fn panicked(&self, Panicked(reason): &Panicked) -> Refused {
        self.service.metrics().panics.increment();
        error!(reason, "a hook of requests panicked");
        RequestError::HookPanicked.into()
    }

    /// Asks user code about a request. It has [`Config::hook_timeout`] to answer.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let answer = unharmed_future(question);
        match tokio::time::timeout(self.config.hook_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panicked)) => Err(self.panicked(&panicked)),
            Err(_) => Err(RequestError::HookTimeout.into()),
        }
    }

    /// Makes the current arbiter one of the server's workers.
    pub(crate) fn join_worker(&self) -> Sessions {
        let sessions = self.workers.join();
        self.service.worker_joined(sessions.worker());
        sessions
    }

    /// A place for a client of this address, if there is one.
    pub(crate) fn admit(&self, address: Option<SocketAddr>) -> Result<Seat, RequestError> {
        self.admission.admit(address)
    }

    /// Whether [`Engine::admit`] wants to know the address.
    pub(crate) fn counts_addresses(&self) -> bool {
        self.admission.counts_addresses()
    }

    pub(crate) fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    /// The opposite of [`Engine::stop_accepting`].
    pub(crate) fn start_accepting(&self) {
        self.accepting.store(true, Ordering::Release);
    }

    /// From now on nobody can open a session.
    pub(crate) fn stop_accepting(&self) {
        self.accepting.store(false, Ordering::Release);
    }

    /// Ends every session; done when the last one has.
    pub(crate) async fn close(&self) {
        self.stop_accepting();
        self.workers.close().await;
    }
}
