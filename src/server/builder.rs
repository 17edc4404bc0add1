//! Every option of a server.

use std::{future::Future, sync::Arc, time::Duration};

use super::{
    Door, SocketIo,
    catalog::{self, Catalog, OnNewNamespace},
    handle::Own,
};
use crate::{
    adapter::{Adapter, BoxedAdapter, Recovery, node::Cluster, recovery::Settings},
    config::{Config, RateLimit, SocketLimits},
    connection::{Limits, Shared},
    engine::{Engine, Hooks, PerMessageDeflate, Refusal, Request, Transport},
    metrics::Metrics,
    namespace::{Namespace, Parent},
    packet::{Parser, ParserLimits},
    socket::{Codec, home},
    trace::Propagation,
};

/// Collects the options of a [`SocketIo`]; each has the reference's default.
///
/// ```no_run
/// use std::time::Duration;
///
/// use greenroom::{SocketIo, engine::Cors, prelude::*};
///
/// # fn start() -> SocketIo {
/// SocketIo::builder()
///     .namespace(Namespace::new("/chat"))
///     .path("/live")
///     .cors(Cors::origin("https://app.example").credentials(true))
///     .ping_interval(Duration::from_secs(20))
///     .max_http_buffer_size(4_000_000)
///     .connection_state_recovery(Recovery::new())
///     .start()
/// # }
/// ```
#[must_use]
pub struct SocketIoBuilder {
    pub(super) config: Config,
    pub(super) limits: Limits,
    pub(super) socket_limits: SocketLimits,
    /// Unless it is said, it depends on another one.
    pub(super) max_packet_bytes: Option<usize>,
    pub(super) hooks: Hooks,
    namespaces: Vec<Namespace>,
    parents: Vec<Parent>,
    shared: home::Shared,
    on_new_namespace: Option<OnNewNamespace>,
    cleanup_empty_child_namespaces: bool,
    max_server_namespaces: usize,
    max_namespace_name: usize,
    #[cfg(feature = "client")]
    serve_client: bool,
    codec: Codec,
    recovery: Option<Recovery>,
    adapter: BoxedAdapter,
    max_cluster_message: usize,
    pub(super) propagation: Propagation,
    #[cfg(feature = "metrics")]
    pub(super) sink: crate::metrics::sink::Sink,
    #[cfg(feature = "metrics")]
    pub(super) max_metric_namespaces: usize,
}

impl std::fmt::Debug for SocketIoBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { config, limits, namespaces, codec, .. } = self;
        f.debug_struct("SocketIoBuilder")
            .field("config", config)
            .field("limits", limits)
            .field("namespaces", namespaces)
            .field("codec", codec)
            .finish_non_exhaustive()
    }
}

impl Default for SocketIoBuilder {
    fn default() -> Self {
        Self {
            config: Config::default(),
            limits: Limits {
                connect_timeout: Duration::from_millis(45_000),
                parser: ParserLimits::default(),
                max_packet_bytes: usize::MAX,
                attachment_timeout: Duration::from_secs(60),
                rate: RateLimit::default(),
                burst: RateLimit::default().capacity(),
                max_running: 1024,
                max_running_bytes: 16 << 20,
                max_namespaces: 1024,
                max_auth_bytes: 128 << 10,
            },
            socket_limits: SocketLimits::default(),
            max_packet_bytes: None,
            hooks: Hooks::new(),
            namespaces: Vec::new(),
            parents: Vec::new(),
            on_new_namespace: None,
            cleanup_empty_child_namespaces: false,
            max_server_namespaces: 100_000,
            max_namespace_name: 1024,
            #[cfg(feature = "client")]
            serve_client: true,
            shared: home::Shared::default(),
            codec: Codec::default(),
            recovery: None,
            adapter: BoxedAdapter(None),
            max_cluster_message: 24 << 20,
            propagation: Propagation::default(),
            #[cfg(feature = "metrics")]
            sink: crate::metrics::sink::Sink::Process,
            #[cfg(feature = "metrics")]
            max_metric_namespaces: 200,
        }
    }
}

impl SocketIoBuilder {
    /// Adds a namespace. `/` exists even if it is not added.
    ///
    /// # Panics
    /// If there is one of that name already: its listeners would be lost.
    #[track_caller]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        let name = namespace.name();
        let twice = self.namespaces.iter().any(|known| known.name() == name);
        assert!(!twice, "the namespace {name} was added already: add all listeners to one");
        self.namespaces.push(namespace);
        self
    }

    /// Adds a parent of namespaces that are born when a client asks for them. Of several that take
    /// a name, the first one added wins; a namespace of that name wins over all.
    pub fn parent(mut self, parent: Parent) -> Self {
        self.parents.push(parent);
        self
    }

    /// Whether a namespace born of a [`Parent`] ends when its last socket has left, or was refused.
    /// It is born again when the next client asks for it. Default `false`.
    pub fn cleanup_empty_child_namespaces(mut self, cleanup: bool) -> Self {
        self.cleanup_empty_child_namespaces = cleanup;
        self
    }

    /// Namespaces that the server may have before parents give birth to no more: a client that asks
    /// for another is told that there is none. Default 100,000.
    pub fn max_server_namespaces(mut self, count: usize) -> Self {
        self.max_server_namespaces = count;
        self
    }

    /// Bytes of a name that parents are asked about; a client that asks for a longer one is told that
    /// there is none. Default 1,024.
    pub fn max_namespace_name(mut self, bytes: usize) -> Self {
        self.max_namespace_name = bytes;
        self
    }

    /// Calls `hook` with each namespace that is started, `/` excepted: by name, or because a client
    /// asked a [`Parent`] for it. That client joins when the hook has returned; it runs on the
    /// client's worker and should be short.
    pub fn on_new_namespace(
        mut self,
        hook: impl Fn(&str, &actix::Addr<Namespace>) + Send + Sync + 'static,
    ) -> Self {
        self.on_new_namespace = Some(Box::new(hook));
        self
    }

    /// Shares a value with the listeners of all namespaces, see
    /// [`Socket::shared`](crate::Socket::shared). One value of each type.
    pub fn share<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.shared.insert(value);
        self
    }

    /// The parser that this server and its clients speak, the same on both sides. Default:
    /// [`DefaultParser`](crate::packet::DefaultParser), JSON.
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.codec = Codec::new(parser);
        self
    }

    /// Path under which the server answers; a slash is added at its end. Default `/socket.io`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.config.path = path.into();
        self
    }

    /// Whether the browser bundles of the official client are served under the path:
    /// `/socket.io/socket.io.min.js` and its like. Default `true`; the feature `client` has them.
    #[cfg(feature = "client")]
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.serve_client = serve;
        self
    }

    /// Transports a client may use. Default: polling and WebSocket.
    pub fn transports(mut self, transports: impl Into<Vec<Transport>>) -> Self {
        self.config.transports = transports.into();
        self
    }

    /// Whether a polling session may move to WebSocket. Default `true`.
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.allow_upgrades = allow;
        self
    }

    /// Whether clients of the old revisions are let in: Engine.IO 3, Socket.IO 1 and 2. Default
    /// `false`: they are refused with code 5.
    ///
    /// The ids of such a client's sockets are made of the id of its session, a secret: they should not
    /// be shown to other clients, and are in the log lines of those sockets.
    pub fn allow_eio3(mut self, allow: bool) -> Self {
        self.config.allow_eio3 = allow;
        self
    }

    /// Time between the answer to one ping and the next ping. Default 25 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// Time the client has to answer a ping. Default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.ping_timeout = timeout;
        self
    }

    /// Time a client has to finish an upgrade. Default 10 s.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }

    /// Time a session that nobody polls is kept so that it can still be told it was closed, and time
    /// that a client has to take the end of its connection: after it the connection counts no more
    /// among [`max_connections`](Self::max_connections). Default 30 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// Time a request body has to arrive completely. Default 30 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.config.body_timeout = timeout;
        self
    }

    /// Time that the application has for one request in each of these: engine middlewares together,
    /// `allow_request`, `generate_id`. After it the request is refused with status 503. Default 30 s.
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.config.hook_timeout = timeout;
        self
    }

    /// Largest request body and largest WebSocket message, in bytes. Default 1,000,000.
    pub fn max_http_buffer_size(mut self, bytes: usize) -> Self {
        self.config.max_http_buffer_size = bytes;
        self
    }

    /// Time a client has to join a first namespace. Default 45 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// Attachments that one packet may have. Default 10. Binary in msgpack is no attachment.
    pub fn max_attachments(mut self, count: usize) -> Self {
        self.limits.parser.max_attachments = count;
        self
    }

    /// Listeners of one connection that may be under way. Further events wait until one has finished;
    /// when 16,384 of them or 4 MiB wait, nothing more is read from that client. Default 1,024.
    pub fn max_running_listeners(mut self, count: usize) -> Self {
        self.limits.max_running = count;
        self
    }

    /// Namespaces one client may be in at the same time; a CONNECT for another one is refused with
    /// "Too many namespaces". Default 1,024.
    pub fn max_namespaces(mut self, count: usize) -> Self {
        self.limits.max_namespaces = count;
        self
    }

    /// Bytes that may wait for one client. A client above it for longer than
    /// [`slow_timeout`](Self::slow_timeout), or above 1.75 times as much, is closed with the reason
    /// "slow client", or loses events, see [`WhenFull`](crate::WhenFull). Default 1 MiB.
    ///
    /// Each packet counts with 96 bytes more than it has. The latest packet does not count, however large;
    /// and a single burst, which leaves a client no time to read, may come to three times as much.
    pub fn max_outbox_bytes(mut self, bytes: usize) -> Self {
        self.config.max_outbox_bytes = bytes;
        self
    }

    /// Packets that may wait for one client, with the same consequence. Default 16,384.
    pub fn max_outbox_packets(mut self, packets: usize) -> Self {
        self.config.max_outbox_packets = packets;
        self
    }

    /// Time a client may stay above the bounds of its outbox. Default 2 s.
    pub fn slow_timeout(mut self, timeout: Duration) -> Self {
        self.config.slow_timeout = timeout;
        self
    }

    /// Compresses WebSocket messages for clients that offer it, see [`PerMessageDeflate`]. Default:
    /// not.
    pub fn per_message_deflate(mut self, options: PerMessageDeflate) -> Self {
        self.config.per_message_deflate = Some(options);
        self
    }

    /// Lets clients have their sockets back after a broken connection: id, rooms, data, and the
    /// events that they missed, see [`Socket::recovered`](crate::Socket::recovered). Default: not.
    ///
    /// With it, every event that is not volatile and wants no ack carries one more argument, a
    /// string by which the official client remembers what it has got.
    pub fn connection_state_recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Makes the server one of several that work as one: what is sent to rooms reaches their members
    /// on all of them. Default: [`Local`](crate::Local), a server that is alone.
    pub fn adapter(mut self, adapter: impl Adapter) -> Self {
        self.adapter = adapter.into_boxed();
        self
    }

    /// Bytes of the largest message that is sent to other servers of the cluster, and taken from them;
    /// larger ones are dropped and counted. Default 24 MiB.
    ///
    /// Redis gives up the connections of those who listen when more than 32 MB wait for them
    /// (`client-output-buffer-limit pubsub`), which a single message may be.
    pub fn max_cluster_message(mut self, bytes: usize) -> Self {
        self.max_cluster_message = bytes;
        self
    }

    /// Asks before a session is opened. A refusal is answered with status 403 and code 4. It is
    /// not asked again for the later requests of a session.
    pub fn allow_request<F, Fut>(mut self, allow: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        self.hooks = self.hooks.allow_request(allow);
        self
    }

    /// Starts the namespaces. Call it inside an actix system, once, before `HttpServer::new`.
    ///
    /// # Panics
    /// Outside an actix system: actors need one. `#[actix_web::main]` and `#[actix::main]` start
    /// one, `#[tokio::main]` does not.
    ///
    /// If an option makes no sense: no transports, or zero for a timeout or a bound without which
    /// no client could do anything.
    #[track_caller]
    pub fn start(self) -> SocketIo {
        assert!(
            actix::System::try_current().is_some(),
            "SocketIo::start needs an actix system: use #[actix_web::main] instead of #[tokio::main]"
        );
        self.check();
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with("actix-rt|")) {
            tracing::warn!(
                "a Socket.IO server was started on a worker thread; if that was in the closure of \
                 HttpServer::new, every worker has a server of its own: start it before, once"
            );
        }
        #[cfg(not(feature = "metrics"))]
        let metrics = Arc::<Metrics>::default();
        #[cfg(feature = "metrics")]
        let metrics = Arc::new(Metrics::new(self.sink, self.max_metric_namespaces));
        let shares_from =
            self.config.per_message_deflate.as_ref().and_then(PerMessageDeflate::shares_from);
        let mut codec = self.codec;
        codec.count_in(&metrics);
        let recovery = self.recovery.map(|options| Arc::new(Settings::new(options, &self.config)));
        let connect = self.adapter.0;
        let cluster =
            connect.map(|connect| Cluster::start(connect, self.max_cluster_message, &metrics));
        let (own, mut shared) = (Own::default(), self.shared);
        shared.insert(own.clone());
        let common = home::Common {
            shared,
            codec: codec.clone(),
            shares_from,
            recovery,
            cluster,
            limits: self.socket_limits,
            propagation: self.propagation,
        };
        let catalog = Arc::new(Catalog::new(catalog::Settings {
            common,
            metrics: Arc::clone(&metrics),
            on_new_namespace: self.on_new_namespace,
            cleanup: self.cleanup_empty_child_namespaces,
            max_namespaces: self.max_server_namespaces,
            max_name: self.max_namespace_name,
        }));
        let largest = self.config.max_http_buffer_size;
        let max_packet_bytes = self.max_packet_bytes.unwrap_or(largest.saturating_mul(11));
        let connections = Arc::new(Shared {
            directory: Box::new(Arc::clone(&catalog)),
            limits: Limits { max_packet_bytes, ..self.limits },
            metrics: Arc::clone(&metrics),
            codec,
        });
        let mut namespaces = self.namespaces;
        let main = namespaces.iter().position(|namespace| namespace.name() == "/");
        let main = main.map_or_else(|| Namespace::new("/"), |index| namespaces.remove(index));
        catalog.open(main);
        for namespace in namespaces {
            catalog.open(namespace);
        }
        for parent in self.parents {
            catalog.parents.add(parent, catalog.settings());
        }
        let door = Door {
            connections,
            catalog,
            metrics,
            closing: tokio::sync::Mutex::default(),
            #[cfg(feature = "client")]
            serves_client: self.serve_client,
        };
        let io = SocketIo { engine: Arc::new(Engine::new(self.config, self.hooks, door)) };
        own.know(&io);
        io
    }
}
