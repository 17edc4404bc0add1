//! What the events of all sockets of a namespace pass.

use std::{future::Future, sync::Arc};

use serde::de::DeserializeOwned;

use super::{Namespace, builder::description};
use crate::{
    engine::LocalFuture,
    packet::Event,
    socket::{AckSender, BoxedEventMiddleware, IntoEventMiddleware, IntoOutcome, Outcome, Socket},
};

impl Namespace {
    /// Adds a middleware for events: an async fn of `(Socket, Event)` or of
    /// `(Socket, Event, AckSender)`, or the recipient of an actor that handles
    /// [`Receiving`](crate::Receiving). It runs for every event of a client, in order, behind the
    /// catch-all listeners and before the listeners.
    ///
    /// With an error it refuses the event: no listener gets it, nothing is answered (unless the
    /// middleware does so itself, by its [`AckSender`]), and the error hooks
    /// ([`Namespace::on_error`], [`Socket::on_error`]) are told. While one waits for something, it
    /// holds its event only: others pass by, unless the namespace is [serial](Self::serial). An
    /// event whose socket leaves meanwhile is dropped.
    ///
    /// ```
    /// use greenroom::prelude::*;
    ///
    /// async fn no_shouting(_: Socket, event: Event) -> Result<(), EventError> {
    ///     match event.args.get::<String>(0) {
    ///         Ok(text) if text.contains('!') => Err(EventError::new("calm down")),
    ///         _ => Ok(()),
    ///     }
    /// }
    /// let chat = Namespace::new("/chat").before_event(no_shouting).on_error(
    ///     |socket: &Socket, event: &str, error: &EventError| {
    ///         // The client may have left meanwhile.
    ///         let _ = socket.emit("refused", &(event, error.message()));
    ///     },
    /// );
    /// ```
    #[must_use]
    pub fn before_event<M>(mut self, middleware: impl IntoEventMiddleware<M>) -> Self {
        let BoxedEventMiddleware(middleware) = middleware.into_event_middleware();
        description(&mut self.description).listeners.before_event.push(middleware);
        self
    }

    /// Adds a listener for an event that **other servers** of the cluster send, by
    /// [`server_side_emit`](crate::BroadcastOperator::server_side_emit) or the reference's
    /// `serverSideEmit()`; clients cannot send it. An async fn of the data, which is deserialized from
    /// the arguments as for [`on`](Self::on). What it returns is the answer, if one is asked for, of
    /// which other servers take the first value; the first answer counts.
    ///
    /// Listeners start in the order in which one server sent the events. At most 1,024 of a namespace
    /// are under way; events beyond that are dropped and counted.
    ///
    /// ```
    /// use greenroom::prelude::*;
    ///
    /// let namespace = Namespace::new("/chat")
    ///     .on_server_side("reload", |name: String| async move { println!("reload {name}") })
    ///     .on_server_side("load?", |(): ()| async { Ack(0.5) });
    /// # let _ = namespace;
    /// ```
    #[must_use]
    pub fn on_server_side<T, F, Fut>(mut self, event: &str, listener: F) -> Self
    where
        T: DeserializeOwned + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future + 'static,
        Fut::Output: IntoOutcome,
    {
        let listener = move |event: Event| -> LocalFuture<Outcome> {
            match event.args.parse::<T>() {
                Ok(data) => {
                    let future = listener(data);
                    Box::pin(async move { future.await.into_outcome() })
                }
                Err(error) => Box::pin(std::future::ready(Outcome::Failed(error.into()))),
            }
        };
        let listeners = &mut description(&mut self.description).listeners.server_side;
        listeners.entry(event.to_owned()).or_default().push(Arc::new(listener));
        self
    }

    /// Calls `listener` with every event that comes from a client, before those of
    /// [`Socket::on_any`], which says more.
    #[must_use]
    pub fn on_any(
        mut self,
        listener: impl Fn(&Socket, &Event, &AckSender) + Send + Sync + 'static,
    ) -> Self {
        description(&mut self.description).listeners.any.push(Arc::new(listener));
        self
    }

    /// Calls `listener` with every event that is sent to a client of the namespace, before those
    /// of [`Socket::on_any_outgoing`], which says more. It costs something for every receiver of a
    /// broadcast.
    #[must_use]
    pub fn on_any_outgoing(
        mut self,
        listener: impl Fn(&Socket, &Event) + Send + Sync + 'static,
    ) -> Self {
        description(&mut self.description).listeners.any_outgoing.push(Arc::new(listener));
        self
    }
}
