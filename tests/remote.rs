//! Sockets seen from afar: snapshots, and handles that work by id.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all};
use greenroom::{
    RemoteSocket, SocketDetails,
    prelude::*,
    testing::{TestRequest, TestServer},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{Log, handle, hears};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct User {
    name: String,
    visits: u32,
}

/// Clients join the rooms that their auth names, and have its data.
fn namespace() -> Namespace {
    Namespace::new("/").on_connect(|socket: Socket| async move {
        let auth = socket.handshake().auth.clone();
        socket.join(serde_json::from_value::<Vec<Room>>(auth["rooms"].clone()).unwrap_or_default());
        socket.set_data(&User { name: auth["name"].to_string(), visits: 1 })
    })
}

async fn fetched(operator: greenroom::BroadcastOperator) -> Vec<RemoteSocket> {
    let mut sockets = operator.fetch_sockets().await;
    sockets.sort_by_key(|socket| socket.handshake().auth["name"].as_u64());
    sockets
}

#[actix_rt::test]
async fn the_selected_sockets_are_found_with_what_is_known_of_them() {
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let mut clients = Vec::new();
    for (name, rooms) in [(0, vec!["a", "b"]), (1, vec!["b"]), (2, vec![])] {
        let auth = json!({ "name": name, "rooms": rooms });
        clients.push(server.connect("/", auth).await.unwrap());
    }
    let io = server.io();
    let all = fetched(io.sockets()).await;
    assert_eq!(
        all.iter().map(RemoteSocket::id).cloned().collect::<Vec<_>>(),
        [0, 1, 2].map(|n| clients[n].id())
    );
    assert_eq!(all[0].rooms(), [Room::from(clients[0].id()), "a".into(), "b".into()]);
    assert_eq!(all[1].data().read::<User>().unwrap(), User { name: "1".into(), visits: 1 });
    assert_eq!(all[2].handshake().auth, json!({ "name": 2, "rooms": [] }));
    assert_eq!(all[2].namespace(), "/");

    let names = async |operator| {
        let found = fetched(operator).await;
        found.iter().map(|socket| socket.handshake().auth["name"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(names(io.to("b")).await, [0, 1]);
    assert_eq!(names(io.to(["a", "b"]).except("a")).await, [1]);
    assert_eq!(names(io.to("nobody")).await, [] as [Value; 0]);
    let first = handle(&server, &clients[0]).await;
    assert_eq!(names(first.broadcast()).await, [1, 2]);
    assert_eq!(names(first.to("b")).await, [1]);
    assert_eq!(io.fetch_sockets().await.len(), 3);
}

#[actix_rt::test]
async fn no_socket_is_found_before_its_middlewares_have_let_it_in_or_after_it_has_left() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let namespace = Namespace::new("/").before_connect(move |socket: Socket| {
        let mut gate = gate.clone();
        async move {
            socket.join("room");
            let waits = socket.handshake().auth["waits"] == true;
            let _ = gate.wait_for(|open| *open || !waits).await;
            Ok::<_, ConnectError>(())
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let waiting = server.open().await.unwrap();
    waiting.send_raw(r#"0{"waits":true}"#);
    server.settle().await;
    let count = async || server.io().to("room").fetch_sockets().await.len();
    assert_eq!(count().await, 1);
    open.send(true).unwrap();
    server.settle().await;
    assert_eq!(count().await, 2);
    client.leave();
    server.settle().await;
    assert_eq!(count().await, 1);
}

#[actix_rt::test]
async fn what_is_found_is_a_snapshot() {
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let client = server.connect("/", json!({ "name": 0 })).await.unwrap();
    let socket = handle(&server, &client).await;
    let before = server.io().fetch_sockets().await.remove(0);
    socket.join("late");
    socket.update_data(|user: &mut User| user.visits += 1).unwrap();
    let after = server.io().fetch_sockets().await.remove(0);
    assert_eq!((before.rooms().len(), after.rooms().len()), (1, 2));
    let visits = |socket: &RemoteSocket| socket.data().get::<u32>("visits").unwrap();
    assert_eq!((visits(&before), visits(&after)), (1, 2));
}

#[actix_rt::test]
async fn a_remote_handle_does_what_a_socket_does_by_id() {
    let log = Log::default();
    let left = log.clone();
    let namespace = namespace()
        .on_disconnect(move |_: Socket, reason: DisconnectReason| left.noted(reason.as_str()));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", json!({ "rooms": ["a"] })).await.unwrap();
    let other = server.connect("/", json!({ "rooms": ["a"] })).await.unwrap();
    let found = server.io().to(client.id()).fetch_sockets().await;
    let [remote] = found.try_into().unwrap();

    remote.emit("hello", &(1, "x")).unwrap();
    assert_eq!(client.next_event().await, ("hello".into(), json!([1, "x"])));
    assert_eq!(
        remote.emit("connect", &()).unwrap_err().to_string(),
        "\"connect\" is a reserved event name"
    );

    remote.join(["b", "c"]);
    remote.leave("a");
    let socket = handle(&server, &client).await;
    assert_eq!(socket.rooms().await, [Room::from(client.id()), "b".into(), "c".into()]);
    server.io().to("a").emit("to a", &()).unwrap();
    hears(&other, "to a").await;
    client.expect_silence().await;

    assert!(remote.disconnect(false).await);
    assert_eq!(log.take(), ["server namespace disconnect"]);
    assert!(!remote.disconnect(false).await, "it is gone");
    remote.emit("nobody", &()).unwrap();
    other.expect_silence().await;
}

#[actix_rt::test]
async fn an_answer_through_a_remote_handle_is_one_value() {
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let [client, gone] = server.many("/", 2).await.try_into().unwrap();
    let find = async |id: SocketId| server.io().to(id).fetch_sockets().await.remove(0);
    let (remote, left) = (find(client.id()).await, find(gone.id()).await);

    let asked = remote.emit_with_ack::<String>("name?", &());
    client.next_event().await.answer(("ann", "and more"));
    assert_eq!(asked.await.unwrap(), "ann");
    let asked = remote.emit_with_ack::<Option<u32>>("nothing?", &());
    client.next_event().await.answer(());
    assert_eq!(asked.await.unwrap(), None);
    let asked = remote.emit_with_ack::<Args>("all?", &());
    client.next_event().await.answer((1, 2));
    assert_eq!(asked.await.unwrap(), json!([1]));
    let asked = remote.emit_with_ack::<u32>("number?", &());
    client.next_event().await.answer("seven");
    assert!(matches!(asked.await, Err(AckError::Args(_))));

    let late = remote.timeout(SECOND).emit_with_ack::<u32>("late?", &());
    let event = client.next_event().await;
    assert_eq!(late.await.unwrap_err().to_string(), "operation has timed out");
    event.answer(1);

    gone.disconnect().await;
    let asked = left.emit_with_ack::<u32>("there?", &());
    assert!(matches!(asked.await, Err(AckError::Disconnected)));
    let asked = remote.emit_with_ack::<u32>("connect", &());
    assert!(matches!(asked.await, Err(AckError::Emit(EmitError::Encode(_)))));
}

#[actix_rt::test]
async fn what_a_listener_does_by_a_remote_handle_is_in_order_with_the_rest() {
    let namespace = Namespace::new("/").on("go", |socket: Socket, (): ()| async move {
        let found = socket.everyone().to(socket.id()).fetch_sockets().await;
        socket.emit("n", &1)?;
        found[0].emit("n", &2)?;
        socket.emit("n", &3)?;
        socket.everyone().emit("n", &4)?;
        found[0].emit("n", &5)?;
        Ok::<_, EmitError>(Ack(6))
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    for _ in 0..10 {
        assert_eq!(client.emit_with_ack("go", ()).await, json!([6]));
        for n in 1..6 {
            assert_eq!(client.next_event().await, ("n".into(), json!([n])));
        }
    }
}

#[actix_rt::test]
async fn a_remote_socket_serializes_in_the_form_of_the_reference() {
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let request = TestRequest::new()
        .query("a", "1")
        .header("Cookie", "x=y")
        .header("x-twice", "1")
        .header("X-Twice", "2");
    let connection = server.open_as(request).await.unwrap();
    let client = connection.join("/", json!({ "name": 7, "rooms": ["r"] })).await.unwrap();
    let remote = server.io().fetch_sockets().await.remove(0);
    let form = serde_json::to_value(&remote).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&form), ["id", "handshake", "rooms", "data"]);
    let handshake = &form["handshake"];
    assert_eq!(
        keys(handshake),
        ["headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"]
    );
    assert_eq!(form["rooms"], json!([client.id(), "r"]));
    assert_eq!(form["data"], json!({ "name": "7", "visits": 1 }));
    assert_eq!(handshake["auth"], json!({ "name": 7, "rooms": ["r"] }));
    assert_eq!(handshake["query"]["a"], "1");
    assert_eq!(
        (&handshake["headers"]["cookie"], &handshake["headers"]["x-twice"]),
        (&json!("x=y"), &json!("1, 2"))
    );
    let time = handshake["time"].as_str().unwrap();
    assert!(time.ends_with(" GMT+0000 (Coordinated Universal Time)") && time.len() == 62, "{time}");

    let back: SocketDetails = serde_json::from_value(form.clone()).unwrap();
    assert_eq!(serde_json::to_value(&back).unwrap(), form);
    assert!(!format!("{back:?}").contains("x=y"), "logs do not show what clients sent to get in");
}

#[actix_rt::test]
async fn ten_thousand_sockets_are_fetched_while_others_work() {
    const SOCKETS: usize = 10_000;
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let clients = join_all((0..SOCKETS).map(|n| server.connect("/", json!({ "name": n })))).await;
    let (io, other) = (server.io().clone(), clients[0].as_ref().unwrap());
    let began = Instant::now();
    let fetching = actix_rt::spawn(async move { io.fetch_sockets().await });
    // The answer is made in portions: this thread sees to others meanwhile.
    let mut turns = 0;
    while !fetching.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > SOCKETS / 512, "{turns} turns in {:?}", began.elapsed());
    assert_eq!(fetching.await.unwrap().len(), SOCKETS);
    assert!(other.is_connected());
}

// ---- data --------------------------------------------------------------------------------------

#[actix_rt::test]
async fn data_has_the_type_of_the_application_and_several_types_share_it() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Seat {
        row: u8,
    }
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let client = server.connect("/", json!({ "name": 1 })).await.unwrap();
    let socket = handle(&server, &client).await;
    assert!(socket.data_as::<Seat>().is_err(), "there is none yet");
    socket.set_data(&Seat { row: 3 }).unwrap();
    assert_eq!(socket.data_as::<Seat>().unwrap(), Seat { row: 3 });
    assert_eq!(socket.data_as::<User>().unwrap(), User { name: "1".into(), visits: 1 });
    let visits = socket.update_data(|user: &mut User| {
        user.visits += 1;
        user.visits
    });
    assert_eq!(visits.unwrap(), 2);
    assert_eq!(socket.data(|data| data.to_json()), json!({ "name": "1", "visits": 2, "row": 3 }));
    let map: BTreeMap<String, Value> = socket.data_as().unwrap();
    assert_eq!(map.len(), 3);
    assert!(socket.set_data(&7).is_err() && socket.set_data(&[1]).is_err());
}

// ---- answers to a broadcast --------------------------------------------------------------------

#[actix_rt::test]
async fn the_answers_to_a_broadcast_are_a_stream_that_says_who_answered() {
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let clients = server.many("/", 3).await;
    let asked = server.io().sockets().timeout(SECOND).emit_with_ack("n?", &()).unwrap();
    let mut events = Vec::new();
    for client in &clients {
        events.push(client.next_event().await);
    }
    for n in [2, 0] {
        events[n].answer(n);
    }
    let answered: Vec<_> = asked
        .map(|answered| (answered.socket.unwrap(), answered.answer.get::<usize>(0).unwrap()))
        .collect()
        .await;
    assert_eq!(answered, [(clients[2].id(), 2), (clients[0].id(), 0)]);

    let none = server.io().to("nobody").emit_with_ack("n?", &()).unwrap();
    assert_eq!(none.count().await, 0);
}

// ---- listeners ---------------------------------------------------------------------------------

#[actix_rt::test]
async fn a_socket_knows_its_listeners() {
    let log = Log::default();
    let noting = |name: &'static str| {
        let log = log.clone();
        move |_: Socket, (): ()| {
            log.note(name);
            std::future::ready(Ack(name))
        }
    };
    let namespace = Namespace::new("/").on("shared", noting("namespace"));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let b = socket.on("own", noting("b"));
    let a = socket.prepend("own", noting("a"));
    let once = socket.prepend_once("own", noting("once"));
    socket.prepend("shared", noting("own"));
    assert_eq!(socket.listeners("own"), [once, a, b]);
    assert_eq!(socket.event_names(), ["own", "shared"]);
    assert!(socket.has_listeners("shared") && socket.has_listeners("own"));
    assert!(!socket.has_listeners("none"));
    assert_eq!(client.emit_with_ack("own", ()).await, json!(["once"]));
    assert_eq!(client.emit_with_ack("own", ()).await, json!(["a"]));
    assert_eq!(client.emit_with_ack("shared", ()).await, json!(["namespace"]));
    assert_eq!(log.take(), ["once", "a", "b", "a", "b", "namespace", "own"]);
    assert!(socket.off(a) && socket.off_all("own") == 1);
    assert_eq!(socket.listeners("own"), []);
}

#[actix_rt::test]
async fn a_room_is_closed_by_letting_everybody_leave_it() {
    let server = TestServer::start(SocketIo::builder().namespace(namespace()));
    let client = server.connect("/", json!({ "rooms": ["a", "b"] })).await.unwrap();
    server.connect("/", json!({ "rooms": ["a"] })).await.unwrap();
    server.io().to("a").leave("a");
    assert!(server.io().to("a").members().await.is_empty());
    assert_eq!(server.io().to("b").members().await, [client.id()]);
}
