//! One client's connection, as a test drives it.

use std::{fmt, future::Future, panic::Location, rc::Rc};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::{
    At, Parting, Patience, Refused, TestSocket,
    line::{Line, Phase, Recovery, engine_packet},
};
use crate::{engine::pipe::Pipe, packet::Outgoing, socket::Codec};

/// One client's connection: an Engine.IO session on which it may join any number of namespaces.
///
/// When the last handle of a connection and of its sockets is dropped, the connection breaks.
///
/// ```
/// use greenroom::{prelude::*, testing::TestServer};
///
/// # actix_rt::System::new().block_on(async {
/// let echo = Namespace::new("/").on_fallback(|socket: Socket, event: Event| async move {
///     socket.emit(&event.name, &event.args)
/// });
/// let server = TestServer::start(SocketIo::builder().namespace(echo));
/// let connection = server.open().await.unwrap();
/// let ann = connection.join("/", ()).await.unwrap();
/// connection.send_raw(r#"2["hello",1]"#);
/// assert_eq!(ann.next_event().await.name, "hello");
/// assert_eq!(connection.transcript().last().unwrap(), r#"2["hello",1]"#);
/// # });
/// ```
#[derive(Clone)]
pub struct TestConnection(pub(super) Rc<Line>);

impl fmt::Debug for TestConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.borrow();
        f.debug_struct("TestConnection")
            .field("namespaces", &state.seats.iter().map(|s| &s.namespace).collect::<Vec<_>>())
            .field("end", &state.end)
            .finish_non_exhaustive()
    }
}

impl TestConnection {
    pub(super) fn new(pipe: Pipe, codec: &Codec, patience: Patience) -> Self {
        Self(Line::start(pipe, codec, patience))
    }

    /// Joins a namespace. Done when its connect listeners have run, as far as they do not wait.
    ///
    /// # Errors
    /// If the server refuses.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn join(
        &self,
        namespace: &str,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<TestSocket, Refused>> {
        let at = Location::caller();
        async move { self.join_at(at, namespace, &auth).await }
    }

    /// Joins the namespace of a socket whose connection broke, as the official client does when it
    /// reconnects: it says which socket it had, and what it got last. Whether it has it back says
    /// [`TestSocket::recovered`].
    ///
    /// # Errors
    /// If the server refuses.
    ///
    /// # Panics
    /// If there is no answer, or if `auth` is neither an object nor `()`.
    #[track_caller]
    pub fn rejoin(
        &self,
        previous: &TestSocket,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<TestSocket, Refused>> {
        let at = Location::caller();
        async move { self.rejoin_at(at, previous, &auth).await }
    }

    pub(super) async fn rejoin_at(
        &self,
        at: At,
        previous: &TestSocket,
        auth: &impl Serialize,
    ) -> Result<TestSocket, Refused> {
        let mut whole = previous.session();
        match (&mut whole, serde_json::to_value(auth)) {
            (Value::Object(whole), Ok(Value::Object(mut auth))) => whole.append(&mut auth),
            (_, Ok(Value::Null)) => {}
            (_, auth) => panic!("{at}: {auth:?} is no object"),
        }
        self.join_at(at, &previous.namespace(), &whole).await
    }

    pub(super) async fn join_at(
        &self,
        at: At,
        namespace: &str,
        auth: &impl Serialize,
    ) -> Result<TestSocket, Refused> {
        let auth = serde_json::to_value(auth).unwrap_or_else(|error| panic!("{at}: {error}"));
        let index = self.0.sit(namespace, Recovery::of(&auth));
        let auth = (!auth.is_null()).then(|| auth.to_string());
        let auth = auth.as_deref();
        self.0.write_packet(at, &Outgoing::ConnectRequest { namespace, auth });
        let line = Rc::clone(&self.0);
        line.wait(at, "an answer to its CONNECT", |state| match &state.seats[index].phase {
            Phase::Asking => Ok(None),
            Phase::Refused(refused) => Ok(Some(Err(refused.clone()))),
            Phase::Parted(_) => Ok(Some(Err(Refused::new("the connection was closed")))),
            Phase::Joined(_) => Ok(Some(Ok(()))),
        })
        .await?;
        // The connect listeners are called right after the greeting; this comes behind them.
        self.0.settled().await;
        Ok(TestSocket::new(self.clone(), index))
    }

    /// Sends a Socket.IO packet as it is: `2["hello"]`.
    pub fn send_raw(&self, packet: &str) {
        self.0.write_text(packet.to_owned());
    }

    /// Sends an Engine.IO packet as it is, such as `2`, a ping.
    pub fn send_engine(&self, packet: &str) {
        self.0.write(engine_packet(packet.to_owned()));
    }

    /// Sends a binary message as it is: an attachment, if the server waits for one.
    pub fn send_binary(&self, data: impl Into<Bytes>) {
        self.0.write_binary(data.into());
    }

    /// All Socket.IO packets that have come on this connection, in order, as text; an attachment
    /// is shown as `<3 bytes>`. Of a server with another parser, binary messages are shown as the
    /// packets that they are.
    pub fn transcript(&self) -> Vec<String> {
        self.0.state.borrow().transcript.clone()
    }

    /// Waits for the connection's end, whoever brings it about.
    ///
    /// # Panics
    /// If it goes on.
    #[track_caller]
    pub fn closed(&self) -> impl Future<Output = Parting> + use<> {
        let at = Location::caller();
        Rc::clone(&self.0).wait(at, "the end of the connection", |state| Ok(state.end))
    }

    /// Whether the connection has ended, as far as the client knows.
    pub fn is_closed(&self) -> bool {
        self.0.state.borrow().end.is_some()
    }

    /// Breaks the connection without a word, as a network does.
    pub fn drop_connection(&self) {
        self.0.end(Parting::ByClient);
        self.0.break_off();
    }

    /// From now on the client is deaf to heartbeats: the server will find out.
    pub fn stop_answering_pings(&self) {
        self.0.state.borrow_mut().answers_pings = false;
    }

    /// From now on the client reads nothing: what is sent to it waits in its outbox.
    pub fn stop_reading(&self) {
        self.0.state.borrow_mut().reads = false;
    }

    /// Reads on.
    pub fn resume_reading(&self) {
        self.0.state.borrow_mut().reads = true;
        self.0.wake();
    }

    /// Packets the server has not taken from this client yet, because it reads no more than it can
    /// handle; what lies in its short inbox is not counted.
    pub fn unsent(&self) -> usize {
        self.0.state.borrow().outgoing.len()
    }
}
