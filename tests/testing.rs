//! `TestSocket` and `TestServer` themselves, and the examples of `docs/testing.md`.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

// What the examples of the page need.
use std::time::{Duration, Instant};

use actix::prelude::*;
use greenroom::{
    prelude::*,
    testing::{KillRooms, Parting, TestRequest, TestServer, TestSocket},
};
use serde_json::json;

// What the other tests need as well.
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use greenroom::{Transport, engine::ConnectionError, testing::MemoryBus};

#[derive(Default)]
struct History {
    lines: Vec<String>,
}

type Say = FromSocket<String, Ack<u64>>;

impl Actor for History {
    type Context = Context<Self>;
}

impl Handler<Say> for History {
    type Result = Result<Ack<u64>, EventError>;

    fn handle(&mut self, say: Say, _: &mut Context<Self>) -> Self::Result {
        say.socket.to("lobby").emit("said", &say.data)?;
        self.lines.push(say.data);
        Ok(Ack(self.lines.len() as u64))
    }
}

fn chat(history: Addr<History>) -> Namespace {
    Namespace::new("/chat")
        .before_connect(require_token)
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on("typing", |socket: Socket, name: String| async move {
            socket.to("lobby").emit("typing", &name)
        })
        .on("say", history.recipient::<Say>())
}

async fn require_token(socket: Socket) -> Result<(), ConnectError> {
    if socket.handshake().auth["token"] == "secret" {
        return Ok(());
    }
    Err(ConnectError::new("not authorized").data(&json!({ "code": 401 })))
}

#[actix_rt::test]
async fn a_line_reaches_everyone_else_in_the_lobby() {
    let chat = chat(History::default().start()).start();
    let alice = TestSocket::connect(&chat, json!({ "token": "secret" })).await.unwrap();
    let bob = TestSocket::connect(&chat, json!({ "token": "secret" })).await.unwrap();
    assert_eq!(alice.emit_with_ack("say", json!("hi")).await, json!([1]));
    assert_eq!(bob.next_event().await, ("said".into(), json!(["hi"])));
    alice.expect_silence().await;
}

#[actix_rt::test]
async fn a_refused_connect_is_a_value() {
    let chat = chat(History::default().start()).start();
    let refused = TestSocket::connect(&chat, json!({ "token": "guess" })).await.unwrap_err();
    assert_eq!(refused.message, "not authorized");
    assert_eq!(refused.data, Some(json!({ "code": 401 })));
}

#[actix_rt::test]
async fn a_cookie_lets_a_client_in() {
    let vault = Namespace::new("/vault").before_connect(|socket: Socket| async move {
        match socket.handshake().request.headers.get("cookie") {
            Some(cookie) if cookie == "user=ann" => Ok(()),
            _ => Err(ConnectError::new("not logged in")),
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(vault));
    let request = TestRequest::new().header("cookie", "user=ann");
    assert!(server.connect_as(request, "/vault", ()).await.is_ok());
    assert!(server.connect("/vault", ()).await.is_err());
}

#[actix_rt::test]
async fn a_ping_timeout_takes_no_real_time() {
    let started = Instant::now();
    let server = TestServer::start(SocketIo::builder());
    let alice = server.connect("/", ()).await.unwrap();
    let bob = server.connect("/", ()).await.unwrap();
    alice.stop_answering_pings();
    server.advance(Duration::from_secs(44)).await;
    assert!(alice.is_connected());
    server.advance(Duration::from_secs(2)).await;
    assert_eq!(alice.disconnected().await, Parting::Closed(1000));
    assert!(bob.is_connected());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    server.close().await;
}

#[actix_rt::test]
async fn an_order_is_confirmed_by_its_client() {
    let shop = Namespace::new("/shop").on("order", |socket: Socket, dish: String| async move {
        let yes: bool = socket.emit_with_ack("really?", &dish).await?;
        Ok::<_, EventError>(Ack(if yes { "ordered" } else { "cancelled" }))
    });
    let client = TestSocket::connect(&shop.start(), ()).await.unwrap();
    let answer = client.emit_with_ack("order", "soup");
    let question = client.next_event().await;
    assert_eq!(question, ("really?".into(), json!(["soup"])));
    question.answer(true);
    assert_eq!(answer.await, json!(["ordered"]));
}

#[actix_rt::test]
async fn an_admin_stops_a_game() {
    let builder = SocketIo::builder()
        .namespace(Namespace::new("/game").on_connect(|socket: Socket| async move {
            socket.join(socket.handshake().auth["table"].as_str().unwrap_or("none").to_owned());
        }))
        .namespace(Namespace::new("/admin"));
    let server = TestServer::start(builder);
    let player = server.connect("/game", json!({ "table": "green" })).await.unwrap();
    let admin = player.join("/admin", ()).await.unwrap();
    server.io().of("/game").unwrap().to("green").disconnect(false).await;
    assert_eq!(player.disconnected().await, Parting::ByServer);
    assert!(admin.is_connected());
    server.close().await;
}

#[actix_rt::test]
async fn a_client_that_does_not_read_is_given_up() {
    let server = TestServer::start(SocketIo::builder().max_outbox_packets(10));
    let slow = server.connect("/", ()).await.unwrap();
    slow.connection().stop_reading();
    for price in 0..20 {
        server.io().emit("price", &price).unwrap();
    }
    server.advance(Duration::from_secs(3)).await;
    slow.connection().resume_reading();
    assert_eq!(slow.disconnected().await, Parting::Closed(1013));
    assert_eq!(server.metrics().slow_clients_closed, 1);
}

#[actix_rt::test]
async fn a_client_that_was_cut_misses_nothing() {
    let builder = SocketIo::builder().connection_state_recovery(Recovery::new());
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    client.drop_connection();
    server.settle().await;
    server.io().emit("news", "while you were away").unwrap();
    let back = server.reconnect(&client, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(back.next_event().await.data::<String>(), "while you were away");
    assert_eq!(server.metrics().sockets_recovered, 1);
}

#[actix_rt::test]
async fn a_room_survives_its_actor() {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", 3).await;
    server.io().sockets().join("lobby");
    server.settle().await;
    server.io().namespace("/").unwrap().send(KillRooms).await.unwrap();
    server.settle().await;
    server.io().to("lobby").emit("still there", &()).unwrap();
    for client in &clients {
        assert_eq!(client.next_event().await, ("still there".into(), json!([])));
    }
    assert_eq!(server.metrics().rooms_rebuilt, 1);
}

#[actix_rt::test]
async fn a_room_spans_all_workers() {
    let lobby =
        Namespace::new("/").on_connect(|socket: Socket| async move { socket.join("lobby") });
    let server = TestServer::workers(SocketIo::builder().namespace(lobby), 3).await;
    let clients = server.many("/", 6).await;
    server.io().to("lobby").emit("hello", &()).unwrap();
    for client in &clients {
        assert_eq!(client.next_event().await, ("hello".into(), json!([])));
    }
    server.close().await;
}

#[actix_rt::test]
async fn what_does_not_come_fails_the_test_and_names_its_line() {
    let started = Instant::now();
    let server = TestServer::start(SocketIo::builder());
    let alice = server.connect("/", ()).await.unwrap();
    let here = line!() + 1;
    let waiting = alice.next_event();
    let failure = AssertUnwindSafe(waiting).catch_unwind().await.unwrap_err();
    let message = failure.downcast::<String>().unwrap();
    let expected =
        format!("tests/testing.rs:{here}:25: waiting for an event: nothing came in 105s");
    assert!(message.starts_with(&expected), "{message}");
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[actix_rt::test]
async fn nobody_waits_for_a_socket_that_has_gone() {
    let server = TestServer::start(SocketIo::builder());
    let alice = server.connect("/", ()).await.unwrap();
    let waiting = AssertUnwindSafe(alice.emit_with_ack("ask", ()));
    let before = tokio::time::Instant::now();
    server.io().sockets().disconnect(false).await;
    let failure = waiting.catch_unwind().await.unwrap_err();
    let message = failure.downcast::<String>().unwrap();
    assert!(message.contains("the socket is disconnected: io server disconnect"), "{message}");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[actix_rt::test]
async fn a_dropped_client_breaks_its_connection() {
    let server = TestServer::start(SocketIo::builder());
    let [alice, bob]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let again = alice.clone();
    drop(alice);
    server.settle().await;
    assert_eq!(server.io().clients_count(), 2);
    drop(again);
    server.settle().await;
    assert_eq!(server.io().members().await, [bob.id()]);
}

#[actix_rt::test]
async fn a_clock_that_is_paused_already_stays_so() {
    tokio::time::pause();
    let server = TestServer::start(SocketIo::builder());
    server.connect("/", ()).await.unwrap();
    TestSocket::connect(&server, ()).await.unwrap();
}

#[actix_rt::test]
#[should_panic(expected = "expected silence, but got \"hello\" [1]")]
async fn silence_is_broken_by_an_event() {
    let noisy =
        Namespace::new("/").on_connect(|socket: Socket| async move { socket.emit("hello", &1) });
    let server = TestServer::start(SocketIo::builder().namespace(noisy));
    let alice = server.connect("/", ()).await.unwrap();
    alice.expect_silence().await;
}

#[actix_rt::test]
async fn middlewares_see_the_request_of_the_test() {
    let strict = Namespace::new("/").before_connect(|socket: Socket| async move {
        let request = &socket.handshake().request;
        let cookie = request.headers.get("cookie").unwrap_or_default().into_owned();
        let room = request.query("room").unwrap_or_default().to_owned();
        Err::<(), _>(ConnectError::new(format!("{cookie} {room}")))
    });
    let io = SocketIo::builder().namespace(strict).start();
    let request = TestRequest::new().header("Cookie", "a=1").query("room", "green");
    let refused = TestSocket::connect_as(request, &io, ()).await.unwrap_err();
    assert_eq!(refused.message, "a=1 green");
}

#[actix_rt::test]
async fn several_workers_are_real_threads() {
    let threads = Namespace::new("/").on("thread", |_: Socket, (): ()| async move {
        Ack(format!("{:?}", std::thread::current().id()))
    });
    let server = TestServer::workers(SocketIo::builder().namespace(threads), 3).await;
    let mut names = std::collections::HashSet::new();
    for socket in server.many("/", 6).await {
        names.insert(socket.emit_with_ack("thread", ()).await.to_json().to_string());
    }
    assert_eq!(names.len(), 3);
    server.close().await;
}

#[actix_rt::test]
async fn a_post_reaches_the_sockets() {
    use actix_web::{App, HttpResponse, Result, test, web};

    async fn announce(io: web::Data<SocketIo>, text: String) -> Result<HttpResponse> {
        io.to("lobby").emit("announcement", &text)?;
        Ok(HttpResponse::NoContent().finish())
    }

    async fn list(io: web::Data<SocketIo>) -> web::Json<Vec<SocketId>> {
        web::Json(io.within("lobby").members().await)
    }

    fn routes(config: &mut web::ServiceConfig) {
        config.route("/announce", web::post().to(announce)).route("/lobby", web::get().to(list));
    }

    let lobby =
        Namespace::new("/").on_connect(|socket: Socket| async move { socket.join("lobby") });
    let server = TestServer::start(SocketIo::builder().namespace(lobby));
    let io = web::Data::new(server.io().clone());
    let app = test::init_service(App::new().app_data(io).configure(routes)).await;
    let alice = server.connect("/", ()).await.unwrap();

    let post = test::TestRequest::post().uri("/announce").set_payload("closing time");
    let response = test::call_service(&app, post.to_request()).await;
    assert_eq!(response.status(), 204);
    assert_eq!(alice.next_event().await.data::<String>(), "closing time");

    let get = test::TestRequest::get().uri("/lobby").to_request();
    let ids: Vec<SocketId> = test::call_and_read_body_json(&app, get).await;
    assert_eq!(ids, [alice.id()]);
}

/// What a future says that panics outside of a system.
fn complaint(test: impl Future<Output = ()>) -> String {
    let polled = AssertUnwindSafe(test).catch_unwind().now_or_never();
    let failure = polled.expect("it waits for nothing").expect_err("it has to fail");
    *failure.downcast::<String>().unwrap()
}

#[test]
fn without_a_system_tests_are_told_how_to_have_one() {
    let here = "use #[actix_rt::test]";
    let started = complaint(async { drop(TestServer::start(SocketIo::builder())) });
    assert!(started.contains(here), "{started}");
    let several = complaint(async { drop(TestServer::workers(SocketIo::builder(), 1).await) });
    assert!(several.contains(here) && several.contains(file!()), "{several}");
}

#[test]
fn a_runtime_alone_is_no_system() {
    let runtime = actix_rt::Runtime::new().unwrap();
    let failure = complaint(async {
        runtime.block_on(async { drop(TestServer::start(SocketIo::builder())) });
    });
    assert!(failure.contains("use #[actix_rt::test]"), "{failure}");
}

#[test]
fn a_client_outside_of_the_system_of_its_server_is_told_so() {
    let io = actix_rt::System::new().block_on(async { SocketIo::builder().start() });
    let failure = complaint(async { drop(TestSocket::connect(&io, ()).await) });
    assert!(failure.contains("use #[actix_rt::test]") && failure.contains(file!()), "{failure}");
}

#[actix_rt::test]
async fn a_room_spans_two_servers() {
    let bus = MemoryBus::new();
    let [one, two] =
        ["one", "two"].map(|name| TestServer::start(SocketIo::builder().adapter(bus.node(name))));
    let client = two.connect("/", ()).await.unwrap();
    two.io().sockets().join_confirmed("lobby").await.unwrap();
    one.io().to("lobby").emit("hello", &1).unwrap();
    assert_eq!(client.next_event().await, ("hello".into(), json!([1])));

    bus.isolate("two", true);
    let incomplete = one.io().sockets().try_fetch_sockets().await.unwrap_err();
    assert_eq!(incomplete.missing.count, Some(1));
}

#[actix_rt::test]
async fn a_server_without_websockets_refuses_the_clients_of_tests() {
    let (sender, errors) = std::sync::mpsc::channel();
    let builder = SocketIo::builder()
        .transports([Transport::Polling])
        .allow_request(|_| async { unreachable!("it is refused before anybody is asked") })
        .on_connection_error(move |error: ConnectionError| sender.send(error).unwrap());
    let server = TestServer::start(builder);
    let refused = server.connect("/", ()).await.unwrap_err();
    assert_eq!(refused.message, "Transport unknown");
    let error = errors.try_recv().unwrap();
    assert_eq!((error.code, error.context), (0, json!({ "transport": "websocket" })));
    assert_eq!(server.metrics().requests_refused, 1);
}

#[actix_rt::test]
#[should_panic(expected = "`ping_timeout` is zero")]
async fn options_that_make_no_sense_are_refused() {
    let _ = TestServer::start(SocketIo::builder().ping_timeout(Duration::ZERO));
}

#[test]
#[should_panic(expected = "`transports` is empty")]
fn so_are_those_of_engine_io_alone() {
    use greenroom::engine::{Config, EngineIo, Opened};
    let mut config = Config::default();
    config.transports.clear();
    let _ = EngineIo::new(config, |_| Opened::new(|_| ()));
}

#[test]
fn every_example_of_the_page_is_run_here() {
    let (page, here) = (include_str!("../docs/testing.md"), include_str!("testing.rs"));
    let blocks: Vec<&str> = page.split("```rust").skip(1).collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        let code = block.split_once('\n').unwrap().1.split("```").next().unwrap();
        assert!(here.contains(code.trim()), "not in this file: {code}");
    }
}
