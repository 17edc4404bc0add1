//! What is measured for exporters beyond the counters. Without the feature `metrics` all of this is
//! empty, and costs neither memory nor time.

use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

#[cfg(feature = "metrics")]
use tokio::time::Instant;

#[cfg(feature = "metrics")]
use super::sink::Sink;
use crate::engine::Transport;

/// The namespace of those beyond the bound, and the event that no listener was described for.
#[cfg(feature = "metrics")]
const OTHERS: &str = "(others)";

// ---- what is measured with ---------------------------------------------------------------------

macro_rules! instruments {
    ($($(#[$doc:meta])* $name:ident($facade:ident))*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name(#[cfg(feature = "metrics")] pub(super) metrics::$facade);

        impl Default for $name {
            /// One that nobody reads.
            fn default() -> Self {
                Self(#[cfg(feature = "metrics")] metrics::$facade::noop())
            }
        }
    )*};
}

instruments! {
    /// A number that only grows.
    Tally(Counter)
    /// A number that rises and falls. Only ever by differences: several servers may share it.
    Level(Gauge)
    /// How long something takes.
    Times(Histogram)
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
impl Tally {
    pub(crate) fn add(&self, n: u64) {
        #[cfg(feature = "metrics")]
        self.0.increment(n);
    }
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
impl Level {
    pub(crate) fn change(&self, by: isize) {
        #[cfg(feature = "metrics")]
        if by != 0 {
            #[allow(clippy::cast_precision_loss, reason = "nothing here comes to 2^53")]
            self.0.increment(by as f64);
        }
    }
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(#[cfg(feature = "metrics")] Instant);

impl Since {
    pub(crate) fn now() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            Instant::now(),
        )
    }
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
impl Times {
    /// What began then has ended.
    pub(crate) fn record(&self, since: Since) {
        #[cfg(feature = "metrics")]
        self.0.record(since.0.elapsed().max(Duration::from_nanos(1)));
    }
}

/// Records, when it is dropped, how long it was held.
#[derive(Debug)]
pub(crate) struct Held {
    times: Times,
    since: Since,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.times.record(self.since);
    }
}

/// How much waits in an outbox: packets and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Depth(#[cfg(feature = "metrics")] isize, #[cfg(feature = "metrics")] isize);

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
impl Depth {
    pub(crate) fn of((packets, bytes): (usize, usize)) -> Self {
        Self(
            #[cfg(feature = "metrics")]
            packets.cast_signed(),
            #[cfg(feature = "metrics")]
            bytes.cast_signed(),
        )
    }

    fn minus(self, other: Self) -> (isize, isize) {
        #[cfg(feature = "metrics")]
        return (self.0 - other.0, self.1 - other.1);
        #[cfg(not(feature = "metrics"))]
        (0, 0)
    }
}

/// The same for both transports.
#[derive(Clone, Debug, Default)]
struct ByTransport<T> {
    polling: T,
    websocket: T,
}

impl<T> ByTransport<T> {
    fn get(&self, transport: Transport) -> &T {
        match transport {
            Transport::Polling => &self.polling,
            Transport::WebSocket => &self.websocket,
        }
    }

    #[cfg(feature = "metrics")]
    fn new(make: impl Fn(&[(&'static str, &str)]) -> T) -> Self {
        let of = |transport| make(&[("transport", transport)]);
        Self { polling: of("polling"), websocket: of("websocket") }
    }
}

// ---- of a server -------------------------------------------------------------------------------

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    connections: ByTransport<Level>,
    opened: ByTransport<Tally>,
    pub(crate) slow: Level,
    pub(crate) upgrades: Tally,
    received: ByTransport<Tally>,
    sent: ByTransport<Tally>,
    outbox_packets: Level,
    outbox_bytes: Level,
    cluster_send: Times,
    cluster_publish: Times,
    cluster_receive: Times,
    #[cfg(feature = "metrics")]
    sink: Sink,
    #[cfg(feature = "metrics")]
    namespaces: Mutex<HashMap<String, Arc<NamespaceMeters>>>,
    #[cfg(feature = "metrics")]
    max_namespaces: usize,
}

/// Something that does not happen often, which is looked up when it does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rare {
    Closed,
    RequestRefused,
    UpgradeFailed,
    PacketRefused,
    ConnectRefused,
}

impl Meters {
    #[cfg(feature = "metrics")]
    pub(super) fn new(sink: Sink, max_namespaces: usize) -> Self {
        Self {
            connections: ByTransport::new(|labels| sink.level("greenroom_connections", labels)),
            opened: ByTransport::new(|labels| {
                sink.tally("greenroom_connections_opened_total", labels)
            }),
            slow: sink.level("greenroom_slow_connections", &[]),
            upgrades: sink.tally("greenroom_upgrades_total", &[]),
            received: ByTransport::new(|labels| {
                sink.tally("greenroom_received_bytes_total", labels)
            }),
            sent: ByTransport::new(|labels| sink.tally("greenroom_sent_bytes_total", labels)),
            outbox_packets: sink.level("greenroom_outbox_packets", &[]),
            outbox_bytes: sink.level("greenroom_outbox_bytes", &[]),
            cluster_send: sink.times("greenroom_cluster_send_seconds", &[]),
            cluster_publish: sink.times("greenroom_cluster_publish_seconds", &[]),
            cluster_receive: sink.times("greenroom_cluster_receive_seconds", &[]),
            namespaces: Mutex::default(),
            max_namespaces,
            sink,
        }
    }

    pub(crate) fn opened(&self, transport: Transport) {
        self.opened.get(transport).add(1);
        self.connections.get(transport).change(1);
    }

    pub(crate) fn upgraded(&self) {
        self.upgrades.add(1);
        self.connections.polling.change(-1);
        self.connections.websocket.change(1);
    }

    pub(crate) fn closed(&self, transport: Transport) {
        self.connections.get(transport).change(-1);
    }

    pub(crate) fn received(&self, transport: Transport, bytes: usize) {
        self.received.get(transport).add(bytes as u64);
    }

    pub(crate) fn sent(&self, transport: Transport, bytes: usize) {
        self.sent.get(transport).add(bytes as u64);
    }

    /// What waited in an outbox has changed.
    pub(crate) fn waits(&self, before: Depth, after: Depth) {
        let (packets, bytes) = after.minus(before);
        self.outbox_packets.change(packets);
        self.outbox_bytes.change(bytes);
    }

    /// A message of another node is on its way to its namespace until this is dropped.
    pub(crate) fn incoming(&self) -> Held {
        Held { times: self.cluster_receive.clone(), since: Since::now() }
    }

    /// A message to other nodes has been given to the driver.
    pub(crate) fn outgoing(&self, since: Since) {
        self.cluster_send.record(since);
    }

    /// The engine has answered for a message.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "no other driver waits for it"))]
    pub(crate) fn published(&self, since: Since) {
        self.cluster_publish.record(since);
    }

    /// Counts something; `reason` is one of the table, where spaces are underscores.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
    pub(crate) fn count(&self, what: Rare, reason: &str) {
        #[cfg(feature = "metrics")]
        {
            let name = match what {
                Rare::Closed => "greenroom_connections_closed_total",
                Rare::RequestRefused => "greenroom_requests_refused_total",
                Rare::UpgradeFailed => "greenroom_upgrades_failed_total",
                Rare::PacketRefused => "greenroom_packets_refused_total",
                Rare::ConnectRefused => "greenroom_connects_refused_total",
            };
            let reason = reason.replace(' ', "_");
            debug_assert!(super::table::has(name, &reason), "{name} has no reason {reason}");
            self.sink.tally(name, &[("reason", &reason)]).add(1);
        }
    }

    /// A request to other nodes begins; the time that it takes is recorded when this is dropped.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
    pub(crate) fn request(&self, kind: &'static str) -> Held {
        #[cfg(feature = "metrics")]
        let times = {
            self.sink.tally("greenroom_cluster_requests_total", &[("kind", kind)]).add(1);
            self.sink.times("greenroom_cluster_request_seconds", &[("kind", kind)])
        };
        #[cfg(not(feature = "metrics"))]
        let times = Times::default();
        Held { times, since: Since::now() }
    }

    /// Those of a namespace, or of all children of a parent. Beyond the bound all names have the same.
    #[cfg(feature = "metrics")]
    pub(crate) fn namespace<'a>(
        &self,
        name: &str,
        events: impl Iterator<Item = &'a str>,
    ) -> Arc<NamespaceMeters> {
        let mut known = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let full = known.len() >= self.max_namespaces && !known.contains_key(name);
        let name = if full { OTHERS } else { name };
        let sink = &self.sink;
        let meters = known
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(NamespaceMeters::new(sink, name)));
        if full {
            return Arc::clone(meters);
        }
        // One that comes again may listen to something else.
        let new = |event: &&str| !meters.handlers.contains_key(*event);
        let new: Vec<_> = events.filter(new).collect();
        if !new.is_empty() {
            let mut more = NamespaceMeters::clone(meters);
            for event in new {
                more.handlers.insert(event.to_owned(), handler(sink, name, event));
            }
            *meters = Arc::new(more);
        }
        Arc::clone(meters)
    }
}

#[cfg(feature = "metrics")]
fn handler(sink: &Sink, namespace: &str, event: &str) -> Times {
    sink.times("greenroom_handler_seconds", &[("namespace", namespace), ("event", event)])
}

// ---- of a namespace ----------------------------------------------------------------------------

/// What is measured in one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamespaceMeters {
    #[cfg(feature = "metrics")]
    sockets: Level,
    #[cfg(feature = "metrics")]
    rooms: Level,
    pub(crate) received: Tally,
    pub(crate) sent: Tally,
    pub(crate) server_ack: Times,
    pub(crate) client_ack: Times,
    pub(crate) client_acks_missing: Tally,
    #[cfg(feature = "metrics")]
    handlers: HashMap<String, Times>,
    #[cfg(feature = "metrics")]
    others: Times,
}

impl NamespaceMeters {
    #[cfg(feature = "metrics")]
    fn new(sink: &Sink, name: &str) -> Self {
        let labels = &[("namespace", name)];
        Self {
            sockets: sink.level("greenroom_sockets", labels),
            rooms: sink.level("greenroom_rooms", labels),
            received: sink.tally("greenroom_events_received_total", labels),
            sent: sink.tally("greenroom_events_sent_total", labels),
            server_ack: sink.times("greenroom_server_ack_seconds", labels),
            client_ack: sink.times("greenroom_client_ack_seconds", labels),
            client_acks_missing: sink.tally("greenroom_client_acks_missing_total", labels),
            handlers: HashMap::new(),
            others: handler(sink, name, OTHERS),
        }
    }

    /// A listener of this event has finished.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
    pub(crate) fn handled(&self, event: &str, since: Since) {
        #[cfg(feature = "metrics")]
        self.handlers.get(event).unwrap_or(&self.others).record(since);
    }
}

/// How many sockets and rooms a namespace has told of. When it ends, these are gone.
#[derive(Debug, Default)]
pub(crate) struct Census {
    #[cfg(feature = "metrics")]
    told: Option<(Arc<NamespaceMeters>, isize, isize)>,
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables, clippy::unused_self))]
impl Census {
    /// So many there are now.
    pub(crate) fn tell(&mut self, meters: &Arc<NamespaceMeters>, sockets: usize, rooms: usize) {
        #[cfg(feature = "metrics")]
        {
            let (sockets, rooms) = (sockets.cast_signed(), rooms.cast_signed());
            let (meters, old_sockets, old_rooms) =
                self.told.get_or_insert_with(|| (Arc::clone(meters), 0, 0));
            meters.sockets.change(sockets - std::mem::replace(old_sockets, sockets));
            meters.rooms.change(rooms - std::mem::replace(old_rooms, rooms));
        }
    }
}

#[cfg(feature = "metrics")]
impl Drop for Census {
    fn drop(&mut self) {
        if let Some((meters, sockets, rooms)) = &self.told {
            meters.sockets.change(-sockets);
            meters.rooms.change(-rooms);
        }
    }
}
