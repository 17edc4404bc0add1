//! What an admin interface sees of the namespaces, while somebody looks.
//!
//! Whoever does something puts a note of it into one bounded queue, and never waits: what does not
//! fit is counted. While nobody looks it is a flag that is read; without an interface not even that.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::mpsc;

use super::{Data, DisconnectReason, Socket};
use crate::{
    metrics::Metrics,
    packet::Event,
    room::{Room, SocketId},
};

/// Notes that wait for the interface.
const QUEUE: usize = 8192;
/// Bytes of an event's arguments that are shown.
const SHOWN_BYTES: usize = 4096;

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) what: Sight,
    pub(crate) at: SystemTime,
}

#[derive(Debug)]
pub(crate) enum Sight {
    Connected {
        socket: Socket,
        rooms: Vec<Room>,
    },
    Disconnected {
        socket: Socket,
        reason: DisconnectReason,
    },
    Joined {
        namespace: Arc<str>,
        room: Room,
        id: SocketId,
    },
    Left {
        namespace: Arc<str>,
        room: Room,
        id: SocketId,
    },
    /// An event came; its name and arguments as one JSON array.
    Received {
        socket: Socket,
        event: Box<str>,
    },
    /// An event was sent.
    Sent {
        socket: Socket,
        event: Box<str>,
    },
    /// The data of the socket have changed.
    Data(Socket),
    /// The socket's connection has moved to another transport.
    Upgraded(Socket),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Tap {
    /// The namespace of those who look; its events are not shown to them.
    own: Box<str>,
    on: AtomicBool,
    /// Events that may be shown in this second.
    budget: AtomicI64,
    /// A change of sockets or rooms could not be shown: whoever looks has a wrong picture.
    torn: AtomicBool,
    queue: mpsc::Sender<Sighting>,
    metrics: Arc<Metrics>,
}

impl Tap {
    pub(crate) fn new(own: &str, metrics: &Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<Sighting>) {
        let (queue, sightings) = mpsc::channel(QUEUE);
        let tap = Self {
            own: own.into(),
            on: AtomicBool::new(false),
            budget: AtomicI64::new(0),
            torn: AtomicBool::new(false),
            queue,
            metrics: Arc::clone(metrics),
        };
        (Arc::new(tap), sightings)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(crate) fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Another second: so many events may be shown in it.
    pub(crate) fn refill(&self, events: i64) {
        self.budget.store(events, Ordering::Relaxed);
    }

    /// Whether something of sockets or rooms was lost since this was asked last.
    pub(crate) fn take_torn(&self) -> bool {
        self.torn.load(Ordering::Relaxed) && self.torn.swap(false, Ordering::Relaxed)
    }

    /// Whether there was room for it.
    fn note(&self, what: Sight) -> bool {
        let noted = self.queue.try_send(Sighting { what, at: SystemTime::now() }).is_ok();
        if !noted {
            self.metrics.admin_sightings_dropped.increment();
        }
        noted
    }

    /// Notes what whoever looks has to know to have the right picture.
    fn note_change(&self, what: Sight) {
        if !self.note(what) {
            self.torn.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn connected(&self, socket: &Socket, rooms: Vec<Room>) {
        self.note_change(Sight::Connected { socket: socket.clone(), rooms });
    }

    pub(crate) fn disconnected(&self, socket: &Socket, reason: DisconnectReason) {
        self.note_change(Sight::Disconnected { socket: socket.clone(), reason });
    }

    pub(crate) fn joined(&self, namespace: &Arc<str>, room: &Room, id: &SocketId) {
        let (namespace, room, id) = (Arc::clone(namespace), room.clone(), id.clone());
        self.note_change(Sight::Joined { namespace, room, id });
    }

    pub(crate) fn left(&self, namespace: &Arc<str>, room: &Room, id: &SocketId) {
        let (namespace, room, id) = (Arc::clone(namespace), room.clone(), id.clone());
        self.note_change(Sight::Left { namespace, room, id });
    }

    /// Lets `f` change the data of a socket, and notes whether it did.
    pub(super) fn compare<R>(
        &self,
        socket: &Socket,
        data: &mut Data,
        f: impl FnOnce(&mut Data) -> R,
    ) -> R {
        if !socket.connected() {
            return f(data);
        }
        let before = fingerprint(data);
        let result = f(data);
        if fingerprint(data) != before {
            self.note_change(Sight::Data(socket.clone()));
        }
        result
    }

    /// Whether this event may still be shown in this second.
    fn may_show(&self, namespace: &str) -> bool {
        if *namespace == *self.own {
            return false;
        }
        let left = self.budget.fetch_sub(1, Ordering::Relaxed) > 0;
        if !left {
            self.metrics.admin_sightings_dropped.increment();
        }
        left
    }
}

fn fingerprint(data: &mut Data) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.as_map().hash(&mut hasher);
    hasher.finish()
}

/// Name and arguments as one array; of what is very long, how long it is.
fn shown(event: &Event) -> Box<str> {
    let name = serde_json::Value::from(&*event.name);
    let args = event.args.raw_json();
    match args.len() {
        0 => format!("[{name}]"),
        1..=SHOWN_BYTES => format!("[{name},{args}]"),
        bytes => format!("[{name},\"({bytes} bytes)\"]"),
    }
    .into()
}

impl Socket {
    /// An event has come, and nobody has had it yet.
    pub(crate) fn show_received(&self, event: &Event) {
        if let Some(tap) = self.home().description.tap()
            && tap.may_show(self.namespace())
        {
            tap.note(Sight::Received { socket: self.clone(), event: shown(event) });
        }
    }

    /// An event was sent.
    pub(crate) fn show_sent(&self, event: &Event) {
        if let Some(tap) = self.home().description.tap()
            && tap.may_show(self.namespace())
        {
            tap.note(Sight::Sent { socket: self.clone(), event: shown(event) });
        }
    }

    /// Its connection has another transport now.
    pub(crate) fn show_upgrade(&self) {
        if let Some(tap) = self.home().description.tap() {
            tap.note_change(Sight::Upgraded(self.clone()));
        }
    }
}
