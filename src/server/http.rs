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

    /// What pages of other origins may do. Default: no headers about it, and preflights are
    /// refused.
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

    /// Adds a middleware for every request, see [`Hooks::middleware`](crate::engine::Hooks::middleware).
    pub fn engine_middleware<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + 'static,
    {
        self.hooks = self.hooks.middleware(middleware);
        self
    }

    /// Makes the ids of sessions, see [`Hooks::generate_id`](crate::engine::Hooks::generate_id).
    pub fn generate_id<F, Fut, E>(mut self, generate: F) -> Self
    where
        F: Fn(Arc<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + 'static,
        E: fmt::Display,
    {
        self.hooks = self.hooks.generate_id(generate);
        self
    }

    /// May change the headers of the first response of each session, before
    /// [`on_headers`](Self::on_headers).
    pub fn on_initial_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static,
    ) -> Self {
        self.hooks = self.hooks.on_initial_headers(change);
        self
    }

    /// May change the headers of each response of a session: polls and posts that succeed, and the
    /// 101 of a WebSocket. Errors and preflights do not pass here.
    pub fn on_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &Request) + Send + Sync + 'static,
    ) -> Self {
        self.hooks = self.hooks.on_headers(change);
        self
    }

    /// Tells `listener` of the requests that are refused: a closure of a
    /// [`ConnectionError`](crate::engine::ConnectionError), or the recipient of an actor.
    pub fn on_connection_error<M>(mut self, listener: impl OnConnectionError<M>) -> Self {
        self.hooks = self.hooks.on_connection_error(listener);
        self
    }
}
