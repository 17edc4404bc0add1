//! `TestSocket` and `TestServer` themselves.

use std::time::{Duration, Instant};

use actix::prelude::*;
use greenroom::{
    prelude::*,
    testing::{Parting, TestRequest, TestServer, TestSocket},
};
use serde_json::json;

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
#[should_panic(expected = "testing.rs:89:")]
async fn what_does_not_come_fails_the_test_and_names_its_line() {
    let server = TestServer::start(SocketIo::builder());
    let alice = server.connect("/", ()).await.unwrap();
    alice.next_event().await;
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
