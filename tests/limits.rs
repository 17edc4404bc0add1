//! Bounds of what a client may send, and what it costs only that client.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use greenroom::{
    AckSender, Args, ConnectionEvent, EmitError, MsgpackParser, RateLimit, SocketIoBuilder,
    prelude::*,
    testing::{Parting, TestConnection, TestServer, TestSocket},
};
use serde_json::json;
use support::{Log, handle};

const SECOND: Duration = Duration::from_secs(1);

fn echoing() -> Namespace {
    Namespace::new("/")
        .on("echo", |_: Socket, data: Args| async move { Ack(data) })
        .on("wait", |_: Socket, _: Args| pending::<()>())
}

/// A server with one client that is tried, and one that has to be served all along.
async fn two(builder: SocketIoBuilder) -> (TestServer, TestSocket, TestSocket) {
    let server = TestServer::start(builder);
    let [tried, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    (server, tried, other)
}

async fn is_served(client: &TestSocket) {
    assert_eq!(client.emit_with_ack("echo", "alive").await, json!(["alive"]));
}

/// The client was closed for breaking a bound, and nobody else.
async fn costs_only_that(server: &TestServer, tried: &TestSocket, other: &TestSocket) {
    assert_eq!(tried.disconnected().await, Parting::Closed(1000));
    let metrics = server.metrics();
    assert_eq!((metrics.packets_over_limit, metrics.bad_packets), (1, 1));
    is_served(other).await;
}

// ---- one packet ------------------------------------------------------------------------------

#[actix_rt::test]
async fn the_attachments_of_a_packet_have_so_many_bytes_and_no_more() {
    let builder = SocketIo::builder().max_packet_bytes(1000).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    let data = |len| Bytes::from(vec![7; len]);
    let whole = (data(400), data(400));
    tried.emit_with_ack("echo", &whole).await;
    tried.emit_with_ack("echo", &whole).await;
    tried.emit("echo", (data(400), data(400), data(400)));
    costs_only_that(&server, &tried, &other).await;
}

#[actix_rt::test]
async fn a_text_counts_among_the_bytes_of_its_packet() {
    let builder = SocketIo::builder().max_packet_bytes(1000).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    tried.emit("echo", "x".repeat(1001));
    costs_only_that(&server, &tried, &other).await;
}

#[actix_rt::test]
async fn attachments_that_do_not_come_in_time_close_the_connection() {
    let builder = SocketIo::builder().attachment_timeout(10 * SECOND).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    tried.connection().send_raw(r#"52-["echo",{"_placeholder":true,"num":0}]"#);
    tried.connection().send_binary(Bytes::from_static(b"1"));
    server.advance(9 * SECOND).await;
    assert!(tried.is_connected());
    server.advance(2 * SECOND).await;
    costs_only_that(&server, &tried, &other).await;
}

#[actix_rt::test]
async fn one_packet_after_the_other_with_attachments_is_no_reason_to_close() {
    let builder = SocketIo::builder().attachment_timeout(10 * SECOND).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    let text = r#"51-["echo",{"_placeholder":true,"num":0}]"#;
    for _ in 0..10 {
        tried.connection().send_raw(text);
        server.advance(7 * SECOND).await;
        tried.connection().send_binary(Bytes::from_static(b"1"));
    }
    is_served(&tried).await;
    // The last one stops half way: seen twice the time later at the latest.
    tried.connection().send_raw(text);
    server.advance(21 * SECOND).await;
    costs_only_that(&server, &tried, &other).await;
}

#[actix_rt::test]
async fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let builder = SocketIo::builder().max_depth(200).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    let echoed = |id: usize, levels| format!("3{id}[{}]", nested(levels));
    for (id, levels) in [(101, 1), (102, 199), (103, 200)] {
        tried.connection().send_raw(&format!("2{id}[\"echo\",{}]", nested(levels)));
        server.settle().await;
        assert!(tried.connection().transcript().contains(&echoed(id, levels)));
    }
    // Brackets in texts are no levels.
    is_served(&tried).await;
    let text = "[{".repeat(1000);
    assert_eq!(tried.emit_with_ack("echo", &text).await, json!([text]));
    tried.connection().send_raw(&format!("2[\"echo\",{}]", nested(201)));
    costs_only_that(&server, &tried, &other).await;
}

#[actix_rt::test]
async fn data_nested_10_000_deep_comes_back_where_that_is_allowed_and_closes_its_client_elsewhere()
{
    let deep = format!("2[\"echo\",{}{}]", "[".repeat(10_000), "]".repeat(10_000));
    let (server, tried, other) = two(SocketIo::builder().namespace(echoing())).await;
    tried.connection().send_raw(&deep);
    costs_only_that(&server, &tried, &other).await;

    let builder = SocketIo::builder().max_depth(usize::MAX).namespace(echoing());
    let (server, tried, _other) = two(builder).await;
    tried.connection().send_raw(&deep.replacen('2', "27", 1));
    server.settle().await;
    let answer = deep.replacen("2[\"echo\",", "37[", 1);
    assert!(tried.connection().transcript().contains(&answer));
}

#[actix_rt::test]
async fn nesting_is_bounded_in_msgpack_too() {
    let builder = SocketIo::builder().parser(MsgpackParser).max_depth(5).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    assert_eq!(tried.emit_with_ack("echo", json!([[[[[1]]]]])).await, json!([[[[[[1]]]]]]));
    tried.emit("echo", json!([[[[[[1]]]]]]));
    costs_only_that(&server, &tried, &other).await;
}

// ---- joining ---------------------------------------------------------------------------------

#[actix_rt::test]
async fn the_auths_of_a_client_have_so_many_bytes_and_no_more() {
    let builder = ["/a", "/b", "/c"]
        .into_iter()
        .fold(SocketIo::builder().max_auth_bytes(10_000).namespace(echoing()), |builder, name| {
            builder.namespace(Namespace::new(name))
        });
    let (server, tried, other) = two(builder).await;
    let auth = json!({ "token": "x".repeat(4_000) });
    let a = tried.join("/a", &auth).await.unwrap();
    tried.join("/b", &auth).await.unwrap();
    assert_eq!(tried.join("/c", &auth).await.unwrap_err().message, "Too much auth");
    assert_eq!(server.metrics().connects_over_limit, 1);
    // What was left counts no more; what is small does not count.
    a.leave();
    server.settle().await;
    tried.join("/c", &auth).await.unwrap();
    tried.join("/a", json!({ "token": "x" })).await.unwrap();
    is_served(&tried).await;
    is_served(&other).await;
}

#[actix_rt::test]
async fn a_namespace_that_is_joined_again_and_again_counts_once() {
    let builder = SocketIo::builder()
        .max_auth_bytes(10_000)
        .namespace(echoing())
        .namespace(Namespace::new("/a"))
        .namespace(Namespace::new("/b"));
    let (server, tried, _other) = two(builder).await;
    let auth = json!({ "token": "x".repeat(4_000) });
    for _ in 0..10 {
        tried.join("/a", &auth).await.unwrap().leave();
        server.settle().await;
    }
    let _a = tried.join("/a", &auth).await.unwrap();
    tried.join("/b", &auth).await.unwrap();
    assert_eq!(server.metrics().connects_over_limit, 0);
}

#[actix_rt::test]
async fn listeners_of_sockets_that_have_left_are_bounded() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let slow = Namespace::new("/slow").on_connect(move |_: Socket| {
        count.fetch_add(1, Ordering::Relaxed);
        pending::<()>()
    });
    let busy = Namespace::new("/busy")
        .on_connect(|_: Socket| pending::<()>())
        .on_connect(|_: Socket| pending::<()>());
    let builder = SocketIo::builder()
        .max_running_listeners(10)
        .namespace(echoing())
        .namespace(slow)
        .namespace(busy)
        .parent(
            Parent::matching("^/p").children(|child| child.on_connect(|_: Socket| pending::<()>())),
        );
    let (server, tried, other) = two(builder).await;
    for _ in 0..10 {
        tried.join("/slow", ()).await.unwrap().leave();
        server.settle().await;
    }
    for _ in 0..90 {
        let refused = tried.join("/slow", ()).await.unwrap_err();
        assert_eq!(refused.message, "Too many namespaces");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 10);
    assert_eq!(server.metrics().connects_over_limit, 90);
    is_served(&other).await;
    // Those of sockets that are there keep nobody out, however many they are.
    other.join("/busy", ()).await.unwrap();
    for n in 0..20 {
        other.join(&format!("/p{n}"), ()).await.unwrap();
    }
}

#[actix_rt::test]
async fn listeners_of_heartbeats_are_bounded_and_only_answers_to_pings_are_heartbeats() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let watched = echoing().on_connect(move |socket: Socket| {
        let count = Arc::clone(&count);
        socket.on_connection_event(move |_: Socket, event: ConnectionEvent| {
            if event == ConnectionEvent::Heartbeat {
                count.fetch_add(1, Ordering::Relaxed);
            }
            pending::<()>()
        });
        async {}
    });
    let (server, tried, other) =
        two(SocketIo::builder().max_running_listeners(10).namespace(watched)).await;
    for _ in 0..100 {
        tried.connection().send_engine("3");
    }
    server.settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0, "nobody has asked");
    server.advance(30 * 25 * SECOND).await;
    let most = calls.load(Ordering::Relaxed);
    assert!((1..=20).contains(&most), "{most} of two clients are at work");
    assert!(server.metrics().connection_events_dropped >= 40);
    assert!(tried.is_connected() && other.is_connected());
}

#[actix_rt::test]
async fn names_that_parents_are_asked_about_are_bounded() {
    let parent = Parent::matching("^/x+$");
    let builder = SocketIo::builder().parent(parent).max_namespace_name(10).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    tried.join(&format!("/{}", "x".repeat(9)), ()).await.unwrap();
    let refused = tried.join(&format!("/{}", "x".repeat(10)), ()).await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");
    assert_eq!(server.metrics().unknown_namespaces, 1);
    is_served(&other).await;
}

#[actix_rt::test]
async fn a_socket_is_in_so_many_rooms_and_no_more() {
    let rooms = |socket: Socket, rooms: Vec<String>| async move {
        socket.join(rooms);
        Ack(socket.rooms().await.len())
    };
    let namespace = echoing().on("join", rooms);
    let (server, tried, other) = two(SocketIo::builder().max_rooms(3).namespace(namespace)).await;
    assert_eq!(tried.emit_with_ack("join", json!(["a", "b"])).await, json!([3]));
    // One has its place, one is there already, the others have to stay out.
    assert_eq!(tried.emit_with_ack("join", json!(["c", "d", "a", "e"])).await, json!([4]));
    assert_eq!(server.metrics().joins_refused, 2);
    for room in ["a", "b", "c", "d", "e"] {
        server.io().to(room).emit("in", &room).unwrap();
    }
    for room in ["a", "b", "c"] {
        assert_eq!(tried.next_event().await, ("in".into(), json!([room])));
    }
    tried.expect_silence().await;
    let socket = handle(&server, &tried).await;
    socket.leave("a");
    assert_eq!(tried.emit_with_ack("join", json!(["d"])).await, json!([4]));
    assert_eq!(other.emit_with_ack("join", json!(["d"])).await, json!([2]));
}

#[actix_rt::test]
async fn names_of_rooms_are_bounded() {
    let namespace = echoing().on("join", |socket: Socket, rooms: Vec<String>| async move {
        socket.join(rooms);
        Ack(socket.rooms().await.len())
    });
    let (server, tried, _) = two(SocketIo::builder().max_room_name(25).namespace(namespace)).await;
    let names = json!(["x".repeat(26), "y".repeat(25)]);
    assert_eq!(tried.emit_with_ack("join", names).await, json!([2]));
    assert_eq!(server.metrics().joins_refused, 1);
    server.io().to("x".repeat(26)).emit("in", &1).unwrap();
    server.io().to("y".repeat(25)).emit("in", &2).unwrap();
    assert_eq!(tried.next_event().await, ("in".into(), json!([2])));
}

// ---- acks ------------------------------------------------------------------------------------

#[actix_rt::test]
async fn a_client_is_asked_so_many_questions_and_no_more() {
    let builder = SocketIo::builder().max_pending_acks(2).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    let socket = handle(&server, &tried).await;
    let ask = || socket.timeout(10 * SECOND).emit_with_ack::<u32>("q", &1);
    let waiting = (ask(), ask());
    let refused = ask().await;
    assert!(matches!(refused, Err(AckError::Emit(EmitError::TooManyQuestions))), "{refused:?}");
    // A broadcast counts the socket as one that will not answer.
    let everyone = server.io().sockets().timeout(10 * SECOND).emit_with_ack("all", &()).unwrap();
    assert_eq!(server.metrics().questions_refused, 1);
    let all = other.next_event().await;
    assert_eq!(all.name, "all");
    all.answer(5);
    let error = everyone.all().await.unwrap_err();
    assert_eq!((error.answers.len(), error.missing), (1, Some(1)));
    assert_eq!(server.metrics().questions_refused, 2);
    // Who answers is asked again.
    tried.next_event().await.answer(1);
    tried.next_event().await.answer(2);
    assert_eq!((waiting.0.await.unwrap(), waiting.1.await.unwrap()), (1, 2));
    assert_eq!(tried.next_event().await.name, "all");
    let again = ask();
    tried.next_event().await.answer(3);
    assert_eq!(again.await.unwrap(), 3);
}

#[actix_rt::test]
async fn the_application_owes_so_many_answers_and_no_more() {
    let kept = Arc::new(Mutex::new(Vec::<AckSender>::new()));
    let keep = Arc::clone(&kept);
    let errors = Log::default();
    let heard = errors.clone();
    let namespace = echoing()
        .on("later", move |_: Socket, _: Args, ack: AckSender| {
            keep.lock().unwrap().push(ack);
            async {}
        })
        .on_error(move |_, event, error| heard.note(format!("{event}: {error}")));
    let builder = SocketIo::builder().max_owed_acks(2).namespace(namespace);
    let (server, tried, other) = two(builder).await;
    let first = tried.emit_with_ack("later", 1);
    let second = tried.emit_with_ack("later", 2);
    let refused = json!([{ "error": "too many events without answer" }]);
    assert_eq!(tried.emit_with_ack("later", 3).await, refused);
    assert_eq!(errors.take(), ["later: too many events without answer"]);
    assert_eq!(server.metrics().events_over_limit, 1);
    // Who wants no answer is heard, and so is everybody else.
    tried.emit("later", 4);
    is_served(&other).await;
    assert_eq!(kept.lock().unwrap().len(), 3);
    kept.lock().unwrap().remove(0).send(&1).unwrap();
    assert_eq!(first.await, json!([1]));
    is_served(&tried).await;
    // One that is dropped is owed no more either.
    let third = tried.emit_with_ack("later", 5);
    server.settle().await;
    assert_eq!(tried.emit_with_ack("echo", ()).await, refused);
    let rest = std::mem::take(&mut *kept.lock().unwrap());
    drop((rest, second, third));
    is_served(&tried).await;
}

// ---- how much at once ------------------------------------------------------------------------

#[actix_rt::test]
async fn a_client_is_read_no_more_when_its_listeners_hold_too_many_bytes() {
    let builder = SocketIo::builder().max_running_bytes(1_000_000).namespace(echoing());
    let (server, tried, other) = two(builder).await;
    let large = "x".repeat(100_000);
    for _ in 0..200 {
        tried.emit("wait", &large);
    }
    server.settle().await;
    // 10 under way, 4 MiB of others wait, and some are in the inbox.
    let unsent = tried.connection().unsent();
    assert!((130..150).contains(&unsent), "{unsent} of 200 are with the client");
    is_served(&other).await;
}

fn number(client: &TestConnection) -> usize {
    client.transcript().iter().filter(|packet| packet.starts_with(['3', '6'])).count()
}

async fn answered_after(server: &TestServer, tried: &TestSocket, time: Duration) -> usize {
    server.advance(time).await;
    number(tried.connection())
}

#[actix_rt::test]
async fn a_client_that_sends_too_fast_waits_and_loses_nothing() {
    let limit = RateLimit::new().events_per_second(100);
    let (server, tried, other) =
        two(SocketIo::builder().rate_limit(limit).namespace(echoing())).await;
    let acks: Vec<_> = (0..500).map(|n| tried.emit_with_ack("echo", n)).collect();
    server.settle().await;
    // What may come at once, and the portion that was under way. The CONNECT counted, too.
    let at_once = number(tried.connection());
    assert!((99..110).contains(&at_once), "{at_once}");
    is_served(&other).await;
    let later = answered_after(&server, &tried, SECOND).await;
    assert!((at_once + 90..at_once + 115).contains(&later), "{later}");
    assert!(server.metrics().rate_limited >= 1);
    server.advance(5 * SECOND).await;
    for (n, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await, json!([n]));
    }
    // A pause fills the bucket, and no more than that. It was looked into when a heartbeat was answered.
    server.advance(100 * SECOND).await;
    let before = number(tried.connection());
    let acks: Vec<_> = (0..300).map(|n| tried.emit_with_ack("echo", n)).collect();
    server.settle().await;
    let burst = number(tried.connection()) - before;
    assert!((100..210).contains(&burst), "{burst}");
    drop(acks);
}

#[actix_rt::test]
async fn bytes_per_second_are_bounded_too() {
    let limit = RateLimit::new().bytes_per_second(100_000).burst(2 * SECOND);
    let (server, tried, _) = two(SocketIo::builder().rate_limit(limit).namespace(echoing())).await;
    let data = Bytes::from(vec![1; 10_000]);
    let acks: Vec<_> = (0..50).map(|_| tried.emit_with_ack("echo", &data)).collect();
    server.settle().await;
    let at_once = number(tried.connection());
    assert!((18..25).contains(&at_once), "{at_once}");
    let later = answered_after(&server, &tried, SECOND).await;
    assert!((at_once + 7..at_once + 14).contains(&later), "{later}");
    server.advance(5 * SECOND).await;
    for ack in acks {
        ack.await;
    }
    assert!(tried.is_connected());
}

#[actix_rt::test]
async fn a_rate_limit_may_close_the_client() {
    let limit = RateLimit::new().events_per_second(100).close(true);
    let (server, tried, other) =
        two(SocketIo::builder().rate_limit(limit).namespace(echoing())).await;
    for _ in 0..20 {
        for n in 0..90 {
            assert_eq!(tried.emit_with_ack("echo", n).await, json!([n]));
        }
        server.advance(SECOND).await;
    }
    let log = support::observe_sockets(&server, "/").await;
    let id = tried.id();
    for _ in 0..150 {
        tried.emit("echo", 1);
    }
    assert_eq!(tried.disconnected().await, Parting::Closed(1008));
    server.settle().await;
    assert_eq!(log.take(), [format!("disconnected {id}: rate limit")]);
    assert_eq!(server.metrics().rate_limited, 1);
    is_served(&other).await;
}

#[actix_rt::test]
async fn a_slow_rate_counts_parts_of_events() {
    let limit = RateLimit::new().events_per_second(1).burst(3 * SECOND);
    let (server, tried, _) = two(SocketIo::builder().rate_limit(limit).namespace(echoing())).await;
    // Three a second is too much, and each wait is a part of a second.
    let acks: Vec<_> = (0..10).map(|n| tried.emit_with_ack("echo", n)).collect();
    server.advance(Duration::from_secs(12)).await;
    for (n, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await, json!([n]));
    }
}

#[test]
#[should_panic(expected = "`events_per_second` is zero")]
fn a_rate_of_no_events_is_refused() {
    let _ = RateLimit::new().events_per_second(0);
}

#[test]
#[should_panic(expected = "`bytes_per_second` is zero")]
fn a_rate_of_no_bytes_is_refused() {
    let _ = RateLimit::new().bytes_per_second(0);
}
