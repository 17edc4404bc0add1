//! Declared events: what listeners take and answer, and what is sent, is what the contract says.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::time::Duration;

use actix::prelude::*;
use greenroom::{
    Broadcast, NamespaceActor, On, contract,
    prelude::*,
    testing::TestServer,
    typed::{Binary, TypedAckSender},
};
use serde_json::json;

contract! {
    struct Chat;
    client {
        "say" => Say(text: String) -> usize;
        "place" => Place(at: (f64, f64), name: Option<String>) -> (f64, String);
        "alone" => Alone(at: [i32; 2]);
        "many" => Many(first: u8, rest: Args);
        "ready" => Ready() -> bool | ();
        "file" => File(content: Binary) -> Binary;
        "later" => Later(n: u64) -> u64;
        "ask" => Ask() -> bool;
    }
    server {
        "said" => Said(text: String);
        "placed" => Placed(at: (f64, f64));
        "moved" => Moved(x: i32, y: i32);
        "over" => Over();
        "sure?" => Sure(about: (u8, u8)) -> (bool, u8);
    }
}

fn chat() -> Namespace {
    Namespace::new("/")
        .on_typed(Say, |socket: Socket, text: String| async move {
            if text.is_empty() {
                return Err(EventError::new("nothing said"));
            }
            socket.everyone().emit_typed(Said, &text)?;
            Ok(Ack(text.len()))
        })
        .on_typed(Place, |_: Socket, ((x, y), name): ((f64, f64), Option<String>)| async move {
            Ack((x + y, name.unwrap_or_default()))
        })
        .on_typed(Alone, |socket: Socket, [x, y]: [i32; 2]| async move {
            socket.emit_typed(Moved, &(x, y))
        })
        .on_typed(Many, |socket: Socket, (first, rest): (u8, Args)| async move {
            socket.emit("counted", &(first, rest.len()))
        })
        .on_typed(Ready, |_: Socket, (): ()| async move { Ack(true) })
        .on_typed(File, |_: Socket, content: Binary| async move { Ack(content) })
        .on_typed(Later, |_: Socket, n: u64, ack: TypedAckSender<u64>| async move {
            tokio::time::sleep(Duration::from_secs(n)).await;
            assert!(ack.is_wanted());
            ack.send(&n)
        })
        .on_typed(Ask, |socket: Socket, (): ()| async move {
            let (sure, _) = socket.emit_typed_with_ack(Sure, &(1, 2)).await?;
            Ok::<_, AckError>(Ack(sure))
        })
}

#[actix_rt::test]
async fn a_typed_listener_takes_and_answers_what_is_declared() {
    let server = TestServer::start(SocketIo::builder().namespace(chat()));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("say", "hello").await, json!([5]));
    assert_eq!(client.next_event().await, ("said".into(), json!(["hello"])));
    assert_eq!(client.emit_with_ack("ready", ()).await, json!([true]));
    assert_eq!(client.emit_with_ack("later", 3).await, json!([3]));
    client.emit("many", (1, "two", 3.5));
    assert_eq!(client.next_event().await, ("counted".into(), json!([1, 2])));
}

#[actix_rt::test]
async fn a_tuple_that_is_one_parameter_is_one_argument_in_both_directions() {
    let server = TestServer::start(SocketIo::builder().namespace(chat()));
    let client = server.connect("/", ()).await.unwrap();
    let placed = client.emit_with_ack("place", ([1.5, 2.0], "here")).await;
    assert_eq!(placed, json!([[3.5, "here"]]));
    client.emit("alone", (vec![3, 4],));
    assert_eq!(client.next_event().await, ("moved".into(), json!([3, 4])));
    server.io().emit_typed(Placed, &(1.0, 2.0)).unwrap();
    assert_eq!(client.next_event().await, ("placed".into(), json!([[1.0, 2.0]])));
    let asked = client.emit_with_ack("ask", ());
    let question = client.next_event().await;
    assert_eq!(question, ("sure?".into(), json!([[1, 2]])));
    question.answer((vec![json!(true), json!(7)],));
    assert_eq!(asked.await, json!([true]));
}

#[actix_rt::test]
async fn an_option_at_the_end_may_be_missing() {
    let server = TestServer::start(SocketIo::builder().namespace(chat()));
    let client = server.connect("/", ()).await.unwrap();
    let placed = client.emit_with_ack("place", (vec![1.0, 2.0],)).await;
    assert_eq!(placed, json!([[3.0, ""]]));
}

#[actix_rt::test]
async fn what_does_not_fit_or_is_refused_is_answered_with_an_error() {
    let server = TestServer::start(SocketIo::builder().namespace(chat()));
    let client = server.connect("/", ()).await.unwrap();
    let refused = client.emit_with_ack("say", "").await;
    assert_eq!(refused, json!([{ "error": "nothing said" }]));
    for wrong in [json!(1), json!(["hello"]), json!(null)] {
        let answer = client.emit_with_ack("say", wrong).await;
        assert!(format!("{answer:?}").contains("invalid payload: argument 0"), "{answer:?}");
    }
    // Two arguments are no pair.
    let answer = client.emit_with_ack("place", (1.0, 2.0)).await;
    assert!(format!("{answer:?}").contains("invalid payload"), "{answer:?}");
}

#[actix_rt::test]
async fn bytes_are_binary() {
    let server = TestServer::start(SocketIo::builder().namespace(chat()));
    let client = server.connect("/", ()).await.unwrap();
    let answer = client.emit_with_ack("file", Binary::from(&b"\x00\x01"[..])).await;
    assert_eq!(answer.attachments(), [&b"\x00\x01"[..]]);
}

#[actix_rt::test]
async fn every_sender_speaks_declared_events() {
    let server = TestServer::start(SocketIo::builder().namespace(chat()));
    let client = server.connect("/", ()).await.unwrap();
    let io = server.io();
    io.to(client.id()).emit_typed(Moved, &(1, 2)).unwrap();
    let namespace = io.namespace("/").unwrap();
    namespace.do_send(Broadcast::everyone().typed(Over, &()).unwrap());
    let details = io.sockets().fetch_sockets().await;
    details[0].emit_typed(Said, &"aside".to_owned()).unwrap();
    for wanted in [("moved", json!([1, 2])), ("over", json!([])), ("said", json!(["aside"]))] {
        let event = client.next_event().await;
        assert_eq!(event, (wanted.0.into(), wanted.1));
    }
}

#[test]
fn a_namespace_tells_what_nobody_listens_to() {
    assert!(chat().unheard::<Chat>().is_empty());
    let part = Namespace::new("/").on_typed(Ready, |_: Socket, (): ()| async move { Ack(true) });
    let missing = part.unheard::<Chat>();
    assert_eq!(missing, ["say", "place", "alone", "many", "file", "later", "ask"]);
}

struct Ear;

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<FromSocket<String, Ack<usize>>> for Ear {
    type Result = Result<Ack<usize>, EventError>;

    fn handle(
        &mut self,
        say: FromSocket<String, Ack<usize>>,
        _: &mut Self::Context,
    ) -> Self::Result {
        Ok(Ack(say.data.len()))
    }
}

impl Handler<FromSocket<[i32; 2]>> for Ear {
    type Result = Result<(), EventError>;

    fn handle(&mut self, alone: FromSocket<[i32; 2]>, _: &mut Self::Context) -> Self::Result {
        let [x, y] = alone.data;
        Ok(alone.socket.emit_typed(Moved, &(x, y))?)
    }
}

impl NamespaceActor for Ear {
    fn listeners(on: &mut On<Self>) {
        on.typed(Say);
        on.typed(Alone);
    }
}

#[actix_rt::test]
async fn an_actor_listens_to_declared_events() {
    let ear = Ear.start();
    let by_recipient = Namespace::new("/other")
        .on_typed(Say, ear.clone().recipient::<FromSocket<String, Ack<usize>>>());
    let server = TestServer::start(
        SocketIo::builder().namespace(Namespace::from_actor("/", ear)).namespace(by_recipient),
    );
    for namespace in ["/", "/other"] {
        let client = server.connect(namespace, ()).await.unwrap();
        assert_eq!(client.emit_with_ack("say", "four").await, json!([4]));
    }
    let client = server.connect("/", ()).await.unwrap();
    client.emit("alone", (vec![5, 6],));
    assert_eq!(client.next_event().await, ("moved".into(), json!([5, 6])));
}

#[actix_rt::test]
async fn a_socket_listens_to_declared_events_by_itself() {
    let namespace = Namespace::new("/").on_connect(|socket: Socket| async move {
        socket.on_typed(Say, |_: Socket, text: String| async move { Ack(text.len()) });
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("say", "abc").await, json!([3]));
}
