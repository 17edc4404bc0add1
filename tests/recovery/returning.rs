//! Who has its socket back, and with what.

use std::time::Duration;

use actix_rt::test;
use greenroom::{
    CountSockets, FindSocket, Recovery, RoomsOf,
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use serde_json::json;

use crate::{
    builder, cut, heard, rooms, server,
    support::{Log, handle, observe_rooms, observe_sockets},
};

#[test]
async fn a_client_has_its_socket_back_with_rooms_data_and_all_it_missed() {
    let server = server(rooms("/"));
    let ann = server.connect("/", json!({ "rooms": ["red", "blue"] })).await.unwrap();
    let id = ann.id();
    let socket = handle(&server, &ann).await;
    assert!(!socket.recovered());
    socket.data(|data| data.set("name", "Ann")).unwrap();
    server.io().to("red").emit("said", &1).unwrap();
    assert_eq!(heard(&ann).await, [1]);
    cut(&server, &ann).await;
    server.io().to("red").emit("said", &2).unwrap();
    server.io().to("green").emit("said", &3).unwrap();
    server.io().to(&id).emit("said", &4).unwrap();
    server.io().except("blue").emit("said", &5).unwrap();
    server.io().to(["red", "blue"]).emit("said", &6).unwrap();
    server.advance(Duration::from_secs(119)).await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(back.id(), id);
    assert_eq!(heard(&back).await, [2, 4, 6]);
    let socket = handle(&server, &back).await;
    assert!(socket.recovered() && socket.connected());
    assert_eq!(socket.rooms().await, [&*id, "red", "blue"]);
    assert_eq!(socket.data(|data| data.get::<String>("name")).as_deref(), Some("Ann"));
    server.io().to("blue").emit("said", &7).unwrap();
    assert_eq!(heard(&back).await, [7]);
    assert_eq!(server.metrics().sockets_recovered, 1);
    server.close().await;
}

#[test]
async fn a_client_that_has_received_nothing_yet_misses_all_since_it_came() {
    let server = server(rooms("/"));
    server.io().emit("said", &0).unwrap();
    let bob = server.connect("/", ()).await.unwrap();
    server.io().emit("said", &1).unwrap();
    let ann = server.connect("/", ()).await.unwrap();
    cut(&server, &ann).await;
    assert_eq!(ann.session()["offset"], json!(null));
    server.io().emit("said", &2).unwrap();
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(heard(&back).await, [2]);
    assert_eq!(heard(&bob).await, [1, 2]);
}

#[test]
async fn a_client_may_be_cut_any_number_of_times() {
    let server = server(rooms("/"));
    let mut ann = server.connect("/", json!({ "rooms": ["lobby"] })).await.unwrap();
    let id = ann.id();
    for round in 0..5 {
        cut(&server, &ann).await;
        server.io().to("lobby").emit("said", &round).unwrap();
        let back = server.reconnect(&ann, ()).await.unwrap();
        assert!(back.recovered());
        assert_eq!(back.id(), id);
        assert_eq!(heard(&back).await, [round]);
        ann = back;
        server.advance(Duration::from_secs(100)).await;
    }
    // What has not arrived comes again.
    cut(&server, &ann).await;
    server.io().to("lobby").emit("said", &5).unwrap();
    let lost = server.open().await.unwrap();
    lost.send_raw(&format!("0{}", ann.session()));
    server.settle().await;
    lost.drop_connection();
    server.settle().await;
    server.io().to("lobby").emit("said", &6).unwrap();
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert_eq!(heard(&back).await, [5, 6]);
    assert_eq!(server.metrics().sockets_recovered, 7);
}

#[test]
async fn every_namespace_of_a_connection_comes_back_for_itself() {
    let recovering = builder(rooms("/"), Recovery::new()).namespace(rooms("/a"));
    let server = TestServer::start(recovering);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", json!({ "rooms": ["lobby"] })).await.unwrap();
    let ids = (a.id(), main.id());
    cut(&server, &main).await;
    server.io().emit("main", &1).unwrap();
    server.io().of("/a").unwrap().to("lobby").emit("a", &2).unwrap();
    let connection = server.open().await.unwrap();
    let a2 = connection.rejoin(&a, ()).await.unwrap();
    let main2 = connection.rejoin(&main, ()).await.unwrap();
    assert!(a2.recovered() && main2.recovered());
    assert_eq!((a2.id(), main2.id()), ids);
    assert_eq!(heard(&main2).await, [1]);
    assert_eq!(heard(&a2).await, [2]);
    // The secret of one namespace opens no other.
    cut(&server, &main2).await;
    assert!(!server.connect("/a", main2.session()).await.unwrap().recovered());
}

/// A way to lose one's connection, and whether one can come back.
type End = (&'static str, fn(&TestSocket), bool);

#[test]
async fn what_neither_side_wanted_is_recovered_and_nothing_else() {
    const ENDS: [End; 10] = [
        ("transport close", TestSocket::drop_connection, true),
        ("transport error", |ann| ann.connection().send_engine("2"), true),
        ("ping timeout", TestSocket::stop_answering_pings, true),
        ("forced close", |ann| ann.connection().send_raw("9"), true),
        ("forced close", |ann| ann.emit("close connection", ()), true),
        ("forced server close", |ann| ann.connection().send_raw("4{}"), true),
        ("slow client", |ann| ann.connection().stop_reading(), true),
        ("client namespace disconnect", TestSocket::leave, false),
        ("server namespace disconnect", |ann| ann.emit("close", ()), false),
        ("parse error", |ann| ann.connection().send_engine("x"), false),
    ];
    for (expected, end, recovered) in ENDS {
        let log = Log::default();
        let notes = log.clone();
        let namespace = Namespace::new("/")
            .on(
                "close connection",
                |socket: Socket, (): ()| async move { socket.close_connection() },
            )
            .on("close", |socket: Socket, (): ()| async move { drop(socket.disconnect(true)) })
            .on_disconnect(move |_: Socket, reason: DisconnectReason| notes.noted(reason.as_str()));
        let server = server(namespace);
        let ann = server.connect("/", ()).await.unwrap();
        end(&ann);
        server.settle().await;
        if expected == "slow client" {
            for n in 0..70 {
                server.io().to(ann.id()).emit("e", &("x".repeat(50_000), n)).unwrap();
            }
        }
        server.advance(Duration::from_secs(50)).await;
        assert_eq!(log.take(), [expected]);
        // She read nothing of what was too much then, and cannot be helped by the same again.
        let full = expected == "slow client";
        let back = server.reconnect(&ann, ()).await.unwrap();
        assert_eq!(back.recovered(), recovered && !full, "{expected}");
        assert_eq!(server.metrics().recoveries_evicted, u64::from(full));
        assert_eq!(server.metrics().recoveries_unknown, u64::from(!recovered));
    }
}

#[test]
async fn a_slow_client_that_missed_little_has_its_socket_back() {
    let recovering = builder(rooms("/"), Recovery::new()).max_outbox_packets(10);
    let server = TestServer::start(recovering);
    let ann = server.connect("/", ()).await.unwrap();
    ann.connection().stop_reading();
    for n in 0..5 {
        server.io().emit("kept", &n).unwrap();
    }
    for n in 5..11 {
        drop(server.io().sockets().emit_with_ack("not kept", &n).unwrap());
    }
    server.advance(Duration::from_secs(3)).await;
    assert_eq!(server.metrics().slow_clients_closed, 1);
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(heard(&back).await, [0, 1, 2, 3, 4]);
}

#[test]
async fn disconnect_listeners_have_run_before_and_connect_listeners_run_again() {
    let log = Log::default();
    let (connects, disconnects) = (log.clone(), log.clone());
    let namespace = Namespace::new("/")
        .on_connect(move |socket: Socket| connects.noted(format!("connect {}", socket.recovered())))
        .on_disconnect(move |socket: Socket, _: DisconnectReason| {
            socket.data(|data| data.set("left", &true)).unwrap();
            disconnects.noted(format!("disconnect {}", socket.recovered()))
        });
    let server = server(namespace);
    let ann = server.connect("/", ()).await.unwrap();
    // The server has not noticed yet that the first connection is dead.
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(log.take(), ["connect false", "disconnect false", "connect true"]);
    let socket = handle(&server, &back).await;
    assert_eq!(socket.data(|data| data.get("left")), Some(true), "of the old one's last listener");
    cut(&server, &back).await;
    assert_eq!(log.take(), ["disconnect true"]);
}

#[test]
async fn rooms_and_queries_know_the_socket_while_it_is_there_and_not_meanwhile() {
    let server = server(rooms("/"));
    let (rooms, sockets) = (observe_rooms(&server, "/").await, observe_sockets(&server, "/").await);
    let ann = server.connect("/", json!({ "rooms": ["red"] })).await.unwrap();
    server.settle().await;
    let id = ann.id();
    let come = [
        format!("create {id}"),
        format!("join {id} {id}"),
        "create red".into(),
        format!("join red {id}"),
    ];
    assert_eq!(rooms.take(), come);
    assert_eq!(sockets.take(), [format!("connected {id}")]);
    cut(&server, &ann).await;
    let gone = [
        format!("leave {id} {id}"),
        format!("delete {id}"),
        format!("leave red {id}"),
        "delete red".into(),
    ];
    assert_eq!(rooms.take(), gone);
    assert_eq!(sockets.take(), [format!("disconnected {id}: transport close")]);
    let namespace = server.io().namespace("/").unwrap();
    assert!(namespace.send(FindSocket(id.clone())).await.unwrap().is_none());
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 0);
    assert_eq!(namespace.send(RoomsOf(id.clone())).await.unwrap(), None);
    assert!(server.io().to("red").members().await.is_empty());
    let back = server.reconnect(&ann, ()).await.unwrap();
    server.settle().await;
    assert_eq!(rooms.take(), come);
    assert_eq!(sockets.take(), [format!("connected {id}")]);
    assert_eq!(server.io().to("red").members().await, std::slice::from_ref(&id));
    assert_eq!(namespace.send(RoomsOf(id.clone())).await.unwrap().unwrap(), [&*id, "red"]);
    // It has left the rooms it had, and joins none that it does not.
    handle(&server, &back).await.leave("red");
    cut(&server, &back).await;
    let back = server.reconnect(&back, ()).await.unwrap();
    assert_eq!(handle(&server, &back).await.rooms().await, [&*id]);
}

#[test]
async fn a_client_that_comes_back_on_the_connection_it_left_the_namespace_on_gets_a_new_socket() {
    let slow = Namespace::new("/").on_disconnecting(|_: Socket, _: DisconnectReason| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
    });
    let server = TestServer::start(builder(slow, Recovery::new()).namespace(rooms("/a")));
    let ann = server.connect("/", ()).await.unwrap();
    let a = ann.join("/a", ()).await.unwrap();
    ann.leave();
    // Its listeners are still at work.
    let again = ann.connection().rejoin(&ann, ()).await.unwrap();
    assert!(!again.recovered());
    assert_ne!(again.id(), ann.id());
    assert!(a.is_connected());
    server.io().of("/a").unwrap().emit("still there", &1).unwrap();
    assert_eq!(heard(&a).await, [1]);
    server.close().await;
    assert_eq!(again.disconnected().await, Parting::Closed(1001));
}

#[test]
async fn the_offset_of_a_server_before_a_restart_costs_nothing() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    server.io().emit("said", &1).unwrap();
    ann.next_event().await;
    let old = ann.session()["offset"].clone();
    assert!(old.is_string());
    server.io().close().await;
    server.io().reopen().await;
    // A new secret; the official client keeps the offset until the next event.
    let new = server.reconnect(&ann, ()).await.unwrap();
    assert!(!new.recovered());
    assert_eq!(server.metrics().recoveries_unknown, 1);
    let (id, pid) = (new.id(), new.session()["pid"].clone());
    cut(&server, &new).await;
    server.io().emit("said", &2).unwrap();
    let back = server.connect("/", json!({ "pid": pid, "offset": old })).await.unwrap();
    assert!(back.recovered());
    assert_eq!(back.id(), id);
    assert_eq!(heard(&back).await, [2]);
    assert_eq!(server.metrics().recoveries_malformed, 0);
}
