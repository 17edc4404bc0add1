//! Answers: of listeners to clients, of clients to the server, of many to a broadcast.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use greenroom::{NoAnswer, prelude::*, testing::TestServer};
use serde_json::{Value, json};
use support::{Log, handle};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("the database said something private")]
struct Private;

fn answering() -> Namespace {
    Namespace::new("/")
        .on("one", |_: Socket, n: u64| async move { Ack(n) })
        .on("several", |_: Socket, (a, b): (String, String)| async move { Ack((b, a)) })
        .on("none", |_: Socket, (): ()| async move { Ack(()) })
        .on("unit", |_: Socket, (): ()| async move {})
        .on("option", |_: Socket, some: bool| async move { some.then_some(Ack(1)) })
        .on("public", |_: Socket, (): ()| async move {
            Err::<(), _>(EventError::new("too late").data(&json!({ "by": 2 })))
        })
        .on("private", |_: Socket, (): ()| async move { Err::<(), _>(Private) })
        .on("binary", |_: Socket, data: Bytes| async move {
            Ack((data.slice(1..), "between", data.slice(..1)))
        })
}

#[actix_rt::test]
async fn what_a_listener_returns_is_the_ack() {
    let server = TestServer::start(SocketIo::builder().namespace(answering()));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("one", 7).await, json!([7]));
    assert_eq!(client.emit_with_ack("several", ("a", "b")).await, json!(["b", "a"]));
    assert_eq!(client.emit_with_ack("none", ()).await, json!([]));
    assert_eq!(client.emit_with_ack("option", true).await, json!([1]));
}

#[actix_rt::test]
async fn a_listener_that_returns_nothing_never_acks() {
    let server = TestServer::start(SocketIo::builder().namespace(answering()));
    let client = server.connect("/", ()).await.unwrap();
    drop(client.emit_with_ack("unit", ()));
    drop(client.emit_with_ack("option", false));
    drop(client.emit_with_ack("nobody listens", ()));
    client.expect_silence().await;
    assert_eq!(server.metrics().events_unhandled, 1);
}

#[actix_rt::test]
async fn nothing_is_sent_to_a_client_that_did_not_ask() {
    let server = TestServer::start(SocketIo::builder().namespace(answering()));
    let client = server.connect("/", ()).await.unwrap();
    for (event, data) in [("one", json!(1)), ("public", json!(null)), ("one", json!("no number"))] {
        client.emit(event, data);
    }
    client.expect_silence().await;
    assert_eq!(client.connection().transcript().len(), 1);
    assert_eq!(server.metrics().events_failed, 2);
}

#[actix_rt::test]
async fn an_error_is_answered_with_its_message_and_data_and_keeps_its_source_private() {
    let log = Log::default();
    let notes = log.clone();
    let namespace =
        answering().on_error(move |_, event, error| notes.note(format!("{event}: {error}")));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let public = client.emit_with_ack("public", ()).await;
    assert_eq!(public, json!([{ "error": "too late", "data": { "by": 2 } }]));
    let private = client.emit_with_ack("private", ()).await;
    assert_eq!(private, json!([{ "error": "internal error" }]));
    let reported = log.take();
    assert_eq!(reported[0], "public: too late");
    assert_eq!(reported[1], "private: internal error: the database said something private");
}

#[actix_rt::test]
async fn data_of_another_type_is_answered_with_an_error() {
    let server = TestServer::start(SocketIo::builder().namespace(answering()));
    let client = server.connect("/", ()).await.unwrap();
    let error = |args: greenroom::Args| args.get::<Value>(0).unwrap()["error"].to_string();
    let wrong = error(client.emit_with_ack("one", "seven").await);
    assert!(wrong.starts_with("\"invalid payload: argument 0: invalid type"), "{wrong}");
    let missing = error(client.emit_with_ack("several", ("a",)).await);
    assert_eq!(missing, "\"invalid payload: argument 1 is missing\"");
}

#[actix_rt::test]
async fn binary_travels_in_events_and_acks_in_its_place() {
    let server = TestServer::start(SocketIo::builder().namespace(answering()));
    let client = server.connect("/", ()).await.unwrap();
    let answer = client.emit_with_ack("binary", Bytes::from_static(&[1, 2, 3])).await;
    let (tail, between, head): (Bytes, String, Bytes) = answer.parse().unwrap();
    assert_eq!((&*tail, &*between, &*head), (&[2, 3][..], "between", &[1][..]));
}

#[actix_rt::test]
async fn an_ack_sender_answers_once_and_whenever_it_likes() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let namespace = Namespace::new("/").on("later", move |_: Socket, n: u64, ack: AckSender| {
        let mut gate = gate.clone();
        async move {
            assert!(ack.is_wanted());
            let _ = gate.wait_for(|open| *open).await;
            ack.send(&("later", n)).unwrap();
            assert!(!ack.is_wanted());
            ack.send(&"again").unwrap();
            Ack("returned")
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let answers = [client.emit_with_ack("later", 1), client.emit_with_ack("later", 2)];
    client.expect_silence().await;
    open.send(true).unwrap();
    for (n, answer) in (1..).zip(answers) {
        assert_eq!(answer.await, json!(["later", n]));
    }
    client.expect_silence().await;
}

#[actix_rt::test]
async fn of_several_listeners_the_first_answer_counts() {
    let namespace = Namespace::new("/")
        .on("ask", |_: Socket, (): ()| async move {})
        .on("ask", |_: Socket, (): ()| async move { Ack("second") })
        .on("ask", |_: Socket, (): ()| async move { Ack("third") });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("ask", ()).await, json!(["second"]));
    client.expect_silence().await;
}

#[actix_rt::test]
async fn an_ack_carries_the_very_id_of_its_event() {
    let server = TestServer::start(SocketIo::builder().namespace(answering()));
    let connection = server.open().await.unwrap();
    connection.join("/", ()).await.unwrap();
    for id in ["0", "9007199254740993", "18446744073709551615"] {
        connection.send_raw(&format!("2{id}[\"one\",1]"));
    }
    server.settle().await;
    let acks = connection.transcript()[1..].to_vec();
    assert_eq!(acks, ["30[1]", "39007199254740993[1]", "318446744073709551615[1]"]);
}

// ---- the server asks -------------------------------------------------------------------------

#[actix_rt::test]
async fn a_client_is_asked_and_its_answer_is_typed() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let answer = socket.emit_with_ack::<(String, u64)>("who", &("are", "you"));
    let question = client.next_event().await;
    assert_eq!(question, ("who".into(), json!(["are", "you"])));
    question.answer(("alice", 7));
    assert_eq!(answer.await.unwrap(), ("alice".to_owned(), 7));
    let answer = socket.emit_with_ack::<u64>("number", &());
    client.next_event().await.answer("none");
    assert!(matches!(answer.await, Err(AckError::Args(_))));
}

#[actix_rt::test]
async fn an_answer_may_be_binary() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let answer = socket.emit_with_ack::<Bytes>("file", &Bytes::from_static(b"name"));
    let question = client.next_event().await;
    assert_eq!(question.data::<Bytes>(), "name");
    question.answer(Bytes::from_static(b"content"));
    assert_eq!(answer.await.unwrap(), "content");
}

#[actix_rt::test]
async fn the_ids_of_questions_start_at_zero_and_count_through_a_whole_namespace() {
    let server = TestServer::start(SocketIo::builder().namespace(Namespace::new("/other")));
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let other = a.join("/other", ()).await.unwrap();
    let [a_socket, b_socket] = [handle(&server, &a).await, handle(&server, &b).await];
    let other_socket = handle(&server, &other).await;
    drop(a_socket.emit_with_ack::<u64>("q", &()));
    drop(b_socket.emit_with_ack::<u64>("q", &()));
    drop(other_socket.emit_with_ack::<u64>("q", &()));
    // All who are asked together are asked with one id.
    drop(server.io().sockets().emit_with_ack("all", &()).unwrap());
    server.settle().await;
    drop(other_socket.emit_with_ack::<u64>("q", &()));
    drop(a_socket.emit_with_ack::<u64>("q", &()));
    server.settle().await;
    let expected =
        [r#"20["q"]"#, r#"2/other,0["q"]"#, r#"22["all"]"#, r#"2/other,1["q"]"#, r#"23["q"]"#];
    assert_eq!(a.connection().transcript()[2..], expected);
    assert_eq!(b.connection().transcript()[1..], [r#"21["q"]"#, r#"22["all"]"#]);
}

#[actix_rt::test]
async fn an_answer_that_comes_too_late_is_ignored() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let before = tokio::time::Instant::now();
    let answer = socket.timeout(SECOND).emit_with_ack::<u64>("ask", &());
    assert!(matches!(answer.await, Err(AckError::Timeout)));
    assert_eq!(before.elapsed().as_secs(), 1);
    client.next_event().await.answer(1);
    let answer = socket.timeout(SECOND).emit_with_ack::<u64>("ask", &());
    client.next_event().await.answer(2);
    assert_eq!(answer.await.unwrap(), 2);
}

#[actix_rt::test]
async fn pending_answers_fail_when_the_client_leaves() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let answer = socket.emit_with_ack::<u64>("ask", &());
    client.next_event().await;
    client.leave();
    assert!(matches!(answer.await, Err(AckError::Disconnected)));
    let answer = socket.emit_with_ack::<u64>("ask", &());
    assert!(matches!(answer.await, Err(AckError::Emit(EmitError::Disconnected))));
    assert!(matches!(socket.emit("tell", &()), Err(EmitError::Disconnected)));
}

#[actix_rt::test]
async fn a_listener_may_wait_for_its_own_client() {
    let namespace = Namespace::new("/").on("begin", |socket: Socket, (): ()| async move {
        let answer: u64 = socket.emit_with_ack("number", &()).await?;
        Ok::<_, EventError>(Ack(answer * 2))
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let ack = client.emit_with_ack("begin", ());
    client.next_event().await.answer(21);
    assert_eq!(ack.await, json!([42]));
}

#[actix_rt::test]
async fn an_event_that_cannot_be_sent_is_an_error_where_it_is_emitted() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener"] {
        assert!(matches!(socket.emit(name, &()), Err(EmitError::Encode(_))), "{name}");
        assert!(matches!(server.io().emit(name, &()), Err(EmitError::Encode(_))), "{name}");
    }
    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(socket.emit("map", &no_json), Err(EmitError::Encode(_))));
    socket.emit("error", &"is not reserved").unwrap();
    assert_eq!(client.next_event().await, ("error".into(), json!(["is not reserved"])));
}

// ---- many are asked --------------------------------------------------------------------------

#[actix_rt::test]
async fn answers_to_a_broadcast_come_one_by_one_or_all_together() {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", 3).await;
    let mut answers = server.io().sockets().emit_with_ack("ask", &()).unwrap();
    for (n, client) in clients.iter().enumerate() {
        client.next_event().await.answer(n);
        let answered = answers.next().await.unwrap();
        assert_eq!(
            (answered.socket, answered.answer),
            (Some(client.id()), greenroom::Args::of(&n).unwrap())
        );
        assert_eq!(answers.receivers(), Some(3));
    }
    assert!(answers.next().await.is_none());
}

#[actix_rt::test]
async fn a_broadcast_that_is_not_answered_by_all_gives_what_came_when_the_time_is_up() {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", 3).await;
    let before = tokio::time::Instant::now();
    let answers = server.io().sockets().timeout(SECOND).emit_with_ack("ask", &()).unwrap();
    clients[1].next_event().await.answer("here");
    let NoAnswer { answers, missing, .. } = answers.all().await.unwrap_err();
    assert_eq!(before.elapsed().as_secs(), 1);
    assert_eq!(missing, Some(2));
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].answer, json!(["here"]));
}

#[actix_rt::test]
async fn a_broadcast_does_not_wait_for_those_who_have_left() {
    let server = TestServer::start(SocketIo::builder());
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let before = tokio::time::Instant::now();
    let answers = server.io().sockets().emit_with_ack("ask", &()).unwrap();
    a.next_event().await.answer(1);
    b.next_event().await;
    b.drop_connection();
    let error = answers.all().await.unwrap_err();
    assert_eq!((error.answers.len(), error.missing), (1, Some(1)));
    assert_eq!(before.elapsed().as_secs(), 0);
}

#[actix_rt::test]
async fn a_socket_asks_everybody_else() {
    let namespace = Namespace::new("/").on("vote", |socket: Socket, (): ()| async move {
        let answers = socket.broadcast().emit_with_ack("ballot", &())?.all().await?;
        let yes = answers.iter().filter(|a| a.answer == json!(["yes"])).count();
        Ok::<_, EventError>(Ack(yes))
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [chair, b, c]: [_; 3] = server.many("/", 3).await.try_into().unwrap();
    let result = chair.emit_with_ack("vote", ());
    b.next_event().await.answer("yes");
    c.next_event().await.answer("no");
    assert_eq!(result.await, json!([1]));
}

#[actix_rt::test]
async fn threads_without_a_runtime_may_ask_too() {
    let server = TestServer::workers(SocketIo::builder(), 1).await;
    let client = server.connect("/", ()).await.unwrap();
    let socket = support::handle(&server, &client).await;
    let asking = std::thread::spawn(move || {
        socket.timeout(std::time::Duration::from_secs(5)).emit_with_ack::<u32>("n", &1)
    });
    let answer = asking.join().unwrap();
    client.next_event().await.answer(2);
    assert_eq!(answer.await.unwrap(), 2);
}
