//! Opening a session without HTTP.

use std::{
    cell::RefCell,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::SystemTime,
};

use actix::prelude::*;
use serde_json::json;
use tokio::sync::oneshot;

use super::{Refused, TestServer};
use crate::{
    engine::{
        Config, Engine, Headers, Request, RequestError, Service, Transport, cors::Page, pipe::Pipe,
        registry::Sessions,
    },
    namespace::{Namespace, messages::Describe},
    server::{Door, SocketIo},
};

/// The request that opens a connection, as middlewares see it in `socket.handshake()`.
///
/// ```
/// use greenroom::{prelude::*, testing::{TestRequest, TestServer}};
///
/// # actix_rt::System::new().block_on(async {
/// let vault = Namespace::new("/vault").before_connect(|socket: Socket| async move {
///     let cookie = socket.handshake().request.headers.get("cookie");
///     if cookie.as_deref() == Some("user=ann") { Ok(()) } else { Err(ConnectError::new("who?")) }
/// });
/// let server = TestServer::start(SocketIo::builder().namespace(vault));
/// let request = TestRequest::new().header("cookie", "user=ann");
/// assert!(server.connect_as(request, "/vault", ()).await.is_ok());
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TestRequest {
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    address: Option<SocketAddr>,
}

impl TestRequest {
    /// A request without headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Adds a parameter of the query. `EIO` is 4, whatever is added.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the address of the peer.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    fn build(self, path: &str, config: &Config) -> Request {
        let own = [("EIO", "4"), ("transport", "websocket")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let added = self.query.into_iter().filter(|(name, _)| name != "EIO");
        let query: Vec<_> = own.into_iter().chain(added).collect();
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let address = match &config.trusted_proxies {
            None => self.address,
            Some(proxies) => {
                let said = headers.clone().filter(|(name, _)| *name == proxies.header());
                proxies.client(self.address, said.map(|(_, value)| value))
            }
        };
        Request {
            headers: Headers::collect(headers),
            url: format!("{path}?{text}"),
            query,
            address,
            secure: false,
            time: SystemTime::now(),
            transport: Transport::WebSocket,
        }
    }
}

/// What a test connects to: a running namespace (`&addr`), the main namespace of a server (`&io`,
/// `&server`) or any other of its namespaces (`(&io, "/chat")`, `(&server, "/chat")`).
///
/// ```
/// use greenroom::{prelude::*, testing::{TestServer, TestSocket}};
///
/// # actix_rt::System::new().block_on(async {
/// let server = TestServer::start(SocketIo::builder().namespace(Namespace::new("/chat")));
/// let main = TestSocket::connect(&server, ()).await.unwrap();
/// let chat = TestSocket::connect((&server, "/chat"), ()).await.unwrap();
/// assert_eq!([main.namespace(), chat.namespace()], ["/", "/chat"]);
/// # });
/// ```
pub trait TestTarget {
    #[doc(hidden)]
    fn reach(self) -> impl Future<Output = (SocketIo, String)>;
}

impl TestTarget for &Addr<Namespace> {
    async fn reach(self) -> (SocketIo, String) {
        let Ok(Some(entrance)) = self.send(Describe).await else {
            panic!("the namespace to connect to has ended");
        };
        let name = entrance.home.name.to_string();
        let io = SocketIo::builder().start();
        io.adopt(entrance);
        (io, name)
    }
}

impl TestTarget for &SocketIo {
    async fn reach(self) -> (SocketIo, String) {
        (self.clone(), "/".to_owned())
    }
}

impl TestTarget for (&SocketIo, &str) {
    async fn reach(self) -> (SocketIo, String) {
        (self.0.clone(), self.1.to_owned())
    }
}

impl TestTarget for &TestServer {
    async fn reach(self) -> (SocketIo, String) {
        (self.io().clone(), "/".to_owned())
    }
}

impl TestTarget for (&TestServer, &str) {
    async fn reach(self) -> (SocketIo, String) {
        (self.0.io().clone(), self.1.to_owned())
    }
}

thread_local! {
    /// The servers that the present thread is a worker of.
    static JOINED: RefCell<Vec<(Weak<Engine<Door>>, Sessions)>> = const { RefCell::new(Vec::new()) };
}

/// Makes the present thread a worker of the server, once.
pub(super) fn join_worker(io: &SocketIo) -> Sessions {
    let engine = io.engine();
    JOINED.with_borrow_mut(|joined| {
        joined.retain(|(engine, _)| engine.strong_count() > 0);
        if let Some((_, sessions)) =
            joined.iter().find(|(known, _)| known.as_ptr() == Arc::as_ptr(engine))
        {
            return sessions.clone();
        }
        let sessions = engine.join_worker();
        joined.push((Arc::downgrade(engine), sessions.clone()));
        sessions
    })
}

/// Opens a session on the present thread, after the checks of a real request.
async fn open_here(io: &SocketIo, request: TestRequest) -> Result<Pipe, Refused> {
    let engine = io.engine();
    let request = Arc::new(request.build(&io.path(), &engine.config));
    let opened = async {
        let seat = engine.admit(request.address)?;
        engine.hooks.run_middlewares(&request).await?;
        if !engine.config.transports.contains(&Transport::WebSocket) {
            let asked = json!({ "transport": Transport::WebSocket.as_str() });
            return Err(RequestError::UnknownTransport.because(asked));
        }
        if let Some(origin) = request.headers.get("origin") {
            let host = request.headers.get("host").unwrap_or_default();
            let (origin, host) = (origin.as_bytes(), host.as_bytes());
            engine.config.check_page(&Page { origin, host, secure: false })?;
        }
        engine.hooks.ask_permission(&request).await?;
        if !engine.is_accepting() {
            return Err(RequestError::Closed.into());
        }
        let (sessions, request) = (join_worker(io), Arc::clone(&request));
        engine.open_session(&sessions, request, Transport::WebSocket, seat).await
    };
    opened.await.map(|(_, pipe, _)| pipe).map_err(|refused| {
        engine.service.refused(&refused.error, engine.hooks.report(&refused, &request));
        Refused::new(refused.error.to_string())
    })
}

/// Opens a session on the worker given, or on the present thread.
pub(super) async fn open(
    io: &SocketIo,
    worker: Option<ArbiterHandle>,
    request: TestRequest,
) -> Result<Pipe, Refused> {
    let Some(worker) = worker else { return open_here(io, request).await };
    let io = io.clone();
    let (sender, opened) = oneshot::channel();
    worker.spawn_fn(move || {
        actix::spawn(async move {
            // The test has ended if nobody waits.
            let _ = sender.send(open_here(&io, request).await);
        });
    });
    opened.await.unwrap_or_else(|_| Err(Refused::new("the worker has ended")))
}
