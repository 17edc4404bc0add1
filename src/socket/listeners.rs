//! Event name → listener: an async fn, or an actor's recipient.

use std::{fmt, future::Future, marker::PhantomData, sync::Arc};

use actix::prelude::*;
use hashbrown::HashMap;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::{
    AckSender, DisconnectReason, Pace, Socket,
    catch_all::{AnyListener, OutgoingListener},
    errors::{ConnectError, EventError},
    middleware::EventMiddleware,
    outcome::{IntoOutcome, Outcome},
};
use crate::{
    engine::{ConnectionEvent, LocalFuture},
    packet::Event,
};

/// An event on its way to a listener.
pub(crate) struct Call {
    pub(crate) socket: Socket,
    pub(crate) event: Event,
    pub(crate) ack: AckSender,
}

/// A listener as the tables hold it.
pub(crate) type Handler = Arc<dyn Fn(Call) -> LocalFuture<Outcome> + Send + Sync>;
/// The listeners of one event.
pub(crate) type Handlers = SmallVec<[Handler; 1]>;
pub(crate) type Middleware =
    Arc<dyn Fn(Socket) -> LocalFuture<Result<(), ConnectError>> + Send + Sync>;
pub(crate) type OnConnect = Arc<dyn Fn(Socket) -> LocalFuture<Outcome> + Send + Sync>;
/// Something happened to a socket, and what.
pub(crate) type Hook<T> = Arc<dyn Fn(Socket, T) -> LocalFuture<Outcome> + Send + Sync>;
pub(crate) type OnDisconnect = Hook<DisconnectReason>;
pub(crate) type OnConnection = Hook<ConnectionEvent>;
pub(crate) type OnPace = Hook<Pace>;
pub(crate) type OnServerSide = dyn Fn(Event) -> LocalFuture<Outcome> + Send + Sync;
pub(crate) type ErrorHook = Arc<dyn Fn(&Socket, &str, &EventError) + Send + Sync>;

/// Anything that accepts an event: an async fn of `(Socket, data)` or of
/// `(Socket, data, AckSender)`, or a [`Recipient`] of [`FromSocket`] (`addr.recipient()`).
///
/// `data` is deserialized from the arguments: a tuple takes as many as it has, [`Args`](crate::Args) takes all,
/// `()` none, and any other type the first. Arrays `[T; N]` count as tuples here, `Vec<T>` does not. What the listener returns is the ack: [`Ack`] answers,
/// `()` does not, and an `Err` of a `Result` answers with an error (see [`EventError`]).
///
/// `M` only tells the three forms apart and is never written out.
///
/// ```
/// use greenroom::prelude::*;
///
/// async fn say(socket: Socket, text: String) -> Result<(), EmitError> {
///     socket.to("lobby").emit("said", &text)
/// }
///
/// async fn add(_: Socket, (a, b): (i64, i64), ack: AckSender) -> Result<(), EmitError> {
///     ack.send(&(a + b))
/// }
///
/// Namespace::new("/").on("say", say).on("add", add);
/// ```
///
/// [`FromSocket`] shows an actor.
///
/// [`Ack`]: super::Ack
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "write an async closure or fn of `(Socket, data)` or `(Socket, data, AckSender)`",
    note = "`data` is what the arguments deserialize to: `_: ()` for none, a tuple for several, `Args` for all",
    note = "a type of your own derives `serde::Deserialize` as `data`, `serde::Serialize` in `Ack(..)`",
    note = "`AckSender` is the third argument of the closure, not part of the tuple",
    note = "it returns `()`, `Ack(..)`, or a `Result` of either: wrap what the client should get in `Ack(..)`",
    note = "the error of that `Result` is `EventError`, or what implements `std::error::Error`: a text is `EventError::new(text)`",
    note = "for an actor, give its recipient: `addr.recipient::<FromSocket<T, Ack<R>>>()`"
)]
pub trait Listener<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_handler(self) -> BoxedListener;
}

/// A listener made ready for the table. Opaque.
pub struct BoxedListener(pub(crate) Handler);

impl Listener<Self> for BoxedListener {
    fn into_handler(self) -> Self {
        self
    }
}

impl fmt::Debug for BoxedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxedListener")
    }
}

pub(super) fn boxed<Fut>(future: Fut) -> LocalFuture<Outcome>
where
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    Box::pin(async move { future.await.into_outcome() })
}

pub(super) fn refused(error: EventError) -> LocalFuture<Outcome> {
    Box::pin(std::future::ready(Outcome::Failed(error)))
}

impl<F, T, Fut> Listener<(T,)> for F
where
    F: Fn(Socket, T) -> Fut + Send + Sync + 'static,
    T: DeserializeOwned + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    fn into_handler(self) -> BoxedListener {
        BoxedListener(Arc::new(move |call| match call.event.args.parse() {
            Ok(data) => boxed(self(call.socket, data)),
            Err(error) => refused(error.into()),
        }))
    }
}

impl<F, T, Fut> Listener<(T, AckSender)> for F
where
    F: Fn(Socket, T, AckSender) -> Fut + Send + Sync + 'static,
    T: DeserializeOwned + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    fn into_handler(self) -> BoxedListener {
        BoxedListener(Arc::new(move |call| match call.event.args.parse() {
            Ok(data) => boxed(self(call.socket, data, call.ack)),
            Err(error) => refused(error.into()),
        }))
    }
}

/// An event as an actor gets it; the result of its handler is the ack.
///
/// ```
/// use actix::prelude::*;
/// use greenroom::{Ack, EventError, FromSocket, Namespace};
///
/// type Say = FromSocket<String, Ack<u64>>;
///
/// struct History(Vec<String>);
/// impl Actor for History { type Context = Context<Self>; }
/// impl Handler<Say> for History {
///     type Result = Result<Ack<u64>, EventError>;
///     fn handle(&mut self, say: Say, _: &mut Context<Self>) -> Self::Result {
///         self.0.push(say.data);
///         Ok(Ack(self.0.len() as u64))
///     }
/// }
/// # actix::System::new().block_on(async {
/// let history = History(Vec::new()).start();
/// Namespace::new("/chat").on("say", history.recipient::<Say>());
/// # });
/// ```
pub struct FromSocket<T, R = ()> {
    /// The client that sent the event.
    pub socket: Socket,
    /// The event's arguments.
    pub data: T,
    answer: PhantomData<fn() -> R>,
}

impl<T, R> FromSocket<T, R> {
    pub(super) fn new(socket: Socket, data: T) -> Self {
        Self { socket, data, answer: PhantomData }
    }
}

impl<T: fmt::Debug, R> fmt::Debug for FromSocket<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, data, .. } = self;
        f.debug_struct("FromSocket").field("socket", socket).field("data", data).finish()
    }
}

impl<T, R: Send + 'static> Message for FromSocket<T, R> {
    type Result = Result<R, EventError>;
}

impl<T, R> Listener<FromSocket<T, R>> for Recipient<FromSocket<T, R>>
where
    T: DeserializeOwned + Send + 'static,
    R: IntoOutcome + Send + 'static,
{
    fn into_handler(self) -> BoxedListener {
        BoxedListener(Arc::new(move |call| match call.event.args.parse() {
            Ok(data) => {
                let answer = self.send(FromSocket::new(call.socket, data));
                Box::pin(async move {
                    match answer.await {
                        Ok(answer) => answer.into_outcome(),
                        Err(error) => Outcome::Failed(EventError::internal(error)),
                    }
                })
            }
            Err(error) => refused(error.into()),
        }))
    }
}

pub(crate) fn hook<T, F, Fut>(listener: F) -> Hook<T>
where
    F: Fn(Socket, T) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    Arc::new(move |socket, what| boxed(listener(socket, what)))
}

pub(crate) fn on_fallback<F, Fut>(listener: F) -> Handler
where
    F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    Arc::new(move |call| boxed(listener(call.socket, call.event)))
}

pub(crate) fn on_connect<F, Fut>(listener: F) -> OnConnect
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    Arc::new(move |socket| boxed(listener(socket)))
}

/// What a namespace does when something happens to its sockets.
#[derive(Clone, Default)]
pub(crate) struct Listeners {
    pub(crate) before_connect: Vec<Middleware>,
    pub(crate) before_event: Vec<EventMiddleware>,
    pub(crate) any: Vec<AnyListener>,
    pub(crate) any_outgoing: Vec<OutgoingListener>,
    pub(crate) connect: Vec<OnConnect>,
    pub(crate) expiring: Vec<OnConnect>,
    pub(crate) disconnecting: Vec<OnDisconnect>,
    pub(crate) disconnect: Vec<OnDisconnect>,
    pub(crate) pace: Vec<OnPace>,
    pub(crate) events: HashMap<String, Handlers>,
    pub(crate) fallback: Vec<Handler>,
    /// Those of events that other servers send.
    pub(crate) server_side: HashMap<String, Vec<Arc<OnServerSide>>>,
}

/// Names one listener of one socket, so that it can be taken away again.
///
/// ```
/// use greenroom::prelude::*;
///
/// Namespace::new("/draw").on_connect(|socket: Socket| async move {
///     let line = socket.on("line", |socket: Socket, line: Args| async move {
///         socket.to("drawing").emit("line", &line)
///     });
///     socket.once("enough", move |socket: Socket, (): ()| async move {
///         socket.off(line);
///     });
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u64);

pub(crate) struct Own {
    pub(crate) id: ListenerId,
    pub(crate) event: Box<str>,
    pub(crate) once: bool,
    pub(crate) handler: Handler,
}

/// The listeners that one socket got at run time.
#[derive(Default)]
pub(crate) struct OwnListeners {
    pub(crate) events: Vec<Own>,
    pub(crate) disconnecting: Vec<OnDisconnect>,
    pub(crate) disconnect: Vec<OnDisconnect>,
    pub(crate) connection: Vec<OnConnection>,
    next: u64,
}

impl OwnListeners {
    /// A name that nothing else of the socket has.
    pub(crate) fn next_id(&mut self) -> ListenerId {
        self.next += 1;
        ListenerId(self.next)
    }

    /// Adds a listener behind the others, or before them.
    pub(crate) fn add(
        &mut self,
        event: &str,
        once: bool,
        first: bool,
        handler: Handler,
    ) -> ListenerId {
        let id = self.next_id();
        let index = if first { 0 } else { self.events.len() };
        self.events.insert(index, Own { id, event: event.into(), once, handler });
        id
    }

    /// The listeners of an event, in the order they were added; those for once are taken out.
    pub(crate) fn take(&mut self, event: &str, into: &mut Handlers) {
        self.events.retain(|own| {
            if &*own.event != event {
                return true;
            }
            into.push(Arc::clone(&own.handler));
            !own.once
        });
    }
}
