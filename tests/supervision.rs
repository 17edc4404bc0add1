//! What really panics costs one event, and a room actor that dies is rebuilt.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/lines.rs"]
mod lines;
mod support;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use actix::prelude::*;
use greenroom::{
    CountSockets, NamespaceActor, On, RoomSizes,
    prelude::*,
    testing::{KillRooms, Parting, TestServer, TestSocket},
};
use lines::Lines;
use serde_json::{Value, json};
use support::{Log, handle, hears};

fn internal_error() -> Value {
    json!([{ "error": "internal error" }])
}

/// Panics, as code does that has a bug.
fn die(why: &str) {
    panic!("{why}");
}

/// Everything in here panics, and `echo` does not.
fn fragile() -> Namespace {
    Namespace::new("/")
        .on("echo", |_: Socket, data: greenroom::Args| async move { Ack(data) })
        .on("at once", |_: Socket, (): ()| async move { die("at once") })
        .on("in the call", |_: Socket, n: u64| {
            assert_eq!(n, 0, "before there is a future");
            async move {}
        })
        .on("later", |socket: Socket, (): ()| async move {
            socket.emit("about to", &())?;
            tokio::task::yield_now().await;
            die("later");
            Ok::<_, EventError>(())
        })
}

/// The client and its connection work as ever.
async fn is_well(client: &TestSocket) {
    assert_eq!(client.emit_with_ack("echo", ("a", 1)).await, json!(["a", 1]));
    client.expect_silence().await;
}

#[actix_rt::test]
async fn a_listener_that_panics_costs_one_event() {
    let server = TestServer::start(SocketIo::builder().namespace(fragile()));
    let [client, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    assert_eq!(client.emit_with_ack("at once", ()).await, internal_error());
    assert_eq!(client.emit_with_ack("in the call", 1).await, internal_error());
    is_well(&client).await;
    let ack = client.emit_with_ack("later", ());
    assert_eq!(client.next_event().await, ("about to".into(), json!([])));
    assert_eq!(ack.await, internal_error());
    is_well(&client).await;
    is_well(&other).await;
    assert_eq!(server.metrics().panics, 3);
    server.close().await;
}

#[actix_rt::test]
async fn panics_without_a_question_are_answered_to_nobody() {
    let server = TestServer::start(SocketIo::builder().namespace(fragile()));
    let client = server.connect("/", ()).await.unwrap();
    for _ in 0..100 {
        client.emit("at once", ());
    }
    is_well(&client).await;
    assert_eq!(server.metrics().panics, 100);
}

#[actix_rt::test]
async fn a_panic_in_serial_mode_lets_the_next_event_pass() {
    let server = TestServer::start(SocketIo::builder().namespace(fragile().serial(true)));
    let client = server.connect("/", ()).await.unwrap();
    let acks =
        ["later", "at once", "later", "echo", "in the call"].map(|e| client.emit_with_ack(e, 1));
    for (n, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await, if n == 3 { json!([1]) } else { internal_error() });
    }
}

#[actix_rt::test]
async fn a_panic_still_lets_the_operations_of_its_listener_arrive_before_its_ack() {
    let namespace = fragile().on("publish", |socket: Socket, room: String| async move {
        socket.join(&room);
        // The socket itself hears it, as it has left its own room.
        socket.leave(socket.id());
        let _ = socket.to(&room).emit("published", &());
        panic!("after publishing");
        #[allow(unreachable_code, reason = "it says the type")]
        ()
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("publish", "r").await, internal_error());
    let transcript = client.connection().transcript();
    assert_eq!(transcript[1..], ["2[\"published\"]", "31[{\"error\":\"internal error\"}]"]);
}

#[actix_rt::test]
async fn a_middleware_that_panics_refuses_the_client() {
    let namespace = fragile().before_connect(|socket: Socket| async move {
        let when = socket.handshake().auth["panic"].as_str().map(str::to_owned);
        assert_ne!(when.as_deref(), Some("at once"));
        tokio::task::yield_now().await;
        assert_ne!(when.as_deref(), Some("later"));
        Ok::<_, ConnectError>(())
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = server.open().await.unwrap();
    for when in ["at once", "later"] {
        let refused = connection.join("/", json!({ "panic": when })).await.unwrap_err();
        assert_eq!((&*refused.message, refused.data), ("internal error", None));
    }
    is_well(&connection.join("/", ()).await.unwrap()).await;
    assert_eq!(server.metrics().panics, 2);
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 1);
    assert_eq!(namespace.send(RoomSizes).await.unwrap(), []);
}

#[actix_rt::test]
async fn an_error_hook_that_panics_changes_no_answer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let namespace = fragile()
        .on("fail", |_: Socket, (): ()| async { Err::<(), _>(EventError::new("told")) })
        .on_error(move |_, event, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("the hook for {event}");
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("fail", ()).await, json!([{ "error": "told" }]));
    assert_eq!(client.emit_with_ack("at once", ()).await, internal_error());
    is_well(&client).await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // The listener, and the hook twice.
    assert_eq!(server.metrics().panics, 3);
}

#[actix_rt::test]
async fn listeners_of_connects_and_disconnects_may_panic() {
    let log = Log::default();
    let notes = log.clone();
    let namespace = fragile()
        .on_connect(|_: Socket| async { die("connect") })
        .on_disconnecting(|_: Socket, _: DisconnectReason| async { die("disconnecting") })
        .on_disconnecting(|_: Socket, _: DisconnectReason| async {
            tokio::task::yield_now().await;
            die("disconnecting, later");
        })
        .on_disconnect(|_: Socket, _: DisconnectReason| async { die("disconnect") })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| notes.noted(reason.as_str()));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [client, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    is_well(&client).await;
    client.leave();
    server.settle().await;
    assert_eq!(log.take(), ["client namespace disconnect"]);
    assert_eq!(server.io().members().await, [other.id()]);
    // The connection lives: the client joins again.
    is_well(&client.join("/", ()).await.unwrap()).await;
    assert_eq!(server.io().sockets().disconnect(true).await, 2);
    assert_eq!(server.metrics().panics, 3 + 3 * 3);
    server.close().await;
}

struct Fragile;

type Break = FromSocket<u64, Ack<u64>>;

impl Actor for Fragile {
    type Context = Context<Self>;
}

impl Handler<Break> for Fragile {
    type Result = Result<Ack<u64>, EventError>;

    fn handle(&mut self, message: Break, _: &mut Self::Context) -> Self::Result {
        assert_ne!(message.data, 0, "the actor dies");
        Ok(Ack(message.data))
    }
}

impl NamespaceActor for Fragile {
    fn listeners(on: &mut On<Self>) {
        on.event::<Break>("break");
    }
}

#[actix_rt::test]
async fn an_actor_that_dies_of_an_event_answers_with_an_error_and_breaks_no_connection() {
    let namespace = Namespace::from_actor("/", Fragile.start())
        .on("echo", |_: Socket, data: greenroom::Args| async move { Ack(data) });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("break", 1).await, json!([1]));
    assert_eq!(client.emit_with_ack("break", 0).await, internal_error());
    // It is the application's actor: nobody but the application can start another one.
    assert_eq!(client.emit_with_ack("break", 1).await, internal_error());
    is_well(&client).await;
}

// ---- why it panicked ---------------------------------------------------------------------------

#[actix_rt::test]
async fn the_text_of_a_panic_is_in_the_log_and_in_the_error_hook_and_not_in_the_ack() {
    let log = Log::default();
    let notes = log.clone();
    let namespace = fragile()
        .on("number", |_: Socket, n: u64| async move { die(&format!("{n} is too much")) })
        .before_event(|socket: Socket, event: Event| async move {
            assert_ne!(event.name, "refused", "no such thing for {}", socket.namespace());
            Ok::<_, EventError>(())
        })
        .on_any(|_: &Socket, event: &Event, _: &AckSender| {
            assert_ne!(event.name, "any", "whatever");
        })
        .on_error(move |_: &Socket, event: &str, error: &EventError| {
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            notes.note(format!("{event}: {error}; {source}"));
        });
    let (lines, _logged) = Lines::of_this_thread(tracing::Level::INFO);
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("number", 7).await, internal_error());
    assert_eq!(client.emit_with_ack("later", ()).await, internal_error());
    client.emit("refused", ());
    client.emit("any", ());
    server.settle().await;
    let told = log.take();
    assert_eq!(told[0], "number: internal error: 7 is too much; 7 is too much");
    assert_eq!(told[1], "later: internal error: later; later");
    assert!(told[2].contains("no such thing for /"), "{told:?}");
    assert!(told[3].contains("whatever"), "{told:?}");
    let logged = lines.text();
    for line in [
        r#"listener panicked namespace="/" event="number" reason="7 is too much""#,
        r#"listener panicked namespace="/" event="later" reason="later""#,
        "middleware of events panicked",
        "no such thing for /",
        "catch-all listener panicked",
        "whatever",
    ] {
        assert!(logged.contains(line), "{line} is not in {logged}");
    }
}

#[derive(Default)]
struct Careful {
    sum: u64,
}

impl Actor for Careful {
    type Context = Context<Self>;
}

impl Supervised for Careful {}

impl Handler<Break> for Careful {
    type Result = Result<Ack<u64>, EventError>;

    fn handle(&mut self, message: Break, _: &mut Self::Context) -> Self::Result {
        assert_ne!(message.data, 0, "the actor would die");
        self.sum += message.data;
        Ok(Ack(self.sum))
    }
}

#[actix_rt::test]
async fn a_supervised_actor_loses_one_event_by_a_panic() {
    let actor = greenroom::start_supervised(Careful::default());
    let namespace = fragile().on("add", actor.recipient::<Break>());
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let answers = [1, 0, 2, 0, 3].map(|n| client.emit_with_ack("add", n));
    let mut texts = Vec::new();
    for answer in answers {
        texts.push(answer.await.raw_json().to_string());
    }
    let error = r#"{"error":"internal error"}"#;
    assert_eq!(texts, ["1", error, "3", error, "6"]);
    assert_eq!(server.metrics().events_failed, 2);
    is_well(&client).await;
}

// ---- room actors -----------------------------------------------------------------------------

/// A server whose clients are in the lobby, join other rooms, and publish to the lobby: to
/// themselves, too.
fn with_publishing() -> TestServer {
    let cell = Arc::new(OnceLock::<SocketIo>::new());
    let io = Arc::clone(&cell);
    let namespace = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on("join", |socket: Socket, room: String| async move {
            socket.join(room);
            Ack(())
        })
        .on("publish", move |_: Socket, n: u64| {
            let sent = io.get().unwrap().to("lobby").emit("published", &n);
            async move { sent.map(|()| Ack(n)) }
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    cell.set(server.io().clone()).unwrap();
    server
}

#[actix_rt::test]
async fn a_room_actor_that_dies_is_rebuilt_with_its_members() {
    let server = with_publishing();
    let clients = server.many("/", 4).await;
    clients[0].emit_with_ack("join", "private").await;
    server.settle().await;
    let namespace = server.io().namespace("/").unwrap();
    for round in 1..=3 {
        namespace.do_send(KillRooms);
        server.settle().await;
        assert_eq!(server.metrics().rooms_rebuilt, round);
        server.io().to("lobby").emit("round", &round).unwrap();
        server.io().to("private").emit("private", &()).unwrap();
        server.io().to(clients[1].id()).emit("own", &()).unwrap();
        assert_eq!(clients[0].next_event().await, ("round".into(), json!([round])));
        hears(&clients[0], "private").await;
        assert_eq!(clients[1].next_event().await, ("round".into(), json!([round])));
        hears(&clients[1], "own").await;
        hears(&clients[2], "round").await;
        hears(&clients[3], "round").await;
    }
    server.close().await;
}

#[actix_rt::test]
async fn what_is_sent_right_after_the_death_is_not_lost() {
    let server = with_publishing();
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let namespace = server.io().namespace("/").unwrap();
    namespace.send(KillRooms).await.unwrap();
    // Taken by the namespace when the actor's mailbox is closed or about to be.
    tokio::task::yield_now().await;
    socket.join("late");
    server.settle().await;
    server.io().to("late").emit("late", &()).unwrap();
    hears(&client, "late").await;
}

#[actix_rt::test]
async fn acks_that_wait_behind_a_lost_broadcast_come_all_the_same() {
    let server = with_publishing();
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let namespace = server.io().namespace("/").unwrap();
    namespace.do_send(KillRooms);
    socket.leave(client.id());
    for n in 0..10 {
        // Operations of this very client, on their way through an actor that dies.
        socket.to("lobby").emit("maybe lost", &n).unwrap();
    }
    assert_eq!(client.emit_with_ack("join", "other").await, json!([]));
    server.settle().await;
    assert_eq!(server.metrics().rooms_rebuilt, 1);
    server.io().to("other").emit("here", &()).unwrap();
    let last = server.io().clone();
    last.emit("end", &()).unwrap();
    let mut heard = Vec::new();
    loop {
        let event = client.next_event().await;
        if event.name == "end" {
            break;
        }
        heard.push(event.name);
    }
    assert_eq!(heard.last().map(String::as_str), Some("here"));
}

#[actix_rt::test]
async fn who_connects_leaves_or_is_put_out_during_the_death_is_treated_right() {
    let server = with_publishing();
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let namespace = server.io().namespace("/").unwrap();
    let connection = server.open().await.unwrap();
    connection.send_raw("0");
    namespace.do_send(KillRooms);
    a.leave();
    let out = server.io().to(b.id()).disconnect(false);
    assert_eq!(out.await, 1);
    assert_eq!(b.disconnected().await, Parting::ByServer);
    server.settle().await;
    let greetings = connection.transcript();
    assert_eq!(greetings.iter().filter(|p| p.starts_with('0')).count(), 1, "{greetings:?}");
    server.io().to("lobby").emit("hello", &()).unwrap();
    server.settle().await;
    assert_eq!(connection.transcript().last().unwrap(), "2[\"hello\"]");
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 1);
    a.join("/", ()).await.unwrap();
    server.close().await;
}

/// The numbers of the events that came before "end", each after the one before.
async fn rising(client: &TestSocket) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let event = client.next_event().await;
        if event.name == "end" {
            return numbers;
        }
        let n: u64 = event.data();
        assert!(numbers.last() < Some(&n), "{n} after {:?}", numbers.last());
        numbers.push(n);
    }
}

#[actix_rt::test]
async fn deaths_under_load_change_no_order_and_lose_no_ack() {
    const ROUNDS: u64 = 500;
    let server = with_publishing();
    let [publisher, a, b]: [_; 3] = server.many("/", 3).await.try_into().unwrap();
    let namespace = server.io().namespace("/").unwrap();
    for round in 0..ROUNDS {
        let joined = a.emit_with_ack("join", "r");
        let published = publisher.emit_with_ack("publish", round);
        if round % 10 == 0 {
            namespace.do_send(KillRooms);
        }
        assert_eq!(published.await, json!([round]));
        assert_eq!(joined.await, json!([]));
    }
    server.settle().await;
    server.io().emit("end", &()).unwrap();
    let deaths = ROUNDS / 10;
    assert_eq!(server.metrics().rooms_rebuilt, deaths);
    let heard = rising(&publisher).await;
    assert!(heard.len() as u64 >= ROUNDS - deaths, "{} of {ROUNDS} broadcasts", heard.len());
    assert_eq!(rising(&a).await, heard);
    assert_eq!(rising(&b).await, heard);
    // What was not lost came before its ack.
    let transcript = publisher.connection().transcript();
    let at = |packet: String| transcript.iter().position(|p| *p == packet);
    for n in heard {
        let (event, ack) = (at(format!("2[\"published\",{n}]")), at(format!("3{}[{n}]", n + 1)));
        assert!(event < ack && ack.is_some(), "{event:?} {ack:?}");
    }
}
