//! Answering a client, and waiting for the answers of clients.

use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use hashbrown::HashMap;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Socket,
    errors::{AckError, EmitError},
};
use crate::{
    metrics::meters::Since,
    packet::{Args, Outgoing, Payload},
    room::{Missing, SocketId, messages::Answer},
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
        let Pending { socket, id, since, .. } = &**pending;
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

/// Who waits for an answer of a client.
pub(crate) enum Waiting {
    /// One caller for this one answer.
    One(oneshot::Sender<Args>),
    /// A broadcast that collects the answers of many.
    Broadcast(mpsc::UnboundedSender<Answer>),
}

impl Waiting {
    /// The answer has come.
    pub(crate) fn answer(self, id: &SocketId, args: Args) {
        // Whoever asked may have given up.
        match self {
            Self::One(sender) => drop(sender.send(args)),
            Self::Broadcast(sender) => drop(sender.send(Answer::From(id.clone(), args))),
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Broadcast(sender) => sender.is_closed(),
        }
    }

    /// The client has left.
    pub(crate) fn fail(self) {
        if let Self::Broadcast(sender) = self {
            // As above; a single caller sees its channel closed.
            let _ = sender.send(Answer::Gone);
        }
    }
}

/// What a socket's client has been asked. It is filled before the question is sent, wherever that
/// happens, so that no answer can come first.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Open>);

#[derive(Default)]
struct Open {
    waiting: HashMap<u64, (Waiting, Since)>,
    /// The client has left: nothing will be answered any more.
    closed: bool,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, unless `most` are awaited already: then it is as if the client had left,
    /// and `false` comes back.
    pub(crate) fn ask(&self, id: u64, waiting: Waiting, most: usize) -> bool {
        let mut open = self.lock();
        let len = open.waiting.len();
        if len == open.waiting.capacity() || len >= most {
            // Broadcasts whose caller has gone leave their questions behind.
            open.waiting.retain(|_, (waiting, _)| !waiting.is_abandoned());
        }
        let full = open.waiting.len() >= most;
        if open.closed || full {
            drop(open);
            waiting.fail();
            return !full;
        }
        open.waiting.insert(id, (waiting, Since::now()));
        true
    }

    /// Who waits for this answer, and since when; nobody does afterwards.
    pub(crate) fn take(&self, id: u64) -> Option<(Waiting, Since)> {
        self.lock().waiting.remove(&id)
    }

    /// How many answers somebody waits for.
    pub(crate) fn count(&self) -> usize {
        self.lock().waiting.values().filter(|(waiting, _)| !waiting.is_abandoned()).count()
    }

    /// Nothing will be answered any more. How many answers somebody waited for.
    fn close(&self) -> usize {
        let waiting = {
            let mut open = self.lock();
            open.closed = true;
            std::mem::take(&mut open.waiting)
        };
        let wanted = waiting.values().filter(|(waiting, _)| !waiting.is_abandoned()).count();
        waiting.into_values().for_each(|(waiting, _)| waiting.fail());
        wanted
    }
}

impl Socket {
    /// The client will answer nothing any more.
    pub(crate) fn close_questions(&self) {
        let missing = self.questions().close();
        self.home().description.meters.client_acks_missing.add(missing as u64);
    }
}

/// The answer of one client. The event has been sent already; dropping this gives up the answer.
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

/// The answer of one receiver of a broadcast.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<R = Args> {
    /// Who answered; `None` for a client of another server of the cluster, as servers do not tell
    /// each other.
    pub socket: Option<SocketId>,
    /// What it answered.
    pub answer: R,
}

/// Not all receivers of a broadcast answered.
#[derive(Debug, thiserror::Error)]
#[error("operation has timed out")]
#[non_exhaustive]
pub struct NoAnswer {
    /// The answers that did come.
    pub answers: Vec<Answered>,
    /// How many are missing; `None` if not even that became known in time.
    pub missing: Option<usize>,
    /// The other servers that have not said to how many clients the event went.
    pub servers: Missing,
}

/// The answers to a broadcast. It has been sent already.
///
/// Take them all at once with [`BroadcastAcks::all`], or one by one: with [`BroadcastAcks::next`],
/// or as a [`Stream`]. Each says which socket it is of.
///
/// ```no_run
/// use greenroom::{Answered, prelude::*};
///
/// async fn vote(io: SocketIo) -> Result<u32, EmitError> {
///     let mut answers = io.to("council").emit_with_ack("vote", &())?;
///     let mut votes = 0;
///     while let Some(Answered { answer, .. }) = answers.next().await {
///         votes += u32::from(answer.get::<bool>(0).unwrap_or(false));
///     }
///     Ok(votes)
/// }
/// ```
#[must_use = "the answers are lost if nobody awaits them"]
#[derive(Debug)]
pub struct BroadcastAcks {
    answers: mpsc::UnboundedReceiver<Answer>,
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Namespaces that have not said yet how many room actors they have.
    namespaces: usize,
    workers: usize,
    reported: usize,
    receivers: usize,
    answered: usize,
    gone: usize,
    /// Namespaces whose other servers have not all said how many receivers they have.
    elsewhere: usize,
    awaited: Missing,
}

impl BroadcastAcks {
    pub(crate) fn new(
        answers: mpsc::UnboundedReceiver<Answer>,
        namespaces: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            answers,
            // The clock starts now, its timer when somebody waits: here may be no runtime.
            deadline: Instant::now() + timeout,
            sleep: None,
            namespaces,
            workers: 0,
            reported: 0,
            receivers: 0,
            answered: 0,
            gone: 0,
            elsewhere: 0,
            awaited: Missing::nobody(),
        }
    }

    /// How many receivers there are, once every worker has said so, and every other server of the
    /// cluster.
    pub fn receivers(&self) -> Option<usize> {
        let known = self.namespaces == 0 && self.workers == self.reported && self.elsewhere == 0;
        known.then_some(self.receivers)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.receivers().is_some_and(|receivers| self.answered + self.gone >= receivers)
    }

    /// The next answer, in the order they come; `None` when all have answered or left, or when
    /// the time is up.
    pub async fn next(&mut self) -> Option<Answered> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answered>> {
        while !self.is_complete() {
            match self.answers.poll_recv(cx) {
                Poll::Pending => {
                    let until = self.deadline;
                    let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
                    return sleep.as_mut().poll(cx).map(|()| None);
                }
                Poll::Ready(None) => break,
                Poll::Ready(Some(Answer::Workers(count))) => {
                    self.namespaces = self.namespaces.saturating_sub(1);
                    self.workers += count;
                }
                Poll::Ready(Some(Answer::Receivers(count))) => {
                    self.reported += 1;
                    self.receivers += count;
                }
                Poll::Ready(Some(Answer::Gone)) => self.gone += 1,
                Poll::Ready(Some(Answer::From(socket, answer))) => {
                    self.answered += 1;
                    return Poll::Ready(Some(Answered { socket: Some(socket), answer }));
                }
                Poll::Ready(Some(Answer::Elsewhere)) => {
                    self.elsewhere += 1;
                    self.awaited = Missing::default();
                }
                Poll::Ready(Some(Answer::Awaited(missing))) => self.awaited = missing,
                Poll::Ready(Some(Answer::ReceiversElsewhere(count))) => {
                    self.elsewhere = self.elsewhere.saturating_sub(1);
                    self.awaited = Missing::nobody();
                    // What another server says may be anything.
                    self.receivers = self.receivers.saturating_add(count);
                }
                Poll::Ready(Some(Answer::FromElsewhere(answer))) => {
                    self.answered += 1;
                    return Poll::Ready(Some(Answered { socket: None, answer }));
                }
            }
        }
        Poll::Ready(None)
    }

    /// All answers.
    ///
    /// # Errors
    /// If a receiver has not answered in time or has left; the error has the answers so far.
    pub async fn all(mut self) -> Result<Vec<Answered>, NoAnswer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        match self.receivers() {
            Some(receivers) if self.answered == receivers => Ok(answers),
            receivers => {
                let missing = receivers.map(|receivers| receivers.saturating_sub(self.answered));
                Err(NoAnswer { answers, missing, servers: self.awaited })
            }
        }
    }
}

impl Stream for BroadcastAcks {
    type Item = Answered;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answered>> {
        self.poll_answer(cx)
    }
}
