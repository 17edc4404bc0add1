//! What the session's actor does with its pipe: taking what came, switching and closing.

use std::task::{Context, Poll};

use smallvec::SmallVec;

use super::{Carrier, Farewell, Generation, Inbound, Look, Phase, Pipe, register, wake};
use crate::engine::{Transport, frame::Frame, queue::Queue, session::CloseReason};
use crate::metrics::meters::Depth;

impl Pipe {
    /// Takes up to `max` things the transports have said. Pending registers the session's waker.
    pub(crate) fn poll_inbox(
        &self,
        cx: &mut Context<'_>,
        max: usize,
        into: &mut SmallVec<[(Generation, Inbound); 8]>,
    ) -> Poll<()> {
        let mut state = self.lock();
        if state.inbox.is_empty() {
            state.behind = false;
            if state.called {
                return Poll::Ready(());
            }
            register(&mut state.session, cx);
            return Poll::Pending;
        }
        let count = state.inbox.len().min(max);
        into.extend((0..count).filter_map(|_| state.inbox.pop()));
        if state.inbox.is_empty() {
            state.inbox_bytes = 0;
            state.inbox.trim();
        } else {
            let taken: usize = into.iter().map(|(_, inbound)| inbound.size()).sum();
            state.inbox_bytes = state.inbox_bytes.saturating_sub(taken);
        }
        let (stalled, post) = (state.stalled.take(), state.carrier.post_waker.take());
        drop(state);
        wake(stalled);
        wake(post);
        Poll::Ready(())
    }

    /// Registers the session's waker without taking anything: it reads no more for now. Ready if it
    /// was called since it last attended, and has to look once more.
    pub(crate) fn poll_called(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        state.behind = true;
        if state.called {
            return Poll::Ready(());
        }
        register(&mut state.session, cx);
        Poll::Pending
    }

    /// Looks at everything; from now on a call means something new.
    pub(crate) fn attend(&self) -> Look {
        let mut state = self.lock();
        state.called = false;
        let look = state.look();
        state.outbox.notice(look.fill);
        state.drained = false;
        look
    }

    /// From now on the session is told whenever nothing waits for the client any more.
    pub(crate) fn watch_drains(&self) {
        self.lock().drains_watched = true;
    }

    /// Whether the session stopped reading, has not caught up, and its client is there as far as
    /// is known.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.lock();
        let left = |(_, inbound): &(Generation, Inbound)| matches!(inbound, Inbound::Closed(_));
        state.behind && !state.inbox.is_empty() && !state.inbox.iter().any(left)
    }

    /// What may have been changed from elsewhere.
    pub(crate) fn look(&self) -> Look {
        self.lock().look()
    }

    /// What the client speaks through. It counts as moved as soon as it has said so: what it asks
    /// afterwards may come on another thread, before the session has heard of the move.
    pub(crate) fn transport(&self) -> Transport {
        let state = self.lock();
        match &state.probe {
            Some(probe) if probe.taken => Transport::WebSocket,
            _ => state.carrier.transport,
        }
    }

    /// Sends a frame to the transport that is being probed.
    pub(crate) fn send_probe(&self, frame: Frame) {
        let mut state = self.lock();
        let waker = state.probe.as_mut().and_then(|probe| {
            probe.frames.push(frame);
            probe.waker.take()
        });
        drop(state);
        wake(waker);
    }

    /// Asks a waiting poll to return, so that the client can finish its upgrade.
    pub(crate) fn release_poll(&self) {
        let mut state = self.lock();
        if !(state.carrier.transport == Transport::Polling && state.carrier.poll_waiting) {
            return;
        }
        let waker = match state.probe.as_mut() {
            Some(probe) => {
                probe.noop_asked = true;
                state.carrier.waker.take()
            }
            None => None,
        };
        drop(state);
        wake(waker);
    }

    /// Makes the probed transport the session's transport; which one that is.
    pub(crate) fn switch(&self) -> Option<Generation> {
        let mut state = self.lock();
        let mut probe = state.probe.take()?;
        let old = [state.carrier.waker.take(), state.carrier.post_waker.take()];
        state.carrier = Carrier {
            generation: probe.generation,
            transport: Transport::WebSocket,
            // It waits already, so it can be written to at once.
            waker: if state.outbox.is_empty() { probe.waker.take() } else { None },
            post_waker: None,
            poll_waiting: false,
            post_busy: false,
            at_work: false,
            woken: None,
        };
        drop(state);
        old.into_iter().for_each(wake);
        wake(probe.waker);
        Some(probe.generation)
    }

    /// Ends the probe: the transport under test is closed, the session stays where it is.
    pub(crate) fn drop_probe(&self) {
        let mut state = self.lock();
        let (probe, partial) = (state.probe.take(), state.take_partial());
        drop(state);
        drop(partial);
        wake(probe.and_then(|probe| probe.waker));
    }

    /// Sends what waits, then closes. Returns whether the farewell still has to be fetched.
    pub(crate) fn close_gracefully(&self, reason: CloseReason) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return matches!(state.phase, Phase::Closing(_));
        }
        state.phase = Phase::Closing(reason);
        state.outbox.seal();
        let polling = state.carrier.transport == Transport::Polling;
        let pending = (polling && !state.carrier.poll_waiting) || !state.outbox.is_idle();
        let waker = state.carrier.waker.take();
        drop(state);
        wake(waker);
        pending
    }

    /// Closes now. What waits is still handed to a transport that can take it, unless `discard`
    /// says that it is not wanted. Counts and returns how many frames were dropped.
    pub(crate) fn close_now(&self, farewell: Farewell, discard: bool) -> usize {
        let mut state = self.lock();
        state.phase = Phase::Closed(farewell);
        // Nobody comes to fetch what a polling session has left, once its id is unknown.
        let gone = state.carrier.transport == Transport::Polling && !state.carrier.poll_waiting;
        let before = Depth::of(state.outbox.backlog());
        let (lost, starts) = state.outbox.clear(discard || gone);
        self.0.metrics.meters.waits(before, Depth::of(state.outbox.backlog()));
        self.0.metrics.frames_undelivered.add(lost as u64);
        state.inbox = Queue::default();
        let wakers = [
            state.carrier.waker.take(),
            state.carrier.post_waker.take(),
            state.stalled.take(),
            state.call_session(),
        ];
        let probe = state.probe.take();
        let held = (state.take_partial(), state.free_seat());
        drop(state);
        drop(held);
        wakers.into_iter().for_each(wake);
        wake(probe.and_then(|probe| probe.waker));
        // What a listener did for others is done, though its client has gone.
        starts.into_iter().for_each(|start| start());
        lost
    }

    /// Lets the session look again whether it can read on.
    pub(crate) fn nudge(&self) {
        let session = self.lock().call_session();
        wake(session);
    }

    /// Asks the session for an orderly close, from wherever.
    pub(crate) fn ask_close(&self) {
        let mut state = self.lock();
        state.close_asked = true;
        let session = state.call_session();
        drop(state);
        wake(session);
    }

    /// Asks the session to end as soon as nothing is in flight, from wherever.
    pub(crate) fn ask_drain(&self) {
        let mut state = self.lock();
        state.drain_asked = true;
        let session = state.call_session();
        drop(state);
        wake(session);
    }

    /// Whether the session has ended.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed(_))
    }
}
