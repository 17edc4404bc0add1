//! Answering a client, and waiting for the answer of one.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep},
};
use tracing::Span;

use super::{
    Socket,
    errors::{AckError, EmitError},
};
use crate::{
    metrics::meters::Since,
    packet::{Args, Outgoing, Payload},
    trace,
};

/// Answers one event, once, whenever the listener likes: before it has finished, or later.
///
/// A listener gets one as its third argument. If the client did not ask for an answer, nothing is
/// sent. Cloning gives another handle to the same single answer.
///
/// ```
/// use std::time::Duration;
///
/// use actix_web::rt::{spawn, time::sleep};
/// use greenroom::prelude::*;
///
/// Namespace::new("/").on("later", |_: Socket, (): (), ack: AckSender| async move {
///     spawn(async move {
///         sleep(Duration::from_secs(1)).await;
///         ack.send(&"now")                                            // the listener has ended long ago
///     });
/// });
/// ```
#[derive(Clone, Debug)]
pub struct AckSender(Option<Arc<Pending>>);

#[derive(Debug)]
struct Pending {
    socket: Socket,
    id: u64,
    sent: AtomicBool,
    /// Its listeners have ended, and it counts among what the socket's client is owed.
    owed: AtomicBool,
    since: Since,
    /// Of the event.
    span: Span,
}

impl Pending {
    fn settle(&self) {
        if self.owed.load(Ordering::Acquire) && self.owed.swap(false, Ordering::AcqRel) {
            self.socket.owed().fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl AckSender {
    pub(crate) fn new(socket: &Socket, id: Option<u64>) -> Self {
        Self(id.map(|id| {
            socket.pipe().owe();
            Arc::new(Pending {
                socket: socket.clone(),
                id,
                sent: false.into(),
                owed: false.into(),
                since: Since::now(),
                span: trace::current(),
            })
        }))
    }

    /// Whether the client asked for an answer and has none yet.
    pub fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|pending| !pending.sent.load(Ordering::Acquire))
    }

    /// Sends the answer. Only the first one counts; without a question nothing happens.
    ///
    /// # Errors
    /// If the data has no JSON form.
    pub fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), EmitError> {
        if self.is_wanted() {
            self.send_payload(&Payload::ack(data)?);
        }
        Ok(())
    }

    /// The listener has ended without an answer. If somebody has kept this to answer later, that is
    /// counted until it is done.
    pub(crate) fn owe(&self) {
        let Some(pending) = &self.0 else { return };
        if Arc::strong_count(pending) > 1
            && self.is_wanted()
            && !pending.owed.swap(true, Ordering::AcqRel)
        {
            pending.socket.owed().fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn send_payload(&self, payload: &Payload) {
        let Some(pending) = &self.0 else { return };
        if pending.sent.swap(true, Ordering::AcqRel) {
            return;
        }
        pending.settle();
        let Pending { socket, id, since, span, .. } = &**pending;
        span.record("answered", true);
        socket.home().description.meters.server_ack.record(*since);
        if !socket.is_silent() {
            let answer = Outgoing::Ack { namespace: socket.namespace(), id: *id, payload };
            socket.pipe().send_own(socket.codec().frames(&answer, true), false, socket.owner());
        }
        // Behind the answer: a connection that waits for the last one closes then.
        socket.pipe().settle();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.settle();
        if !*self.sent.get_mut() {
            self.socket.pipe().settle();
        }
    }
}

/// The answer of one client. The event has been sent already; dropping this gives up the answer.
///
/// ```
/// use std::time::Duration;
///
/// use greenroom::{AckFuture, prelude::*};
///
/// Namespace::new("/shop").on("order", |socket: Socket, dish: String| async move {
///     let waiter = socket.timeout(Duration::from_secs(10));
///     let sure: AckFuture<bool> = waiter.emit_with_ack("really?", &dish);     // it is on its way
///     match sure.await {
///         Ok(true) => Ok(Ack("ordered")),
///         Ok(false) | Err(AckError::Timeout) => Ok(Ack("cancelled")),
///         Err(error) => Err(error),                                           // it has left
///     }
/// });
/// ```
#[must_use = "the answer is lost if nobody awaits it"]
pub struct AckFuture<R> {
    answer: Result<oneshot::Receiver<Args>, Option<EmitError>>,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    forget: Option<(Socket, u64)>,
    result: PhantomData<fn() -> R>,
}

impl<R> AckFuture<R> {
    pub(crate) fn new(
        socket: &Socket,
        id: u64,
        answer: oneshot::Receiver<Args>,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            answer: Ok(answer),
            // The clock starts now, its timer when somebody waits: here may be no runtime.
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            sleep: None,
            forget: Some((socket.clone(), id)),
            result: PhantomData,
        }
    }

    pub(crate) fn failed(error: EmitError) -> Self {
        Self {
            answer: Err(Some(error)),
            deadline: None,
            sleep: None,
            forget: None,
            result: PhantomData,
        }
    }
}

impl<R> fmt::Debug for AckFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckFuture").finish_non_exhaustive()
    }
}

impl<R: DeserializeOwned> Future for AckFuture<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let receiver = match &mut this.answer {
            Ok(receiver) => receiver,
            Err(error) => {
                let error = error.take().unwrap_or(EmitError::Disconnected);
                return Poll::Ready(Err(error.into()));
            }
        };
        if let Poll::Ready(answer) = Pin::new(receiver).poll(cx) {
            this.forget = None;
            return Poll::Ready(match answer {
                Ok(args) => args.parse().map_err(AckError::from),
                Err(_) => Err(AckError::Disconnected),
            });
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        sleep.as_mut().poll(cx).map(|()| Err(AckError::Timeout))
    }
}

impl<R> Drop for AckFuture<R> {
    fn drop(&mut self) {
        // A question nobody waits for must not be kept until the client leaves.
        if let Some((socket, id)) = self.forget.take()
            && socket.questions().take(id).is_some()
        {
            socket.home().description.meters.client_acks_missing.add(1);
        }
    }
}
