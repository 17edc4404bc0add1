//! The options about HTTP: headers, cookies, and what the application says to a request.

use std::{fmt, future::Future, sync::Arc};

use actix_web::http::header::HeaderMap;

use super::SocketIoBuilder;
use crate::engine::{Cookie, Cors, Message, OnConnectionError, Refusal, Request};

impl SocketIoBuilder {
    /// Whether a slash is added to the path. Without it `/socket.io?EIO=4` is answered too, and all
    /// that begins with the path. Default `true`.
    pub fn add_trailing_slash(mut self, add: bool) -> Self {
        self.config.add_trailing_slash = add;
        self
    }

    /// What pages of other origins may do. Default: no headers about it, preflights are refused, and
    /// WebSocket requests of every page are let in; with it, those of other origins are refused, see
    /// [`Cors::refuse_foreign`].
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = Some(cors);
        self
    }

    /// Sets a cookie with the session's id in the first answer of a polling session, for load
    /// balancers. Default: none. `Cookie::default()` is the reference's `cookie: true`.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Compresses bodies of polls from `threshold` bytes on, if the client takes gzip or deflate;
    /// with `None`, none. Default 1,024.
    pub fn http_compression(mut self, threshold: Option<usize>) -> Self {
        self.config.http_compression = threshold;
        self
    }

    /// A message of Engine.IO that every client gets right after the handshake. Default: none.
    /// Socket.IO clients take it for a packet of theirs.
    pub fn initial_packet(mut self, message: Message) -> Self {
        self.config.initial_packet = Some(message);
        self
    }

    /// Adds a middleware for every request: also those of open sessions and of WebSockets, but for
    /// preflights that [`Cors`] answers. Middlewares run in the order in which they were added,
    /// before anything of the request is checked. A refusal is answered with code 3; its text is
    /// for [`on_connection_error`](Self::on_connection_error) and not told to the client.
    ///
    /// What should be asked once for each session belongs into
    /// [`allow_request`](Self::allow_request), and what is about one namespace into
    /// [`Namespace::before_connect`](crate::Namespace::before_connect). Middlewares of actix-web
    /// work too, see [`Hooks::middleware`](crate::engine::Hooks::middleware).
    pub fn engine_middleware<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        self.hooks = self.hooks.middleware(middleware);
        self
    }

    /// Makes the ids of sessions. They are secrets, and not those of sockets: whoever knows one can
    /// act for its client. The server puts two characters before it, which name the worker that has
    /// the session. Default: 144 random bits.
    ///
    /// With an error, or an id that a session of the same worker has, the request is answered with
    /// code 3 and reported as `ID_GENERATION_ERROR`.
    pub fn generate_id<F, Fut, E>(mut self, generate: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + 'static,
        E: fmt::Display,
    {
        self.hooks = self.hooks.generate_id(generate);
        self
    }

    /// Calls `change` with the headers of the first response of each session and with its request,
    /// before [`on_headers`](Self::on_headers). It runs on the worker of the request and must not
    /// block.
    pub fn on_initial_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static,
    ) -> Self {
        self.hooks = self.hooks.on_initial_headers(change);
        self
    }

    /// Calls `change` with the headers of each response of a session and with its request: polls
    /// and posts that succeed, and the 101 of a WebSocket. Errors and preflights do not pass here.
    /// It runs on the worker of the request and must not block.
    pub fn on_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static,
    ) -> Self {
        self.hooks = self.hooks.on_headers(change);
        self
    }

    /// Tells `listener` of the requests that are refused, before they are answered: a closure of a
    /// [`ConnectionError`](crate::engine::ConnectionError), which runs on the worker of the request
    /// and must not block, or the recipient of an actor. An error that finds the actor's mailbox
    /// full is lost, and counted in
    /// [`Snapshot::connection_errors_lost`](crate::Snapshot::connection_errors_lost).
    pub fn on_connection_error<M>(mut self, listener: impl OnConnectionError<M>) -> Self {
        self.hooks = self.hooks.on_connection_error(listener);
        self
    }
}
