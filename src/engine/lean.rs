//! HTTP connections that become WebSockets and keep nothing of HTTP.
//!
//! actix-http keeps two buffers of 8 KiB and its dispatcher's state for every connection, as another
//! request may follow. Behind a WebSocket none can. [`LeanHttp`] is the same HTTP service, but a request
//! for a WebSocket leaves the dispatcher: its response is carried by a future that reads and writes the
//! socket itself, with buffers that all connections of a thread share.

mod line;
mod timed;
mod watched;

use std::{
    cell::OnceCell,
    fmt,
    future::{Ready, ready},
    io,
    marker::PhantomData,
    rc::Rc,
    time::Duration,
};

use actix_codec::Framed;
use actix_http::{
    HttpService, Protocol, Request, Response,
    body::{BoxBody, MessageBody},
    h1::Codec,
};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, always_ready, fn_service,
    map_config,
};
use actix_web::{dev::AppConfig, http::KeepAlive, rt::net::TcpStream};
use futures_util::future::LocalBoxFuture;
use tracing::debug;

use self::{
    line::Line,
    timed::{Limits, Timed},
    watched::Watched,
};
use super::unread::unread_timeout;

/// An HTTP/1.1 service for an actix-web application whose WebSockets take little memory: when idle, about
/// 7 KiB each instead of the 14 behind `actix_web::HttpServer`.
///
/// It takes the place of `HttpServer`, one level below: the connections come from an
/// [`actix_server::Server`](https://docs.rs/actix-server). The application is the same, with its routes
/// and middlewares, and every request but those for a WebSocket takes the same way. It does no TLS.
///
/// ```no_run
/// use actix_web::App;
/// use greenroom::{SocketIo, engine::LeanHttp};
///
/// #[actix_web::main]
/// async fn main() -> std::io::Result<()> {
///     let io = SocketIo::builder().start();
///     actix_server::Server::build()
///         .bind("chat", "127.0.0.1:3000", move || {
///             LeanHttp::new().tcp_nodelay(true).serve(App::new().service(io.clone()))
///         })?
///         .run()
///         .await
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LeanHttp {
    keep_alive: KeepAlive,
    request_timeout: Duration,
    disconnect_timeout: Duration,
    unread_timeout: Duration,
    half_closed: bool,
    nodelay: bool,
}

impl Default for LeanHttp {
    fn default() -> Self {
        Self {
            keep_alive: KeepAlive::default(),
            request_timeout: Duration::from_secs(5),
            disconnect_timeout: Duration::from_secs(1),
            unread_timeout: Duration::from_secs(30),
            half_closed: true,
            nodelay: false,
        }
    }
}

impl LeanHttp {
    /// A service with the defaults of `HttpServer`, and [`unread_timeout`](Self::unread_timeout).
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a connection without a request is kept. Default 5 s.
    pub fn keep_alive(mut self, keep_alive: impl Into<KeepAlive>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }

    /// Time for the head of a request. Default 5 s; zero is no limit.
    ///
    /// Of a connection's first request it is counted from the begin of the connection, and the answer is
    /// 408. Behind `HttpServer` no other is limited; here those that follow are, from their first bytes on,
    /// and the connection is closed. A part of a head that came while the request before was being
    /// answered may be kept as long as an idle connection, if that is longer.
    pub fn client_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Time for a client to read the end of a connection that is being closed. Default 1 s; with zero the
    /// connection is closed at once.
    pub fn client_disconnect_timeout(mut self, timeout: Duration) -> Self {
        self.disconnect_timeout = timeout;
        self
    }

    /// Time in which a client must take something of what is written, else its connection is dropped; see
    /// [`close_unread_after`](super::close_unread_after), which says where it works. Default 30 s; zero is the
    /// default of the system.
    pub fn unread_timeout(mut self, timeout: Duration) -> Self {
        self.unread_timeout = timeout;
        self
    }

    /// Whether a request is answered whose client has closed its side. Default `true`. `false` notices
    /// at once that the client of a long poll has left.
    pub fn h1_allow_half_closed(mut self, allow: bool) -> Self {
        self.half_closed = allow;
        self
    }

    /// Sets `TCP_NODELAY`, which interactive applications should. Default `false`.
    pub fn tcp_nodelay(mut self, enabled: bool) -> Self {
        self.nodelay = enabled;
        self
    }

    /// The service of one worker, for an application.
    pub fn serve<I, S, B>(
        self,
        app: I,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = actix_http::error::DispatchError,
        InitError = (),
    >
    where
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<actix_web::Error>,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let app = app.into_factory().map_err(|error| error.into().error_response());
        let app = map_config(app, |()| AppConfig::default());
        let slot = Slot(Rc::default());
        let upgrade =
            Upgrade { app: slot.clone(), patience: self.disconnect_timeout, of: PhantomData };
        let limits = Limits::new(self.request_timeout, self.keep_alive);
        let http = HttpService::build()
            .keep_alive(self.keep_alive)
            .client_request_timeout(self.request_timeout)
            .client_disconnect_timeout(self.disconnect_timeout)
            .h1_allow_half_closed(self.half_closed)
            .on_connect_ext(|connection: &Timed, data| {
                data.insert(Rc::clone(connection.watch()));
            })
            .upgrade(upgrade)
            .finish(Watched::new(Shared { app, slot }));
        fn_service(move |socket: TcpStream| {
            self.prepare(&socket);
            let address = socket.peer_addr().ok();
            ready(Ok((Timed::new(socket, limits), Protocol::Http1, address)))
        })
        .and_then(http)
    }

    fn prepare(&self, socket: &TcpStream) {
        let options = [socket.set_nodelay(self.nodelay), self.limit_unread(socket)];
        for error in options.into_iter().filter_map(Result::err) {
            // The connection may be over already.
            debug!(%error, "a connection cannot be set up");
        }
    }

    fn limit_unread(&self, socket: &TcpStream) -> io::Result<()> {
        if self.unread_timeout.is_zero() {
            return Ok(());
        }
        unread_timeout(socket, self.unread_timeout)
    }
}

/// Where the worker's one instance of the application is found.
struct Slot<S>(Rc<OnceCell<Rc<S>>>);

impl<S> Clone for Slot<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// The application, for requests on either way.
struct Shared<F, S> {
    app: F,
    slot: Slot<S>,
}

impl<F> ServiceFactory<Request> for Shared<F, F::Service>
where
    F: ServiceFactory<Request, Config = ()>,
    F::Future: 'static,
    F::Service: 'static,
{
    type Response = F::Response;
    type Error = F::Error;
    type Config = ();
    type Service = Rc<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (made, slot) = (self.app.new_service(()), self.slot.clone());
        Box::pin(async move {
            let service = Rc::new(made.await?);
            Ok(Rc::clone(slot.0.get_or_init(|| service)))
        })
    }
}

/// Takes the requests for WebSockets out of the dispatcher.
struct Upgrade<S, B> {
    app: Slot<S>,
    patience: Duration,
    of: PhantomData<fn() -> B>,
}

impl<S, B> ServiceFactory<(Request, Framed<Timed, Codec>)> for Upgrade<S, B>
where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    type Response = ();
    type Error = actix_http::Error;
    type Config = ();
    type Service = Self;
    type InitError = ();
    type Future = Ready<Result<Self, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        ready(Ok(Self { app: self.app.clone(), patience: self.patience, of: PhantomData }))
    }
}

impl<S, B> Service<(Request, Framed<Timed, Codec>)> for Upgrade<S, B>
where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    type Response = ();
    type Error = actix_http::Error;
    type Future = LocalBoxFuture<'static, Result<(), Self::Error>>;

    always_ready!();

    fn call(&self, (request, framed): (Request, Framed<Timed, Codec>)) -> Self::Future {
        // There is one as soon as there are connections.
        let (app, patience) = (self.app.0.get().cloned(), self.patience);
        Box::pin(async move {
            let Some(app) = app else { return Ok(()) };
            let (request, line) = Line::take(request, framed);
            // Apart, so that what it needs is not kept as long as the connection.
            let answer = Box::pin(app.call(request)).await;
            drop(app);
            let ended = match answer {
                Ok(response) => line.carry(response.into(), patience).await,
                Err(error) => line.carry(error.into(), patience).await,
            };
            if let Err(error) = ended {
                debug!(%error, "connection broke");
            }
            Ok(())
        })
    }
}
