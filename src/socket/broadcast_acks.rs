//! The answers of many clients to one event.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    packet::Args,
    room::{Missing, SocketId, messages::Answer},
};

/// The answer of one receiver of a broadcast.
///
/// ```no_run
/// use greenroom::{Answered, prelude::*};
///
/// async fn for_it(io: &SocketIo) -> Result<Vec<SocketId>, EventError> {
///     let answers = io.to("council").emit_with_ack("for it?", &())?.all().await?;
///     let yes = |one: &Answered| one.answer.get(0).unwrap_or(false);
///     Ok(answers.into_iter().filter(yes).filter_map(|one| one.socket).collect())
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<R = Args> {
    /// Who answered; `None` for a client of another server of the cluster, as servers do not tell
    /// each other.
    pub socket: Option<SocketId>,
    /// What it answered.
    pub answer: R,
}

/// Not all receivers of a broadcast answered.
///
/// ```no_run
/// use greenroom::{NoAnswer, prelude::*};
///
/// async fn all_ready(io: &SocketIo) -> Result<bool, EmitError> {
///     match io.to("game 7").emit_with_ack("ready?", &())?.all().await {
///         Ok(_) => Ok(true),
///         Err(NoAnswer { answers, missing, .. }) => {
///             println!("{} are ready, {missing:?} are not", answers.len());
///             Ok(false)
///         }
///     }
/// }
/// ```
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
