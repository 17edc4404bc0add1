//! Every metric that is not one counter alone: name, kind, unit, meaning, labels. `docs/metrics.md` has
//! the same table for people, and a test compares them.

/// What a metric is to an exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    Bytes,
    Seconds,
}

/// A label, and its values if they are always the same.
pub(crate) type Label = (&'static str, &'static [&'static str]);

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: Unit,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [Label],
}

impl Row {
    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit: Unit::Count, help, labels: &[] }
    }

    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Gauge, ..Self::counter(name, help) }
    }

    const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Histogram, unit: Unit::Seconds, ..Self::counter(name, help) }
    }

    const fn bytes(self) -> Self {
        Self { unit: Unit::Bytes, ..self }
    }

    const fn by(self, labels: &'static [Label]) -> Option<Self> {
        Some(Self { labels, ..self })
    }
}

const TRANSPORT: Label = ("transport", &["polling", "websocket"]);
const NAMESPACE: Label = ("namespace", &[]);

/// See the module's description.
pub(crate) const ROWS: &[Option<Row>] = &[
    Row::gauge("greenroom_connections", "Connections that are open.").by(&[TRANSPORT]),
    Row::counter(
        "greenroom_connections_opened_total",
        "Connections opened, by the transport of their first request.",
    )
    .by(&[TRANSPORT]),
    Row::counter("greenroom_connections_closed_total", "Connections that ended.").by(&[(
        "reason",
        &[
            "transport_error",
            "transport_close",
            "forced_close",
            "ping_timeout",
            "parse_error",
            "slow_client",
            "rate_limit",
            "too_many_handshakes",
            "server_shutting_down",
        ],
    )]),
    Row::gauge(
        "greenroom_slow_connections",
        "Connections that do not keep up with what is sent to them.",
    )
    .by(&[]),
    Row::counter(
        "greenroom_requests_refused_total",
        "Requests refused before a session was opened or found.",
    )
    .by(&[(
        "reason",
        &[
            "unknown_transport",
            "unknown_session",
            "bad_handshake_method",
            "bad_request",
            "forbidden",
            "foreign_origin",
            "unsupported_version",
            "closed",
            "too_many_connections",
            "too_many_connections_of_address",
            "too_many_handshakes",
            "request_too_large",
            "hook_panicked",
            "hook_timeout",
        ],
    )]),
    Row::counter("greenroom_upgrades_total", "Connections that moved from polling to WebSocket.")
        .by(&[]),
    Row::counter(
        "greenroom_upgrades_failed_total",
        "Upgrades that were begun and not finished; their connections go on.",
    )
    .by(&[("reason", &["timeout", "closed", "bad_packet", "refused"])]),
    Row::counter(
        "greenroom_received_bytes_total",
        "Bytes of WebSocket frames and of the bodies of polling requests.",
    )
    .bytes()
    .by(&[TRANSPORT]),
    Row::counter(
        "greenroom_sent_bytes_total",
        "Bytes of WebSocket frames and of the bodies of answers to polls.",
    )
    .bytes()
    .by(&[TRANSPORT]),
    Row::gauge("greenroom_outbox_packets", "Packets that wait for clients, in all outboxes.")
        .by(&[]),
    Row::gauge("greenroom_outbox_bytes", "Bytes of them, as the bounds of outboxes count.")
        .bytes()
        .by(&[]),
    Row::counter(
        "greenroom_packets_dropped_total",
        "Packets that were not sent to a client, once for each receiver.",
    )
    .by(&[(
        "reason",
        &["volatile", "oldest", "newest", "superseded", "undelivered", "not_encoded"],
    )]),
    Row::counter(
        "greenroom_packets_refused_total",
        "Packets of clients for which their connections were closed.",
    )
    .by(&[("reason", &["malformed", "over_limit", "out_of_place"])]),
    Row::counter(
        "greenroom_connects_refused_total",
        "Attempts to join a namespace that were refused.",
    )
    .by(&[("reason", &["middleware", "over_limit", "unknown_namespace"])]),
    Row::gauge("greenroom_sockets", "Sockets that are connected.").by(&[NAMESPACE]),
    Row::gauge("greenroom_rooms", "Rooms that have members, without the sockets' own.")
        .by(&[NAMESPACE]),
    Row::counter("greenroom_events_received_total", "Events taken from clients.").by(&[NAMESPACE]),
    Row::counter("greenroom_events_sent_total", "Events sent to clients, once for each receiver.")
        .by(&[NAMESPACE]),
    Row::counter("greenroom_events_dropped_total", "Events of clients that no listener got.")
        .by(&[("reason", &["unhandled", "after_disconnect", "middleware", "over_limit"])]),
    Row::seconds(
        "greenroom_handler_seconds",
        "Time from the call of a listener until it has finished.",
    )
    .by(&[NAMESPACE, ("event", &[])]),
    Row::seconds(
        "greenroom_server_ack_seconds",
        "Time from the turn of a client's event until its answer was given to the outbox.",
    )
    .by(&[NAMESPACE]),
    Row::seconds(
        "greenroom_client_ack_seconds",
        "Time from asking a client until its answer came.",
    )
    .by(&[NAMESPACE]),
    Row::counter(
        "greenroom_client_acks_missing_total",
        "Answers that a client did not give: it left, or whoever asked did not wait longer.",
    )
    .by(&[NAMESPACE]),
    Row::counter(
        "greenroom_recoveries_failed_total",
        "Clients that came back for a socket in vain.",
    )
    .by(&[("reason", &["unknown", "expired", "evicted", "malformed"])]),
    Row::counter(
        "greenroom_cluster_messages_dropped_total",
        "Messages to or of other nodes that were lost.",
    )
    .by(&[(
        "reason",
        &[
            "unsent",
            "expired",
            "volatile",
            "unconfirmed",
            "overrun",
            "malformed",
            "too_large",
            "unknown_type",
        ],
    )]),
    Row::seconds(
        "greenroom_cluster_send_seconds",
        "Lag of what is sent to other nodes: from its namespace until the driver has it.",
    )
    .by(&[]),
    Row::seconds(
        "greenroom_cluster_publish_seconds",
        "Lag of what is sent to other nodes: from the driver until Redis has answered.",
    )
    .by(&[]),
    Row::seconds(
        "greenroom_cluster_receive_seconds",
        "Lag of what other nodes send: from the driver until its namespace has handled it.",
    )
    .by(&[]),
    Row::seconds(
        "greenroom_cluster_request_seconds",
        "Time from a request to other nodes until the last answer came, or its time was up.",
    )
    .by(&[KIND]),
    Row::counter("greenroom_cluster_requests_total", "Requests to other nodes that want answers.")
        .by(&[KIND]),
];

const KIND: Label =
    ("kind", &["broadcast_with_ack", "fetch_sockets", "all_rooms", "server_side_emit", "settle"]);

/// Whether a metric has that value of its one label.
pub(crate) fn has(name: &str, value: &str) -> bool {
    let row = ROWS.iter().flatten().find(|row| row.name == name);
    row.is_some_and(|row| matches!(row.labels, [(_, values)] if values.contains(&value)))
}
