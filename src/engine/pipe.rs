//! What lies between one session and whatever carries its bytes now.
//!
//! A session outlives its transports, and a transport may run on another thread than the session
//! (a WebSocket request lands where the operating system puts it). So both hold the same [`Pipe`]:
//! packets in through a short inbox, frames out through the outbox, and a waker for each side.
//! Every attached transport has a [`Generation`]; what an older one still says is ignored.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{
    Transport,
    frame::Frame,
    outbox::{Bounds, Fill, Frames, Outbox, Sequence, Way},
    packet::Packet,
    session::CloseReason,
};

/// Packets a transport may hand in before the session has taken them.
const INBOX_PACKETS: usize = 128;
/// Bytes of them.
const INBOX_BYTES: usize = 256 * 1024;

/// Which transport of the session speaks; 0 is the one that opened it.
pub(crate) type Generation = u32;

/// What a transport has to tell its session.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A packet came.
    Packet(Packet),
    /// The transport is at its end.
    Closed(CloseReason),
    /// All before this has been handled: the sender may go on.
    Barrier(oneshot::Sender<()>),
}

impl Inbound {
    fn size(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.len(),
            _ => 0,
        }
    }
}

/// What the session wants of its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Send what waits, then say goodbye.
    Closing,
    Closed(Farewell),
}

/// How the last transport parts from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// WebSocket: a close frame with this code; polling: a close packet.
    Close(u16),
    /// A client that has asked for the end itself: a poll that still waits gets a no-op.
    Noop,
}

#[derive(Debug)]
struct Carrier {
    generation: Generation,
    transport: Transport,
    waker: Option<Waker>,
    /// A polling response that takes what comes next.
    poll_waiting: bool,
    post_busy: bool,
}

#[derive(Debug)]
struct Probe {
    generation: Generation,
    frames: VecDeque<Frame>,
    waker: Option<Waker>,
    noop_asked: bool,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    inbox: VecDeque<(Generation, Inbound)>,
    inbox_bytes: usize,
    /// The session, waiting for the inbox or for a change of the outbox's fill.
    session: Option<Waker>,
    /// A transport that waits for room in the inbox.
    stalled: Option<Waker>,
    carrier: Carrier,
    probe: Option<Box<Probe>>,
    generations: Generation,
    phase: Phase,
    fill: Fill,
    close_asked: bool,
}

/// See the module's description. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Pipe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The worker that the session's actor lives on.
    worker: usize,
    state: Mutex<State>,
}

/// Why a request cannot become the session's poll or post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another one is under way.
    Overlap,
    /// The session has another transport by now, or has ended.
    Gone,
}

impl Pipe {
    pub(crate) fn new(worker: usize, transport: Transport, bounds: Bounds) -> Self {
        let state = Mutex::new(State {
            outbox: Outbox::new(bounds),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            session: None,
            stalled: None,
            carrier: Carrier {
                generation: 0,
                transport,
                waker: None,
                poll_waiting: false,
                post_busy: false,
            },
            probe: None,
            generations: 0,
            phase: Phase::Open,
            fill: Fill::Normal,
            close_asked: false,
        });
        Self(Arc::new(Shared { worker, state }))
    }

    pub(crate) fn worker(&self) -> usize {
        self.0.worker
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held would be a bug of this file; the state stays usable.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- toward the client -------------------------------------------------------------------

    /// Sends a packet that came the long way, through namespace and room actor.
    pub(crate) fn send(&self, frames: Frames, volatile: bool) {
        self.enqueue(|outbox, writable| outbox.push(frames, volatile, writable));
    }

    /// Sends a packet of the client's own listeners: at once, or behind what is in flight.
    pub(crate) fn send_own(&self, frames: Frames, volatile: bool) {
        self.enqueue(|outbox, writable| outbox.push_own(frames, volatile, writable));
    }

    /// Starts an operation that may come back to this client, once it cannot overtake another.
    /// `start` gets the number to confirm when the operation has arrived.
    pub(crate) fn begin(&self, way: Way, start: impl FnOnce(Sequence) + Send + 'static) {
        let mut state = self.lock();
        let sequence = state.outbox.begin(way);
        if state.outbox.must_wait(way, Some(sequence)) {
            state.outbox.hold(way, Some(sequence), Box::new(move || start(sequence)));
            return;
        }
        drop(state);
        start(sequence);
    }

    /// Starts an operation that does not come back to this client, but must not overtake others.
    pub(crate) fn follow(&self, way: Way, start: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.outbox.must_wait(way, None) {
            state.outbox.hold(way, None, Box::new(start));
            return;
        }
        drop(state);
        start();
    }

    /// The operation and all before it have been delivered.
    pub(crate) fn confirm(&self, sequence: Sequence) {
        let mut starts = Vec::new();
        self.enqueue(|outbox, writable| starts = outbox.confirm(sequence, writable));
        starts.into_iter().for_each(|start| start());
    }

    fn enqueue(&self, change: impl FnOnce(&mut Outbox, bool)) {
        let mut state = self.lock();
        let writable = state.writable();
        change(&mut state.outbox, writable);
        let carrier = if state.outbox.is_empty() { None } else { state.carrier.waker.take() };
        let fill = state.outbox.fill();
        let session = if fill == state.fill { None } else { state.session.take() };
        state.fill = fill;
        drop(state);
        wake(carrier);
        wake(session);
    }

    // ---- the session's side --------------------------------------------------------------------

    /// Takes up to `max` things the transports have said. Pending registers the session's waker.
    pub(crate) fn poll_inbox(
        &self,
        cx: &mut Context<'_>,
        max: usize,
        into: &mut SmallVec<[(Generation, Inbound); 8]>,
    ) -> Poll<()> {
        let mut state = self.lock();
        if state.inbox.is_empty() {
            register(&mut state.session, cx);
            return Poll::Pending;
        }
        let count = state.inbox.len().min(max);
        for entry in state.inbox.drain(..count) {
            into.push(entry);
        }
        if state.inbox.is_empty() {
            state.inbox_bytes = 0;
            if state.inbox.capacity() > INBOX_PACKETS {
                state.inbox = VecDeque::new();
            }
        } else {
            let taken: usize = into.iter().map(|(_, inbound)| inbound.size()).sum();
            state.inbox_bytes = state.inbox_bytes.saturating_sub(taken);
        }
        let stalled = state.stalled.take();
        drop(state);
        wake(stalled);
        Poll::Ready(())
    }

    /// Registers the session's waker without taking anything.
    pub(crate) fn register_session(&self, cx: &mut Context<'_>) {
        register(&mut self.lock().session, cx);
    }

    pub(crate) fn fill(&self) -> Fill {
        self.lock().fill
    }

    pub(crate) fn slow_grace(&self) -> std::time::Duration {
        self.lock().outbox.grace()
    }

    pub(crate) fn transport(&self) -> Transport {
        self.lock().carrier.transport
    }

    /// Packets that were volatile and could not be sent at once.
    pub(crate) fn dropped_volatile(&self) -> u64 {
        self.lock().outbox.dropped_volatile
    }

    /// Sends a frame to the transport that is being probed.
    pub(crate) fn send_probe(&self, frame: Frame) {
        let mut state = self.lock();
        let waker = state.probe.as_mut().and_then(|probe| {
            probe.frames.push_back(frame);
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

    /// Makes the probed transport the session's transport.
    pub(crate) fn switch(&self) -> bool {
        let mut state = self.lock();
        let Some(probe) = state.probe.take() else { return false };
        let old = state.carrier.waker.take();
        state.carrier = Carrier {
            generation: probe.generation,
            transport: Transport::WebSocket,
            waker: None,
            poll_waiting: false,
            post_busy: false,
        };
        drop(state);
        wake(old);
        wake(probe.waker);
        true
    }

    /// Ends the probe: the transport under test is closed, the session stays where it is.
    pub(crate) fn drop_probe(&self) {
        let probe = self.lock().probe.take();
        wake(probe.and_then(|probe| probe.waker));
    }

    /// Sends what waits, then closes. Returns whether the farewell still has to be fetched.
    pub(crate) fn close_gracefully(&self) -> bool {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return state.phase == Phase::Closing;
        }
        state.phase = Phase::Closing;
        state.outbox.seal();
        let polling = state.carrier.transport == Transport::Polling;
        let pending = (polling && !state.carrier.poll_waiting) || !state.outbox.is_idle();
        let waker = state.carrier.waker.take();
        drop(state);
        wake(waker);
        pending
    }

    /// Closes now; what waits is dropped. Returns how many packets that were.
    pub(crate) fn close_now(&self, farewell: Farewell) -> usize {
        let mut state = self.lock();
        state.phase = Phase::Closed(farewell);
        let (lost, starts) = state.outbox.clear();
        state.inbox = VecDeque::new();
        let wakers = [state.carrier.waker.take(), state.stalled.take(), state.session.take()];
        let probe = state.probe.take();
        drop(state);
        wakers.into_iter().for_each(wake);
        wake(probe.and_then(|probe| probe.waker));
        // What a listener did for others is done, though its client has gone.
        starts.into_iter().for_each(|start| start());
        lost
    }

    /// Lets the session look again whether it can read on.
    pub(crate) fn nudge(&self) {
        let session = self.lock().session.take();
        wake(session);
    }

    /// Asks the session for an orderly close, from wherever.
    pub(crate) fn ask_close(&self) {
        let mut state = self.lock();
        state.close_asked = true;
        let session = state.session.take();
        drop(state);
        wake(session);
    }

    pub(crate) fn close_asked(&self) -> bool {
        self.lock().close_asked
    }

    // ---- the transport's side --------------------------------------------------------------------

    /// Whether there is room in the inbox; if not, the transport is woken when there is.
    pub(crate) fn poll_room(&self, generation: Generation, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let full = state.inbox.len() >= INBOX_PACKETS || state.inbox_bytes >= INBOX_BYTES;
        if full && state.attached(generation) && !matches!(state.phase, Phase::Closed(_)) {
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
        if matches!(state.phase, Phase::Closed(_)) || !state.attached(generation) {
            return;
        }
        for item in items {
            state.inbox_bytes += item.size();
            state.inbox.push_back((generation, item));
        }
        let waker = state.session.take();
        drop(state);
        wake(waker);
    }

    /// The next frame for a WebSocket. `None` is the end, with the code of the close frame.
    pub(crate) fn poll_frame(
        &self,
        generation: Generation,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Frame, u16>> {
        let mut state = self.lock();
        if let Some(probe) = state.probe.as_mut()
            && probe.generation == generation
        {
            if let Some(frame) = probe.frames.pop_front() {
                return Poll::Ready(Ok(frame));
            }
            register(&mut probe.waker, cx);
            return Poll::Pending;
        }
        if state.carrier.generation != generation {
            return Poll::Ready(Err(1000));
        }
        if let Phase::Closed(farewell) = state.phase {
            return Poll::Ready(Err(farewell.code()));
        }
        if let Some(frame) = state.outbox.pop() {
            // The session waits for a slow client that catches up, and for the end of a close.
            let fill = state.outbox.fill();
            let changed = fill != state.fill;
            state.fill = fill;
            let session = if changed { state.session.take() } else { None };
            drop(state);
            wake(session);
            return Poll::Ready(Ok(frame));
        }
        if state.phase == Phase::Closing && state.outbox.is_idle() {
            let session = state.farewell_fetched(generation);
            drop(state);
            wake(session);
            return Poll::Ready(Err(1000));
        }
        register(&mut state.carrier.waker, cx);
        Poll::Pending
    }

    /// Makes a GET request the one that takes what is sent next.
    pub(crate) fn begin_poll(&self) -> Result<Generation, Refused> {
        let mut state = self.lock();
        if state.carrier.transport != Transport::Polling || matches!(state.phase, Phase::Closed(_)) {
            return Err(Refused::Gone);
        }
        if state.carrier.poll_waiting {
            return Err(Refused::Overlap);
        }
        state.carrier.poll_waiting = true;
        Ok(state.carrier.generation)
    }

    /// The body of the waiting GET request, once there is something to send.
    pub(crate) fn poll_body(&self, generation: Generation, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut state = self.lock();
        let mut body = Vec::new();
        if state.carrier.generation != generation {
            // Upgraded meanwhile: nothing more comes this way.
            Frame::text_packet("6").append_to(&mut body);
            return Poll::Ready(body);
        }
        while let Some(frame) = state.outbox.pop() {
            frame.append_to(&mut body);
        }
        let farewell = state.phase == Phase::Closing && state.outbox.is_idle();
        match state.phase {
            Phase::Closed(Farewell::Close(_)) => Frame::text_packet("1").append_to(&mut body),
            Phase::Closing if farewell => Frame::text_packet("1").append_to(&mut body),
            Phase::Closed(Farewell::Noop) => Frame::text_packet("6").append_to(&mut body),
            Phase::Open | Phase::Closing => {
                let asked = state.probe.as_mut().is_some_and(|p| std::mem::take(&mut p.noop_asked));
                if body.is_empty() && asked {
                    Frame::text_packet("6").append_to(&mut body);
                }
            }
        }
        if body.is_empty() {
            register(&mut state.carrier.waker, cx);
            return Poll::Pending;
        }
        state.carrier.poll_waiting = false;
        state.fill = state.outbox.fill();
        let session = if farewell {
            state.farewell_fetched(generation)
        } else {
            state.session.take()
        };
        drop(state);
        wake(session);
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
        if state.probe.is_some() {
            return Err(Refused::Overlap);
        }
        state.generations += 1;
        let generation = state.generations;
        state.probe = Some(Box::new(Probe {
            generation,
            frames: VecDeque::new(),
            waker: None,
            noop_asked: false,
        }));
        // The session gives the whole upgrade a deadline, counted from here.
        let waker = state.session.take();
        drop(state);
        wake(waker);
        Ok(generation)
    }

    /// The probed transport's generation, if there is one.
    pub(crate) fn probing(&self) -> Option<Generation> {
        self.lock().probe.as_ref().map(|probe| probe.generation)
    }

}

impl State {
    /// "Writable now", as a volatile packet needs it: something waits to take the next frame.
    fn writable(&self) -> bool {
        self.outbox.is_empty() && self.carrier.waker.is_some()
    }

    /// Tells the session that its orderly close is done.
    fn farewell_fetched(&mut self, generation: Generation) -> Option<Waker> {
        self.inbox.push_back((generation, Inbound::Closed(CloseReason::ForcedClose)));
        self.session.take()
    }

    fn attached(&self, generation: Generation) -> bool {
        self.carrier.generation == generation
            || self.probe.as_ref().is_some_and(|probe| probe.generation == generation)
    }
}

impl Farewell {
    fn code(self) -> u16 {
        match self {
            Self::Close(code) => code,
            Self::Noop => 1000,
        }
    }
}

fn register(slot: &mut Option<Waker>, cx: &mut Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

