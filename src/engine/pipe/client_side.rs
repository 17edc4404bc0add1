//! Toward the client: what sockets and room actors send, in order.

use super::{Pipe, State, wake};
use crate::engine::outbox::{Came, Dropped, Fill, Frames, Outbox, Owner, Sequence, Way};
use crate::engine::supervision::gathering;
use crate::metrics::meters::Depth;

impl Pipe {
    /// Sends a packet that came the long way, through namespace and room actor.
    pub(crate) fn send(&self, frames: Frames, volatile: bool) {
        self.count(&frames);
        self.enqueue(|outbox, writable| outbox.push(frames, volatile, writable));
    }

    /// The same for a packet of which there are more receivers.
    pub(crate) fn send_clone(&self, frames: &Frames, volatile: bool) {
        self.count(frames);
        self.enqueue(|outbox, writable| outbox.push_clone(frames, volatile, writable));
    }

    /// Sends a packet of the client's own listeners: at once, or behind what is in flight.
    pub(crate) fn send_own(&self, frames: Frames, volatile: bool, owner: Owner) {
        self.count(&frames);
        self.enqueue(|outbox, writable| outbox.push_own(frames, volatile, owner, writable));
    }

    /// Drops what its own listeners have sent to a socket after its goodbye.
    pub(crate) fn drop_held(&self, gone: Owner) {
        self.enqueue(|outbox, _| {
            outbox.drop_held(gone);
            Came::Nowhere
        });
    }

    /// Starts an operation that may come back to this client, once it cannot overtake another.
    /// `start` gets the number to confirm when the operation has arrived.
    pub(crate) fn begin(&self, way: Way, start: impl FnOnce(Sequence) + Send + 'static) {
        let mut state = self.lock();
        let sequence = state.outbox.begin(way);
        state.crowded = state.outbox.is_crowded();
        if state.outbox.must_wait(way, Some(sequence)) {
            let before = Depth::of(state.outbox.backlog());
            state.outbox.hold(way, Some(sequence), Box::new(move || start(sequence)));
            self.0.metrics.meters.waits(before, Depth::of(state.outbox.backlog()));
            return;
        }
        drop(state);
        start(sequence);
    }

    /// Starts an operation that does not come back to this client, but must not overtake others.
    pub(crate) fn follow(&self, way: Way, start: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.outbox.must_wait(way, None) {
            let before = Depth::of(state.outbox.backlog());
            state.outbox.hold(way, None, Box::new(start));
            self.0.metrics.meters.waits(before, Depth::of(state.outbox.backlog()));
            return;
        }
        drop(state);
        start();
    }

    /// The operation and all before it have been delivered.
    pub(crate) fn confirm(&self, sequence: Sequence) {
        let mut starts = Vec::new();
        self.enqueue(|outbox, writable| {
            outbox.confirm(sequence);
            starts = outbox.release(writable);
            Came::Nowhere
        });
        // One at a time: what starting them confirms is looked at here, and not by recursion.
        while !starts.is_empty() {
            starts.drain(..).for_each(|start| start());
            self.enqueue(|outbox, writable| {
                outbox.started();
                starts = outbox.release(writable);
                Came::Nowhere
            });
        }
    }

    /// For an admin interface, while somebody looks.
    #[cfg(feature = "admin")]
    fn count(&self, frames: &Frames) {
        let traffic = &self.0.metrics.traffic;
        if traffic.is_on() {
            let bytes = frames.iter().map(|frame| frame.packet().len()).sum();
            traffic.sent(self.worker(), frames.len(), bytes);
        }
    }

    #[cfg(not(feature = "admin"))]
    fn count(&self, _: &Frames) {}

    fn enqueue(&self, change: impl FnOnce(&mut Outbox, bool) -> Came) {
        let mut state = self.lock();
        let (writable, newest) = (state.writable(), state.outbox.newest());
        let before = Depth::of(state.outbox.backlog());
        let came = change(&mut state.outbox, writable);
        let mut fill = state.outbox.fill_after_push(state.fill);
        if fill > Fill::Lagging && came != Came::Nowhere {
            fill = self.make_room(&mut state, came, newest);
        }
        let carrier = if state.outbox.is_empty() { None } else { state.carrier.waker.take() };
        if carrier.is_some() {
            state.carrier.woken = Some(gathering::turn());
        }
        let crowded = state.outbox.is_crowded();
        let changed = fill != state.fill || (state.crowded && !crowded);
        let session = if changed { state.call_session() } else { None };
        state.fill = fill;
        state.crowded = crowded;
        let (dropped, after) = (state.outbox.take_dropped(), Depth::of(state.outbox.backlog()));
        drop(state);
        if dropped > 0 {
            self.0.metrics.volatile_dropped.add(dropped);
        }
        self.0.metrics.meters.waits(before, after);
        wake(carrier);
        wake(session);
    }

    /// The outbox has exceeded its bounds: drops what may be dropped.
    #[cold]
    fn make_room(&self, state: &mut State, came: Came, newest: usize) -> Fill {
        if let Came::Refused(frames) = came {
            self.0.metrics.frames_undelivered.add(frames as u64);
            return Fill::Full;
        }
        if state.fill == Fill::Normal {
            state.outbox.forget_hopeless();
        }
        let Dropped { oldest, newest, superseded } = state.outbox.make_room(came, newest);
        let metrics = &self.0.metrics;
        metrics.slow_dropped_oldest.add(oldest);
        metrics.slow_dropped_newest.add(newest);
        metrics.slow_superseded.add(superseded);
        state.outbox.stop_overflow();
        // Also when all fits now: the client has not read it.
        state.outbox.fill_after_push(Fill::Lagging)
    }

    /// What waits: packets and bytes.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        self.lock().outbox.backlog()
    }
}
