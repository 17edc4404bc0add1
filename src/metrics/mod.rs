//! Counters of one server: what happened, and above all what was dropped and why. With the feature
//! `metrics` also for the exporter that the application has, together with what [`meters`] measures.

pub(crate) mod meters;
#[cfg(feature = "metrics")]
pub(crate) mod sink;
#[cfg(feature = "metrics")]
mod table;

#[cfg(feature = "admin")]
pub(crate) mod traffic;

use std::sync::atomic::{AtomicU64, Ordering};

use self::meters::{Meters, Tally};

/// Counters, each with what it is for an exporter: a metric of its own, `= ("family", "reason")` of
/// one of the [`table`], or `= ()` where [`Meters`] counts the same in more detail.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident $(= $series:tt)?,)*) => {
        /// The counters of one server, all since its start.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: Counter,)*
            pub(crate) meters: Meters,
            #[cfg(feature = "admin")]
            pub(crate) traffic: traffic::Traffic,
        }

        /// A reading of a server's counters, all since its start.
        ///
        /// ```
        /// # actix::System::new().block_on(async {
        /// let io = greenroom::SocketIo::builder().start();
        /// let (before, after) = (io.metrics(), io.metrics());
        /// assert_eq!(after.events_received - before.events_received, 0);
        /// # });
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Metrics {
            pub(crate) fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)* }
            }

            /// Those of a server that tells an exporter.
            #[cfg(feature = "metrics")]
            pub(crate) fn new(sink: sink::Sink, max_namespaces: usize) -> Self {
                sink.describe(table::ROWS);
                sink.describe(OWN);
                $(let $name = Counter::told(series!(sink, $name $($series)?));)*
                Self {
                    $($name,)*
                    meters: Meters::new(sink, max_namespaces),
                    #[cfg(feature = "admin")]
                    traffic: traffic::Traffic::default(),
                }
            }
        }

        /// The metrics that are one counter each.
        #[cfg(feature = "metrics")]
        pub(crate) const OWN: &[Option<table::Row>] = &[$(own!($name [$($doc)*] $($series)?),)*];
    };
}

#[cfg(feature = "metrics")]
macro_rules! series {
    ($sink:ident, $name:ident) => {
        $sink.tally(concat!("greenroom_", stringify!($name), "_total"), &[])
    };
    ($sink:ident, $name:ident ()) => {
        Tally::default()
    };
    ($sink:ident, $name:ident ($family:literal, $reason:literal)) => {
        $sink.tally($family, &[("reason", $reason)])
    };
}

#[cfg(feature = "metrics")]
macro_rules! own {
    ($name:ident [$($doc:literal)*]) => {
        Some(table::Row::counter(
            concat!("greenroom_", stringify!($name), "_total"),
            concat!($($doc),*),
        ))
    };
    ($name:ident [$($doc:literal)*] $series:tt) => {
        None
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64, Tally);

impl Counter {
    #[cfg(feature = "metrics")]
    fn told(tally: Tally) -> Self {
        Self(AtomicU64::new(0), tally)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
        self.1.add(n);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Requests refused before a session was opened or found.
    requests_refused = (),
    /// Sessions not opened because as many were open as may be. These and the next four are among
    /// the refused requests.
    connections_refused = (),
    /// Sessions not opened because their address had as many open as it may have.
    address_connections_refused = (),
    /// Sessions not opened because as many clients were about to connect as may be.
    handshakes_refused = (),
    /// Requests that would open a session and have more in their headers and URL than may be kept.
    requests_over_limit = (),
    /// Requests refused because the application did not say in time whether to let them in.
    hook_timeouts = (),
    /// Sessions that had joined nothing and were closed to make way for newcomers.
    handshakes_evicted,
    /// WebSocket and JSONP requests of pages of foreign origins.
    foreign_origins_refused = (),
    /// Refused requests that an actor was not told of, because its mailbox was full or it has ended.
    connection_errors_lost,
    /// Sessions opened.
    sessions_opened = (),
    /// Sessions that ended.
    sessions_closed = (),
    /// Connections closed because they had joined no namespace in time.
    connect_timeouts,
    /// Sessions that ended because their client did not answer a ping in time.
    ping_timeouts = (),
    /// Upgrades that were not finished in time; their sessions went on.
    upgrade_timeouts = ("greenroom_upgrades_failed_total", "timeout"),
    /// Request bodies that were not complete in time; their sessions ended.
    body_timeouts,
    /// Connections that were left to themselves because their client took nothing more after the end of
    /// its session.
    unread_timeouts,
    /// Sockets put out of their namespace because their credentials had expired.
    credentials_expired,
    /// Sessions that ended because their client did not read what was sent to it.
    slow_clients_closed = (),
    /// Connections closed because a packet was malformed or came at the wrong time.
    bad_packets = (),
    /// Of these, packets that broke a bound: too many bytes, attachments or levels, or attachments
    /// that did not come in time.
    packets_over_limit = (),
    /// Times that a client sent more than its rate allows: it was made to wait, or closed.
    rate_limited,
    /// Events taken from clients.
    events_received = (),
    /// Events for which there was no listener.
    events_unhandled = ("greenroom_events_dropped_total", "unhandled"),
    /// Events of a socket that the server had just disconnected, or that left while they waited for
    /// their turn or a middleware held them; they are dropped.
    events_after_disconnect = ("greenroom_events_dropped_total", "after_disconnect"),
    /// Events that a listener answered with an error.
    events_failed,
    /// Events that a middleware refused; they are dropped.
    events_refused = ("greenroom_events_dropped_total", "middleware"),
    /// Events that listeners of what is sent did not see, because too many waited for them.
    outgoing_unheard,
    /// Events of connections (heartbeats, changes of pace) that listeners were not told of, because too
    /// many of these were at work.
    connection_events_dropped,
    /// Panics of listeners, middlewares, hooks and parsers.
    panics,
    /// Packets that the server's parser could not write; they are not sent.
    packets_not_encoded = ("greenroom_packets_dropped_total", "not_encoded"),
    /// Volatile packets that were dropped because they would have had to wait.
    volatile_dropped = ("greenroom_packets_dropped_total", "volatile"),
    /// Events dropped because too much waited for their receiver, to make room for newer ones. Here and
    /// below, once for each receiver.
    slow_dropped_oldest = ("greenroom_packets_dropped_total", "oldest"),
    /// Events dropped because there was no room for them, or for what may not be dropped.
    slow_dropped_newest = ("greenroom_packets_dropped_total", "newest"),
    /// Events dropped because a newer one of the same key waited for a slow receiver.
    slow_superseded = ("greenroom_packets_dropped_total", "superseded"),
    /// Packets (each attachment counts as one) that waited when their session ended, and that nobody
    /// could be given any more.
    frames_undelivered = ("greenroom_packets_dropped_total", "undelivered"),
    /// Namespaces asked for that do not exist.
    unknown_namespaces = ("greenroom_connects_refused_total", "unknown_namespace"),
    /// Namespaces born of a parent that ended because nobody was in them and others wanted room.
    empty_namespaces_ended,
    /// Connects refused by a middleware, or because they broke a bound.
    connects_refused = (),
    /// Of these, connects to more namespaces, or with more data in their auths, than a client may
    /// have.
    connects_over_limit = ("greenroom_connects_refused_total", "over_limit"),
    /// Rooms that a socket did not join, because it is in too many or the name is too long.
    joins_refused,
    /// Events that were not sent to a client because it has too many others to answer.
    questions_refused,
    /// Events of clients that were refused because the application owes answers to too many others.
    events_over_limit = ("greenroom_events_dropped_total", "over_limit"),
    /// Messages compressed for WebSockets; one for many that is compressed once counts once.
    messages_deflated,
    /// Messages to other nodes of the cluster that the driver took.
    cluster_messages_sent,
    /// Messages of other nodes of the cluster.
    cluster_messages_received,
    /// Messages to other nodes that were not sent: too much waited, or Redis refused them; without
    /// Redis, the engine was away.
    cluster_messages_dropped = ("greenroom_cluster_messages_dropped_total", "unsent"),
    /// Messages to other nodes that waited for an engine that was away longer than they may.
    cluster_messages_expired = ("greenroom_cluster_messages_dropped_total", "expired"),
    /// Volatile messages to other nodes that would have had to wait for the engine.
    cluster_messages_volatile = ("greenroom_cluster_messages_dropped_total", "volatile"),
    /// Messages to other nodes that were on their way when the connection broke; some may have
    /// arrived. They are not sent again.
    cluster_messages_unconfirmed = ("greenroom_cluster_messages_dropped_total", "unconfirmed"),
    /// Messages of other nodes that were dropped because too many bytes waited to be read.
    cluster_messages_overrun = ("greenroom_cluster_messages_dropped_total", "overrun"),
    /// Messages of the cluster that could not be read; they are dropped.
    cluster_messages_malformed = ("greenroom_cluster_messages_dropped_total", "malformed"),
    /// Messages of the cluster that are larger than messages may be; they are dropped.
    cluster_messages_too_large = ("greenroom_cluster_messages_dropped_total", "too_large"),
    /// Messages of the cluster of a type that is not known; they are dropped.
    cluster_messages_unknown = ("greenroom_cluster_messages_dropped_total", "unknown_type"),
    /// Answers of other nodes that did not come in time.
    cluster_answers_missing,
    /// Server-side events that were dropped because too many of their listeners were under way.
    server_side_events_dropped,
    /// Times that the engine of the cluster could not be reached any more.
    cluster_disconnections,
    /// Links to the cluster that died and were started again.
    cluster_links_restarted,
    /// Room actors that panicked and were rebuilt; each lost the one operation that it was at.
    rooms_rebuilt,
    /// Namespaces that panicked and were rebuilt; each lost the one message that it was at.
    namespaces_rebuilt,
    /// Sessions that were closed while the server drained.
    sessions_drained,
    /// Answers in flight, in either direction, of sessions that were told to end while the server
    /// drained.
    drain_acks_awaited,
    /// Sessions that were cut off because they had not ended when the time to drain was over.
    drain_sessions_cut,
    /// Sockets that came back after their connection had broken.
    sockets_recovered,
    /// Clients that came back for a socket that nobody knows, or that another connection had
    /// already come for. Each got a new one, here and below.
    recoveries_unknown = ("greenroom_recoveries_failed_total", "unknown"),
    /// Clients that came back too late, as long as it is remembered for what.
    recoveries_expired = ("greenroom_recoveries_failed_total", "expired"),
    /// Clients that missed more than was kept, or more than may wait for a client.
    recoveries_evicted = ("greenroom_recoveries_failed_total", "evicted"),
    /// Clients that came back with an offset that no event had.
    recoveries_malformed = ("greenroom_recoveries_failed_total", "malformed"),
    /// Events that were forgotten before their time because too many were kept for recovery.
    recovery_packets_evicted,
    /// Sockets that were forgotten before their time because too many were kept for recovery.
    recovery_sessions_evicted,
    /// Events for sockets that had left and that nobody can come back for any more.
    recovery_emits_dropped,
    /// What an admin interface did not show, because too much happened at once.
    admin_sightings_dropped,
    /// Attempts to log in to an admin interface that were refused: wrong, or too many.
    admin_logins_refused,
}

#[cfg(all(test, feature = "metrics"))]
mod tests;
