//! What an exporter is told: the text that Prometheus would scrape, after things have happened.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::time::Duration;

use greenroom::{
    Parent, SocketIoBuilder,
    prelude::*,
    testing::{KillNamespace, MemoryBus, TestServer},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

/// An exporter of one server.
struct Exporter(PrometheusHandle);

impl Exporter {
    fn new(builder: SocketIoBuilder) -> (Self, SocketIoBuilder) {
        let buckets = [0.01, 0.1, 1.0, 10.0];
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let recorder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &buckets);
        let recorder = recorder.unwrap().build_recorder();
        (Self(recorder.handle()), builder.metrics_recorder(recorder))
    }

    /// The value of a series, which is there.
    fn get(&self, series: &str) -> f64 {
        value(&self.0.render(), series).unwrap_or_else(|| panic!("{series} is not there"))
    }

    /// These series have these values.
    fn shows(&self, expected: &[(&str, f64)]) {
        let text = self.0.render();
        let found: Vec<_> =
            expected.iter().map(|(series, _)| (*series, value(&text, series))).collect();
        let expected: Vec<_> =
            expected.iter().map(|(series, value)| (*series, Some(*value))).collect();
        assert_eq!(found, expected);
    }
}

/// `name{label="value"}`, with `greenroom_` before it.
fn value(text: &str, series: &str) -> Option<f64> {
    let prefix = format!("greenroom_{series} ");
    text.lines().find_map(|line| line.strip_prefix(&*prefix)).map(|value| value.parse().unwrap())
}

fn chat(name: &str) -> Namespace {
    listening(Namespace::new(name))
}

fn listening(namespace: Namespace) -> Namespace {
    namespace
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on(
            "say",
            |socket: Socket, text: String| async move { socket.to("lobby").emit("said", &text) },
        )
        .on("work", |_: Socket, millis: u64| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ack(millis)
        })
        .on("panic", |_: Socket, (): ()| async move {
            if true {
                panic!("a listener");
            }
        })
}

#[actix_rt::test]
async fn connections_sockets_and_rooms_rise_and_fall() {
    let (exporter, builder) = Exporter::new(SocketIo::builder().namespace(chat("/")));
    let server = TestServer::start(builder);
    exporter.shows(&[
        ("connections{transport=\"websocket\"}", 0.0),
        ("connections{transport=\"polling\"}", 0.0),
        ("sockets{namespace=\"/\"}", 0.0),
        ("panics_total", 0.0),
    ]);
    let clients = server.many("/", 3).await;
    exporter.shows(&[
        ("connections{transport=\"websocket\"}", 3.0),
        ("connections_opened_total{transport=\"websocket\"}", 3.0),
        ("sockets{namespace=\"/\"}", 3.0),
        ("rooms{namespace=\"/\"}", 1.0),
    ]);
    clients[0].disconnect().await;
    clients[1].drop_connection();
    server.settle().await;
    exporter.shows(&[
        ("connections{transport=\"websocket\"}", 1.0),
        ("sockets{namespace=\"/\"}", 1.0),
        ("rooms{namespace=\"/\"}", 1.0),
        ("connections_closed_total{reason=\"transport_close\"}", 2.0),
        ("connections_closed_total{reason=\"ping_timeout\"}", 0.0),
    ]);
    server.close().await;
    exporter.shows(&[
        ("connections{transport=\"websocket\"}", 0.0),
        ("connections_closed_total{reason=\"server_shutting_down\"}", 1.0),
        ("sockets{namespace=\"/\"}", 0.0),
        ("rooms{namespace=\"/\"}", 0.0),
        ("outbox_packets", 0.0),
        ("outbox_bytes", 0.0),
    ]);
}

#[actix_rt::test]
async fn children_of_a_parent_are_counted_under_its_name() {
    let parent = Parent::matching(r"^/game-\d+$").children(listening);
    let (exporter, builder) = Exporter::new(SocketIo::builder().parent(parent));
    let server = TestServer::start(builder.cleanup_empty_child_namespaces(true));
    let first = server.connect("/game-1", json!({})).await.unwrap();
    let second = server.connect("/game-2", json!({})).await.unwrap();
    second.emit("say", "hello");
    server.settle().await;
    let label = "{namespace=\"^/game-\\\\d+$\"}";
    exporter.shows(&[
        (&format!("sockets{label}"), 2.0),
        (&format!("rooms{label}"), 2.0),
        (&format!("events_received_total{label}"), 1.0),
    ]);
    assert!(!exporter.0.render().contains("game-1"));
    first.disconnect().await;
    second.disconnect().await;
    server.settle().await;
    exporter.shows(&[(&format!("sockets{label}"), 0.0), (&format!("rooms{label}"), 0.0)]);
}

#[actix_rt::test]
async fn namespaces_beyond_the_bound_are_counted_together() {
    let (exporter, builder) = Exporter::new(SocketIo::builder().max_metric_namespaces(1));
    let server = TestServer::start(builder);
    server.io().spawn(chat("/a"));
    server.io().spawn(chat("/b"));
    let mut clients = Vec::new();
    for name in ["/", "/a", "/b"] {
        clients.push(server.connect(name, json!({})).await.unwrap());
    }
    let text = exporter.0.render();
    assert!(!text.contains("namespace=\"/a\"") && !text.contains("namespace=\"/b\""), "{text}");
    exporter.shows(&[("sockets{namespace=\"/\"}", 1.0), ("sockets{namespace=\"(others)\"}", 2.0)]);
}

#[actix_rt::test]
async fn events_are_counted_once_for_each_receiver() {
    let (exporter, builder) = Exporter::new(SocketIo::builder().namespace(chat("/")));
    let server = TestServer::start(builder);
    let clients = server.many("/", 4).await;
    clients[0].emit("say", "hello");
    clients[0].emit("nobody listens", ());
    server.settle().await;
    server.io().emit("news", &1).unwrap();
    server.settle().await;
    exporter.shows(&[
        ("events_received_total{namespace=\"/\"}", 2.0),
        ("events_dropped_total{reason=\"unhandled\"}", 1.0),
        ("events_sent_total{namespace=\"/\"}", 3.0 + 4.0),
    ]);
}

#[actix_rt::test]
async fn the_time_of_listeners_and_of_acks_is_measured() {
    let (exporter, builder) = Exporter::new(SocketIo::builder().namespace(chat("/")));
    let server = TestServer::start(builder);
    let client = server.connect("/", json!({})).await.unwrap();
    assert_eq!(client.emit_with_ack("work", 2000).await, json!([2000]));
    client.emit("work", 500);
    client.emit("panic", ());
    server.advance(SECOND).await;
    let sum = exporter.get("handler_seconds_sum{namespace=\"/\",event=\"work\"}");
    assert!((2.5..2.52).contains(&sum), "{sum}");
    let sum = exporter.get("server_ack_seconds_sum{namespace=\"/\"}");
    assert!((2.0..2.01).contains(&sum), "{sum}");
    exporter.shows(&[
        ("handler_seconds_count{namespace=\"/\",event=\"work\"}", 2.0),
        ("handler_seconds_bucket{namespace=\"/\",event=\"work\",le=\"1\"}", 1.0),
        ("handler_seconds_count{namespace=\"/\",event=\"panic\"}", 1.0),
        ("server_ack_seconds_count{namespace=\"/\"}", 1.0),
        ("panics_total", 1.0),
    ]);

    let namespace = server.io().namespace("/").unwrap();
    let socket = namespace.send(greenroom::FindSocket(client.id())).await.unwrap().unwrap();
    let answer = socket.emit_with_ack::<u64>("ask", &());
    let question = client.next_event().await;
    server.advance(3 * SECOND).await;
    question.answer(7);
    assert_eq!(answer.await.unwrap(), 7);
    let unanswered = socket.timeout(SECOND).emit_with_ack::<u64>("ask", &());
    assert!(unanswered.await.is_err());
    let forgotten = socket.emit_with_ack::<u64>("ask", &());
    client.disconnect().await;
    assert!(forgotten.await.is_err());
    let sum = exporter.get("client_ack_seconds_sum{namespace=\"/\"}");
    assert!((3.0..3.01).contains(&sum), "{sum}");
    exporter.shows(&[
        ("client_ack_seconds_count{namespace=\"/\"}", 1.0),
        ("client_acks_missing_total{namespace=\"/\"}", 2.0),
    ]);
}

#[actix_rt::test]
async fn events_that_nothing_was_described_for_have_one_name() {
    let any = Namespace::new("/").on_fallback(|_: Socket, _: greenroom::Event| async {});
    let (exporter, builder) = Exporter::new(SocketIo::builder().namespace(any));
    let server = TestServer::start(builder);
    let client = server.connect("/", json!({})).await.unwrap();
    for n in 0..20 {
        client.emit(&format!("made up {n}"), n);
    }
    server.settle().await;
    exporter.shows(&[("handler_seconds_count{namespace=\"/\",event=\"(others)\"}", 20.0)]);
    assert!(!exporter.0.render().contains("made up"));
}

#[actix_rt::test]
async fn what_waits_for_a_client_that_does_not_read_is_seen_until_it_is_gone() {
    let builder = SocketIo::builder().max_outbox_packets(10).slow_timeout(2 * SECOND);
    let (exporter, builder) = Exporter::new(builder.namespace(chat("/")));
    let server = TestServer::start(builder);
    let [slow, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    server.settle().await;
    exporter.shows(&[("outbox_packets", 0.0), ("outbox_bytes", 0.0)]);
    slow.connection().stop_reading();
    for n in 0..12 {
        server.io().emit("n", &n).unwrap();
    }
    server.settle().await;
    let waiting = exporter.get("outbox_packets");
    // Its transport holds some of them.
    assert!((5.0..=12.0).contains(&waiting), "{waiting}");
    assert!(exporter.get("outbox_bytes") > 100.0);
    exporter.shows(&[("slow_connections", 1.0)]);
    server.io().of("/").unwrap().volatile().emit("v", &0).unwrap();
    server.settle().await;
    exporter.shows(&[("packets_dropped_total{reason=\"volatile\"}", 1.0)]);
    server.advance(3 * SECOND).await;
    let dropped = exporter.get("packets_dropped_total{reason=\"undelivered\"}");
    assert!(dropped >= waiting, "{dropped} of {waiting}");
    exporter.shows(&[
        ("connections_closed_total{reason=\"slow_client\"}", 1.0),
        ("slow_connections", 0.0),
        ("outbox_packets", 0.0),
        ("outbox_bytes", 0.0),
    ]);
    drop(other);
}

#[actix_rt::test]
async fn what_is_refused_is_counted_by_reason() {
    let vault = Namespace::new("/vault")
        .before_connect(|_: Socket| async move { Err::<(), _>(ConnectError::new("no")) });
    let builder = SocketIo::builder().namespace(chat("/")).namespace(vault).max_attachments(2);
    let (exporter, builder) = Exporter::new(builder);
    let server = TestServer::start(builder);
    assert!(server.connect("/vault", json!({})).await.is_err());
    assert!(server.connect("/nothing", json!({})).await.is_err());
    let mut clients = Vec::new();
    for packet in ["no packet", "53-[\"e\",{}]", "2[\"before the connect\"]"] {
        let client = server.open().await.unwrap();
        client.send_raw(packet);
        clients.push(client);
    }
    server.settle().await;
    exporter.shows(&[
        ("connects_refused_total{reason=\"middleware\"}", 1.0),
        ("connects_refused_total{reason=\"unknown_namespace\"}", 1.0),
        ("packets_refused_total{reason=\"malformed\"}", 1.0),
        ("packets_refused_total{reason=\"over_limit\"}", 1.0),
        ("packets_refused_total{reason=\"out_of_place\"}", 1.0),
    ]);
    assert_eq!(server.metrics().bad_packets, 3);
    assert_eq!(server.metrics().packets_over_limit, 1);
}

#[actix_rt::test]
async fn sockets_and_rooms_are_right_again_after_a_namespace_has_panicked() {
    let (exporter, builder) = Exporter::new(SocketIo::builder().namespace(chat("/")));
    let server = TestServer::start(builder);
    let clients = server.many("/", 3).await;
    let namespace = server.io().namespace("/").unwrap();
    for kill in [KillNamespace::BeforeNext, KillNamespace::DuringNext] {
        namespace.do_send(kill);
        namespace.do_send(greenroom::Join::socket(clients[0].id(), format!("{kill:?}")));
        server.settle().await;
    }
    clients[2].disconnect().await;
    server.settle().await;
    let rooms = namespace.send(greenroom::RoomSizes).await.unwrap().len();
    exporter.shows(&[
        ("namespaces_rebuilt_total", 2.0),
        ("sockets{namespace=\"/\"}", 2.0),
        #[allow(clippy::cast_precision_loss, reason = "a few")]
        ("rooms{namespace=\"/\"}", rooms as f64),
    ]);
}

#[actix_rt::test]
async fn requests_to_other_servers_and_their_lag_are_measured() {
    let bus = MemoryBus::new();
    let (exporter, builder) = Exporter::new(SocketIo::builder().adapter(bus.node("a")));
    let (other, second) = Exporter::new(SocketIo::builder().adapter(bus.node("b")));
    let (first, second) = (TestServer::start(builder), TestServer::start(second));
    for server in [&first, &second] {
        server.io().cluster_ready().await;
    }
    let everyone = first.io().of("/").unwrap();
    assert!(everyone.try_fetch_sockets().await.is_ok());
    first.io().emit("news", &1).unwrap();
    first.settle().await;
    bus.isolate("b", true);
    assert!(everyone.timeout(SECOND).try_fetch_sockets().await.is_err());
    exporter.shows(&[
        ("cluster_requests_total{kind=\"fetch_sockets\"}", 2.0),
        ("cluster_requests_total{kind=\"settle\"}", 0.0),
        ("cluster_request_seconds_count{kind=\"fetch_sockets\"}", 2.0),
        ("cluster_answers_missing_total", 1.0),
    ]);
    assert!(exporter.get("cluster_request_seconds_sum{kind=\"fetch_sockets\"}") >= 1.0);
    assert!(exporter.get("cluster_send_seconds_count") >= 2.0);
    // What was asked, and what was broadcast.
    assert!(other.get("cluster_receive_seconds_count") >= 2.0);
}

// ---- on real sockets ---------------------------------------------------------------------------

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn real() -> (http::Server, Exporter) {
    let (exporter, builder) = Exporter::new(SocketIo::builder().namespace(chat("/")));
    (http::Server::start(move || builder.start()), exporter)
}

#[test]
fn bytes_are_those_of_bodies_and_of_frames() {
    let (server, exporter) = real();
    let opened = server.request("GET", POLLING, b"");
    let url = format!("{POLLING}&sid={}", opened.sid());
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    let greeting = server.request("GET", &url, b"");
    let sent = opened.body.len() + greeting.body.len();
    #[allow(clippy::cast_precision_loss, reason = "a few")]
    exporter.shows(&[
        ("received_bytes_total{transport=\"polling\"}", 2.0),
        ("sent_bytes_total{transport=\"polling\"}", sent as f64),
        ("sent_bytes_total{transport=\"websocket\"}", 0.0),
        ("connections{transport=\"polling\"}", 1.0),
        ("connections_opened_total{transport=\"polling\"}", 1.0),
    ]);
    let mut socket = server.websocket(WEBSOCKET).unwrap();
    let open = socket.next_text();
    socket.text("40");
    let greeting = socket.next_text();
    // A frame has a head of two bytes, four for more than 125 of payload; a client's has a mask too.
    let frame = |text: &str| text.len() + if text.len() > 125 { 4 } else { 2 };
    #[allow(clippy::cast_precision_loss, reason = "a few")]
    exporter.shows(&[
        ("received_bytes_total{transport=\"websocket\"}", 8.0),
        ("sent_bytes_total{transport=\"websocket\"}", (frame(&open) + frame(&greeting)) as f64),
        ("connections{transport=\"websocket\"}", 1.0),
    ]);
}

#[test]
fn upgrades_are_counted_and_those_that_fail_by_reason() {
    let (server, exporter) = real();
    let upgrade = |first: &str| {
        let sid = server.request("GET", POLLING, b"").sid();
        let mut socket = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).unwrap();
        socket.text(first);
        (socket, format!("{WEBSOCKET}&sid={sid}"))
    };
    let (mut socket, url) = upgrade("2probe");
    assert_eq!(socket.next_text(), "3probe");
    socket.text("5");
    socket.text("40");
    assert!(socket.next_text().starts_with("40"));
    exporter.shows(&[
        ("upgrades_total", 1.0),
        ("connections{transport=\"polling\"}", 0.0),
        ("connections{transport=\"websocket\"}", 1.0),
    ]);
    // It has moved already.
    server.websocket(&url).unwrap().close_code();
    let (mut socket, _) = upgrade("4no probe");
    socket.close_code();
    exporter.shows(&[
        ("upgrades_failed_total{reason=\"refused\"}", 1.0),
        ("upgrades_failed_total{reason=\"bad_packet\"}", 1.0),
        ("upgrades_failed_total{reason=\"closed\"}", 0.0),
        ("upgrades_failed_total{reason=\"timeout\"}", 0.0),
        ("upgrades_total", 1.0),
    ]);
}

#[test]
fn refused_requests_are_counted_by_reason() {
    let (server, exporter) = real();
    assert_eq!(server.request("GET", &format!("{POLLING}&sid=nobody"), b"").status, 400);
    assert_eq!(server.request("GET", "/socket.io/?EIO=4&transport=pigeon", b"").status, 400);
    assert_eq!(server.request("GET", "/socket.io/?EIO=3&transport=polling", b"").status, 400);
    exporter.shows(&[
        ("requests_refused_total{reason=\"unknown_session\"}", 1.0),
        ("requests_refused_total{reason=\"unknown_transport\"}", 1.0),
        ("requests_refused_total{reason=\"unsupported_version\"}", 1.0),
        ("requests_refused_total{reason=\"bad_request\"}", 0.0),
    ]);
}
