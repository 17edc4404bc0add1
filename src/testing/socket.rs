//! One client in one namespace, as a test drives it.

use std::{fmt, future::Future, panic::Location, pin::Pin, rc::Rc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    At, NO_SYSTEM, Parting, Refused, TestConnection, TestRequest, TestTarget, has_system,
    line::{Line, Phase, Seat},
    opening, pause, server,
};
use crate::{
    packet::{Args, Outgoing, Payload},
    room::SocketId,
};

/// A client in a namespace, with the namespace's real actors at the other end.
///
/// Methods that wait fail the test when what they wait for does not come; the failure names the
/// line that waited.
///
/// ```
/// use greenroom::{prelude::*, testing::TestSocket};
/// use serde_json::json;
///
/// # actix_rt::System::new().block_on(async {
/// let chat = Namespace::new("/chat").on("double", |_: Socket, n: f64| async move { Ack(n * 2.0) });
/// let ann = TestSocket::connect(&actix::Actor::start(chat), json!({})).await.unwrap();
/// assert_eq!(ann.emit_with_ack("double", json!(21)).await, json!([42.0]));
/// # });
/// ```
#[derive(Clone)]
pub struct TestSocket {
    connection: TestConnection,
    index: usize,
}

impl fmt::Debug for TestSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_seat(|seat| {
            f.debug_struct("TestSocket")
                .field("namespace", &seat.namespace)
                .field("phase", &seat.phase)
                .finish_non_exhaustive()
        })
    }
}

impl TestSocket {
    pub(super) fn new(connection: TestConnection, index: usize) -> Self {
        Self { connection, index }
    }

    /// Connects a client over a connection of its own, and pauses the clock. Done when the connect
    /// listeners of the namespace have run, as far as they do not wait.
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// If there is no answer, or outside a single-threaded actix system, such as that of
    /// `#[actix_rt::test]`.
    #[track_caller]
    pub fn connect<T: TestTarget>(
        target: T,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<Self, Refused>> {
        Self::connect_as(TestRequest::new(), target, auth)
    }

    /// The same with a request of one's own.
    ///
    /// # Errors
    /// As [`TestSocket::connect`].
    ///
    /// # Panics
    /// As [`TestSocket::connect`].
    #[track_caller]
    pub fn connect_as<T: TestTarget>(
        request: TestRequest,
        target: T,
        auth: impl Serialize,
    ) -> impl Future<Output = Result<Self, Refused>> {
        let at = Location::caller();
        async move {
            assert!(has_system(), "{at}: {NO_SYSTEM}");
            pause();
            let (io, namespace) = target.reach().await;
            let pipe = opening::open(&io, None, request).await?;
            let connection = TestConnection::new(pipe, io.codec(), server::patience(&io));
            connection.join_at(at, &namespace, &auth).await
        }
    }

    fn line(&self) -> Rc<Line> {
        Rc::clone(&self.connection.0)
    }

    fn with_seat<T>(&self, look: impl FnOnce(&mut Seat) -> T) -> T {
        look(&mut self.line().state.borrow_mut().seats[self.index])
    }

    /// The connection that carries this socket.
    pub fn connection(&self) -> &TestConnection {
        &self.connection
    }

    /// Its id, the same as on the server; of a socket that has left, an empty one.
    pub fn id(&self) -> SocketId {
        self.with_seat(|seat| match &seat.phase {
            Phase::Joined(id) => SocketId::from(id),
            _ => SocketId::from(""),
        })
    }

    /// Whether it is the socket that the client had before its connection broke.
    pub fn recovered(&self) -> bool {
        self.with_seat(|seat| seat.recovery.recovered)
    }

    /// What the client says when it comes back, see [`TestConnection::rejoin`]: an object with
    /// `pid` and `offset`, as far as it has got them.
    pub fn session(&self) -> Value {
        self.with_seat(|seat| {
            let texts = [("pid", &seat.recovery.pid), ("offset", &seat.recovery.offset)];
            let known = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
            known.map(|(name, text)| (name.to_owned(), Value::from(text.as_str()))).collect()
        })
    }

    /// The namespace.
    pub fn namespace(&self) -> String {
        self.with_seat(|seat| seat.namespace.clone())
    }

    /// Joins another namespace on the same connection.
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
    ) -> impl Future<Output = Result<Self, Refused>> {
        let at = Location::caller();
        async move { self.connection.join_at(at, namespace, &auth).await }
    }

    // ---- events --------------------------------------------------------------------------------

    /// Sends an event. A tuple becomes several arguments, `()` none, anything else one.
    ///
    /// # Panics
    /// If the name is reserved or the data has no JSON form.
    #[track_caller]
    pub fn emit(&self, event: &str, data: impl Serialize) {
        self.send_event(event, &data, None, Location::caller());
    }

    fn send_event(&self, event: &str, data: &impl Serialize, ack: Option<u64>, at: At) {
        let payload = Payload::event(event, data).unwrap_or_else(|error| panic!("{at}: {error}"));
        let namespace = self.namespace();
        let event = Outgoing::Event { namespace: &namespace, id: ack, payload: &payload };
        self.line().write_packet(at, &event);
    }

    /// Sends an event at once and gives the server's answer. The future need not be awaited.
    ///
    /// # Panics
    /// If there is no answer, or as [`TestSocket::emit`].
    #[track_caller]
    pub fn emit_with_ack(
        &self,
        event: &str,
        data: impl Serialize,
    ) -> Pin<Box<dyn Future<Output = Args>>> {
        let at = Location::caller();
        let id = self.with_seat(|seat| {
            seat.last_ack += 1;
            seat.last_ack
        });
        self.send_event(event, &data, Some(id), at);
        let index = self.index;
        Box::pin(self.line().wait(at, "an ack", move |state| {
            let seat = &mut state.seats[index];
            match seat.acks.remove(&id) {
                Some(args) => Ok(Some(args)),
                None => seat.still_joined().map(|()| None),
            }
        }))
    }

    /// The next event from the server, in order. If the server wants an answer, see
    /// [`TestEvent::answer`].
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn next_event(&self) -> impl Future<Output = TestEvent> + use<> {
        let at = Location::caller();
        let (index, line) = (self.index, self.line());
        let waiting = self.line().wait(at, "an event", move |state| {
            let seat = &mut state.seats[index];
            match seat.events.pop_front() {
                Some((event, id)) => Ok(Some((event, id, seat.namespace.clone()))),
                None => seat.still_joined().map(|()| None),
            }
        });
        async move {
            let (event, id, namespace) = waiting.await;
            TestEvent { name: event.name.to_string(), args: event.args, id, namespace, line }
        }
    }

    /// Whether an event has come that was not taken.
    pub fn has_event(&self) -> bool {
        self.with_seat(|seat| !seat.events.is_empty())
    }

    /// Lets everybody work until nothing is left to do, and fails if an event, or an answer that
    /// nobody has taken, came to this socket.
    ///
    /// # Panics
    /// If something came.
    #[track_caller]
    pub fn expect_silence(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            tokio::time::sleep(self.line().patience.silence).await;
            self.with_seat(|seat| {
                if let Some((event, _)) = seat.events.front() {
                    panic!(
                        "{at}: expected silence, but got {:?} {}",
                        &*event.name,
                        event.args.to_json()
                    );
                }
                if let Some((id, args)) = seat.acks.iter().next() {
                    panic!("{at}: expected silence, but got ack {id}: {}", args.to_json());
                }
            });
        }
    }

    // ---- the end -------------------------------------------------------------------------------

    /// Leaves the namespace; the connection stays.
    pub fn leave(&self) {
        self.line().leave(self.index);
    }

    /// Leaves as the official client does: the namespace, and the connection if it was the last
    /// one. Done when the server has nothing left to do.
    pub async fn disconnect(&self) {
        self.leave();
        tokio::time::sleep(self.line().patience.silence).await;
        let last = self.line().state.borrow().seats.iter().all(|seat| seat.still_joined().is_err());
        if last {
            self.connection.drop_connection();
            tokio::time::sleep(self.line().patience.silence).await;
        }
    }

    /// See [`TestConnection::drop_connection`].
    pub fn drop_connection(&self) {
        self.connection.drop_connection();
    }

    /// See [`TestConnection::stop_answering_pings`].
    pub fn stop_answering_pings(&self) {
        self.connection.stop_answering_pings();
    }

    /// Waits for the end of this socket.
    ///
    /// # Panics
    /// If it goes on.
    #[track_caller]
    pub fn disconnected(&self) -> impl Future<Output = Parting> + use<> {
        let (at, index) = (Location::caller(), self.index);
        self.line().wait(at, "the end of the socket", move |state| {
            Ok(match state.seats[index].phase {
                Phase::Parted(parting) => Some(parting),
                _ => None,
            })
        })
    }

    /// Whether it is in its namespace, as far as the client knows.
    pub fn is_connected(&self) -> bool {
        self.with_seat(|seat| matches!(seat.phase, Phase::Joined(_)))
    }
}

impl Seat {
    /// Whether anything may still come; why not.
    fn still_joined(&self) -> Result<(), String> {
        match &self.phase {
            Phase::Asking | Phase::Joined(_) => Ok(()),
            Phase::Refused(refused) => Err(format!("the socket was refused: {refused}")),
            Phase::Parted(parting) => Err(format!("the socket is disconnected: {parting}")),
        }
    }
}

/// An event that came from the server.
///
/// It equals a pair of its name and its arguments: `("said".into(), json!(["hi"]))`.
///
/// ```
/// use greenroom::{prelude::*, testing::TestServer};
/// use serde_json::json;
///
/// # actix_rt::System::new().block_on(async {
/// let server = TestServer::start(SocketIo::builder());
/// let client = server.connect("/", ()).await.unwrap();
/// server.io().emit("price", &("tea", 3)).unwrap();
/// let event = client.next_event().await;
/// assert_eq!(event, ("price".into(), json!(["tea", 3])));
/// let (what, price): (String, u32) = event.data();
/// assert_eq!((what.as_str(), price), ("tea", 3));
/// # });
/// ```
#[derive(Clone)]
pub struct TestEvent {
    /// Its name.
    pub name: String,
    /// Its arguments, binary included.
    pub args: Args,
    id: Option<u64>,
    namespace: String,
    line: Rc<Line>,
}

impl TestEvent {
    /// The arguments as a type: a tuple takes as many as it has, any other type the first.
    ///
    /// # Panics
    /// If they are of another type.
    #[track_caller]
    pub fn data<T: DeserializeOwned>(&self) -> T {
        self.args.parse().unwrap_or_else(|error| panic!("the data of {self:?}: {error}"))
    }

    /// Whether the server waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.id.is_some()
    }

    /// Answers the server. A tuple becomes several values, `()` none, anything else one.
    ///
    /// # Panics
    /// If the server did not ask, or the data has no JSON form.
    #[track_caller]
    pub fn answer(&self, data: impl Serialize) {
        let Some(id) = self.id else { panic!("{self:?} wants no answer") };
        let payload = match Payload::ack(&data) {
            Ok(payload) => payload,
            Err(error) => panic!("the answer to {self:?}: {error}"),
        };
        let answer = Outgoing::Ack { namespace: &self.namespace, id, payload: &payload };
        self.line.write_packet(Location::caller(), &answer);
    }
}

impl PartialEq<(String, Value)> for TestEvent {
    fn eq(&self, (name, args): &(String, Value)) -> bool {
        self.name == *name && self.args == *args
    }
}

impl fmt::Debug for TestEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:?}, {})", self.name, self.args.to_json())
    }
}
