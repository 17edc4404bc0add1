//! What lies between one session and whatever carries its bytes now.
//!
//! A session outlives its transports, and a transport may run on another thread than the session
//! (a WebSocket request lands where the operating system puts it). So both hold the same [`Pipe`]:
//! packets in through a short inbox, frames out through the outbox, and a waker for each side.
//! Every attached transport has a [`Generation`]; what an older one still says is ignored.

mod bodies;
mod client_side;
mod session_side;
mod transport_side;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
};

use tokio::sync::oneshot;

use self::bodies::Left;
pub(crate) use self::bodies::SLICE;
use super::{
    Transport,
    admission::Seat,
    dialect::Dialect,
    frame::Frame,
    outbox::{Bounds, Fill, Outbox},
    packet::{Packet, PacketError},
    queue::Queue,
    session::CloseReason,
    supervision::gathering,
};
use crate::metrics::Metrics;
#[cfg(feature = "metrics")]
use crate::metrics::meters::Depth;

/// Packets a transport may hand in before the session has taken them.
const INBOX_PACKETS: usize = 128;
/// Bytes of them.
const INBOX_BYTES: usize = 256 * 1024;

/// Bytes of the smallest frame that a client can send.
const MIN_FRAME: usize = 6;

/// Which transport of the session speaks; 0 is the one that opened it.
pub(crate) type Generation = u32;

/// What a transport has to tell its session.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A packet came.
    Packet(Packet),
    /// Frames came that complete no message: they only count.
    Aside { frames: u32, bytes: u32 },
    /// The transport is at its end.
    Closed(CloseReason),
    /// All before this has been handled: the sender may go on.
    Barrier(oneshot::Sender<()>),
}

impl From<Result<Packet, PacketError>> for Inbound {
    fn from(decoded: Result<Packet, PacketError>) -> Self {
        match decoded {
            Ok(packet) => Self::Packet(packet),
            Err(_) => Self::Closed(CloseReason::ParseError),
        }
    }
}

impl Inbound {
    fn size(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.len(),
            // As many as fit into a portion: each is worth its place.
            Self::Aside { frames, bytes } => (*frames as usize) * MIN_FRAME + *bytes as usize,
            Self::Closed(_) | Self::Barrier(_) => 0,
        }
    }
}

/// What the session wants of its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Send what waits, then say goodbye, for this reason.
    Closing(CloseReason),
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
    /// A request body that is being read or handed in.
    post_waker: Option<Waker>,
    /// A polling response that takes what comes next.
    poll_waiting: bool,
    post_busy: bool,
    /// It lets the session work, and takes what that sends without being woken.
    at_work: bool,
    /// The turn in which it was woken for what waits now.
    woken: Option<u64>,
}

#[derive(Debug)]
struct Probe {
    generation: Generation,
    frames: Queue<Frame>,
    waker: Option<Waker>,
    noop_asked: bool,
    /// Its client has moved to it; the session will hear of that.
    taken: bool,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    inbox: Queue<(Generation, Inbound)>,
    inbox_bytes: usize,
    /// The session stopped reading and has not caught up since.
    behind: bool,
    /// The session, waiting for the inbox or for a change of the outbox's fill. When it has ended,
    /// whoever waits for its bodies to go.
    session: Option<Waker>,
    /// A transport that waits for room in the inbox.
    stalled: Option<Waker>,
    carrier: Carrier,
    probe: Option<Box<Probe>>,
    generations: Generation,
    /// Until the session has ended and no WebSocket carries it any more.
    seat: Option<Seat>,
    /// WebSockets that carry the session, or have carried it and still hold their connection.
    bodies: u8,
    /// Large answers to polls that their client has not taken yet.
    answers: u8,
    left: Option<Box<Left>>,
    phase: Phase,
    fill: Fill,
    crowded: bool,
    close_asked: bool,
    drain_asked: bool,
    /// Somebody wants to know when nothing waits any more.
    drains_watched: bool,
    /// Nothing waits any more, and the session does not know it yet.
    drained: bool,
    /// The session was called since it last attended; it may have been busy just then.
    called: bool,
}

/// See the module's description. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Pipe(Arc<Shared>);

/// A pipe that is not kept.
#[derive(Clone, Debug)]
pub(crate) struct WeakPipe(Weak<Shared>);

impl WeakPipe {
    pub(crate) fn upgrade(&self) -> Option<Pipe> {
        self.0.upgrade().map(Pipe)
    }
}

#[derive(Debug)]
struct Shared {
    dialect: Dialect,
    /// The worker that the session's actor lives on.
    worker: u32,
    /// Answers that the client waits for.
    owed: AtomicU32,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[cfg(feature = "metrics")]
impl Drop for Shared {
    fn drop(&mut self) {
        // What nobody has fetched waits no more.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.metrics.meters.waits(Depth::of(state.outbox.backlog()), Depth::default());
    }
}

/// What a session looks at in each turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The transport under test, if there is one.
    pub(crate) probing: Option<Generation>,
    /// Somebody wants the session closed.
    pub(crate) close_asked: bool,
    /// The session is to end as soon as nothing is in flight.
    pub(crate) drain_asked: bool,
    pub(crate) fill: Fill,
    /// Too much of what its listeners did is still on its way.
    pub(crate) crowded: bool,
    /// What waited has been handed to the transport, and somebody wants to know it.
    pub(crate) drained: bool,
}

/// How much of a request body has been handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The rest has to wait for room.
    Some,
    /// All of it, or nothing more is wanted.
    All,
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
    pub(crate) fn new(
        worker: usize,
        transport: Transport,
        dialect: Dialect,
        bounds: Bounds,
        metrics: Arc<Metrics>,
    ) -> Self {
        let state = Mutex::new(State {
            outbox: Outbox::new(bounds),
            inbox: Queue::default(),
            inbox_bytes: 0,
            behind: false,
            session: None,
            stalled: None,
            carrier: Carrier {
                generation: 0,
                transport,
                waker: None,
                post_waker: None,
                poll_waiting: false,
                post_busy: false,
                at_work: false,
                woken: None,
            },
            probe: None,
            generations: 0,
            seat: None,
            bodies: 0,
            answers: 0,
            left: None,
            phase: Phase::Open,
            fill: Fill::Normal,
            crowded: false,
            called: false,
            close_asked: false,
            drain_asked: false,
            drains_watched: false,
            drained: false,
        });
        let worker = u32::try_from(worker).expect("there are fewer workers than that");
        Self(Arc::new(Shared { dialect, worker, owed: AtomicU32::new(0), metrics, state }))
    }

    pub(crate) fn worker(&self) -> usize {
        self.0.worker as usize
    }

    /// How its client wants to be spoken to.
    pub(crate) fn dialect(&self) -> &Dialect {
        &self.0.dialect
    }

    pub(crate) fn downgrade(&self) -> WeakPipe {
        WeakPipe(Arc::downgrade(&self.0))
    }

    /// Whether both are of one session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The client has asked for one more answer.
    pub(crate) fn owe(&self) {
        self.0.owed.fetch_add(1, Ordering::Relaxed);
    }

    /// It has got one, or gets none any more.
    pub(crate) fn settle(&self) {
        self.0.owed.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many answers the client waits for.
    pub(crate) fn owed(&self) -> usize {
        self.0.owed.load(Ordering::Relaxed) as usize
    }

    /// So many bytes went to its client, or came from it.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held would be a bug of this file; the state stays usable.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&self) -> Look {
        Look {
            probing: self.probe.as_ref().map(|probe| probe.generation),
            close_asked: self.close_asked,
            drain_asked: self.drain_asked,
            fill: self.fill,
            crowded: self.crowded,
            drained: self.drained,
        }
    }

    /// Something was handed to the transport. Whether the session has to be told that it was the
    /// last.
    fn note_drain(&mut self) -> bool {
        self.drained |= self.drains_watched && self.outbox.is_idle();
        self.drained
    }

    /// The session has to look: now if it waits, else before it waits again.
    fn call_session(&mut self) -> Option<Waker> {
        self.called = true;
        self.session.take()
    }

    /// "Writable now", as a volatile packet needs it: something waits to take the next frame, or has been
    /// woken for little in this very turn of a room actor, which passes on several things at once.
    fn writable(&self) -> bool {
        let Carrier { waker, at_work, woken, .. } = &self.carrier;
        if self.outbox.is_empty() {
            return waker.is_some() || *at_work;
        }
        *woken == Some(gathering::turn()) && self.outbox.is_short()
    }

    /// Tells the session that its orderly close is done.
    fn farewell_fetched(&mut self, generation: Generation, reason: CloseReason) -> Option<Waker> {
        self.inbox.push((generation, Inbound::Closed(reason)));
        self.call_session()
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
