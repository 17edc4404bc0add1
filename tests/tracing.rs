//! Spans, as OpenTelemetry gets them: from an event to its ack, through broadcasts, to other servers.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "../examples/tracing/propagation.rs"]
mod propagation;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use greenroom::{
    AckSender, SocketIoBuilder,
    prelude::*,
    testing::{MemoryBus, TestServer},
};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use propagation::W3c;
use serde_json::json;
use tracing::{Instrument, info, info_span, subscriber::DefaultGuard};
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt};

const SECOND: Duration = Duration::from_secs(1);

/// The spans that have ended, of this thread.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Spans {
    fn record() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let subscriber = tracing_subscriber::registry()
            .with(LevelFilter::INFO)
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
        (spans, tracing::subscriber::set_default(subscriber))
    }

    fn all(&self, name: &str) -> Vec<SpanData> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    /// The one span of this name.
    fn one(&self, name: &str) -> SpanData {
        let [span] = self.all(name).try_into().unwrap_or_else(|all| panic!("{name}: {all:#?}"));
        span
    }
}

fn is_within(span: &SpanData, parent: &SpanData) {
    assert_eq!(span.span_context.trace_id(), parent.span_context.trace_id());
    assert_eq!(span.parent_span_id, parent.span_context.span_id());
}

fn has(span: &SpanData, key: &str, value: &str) {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    assert_eq!(found.map(|found| found.value.to_string()).as_deref(), Some(value), "{span:#?}");
}

fn chat() -> SocketIoBuilder {
    let namespace = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on("say", |socket: Socket, text: String| async move {
            socket.to("lobby").emit("said", &text)?;
            Ok::<_, EventError>(Ack(()))
        })
        .on("work", |_: Socket, millis: u64| async move {
            info!("before");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            info!("after");
            async {}.instrument(info_span!("step")).await;
            Ack(millis)
        })
        .on("later", |_: Socket, (): (), ack: AckSender| async move {
            actix_rt::spawn(async move {
                tokio::time::sleep(SECOND).await;
                ack.send(&1).unwrap();
            });
        });
    SocketIo::builder().namespace(namespace)
}

#[actix_rt::test]
async fn what_a_listener_does_belongs_to_its_event_also_after_it_has_waited() {
    let (spans, _recording) = Spans::record();
    let server = TestServer::start(chat());
    let client = server.connect("/", json!({})).await.unwrap();
    client.emit_with_ack("work", 100).await;
    let event = spans.one("event");
    is_within(&spans.one("step"), &event);
    let said: Vec<_> = event.events.iter().map(|event| event.name.to_string()).collect();
    assert_eq!(said, ["before", "after"]);
    has(&event, "namespace", "/");
    has(&event, "event", "work");
    has(&event, "asks", "true");
    has(&event, "answered", "true");
    assert!(event.parent_span_id == opentelemetry::trace::SpanId::INVALID, "a trace of its own");
}

#[actix_rt::test]
async fn the_span_of_an_event_lasts_until_it_is_answered() {
    let (spans, _recording) = Spans::record();
    let server = TestServer::start(chat());
    let client = server.connect("/", json!({})).await.unwrap();
    let answer = client.emit_with_ack("later", ());
    server.advance(SECOND / 2).await;
    assert!(spans.all("event").is_empty());
    assert_eq!(answer.await, json!([1]));
    server.settle().await;
    has(&spans.one("event"), "answered", "true");
}

#[actix_rt::test]
async fn an_event_that_a_middleware_holds_goes_on_in_its_span() {
    let (spans, _recording) = Spans::record();
    let held = Namespace::new("/")
        .before_event(|_: Socket, _: greenroom::Event| async move {
            info!("held");
            tokio::time::sleep(SECOND).await;
            Ok::<_, EventError>(())
        })
        .on("e", |_: Socket, (): ()| async move { info!("heard") });
    let server = TestServer::start(SocketIo::builder().namespace(held));
    let client = server.connect("/", json!({})).await.unwrap();
    client.emit("e", ());
    server.advance(2 * SECOND).await;
    let event = spans.one("event");
    let said: Vec<_> = event.events.iter().map(|event| event.name.to_string()).collect();
    assert_eq!(said, ["held", "heard"]);
}

#[actix_rt::test]
async fn a_broadcast_is_within_its_event_and_each_delivery_within_the_broadcast() {
    let (spans, _recording) = Spans::record();
    let server = TestServer::start(chat());
    let clients = server.many("/", 3).await;
    clients[0].emit_with_ack("say", "hello").await;
    server.settle().await;
    let broadcast = spans.one("broadcast");
    is_within(&broadcast, &spans.one("event"));
    has(&broadcast, "event", "said");
    has(&broadcast, "namespace", "/");
    let delivery = spans.one("deliver");
    is_within(&delivery, &broadcast);
    has(&delivery, "receivers", "2");
}

#[actix_rt::test]
async fn a_broadcast_is_of_one_trace_on_all_servers() {
    let (spans, _recording) = Spans::record();
    let bus = MemoryBus::new();
    let start = |name: &str| chat().adapter(bus.node(name)).trace_propagation(W3c::new());
    let (first, second) = (TestServer::start(start("a")), TestServer::start(start("b")));
    for server in [&first, &second] {
        server.io().cluster_ready().await;
    }
    let client = first.connect("/", json!({})).await.unwrap();
    let other = second.connect("/", json!({})).await.unwrap();
    client.emit_with_ack("say", "hello").await;
    assert_eq!(other.next_event().await, ("said".into(), json!(["hello"])));
    first.settle().await;
    let event = spans.one("event");
    let broadcasts = spans.all("broadcast");
    let [there, here]: [_; 2] = {
        let (remote, local): (Vec<_>, Vec<_>) =
            broadcasts.into_iter().partition(|span| span.parent_span_is_remote);
        [remote, local].map(|mut list| {
            assert_eq!(list.len(), 1);
            list.remove(0)
        })
    };
    is_within(&here, &event);
    is_within(&there, &here);
    let deliveries = spans.all("deliver");
    assert!(
        deliveries.iter().any(|delivery| delivery.parent_span_id == there.span_context.span_id())
    );
}

#[actix_rt::test]
async fn without_propagation_nothing_travels() {
    let (spans, _recording) = Spans::record();
    let bus = MemoryBus::new();
    let start = |name: &str| chat().adapter(bus.node(name));
    let (first, second) = (TestServer::start(start("a")), TestServer::start(start("b")));
    for server in [&first, &second] {
        server.io().cluster_ready().await;
    }
    let other = second.connect("/", json!({})).await.unwrap();
    first.io().emit("said", &1).unwrap();
    other.next_event().await;
    first.settle().await;
    assert!(spans.all("broadcast").iter().all(|span| !span.parent_span_is_remote));
}
