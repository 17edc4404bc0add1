//! Describing a namespace: middlewares, listeners, settings.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use actix::prelude::*;
use hashbrown::HashMap;
use tracing::warn;

use super::{Namespace, Tenure, crew::Crew, membership::Membership};
use crate::{
    engine::WhenFull,
    metrics::meters::Census,
    packet::{Event, is_reserved},
    socket::{
        BoxedListener, ConnectError, DisconnectReason, EventError, IntoOutcome, Listener, Pace,
        Socket,
        home::Description,
        listeners::{self, Middleware, OnConnect, OnDisconnect},
    },
};

/// The description of a namespace that is not shared yet.
pub(super) fn description(description: &mut Arc<Description>) -> &mut Description {
    if Arc::get_mut(description).is_none() {
        // Never while it is built: the builder owns it alone.
        *description = Arc::default();
    }
    Arc::get_mut(description).expect("a description just made has one owner")
}

impl Namespace {
    /// A namespace without listeners. A missing slash before the name is added.
    pub fn new(name: &str) -> Self {
        let name = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
        Self {
            name: name.into(),
            description: Arc::default(),
            metrics: Arc::default(),
            home: Weak::new(),
            members: Membership::default(),
            census: Census::default(),
            crew: Crew::default(),
            keeper: None,
            link: None,
            serving: Arc::new(()),
            room_events: Vec::new(),
            socket_events: Vec::new(),
            partings: HashMap::new(),
            stopping: false,
            listing: None,
            tenure: Tenure::ForGood,
            operations: 0,
            admitting: None,
            #[cfg(feature = "testing")]
            fuse: None,
        }
    }

    /// A namespace whose events are handled by one actor, see [`NamespaceActor`].
    pub fn from_actor<A: NamespaceActor>(name: &str, actor: Addr<A>) -> Self {
        let mut on = On { namespace: Self::new(name), actor };
        A::listeners(&mut on);
        on.namespace
    }

    fn describe(&mut self) -> &mut Description {
        description(&mut self.description)
    }

    /// Adds a middleware: it runs when a client asks to join, in order, and may refuse it. An
    /// async fn of the [`Socket`], or the recipient of an actor that handles [`Connecting`].
    #[must_use]
    pub fn before_connect<M>(mut self, middleware: impl IntoMiddleware<M>) -> Self {
        self.describe().listeners.before_connect.push(middleware.into_middleware());
        self
    }

    /// Calls `listener` with every socket that has joined.
    #[must_use]
    pub fn on_connect<M>(mut self, listener: impl IntoConnect<M>) -> Self {
        self.describe().listeners.connect.push(listener.into_connect());
        self
    }

    /// Calls `listener` with every socket whose [time to live](Socket::expire_in) is about to end,
    /// [`expiry_warning`](Self::expiry_warning) before. More time may be given there and then, or
    /// later by the listener of an event.
    #[must_use]
    pub fn on_expiring<M>(mut self, listener: impl IntoConnect<M>) -> Self {
        self.describe().listeners.expiring.push(listener.into_connect());
        self
    }

    /// How long before the end of a [time to live](Socket::expire_in)
    /// [`on_expiring`](Self::on_expiring) is told; at once, if there is less. Default 30 s.
    #[must_use]
    pub fn expiry_warning(mut self, before: Duration) -> Self {
        self.describe().expiry_warning = before;
        self
    }

    /// Calls `listener` with every socket that is about to leave, while it still is in its rooms.
    #[must_use]
    pub fn on_disconnecting<M>(mut self, listener: impl IntoDisconnect<M>) -> Self {
        self.describe().listeners.disconnecting.push(listener.into_disconnect());
        self
    }

    /// Calls `listener` with every socket that has left.
    #[must_use]
    pub fn on_disconnect<M>(mut self, listener: impl IntoDisconnect<M>) -> Self {
        self.describe().listeners.disconnect.push(listener.into_disconnect());
        self
    }

    /// Adds a listener for an event. Several listeners of one event are called in order; the
    /// first answer is the ack.
    ///
    /// # Panics
    /// If the name is reserved, as no client can send it: what happens to sockets is told to
    /// [`on_connect`](Self::on_connect), [`on_disconnecting`](Self::on_disconnecting) and
    /// [`on_disconnect`](Self::on_disconnect).
    #[must_use]
    #[track_caller]
    pub fn on<M>(mut self, event: &str, listener: impl Listener<M>) -> Self {
        assert!(
            !is_reserved(event),
            "no client can send {event:?}: use on_connect, on_disconnecting or on_disconnect"
        );
        if event == "connection" {
            warn!(
                "a listener waits for clients to send \"connection\": on_connect hears of new sockets"
            );
        }
        let BoxedListener(handler) = listener.into_handler();
        self.describe().listeners.events.entry(event.to_owned()).or_default().push(handler);
        self
    }

    /// Adds a listener for the events that no other listener takes: name and arguments.
    #[must_use]
    pub fn on_fallback<F, Fut>(mut self, listener: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoOutcome,
    {
        self.describe().listeners.fallback.push(listeners::on_fallback(listener));
        self
    }

    /// Calls `hook` with every error of a listener or of a middleware of events: the socket, the event's name, the error. It
    /// runs on the client's worker and should be short.
    #[must_use]
    pub fn on_error(
        mut self,
        hook: impl Fn(&Socket, &str, &EventError) + Send + Sync + 'static,
    ) -> Self {
        self.describe().error_hook = Some(Arc::new(hook));
        self
    }

    /// What becomes of the events of this namespace for clients that do not keep up, unless the emit
    /// says something else. Default [`WhenFull::Close`].
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.describe().when_full = when_full;
        self
    }

    /// Calls `listener` when a client does not keep up with what is sent to it, and when it has caught
    /// up again: with each socket that the client has in the namespace.
    ///
    /// A client is slow from the moment when more waits for it than its outbox should hold, until it has
    /// read so much that no more than half of that waits. One that is closed for it gets no
    /// [`Pace::CaughtUp`], but [`on_disconnect`](Self::on_disconnect) with the reason "slow client". It runs on
    /// the client's worker, soon after the fact: a client that is slow for an instant may go
    /// unnoticed. What it sends to a slow client waits with the rest.
    #[must_use]
    pub fn on_pace<F, Fut>(mut self, listener: F) -> Self
    where
        F: Fn(Socket, Pace) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoOutcome,
    {
        self.describe().listeners.pace.push(listeners::hook(listener));
        self
    }

    /// Shares a value with the listeners, see [`Socket::shared`]. One value of each type; what the
    /// namespace shares wins over what its server shares.
    #[must_use]
    pub fn share<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.describe().shared.insert(value);
        self
    }

    /// Whether the listeners of one socket run one after the other: the next starts when the last
    /// has finished. By default they only start in order.
    #[must_use]
    pub fn serial(mut self, serial: bool) -> Self {
        self.describe().serial = serial;
        self
    }
}

/// A client asks to join; the actor's result decides.
///
/// ```
/// use std::{collections::HashSet, net::IpAddr};
///
/// use actix::prelude::*;
/// use greenroom::{CloseReason, Connecting, Disconnected, prelude::*};
///
/// struct Bans(HashSet<IpAddr>);
/// impl Actor for Bans { type Context = Context<Self>; }
/// impl Handler<Connecting> for Bans {
///     type Result = Result<(), ConnectError>;
///     fn handle(&mut self, Connecting(socket): Connecting, _: &mut Context<Self>) -> Self::Result {
///         let banned = address(&socket).is_some_and(|address| self.0.contains(&address));
///         if banned { Err(ConnectError::new("come back tomorrow")) } else { Ok(()) }
///     }
/// }
/// impl Handler<Disconnected> for Bans {
///     type Result = ();
///     fn handle(&mut self, Disconnected { socket, reason }: Disconnected, _: &mut Context<Self>) {
///         if reason == DisconnectReason::Session(CloseReason::RateLimit) {
///             self.0.extend(address(&socket));
///         }
///     }
/// }
/// # fn address(socket: &Socket) -> Option<IpAddr> {
/// #     socket.handshake().request.address.map(|address| address.ip())
/// # }
/// # actix::System::new().block_on(async {
/// let bans = Bans(HashSet::new()).start();
/// Namespace::new("/chat")
///     .before_connect(bans.clone().recipient::<Connecting>())
///     .on_disconnect(bans.recipient::<Disconnected>());
/// # });
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), ConnectError>")]
pub struct Connecting(pub Socket);

/// A socket is about to leave, or has left.
///
/// [`Connecting`] shows an actor that gets both.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Disconnected {
    /// The socket.
    pub socket: Socket,
    /// Why.
    pub reason: DisconnectReason,
}

/// A middleware: an async fn of a [`Socket`], or a [`Recipient`](actix::Recipient) of [`Connecting`].
///
/// [`ConnectError`] shows the one, [`Connecting`] the other.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware",
    note = "write an async fn of one `Socket` that returns `Result<(), ConnectError>`, or give `addr.recipient::<Connecting>()`"
)]
pub trait IntoMiddleware<M> {
    #[doc(hidden)]
    fn into_middleware(self) -> BoxedMiddleware;
}

/// A middleware made ready for the table. Opaque.
pub type BoxedMiddleware = Middleware;

impl<F, Fut, E> IntoMiddleware<(Fut,)> for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + 'static,
    E: Into<ConnectError>,
{
    fn into_middleware(self) -> Middleware {
        Arc::new(move |socket| {
            let checked = self(socket);
            Box::pin(async move { checked.await.map_err(Into::into) })
        })
    }
}

impl IntoMiddleware<Connecting> for Recipient<Connecting> {
    fn into_middleware(self) -> Middleware {
        Arc::new(move |socket| {
            let checked = self.send(Connecting(socket));
            Box::pin(async move {
                checked.await.unwrap_or_else(|_| Err(ConnectError::new("internal error")))
            })
        })
    }
}

/// A listener of connects: an async fn of a [`Socket`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener of connects",
    note = "write an async fn of one `Socket`: an async closure with one argument"
)]
pub trait IntoConnect<M> {
    #[doc(hidden)]
    fn into_connect(self) -> OnConnect;
}

impl<F, Fut> IntoConnect<(Fut,)> for F
where
    F: Fn(Socket) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    fn into_connect(self) -> OnConnect {
        listeners::on_connect(self)
    }
}

/// A listener of the end of sockets: an async fn of a [`Socket`] and a [`DisconnectReason`], or a
/// [`Recipient`] of [`Disconnected`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener of disconnects",
    note = "write an async fn of `(Socket, DisconnectReason)`, or give `addr.recipient::<Disconnected>()`"
)]
pub trait IntoDisconnect<M> {
    #[doc(hidden)]
    fn into_disconnect(self) -> OnDisconnect;
}

impl<F, Fut> IntoDisconnect<(Fut,)> for F
where
    F: Fn(Socket, DisconnectReason) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: IntoOutcome,
{
    fn into_disconnect(self) -> OnDisconnect {
        listeners::hook(self)
    }
}

impl IntoDisconnect<Disconnected> for Recipient<Disconnected> {
    fn into_disconnect(self) -> OnDisconnect {
        listeners::hook(move |socket, reason| {
            let told = self.send(Disconnected { socket, reason });
            async move { told.await.map_err(EventError::internal) }
        })
    }
}

/// An actor that handles the events of a namespace: it lists them once, each a message.
///
/// ```
/// use actix::prelude::*;
/// use greenroom::{Ack, EventError, FromSocket, Namespace, NamespaceActor, On};
///
/// type Add = FromSocket<i64, Ack<i64>>;
///
/// #[derive(Default)]
/// struct Total(i64);
/// impl Actor for Total { type Context = Context<Self>; }
/// impl Handler<Add> for Total {
///     type Result = Result<Ack<i64>, EventError>;
///     fn handle(&mut self, add: Add, _: &mut Context<Self>) -> Self::Result {
///         self.0 += add.data;
///         Ok(Ack(self.0))
///     }
/// }
/// impl NamespaceActor for Total {
///     fn listeners(on: &mut On<Self>) { on.event::<Add>("add"); }
/// }
/// # actix::System::new().block_on(async {
/// let total = Namespace::from_actor("/total", Total::default().start());
/// # });
/// ```
pub trait NamespaceActor: Actor<Context = Context<Self>> {
    /// Names the events and the messages they become.
    fn listeners(on: &mut On<Self>);
}

/// Collects the events of a [`NamespaceActor`].
pub struct On<A: Actor> {
    namespace: Namespace,
    pub(super) actor: Addr<A>,
}

impl<A: Actor> std::fmt::Debug for On<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("On").field(&self.namespace).finish()
    }
}

impl<A: Actor<Context = Context<A>>> On<A> {
    pub(super) fn change(&mut self, change: impl FnOnce(Namespace) -> Namespace) {
        let namespace = std::mem::replace(&mut self.namespace, Namespace::new("/"));
        self.namespace = change(namespace);
    }

    /// The event becomes the message `M`, a [`FromSocket`](crate::FromSocket).
    pub fn event<M>(&mut self, event: &str)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        Recipient<M>: Listener<M>,
    {
        let recipient = self.actor.clone().recipient::<M>();
        self.change(|namespace| namespace.on(event, recipient));
    }

    /// The actor decides who may join.
    pub fn connect(&mut self)
    where
        A: Handler<Connecting>,
    {
        let recipient = self.actor.clone().recipient();
        self.change(|namespace| namespace.before_connect(recipient));
    }

    /// The actor is told of every socket that has left.
    pub fn disconnect(&mut self)
    where
        A: Handler<Disconnected>,
    {
        let recipient = self.actor.clone().recipient::<Disconnected>();
        self.change(|namespace| namespace.on_disconnect(recipient));
    }
}
