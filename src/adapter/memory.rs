//! A bus of several nodes in one process, for tests: real messages in the form that sharded Redis
//! has, over queues with faults. Times are tokio's, so a paused clock rules it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Adapter, BoxedAdapter,
    bus::{Bus, Census, Connect, Inbox, Membership, Patience, Seat, SeatNumber, Unsent},
    message::{Message, Uid},
    wire::envelope,
};
use crate::{engine::LocalFuture, room::Room};

/// A cluster in one process: several servers, each with a [`node`](Self::node) of it as its adapter.
///
/// Clones are the same bus. What can go wrong on a network can be made to happen; each fault lasts
/// until it is undone.
///
/// ```
/// use greenroom::{prelude::*, testing::{MemoryBus, TestServer}};
///
/// # actix_rt::System::new().block_on(async {
/// let bus = MemoryBus::new();
/// let [one, two] =
///     ["one", "two"].map(|name| TestServer::start(SocketIo::builder().adapter(bus.node(name))));
/// let client = two.connect("/", ()).await.unwrap();
/// one.io().emit("hello", &1).unwrap();
/// assert_eq!(client.next_event().await.name, "hello");
/// # });
/// ```
#[derive(Clone, Default)]
pub struct MemoryBus(Arc<Mutex<Hub>>);

#[derive(Default)]
struct Hub {
    nodes: HashMap<String, NodeState>,
    seats: Vec<Subscriber>,
    heartbeats: Option<(Duration, Duration)>,
    /// How long a subscription to a room takes to be in effect, if rooms have their own.
    rooms: Option<Duration>,
    delay: Duration,
    duplicates: bool,
    loses: bool,
}

#[derive(Default)]
struct NodeState {
    inbox: Option<Inbox>,
    alone: bool,
    away: bool,
    names: usize,
}

struct Subscriber {
    node: String,
    seat: Arc<Seat>,
    queue: mpsc::UnboundedSender<(Instant, Bytes)>,
    /// The rooms that have members here, and when what is sent to them is heard.
    rooms: HashMap<Room, Instant>,
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").finish_non_exhaustive()
    }
}

impl MemoryBus {
    /// A bus that knows its nodes, and loses nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The nodes find each other by heartbeats, sent after `interval` without a message; one that is
    /// not heard of for longer than `timeout` is gone. Default: the bus knows its nodes.
    #[must_use]
    pub fn heartbeats(self, interval: Duration, timeout: Duration) -> Self {
        self.hub().heartbeats = Some((interval, timeout));
        self
    }

    /// A node hears broadcasts to one room only if it has members there, and as late as `delay`
    /// after the first one has joined.
    #[must_use]
    pub fn rooms_on_demand(self, delay: Duration) -> Self {
        self.hub().rooms = Some(delay);
        self
    }

    /// A place on the bus, for [`SocketIoBuilder::adapter`](crate::SocketIoBuilder::adapter) of one
    /// server. Its names on the bus begin with `name`.
    pub fn node(&self, name: &str) -> MemoryNode {
        self.hub().nodes.entry(name.to_owned()).or_default();
        MemoryNode { bus: self.clone(), name: name.to_owned() }
    }

    /// Messages take so long from now on; their order stays.
    pub fn delay(&self, delay: Duration) {
        self.hub().delay = delay;
    }

    /// Each message comes twice, or once again.
    pub fn duplicate(&self, duplicates: bool) {
        self.hub().duplicates = duplicates;
    }

    /// All messages are lost, or none any more.
    pub fn lose(&self, loses: bool) {
        self.hub().loses = loses;
    }

    /// A node hears nobody and nobody hears it, and neither knows; or no more.
    pub fn isolate(&self, node: &str, alone: bool) {
        if let Some(state) = self.hub().nodes.get_mut(node) {
            state.alone = alone;
        }
    }

    /// A node cannot reach the bus, which it notices; or it can again.
    pub fn disconnect(&self, node: &str, away: bool) {
        let inbox = self.hub().nodes.get_mut(node).and_then(|state| {
            let changes = std::mem::replace(&mut state.away, away) != away;
            state.inbox.clone().filter(|_| changes)
        });
        match inbox {
            Some(inbox) if away => inbox.away(),
            Some(inbox) => inbox.back(),
            None => {}
        }
    }

    /// Says something to all nodes in one namespace, whatever it is.
    pub fn inject(&self, namespace: &str, message: &[u8]) {
        let message = Bytes::copy_from_slice(message);
        for subscriber in &self.hub().seats {
            if *subscriber.seat.namespace == *namespace {
                // One that has ended hears nothing.
                let _ = subscriber.queue.send((Instant::now(), message.clone()));
            }
        }
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node of a [`MemoryBus`].
///
/// It is the adapter of one server; [`MemoryBus`] shows two.
#[derive(Clone, Debug)]
pub struct MemoryNode {
    bus: MemoryBus,
    name: String,
}

impl Adapter for MemoryNode {
    fn into_boxed(self) -> BoxedAdapter {
        BoxedAdapter(Some(Arc::new(self)))
    }
}

impl Connect for MemoryNode {
    fn connect(&self, inbox: Inbox) -> Box<dyn Bus> {
        let mut hub = self.bus.hub();
        hub.seats.retain(|subscriber| subscriber.node != self.name);
        hub.nodes.entry(self.name.clone()).or_default().inbox = Some(inbox.clone());
        drop(hub);
        Box::new(Connected { node: self.clone(), inbox })
    }
}

/// The end of the bus that a link has.
struct Connected {
    node: MemoryNode,
    inbox: Inbox,
}

impl Connected {
    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.node.bus.hub()
    }
}

impl Hub {
    /// Whether a message of `from` gets to `to`.
    fn carries(&self, from: &str, to: &str) -> bool {
        let alone = |node| self.nodes.get(node).is_some_and(|state| state.alone || state.away);
        !self.loses && !alone(from) && !alone(to)
    }

    fn subscriber(&mut self, seat: SeatNumber) -> Option<&mut Subscriber> {
        self.seats.iter_mut().find(|subscriber| subscriber.seat.number == seat)
    }
}

impl Bus for Connected {
    fn uid(&self) -> Uid {
        let mut hub = self.hub();
        let state = hub.nodes.entry(self.node.name.clone()).or_default();
        state.names += 1;
        Uid::from(&*format!("{}-{}", self.node.name, state.names))
    }

    fn membership(&self) -> Membership {
        match self.hub().heartbeats {
            Some((interval, timeout)) => Membership::Heartbeats { interval, timeout },
            None => Membership::Census,
        }
    }

    fn wants_rooms(&self) -> bool {
        self.hub().rooms.is_some()
    }

    fn link(&mut self, seat: &Arc<Seat>) {
        let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Bytes)>();
        let (node, rooms) = (self.node.name.clone(), HashMap::new());
        self.hub().seats.push(Subscriber { node, seat: Arc::clone(seat), queue, rooms });
        let (inbox, seat) = (self.inbox.clone(), Arc::clone(seat));
        inbox.linked(&seat);
        actix::spawn(async move {
            while let Some((due, message)) = queued.recv().await {
                // Without a delay no time passes, not even that of a tick.
                if due > Instant::now() {
                    tokio::time::sleep_until(due).await;
                }
                inbox.receive(&seat, envelope::parse(&message, inbox.max_bytes)).await;
            }
        });
    }

    fn unlink(&mut self, seat: &Arc<Seat>) {
        self.hub().seats.retain(|subscriber| subscriber.seat.number != seat.number);
    }

    fn send(
        &mut self,
        seat: &Arc<Seat>,
        to: Option<&Uid>,
        message: &Message,
        _: Patience,
    ) -> Result<(), Unsent> {
        let document =
            envelope::write(message, &seat.uid, &seat.namespace).ok_or(Unsent::Unknown)?;
        let bytes = Bytes::from(envelope::mixed(&document));
        self.inbox.may_send(bytes.len())?;
        let hub = self.hub();
        if hub.nodes.get(&self.node.name).is_some_and(|state| state.away) {
            return Err(Unsent::Away);
        }
        let room = match message {
            Message::Broadcast { target, request: None, .. } if hub.rooms.is_some() => {
                target.rooms.first().filter(|_| target.rooms.len() == 1)
            }
            _ => None,
        };
        let now = Instant::now();
        for subscriber in &hub.seats {
            let hears = subscriber.seat.namespace == seat.namespace
                && subscriber.node != self.node.name
                && to.is_none_or(|to| *to == subscriber.seat.uid)
                && room.is_none_or(|room| subscriber.rooms.get(room).is_some_and(|at| *at <= now))
                && hub.carries(&self.node.name, &subscriber.node);
            for _ in 0..usize::from(hears) * (1 + usize::from(hub.duplicates)) {
                // One that has ended hears nothing.
                let _ = subscriber.queue.send((now + hub.delay, bytes.clone()));
            }
        }
        Ok(())
    }

    fn interest(&mut self, seat: &Arc<Seat>, room: &Room, wanted: bool) {
        let mut hub = self.hub();
        let at = Instant::now() + hub.rooms.unwrap_or_default();
        let Some(subscriber) = hub.subscriber(seat.number) else { return };
        if wanted {
            subscriber.rooms.insert(room.clone(), at);
        } else {
            subscriber.rooms.remove(room);
        }
    }

    fn interests(&mut self, seat: &Arc<Seat>, rooms: HashSet<Room>) {
        let mut hub = self.hub();
        let at = Instant::now() + hub.rooms.unwrap_or_default();
        let Some(subscriber) = hub.subscriber(seat.number) else { return };
        subscriber.rooms.retain(|room, _| rooms.contains(room));
        for room in rooms {
            subscriber.rooms.entry(room).or_insert(at);
        }
    }

    fn settled(&mut self, seat: &Arc<Seat>) -> Option<LocalFuture<()>> {
        let mut hub = self.hub();
        let last = hub.subscriber(seat.number)?.rooms.values().max().copied()?;
        (last > Instant::now()).then(|| Box::pin(tokio::time::sleep_until(last)) as LocalFuture<()>)
    }

    fn census(&mut self, seat: &Arc<Seat>, _: Patience) -> LocalFuture<Option<Census>> {
        let hub = self.hub();
        let away = hub.nodes.get(&self.node.name).is_some_and(|state| state.away);
        let others = hub.seats.iter().filter(|subscriber| {
            subscriber.node != self.node.name && subscriber.seat.namespace == seat.namespace
        });
        let names: HashSet<Uid> = others.map(|subscriber| subscriber.seat.uid.clone()).collect();
        let census = (!away).then(|| Census { others: names.len(), names: Some(names) });
        Box::pin(std::future::ready(census))
    }

    fn close(&mut self) -> LocalFuture<()> {
        let name = self.node.name.clone();
        self.hub().seats.retain(|subscriber| subscriber.node != name);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        // Nothing that the bus holds may keep the link's mailbox alive, unless there is a next one
        // already.
        let name = self.node.name.clone();
        self.hub().seats.retain(|subscriber| subscriber.node != name);
    }
}
