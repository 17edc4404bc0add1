//! A whole server for a test.

use std::{cell::Cell, future::Future, panic::Location, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    NO_SYSTEM, Patience, Refused, TestConnection, TestRequest, TestSocket, has_system, opening,
    pause,
};
use crate::{Snapshot, server::SocketIo, server::SocketIoBuilder};

/// A server that clients reach without a network. They are WebSocket clients: a server whose
/// `transports` have no WebSocket refuses them, with "Transport unknown".
///
/// ```
/// use greenroom::{prelude::*, testing::{TestRequest, TestServer}};
///
/// # actix_rt::System::new().block_on(async {
/// let server = TestServer::start(SocketIo::builder().namespace(
///     Namespace::new("/").on("address", |socket: Socket, (): ()| async move {
///         Ack(socket.handshake().request.address.map(|address| address.ip()))
///     }),
/// ));
/// let request = TestRequest::new().address("10.0.0.1:4711".parse().unwrap());
/// let connection = server.open_as(request).await.unwrap();
/// let ann = connection.join("/", ()).await.unwrap();
/// assert_eq!(ann.emit_with_ack("address", ()).await, serde_json::json!(["10.0.0.1"]));
/// # });
/// ```
#[derive(Debug)]
pub struct TestServer {
    io: SocketIo,
    patience: Patience,
    workers: Vec<Arbiter>,
    next: Cell<usize>,
}

impl TestServer {
    /// Starts a server on the thread of the test, with the clock paused.
    ///
    /// # Panics
    /// Outside a single-threaded actix system, such as that of `#[actix_rt::test]`, and as
    /// [`SocketIoBuilder::start`].
    #[track_caller]
    pub fn start(builder: SocketIoBuilder) -> Self {
        assert!(has_system(), "{NO_SYSTEM}");
        pause();
        let io = builder.start();
        opening::join_worker(&io);
        Self { patience: patience(&io), io, workers: Vec::new(), next: Cell::new(0) }
    }

    /// Starts a server with several workers, each a thread of its own, that get the connections in
    /// turn. The clock is **not** paused: the threads' work would be invisible to it.
    ///
    /// # Panics
    /// As [`TestServer::start`].
    #[track_caller]
    pub fn workers(builder: SocketIoBuilder, count: usize) -> impl Future<Output = Self> {
        let at = Location::caller();
        async move {
            assert!(has_system(), "{at}: {NO_SYSTEM}");
            Self::start_workers(builder, count).await
        }
    }

    async fn start_workers(builder: SocketIoBuilder, count: usize) -> Self {
        let io = builder.start();
        let workers: Vec<Arbiter> = (0..count).map(|_| Arbiter::new()).collect();
        for worker in &workers {
            let (sender, joined) = oneshot::channel();
            let io = io.clone();
            worker.spawn_fn(move || {
                opening::join_worker(&io);
                // The test has ended if nobody waits.
                let _ = sender.send(());
            });
            joined.await.expect("a worker has just been started");
        }
        Self { io, patience: Patience::real(), workers, next: Cell::new(0) }
    }

    /// The server as the application has it.
    pub fn io(&self) -> &SocketIo {
        &self.io
    }

    /// The server's counters.
    pub fn metrics(&self) -> Snapshot {
        self.io.metrics()
    }

    /// The server's link to its cluster dies, of a real panic, to show that it is started again.
    pub fn kill_link(&self) {
        self.io.kill_link();
    }

    /// Opens a connection that has not joined any namespace.
    ///
    /// # Errors
    /// If the server refuses the request.
    pub async fn open(&self) -> Result<TestConnection, Refused> {
        self.open_as(TestRequest::new()).await
    }

    /// The same with a request of one's own.
    ///
    /// # Errors
    /// If the server refuses the request.
    pub async fn open_as(&self, request: TestRequest) -> Result<TestConnection, Refused> {
        let worker = self.next.get();
        self.next.set(worker + 1);
        let worker = self.workers.get(worker % self.workers.len().max(1)).map(Arbiter::handle);
        let pipe = opening::open(&self.io, worker, request).await?;
        Ok(TestConnection::new(pipe, self.io.codec(), self.patience))
    }

    /// Connects a client to a namespace. Done when its connect listeners have run, as far as they
    /// do not wait.
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn connect(
        &self,
        namespace: &str,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<TestSocket, Refused>> {
        let at = Location::caller();
        async move { self.open().await?.join_at(at, namespace, &auth).await }
    }

    /// The same with a request of one's own.
    ///
    /// # Errors
    /// If the request or the client is refused.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn connect_as(
        &self,
        request: TestRequest,
        namespace: &str,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<TestSocket, Refused>> {
        let at = Location::caller();
        async move { self.open_as(request).await?.join_at(at, namespace, &auth).await }
    }

    /// Connects a client again whose connection broke, see [`TestConnection::rejoin`].
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// As [`TestConnection::rejoin`].
    #[track_caller]
    pub fn reconnect(
        &self,
        previous: &TestSocket,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<TestSocket, Refused>> {
        let at = Location::caller();
        async move { self.open().await?.rejoin_at(at, previous, &auth).await }
    }

    /// Connects many clients to a namespace, each over a connection of its own.
    ///
    /// # Panics
    /// If one is refused.
    #[track_caller]
    pub fn many(&self, namespace: &str, count: usize) -> impl Future<Output = Vec<TestSocket>> {
        let at = Location::caller();
        async move {
            let mut sockets = Vec::with_capacity(count);
            for _ in 0..count {
                let socket = async { self.open().await?.join_at(at, namespace, &()).await }.await;
                sockets.push(socket.unwrap_or_else(|refused| panic!("{at}: refused: {refused}")));
            }
            sockets
        }
    }

    /// Lets time pass. What is due happens in its order, at its time.
    pub async fn advance(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Lets everybody work until nothing is left to do but wait.
    pub async fn settle(&self) {
        tokio::time::sleep(self.patience.silence).await;
    }

    /// Closes the server; done when every connection and every namespace has ended.
    pub async fn close(self) {
        self.io.close().await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.stop();
        }
    }
}

pub(super) fn patience(io: &SocketIo) -> Patience {
    let config = &io.engine().config;
    Patience::paused(config.ping_interval + config.ping_timeout)
}
