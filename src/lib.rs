//! Greenroom: a Socket.IO server for actix-web.
//!
//! Browsers, phones and other services talk to it with the unmodified official clients. Every
//! connection is an actor, every namespace is an actor that supervises its rooms, and what is sent
//! to many is fanned out by room actors: order comes from mailboxes, not from locks.
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use greenroom::prelude::*;
//!
//! #[actix_web::main]
//! async fn main() -> std::io::Result<()> {
//!     let chat = Namespace::new("/")
//!         .on_connect(|socket: Socket| async move { socket.join("lobby") })
//!         .on("say", |socket: Socket, text: String| async move {
//!             socket.to("lobby").emit("said", &text)?;
//!             Ok::<_, EventError>(Ack("delivered"))
//!         });
//!     let io = SocketIo::builder().namespace(chat).start();
//!     HttpServer::new(move || App::new().service(io.clone()))
//!         .h1_allow_half_closed(false)
//!         .tcp_nodelay(true)
//!         .bind(("127.0.0.1", 3000))?
//!         .run()
//!         .await
//! }
//! ```
//!
//! # Where to begin
//!
//! | to | see |
//! | --- | --- |
//! | describe what happens in a namespace | [`Namespace`]; [`Parent`] for namespaces born of a pattern |
//! | set up the server, with every option | [`SocketIo::builder`], [`SocketIoBuilder`] |
//! | answer and ask one client | [`Socket`], [`Ack`], [`AckSender`], [`Socket::emit_with_ack`] |
//! | send to many, move them, ask them | [`BroadcastOperator`], by [`SocketIo::to`] and [`Socket::to`] |
//! | read arguments | any type with `Deserialize`; [`Args`] |
//! | refuse clients and events | [`Namespace::before_connect`], [`Namespace::before_event`], [`ConnectError`], [`EventError`] |
//! | use actors | [`FromSocket`], [`NamespaceActor`], the messages [`Broadcast`], [`Join`], [`MembersOf`] and others |
//! | survive broken connections, slow clients, deploys | [`Recovery`], [`WhenFull`], [`Drain`] |
//! | see what it does | [`Snapshot`], by [`SocketIo::metrics`]; events of `tracing` |
//! | use several servers | [`Adapter`] |
//! | serve Engine.IO alone | [`engine`] |
//! | speak another wire format | [`packet`] |
//!
//! The book in `docs/` of the repository begins with `getting-started.md`, goes through all of it with the JavaScript
//! beside it, and has pages about authentication, deployment, security and troubleshooting.
//!
//! # Features
//!
//! | feature | |
//! | --- | --- |
//! | `client` (default) | the official client's files, served by the server |
//! | `redis` | adapters for several servers, together with Node.js servers |
//! | `redis-tls` | the same with `rediss://` addresses |
//! | `admin` | what the official Admin UI connects to, and a JSON API |
//! | `typescript` | declarations for TypeScript clients, from a contract |
//! | `tracing` | spans from an event to its ack, through broadcasts and to other servers |
//! | `metrics` | what `docs/metrics.md` lists, for Prometheus and other exporters |
//! | `testing` | clients without a network, with the clock paused |
//!
//! # The layers
//! A packet enters at [`engine`], climbs through [`packet`], the connection, its namespace and its
//! listeners, and leaves through the room actors and the engine again. `docs/architecture.md` in
//! the repository follows one message through the files; `docs/actors.md` says what each actor
//! owns.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod prelude;

mod adapter;
#[cfg(feature = "admin")]
pub mod admin;
mod config;
mod connection;
pub mod engine;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod metrics;
#[cfg(test)]
mod models;
mod namespace;
pub mod packet;
mod room;
mod server;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
pub mod typed;
#[cfg(feature = "typescript")]
pub mod typescript;

#[cfg(feature = "redis")]
pub use crate::adapter::{
    RedisAdapter, RedisEmitError, RedisEmitter, RedisError, RedisStreamsAdapter,
    ShardedRedisAdapter, SubscriptionMode,
};
#[cfg(feature = "tracing")]
pub use crate::trace::TracePropagation;
pub use crate::{
    adapter::{Adapter, BoxedAdapter, ClusterState, Local, Recovery},
    config::RateLimit,
    engine::{
        CloseReason, ConnectionError, ConnectionEvent, Cookie, Cors, PerMessageDeflate, Refusal,
        Request, Transport, TrustedProxies, WhenFull, WindowBits, close_unread_after,
        start_supervised, unread_timeout,
    },
    metrics::Snapshot,
    namespace::{
        Acceptance, BoxedMiddleware, Connecting, Disconnected, FindSocket, IntoConnect,
        IntoDisconnect, IntoMiddleware, Namespace, NamespaceActor, On, Parent, RoomEvent,
        SocketEvent, Sockets, Stop, SubscribeRooms, SubscribeSockets,
    },
    packet::{Args, ArgsError, EncodeError, Event, MsgpackParser, Payload},
    room::{
        Broadcast, BroadcastTarget, CountSockets, Disconnect, Incomplete, IntoRooms, Join, Leave,
        MembersOf, Missing, Room, RoomSizes, RoomsOf, SocketId, Target,
    },
    server::{Drain, DrainReport, ParentNamespace, Readiness, SocketIo, SocketIoBuilder},
    socket::{
        Ack, AckError, AckFuture, AckSender, Answered, BoxedEventMiddleware, BoxedListener,
        BroadcastAcks, BroadcastOperator, ConnectError, Data, DisconnectReason, EmitError, Emitter,
        EventError, EventErrorKind, FromSocket, Handshake, IntoEventMiddleware, IntoOutcome,
        Listener, ListenerId, NoAnswer, Outcome, Pace, Receiving, RemoteAck, RemoteSocket, Socket,
        SocketDetails,
    },
};

/// Compiles and runs what the pages show.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../docs/authentication.md")]
    struct Authentication;
    #[doc = include_str!("../docs/deployment.md")]
    struct Deployment;
    #[doc = include_str!("../docs/tuning.md")]
    struct Tuning;
    #[doc = include_str!("../docs/from-socketioxide.md")]
    struct FromSocketioxide;
    #[doc = include_str!("../docs/guide/namespaces.md")]
    struct Namespaces;
    #[doc = include_str!("../docs/guide/events.md")]
    struct Events;
    #[doc = include_str!("../docs/guide/acks.md")]
    struct Acks;
    #[doc = include_str!("../docs/guide/middlewares.md")]
    struct Middlewares;
    #[doc = include_str!("../docs/guide/sockets.md")]
    struct Sockets;
    #[doc = include_str!("../docs/guide/rooms.md")]
    struct Rooms;
    #[doc = include_str!("../docs/guide/recovery.md")]
    struct Recovery;
    #[doc = include_str!("../docs/guide/servers.md")]
    struct Servers;
    #[doc = include_str!("../docs/guide/http.md")]
    struct Http;
    #[doc = include_str!("../docs/guide/parsers.md")]
    struct Parsers;
    #[doc = include_str!("../docs/guide/ending.md")]
    struct Ending;
    #[doc = include_str!("../docs/guide/logs.md")]
    struct Logs;
    #[doc = include_str!("../docs/guide/options.md")]
    struct Options;
    #[doc = include_str!("../docs/guide/binary.md")]
    struct Binary;
    #[doc = include_str!("../docs/from-nodejs.md")]
    struct FromNodejs;
    #[doc = include_str!("../docs/actors.md")]
    struct Actors;
    #[doc = include_str!("../docs/security.md")]
    struct Security;
    #[doc = include_str!("../docs/troubleshooting.md")]
    struct Troubleshooting;
    #[cfg(feature = "admin")]
    #[doc = include_str!("../docs/admin.md")]
    struct AdminInterface;
    #[cfg(feature = "metrics")]
    #[doc = include_str!("../docs/metrics.md")]
    struct Metrics;
    #[cfg(feature = "typescript")]
    #[doc = include_str!("../docs/typescript.md")]
    struct Typescript;
}
