//! What becomes of events for clients that do not keep up, and who is told of them.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use greenroom::{
    ConnectionEvent, Pace, SocketIoBuilder, WhenFull,
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use serde_json::json;
use support::{Log, handle, hears};

const SECOND: Duration = Duration::from_secs(1);

/// Outboxes of 16 packets; main namespace as given.
fn narrow(namespace: Namespace) -> SocketIoBuilder {
    let builder = SocketIo::builder().max_outbox_packets(16).slow_timeout(2 * SECOND);
    // Pings wait with the rest: the test says when there is one.
    builder.ping_interval(1000 * SECOND).namespace(namespace)
}

/// Two clients of which the first does not read.
async fn with_a_slow_client(namespace: Namespace) -> (TestServer, TestSocket, TestSocket) {
    let server = TestServer::start(narrow(namespace));
    let [slow, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    slow.connection().stop_reading();
    (server, slow, other)
}

/// The numbers of the events that a client has got.
async fn numbers(client: &TestSocket) -> Vec<u64> {
    client.connection().resume_reading();
    client.emit("end", ());
    let mut numbers = Vec::new();
    loop {
        let event = client.next_event().await;
        if event.name == "end" {
            return numbers;
        }
        numbers.push(event.data::<u64>());
    }
}

/// Answers `end` when all that came before has been sent.
fn ending(namespace: Namespace) -> Namespace {
    namespace.on("end", |socket: Socket, (): ()| async move { socket.emit("end", &()) })
}

fn range(numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    numbers.into_iter().collect()
}

// ---- thinning ----------------------------------------------------------------------------------

#[actix_rt::test]
async fn a_namespace_may_drop_the_oldest_events_of_slow_clients() {
    let namespace = ending(Namespace::new("/").when_full(WhenFull::DropOldest));
    let (server, slow, other) = with_a_slow_client(namespace).await;
    for n in 0..1000_u64 {
        server.io().emit("n", &n).unwrap();
        server.settle().await;
    }
    server.advance(10 * SECOND).await;
    assert_eq!(numbers(&other).await, range(0..1000), "who reads loses nothing");
    let got = numbers(&slow).await;
    assert!((14..=16).contains(&got.len()), "{got:?}");
    assert_eq!(got, range(1000 - got.len() as u64..1000));
    let dropped = server.metrics().slow_dropped_oldest;
    assert_eq!(dropped, 1000 - got.len() as u64);
    assert_eq!(server.metrics().slow_clients_closed, 0);
    server.close().await;
}

#[actix_rt::test]
async fn a_namespace_may_drop_the_newest_events_of_slow_clients() {
    let namespace = ending(Namespace::new("/").when_full(WhenFull::DropNewest));
    let (server, slow, other) = with_a_slow_client(namespace).await;
    for n in 0..1000_u64 {
        server.io().emit("n", &n).unwrap();
        server.settle().await;
    }
    server.advance(10 * SECOND).await;
    assert_eq!(numbers(&other).await, range(0..1000));
    assert_eq!(numbers(&slow).await, range(0..16));
    assert_eq!(server.metrics().slow_dropped_newest, 984);
    assert_eq!(server.metrics().slow_clients_closed, 0);
    server.close().await;
}

#[actix_rt::test]
async fn of_events_with_a_key_a_slow_client_gets_the_latest() {
    let namespace = ending(Namespace::new("/"));
    let (server, slow, other) = with_a_slow_client(namespace).await;
    let socket = handle(&server, &slow).await;
    let address = server.io().namespace("/").unwrap();
    for n in 0..300_u64 {
        // Each way to say it.
        let key = format!("key {}", n % 3);
        match n % 3 {
            0 => server.io().sockets().latest(key).emit("n", &n).unwrap(),
            1 => address.do_send(Broadcast::everyone().latest(key).event("n", &n).unwrap()),
            _ => socket.latest(key).emit("n", &n).unwrap(),
        }
        server.settle().await;
    }
    server.advance(10 * SECOND).await;
    assert_eq!(numbers(&other).await, range((0..300).filter(|n| n % 3 != 2)));
    let got = numbers(&slow).await;
    // Whatever is left of older ones, in order, and the last of each key at the end.
    assert!(got.len() <= 16 && got.is_sorted(), "{got:?}");
    assert!(got.ends_with(&[297, 298, 299]), "{got:?}");
    assert_eq!(server.metrics().slow_superseded, 300 - got.len() as u64);
    server.close().await;
}

#[actix_rt::test]
async fn without_a_key_the_latest_of_each_event_counts_and_namespaces_are_apart() {
    let latest = |name: &str| ending(Namespace::new(name).when_full(WhenFull::KeepLatest));
    let server = TestServer::start(narrow(latest("/")).namespace(latest("/other")));
    let slow = server.connect("/", ()).await.unwrap();
    let there = slow.join("/other", ()).await.unwrap();
    slow.connection().stop_reading();
    server.io().emit("b", &1).unwrap();
    server.io().of("/other").unwrap().emit("a", &2).unwrap();
    for n in 0..100_u64 {
        server.io().emit("a", &n).unwrap();
        server.settle().await;
    }
    slow.connection().resume_reading();
    assert_eq!(slow.next_event().await, ("b".into(), json!([1])));
    let mut last = slow.next_event().await;
    while last.data::<u64>() != 99 {
        last = slow.next_event().await;
    }
    slow.expect_silence().await;
    assert_eq!(there.next_event().await, ("a".into(), json!([2])));
    server.close().await;
}

#[actix_rt::test]
async fn too_many_keys_close_the_client() {
    let (server, _slow, _other) = with_a_slow_client(Namespace::new("/")).await;
    for n in 0..20_u64 {
        server.io().sockets().latest(n.to_string()).emit("n", &n).unwrap();
    }
    server.advance(3 * SECOND).await;
    assert_eq!(server.metrics().slow_clients_closed, 1);
    server.close().await;
}

#[actix_rt::test]
async fn an_emit_may_say_something_else_than_its_namespace() {
    let namespace = ending(Namespace::new("/").when_full(WhenFull::DropOldest));
    let (server, slow, _other) = with_a_slow_client(namespace).await;
    let socket = handle(&server, &slow).await;
    socket.when_full(WhenFull::Close).emit("n", &1000).unwrap();
    server.io().sockets().when_full(WhenFull::Close).emit("n", &1001).unwrap();
    server.settle().await;
    for n in 0..100_u64 {
        socket.emit("n", &n).unwrap();
    }
    let got = numbers(&slow).await;
    assert!(got.starts_with(&[1000, 1001]) && got.ends_with(&[98, 99]), "{got:?}");
    assert!(got.len() <= 17);
    server.close().await;
}

#[actix_rt::test]
async fn attachments_go_with_their_event() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::KeepLatest] {
        let namespace = ending(Namespace::new("/").when_full(when_full));
        let (server, slow, _other) = with_a_slow_client(namespace).await;
        for n in 0..100_u64 {
            let data = Bytes::from(n.to_string());
            server.io().emit("n", &(n, &data, &data)).unwrap();
            server.settle().await;
        }
        slow.connection().resume_reading();
        slow.emit("end", ());
        let mut count = 0;
        loop {
            let event = slow.next_event().await;
            if event.name == "end" {
                break;
            }
            let (n, one, two) = event.data::<(u64, Bytes, Bytes)>();
            assert_eq!((&one, &two), (&Bytes::from(n.to_string()), &one), "{when_full:?}");
            count += 1;
        }
        assert!((1..=6).contains(&count), "{when_full:?}: {count}");
        server.close().await;
    }
}

// ---- what is never dropped ---------------------------------------------------------------------

#[actix_rt::test]
async fn acks_questions_and_the_protocol_are_never_dropped() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::KeepLatest] {
        let namespace = Namespace::new("/")
            .when_full(when_full)
            .on("ask", |_: Socket, n: u64| async move { Ack(n) });
        let builder = narrow(namespace).namespace(Namespace::new("/late")).namespace(
            Namespace::new("/kick").when_full(when_full).on(
                "go",
                |socket: Socket, (): ()| async move {
                    drop(socket.disconnect(false));
                },
            ),
        );
        let server = TestServer::start(builder);
        let slow = server.connect("/", ()).await.unwrap();
        let kicked = slow.join("/kick", ()).await.unwrap();
        let socket = handle(&server, &slow).await;
        slow.connection().stop_reading();
        for _ in 0..100 {
            server.io().emit("n", &0).unwrap();
        }
        let answer = slow.emit_with_ack("ask", 5);
        let question = socket.emit_with_ack::<u64>("question", &());
        let late = slow.join("/late", ());
        kicked.emit("go", ());
        server.settle().await;
        for _ in 0..100 {
            server.io().emit("n", &0).unwrap();
        }
        server.advance(SECOND).await;
        slow.connection().resume_reading();
        assert_eq!(answer.await, json!([5]), "{when_full:?}");
        late.await.unwrap();
        assert_eq!(kicked.disconnected().await, Parting::ByServer, "{when_full:?}");
        loop {
            let event = slow.next_event().await;
            if event.name == "question" {
                event.answer(7);
                break;
            }
        }
        assert_eq!(question.await.unwrap(), 7);
        assert_eq!(server.metrics().slow_clients_closed, 0, "{when_full:?}");
        server.close().await;
    }
}

#[actix_rt::test]
async fn a_client_whose_acks_do_not_fit_is_closed_in_a_namespace_that_drops() {
    let namespace = Namespace::new("/")
        .when_full(WhenFull::DropOldest)
        .on("ask", |_: Socket, n: u64| async move { Ack(n) });
    let (server, slow, _other) = with_a_slow_client(namespace).await;
    for n in 0..40_u64 {
        drop(slow.emit_with_ack("ask", n));
    }
    server.advance(3 * SECOND).await;
    assert_eq!(server.metrics().slow_clients_closed, 1);
    server.close().await;
}

#[actix_rt::test]
async fn what_a_closed_client_was_not_given_is_counted() {
    let (server, slow, _other) = with_a_slow_client(Namespace::new("/")).await;
    for n in 0..20_u64 {
        server.io().emit("n", &n).unwrap();
    }
    server.advance(3 * SECOND).await;
    assert_eq!(server.metrics().frames_undelivered, 20);
    slow.connection().resume_reading();
    assert_eq!(slow.disconnected().await, Parting::Closed(1013));
    server.close().await;
}

#[actix_rt::test]
async fn events_leave_in_order_whatever_was_dropped_between_them() {
    let namespace = ending(Namespace::new("/").when_full(WhenFull::DropOldest)).on(
        "work",
        |socket: Socket, (): ()| async move {
            // In turn the short way and the long one.
            for n in 0..50_u64 {
                socket.everyone().emit("n", &(2 * n))?;
                socket.emit("n", &(2 * n + 1))?;
            }
            Ok::<_, EmitError>(())
        },
    );
    let (server, slow, _other) = with_a_slow_client(namespace).await;
    slow.emit("work", ());
    server.settle().await;
    let got = numbers(&slow).await;
    assert_eq!(got, range(100 - got.len() as u64..100));
    assert!((14..=16).contains(&got.len()), "{got:?}");
    server.close().await;
}

// ---- who is told -------------------------------------------------------------------------------

/// Notes what the application is told.
fn watched(log: &Log) -> Namespace {
    let (paces, events) = (log.clone(), log.clone());
    Namespace::new("/")
        .when_full(WhenFull::DropOldest)
        .on_pace(move |_: Socket, pace: Pace| paces.noted(format!("{pace:?}")))
        .on_connect(move |socket: Socket| {
            let events = events.clone();
            async move {
                if socket.handshake().auth["watch"] == true {
                    socket.on_connection_event(move |_: Socket, event: ConnectionEvent| {
                        if matches!(event, ConnectionEvent::Slow | ConnectionEvent::CaughtUp) {
                            events.note(format!("connection: {event:?}"));
                        }
                        std::future::ready(())
                    });
                }
            }
        })
}

#[actix_rt::test]
async fn the_application_hears_once_that_a_client_is_slow_and_once_that_it_has_caught_up() {
    let log = Log::default();
    let server = TestServer::start(narrow(watched(&log)));
    let slow = server.connect("/", ()).await.unwrap();
    for _ in 0..16 {
        server.io().emit("n", &0).unwrap();
        server.settle().await;
    }
    slow.connection().stop_reading();
    for n in 0..16 {
        server.io().emit("n", &n).unwrap();
        server.settle().await;
    }
    assert_eq!(log.take(), [] as [&str; 0], "it fits");
    for n in 0..100 {
        server.io().emit("n", &n).unwrap();
        server.settle().await;
    }
    assert_eq!(log.take(), ["Slow"]);
    slow.connection().resume_reading();
    server.settle().await;
    assert_eq!(log.take(), ["CaughtUp"]);
    server.close().await;
}

#[actix_rt::test]
async fn listeners_of_the_connection_hear_it_too() {
    let log = Log::default();
    let server = TestServer::start(narrow(watched(&log)));
    let slow = server.connect("/", json!({ "watch": true })).await.unwrap();
    slow.connection().stop_reading();
    for n in 0..20 {
        server.io().emit("n", &n).unwrap();
    }
    server.settle().await;
    slow.connection().resume_reading();
    server.settle().await;
    let told = ["connection: Slow", "Slow", "connection: CaughtUp", "CaughtUp"];
    assert_eq!(log.take(), told);
    server.close().await;
}

#[actix_rt::test]
async fn a_client_that_is_closed_for_it_is_slow_and_never_catches_up() {
    let log = Log::default();
    let namespace = watched(&log).when_full(WhenFull::Close).on_disconnect({
        let log = log.clone();
        move |_: Socket, reason: DisconnectReason| log.noted(reason.to_string())
    });
    let (server, slow, other) = with_a_slow_client(namespace).await;
    for n in 0..20 {
        server.io().emit("n", &n).unwrap();
    }
    server.advance(3 * SECOND).await;
    assert_eq!(log.take(), ["Slow", "slow client"]);
    drop((slow, other));
    server.close().await;
}

// ---- clients that come back --------------------------------------------------------------------

#[actix_rt::test]
async fn who_comes_back_gets_what_was_dropped_at_the_end_of_its_connection() {
    let namespace = Namespace::new("/").when_full(WhenFull::DropNewest);
    let builder = narrow(namespace)
        .namespace(Namespace::new("/full"))
        .connection_state_recovery(Recovery::new());
    let server = TestServer::start(builder);
    let slow = server.connect("/", ()).await.unwrap();
    slow.join("/full", ()).await.unwrap();
    server.io().emit("n", &0_u64).unwrap();
    hears(&slow, "n").await;
    slow.connection().stop_reading();
    for n in 0..12 {
        server.io().of("/full").unwrap().emit("n", &n).unwrap();
    }
    server.settle().await;
    for n in 1..14_u64 {
        server.io().emit("n", &n).unwrap();
    }
    server.settle().await;
    assert_eq!(server.metrics().slow_dropped_newest, 9);
    server.settle().await;
    slow.drop_connection();
    server.settle().await;
    let back = server.reconnect(&slow, ()).await.unwrap();
    assert!(back.recovered());
    for n in 1..14_u64 {
        assert_eq!(back.next_event().await.data::<u64>(), n);
    }
    back.expect_silence().await;
    server.close().await;
}

#[actix_rt::test]
async fn what_a_client_missed_is_not_thinned_when_it_comes_back() {
    let namespace = Namespace::new("/").when_full(WhenFull::DropOldest);
    let builder = narrow(namespace).connection_state_recovery(Recovery::new());
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    server.io().emit("n", &0_u64).unwrap();
    hears(&client, "n").await;
    client.drop_connection();
    server.settle().await;
    for n in 1..=14_u64 {
        server.io().emit("n", &n).unwrap();
    }
    let back = server.reconnect(&client, ()).await.unwrap();
    assert!(back.recovered());
    back.connection().stop_reading();
    for n in 15..100_u64 {
        server.io().emit("n", &n).unwrap();
        server.settle().await;
    }
    back.connection().resume_reading();
    for n in 1..=14_u64 {
        assert_eq!(back.next_event().await.data::<u64>(), n);
    }
    assert!(back.is_connected());
    server.close().await;
}
