//! Bounds: what waits for a client, and what a client may ask for at once.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use greenroom::{
    SocketIoBuilder,
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use serde_json::json;
use support::{handle, hears, observe_sockets};
use tokio::sync::watch;

const SECOND: Duration = Duration::from_secs(1);

fn narrow() -> SocketIoBuilder {
    SocketIo::builder().max_outbox_packets(10).slow_timeout(2 * SECOND)
}

/// Two clients of which the first does not read.
async fn with_a_slow_client(builder: SocketIoBuilder) -> (TestServer, TestSocket, TestSocket) {
    let server = TestServer::start(builder);
    let [slow, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    slow.connection().stop_reading();
    (server, slow, other)
}

fn broadcast(server: &TestServer, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        server.io().emit("n", &n).unwrap();
    }
}

async fn hears_all(client: &TestSocket, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        assert_eq!(client.next_event().await, ("n".into(), json!([n])));
    }
    client.expect_silence().await;
}

// ---- toward the client -----------------------------------------------------------------------

#[actix_rt::test]
async fn a_client_that_stays_slow_is_closed_after_its_grace() {
    let (server, slow, other) = with_a_slow_client(narrow()).await;
    let log = observe_sockets(&server, "/").await;
    let id = slow.id();
    broadcast(&server, 0..15);
    server.advance(Duration::from_millis(1900)).await;
    assert_eq!(log.take(), [] as [&str; 0]);
    server.advance(Duration::from_millis(200)).await;
    assert_eq!(log.take(), [format!("disconnected {id}: slow client")]);
    slow.connection().resume_reading();
    assert_eq!(slow.disconnected().await, Parting::Closed(1013));
    assert_eq!(server.metrics().slow_clients_closed, 1);
    hears_all(&other, 0..15).await;
}

#[actix_rt::test]
async fn a_client_far_above_the_bounds_is_closed_at_once() {
    let (server, slow, other) = with_a_slow_client(narrow()).await;
    let log = observe_sockets(&server, "/").await;
    let id = slow.id();
    broadcast(&server, 0..31);
    server.settle().await;
    assert_eq!(log.take(), [format!("disconnected {id}: slow client")]);
    broadcast(&server, 31..40);
    hears_all(&other, 0..40).await;
}

#[actix_rt::test]
async fn a_client_that_catches_up_in_time_loses_nothing() {
    let (server, slow, other) = with_a_slow_client(narrow()).await;
    for round in 0..5 {
        broadcast(&server, round * 20..round * 20 + 20);
        server.advance(SECOND).await;
        slow.connection().resume_reading();
        server.settle().await;
        slow.connection().stop_reading();
        // The grace begins anew: it was not slow all the time.
        server.advance(10 * SECOND).await;
    }
    slow.connection().resume_reading();
    hears_all(&slow, 0..100).await;
    hears_all(&other, 0..100).await;
    assert_eq!(server.metrics().slow_clients_closed, 0);
}

#[actix_rt::test]
async fn bytes_are_bounded_like_packets() {
    let builder = SocketIo::builder().max_outbox_bytes(10_000);
    let (server, slow, _other) = with_a_slow_client(builder).await;
    let kilobytes = |count: usize| Bytes::from(vec![7_u8; count * 1000]);
    server.io().emit("five", &kilobytes(5)).unwrap();
    server.advance(10 * SECOND).await;
    assert_eq!(server.io().clients_count(), 2);
    server.io().emit("six more", &kilobytes(6)).unwrap();
    server.advance(SECOND).await;
    assert_eq!(server.io().clients_count(), 2);
    // The last packet is taken as it is; what comes behind it is too much at once.
    server.io().emit("much", &kilobytes(20)).unwrap();
    server.settle().await;
    assert_eq!(server.io().clients_count(), 2);
    server.io().emit("far too much", &()).unwrap();
    server.settle().await;
    assert_eq!(server.io().clients_count(), 1);
    slow.connection().resume_reading();
    assert_eq!(slow.disconnected().await, Parting::Closed(1013));
}

#[actix_rt::test]
async fn one_packet_may_be_larger_than_the_bound() {
    let builder = SocketIo::builder().max_outbox_bytes(10);
    let (server, slow, other) = with_a_slow_client(builder).await;
    let large = "x".repeat(100_000);
    server.io().emit("large", &large).unwrap();
    server.advance(10 * SECOND).await;
    slow.connection().resume_reading();
    assert_eq!(slow.next_event().await, ("large".into(), json!([large])));
    hears(&other, "large").await;
    // So may one with attachments.
    slow.connection().stop_reading();
    server.settle().await;
    server.io().emit("binary", &Bytes::from(large.clone())).unwrap();
    server.advance(10 * SECOND).await;
    slow.connection().resume_reading();
    assert_eq!(slow.next_event().await.data::<Bytes>(), large);
}

#[actix_rt::test]
async fn listeners_that_ask_their_client_are_answered_at_the_bound() {
    let namespace = Namespace::new("/").on("ask", |socket: Socket, n: u32| async move {
        Ok::<_, AckError>(Ack(socket.emit_with_ack::<u32>("n", &n).await?))
    });
    let builder = SocketIo::builder().max_running_listeners(1).namespace(namespace);
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    let asked: Vec<_> = (0..2_u32).map(|n| client.emit_with_ack("ask", n)).collect();
    for n in 0..2_u32 {
        let question = client.next_event().await;
        assert_eq!(question, ("n".into(), json!([n])));
        question.answer(n + 10);
    }
    for (n, answer) in asked.into_iter().enumerate() {
        assert_eq!(answer.await, json!([n + 10]));
    }
}

#[actix_rt::test]
async fn acks_and_own_emits_are_bounded_too() {
    for event in ["echo", "tell"] {
        let namespace = Namespace::new("/")
            .on("echo", |_: Socket, data: greenroom::Args| async move { Ack(data) })
            .on("tell", |socket: Socket, (): ()| async move { socket.emit("told", &()) });
        let (server, slow, _other) = with_a_slow_client(narrow().namespace(namespace)).await;
        for _ in 0..40 {
            drop(slow.emit_with_ack(event, ()));
        }
        server.settle().await;
        assert_eq!(server.metrics().slow_clients_closed, 1, "{event}");
    }
}

#[actix_rt::test]
async fn volatile_packets_never_wait() {
    let (server, slow, other) = with_a_slow_client(narrow()).await;
    let socket = handle(&server, &slow).await;
    server.io().emit("regular", &1).unwrap();
    server.settle().await;
    for n in 0..100 {
        server.io().sockets().volatile().emit("volatile", &n).unwrap();
        socket.volatile().emit("volatile", &n).unwrap();
        server.settle().await;
    }
    server.io().emit("regular", &2).unwrap();
    server.advance(10 * SECOND).await;
    slow.connection().resume_reading();
    assert_eq!(slow.next_event().await, ("regular".into(), json!([1])));
    assert_eq!(slow.next_event().await, ("regular".into(), json!([2])));
    slow.expect_silence().await;
    // Who reads has got them all.
    assert_eq!(other.next_event().await, ("regular".into(), json!([1])));
    for n in 0..100 {
        assert_eq!(other.next_event().await, ("volatile".into(), json!([n])));
    }
    hears(&other, "regular").await;
    slow.disconnect().await;
    assert_eq!(server.metrics().volatile_dropped, 200);
}

#[actix_rt::test]
async fn a_volatile_packet_with_attachments_is_dropped_or_sent_as_a_whole() {
    let (server, slow, other) = with_a_slow_client(narrow()).await;
    server.io().emit("regular", &1).unwrap();
    server.settle().await;
    let data = Bytes::from_static(b"data");
    server.io().sockets().volatile().emit("volatile", &(&data, &data)).unwrap();
    server.io().emit("regular", &2).unwrap();
    server.settle().await;
    slow.connection().resume_reading();
    assert_eq!(slow.next_event().await, ("regular".into(), json!([1])));
    hears(&slow, "regular").await;
    assert_eq!(other.next_event().await.name, "regular");
    assert_eq!(other.next_event().await.data::<(Bytes, Bytes)>(), (data.clone(), data));
    hears(&other, "regular").await;
}

// ---- from the client -------------------------------------------------------------------------

/// Listeners that wait at a gate, and how many have been started.
fn waiting() -> (Namespace, watch::Sender<bool>, Arc<AtomicUsize>) {
    let (open, gate) = watch::channel(false);
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let namespace = Namespace::new("/")
        .on("wait", move |_: Socket, n: u64| {
            let mut gate = gate.clone();
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                let _ = gate.wait_for(|open| *open).await;
                Ack(n)
            }
        })
        .on("quick", |_: Socket, (): ()| async { Ack(()) });
    (namespace, open, started)
}

#[actix_rt::test]
async fn events_beyond_the_bound_of_listeners_wait_for_their_turn() {
    for serial in [false, true] {
        let (namespace, open, started) = waiting();
        let builder = SocketIo::builder().max_running_listeners(5);
        let server = TestServer::start(builder.namespace(namespace.serial(serial)));
        let [client, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
        let acks: Vec<_> = (0..1000_u64).map(|n| client.emit_with_ack("wait", n)).collect();
        server.settle().await;
        assert_eq!(started.load(Ordering::Relaxed), if serial { 1 } else { 5 });
        // What is no event is still read: answers, pongs, the client's goodbye.
        assert_eq!(client.connection().unsent(), 0);
        // Nobody else waits.
        assert_eq!(other.emit_with_ack("quick", ()).await, json!([]));
        open.send(true).unwrap();
        for (n, ack) in acks.into_iter().enumerate() {
            assert_eq!(ack.await, json!([n]));
        }
        assert_eq!(client.connection().unsent(), 0);
    }
}

#[actix_rt::test]
async fn a_client_is_read_no_more_when_too_many_bytes_of_events_wait() {
    let namespace = Namespace::new("/").on("wait", |_: Socket, _: String| pending::<()>());
    let builder = SocketIo::builder().max_running_listeners(5).namespace(namespace);
    let server = TestServer::start(builder);
    let [client, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let large = "x".repeat(100_000);
    for _ in 0..100 {
        client.emit("wait", &large);
    }
    server.settle().await;
    let unsent = client.connection().unsent();
    assert!((30..60).contains(&unsent), "{unsent} of 100 are with the client");
    assert!(other.is_connected());
}

#[actix_rt::test]
async fn a_client_that_is_not_read_is_not_taken_for_dead() {
    let (namespace, open, _) = waiting();
    let builder = SocketIo::builder().max_running_listeners(5).namespace(namespace);
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    let acks: Vec<_> = (0..100_u64).map(|n| client.emit_with_ack("wait", n)).collect();
    server.advance(100 * SECOND).await;
    assert!(client.is_connected(), "its pongs wait behind its events");
    open.send(true).unwrap();
    for (n, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await, json!([n]));
    }
    server.advance(100 * SECOND).await;
    assert!(client.is_connected());
}

#[actix_rt::test]
async fn a_client_that_leaves_is_noticed_though_it_is_not_read() {
    let (namespace, _open, _) = waiting();
    let builder = SocketIo::builder().max_running_listeners(5).namespace(namespace);
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    for n in 0..20 {
        client.emit("wait", n);
    }
    server.settle().await;
    client.drop_connection();
    server.advance(100 * SECOND).await;
    assert_eq!(server.io().clients_count(), 0);
}

#[actix_rt::test]
async fn a_client_may_be_in_so_many_namespaces_and_no_more() {
    let mut builder = SocketIo::builder().max_namespaces(2);
    for name in ["/a", "/b"] {
        builder = builder.namespace(Namespace::new(name));
    }
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    assert_eq!(main.join("/b", ()).await.unwrap_err().message, "Too many namespaces");
    a.leave();
    server.settle().await;
    main.join("/b", ()).await.unwrap();
}

#[actix_rt::test]
async fn a_packet_has_so_many_attachments_and_no_more() {
    let namespace =
        Namespace::new("/").on("count", |_: Socket, data: greenroom::Args| async move {
            Ack(data.attachments().len())
        });
    let server = TestServer::start(SocketIo::builder().max_attachments(2).namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let data = Bytes::from_static(b"x");
    assert_eq!(client.emit_with_ack("count", (&data, &data)).await, json!([2]));
    client.emit("count", (&data, &data, &data));
    assert_eq!(client.disconnected().await, Parting::Closed(1000));
    assert_eq!(server.metrics().bad_packets, 1);
}
