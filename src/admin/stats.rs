//! What the interface tells of the server as a whole.

use std::time::{Instant, SystemTime};

use actix::Addr;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};

use super::view::milliseconds;
use crate::{
    engine::CloseReason,
    metrics::{Metrics, traffic::Totals},
    namespace::Namespace,
    room::CountSockets,
    server::SocketIo,
};

/// Namespaces that are listed, the first ones by name.
const NAMESPACES: usize = 1000;
/// Seconds whose counts are kept if nobody takes them.
const SECONDS: usize = 10;

const REASONS: [CloseReason; 9] = [
    CloseReason::TransportError,
    CloseReason::TransportClose,
    CloseReason::ForcedClose,
    CloseReason::PingTimeout,
    CloseReason::ParseError,
    CloseReason::SlowClient,
    CloseReason::RateLimit,
    CloseReason::TooManyHandshakes,
    CloseReason::ServerShuttingDown,
];

/// So many of one kind in one second.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Aggregate {
    timestamp: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_type: Option<&'static str>,
    count: u64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    opened: u64,
    closed: [u64; REASONS.len()],
    traffic: Totals,
}

impl Reading {
    fn of(metrics: &Metrics) -> Self {
        Self {
            opened: metrics.snapshot().sessions_opened,
            closed: REASONS.map(|reason| metrics.traffic.closed_for(reason as usize)),
            traffic: metrics.traffic.totals(),
        }
    }
}

/// Who this server is, and what it counted.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) server_id: String,
    hostname: String,
    started: Instant,
    last: Reading,
    counted: Vec<Aggregate>,
}

impl Stats {
    pub(super) fn new(server_id: Option<String>, clustered: bool) -> Self {
        let hostname = hostname::get().map(|name| name.to_string_lossy().into_owned());
        let hostname = hostname.unwrap_or_else(|_| "localhost".to_owned());
        let own = || match clustered {
            true => format!("{hostname}#{}", std::process::id()),
            false => hostname.clone(),
        };
        Self {
            server_id: server_id.unwrap_or_else(own),
            hostname,
            started: Instant::now(),
            last: Reading::default(),
            counted: Vec::new(),
        }
    }

    /// Begins to count here.
    pub(super) fn reset(&mut self, metrics: &Metrics) {
        self.last = Reading::of(metrics);
        self.counted.clear();
    }

    /// Writes down what was counted since the last time, as of this second.
    pub(super) fn sample(&mut self, metrics: &Metrics, now: SystemTime) {
        let reading = Reading::of(metrics);
        let last = std::mem::replace(&mut self.last, reading);
        let timestamp = milliseconds(now) / 1000 * 1000;
        let mut add = |kind, sub_type, before: u64, after: u64| {
            if let count @ 1.. = after.saturating_sub(before) {
                self.counted.push(Aggregate { timestamp, kind, sub_type, count });
            }
        };
        add("rawConnection", None, last.opened, reading.opened);
        let (old, new) = (last.traffic, reading.traffic);
        add("packetsIn", None, old.packets_in, new.packets_in);
        add("bytesIn", None, old.bytes_in, new.bytes_in);
        add("packetsOut", None, old.packets_out, new.packets_out);
        add("bytesOut", None, old.bytes_out, new.bytes_out);
        for (index, reason) in REASONS.iter().enumerate() {
            let (before, after) = (last.closed[index], reading.closed[index]);
            add("rawDisconnection", Some(reason.as_str()), before, after);
        }
        let kept = SECONDS * (5 + REASONS.len());
        let surplus = self.counted.len().saturating_sub(kept);
        self.counted.drain(..surplus);
    }

    pub(super) fn take(&mut self) -> Vec<Aggregate> {
        std::mem::take(&mut self.counted)
    }

    /// The message `server_stats`. Of each namespace it tells how many sockets it has here.
    pub(super) fn message(
        &self,
        io: &SocketIo,
        metrics: &Metrics,
        counted: &[Aggregate],
        namespaces: &[(String, usize)],
    ) -> Value {
        let namespaces: Vec<_> = namespaces
            .iter()
            .map(|(name, count)| json!({ "name": name, "socketsCount": count }))
            .collect();
        json!({
            "serverId": self.server_id,
            "hostname": self.hostname,
            "pid": std::process::id(),
            "uptime": self.started.elapsed().as_secs_f64(),
            "clientsCount": io.clients_count(),
            "pollingClientsCount": metrics.traffic.polling(),
            "aggregatedEvents": counted,
            "namespaces": namespaces,
        })
    }
}

/// The namespaces, each with how many sockets it has here.
pub(super) async fn namespaces(io: &SocketIo) -> Vec<(String, usize)> {
    let mut names = io.namespaces();
    if names.len() > NAMESPACES {
        tracing::debug!(count = names.len(), "only the first {NAMESPACES} namespaces are shown");
        names.truncate(NAMESPACES);
    }
    count(io, names).await
}

/// The same for these.
pub(super) async fn count(io: &SocketIo, names: Vec<String>) -> Vec<(String, usize)> {
    let counting = names.into_iter().filter_map(|name| {
        let addr: Addr<Namespace> = io.namespace(&name)?;
        // One that has ended meanwhile has none.
        Some(async move { (name, addr.send(CountSockets).await.unwrap_or_default()) })
    });
    join_all(counting).await
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_is_counted_between_two_samples_is_of_that_second() {
        let (metrics, mut stats) = (Metrics::default(), Stats::new(Some("a".to_owned()), false));
        metrics.sessions_opened.add(5);
        stats.reset(&metrics);
        metrics.traffic.set_on(true);
        metrics.sessions_opened.add(2);
        metrics.traffic.received(0, 10);
        metrics.traffic.closed(CloseReason::PingTimeout as usize, false);
        stats.sample(&metrics, UNIX_EPOCH + Duration::from_millis(7_654));
        let counted = serde_json::to_value(stats.take()).unwrap();
        let expected = json!([
            { "timestamp": 7000, "type": "rawConnection", "count": 2 },
            { "timestamp": 7000, "type": "packetsIn", "count": 1 },
            { "timestamp": 7000, "type": "bytesIn", "count": 10 },
            { "timestamp": 7000, "type": "rawDisconnection", "subType": "ping timeout", "count": 1 },
        ]);
        assert_eq!(counted, expected);
        stats.sample(&metrics, UNIX_EPOCH + Duration::from_secs(8));
        assert_eq!(stats.take(), []);
    }

    #[test]
    fn counts_that_nobody_takes_are_forgotten() {
        let (metrics, mut stats) = (Metrics::default(), Stats::new(None, true));
        assert!(stats.server_id.ends_with(&format!("#{}", std::process::id())));
        for second in 0..1000 {
            metrics.sessions_opened.add(1);
            stats.sample(&metrics, UNIX_EPOCH + Duration::from_secs(second));
        }
        assert!(stats.take().len() <= SECONDS * (5 + REASONS.len()));
    }
}
