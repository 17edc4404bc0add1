//! Middlewares of events: they run before the listeners of an event, and may refuse it.

use std::{future::Future, sync::Arc};

use actix::prelude::*;

use super::{
    AckSender, Socket,
    errors::EventError,
    listeners::{Call, ErrorHook},
};
use crate::{engine::LocalFuture, packet::Event};

/// A middleware of events as the tables hold it.
pub(crate) type EventMiddleware =
    Arc<dyn Fn(Call) -> LocalFuture<Result<(), EventError>> + Send + Sync>;

/// An event of a client; the actor's result decides whether its listeners get it.
///
/// ```
/// use actix::prelude::*;
/// use greenroom::{Receiving, prelude::*};
///
/// struct Censor(Vec<String>);
/// impl Actor for Censor { type Context = Context<Self>; }
/// impl Handler<Receiving> for Censor {
///     type Result = Result<(), EventError>;
///     fn handle(&mut self, Receiving { event, .. }: Receiving, _: &mut Context<Self>) -> Self::Result {
///         let text: String = event.args.get(0).unwrap_or_default();
///         let rude = self.0.iter().any(|word| text.contains(word));
///         if rude { Err(EventError::new("calm down")) } else { Ok(()) }
///     }
/// }
/// # actix::System::new().block_on(async {
/// let censor = Censor(vec!["dash it".into()]).start();
/// Namespace::new("/chat").before_event(censor.recipient::<Receiving>());
/// # });
/// ```
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), EventError>")]
pub struct Receiving {
    /// Whose event it is.
    pub socket: Socket,
    /// Its name and arguments.
    pub event: Event,
}

/// A middleware of events: an async fn of `(Socket, Event)` or of `(Socket, Event, AckSender)` that
/// returns a `Result<(), E>`, or a [`Recipient`] of [`Receiving`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware of events",
    note = "write an async fn of `(Socket, Event)` or `(Socket, Event, AckSender)` that returns `Result<(), EventError>`",
    note = "for an actor, give its recipient: `addr.recipient::<Receiving>()`"
)]
pub trait IntoEventMiddleware<M> {
    #[doc(hidden)]
    fn into_event_middleware(self) -> BoxedEventMiddleware;
}

/// A middleware made ready for the table. Opaque.
pub struct BoxedEventMiddleware(pub(crate) EventMiddleware);

impl std::fmt::Debug for BoxedEventMiddleware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxedEventMiddleware")
    }
}

impl<F, Fut, E> IntoEventMiddleware<(Fut,)> for F
where
    F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + 'static,
    E: Into<EventError>,
{
    fn into_event_middleware(self) -> BoxedEventMiddleware {
        BoxedEventMiddleware(Arc::new(move |call| {
            let checked = self(call.socket, call.event);
            Box::pin(async move { checked.await.map_err(Into::into) })
        }))
    }
}

impl<F, Fut, E> IntoEventMiddleware<(AckSender, Fut)> for F
where
    F: Fn(Socket, Event, AckSender) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + 'static,
    E: Into<EventError>,
{
    fn into_event_middleware(self) -> BoxedEventMiddleware {
        BoxedEventMiddleware(Arc::new(move |call| {
            let checked = self(call.socket, call.event, call.ack);
            Box::pin(async move { checked.await.map_err(Into::into) })
        }))
    }
}

impl IntoEventMiddleware<Receiving> for Recipient<Receiving> {
    fn into_event_middleware(self) -> BoxedEventMiddleware {
        BoxedEventMiddleware(Arc::new(move |Call { socket, event, .. }| {
            let checked = self.send(Receiving { socket, event });
            Box::pin(async move { checked.await.unwrap_or_else(|e| Err(EventError::internal(e))) })
        }))
    }
}

impl Socket {
    /// Adds a middleware for the events of this socket alone, behind those of the namespace; see
    /// [`Namespace::before_event`](crate::Namespace::before_event).
    pub fn before_event<M>(&self, middleware: impl IntoEventMiddleware<M>) {
        let BoxedEventMiddleware(middleware) = middleware.into_event_middleware();
        self.change_watchers(|watchers| watchers.before_event.push(middleware));
    }

    /// Calls `hook` with every error of this socket, behind the hook of the namespace: the event's
    /// name and the error, be it of a middleware, of a listener, or of a packet that cannot be
    /// read. It runs on the client's worker and should be short.
    pub fn on_error(&self, hook: impl Fn(&Self, &str, &EventError) + Send + Sync + 'static) {
        self.change_watchers(|watchers| watchers.errors.push(Arc::new(hook)));
    }

    /// What its events have to pass, in order.
    pub(crate) fn event_middlewares(&self) -> Vec<EventMiddleware> {
        let mut all = self.home().description.listeners.before_event.clone();
        all.extend(self.watchers(|watchers| watchers.before_event.clone()));
        all
    }

    /// Who is told of errors.
    pub(crate) fn error_hooks(&self) -> Vec<ErrorHook> {
        let namespace = self.home().description.error_hook.iter().cloned();
        namespace.chain(self.watchers(|watchers| watchers.errors.clone())).collect()
    }
}
