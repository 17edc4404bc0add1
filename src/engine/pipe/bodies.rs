//! Bodies of responses that hold what belongs to the session: its seat, what came of an unfinished
//! message, and what is left of a large frame or answer.
//!
//! actix-http polls the body of a response only while there is room for what it writes. A client that
//! reads nothing keeps the body of its WebSocket, and its TCP connection, when its session has ended.
//! So what is worth freeing is kept here, where it can be taken from the body, and not in it.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use smallvec::SmallVec;
use tracing::debug;

use super::{Generation, Phase, Pipe, State, register, wake};
use crate::engine::{admission::Seat, transport::Partial};
use crate::metrics::meters::Depth;

/// WebSockets of one session at a time, those included that it has left and that are not closed yet. As
/// many answers to polls may be under way that are larger than a [`SLICE`].
pub(super) const MAX_BODIES: u8 = 4;

/// Bytes that a body hands out at once. What is handed out is in the hands of actix-http, which
/// keeps it as long as the connection.
pub(crate) const SLICE: usize = 64 * 1024;

/// What bodies have not handed on yet.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// What has come of an unfinished message on a WebSocket that nobody may look after any more.
    partial: Option<Box<Partial>>,
    /// What is still to be written of a large frame or answer, and by whom.
    rests: SmallVec<[(Generation, Bytes); 1]>,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.partial.is_none() && self.rests.is_empty()
    }
}

impl Pipe {
    /// Gives the session its seat, and notes that it is open.
    pub(crate) fn seat(&self, mut seat: Seat) {
        seat.open(self);
        self.lock().seat = Some(seat);
    }

    /// Changes the seat, if the session still has one.
    pub(crate) fn with_seat(&self, change: impl FnOnce(&mut Seat)) {
        self.lock().seat.as_mut().map(change);
    }

    /// A WebSocket carries the session from now on, or tries to.
    pub(crate) fn begin_body(&self) {
        let mut state = self.lock();
        state.bodies = state.bodies.saturating_add(1);
    }

    /// It has gone, and its connection with it.
    pub(crate) fn end_body(&self) {
        self.gone(|state| state.bodies = state.bodies.saturating_sub(1));
    }

    /// Keeps a large answer to a poll, which is handed out in slices; under which number.
    pub(crate) fn begin_answer(&self, answer: Bytes) -> Generation {
        let mut state = self.lock();
        state.answers = state.answers.saturating_add(1);
        // No transport has it.
        state.generations += 1;
        let number = state.generations;
        state.left().rests.push((number, answer));
        number
    }

    /// It has been handed out, or its connection has gone.
    pub(crate) fn end_answer(&self, number: Generation) {
        let rest = self.gone(|state| {
            state.answers = state.answers.saturating_sub(1);
            state.take_rest(number)
        });
        drop(rest);
    }

    fn gone<T>(&self, leave: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let left = leave(&mut state);
        let seat = state.free_seat();
        let closed = matches!(state.phase, Phase::Closed(_));
        let waiting = if closed && !state.is_carried() { state.session.take() } else { None };
        drop(state);
        drop(seat);
        wake(waiting);
        left
    }

    /// Keeps what is left of a frame that is written in slices.
    pub(crate) fn keep_rest(&self, of: Generation, rest: Bytes) {
        self.lock().left().rests.push((of, rest));
    }

    /// The next slice, and whether another one follows. None if it was given up.
    pub(crate) fn next_slice(&self, of: Generation) -> Option<(Bytes, bool)> {
        let mut state = self.lock();
        let left = state.left.as_mut()?;
        let (_, rest) = left.rests.iter_mut().find(|(owner, _)| *owner == of)?;
        if rest.len() > SLICE {
            return Some((rest.split_to(SLICE), true));
        }
        state.take_rest(of).map(|rest| (rest, false))
    }

    /// Keeps what has come of a message. It is forgotten with the session, or when that leaves this
    /// transport, whether or not anybody polls the transport.
    pub(crate) fn park(&self, generation: Generation, partial: Box<Partial>) {
        let mut state = self.lock();
        if state.attached(generation) && !matches!(state.phase, Phase::Closed(_)) {
            state.left().partial = Some(partial);
        }
    }

    /// Takes it back, unless it was forgotten.
    pub(crate) fn unpark(&self, generation: Generation) -> Option<Box<Partial>> {
        let mut state = self.lock();
        if state.attached(generation) { state.take_partial() } else { None }
    }

    /// Whether a connection still holds what belongs to the session.
    pub(crate) fn is_carried(&self) -> bool {
        self.lock().is_carried()
    }

    /// Waits until the connections of a session that has ended have gone. Those that have not by then
    /// are nobody's: they are written to no more, and the session's seat is free.
    pub(crate) async fn see_off(self, limit: Duration) {
        let gone = poll_fn(|cx| self.poll_gone(cx));
        if tokio::time::timeout(limit, gone).await.is_err() {
            self.give_up();
        }
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.is_carried() {
            return Poll::Ready(());
        }
        register(&mut state.session, cx);
        Poll::Pending
    }

    fn give_up(&self) {
        let mut state = self.lock();
        let before = Depth::of(state.outbox.backlog());
        // Operations were started when the session ended.
        let (lost, _) = state.outbox.clear(true);
        self.0.metrics.meters.waits(before, Depth::of(state.outbox.backlog()));
        let held = (state.left.take(), state.seat.take());
        drop(state);
        drop(held);
        self.0.metrics.frames_undelivered.add(lost as u64);
        self.0.metrics.unread_timeouts.increment();
        debug!("a client has not taken the end of its session: its connection is left to itself");
    }
}

impl State {
    fn is_carried(&self) -> bool {
        self.bodies > 0 || self.answers > 0
    }

    /// The seat, if nothing needs it any more. To be dropped when the lock is not held.
    pub(super) fn free_seat(&mut self) -> Option<Seat> {
        let ended = matches!(self.phase, Phase::Closed(_)) && !self.is_carried();
        if ended { self.seat.take() } else { None }
    }

    fn left(&mut self) -> &mut Left {
        self.left.get_or_insert_default()
    }

    pub(super) fn take_partial(&mut self) -> Option<Box<Partial>> {
        let partial = self.left.as_mut()?.partial.take();
        self.trim_left();
        partial
    }

    fn take_rest(&mut self, of: Generation) -> Option<Bytes> {
        let left = self.left.as_mut()?;
        let index = left.rests.iter().position(|(owner, _)| *owner == of)?;
        let (_, rest) = left.rests.swap_remove(index);
        self.trim_left();
        Some(rest)
    }

    fn trim_left(&mut self) {
        if self.left.as_ref().is_some_and(|left| left.is_empty()) {
            self.left = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{
        CloseReason, Config, RequestError, Transport,
        admission::Admission,
        dialect::Dialect,
        outbox::Bounds,
        pipe::{Farewell, Refused},
    };

    fn seated(transport: Transport) -> (Pipe, Arc<Admission>) {
        let config = Config { max_connections: 1, ..Config::default() };
        let admission = Arc::new(Admission::new(&config, Arc::default()));
        let bounds = Bounds { bytes: 1000, packets: 10 };
        let pipe = Pipe::new(0, transport, Dialect::new(|_| Some("4")), bounds, Arc::default());
        let mut seat = admission.admit(None).unwrap();
        seat.settle();
        pipe.seat(seat);
        (pipe, admission)
    }

    fn end(pipe: &Pipe) {
        pipe.close_now(Farewell::Close(CloseReason::PingTimeout.close_code()), true);
    }

    fn is_full(admission: &Arc<Admission>) -> bool {
        matches!(admission.admit(None), Err(RequestError::TooManyConnections))
    }

    #[test]
    fn a_seat_is_free_when_the_session_has_ended_and_its_websocket_has_gone() {
        let (pipe, admission) = seated(Transport::WebSocket);
        pipe.begin_body();
        end(&pipe);
        assert!(is_full(&admission));
        pipe.end_body();
        assert!(!is_full(&admission), "though somebody keeps the pipe");

        let (pipe, admission) = seated(Transport::WebSocket);
        pipe.begin_body();
        pipe.end_body();
        assert!(is_full(&admission), "the session has not ended yet");
        end(&pipe);
        assert!(!is_full(&admission));
    }

    #[test]
    fn what_came_of_a_message_is_forgotten_when_the_session_ends() {
        let (pipe, _) = seated(Transport::WebSocket);
        pipe.park(0, Box::default());
        assert!(pipe.unpark(0).is_some());
        assert!(pipe.unpark(0).is_none());
        pipe.park(0, Box::default());
        end(&pipe);
        assert!(pipe.lock().left.is_none());
        pipe.park(0, Box::default());
        assert!(pipe.unpark(0).is_none());
    }

    #[test]
    fn what_came_of_a_message_is_forgotten_when_its_probe_ends() {
        let (pipe, _) = seated(Transport::Polling);
        let first = pipe.begin_probe().unwrap();
        pipe.park(first, Box::default());
        pipe.drop_probe();
        assert!(pipe.lock().left.is_none());
        let second = pipe.begin_probe().unwrap();
        pipe.park(second, Box::default());
        assert!(pipe.unpark(first).is_none(), "it is another's");
        assert!(pipe.unpark(second).is_some());
    }

    #[test]
    fn a_session_has_no_more_websockets_than_it_may_have() {
        let (pipe, _) = seated(Transport::Polling);
        for _ in 0..MAX_BODIES {
            pipe.begin_probe().unwrap();
            pipe.begin_body();
            pipe.drop_probe();
        }
        assert_eq!(pipe.begin_probe(), Err(Refused::Overlap));
        pipe.end_body();
        assert!(pipe.begin_probe().is_ok());
    }

    #[test]
    fn a_session_has_so_many_large_answers_that_are_not_read_to_their_end() {
        let (pipe, _) = seated(Transport::Polling);
        let answers =
            [(); MAX_BODIES as usize].map(|()| pipe.begin_answer(Bytes::from(vec![0; 9])));
        assert_eq!(pipe.begin_poll(), Err(Refused::Overlap));
        assert_eq!(
            pipe.next_slice(answers[1]).map(|(slice, more)| (slice.len(), more)),
            Some((9, false))
        );
        pipe.end_answer(answers[1]);
        assert!(pipe.begin_poll().is_ok());
        answers.into_iter().for_each(|answer| pipe.end_answer(answer));
        assert!(pipe.lock().left.is_none());
    }

    #[test]
    fn what_is_large_is_handed_out_in_slices() {
        let (pipe, _) = seated(Transport::WebSocket);
        pipe.keep_rest(0, Bytes::from(vec![7; SLICE + 1]));
        pipe.keep_rest(1, Bytes::from(vec![8; SLICE]));
        let sizes = |of| pipe.next_slice(of).map(|(slice, more)| (slice[0], slice.len(), more));
        assert_eq!(sizes(0), Some((7, SLICE, true)));
        assert_eq!(sizes(1), Some((8, SLICE, false)));
        assert_eq!(sizes(0), Some((7, 1, false)));
        assert_eq!(sizes(0), None);
        assert!(pipe.lock().left.is_none());
    }

    #[cfg(feature = "testing")]
    #[actix_rt::test]
    async fn the_seat_of_a_client_that_takes_nothing_more_is_free_after_a_time() {
        tokio::time::pause();
        let limit = Duration::from_secs(30);
        let (pipe, admission) = seated(Transport::WebSocket);
        pipe.begin_body();
        pipe.keep_rest(0, Bytes::from(vec![0; 9]));
        end(&pipe);
        let seen_off = actix_rt::spawn(pipe.clone().see_off(limit));
        tokio::time::sleep(limit - Duration::from_secs(1)).await;
        assert!(is_full(&admission));
        assert!(pipe.lock().left.is_some(), "it may still be taken");
        seen_off.await.unwrap();
        assert!(!is_full(&admission));
        assert!(pipe.next_slice(0).is_none());
        assert_eq!(pipe.metrics().snapshot().unread_timeouts, 1);
        pipe.end_body();

        let (pipe, _) = seated(Transport::WebSocket);
        pipe.begin_body();
        end(&pipe);
        let seen_off = actix_rt::spawn(pipe.clone().see_off(limit));
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        pipe.end_body();
        seen_off.await.unwrap();
        assert!(begun.elapsed() < limit, "nobody is waited for");
        assert_eq!(pipe.metrics().snapshot().unread_timeouts, 0);
    }
}
