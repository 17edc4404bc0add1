//! What a transport does with the pipe: attaching, handing in what it read, fetching what waits.

use std::task::{Context, Poll};

use super::{
    Farewell, Generation, INBOX_BYTES, INBOX_PACKETS, Inbound, Phase, Pipe, Probe, Refused, State,
    Taken, bodies::MAX_BODIES, register, wake,
};
use crate::engine::{
    Transport, frame::Frame, outbox::Fill, packet::Packet, queue::Queue, session::CloseReason,
};
use crate::metrics::meters::Depth;

impl Pipe {
    /// Whether there is room in the inbox; if not, the transport is woken when there is.
    pub(crate) fn poll_room(&self, generation: Generation, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_full() && state.attached(generation) && !matches!(state.phase, Phase::Closed(_))
        {
            register(&mut state.stalled, cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Reports that the session's present transport is broken.
    pub(crate) fn fail(&self, reason: CloseReason) {
        let generation = self.lock().carrier.generation;
        self.receive(generation, std::iter::once(Inbound::Closed(reason)));
    }

    /// Hands in what the transport has read.
    pub(crate) fn receive(&self, generation: Generation, items: impl Iterator<Item = Inbound>) {
        let mut state = self.lock();
        if !state.take_in(generation, items) {
            return;
        }
        let waker = state.call_session();
        drop(state);
        wake(waker);
    }

    /// The same from a transport that lets the session work next, and fetches what that sends: neither
    /// side is woken. Whether there is something to do.
    pub(crate) fn hand_in(
        &self,
        generation: Generation,
        items: impl Iterator<Item = Inbound>,
    ) -> bool {
        let mut state = self.lock();
        if !state.take_in(generation, items) {
            return false;
        }
        state.called = true;
        if state.carrier.generation == generation {
            state.carrier.at_work = true;
            state.carrier.waker = None;
        }
        true
    }

    /// Hands in a portion of a request body, as much as there is room for. Waits while there is none,
    /// or while too much waits for the client: it polls meanwhile.
    pub(crate) fn poll_take(
        &self,
        generation: Generation,
        items: &mut impl Iterator<Item = Inbound>,
        cx: &mut Context<'_>,
    ) -> Poll<Taken> {
        let mut state = self.lock();
        if !state.attached(generation) || matches!(state.phase, Phase::Closed(_)) {
            return Poll::Ready(Taken::All);
        }
        if state.holds_bodies() {
            register(&mut state.carrier.post_waker, cx);
            return Poll::Pending;
        }
        let taken = loop {
            if state.holds_bodies() {
                break Taken::Some;
            }
            let next = items.next();
            if !next.is_some_and(|item| state.take_in(generation, std::iter::once(item))) {
                break Taken::All;
            }
        };
        let waker = state.call_session();
        drop(state);
        wake(waker);
        Poll::Ready(taken)
    }

    /// Whether what is ready will be joined by more as soon as operations of the client's listeners have
    /// arrived.
    pub(crate) fn expects_more(&self, generation: Generation) -> bool {
        let state = self.lock();
        state.carrier.generation == generation
            && state.phase == Phase::Open
            && !state.outbox.is_empty()
            && state.outbox.holds()
    }

    /// What a WebSocket sends next: at least one frame, and more as long as they are no more than `max`
    /// bytes together. `into` is empty. The error is the end, with the code of the close frame.
    pub(crate) fn poll_frames(
        &self,
        generation: Generation,
        cx: &mut Context<'_>,
        max: usize,
        into: &mut Queue<Frame>,
    ) -> Poll<Result<(), u16>> {
        let mut state = self.lock();
        if let Some(probe) = state.probe.as_mut()
            && probe.generation == generation
        {
            if probe.frames.is_empty() {
                register(&mut probe.waker, cx);
                return Poll::Pending;
            }
            std::mem::swap(into, &mut probe.frames);
            return Poll::Ready(Ok(()));
        }
        if state.carrier.generation != generation {
            return Poll::Ready(Err(1000));
        }
        (state.carrier.at_work, state.carrier.woken) = (false, None);
        if !state.outbox.is_empty() {
            let before = Depth::of(state.outbox.backlog());
            state.outbox.take(max, into);
            self.0.metrics.meters.waits(before, Depth::of(state.outbox.backlog()));
            // The session waits for a slow client that catches up, and for the end of a close.
            let fill = state.outbox.fill_after_pop(state.fill);
            let changed = state.note_drain() || fill != state.fill;
            state.fill = fill;
            let session = if changed { state.call_session() } else { None };
            drop(state);
            wake(session);
            return Poll::Ready(Ok(()));
        }
        if let Phase::Closed(farewell) = state.phase {
            return Poll::Ready(Err(farewell.code()));
        }
        if let Phase::Closing(reason) = state.phase
            && state.outbox.is_idle()
        {
            let session = state.farewell_fetched(generation, reason);
            drop(state);
            wake(session);
            return Poll::Ready(Err(reason.close_code()));
        }
        state.outbox.trim();
        register(&mut state.carrier.waker, cx);
        Poll::Pending
    }

    /// Makes a GET request the one that takes what is sent next.
    pub(crate) fn begin_poll(&self) -> Result<Generation, Refused> {
        let mut state = self.lock();
        if state.carrier.transport != Transport::Polling || matches!(state.phase, Phase::Closed(_))
        {
            return Err(Refused::Gone);
        }
        if state.carrier.poll_waiting || state.answers >= MAX_BODIES {
            return Err(Refused::Overlap);
        }
        state.carrier.poll_waiting = true;
        Ok(state.carrier.generation)
    }

    /// What the waiting GET request is answered with, once there is something to send.
    pub(crate) fn poll_body(
        &self,
        generation: Generation,
        cx: &mut Context<'_>,
    ) -> Poll<Vec<Frame>> {
        let mut state = self.lock();
        let mut body = Vec::new();
        if state.carrier.generation != generation {
            // Upgraded meanwhile: nothing more comes this way.
            body.push(Frame::text_packet("6"));
            return Poll::Ready(body);
        }
        let before = Depth::of(state.outbox.backlog());
        while let Some(frame) = state.outbox.pop() {
            body.push(frame);
        }
        self.0.metrics.meters.waits(before, Depth::of(state.outbox.backlog()));
        if !body.is_empty() {
            // The session is called below in any case.
            state.note_drain();
        }
        // A farewell comes by itself: clients handle a close before the packets it came with.
        let farewell = match state.phase {
            Phase::Closing(reason) if body.is_empty() && state.outbox.is_idle() => Some(reason),
            _ => None,
        };
        let asked = state.probe.as_mut().is_some_and(|probe| std::mem::take(&mut probe.noop_asked));
        if body.is_empty() {
            match state.phase {
                Phase::Closed(Farewell::Close(_)) => body.push(Frame::text_packet("1")),
                Phase::Closing(_) if farewell.is_some() => body.push(Frame::text_packet("1")),
                Phase::Closed(Farewell::Noop) => body.push(Frame::text_packet("6")),
                Phase::Open | Phase::Closing(_) if asked => {
                    body.push(Frame::text_packet("6"));
                }
                Phase::Open | Phase::Closing(_) => {}
            }
        }
        if body.is_empty() {
            register(&mut state.carrier.waker, cx);
            return Poll::Pending;
        }
        (state.carrier.poll_waiting, state.carrier.woken) = (false, None);
        state.fill = state.outbox.fill_after_pop(state.fill);
        let post = state.carrier.post_waker.take();
        let session = match farewell {
            Some(reason) => state.farewell_fetched(generation, reason),
            None => state.call_session(),
        };
        drop(state);
        wake(session);
        wake(post);
        Poll::Ready(body)
    }

    /// Makes a POST request the one that hands in packets.
    pub(crate) fn begin_post(&self) -> Result<Generation, Refused> {
        let mut state = self.lock();
        if state.carrier.transport != Transport::Polling || state.phase != Phase::Open {
            return Err(Refused::Gone);
        }
        if state.carrier.post_busy {
            return Err(Refused::Overlap);
        }
        state.carrier.post_busy = true;
        Ok(state.carrier.generation)
    }

    /// Ready when the session has ended while a request body was being read.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Closed(_)) {
            return Poll::Ready(());
        }
        register(&mut state.carrier.post_waker, cx);
        Poll::Pending
    }

    pub(crate) fn end_post(&self, generation: Generation) {
        let mut state = self.lock();
        if state.carrier.generation == generation {
            state.carrier.post_busy = false;
        }
    }

    /// Attaches a WebSocket as the transport to be probed.
    pub(crate) fn begin_probe(&self) -> Result<Generation, Refused> {
        let mut state = self.lock();
        if state.phase != Phase::Open || state.carrier.transport != Transport::Polling {
            return Err(Refused::Gone);
        }
        if state.probe.is_some() || state.bodies >= MAX_BODIES {
            return Err(Refused::Overlap);
        }
        state.generations += 1;
        let generation = state.generations;
        state.probe = Some(Box::new(Probe {
            generation,
            frames: Queue::default(),
            waker: None,
            noop_asked: false,
            taken: false,
        }));
        // The session gives the whole upgrade a deadline, counted from here.
        let waker = state.call_session();
        drop(state);
        wake(waker);
        Ok(generation)
    }
}

impl State {
    /// Whether nothing more should be read before the session has taken what has come.
    fn is_full(&self) -> bool {
        self.inbox.len() >= INBOX_PACKETS || self.inbox_bytes >= INBOX_BYTES
    }

    /// Whether the rest of a request body should wait.
    fn holds_bodies(&self) -> bool {
        self.is_full() || self.fill >= Fill::Slow
    }

    /// Takes what a transport has read, unless it is not wanted any more.
    fn take_in(&mut self, generation: Generation, items: impl Iterator<Item = Inbound>) -> bool {
        if matches!(self.phase, Phase::Closed(_)) || !self.attached(generation) {
            return false;
        }
        for item in items {
            if let Some(probe) = self.probe.as_mut()
                && probe.generation == generation
                && matches!(item, Inbound::Packet(Packet::Upgrade))
            {
                probe.taken = true;
            }
            self.inbox_bytes += item.size();
            self.inbox.push((generation, item));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use smallvec::SmallVec;

    use super::*;
    use crate::engine::{
        dialect::Dialect,
        outbox::{Bounds, Frames},
        packet::Message,
    };

    fn pipe() -> Pipe {
        let bounds = Bounds { bytes: 1000, packets: 10 };
        let dialect = Dialect::new(|_| Some("4"));
        Pipe::new(0, Transport::WebSocket, dialect, bounds, Default::default())
    }

    fn hand_in(pipe: &Pipe, count: usize, bytes: usize) {
        let packet = || Packet::Message(Message::Binary(vec![0; bytes].into()));
        pipe.receive(0, (0..count).map(|_| Inbound::Packet(packet())));
    }

    fn has_room(pipe: &Pipe) -> bool {
        pipe.poll_room(0, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn take(pipe: &Pipe, count: usize) {
        let (mut cx, mut taken) = (Context::from_waker(Waker::noop()), SmallVec::new());
        assert!(pipe.poll_inbox(&mut cx, count, &mut taken).is_ready());
        assert_eq!(taken.len(), count);
    }

    #[test]
    fn so_many_packets_are_read_before_the_session_has_taken_them() {
        let pipe = pipe();
        hand_in(&pipe, 127, 1);
        assert!(has_room(&pipe));
        hand_in(&pipe, 1, 1);
        assert!(!has_room(&pipe), "128 wait");
        take(&pipe, 1);
        assert!(has_room(&pipe));
    }

    #[test]
    fn a_body_of_many_packets_comes_a_portion_at_a_time() {
        let dialect = Dialect::new(|_| Some("4"));
        let bounds = Bounds { bytes: 1000, packets: 10 };
        let pipe = Pipe::new(0, Transport::Polling, dialect, bounds, Default::default());
        let mut left = (0..300).map(|_| Inbound::Packet(Packet::Noop));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Ready(Taken::Some));
        assert_eq!(left.len(), 172);
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Pending);
        take(&pipe, 128);
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Ready(Taken::Some));
        take(&pipe, 128);
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Ready(Taken::All));
        // Nobody reads on for a session that has ended.
        let mut left = (0..300).map(|_| Inbound::Packet(Packet::Noop));
        pipe.close_now(Farewell::Noop, true);
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Ready(Taken::All));
        assert_eq!(left.len(), 300);
    }

    #[test]
    fn a_body_waits_while_too_much_waits_for_its_client() {
        let dialect = Dialect::new(|_| Some("4"));
        let bounds = Bounds { bytes: 1000, packets: 10 };
        let pipe = Pipe::new(0, Transport::Polling, dialect, bounds, Default::default());
        let mut left = (0..300).map(|_| Inbound::Packet(Packet::Noop));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..11 {
            pipe.send(Frames::from_elem(Frame::text_packet("4"), 1), false);
        }
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Pending);
        assert_eq!(left.len(), 300);
        // It polls.
        let generation = pipe.begin_poll().unwrap();
        assert!(pipe.poll_body(generation, &mut cx).is_ready());
        assert_eq!(pipe.poll_take(0, &mut left, &mut cx), Poll::Ready(Taken::Some));
        // Another transport has taken its place: nothing more is wanted of this one.
        assert_eq!(pipe.poll_take(7, &mut left, &mut cx), Poll::Ready(Taken::All));
    }

    #[test]
    fn so_many_bytes_are_read_before_the_session_has_taken_them() {
        let pipe = pipe();
        hand_in(&pipe, 2, 128 * 1024 - 1);
        hand_in(&pipe, 1, 1);
        assert!(has_room(&pipe));
        hand_in(&pipe, 1, 1);
        assert!(!has_room(&pipe), "256 KiB wait");
        take(&pipe, 1);
        assert!(has_room(&pipe));
    }
}
