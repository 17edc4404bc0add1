//! Engine.IO by itself, for applications that want ordered messages on a session and nothing more.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web::dev::{AppService, HttpServiceFactory};
use smallvec::smallvec;
use tokio::time::Instant;
use tracing::error;

use super::{
    Config, Engine, Hooks, Message as Data, Refusal, Request, RequestError, Service,
    drain::Plan,
    frame::Frame,
    link::{ConnectionEvent, Link, Opening, Protocol},
    pipe::Pipe,
    routes,
    session::CloseReason,
    signals::{self, Signals},
    unharmed::{Panicked, unharmed},
};
use crate::metrics::{Metrics, Snapshot};

type OnOpen = Box<dyn Fn(EngineSocket) -> Opened + Send + Sync>;

/// An Engine.IO server: mount it like any actix-web service.
///
/// ```no_run
/// use actix_web::{App, HttpServer};
/// use greenroom::engine::{Config, EngineIo, Opened};
///
/// #[actix_web::main]
/// async fn main() -> std::io::Result<()> {
///     let mut config = Config::default();
///     config.path = "/engine.io".into();
///     let engine = EngineIo::new(config, |socket| {
///         Opened::new(move |message| socket.send(message))
///     });
///     HttpServer::new(move || App::new().service(engine.clone()))
///         .h1_allow_half_closed(false)
///         .tcp_nodelay(true)
///         .bind(("127.0.0.1", 3000))?
///         .run()
///         .await
/// }
/// ```
#[derive(Clone)]
pub struct EngineIo(Arc<Engine<Standalone>>);

impl fmt::Debug for EngineIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What to do with a session that was just opened: its listeners.
///
/// ```
/// use greenroom::engine::{Config, EngineIo, Opened};
///
/// let engine = EngineIo::new(Config::default(), |socket| {
///     let address = socket.request().address;
///     Opened::new(move |message| socket.send(message))
///         .on_close(move |reason| println!("{address:?} has gone: {reason}"))
/// });
/// ```
#[must_use]
pub struct Opened {
    on_message: Box<dyn FnMut(Data)>,
    on_close: Option<Box<dyn FnOnce(CloseReason)>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    /// Calls `listener` with each message, on the worker of the session. If it panics, that message is
    /// lost, it is counted in [`Snapshot::panics`], and the session goes on.
    pub fn new(listener: impl FnMut(Data) + 'static) -> Self {
        Self { on_message: Box::new(listener), on_close: None }
    }

    /// Calls `listener` once when the session has ended.
    pub fn on_close(mut self, listener: impl FnOnce(CloseReason) + 'static) -> Self {
        self.on_close = Some(Box::new(listener));
        self
    }
}

impl EngineIo {
    /// A server whose sessions are each introduced to `on_open`, on the worker that opened them. If it
    /// panics, that session is not opened: status 500, counted in [`Snapshot::panics`].
    ///
    /// # Panics
    /// If an option makes no sense: no transports, or zero for `ping_interval`, `ping_timeout`,
    /// `max_http_buffer_size`, `max_outbox_bytes`, `max_outbox_packets` or a limit of connections.
    #[track_caller]
    pub fn new(
        config: Config,
        on_open: impl Fn(EngineSocket) -> Opened + Send + Sync + 'static,
    ) -> Self {
        Self::with_hooks(config, Hooks::new(), on_open)
    }

    /// The same, asking `allow` before a session is opened.
    ///
    /// # Panics
    /// As [`EngineIo::new`].
    #[track_caller]
    pub fn with_allow_request<F, Fut>(
        config: Config,
        allow: F,
        on_open: impl Fn(EngineSocket) -> Opened + Send + Sync + 'static,
    ) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        Self::with_hooks(config, Hooks::new().allow_request(allow), on_open)
    }

    /// The same with functions of the application that are called when requests come.
    ///
    /// # Panics
    /// As [`EngineIo::new`].
    #[track_caller]
    pub fn with_hooks(
        config: Config,
        hooks: Hooks,
        on_open: impl Fn(EngineSocket) -> Opened + Send + Sync + 'static,
    ) -> Self {
        config.check();
        let standalone = Standalone { on_open: Box::new(on_open), metrics: Arc::default() };
        Self(Arc::new(Engine::new(config, hooks, standalone)))
    }

    /// Sessions that are open now.
    pub fn clients_count(&self) -> usize {
        self.0.workers.sessions()
    }

    /// What happened since the start, and what was refused or dropped. What concerns namespaces stays 0.
    pub fn metrics(&self) -> Snapshot {
        self.0.service.metrics.snapshot()
    }

    /// Refuses new sessions with status 503, and closes those that are open one after the other:
    /// `rate` per second, or faster, evenly, if they are too many for three quarters of the time. Each
    /// gets what was sent to it before. What is left after `deadline` is cut off.
    pub fn drain(&self, deadline: Duration, rate: u32) -> impl Future<Output = ()> + Send + use<> {
        let engine = Arc::clone(&self.0);
        engine.stop_accepting();
        let plan = Plan { deadline: Instant::now() + deadline, rate };
        async move {
            engine.drain(plan).await;
            engine.close().await;
        }
    }

    /// Waits for SIGTERM or SIGINT, then [drains](Self::drain); for `HttpServer::shutdown_signal`, as
    /// [`SocketIo::drain_on_signal`](crate::SocketIo::drain_on_signal).
    ///
    /// # Panics
    /// Outside an actix system.
    pub fn drain_on_signal(
        &self,
        deadline: Duration,
        rate: u32,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (engine, signals) = (self.clone(), Signals::new());
        async move {
            if !signals::drained(signals, || engine.drain(deadline, rate)).await {
                engine.close().await;
            }
        }
    }

    /// Closes every session and refuses new ones. Done when all have ended.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl HttpServiceFactory for EngineIo {
    fn register(self, app: &mut AppService) {
        routes::register(&self.0, app);
    }
}

struct Standalone {
    on_open: OnOpen,
    metrics: Arc<Metrics>,
}

impl Service for Standalone {
    type Protocol = Raw;

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    fn open(&self, _worker: usize, opening: &Opening) -> Raw {
        let socket =
            EngineSocket { pipe: opening.pipe.clone(), request: Arc::clone(&opening.request) };
        Raw { listeners: (self.on_open)(socket) }
    }

    fn worker_joined(&self, _worker: usize) {}

    fn refused(&self, error: &RequestError, untold: usize) {
        error.count(&self.metrics, untold);
    }
}

/// The protocol of no protocol: messages as they come.
pub(crate) struct Raw {
    listeners: Opened,
}

impl Protocol for Raw {
    fn opened(link: &mut Link<Self>, _ctx: &mut Context<Link<Self>>) {
        link.metrics().sessions_opened.increment();
        link.settle();
    }

    fn message(link: &mut Link<Self>, message: Data, _ctx: &mut Context<Link<Self>>) {
        let listener = &mut link.upper.listeners.on_message;
        let called = unharmed(|| listener(message));
        link.count_panic(called);
    }

    fn noticed(_: &mut Link<Self>, _: ConnectionEvent, _: &mut Context<Link<Self>>) {}

    fn turn(_: &mut Link<Self>, _: &mut Context<Link<Self>>) {}

    fn closed(link: &mut Link<Self>, reason: CloseReason, ctx: &mut Context<Link<Self>>) {
        link.metrics().sessions_closed.increment();
        match reason {
            CloseReason::SlowClient => link.metrics().slow_clients_closed.increment(),
            CloseReason::PingTimeout => link.metrics().ping_timeouts.increment(),
            _ => {}
        }
        if let Some(listener) = link.upper.listeners.on_close.take() {
            let called = unharmed(|| listener(reason));
            link.count_panic(called);
        }
        link.finish(ctx);
    }

    fn ready(&self) -> bool {
        true
    }

    fn in_flight(_: &Link<Self>) -> usize {
        0
    }

    fn draining(_: &mut Link<Self>) {}
}

impl Link<Raw> {
    /// A listener that panics costs what it was told, not the session.
    fn count_panic(&self, called: Result<(), Panicked>) {
        if let Err(Panicked(reason)) = called {
            self.metrics().panics.increment();
            error!(reason, "listener panicked");
        }
    }
}

/// One session: a cheap handle that may be sent anywhere.
///
/// ```
/// use greenroom::engine::{Config, EngineIo, EngineSocket, Message, Opened};
///
/// fn greet(socket: EngineSocket) -> Opened {
///     socket.send(Message::Text("welcome".into()));
///     Opened::new(move |message| match message {
///         Message::Text(text) if &*text == "bye" => socket.close(),
///         other => socket.send(other),
///     })
/// }
/// let engine = EngineIo::new(Config::default(), greet);
/// ```
#[derive(Clone, Debug)]
pub struct EngineSocket {
    pipe: Pipe,
    request: Arc<Request>,
}

impl EngineSocket {
    /// Sends a message; text as text and binary as binary. Nothing is sent once the session ends.
    pub fn send(&self, message: Data) {
        self.pipe.send(smallvec![Frame::message(&message)], false);
    }

    /// Sends what waits, then ends the session.
    pub fn close(&self) {
        self.pipe.ask_close();
    }

    /// The request that opened the session.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The revision of the protocol that the client speaks: 4, or 3 if it is allowed.
    pub fn protocol(&self) -> u8 {
        self.request.protocol()
    }

    /// What carries the session's bytes now.
    pub fn transport(&self) -> super::Transport {
        self.pipe.transport()
    }
}
