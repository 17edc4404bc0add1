//! Leaving the stage for a deploy: refusing newcomers, closing clients one after the other, saying
//! to load balancers that there is nobody at home.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    dev::{AppService, HttpServiceFactory},
    http::header,
    web,
};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::{Door, SocketIo, end_all};
use crate::{
    engine::{
        Engine,
        drain::Plan,
        routes::RETRY_AFTER,
        signals::{self, Signals},
    },
    packet::EncodeError,
    room::Broadcast,
};

/// How long the end may take after the deadline: what is left is cut off, and its `disconnect`
/// listeners are called.
const END: Duration = Duration::from_millis(1500);

/// How a server is emptied, see [`SocketIo::drain`].
///
/// ```
/// use std::time::Duration;
/// use greenroom::Drain;
///
/// # fn main() -> Result<(), greenroom::EncodeError> {
/// let drain = Drain::new()
///     .deadline(Duration::from_secs(60))
///     .rate(500)
///     .announce("restart", &"back in a minute")?;
/// # drop(drain); Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Drain {
    deadline: Duration,
    rate: u32,
    announcement: Option<Broadcast>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(20), rate: 1000, announcement: None }
    }
}

impl Drain {
    /// 20 seconds, 1,000 clients per second, no announcement.
    pub fn new() -> Self {
        Self::default()
    }

    /// Time until whoever is left is cut off. It must be shorter than the time after which the
    /// process is killed, by two seconds at least. Default 20 s, as Kubernetes kills after 30.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Clients that are closed per second; they come back to another server at this rate. If there
    /// are more than fit into three quarters of the time, they are closed faster, evenly. Default
    /// 1,000; zero counts as one.
    pub fn rate(mut self, clients: u32) -> Self {
        self.rate = clients;
        self
    }

    /// Sends an event to all sockets of all namespaces before the first one is closed. Default: none.
    ///
    /// # Errors
    /// If the name is reserved, or the data has no JSON form.
    pub fn announce<T: Serialize + ?Sized>(
        mut self,
        event: &str,
        data: &T,
    ) -> Result<Self, EncodeError> {
        self.announcement = Some(Broadcast::everyone().event(event, data)?);
        Ok(self)
    }
}

/// What became of the clients of a server that was drained.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// async fn leave(io: &SocketIo) {
///     let report = io.drain(Drain::new()).await;
///     println!("{} clients have gone elsewhere", report.closed);
///     if report.cut > 0 || !report.complete {
///         eprintln!("{} were cut off: is the deadline too short?", report.cut);
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Sessions that ended before the deadline.
    pub closed: usize,
    /// Answers that were in flight, in either direction, when their sessions were told to end.
    pub acks_awaited: usize,
    /// Sessions that were cut off at the deadline, with what was in flight.
    pub cut: usize,
    /// Whether all `disconnect` listeners had been called and all namespaces had ended when it was
    /// over. If not, something kept them busy for longer than 1.5 seconds.
    pub complete: bool,
}

impl SocketIo {
    /// Empties the server before the process ends, so that a deploy is felt as little as possible:
    ///
    /// 1. [`is_ready`](Self::is_ready) is false from the call on, and new sessions are refused with
    ///    status 503 and `Retry-After`. Open sessions go on.
    /// 2. The announcement is sent, if there is one.
    /// 3. The sessions are told to end, in random order, spread over time. Each ends when nothing is
    ///    in flight: when its client has the acks it asked for, has given those it was asked for, and
    ///    has got what was sent to it. Its sockets hear "server shutting down"; its client hears
    ///    "transport close" and connects again by itself.
    /// 4. What is left at the deadline is cut off, and the namespaces end, as with
    ///    [`close`](Self::close). That takes 1.5 seconds at most, however clients and listeners
    ///    behave.
    ///
    /// The HTTP server goes on; stop it afterwards. [`drain_on_signal`](Self::drain_on_signal) does
    /// both. If the future is dropped, the server stays closed to newcomers, and who is there stays.
    ///
    /// Not waited for: listeners that nobody expects an ack of.
    pub fn drain(&self, drain: Drain) -> impl Future<Output = DrainReport> + use<> {
        let engine = Arc::clone(&self.engine);
        engine.stop_accepting();
        let deadline = Instant::now() + drain.deadline;
        async move {
            let _closing = engine.service.closing.lock().await;
            // Not if it has been opened again meanwhile.
            if engine.is_accepting() {
                DrainReport::default()
            } else {
                empty(&engine, drain, deadline).await
            }
        }
    }

    /// Waits for SIGTERM or SIGINT (elsewhere than on Unix: for Ctrl-C), then [drains](Self::drain) the
    /// server. A second signal cuts off who is left at once. Made for actix-web's
    /// [`shutdown_signal`](actix_web::HttpServer::shutdown_signal), which stops the HTTP server when
    /// this is done:
    ///
    /// ```no_run
    /// use actix_web::{App, HttpServer};
    /// use greenroom::{Drain, SocketIo};
    ///
    /// # #[actix_web::main]
    /// # async fn main() -> std::io::Result<()> {
    /// let io = SocketIo::builder().start();
    /// let drained = io.drain_on_signal(Drain::new());
    /// HttpServer::new(move || App::new().service(io.clone()))
    ///     .shutdown_signal(drained)
    ///     .shutdown_timeout(1)
    ///     .bind(("127.0.0.1", 3000))?
    ///     .run()
    ///     .await
    /// # }
    /// ```
    ///
    /// The signals are heard from the call on, so that none is missed. `shutdown_timeout` is the time
    /// that other requests have afterwards, and clients that do not read; actix-web's default is 30
    /// seconds.
    ///
    /// # Panics
    /// Outside an actix system.
    ///
    /// # Errors
    /// None: if the signals cannot be heard, that is logged, and it waits for ever.
    pub fn drain_on_signal(&self, drain: Drain) -> impl Future<Output = ()> + Send + use<> {
        let (io, signals) = (self.clone(), Signals::new());
        async move {
            if !signals::drained(signals, || io.drain(drain)).await
                && timeout(END, io.close()).await.is_err()
            {
                warn!("not every listener of a disconnection has come to its end");
            }
        }
    }

    /// Whether the server takes new clients: not since [`drain`](Self::drain) or
    /// [`close`](Self::close) was called.
    pub fn is_ready(&self) -> bool {
        self.engine.is_accepting()
    }

    /// A resource for load balancers, to be mounted with `App::service`: it answers 200 while
    /// [`is_ready`](Self::is_ready), 503 with `Retry-After` afterwards.
    ///
    /// ```
    /// # use actix_web::App;
    /// # use greenroom::SocketIo;
    /// # actix::System::new().block_on(async {
    /// let io = SocketIo::builder().start();
    /// App::new().service(io.readiness("/readyz")).service(io.clone());
    /// # });
    /// ```
    pub fn readiness(&self, path: impl Into<String>) -> Readiness {
        Readiness { engine: Arc::clone(&self.engine), path: path.into() }
    }
}

/// Time that namespaces have for passing on an announcement before sessions are told to end.
const ANNOUNCING: Duration = Duration::from_secs(1);

/// Empties the server and ends its namespaces.
async fn empty(engine: &Engine<Door>, drain: Drain, deadline: Instant) -> DrainReport {
    let metrics = &engine.service.metrics;
    let before = metrics.snapshot();
    if let Some(announcement) = &drain.announcement {
        engine.service.catalog.broadcast(announcement);
        // A session ends as soon as nothing waits for its client: first it has to wait there.
        let until = deadline.min(Instant::now() + ANNOUNCING);
        if timeout_at(until, engine.service.catalog.flush()).await.is_err() {
            warn!("a namespace is too busy to pass on the announcement: some may not hear it");
        }
    }
    let sessions = engine.drain(Plan { deadline, rate: drain.rate }).await;
    let cut = engine.workers.sessions();
    let complete = timeout(END, end_all(engine)).await.is_ok();
    let closed = sessions.saturating_sub(cut);
    metrics.sessions_drained.add(closed as u64);
    metrics.drain_sessions_cut.add(cut as u64);
    let acks_awaited = metrics.snapshot().drain_acks_awaited - before.drain_acks_awaited;
    let acks_awaited = usize::try_from(acks_awaited).unwrap_or(usize::MAX);
    let report = DrainReport { closed, acks_awaited, cut, complete };
    if cut == 0 && complete {
        info!(closed, acks_awaited, "drained");
    } else {
        warn!(closed, acks_awaited, cut, complete, "drained, but not all could be waited for");
    }
    report
}

/// Tells load balancers whether the server takes clients: [`SocketIo::readiness`] makes one, and shows
/// it in an application.
#[derive(Clone)]
pub struct Readiness {
    engine: Arc<Engine<Door>>,
    path: String,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("path", &self.path).finish_non_exhaustive()
    }
}

impl HttpServiceFactory for Readiness {
    fn register(self, app: &mut AppService) {
        let Self { engine, path } = self;
        let answer = move || {
            let ready = engine.is_accepting();
            async move {
                let mut response = if ready {
                    HttpResponse::Ok()
                } else {
                    let mut response = HttpResponse::ServiceUnavailable();
                    response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
                    response
                };
                response.insert_header((header::CACHE_CONTROL, "no-store"));
                response.content_type("text/plain; charset=utf-8");
                response.body(if ready { "ready" } else { "not ready" })
            }
        };
        web::resource(path).to(answer).register(app);
    }
}
