//! Layer 8: the front door. [`SocketIo`] holds the namespaces and is mounted in actix-web.

mod builder;
mod directory;
mod placement;

use std::{fmt, future::Future, sync::Arc};

use actix::prelude::*;
use actix_web::dev::{AppService, HttpServiceFactory};

pub use self::builder::SocketIoBuilder;
pub(crate) use self::directory::Namespaces;
use self::placement::Placement;
#[cfg(feature = "testing")]
use crate::socket::Codec;
use crate::{
    connection::{Client, Shared},
    engine::{Engine, RequestError, Service, link::Opening, routes},
    metrics::{Metrics, Snapshot},
    namespace::{
        Namespace,
        messages::{Entrance, Place},
    },
    room::{IntoRooms, SocketId},
    socket::{
        BroadcastOperator, OperatorBase,
        home::{Common, Home},
    },
};

/// A Socket.IO server.
///
/// Start it once, outside the factory closure of `HttpServer`, and clone it into every worker's
/// application: the closure runs once per worker, and a server started in it would be a different
/// server, with its own namespaces, on each of them.
///
/// ```no_run
/// use actix_web::{App, HttpServer};
/// use greenroom::{Ack, Namespace, Socket, SocketIo};
///
/// #[actix_web::main]
/// async fn main() -> std::io::Result<()> {
///     let io = SocketIo::builder()
///         .namespace(Namespace::new("/").on("double", |_: Socket, n: u64| async move { Ack(n * 2) }))
///         .start();
///     HttpServer::new(move || App::new().service(io.clone()))
///         .h1_allow_half_closed(false)
///         .tcp_nodelay(true)
///         .bind(("127.0.0.1", 3000))?
///         .run()
///         .await
/// }
/// ```
#[derive(Clone)]
pub struct SocketIo {
    engine: Arc<Engine<Door>>,
    main: Arc<Home>,
}

impl fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIo").finish_non_exhaustive()
    }
}

/// What opens for every new session.
pub(crate) struct Door {
    connections: Arc<Shared>,
    namespaces: Namespaces,
    placement: Placement,
    metrics: Arc<Metrics>,
    common: Common,
}

impl Service for Door {
    type Protocol = Client;

    fn open(&self, worker: usize, _opening: &Opening) -> Client {
        let place = Place { worker, arbiter: Arbiter::current() };
        Client::new(Arc::clone(&self.connections), place)
    }

    fn worker_joined(&self, _worker: usize) {
        self.placement.worker_joined(Arbiter::current());
    }

    fn refused(&self, _error: &RequestError) {
        self.metrics.requests_refused.increment();
    }
}

impl SocketIo {
    /// All options, with the reference's defaults.
    pub fn builder() -> SocketIoBuilder {
        SocketIoBuilder::default()
    }

    /// A server with default options and this one namespace (besides `/`).
    ///
    /// # Panics
    /// As [`SocketIoBuilder::start`].
    #[track_caller]
    pub fn new(namespace: Namespace) -> Self {
        Self::builder().namespace(namespace).start()
    }

    /// Starts a namespace; clients can join it at once. If one of that name runs already, its
    /// address is returned and the new description is dropped.
    ///
    /// The actor runs on one of the HTTP workers as soon as there are any, see
    /// `docs/actors.md`.
    pub fn spawn(&self, namespace: Namespace) -> Addr<Namespace> {
        self.engine.service.open(namespace).addr.clone()
    }

    /// The operator of a running namespace: emit to it, to its rooms, with exceptions and flags.
    pub fn of(&self, name: &str) -> Option<BroadcastOperator> {
        let name = directory::normalized(name);
        let entrance = self.engine.service.namespaces.entrance(&name)?;
        Some(entrance.home.operator())
    }

    /// The address of a running namespace.
    pub fn namespace(&self, name: &str) -> Option<Addr<Namespace>> {
        Some(self.engine.service.namespaces.entrance(&directory::normalized(name))?.addr.clone())
    }

    /// The names of all running namespaces, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        self.engine.service.namespaces.names()
    }

    /// The operator of the main namespace `/`, which always exists.
    pub fn sockets(&self) -> BroadcastOperator {
        self.main.operator()
    }

    /// Sends an event to every socket of the main namespace.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn emit<T: serde::Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), crate::EmitError> {
        self.sockets().emit(event, data)
    }

    /// Sends the event `message` to every socket of the main namespace.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn send<T: serde::Serialize + ?Sized>(&self, data: &T) -> Result<(), crate::EmitError> {
        self.sockets().send(data)
    }

    /// The sockets of one room or several of the main namespace.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.sockets().to(rooms)
    }

    /// The same as [`SocketIo::to`].
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// The sockets of the main namespace without those of one room or several.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.sockets().except(rooms)
    }

    /// The ids of all sockets of the main namespace.
    pub async fn members(&self) -> Vec<SocketId> {
        self.sockets().members().await
    }

    /// Engine.IO sessions that are open now.
    pub fn clients_count(&self) -> usize {
        self.engine.workers.sessions()
    }

    /// The counters of this server.
    pub fn metrics(&self) -> Snapshot {
        self.engine.service.metrics.snapshot()
    }

    /// The path the server answers under, with its slash at the end.
    pub fn path(&self) -> String {
        self.engine.config.mount_path()
    }

    /// Closes every connection with the reason "server shutting down", then ends the namespaces.
    /// New sessions are refused with status 503. The HTTP server itself goes on.
    ///
    /// Done when the `disconnect` listeners of all sockets have been called.
    pub fn close(&self) -> impl Future<Output = ()> + use<> {
        let engine = Arc::clone(&self.engine);
        engine.stop_accepting();
        async move {
            engine.close().await;
            engine.service.namespaces.stop().await;
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn codec(&self) -> &Codec {
        &self.engine.service.common.codec
    }

    #[cfg(feature = "testing")]
    pub(crate) fn engine(&self) -> &Arc<Engine<Door>> {
        &self.engine
    }

    /// Makes clients find a namespace that was started without this server.
    #[cfg(feature = "testing")]
    pub(crate) fn adopt(&self, entrance: Arc<Entrance>) {
        self.engine.service.namespaces.replace(entrance);
    }
}

impl Door {
    /// Starts a namespace unless one of its name runs; the way into whichever runs then.
    fn open(&self, mut namespace: Namespace) -> Arc<Entrance> {
        namespace.join_server(&self.metrics, &self.common);
        let (addr, receiver) = placement::mailbox();
        let name = namespace.name().to_owned();
        let entrance = namespace.entrance(&addr);
        match self.namespaces.register(&name, entrance.clone()) {
            Ok(()) => {
                let (list, listed) = (self.namespaces.clone(), Arc::clone(&entrance.home));
                namespace.on_end(move || list.forget(&listed));
                self.placement.place(namespace, receiver);
                entrance
            }
            Err(running) => running,
        }
    }
}

impl HttpServiceFactory for SocketIo {
    fn register(self, app: &mut AppService) {
        routes::register(&self.engine, app);
    }
}
