//! Who hears what: selections of rooms, and what joining and leaving does.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use actix::prelude::*;
use greenroom::{
    CountSockets, Disconnect, FindSocket, Join, Leave, MembersOf, RoomSizes, RoomsOf, Sockets,
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use serde_json::json;
use support::{handle, hears, observe_rooms};

fn plain() -> Namespace {
    Namespace::new("/")
        .on("join", |socket: Socket, rooms: Vec<String>| async move { socket.join(rooms) })
        .on("leave", |socket: Socket, room: String| async move { socket.leave(room) })
}

/// A server with clients that are in these rooms.
async fn with_rooms<const N: usize>(rooms: [&[&str]; N]) -> (TestServer, [TestSocket; N]) {
    let server = TestServer::start(SocketIo::builder().namespace(plain()));
    let clients: [TestSocket; N] = server.many("/", N).await.try_into().unwrap();
    for (client, rooms) in clients.iter().zip(rooms) {
        client.emit("join", rooms);
    }
    server.settle().await;
    (server, clients)
}

#[actix_rt::test]
async fn several_rooms_are_a_union_and_each_member_hears_once() {
    let (server, [a, b, both, none]) = with_rooms([&["a"], &["b"], &["a", "b"], &[]]).await;
    server.io().to("a").to("b").emit("chained", &()).unwrap();
    server.io().to(["a", "b"]).emit("listed", &()).unwrap();
    for client in [&a, &b, &both] {
        assert_eq!(client.next_event().await, ("chained".into(), json!([])));
        assert_eq!(client.next_event().await, ("listed".into(), json!([])));
        client.expect_silence().await;
    }
    none.expect_silence().await;
}

#[actix_rt::test]
async fn an_empty_list_of_rooms_is_everybody() {
    let (server, [a, none]) = with_rooms([&["a"], &[]]).await;
    server.io().to(Vec::<String>::new()).emit("all", &()).unwrap();
    hears(&a, "all").await;
    hears(&none, "all").await;
}

#[actix_rt::test]
async fn an_exception_wins_over_a_selection() {
    let (server, [a, muted, also]) = with_rooms([&["a"], &["a", "muted"], &["a"]]).await;
    server.io().to("a").except("muted").emit("room", &()).unwrap();
    hears(&a, "room").await;
    muted.expect_silence().await;
    hears(&also, "room").await;
    server.io().except([a.id(), also.id()]).emit("id", &()).unwrap();
    hears(&muted, "id").await;
    a.expect_silence().await;
    also.expect_silence().await;
    server.io().except(["muted", "unknown"]).emit("two", &()).unwrap();
    hears(&a, "two").await;
    muted.expect_silence().await;
}

#[actix_rt::test]
async fn an_operator_can_be_kept_and_used_again() {
    let (server, [a, b]) = with_rooms([&["a"], &["b"]]).await;
    let to_a = server.io().to("a");
    let to_both = to_a.clone().to("b");
    to_a.emit("one", &()).unwrap();
    to_both.emit("two", &()).unwrap();
    to_a.emit("three", &()).unwrap();
    for event in ["one", "two", "three"] {
        assert_eq!(a.next_event().await.name, event);
    }
    hears(&b, "two").await;
}

#[actix_rt::test]
async fn a_broadcast_with_acks_collects_the_answers_of_the_room_alone() {
    let (server, [a, b, _none]) = with_rooms([&["a"], &["a"], &[]]).await;
    let answers = server.io().to("a").emit_with_ack("ask", &1).unwrap();
    a.next_event().await.answer("from a");
    b.next_event().await.answer("from b");
    let mut answers = answers.all().await.unwrap();
    answers.sort_by_key(|answer| answer.answer.to_json().to_string());
    assert_eq!(answers[0].socket, Some(a.id()));
    assert_eq!(answers[0].answer, json!(["from a"]));
    assert_eq!(answers[1].answer, json!(["from b"]));
}

#[actix_rt::test]
async fn a_broadcast_with_acks_to_nobody_is_answered_at_once() {
    let (server, [_a]) = with_rooms([&["a"]]).await;
    let before = tokio::time::Instant::now();
    let answers = server.io().to("empty").emit_with_ack("ask", &()).unwrap();
    assert_eq!(answers.all().await.unwrap(), []);
    let (answers, excepted) = (server.io().to("a").except("a"), "ask");
    assert_eq!(answers.emit_with_ack(excepted, &()).unwrap().all().await.unwrap(), []);
    assert_eq!(before.elapsed().as_secs(), 0);
}

#[actix_rt::test]
async fn sockets_are_made_to_join_and_leave_by_selection() {
    let (server, [a, b]) = with_rooms([&["a"], &[]]).await;
    server.io().to("a").join(["x", "y"]);
    server.io().to("x").emit("x", &()).unwrap();
    hears(&a, "x").await;
    server.io().sockets().leave("y");
    server.io().sockets().join("z");
    server.io().to("y").emit("y", &()).unwrap();
    server.io().to("z").emit("z", &()).unwrap();
    hears(&a, "z").await;
    hears(&b, "z").await;
}

#[actix_rt::test]
async fn sockets_are_disconnected_by_selection() {
    let (server, [a, b]) = with_rooms([&["a"], &[]]).await;
    assert_eq!(server.io().to("a").disconnect(false).await, 1);
    assert_eq!(a.disconnected().await, Parting::ByServer);
    assert!(!a.connection().is_closed());
    assert!(b.is_connected());
    assert_eq!(server.io().members().await, [b.id()]);
    assert_eq!(server.io().sockets().disconnect(true).await, 1);
    assert_eq!(b.disconnected().await, Parting::ByServer);
    assert_eq!(b.connection().closed().await, Parting::Closed(1000));
}

#[actix_rt::test]
async fn a_private_message_goes_to_the_room_of_an_id() {
    let (server, [a, b]) = with_rooms([&[], &[]]).await;
    server.io().to(a.id()).emit("private", &"psst").unwrap();
    assert_eq!(a.next_event().await, ("private".into(), json!(["psst"])));
    handle(&server, &a).await.to(b.id()).emit("hello", &()).unwrap();
    hears(&b, "hello").await;
    a.expect_silence().await;
}

#[actix_rt::test]
async fn a_socket_does_not_hear_its_own_broadcasts() {
    let (server, [a, b, c]) = with_rooms([&["r"], &["r"], &[]]).await;
    let socket = handle(&server, &a).await;
    socket.to("r").emit("to", &()).unwrap();
    socket.within("r").emit("within", &()).unwrap();
    socket.broadcast().emit("broadcast", &()).unwrap();
    socket.except("r").emit("except", &()).unwrap();
    for event in ["to", "within", "broadcast"] {
        assert_eq!(b.next_event().await.name, event);
    }
    b.expect_silence().await;
    for event in ["broadcast", "except"] {
        assert_eq!(c.next_event().await.name, event);
    }
    a.expect_silence().await;
    // Even when it is meant by name.
    socket.to(a.id()).emit("self", &()).unwrap();
    a.expect_silence().await;
}

#[actix_rt::test]
async fn a_socket_that_left_its_own_room_hears_itself() {
    let (server, [a]) = with_rooms([&["r"]]).await;
    let socket = handle(&server, &a).await;
    socket.leave(a.id());
    socket.to("r").emit("echo", &()).unwrap();
    hears(&a, "echo").await;
    socket.join(a.id());
    socket.to("r").emit("echo", &()).unwrap();
    a.expect_silence().await;
}

#[actix_rt::test]
async fn leaving_the_own_room_ends_private_messages_and_nothing_else() {
    let (server, [a]) = with_rooms([&["r"]]).await;
    let socket = handle(&server, &a).await;
    socket.leave(a.id());
    server.io().to(a.id()).emit("private", &()).unwrap();
    a.expect_silence().await;
    server.io().emit("all", &()).unwrap();
    hears(&a, "all").await;
    assert_eq!(socket.rooms().await, ["r"].map(Room::from));
}

#[actix_rt::test]
async fn another_socket_may_join_the_room_of_an_id() {
    let (server, [a, b]) = with_rooms([&[], &[]]).await;
    let room = a.id();
    handle(&server, &b).await.join(&room);
    server.io().to(&room).emit("both", &()).unwrap();
    hears(&a, "both").await;
    hears(&b, "both").await;
    a.disconnect().await;
    server.io().to(&room).emit("one", &()).unwrap();
    hears(&b, "one").await;
}

#[actix_rt::test]
async fn room_events_come_in_the_order_create_join_leave_delete() {
    let server = TestServer::start(SocketIo::builder().namespace(plain()));
    let log = observe_rooms(&server, "/").await;
    let a = server.connect("/", ()).await.unwrap();
    let id = a.id();
    server.settle().await;
    assert_eq!(log.take(), [format!("create {id}"), format!("join {id} {id}")]);
    a.emit("join", json!(["x"]));
    a.emit("join", json!(["x"]));
    server.settle().await;
    assert_eq!(log.take(), ["create x".to_owned(), format!("join x {id}")]);
    a.emit("leave", "x");
    a.emit("leave", "x");
    a.emit("leave", "never");
    server.settle().await;
    assert_eq!(log.take(), [format!("leave x {id}"), "delete x".to_owned()]);
    a.emit("join", json!(["y"]));
    server.settle().await;
    log.take();
    a.disconnect().await;
    let end = [
        format!("leave {id} {id}"),
        format!("delete {id}"),
        format!("leave y {id}"),
        "delete y".to_owned(),
    ];
    assert_eq!(log.take(), end);
}

#[actix_rt::test]
async fn several_rooms_are_left_in_the_order_they_are_named() {
    let (server, [a, _b]) = with_rooms([&["x", "y", "z"], &["x"]]).await;
    let log = observe_rooms(&server, "/").await;
    let (socket, id) = (handle(&server, &a).await, a.id());
    socket.leave(["z", "never", "x", "z"]);
    assert_eq!(socket.rooms().await, [Room::from(&id), "y".into()]);
    let left = [format!("leave z {id}"), "delete z".to_owned(), format!("leave x {id}")];
    assert_eq!(log.take(), left);
    socket.leave(Vec::<String>::new());
    server.settle().await;
    assert_eq!(log.take(), [] as [&str; 0]);
}

#[actix_rt::test]
async fn a_room_lives_as_long_as_it_has_members() {
    let (server, [a, b]) = with_rooms([&["x"], &["x"]]).await;
    let log = observe_rooms(&server, "/").await;
    let (id_a, id_b) = (a.id(), b.id());
    a.emit("leave", "x");
    server.settle().await;
    assert_eq!(log.take(), [format!("leave x {id_a}")]);
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(RoomSizes).await.unwrap(), [(Room::from("x"), 1)]);
    b.emit("leave", "x");
    server.settle().await;
    assert_eq!(log.take(), [format!("leave x {id_b}"), "delete x".to_owned()]);
    assert_eq!(namespace.send(RoomSizes).await.unwrap(), []);
}

#[actix_rt::test]
async fn a_socket_lists_its_rooms_its_own_first_and_none_when_it_has_gone() {
    let (server, [a]) = with_rooms([&["y", "x"]]).await;
    let socket = handle(&server, &a).await;
    let expected = [Room::from(a.id()), "y".into(), "x".into()];
    assert_eq!(socket.rooms().await, expected);
    a.disconnect().await;
    assert!(socket.rooms().await.is_empty());
    socket.join("late");
    server.settle().await;
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(RoomSizes).await.unwrap(), []);
    assert_eq!(namespace.send(RoomsOf(socket.id().clone())).await.unwrap(), None);
}

#[actix_rt::test]
async fn a_room_joined_in_a_middleware_is_heard_once_connected() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let slow = Namespace::new("/").before_connect(move |socket: Socket| {
        let mut gate = gate.clone();
        async move {
            socket.join("early");
            let _ = gate.wait_for(|open| *open).await;
            Ok::<_, ConnectError>(())
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(slow));
    let connection = server.open().await.unwrap();
    connection.send_raw("0");
    server.settle().await;
    server.io().to("early").emit("too soon", &()).unwrap();
    server.io().emit("too soon", &()).unwrap();
    server.settle().await;
    assert_eq!(connection.transcript(), [] as [&str; 0]);
    assert!(server.io().to("early").members().await.is_empty());
    open.send(true).unwrap();
    server.settle().await;
    server.io().to("early").emit("now", &()).unwrap();
    server.settle().await;
    let heard = connection.transcript();
    assert!(heard[0].starts_with("0{\"sid\":"), "{heard:?}");
    assert_eq!(heard[1..], ["2[\"now\"]"]);
}

#[actix_rt::test]
async fn a_room_joined_in_a_middleware_is_left_when_the_client_is_refused() {
    let strict = Namespace::new("/").before_connect(|socket: Socket| async move {
        socket.join("early");
        Err::<(), _>(ConnectError::new("no"))
    });
    let server = TestServer::start(SocketIo::builder().namespace(strict));
    let log = observe_rooms(&server, "/").await;
    server.connect("/", ()).await.unwrap_err();
    server.settle().await;
    let events: Vec<_> =
        log.take().iter().map(|e| e.rsplitn(2, ' ').last().unwrap().to_owned()).collect();
    assert_eq!(events, ["create", "join early", "leave early", "delete"]);
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(RoomSizes).await.unwrap(), []);
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 0);
}

#[actix_rt::test]
async fn rooms_of_one_name_in_two_namespaces_are_two_rooms() {
    let other = Namespace::new("/other").on_connect(|s: Socket| async move { s.join("a") });
    let server = TestServer::start(SocketIo::builder().namespace(plain()).namespace(other));
    let main = server.connect("/", ()).await.unwrap();
    let other = main.join("/other", ()).await.unwrap();
    main.emit("join", json!(["a"]));
    server.settle().await;
    server.io().of("/other").unwrap().to("a").emit("there", &()).unwrap();
    hears(&other, "there").await;
    main.expect_silence().await;
    server.io().to("a").emit("here", &()).unwrap();
    hears(&main, "here").await;
    other.expect_silence().await;
}

#[actix_rt::test]
async fn names_of_rooms_mean_nothing() {
    let names: [&[&str]; 1] = [&["", " ", "*", "a,b", "\u{1F600}", "__proto__"]];
    let (server, [a]) = with_rooms(names).await;
    for name in names[0] {
        server.io().to(*name).emit("hit", name).unwrap();
        assert_eq!(a.next_event().await, ("hit".into(), json!([name])));
    }
    server.io().to("a").emit("miss", &()).unwrap();
    a.expect_silence().await;
}

#[actix_rt::test]
async fn the_namespace_answers_who_is_where() {
    let (server, [a, b]) = with_rooms([&["x"], &["x", "y"]]).await;
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 2);
    let mut members = namespace.send(MembersOf::room("x")).await.unwrap();
    let mut expected = vec![a.id(), b.id()];
    members.sort();
    expected.sort();
    assert_eq!(members, expected);
    let target = Target::room("x").except("y");
    assert_eq!(namespace.send(MembersOf::target(target)).await.unwrap(), [a.id()]);
    let found = namespace.send(Sockets(Target::room("y"))).await.unwrap();
    assert_eq!(found.iter().map(|s| s.id().clone()).collect::<Vec<_>>(), [b.id()]);
    assert!(namespace.send(FindSocket("nobody".into())).await.unwrap().is_none());
    let mut sizes = namespace.send(RoomSizes).await.unwrap();
    sizes.sort();
    assert_eq!(sizes, [("x".into(), 2), ("y".into(), 1)]);
}

#[actix_rt::test]
async fn messages_to_the_namespace_move_and_disconnect_sockets() {
    let (server, [a, b]) = with_rooms([&["x"], &[]]).await;
    let namespace: Addr<Namespace> = server.io().namespace("/").unwrap();
    namespace.do_send(Join::new(Target::room("x"), "y"));
    namespace.do_send(Join::socket(b.id(), "y"));
    namespace.do_send(Leave::socket(a.id(), "x"));
    namespace.do_send(Broadcast::to("y").event("y", &()).unwrap());
    namespace.do_send(Broadcast::to("x").event("x", &()).unwrap());
    hears(&a, "y").await;
    hears(&b, "y").await;
    assert_eq!(namespace.send(Disconnect::new(Target::room("y"))).await.unwrap(), 2);
    assert_eq!(a.disconnected().await, Parting::ByServer);
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 0);
}
