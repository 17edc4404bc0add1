//! Clients that come back faster than their old connections end, or more than once.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_rt::test;
use greenroom::{
    CountSockets, Recovery,
    prelude::*,
    testing::{KillRooms, Parting, TestConnection, TestServer},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    builder, cut, heard, rooms, server,
    support::{Log, handle, observe_sockets},
};

async fn count(server: &TestServer) -> usize {
    server.io().namespace("/").unwrap().send(CountSockets).await.unwrap()
}

/// A namespace whose `disconnecting` listeners take so long.
fn slow_to_leave(seconds: u64) -> Namespace {
    rooms("/").on_disconnecting(move |_: Socket, _: DisconnectReason| {
        tokio::time::sleep(Duration::from_secs(seconds))
    })
}

#[test]
async fn an_old_connection_that_is_still_open_is_closed_with_all_its_namespaces() {
    let log = Log::default();
    let notes = log.clone();
    let main = rooms("/")
        .on_disconnect(move |_: Socket, reason: DisconnectReason| notes.noted(reason.as_str()));
    let server = TestServer::start(builder(main, Recovery::new()).namespace(rooms("/a")));
    let ann = server.connect("/", json!({ "rooms": ["lobby"] })).await.unwrap();
    let a = ann.join("/a", ()).await.unwrap();
    // Sent to the old connection, and perhaps never read.
    server.io().to("lobby").emit("said", &1).unwrap();
    ann.connection().stop_reading();
    server.settle().await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(back.id(), ann.id(), "she has read nothing of it yet");
    assert_eq!(heard(&back).await, [1]);
    assert_eq!(log.take(), ["transport close"]);
    ann.connection().resume_reading();
    assert_eq!(ann.disconnected().await, Parting::Closed(1000));
    assert_eq!(a.disconnected().await, Parting::Closed(1000));
    assert_eq!((count(&server).await, server.io().clients_count()), (1, 1));
    assert!(back.connection().rejoin(&a, ()).await.unwrap().recovered());
    server.io().to("lobby").emit("said", &2).unwrap();
    assert_eq!(heard(&back).await, [2]);
}

#[test]
async fn who_comes_back_waits_for_the_disconnecting_listeners_of_the_old_socket() {
    // After five seconds they are not waited for any more.
    for (seconds, waited) in [(3, 3), (60, 5)] {
        let server = server(slow_to_leave(seconds));
        let ann = server.connect("/", ()).await.unwrap();
        let (id, before) = (ann.id(), tokio::time::Instant::now());
        let back = server.reconnect(&ann, ()).await.unwrap();
        assert!(back.recovered());
        assert_eq!(before.elapsed().as_secs(), waited);
        assert_eq!(back.id(), id);
    }
}

#[test]
async fn of_two_connections_that_come_for_one_socket_one_gets_it() {
    for seconds in [0, 3] {
        let server = server(slow_to_leave(seconds));
        let ann = server.connect("/", ()).await.unwrap();
        let both = futures_util::future::join_all((0..2).map(|_| server.reconnect(&ann, ()))).await;
        let both: Vec<_> = both.into_iter().map(Result::unwrap).collect();
        let recovered = both.iter().filter(|socket| socket.recovered()).count();
        assert_eq!(recovered, 1);
        assert_ne!(both[0].id(), both[1].id());
        server.settle().await;
        assert!(both.iter().all(|socket| socket.is_connected()));
        assert_eq!(count(&server).await, 2);
        assert_eq!(server.metrics().recoveries_unknown, 1);
        server.close().await;
    }
}

#[test]
async fn the_last_one_to_come_has_it_if_the_others_were_let_in_before() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    let id = ann.id();
    let mut open = Vec::new();
    for _ in 0..5 {
        let back = server.reconnect(&ann, ()).await.unwrap();
        assert_eq!((back.recovered(), back.id()), (true, id.clone()));
        assert_eq!(count(&server).await, 1);
        open.push(back);
    }
    server.settle().await;
    let connected = open.iter().map(|socket| socket.is_connected());
    assert!(connected.eq([false, false, false, false, true]));
}

/// A middleware that waits for a gate, and recovery that does not pass it over.
fn gated(gate: watch::Receiver<bool>, recovery: Recovery) -> TestServer {
    let namespace = rooms("/").before_connect(move |_: Socket| {
        let mut gate = gate.clone();
        async move {
            let _ = gate.wait_for(|open| *open).await;
            Ok::<_, ConnectError>(())
        }
    });
    TestServer::start(builder(namespace, recovery.skip_middlewares(false)))
}

#[test]
async fn a_client_that_leaves_again_while_its_middlewares_run_may_come_once_more() {
    let (open, gate) = watch::channel(true);
    let server = gated(gate, Recovery::new());
    let ann = server.connect("/", json!({ "rooms": ["lobby"] })).await.unwrap();
    let id = ann.id();
    cut(&server, &ann).await;
    open.send(false).unwrap();
    for _ in 0..3 {
        let connection = server.open().await.unwrap();
        connection.send_raw(&format!("0{}", ann.session()));
        server.settle().await;
        // A second one meanwhile gets a new socket, when the gate opens.
        let other = server.open().await.unwrap();
        other.send_raw(&format!("0{}", ann.session()));
        server.settle().await;
        connection.drop_connection();
        other.drop_connection();
        server.settle().await;
    }
    assert_eq!(server.metrics().recoveries_unknown, 3);
    server.io().to("lobby").emit("said", &1).unwrap();
    open.send(true).unwrap();
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert_eq!((back.recovered(), back.id()), (true, id));
    assert_eq!(heard(&back).await, [1]);
    assert_eq!(count(&server).await, 1);
    server.close().await;
}

async fn asking(server: &TestServer, auth: &serde_json::Value) -> TestConnection {
    let connection = server.open().await.unwrap();
    connection.send_raw(&format!("0{auth}"));
    server.settle().await;
    connection
}

#[test]
async fn a_client_that_leaves_again_while_it_waits_leaves_nothing_behind() {
    let server = server(slow_to_leave(3));
    let ann = server.connect("/", ()).await.unwrap();
    let waiting = asking(&server, &ann.session()).await;
    // A second CONNECT while the first one is looked at is passed over.
    waiting.send_raw(&format!("0{}", ann.session()));
    server.settle().await;
    waiting.drop_connection();
    server.settle().await;
    assert_eq!(server.io().clients_count(), 0);
    // The next one takes its place in the queue.
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(count(&server).await, 1);
    server.advance(Duration::from_secs(20)).await;
    assert!(back.is_connected());
    server.close().await;
}

#[test]
async fn what_is_sent_while_a_client_waits_for_its_socket_breaks_the_rules_as_ever() {
    let server = server(slow_to_leave(3));
    let ann = server.connect("/", ()).await.unwrap();
    let waiting = asking(&server, &ann.session()).await;
    waiting.send_raw("2[\"too early\"]");
    assert_eq!(waiting.closed().await, Parting::Closed(1000));
    assert!(server.reconnect(&ann, ()).await.unwrap().recovered());
}

#[test]
async fn a_connection_waits_in_as_many_namespaces_as_it_may_be_in() {
    let builder = builder(slow_to_leave(3), Recovery::new()).namespace(rooms("/a"));
    let server = TestServer::start(builder.max_namespaces(1));
    let ann = server.connect("/", ()).await.unwrap();
    let waiting = asking(&server, &ann.session()).await;
    let refused = waiting.join("/a", ()).await.unwrap_err();
    assert_eq!(refused.message, "Too many namespaces");
}

#[test]
async fn a_server_that_closes_lets_go_who_waits() {
    let server = server(slow_to_leave(3));
    let ann = server.connect("/", ()).await.unwrap();
    let waiting = asking(&server, &ann.session()).await;
    server.close().await;
    assert_eq!(waiting.closed().await, Parting::Closed(1001));
}

#[test]
async fn a_namespace_that_ends_refuses_who_waits() {
    let server = TestServer::start(builder(slow_to_leave(3), Recovery::new()));
    let ann = server.connect("/", ()).await.unwrap();
    let waiting = asking(&server, &ann.session()).await;
    let namespace = server.io().namespace("/").unwrap();
    namespace.send(greenroom::Stop).await.unwrap();
    server.settle().await;
    assert_eq!(waiting.transcript(), [r#"4{"message":"Invalid namespace"}"#]);
    assert!(!waiting.is_closed());
}

#[test]
async fn what_is_forgotten_while_the_middlewares_run_costs_one_more_attempt() {
    let (open, gate) = watch::channel(true);
    let server = gated(gate, Recovery::new().max_packets(2));
    let ann = server.connect("/", ()).await.unwrap();
    cut(&server, &ann).await;
    let sockets = observe_sockets(&server, "/").await;
    server.io().emit("said", &1).unwrap();
    open.send(false).unwrap();
    let connection = asking(&server, &ann.session()).await;
    for n in 2..5 {
        server.io().emit("said", &n).unwrap();
    }
    open.send(true).unwrap();
    assert_eq!(connection.closed().await, Parting::Closed(1000));
    assert_eq!(connection.transcript(), [] as [&str; 0]);
    assert_eq!(server.metrics().recoveries_evicted, 1);
    server.settle().await;
    assert_eq!(sockets.take(), [] as [&str; 0], "it has neither come nor gone");
    let new = server.reconnect(&ann, ()).await.unwrap();
    assert!(!new.recovered());
    assert_eq!(count(&server).await, 1);
    server.close().await;
}

#[test]
async fn a_room_actor_that_dies_before_it_has_greeted_loses_nothing_that_was_missed() {
    let cell = Arc::new(OnceLock::<SocketIo>::new());
    let io = Arc::clone(&cell);
    let namespace = rooms("/").before_connect(move |socket: Socket| {
        if socket.recovered() {
            // Right before the message that lets the socket in.
            io.get().unwrap().namespace("/").unwrap().do_send(KillRooms);
        }
        std::future::ready(Ok::<_, ConnectError>(()))
    });
    let recovery = Recovery::new().skip_middlewares(false);
    let server = TestServer::start(builder(namespace, recovery));
    cell.set(server.io().clone()).unwrap();
    let ann = server.connect("/", json!({ "rooms": ["lobby"] })).await.unwrap();
    let bob = server.connect("/", ()).await.unwrap();
    cut(&server, &ann).await;
    server.io().to("lobby").emit("said", &1).unwrap();
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert_eq!(server.metrics().rooms_rebuilt, 1);
    assert!(back.recovered());
    server.io().emit("said", &2).unwrap();
    assert_eq!(heard(&back).await, [1, 2]);
    assert_eq!(heard(&bob).await, [2]);
}

#[test]
async fn an_old_handle_leaves_alone_the_socket_that_has_its_id_by_now() {
    let server = server(rooms("/"));
    let ann = server.connect("/", json!({ "rooms": ["red"] })).await.unwrap();
    let (id, old) = (ann.id(), handle(&server, &ann).await);
    cut(&server, &ann).await;
    assert!(old.rooms().await.is_empty());
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(old.rooms().await.is_empty());
    old.join("blue");
    old.leave("red");
    old.disconnect(true).await;
    old.close_connection();
    server.settle().await;
    assert!(back.is_connected());
    let new = handle(&server, &back).await;
    assert!(new != old && new.connected() && !old.connected());
    assert_eq!(new.rooms().await, [&*id, "red"]);
}
