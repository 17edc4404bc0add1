//! HTTP connections that become WebSockets and keep nothing of HTTP.
//!
//! actix-http keeps two buffers of 8 KiB and its dispatcher's state for every connection, as another
//! request may follow. Behind a WebSocket none can. [`LeanHttp`] is the same HTTP service, but a request
//! for a WebSocket leaves the dispatcher: its response is carried by a future that reads and writes the
//! socket itself, with buffers that all connections of a thread share.

mod line;

use std::{
    cell::OnceCell,
    fmt,
    future::{Ready, ready},
    marker::PhantomData,
    rc::Rc,
    time::Duration,
};

use actix_codec::Framed;
use actix_http::{
    HttpService, Request, Response,
    body::{BoxBody, MessageBody},
    h1::Codec,
};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, always_ready, map_config,
};
use actix_web::{dev::AppConfig, http::KeepAlive, rt::net::TcpStream};
use futures_util::future::LocalBoxFuture;
use tracing::debug;

use self::line::Line;

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
    half_closed: bool,
    nodelay: bool,
}

impl Default for LeanHttp {
    fn default() -> Self {
        Self {
            keep_alive: KeepAlive::default(),
            request_timeout: Duration::from_secs(5),
            disconnect_timeout: Duration::from_secs(1),
            half_closed: true,
            nodelay: false,
        }
    }
}

impl LeanHttp {
    /// A service with the defaults of `HttpServer`.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a connection without a request is kept. Default 5 s.
    pub fn keep_alive(mut self, keep_alive: impl Into<KeepAlive>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }

    /// Time for the head of a connection's first request. Default 5 s; zero is no limit.
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
        HttpService::build()
            .keep_alive(self.keep_alive)
            .client_request_timeout(self.request_timeout)
            .client_disconnect_timeout(self.disconnect_timeout)
            .h1_allow_half_closed(self.half_closed)
            .tcp_nodelay(self.nodelay)
            .upgrade(upgrade)
            .finish(Shared { app, slot })
            .tcp()
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

impl<S, B> ServiceFactory<(Request, Framed<TcpStream, Codec>)> for Upgrade<S, B>
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

impl<S, B> Service<(Request, Framed<TcpStream, Codec>)> for Upgrade<S, B>
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

    fn call(&self, (request, framed): (Request, Framed<TcpStream, Codec>)) -> Self::Future {
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
