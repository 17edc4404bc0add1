//! Layer 8: the front door. [`SocketIo`] holds the namespaces and is mounted in actix-web.

mod admission;
mod bounds;
mod builder;
mod catalog;
#[cfg(feature = "client")]
mod client;
mod directory;
mod drain;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod exporting;
mod handle;
mod http;
mod parent;
mod parents;
mod placement;
mod spare;
mod typed;

use std::{fmt, future::Future, sync::Arc};

use actix::prelude::*;
use actix_web::dev::{AppService, HttpServiceFactory};
use futures_util::stream::{self, Stream, StreamExt};

use self::catalog::Catalog;
#[cfg(feature = "admin")]
pub(crate) use self::directory::normalized;
pub use self::{
    builder::SocketIoBuilder,
    drain::{Drain, DrainReport, Readiness},
    parent::ParentNamespace,
};
#[cfg(feature = "testing")]
use crate::namespace::messages::Entrance;
#[cfg(feature = "testing")]
use crate::socket::Codec;
use crate::{
    adapter::{ClusterState, node::Cluster},
    connection::{Client, Shared},
    engine::{Engine, RequestError, Service, link::Opening, routes},
    metrics::{Metrics, Snapshot},
    namespace::{Namespace, Parent, Stop, messages::Place},
    room::{IntoRooms, SocketId},
    socket::{BroadcastOperator, OperatorBase, RemoteSocket},
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
}

impl fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIo").finish_non_exhaustive()
    }
}

/// A [`SocketIo`] that does not keep the server.
#[derive(Clone)]
pub(crate) struct WeakSocketIo(std::sync::Weak<Engine<Door>>);

impl WeakSocketIo {
    pub(crate) fn upgrade(&self) -> Option<SocketIo> {
        self.0.upgrade().map(|engine| SocketIo { engine })
    }
}

/// What opens for every new session.
pub(crate) struct Door {
    connections: Arc<Shared>,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    /// Held while the server closes or opens.
    closing: tokio::sync::Mutex<()>,
    #[cfg(feature = "client")]
    serves_client: bool,
}

impl Service for Door {
    type Protocol = Client;

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    fn open(&self, worker: usize, _opening: &Opening) -> Client {
        let place = Place { worker, arbiter: Arbiter::current() };
        Client::new(Arc::clone(&self.connections), place)
    }

    fn worker_joined(&self, _worker: usize) {
        self.catalog.worker_joined(Arbiter::current());
    }

    fn refused(&self, error: &RequestError, untold: usize) {
        error.count(&self.metrics, untold);
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
        self.catalog().open(namespace).addr.clone()
    }

    /// Adds a parent of dynamic namespaces; clients can ask for its children at once. The handle
    /// sends to all of them.
    pub fn spawn_parent(&self, parent: Parent) -> ParentNamespace {
        let catalog = self.catalog();
        ParentNamespace::new(catalog.parents.add(parent, catalog.settings()))
    }

    /// The parent of that name: the first one whose pattern, or whose name if it is a function,
    /// is this.
    pub fn parent(&self, name: &str) -> Option<ParentNamespace> {
        self.catalog().parents.get(name).map(ParentNamespace::new)
    }

    /// The namespace of that name, whatever it takes: the one that runs, else a child of the first
    /// parent whose pattern takes the name, else a new one without listeners. This is what the
    /// `of()` of the Node.js reference does.
    pub fn namespace_or_new(&self, name: &str) -> Addr<Namespace> {
        self.catalog().of(&directory::normalized(name)).addr.clone()
    }

    /// Ends a namespace: its sockets are disconnected ("server namespace disconnect"), and clients
    /// do not find it any more. A child of a parent is born again when a client asks for it. Done
    /// when the last socket has left; whether there was one of that name. The main namespace `/`
    /// stays.
    pub async fn remove(&self, name: &str) -> bool {
        if directory::normalized(name) == "/" {
            return false;
        }
        let Some(addr) = self.namespace(name) else { return false };
        self.catalog().forget_name(&directory::normalized(name));
        addr.send(Stop).await.is_ok()
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.engine.service.catalog
    }

    /// The operator of a running namespace: emit to it, to its rooms, with exceptions and flags. It
    /// may be kept: when the namespace has ended, it works on the one that has its name then.
    pub fn of(&self, name: &str) -> Option<BroadcastOperator> {
        let name = directory::normalized(name);
        let entrance = self.catalog().running(&name)?;
        Some(entrance.home.operator())
    }

    /// The address of a running namespace.
    pub fn namespace(&self, name: &str) -> Option<Addr<Namespace>> {
        Some(self.catalog().running(&directory::normalized(name))?.addr.clone())
    }

    /// The names of all running namespaces, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        self.catalog().names()
    }

    /// The operator of the main namespace `/`, which always exists.
    pub fn sockets(&self) -> BroadcastOperator {
        self.catalog().main().operator()
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

    /// The sockets of the main namespace: a snapshot of each, and a handle.
    pub async fn fetch_sockets(&self) -> Vec<RemoteSocket> {
        self.sockets().fetch_sockets().await
    }

    /// Engine.IO sessions that are open now.
    pub fn clients_count(&self) -> usize {
        self.engine.workers.sessions()
    }

    /// The counters of this server.
    pub fn metrics(&self) -> Snapshot {
        self.engine.service.metrics.snapshot()
    }

    /// How this server's place in its cluster is; `None` without an
    /// [`adapter`](SocketIoBuilder::adapter).
    pub fn cluster_state(&self) -> Option<ClusterState> {
        self.cluster().map(|cluster| cluster.health.state())
    }

    /// Messages to other servers that wait because the cluster's engine is away; 0 without an
    /// [`adapter`](SocketIoBuilder::adapter). How long they wait is said by the adapter.
    pub fn cluster_messages_waiting(&self) -> usize {
        self.cluster().map_or(0, |cluster| cluster.health.waiting())
    }

    /// The same as [`cluster_state`](Self::cluster_state), now and each time that it changes; what lasts
    /// shorter than it takes to read may be passed over. Ends at once without an
    /// [`adapter`](SocketIoBuilder::adapter).
    ///
    /// ```no_run
    /// # use greenroom::{ClusterState, SocketIo, EmitError};
    /// # async fn tell(io: SocketIo) -> Result<(), EmitError> {
    /// use futures_util::StreamExt;
    ///
    /// let mut states = io.cluster_states();
    /// while let Some(state) = states.next().await {
    ///     // To the clients of this server, who are served meanwhile.
    ///     io.sockets().local().emit("others are heard", &(state == ClusterState::Linked))?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn cluster_states(&self) -> impl Stream<Item = ClusterState> + Send + Unpin + use<> {
        stream::iter(self.cluster().map(|cluster| cluster.health.states())).flatten()
    }

    /// Waits until all namespaces hear what the other servers of the cluster send; at once without
    /// an [`adapter`](SocketIoBuilder::adapter). As long as the engine cannot be reached, it waits.
    pub async fn cluster_ready(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.ready().await;
        }
    }

    fn cluster(&self) -> Option<&Cluster> {
        self.catalog().settings().common.cluster.as_ref()
    }

    /// The link to the cluster dies, to show that it is started again.
    #[cfg(feature = "testing")]
    pub(crate) fn kill_link(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.kill_link();
        }
    }

    /// A handle that does not keep the server.
    pub(crate) fn downgrade(&self) -> WeakSocketIo {
        WeakSocketIo(Arc::downgrade(&self.engine))
    }

    #[cfg(feature = "admin")]
    pub(crate) fn counters(&self) -> &Arc<Metrics> {
        &self.engine.service.metrics
    }

    /// See [`Catalog::set_tap`].
    #[cfg(feature = "admin")]
    pub(crate) fn set_tap(&self, tap: &Arc<crate::socket::tap::Tap>) -> bool {
        self.catalog().set_tap(tap)
    }

    /// Who asks, as the options about proxies have it.
    #[cfg(feature = "admin")]
    pub(crate) fn address_of(
        &self,
        request: &actix_web::HttpRequest,
    ) -> Option<std::net::SocketAddr> {
        routes::client_address(request, &self.engine.config)
    }

    /// The path the server answers under, with its slash at the end if it has one.
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
            let _closing = engine.service.closing.lock().await;
            // Not if it has been opened again meanwhile.
            if !engine.is_accepting() {
                end_all(&engine).await;
            }
        }
    }

    /// Takes clients again after [`SocketIo::close`]: the namespaces that were started by name run
    /// anew, with the listeners they had and without sockets. Addresses of the old ones are of no
    /// use any more. The HTTP server may be the same or another one.
    ///
    /// It waits for a `close` that is under way, and ends what one has left that was given up. A
    /// server that is open stays as it is.
    pub async fn reopen(&self) {
        let _closing = self.engine.service.closing.lock().await;
        if self.engine.is_accepting() {
            return;
        }
        end_all(&self.engine).await;
        self.catalog().reopen();
        self.engine.start_accepting();
    }

    #[cfg(feature = "testing")]
    pub(crate) fn codec(&self) -> &Codec {
        &self.catalog().settings().common.codec
    }

    #[cfg(feature = "testing")]
    pub(crate) fn engine(&self) -> &Arc<Engine<Door>> {
        &self.engine
    }

    /// Makes clients find a namespace that was started without this server.
    #[cfg(feature = "testing")]
    pub(crate) fn adopt(&self, entrance: Arc<Entrance>) {
        self.catalog().adopt(entrance);
    }
}

/// How long `close` waits for what was broadcast before.
const FLUSH_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(250);

/// Ends every session and then every namespace.
async fn end_all(engine: &Engine<Door>) {
    // What was broadcast before is on its way through the namespaces. They are not waited for long:
    // the server closes, whatever keeps one busy.
    let flushed = engine.service.catalog.flush();
    if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
        tracing::warn!("a namespace was too busy to send all before the server closed");
    }
    engine.close().await;
    engine.service.catalog.close().await;
    if let Some(cluster) = &engine.service.catalog.settings().common.cluster {
        cluster.close().await;
    }
}

impl HttpServiceFactory for SocketIo {
    fn register(self, app: &mut AppService) {
        #[cfg(feature = "client")]
        if self.engine.service.serves_client {
            client::register(&self.engine.config, app);
        }
        routes::register(&self.engine, app);
    }
}
