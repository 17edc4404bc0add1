//! Listening to declared events, and sending them: the compiler compares with the declaration.

use std::{future::Future, marker::PhantomData, sync::Arc};

use actix::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Ack, AckError, AckSender, BoxedListener, BroadcastOperator, EmitError, Emitter, EventError,
    FromSocket, IntoOutcome, ListenerId, Outcome, RemoteSocket, Socket,
    listeners::{boxed, refused},
};
use crate::packet::typed::{
    ClientEvent, DataOf, Parameters, ReadParameters, ServerEvent, TypedEvent, WriteParameters,
};

/// What a listener of a declared event may return: `Ack(answer)` with an answer of the declared
/// type, `()` where none is declared, or a `Result` of either.
#[diagnostic::on_unimplemented(
    message = "a listener of this event cannot return `{Self}`",
    note = "its declaration wants `{A}`, or a `Result` of it"
)]
pub trait Returns<A> {
    #[doc(hidden)]
    fn into_outcome(self) -> Outcome;
}

impl Returns<()> for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Silent
    }
}

impl<T: Serialize> Returns<Self> for Ack<T> {
    fn into_outcome(self) -> Outcome {
        // One value, also when it is a tuple.
        IntoOutcome::into_outcome(Ack((self.0,)))
    }
}

impl<A, R: Returns<A>, E: Into<EventError>> Returns<A> for Result<R, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(answer) => answer.into_outcome(),
            Err(error) => Outcome::Failed(error.into()),
        }
    }
}

/// Answers a declared event whenever the listener likes, see [`AckSender`].
#[derive(Debug)]
pub struct TypedAckSender<T> {
    sender: AckSender,
    answer: PhantomData<fn(T)>,
}

impl<T> Clone for TypedAckSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), answer: PhantomData }
    }
}

impl<T: Serialize> TypedAckSender<T> {
    /// Sends the answer. Only the first one counts; without a question nothing happens.
    ///
    /// # Errors
    /// If the data has no JSON form.
    pub fn send(&self, answer: &T) -> Result<(), EmitError> {
        self.sender.send(&(answer,))
    }

    /// Whether the client asked for an answer and has none yet.
    pub fn is_wanted(&self) -> bool {
        self.sender.is_wanted()
    }
}

/// What a declared event may be listened to with: an async fn of `(Socket, data)` that returns the
/// declared answer; of `(Socket, data, TypedAckSender)`, which answers later; or a [`Recipient`] of
/// `FromSocket<data, Ack<answer>>`.
///
/// `M` only tells the three forms apart and is never written out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener of `{E}`",
    note = "write an async fn or closure of `(Socket, data)`, with the types that `{E}` declares",
    note = "`data` is `()` for no parameter, the type of a single one, a tuple of several",
    note = "it returns `Ack(answer)` if an answer is declared, `()` if not, or a `Result` of that"
)]
pub trait TypedListener<E, M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_typed(self) -> BoxedListener;
}

/// Reads the event as declared and calls.
fn listener<E: ClientEvent, Fut>(
    call: impl Fn(Socket, DataOf<E>, AckSender) -> Fut + Send + Sync + 'static,
) -> BoxedListener
where
    Fut: Future<Output = Outcome> + 'static,
{
    BoxedListener(Arc::new(move |one| match E::Parameters::read(&one.event.args) {
        Ok(data) => boxed(call(one.socket, data, one.ack)),
        Err(error) => refused(error.into()),
    }))
}

#[doc(hidden)]
#[derive(Debug)]
pub enum Returning {}

impl<E, F, Fut> TypedListener<E, Returning> for F
where
    E: ClientEvent,
    F: Fn(Socket, DataOf<E>) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: Returns<E::Answer>,
{
    fn into_typed(self) -> BoxedListener {
        listener::<E, _>(move |socket, data, _| {
            let answer = self(socket, data);
            async move { answer.await.into_outcome() }
        })
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Sending<T>(PhantomData<T>);

impl<E, F, Fut, T> TypedListener<E, Sending<T>> for F
where
    E: ClientEvent + TypedEvent<Answer = Ack<T>>,
    F: Fn(Socket, DataOf<E>, TypedAckSender<T>) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: Returns<()>,
{
    fn into_typed(self) -> BoxedListener {
        listener::<E, _>(move |socket, data, sender| {
            let done = self(socket, data, TypedAckSender { sender, answer: PhantomData });
            async move { done.await.into_outcome() }
        })
    }
}

impl<E, T, R> TypedListener<E, FromSocket<T, R>> for Recipient<FromSocket<T, R>>
where
    E: ClientEvent<Answer = R>,
    E::Parameters: Parameters<Data = T>,
    T: Send + 'static,
    R: Returns<R> + Send + 'static,
{
    fn into_typed(self) -> BoxedListener {
        listener::<E, _>(move |socket, data, _| {
            let answer = self.send(FromSocket::new(socket, data));
            async move {
                match answer.await {
                    Ok(answer) => Returns::<R>::into_outcome(answer),
                    Err(error) => Outcome::Failed(EventError::internal(error)),
                }
            }
        })
    }
}

macro_rules! emit_typed {
    ($($target:ty),*) => {$(
        impl $target {
            /// Sends an event of a [`contract!`](crate::contract) that declares no answer.
            ///
            /// # Errors
            /// As its `emit`.
            pub fn emit_typed<E: ServerEvent<Answer = ()>>(
                &self,
                _: E,
                data: &DataOf<E>,
            ) -> Result<(), EmitError> {
                self.emit(E::NAME, &E::Parameters::written(data))
            }
        }
    )*};
}

emit_typed!(Socket, Emitter, BroadcastOperator, RemoteSocket);

impl Socket {
    /// Adds a listener for an event of a [`contract!`](crate::contract) to this socket alone, see
    /// [`Namespace::on_typed`](crate::Namespace::on_typed) and [`Socket::on`].
    pub fn on_typed<E: ClientEvent, M>(
        &self,
        _: E,
        listener: impl TypedListener<E, M>,
    ) -> ListenerId {
        self.on(E::NAME, listener.into_typed())
    }

    /// Sends an event of a [`contract!`](crate::contract), and gives the declared answer of the
    /// client. It is sent at once, whether or not the future is awaited.
    ///
    /// # Errors
    /// As [`Socket::emit_with_ack`].
    pub fn emit_typed_with_ack<E, R>(
        &self,
        event: E,
        data: &DataOf<E>,
    ) -> impl Future<Output = Result<R, AckError>> + use<E, R>
    where
        E: ServerEvent<Answer = Ack<R>>,
        R: DeserializeOwned,
    {
        self.emitter().emit_typed_with_ack(event, data)
    }
}

impl Emitter {
    /// Sends an event of a [`contract!`](crate::contract), see [`Socket::emit_typed_with_ack`].
    ///
    /// # Errors
    /// As [`Socket::emit_with_ack`].
    pub fn emit_typed_with_ack<E, R>(
        &self,
        _: E,
        data: &DataOf<E>,
    ) -> impl Future<Output = Result<R, AckError>> + use<E, R>
    where
        E: ServerEvent<Answer = Ack<R>>,
        R: DeserializeOwned,
    {
        // One value, also when it is a tuple.
        let answer = self.emit_with_ack::<(R,)>(E::NAME, &E::Parameters::written(data));
        async move { answer.await.map(|(only,)| only) }
    }
}
