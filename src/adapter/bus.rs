//! The seam: what a driver does for a node. A bus carries [`Message`]s between the nodes of a
//! cluster, in the order in which each node gives them; everything else (who waits for answers, who
//! is there, what a request means) is the [link](super::link)'s, once for all of them.

use std::{fmt, sync::Arc, time::Duration};

use actix::prelude::*;
use hashbrown::HashSet;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    message::{Envelope, Message, Rejected, Uid},
    node::Health,
    recovery::{Change, Offset, Recall, Recalled},
};
use crate::{
    engine::LocalFuture,
    metrics::{Metrics, meters::Held},
    room::Room,
};

/// Messages from a bus that may be on their way to namespaces before no more is read from it.
const UNDERWAY: usize = 1024;

/// A namespace of this node as a bus sees it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: SeatNumber,
    pub(crate) namespace: Arc<str>,
    /// The node's name in it.
    pub(crate) uid: Uid,
}

/// Tells a namespace from another one of its name that comes after it.
pub(crate) type SeatNumber = u64;

/// How a link knows which other nodes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// It asks the bus, see [`Bus::census`].
    Census,
    /// Nodes say that they are there.
    Heartbeats {
        /// A node that has said nothing for so long says that it is there.
        interval: Duration,
        /// One that has not been heard of for so long is gone.
        timeout: Duration,
    },
}

/// What a bus knows of the other nodes in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) others: usize,
    /// Their names, if it knows all of them.
    pub(crate) names: Option<HashSet<Uid>>,
}

/// A message was not sent, and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The engine is away, or so slow that too much waits for it already.
    Away,
    /// The engine is away, and this must not wait.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "no other bus waits"))]
    Unawaited,
    /// This bus has no such message.
    Unknown,
    /// Others take no message of this size.
    TooLarge,
}

/// How long a message may wait for an engine that is away, with a bus that keeps what it is given
/// meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It is of no use later.
    None,
    /// As long as the bus keeps anything.
    Kept,
    /// As long as others wait for an answer, if nothing else was said to them.
    Brief,
    /// Until those who want an answer to it do not wait any more.
    Until(Instant),
}

impl Patience {
    /// That of what nobody answers.
    pub(crate) fn of(message: &Message) -> Self {
        match message {
            Message::Heartbeat { .. } | Message::Close => Self::None,
            Message::Broadcast { sending, .. } if sending.volatile => Self::None,
            Message::Answer { .. } => Self::Brief,
            _ => Self::Kept,
        }
    }

    /// That of a request to which answers are awaited till then.
    pub(crate) fn of_request(message: &Message, until: Instant) -> Self {
        match Self::of(message) {
            Self::None => Self::None,
            _ => Self::Until(until),
        }
    }
}

/// The connection of one node, owned by its link. No method waits; what takes time is a future, or
/// is told to the [`Inbox`].
pub(crate) trait Bus {
    /// A name for this node in one namespace, in the form that the engine has for it.
    fn uid(&self) -> Uid;

    fn membership(&self) -> Membership {
        Membership::Census
    }

    /// Whether it wants to know which rooms have members here, see [`Bus::interest`].
    fn wants_rooms(&self) -> bool {
        false
    }

    /// Whether it carries [`Message::AllRooms`].
    fn has_all_rooms(&self) -> bool {
        false
    }

    /// Takes part in a namespace. [`Inbox::linked`] has to be called when everything that is sent
    /// from then on by others will be heard.
    fn link(&mut self, seat: &Arc<Seat>);

    /// Takes part no more.
    fn unlink(&mut self, seat: &Arc<Seat>);

    /// Sends a message to all other nodes, or to one. Those sent to all arrive at each node in the
    /// order in which they were given here.
    ///
    /// # Errors
    /// If it is known already that it will not be sent.
    fn send(
        &mut self,
        seat: &Arc<Seat>,
        to: Option<&Uid>,
        message: &Message,
        patience: Patience,
    ) -> Result<(), Unsent>;

    /// Whether it keeps broadcasts for a while, and gives them names by which clients can take up
    /// what they missed, see [`Bus::keep`].
    fn keeps(&self) -> bool {
        false
    }

    /// Sends a broadcast to all other nodes, and says by [`Inbox::kept`] what its name is, in the
    /// order in which all nodes hear it. `number` tells it from others; they grow.
    ///
    /// # Errors
    /// As [`Bus::send`].
    fn keep(&mut self, _seat: &Arc<Seat>, _number: u64, _message: &Message) -> Result<(), Unsent> {
        Err(Unsent::Unknown)
    }

    /// Keeps a session where other nodes find it, or no more. What is given for one session takes
    /// effect in this order. For buses that keep broadcasts.
    ///
    /// # Errors
    /// As [`Bus::send`].
    fn deposit(&mut self, _seat: &Arc<Seat>, _change: Change) -> Result<(), Unsent> {
        Err(Unsent::Unknown)
    }

    /// Finds a session and what it has missed, and takes it away from there; `None` if the engine
    /// does not say.
    fn recall(&mut self, _seat: &Arc<Seat>, _recall: Recall) -> LocalFuture<Option<Recalled>> {
        Box::pin(std::future::ready(None))
    }

    /// A room has got its first member here, or lost its last one.
    fn interest(&mut self, _seat: &Arc<Seat>, _room: &Room, _wanted: bool) {}

    /// These rooms have members here, and no others.
    fn interests(&mut self, _seat: &Arc<Seat>, _rooms: HashSet<Room>) {}

    /// Done when all that [`Bus::interest`] was told so far is in effect; `None` if it is.
    fn settled(&mut self, _seat: &Arc<Seat>) -> Option<LocalFuture<()>> {
        None
    }

    /// Which other nodes there are when all that was sent before has left; `None` if the engine does
    /// not say.
    fn census(&mut self, seat: &Arc<Seat>, patience: Patience) -> LocalFuture<Option<Census>>;

    /// Done when all that was sent has left this node, and it has no connection any more.
    fn close(&mut self) -> LocalFuture<()>;
}

/// Makes the bus of a node, again if its link has died.
pub(crate) trait Connect: fmt::Debug + Send + Sync {
    fn connect(&self, inbox: Inbox) -> Box<dyn Bus>;
}

// ---- bus → link --------------------------------------------------------------------------------

/// Held as long as a message is on its way.
pub(crate) struct Permit {
    _place: OwnedSemaphorePermit,
    /// Of a message of another node.
    _lag: Option<Held>,
}

/// What a bus tells its link.
#[derive(Message)]
#[rtype(result = "()")]
#[allow(clippy::large_enum_variant, reason = "nearly all are of the largest")]
pub(crate) enum BusEvent {
    Received {
        seat: SeatNumber,
        envelope: Envelope,
        /// Its name, if the bus keeps it.
        offset: Option<Offset>,
        permit: Permit,
    },
    /// A broadcast of this node is kept.
    Kept { seat: SeatNumber, number: u64, offset: Offset, permit: Permit },
    /// All that others send in a namespace is heard from now on: if the bus keeps broadcasts, those
    /// behind this one.
    Linked { seat: SeatNumber, behind: Option<Offset> },
    /// The engine cannot be reached.
    Away,
    /// It can be reached again, and everything is heard again.
    Back,
}

/// Where a bus puts what it hears. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inbox {
    link: Recipient<BusEvent>,
    underway: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// Bytes of the largest message that is taken.
    pub(crate) max_bytes: usize,
}

impl Inbox {
    pub(super) fn new(
        link: Recipient<BusEvent>,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
        max_bytes: usize,
    ) -> Self {
        let underway = Arc::new(Semaphore::new(UNDERWAY));
        let (metrics, health) = (Arc::clone(metrics), Arc::clone(health));
        Self { link, underway, metrics, health, max_bytes }
    }

    /// So much waits for an engine that is away.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "no other bus keeps anything"))]
    pub(crate) fn waiting(&self, count: usize) {
        self.health.set_waiting(count);
    }

    /// Hands on a message, or counts why not. Waits while too many are on their way: then nothing
    /// more should be read.
    pub(crate) async fn receive(&self, seat: &Seat, envelope: Result<Envelope, Rejected>) {
        self.receive_kept(seat, envelope, None).await;
    }

    /// The same for a message that the bus keeps under a name.
    pub(crate) async fn receive_kept(
        &self,
        seat: &Seat,
        envelope: Result<Envelope, Rejected>,
        offset: Option<Offset>,
    ) {
        match envelope {
            Ok(envelope) if self.is_for(seat, &envelope) => {
                let lag = self.metrics.meters.incoming();
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&self.underway).acquire_owned().await else { return };
                let permit = Permit { _place: place, _lag: Some(lag) };
                self.metrics.cluster_messages_received.increment();
                let seat = seat.number;
                self.link.do_send(BusEvent::Received { seat, envelope, offset, permit });
            }
            Ok(_) => {}
            Err(rejected) => self.reject(rejected),
        }
    }

    /// See [`Bus::keep`].
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for Redis Streams"))]
    pub(crate) async fn kept(&self, seat: &Seat, number: u64, offset: Offset) {
        // As above.
        let Ok(place) = Arc::clone(&self.underway).acquire_owned().await else { return };
        let permit = Permit { _place: place, _lag: None };
        self.link.do_send(BusEvent::Kept { seat: seat.number, number, offset, permit });
    }

    fn is_for(&self, seat: &Seat, envelope: &Envelope) -> bool {
        envelope.uid.as_ref() != Some(&seat.uid) && *envelope.namespace == *seat.namespace
    }

    #[cfg(feature = "redis")]
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether others take a message of this size. One that is sent nevertheless may cost all who
    /// listen their connections: Redis gives up those for whom 32 MB wait.
    pub(crate) fn may_send(&self, bytes: usize) -> Result<(), Unsent> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        let limit = self.max_bytes;
        tracing::warn!(bytes, limit, "a message is too large for the cluster and was not sent");
        Err(Unsent::TooLarge)
    }

    /// Counts a message that was dropped.
    pub(crate) fn reject(&self, rejected: Rejected) {
        let counter = match rejected {
            Rejected::Malformed => &self.metrics.cluster_messages_malformed,
            Rejected::TooLarge => &self.metrics.cluster_messages_too_large,
            Rejected::UnknownType => &self.metrics.cluster_messages_unknown,
        };
        counter.increment();
        tracing::debug!(?rejected, "a message from the cluster was dropped");
    }

    /// See [`Bus::link`].
    pub(crate) fn linked(&self, seat: &Seat) {
        self.link.do_send(BusEvent::Linked { seat: seat.number, behind: None });
    }

    /// The same with a bus that keeps broadcasts.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for Redis Streams"))]
    pub(crate) fn linked_behind(&self, seat: &Seat, offset: Offset) {
        self.link.do_send(BusEvent::Linked { seat: seat.number, behind: Some(offset) });
    }

    pub(crate) fn away(&self) {
        self.link.do_send(BusEvent::Away);
    }

    pub(crate) fn back(&self) {
        self.link.do_send(BusEvent::Back);
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
