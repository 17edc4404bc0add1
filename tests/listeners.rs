//! When listeners start and end: side by side, or one after the other.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use actix::prelude::*;
use greenroom::{
    FindSocket,
    prelude::*,
    testing::{TestServer, TestSocket},
};
use serde_json::json;
use support::Log;

const SECOND: Duration = Duration::from_secs(1);

/// Events that end in the reverse order of their coming.
fn reversing(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/").on("n", move |_: Socket, n: u32| {
        let log = log.clone();
        async move {
            log.note(format!("start {n}"));
            tokio::time::sleep(SECOND * (10 - n)).await;
            log.note(format!("end {n}"));
            Ack(n)
        }
    })
}

#[actix_rt::test]
async fn listeners_start_in_order_and_run_side_by_side() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(reversing(&log)));
    let client = server.connect("/", ()).await.unwrap();
    let acks = [1, 2, 3].map(|n| client.emit_with_ack("n", n));
    for (ack, n) in acks.into_iter().zip(1..) {
        assert_eq!(ack.await, json!([n]));
    }
    assert_eq!(log.take(), ["start 1", "start 2", "start 3", "end 3", "end 2", "end 1"]);
}

#[actix_rt::test]
async fn in_serial_mode_a_listener_starts_when_the_last_has_ended() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(reversing(&log).serial(true)));
    let [client, other]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let acks = [1, 2].map(|n| client.emit_with_ack("n", n));
    server.advance(SECOND).await;
    let third = other.emit_with_ack("n", 3);
    for (ack, n) in acks.into_iter().zip(1..) {
        assert_eq!(ack.await, json!([n]));
    }
    assert_eq!(third.await, json!([3]));
    // The other client does not wait for this one.
    assert_eq!(log.take(), ["start 1", "start 3", "end 3", "end 1", "start 2", "end 2"]);
}

#[actix_rt::test]
async fn what_waits_in_serial_mode_is_dropped_when_the_socket_leaves() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(reversing(&log).serial(true)));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("n", 1);
    client.emit("n", 2);
    server.settle().await;
    client.disconnect().await;
    server.advance(60 * SECOND).await;
    assert_eq!(log.take(), ["start 1", "end 1"]);
    assert_eq!(server.io().clients_count(), 0);
}

#[actix_rt::test]
async fn a_listener_under_way_ends_after_its_client_has_gone() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(reversing(&log)));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("n", 1);
    server.settle().await;
    client.drop_connection();
    server.advance(20 * SECOND).await;
    assert_eq!(log.take(), ["start 1", "end 1"]);
    server.close().await;
}

#[actix_rt::test]
async fn a_listener_reaches_other_namespaces_of_its_server() {
    let main = Namespace::new("/").on("report", |socket: Socket, text: String| async move {
        let io = socket.server().ok_or_else(|| EventError::new("no server"))?;
        io.of("/moderators").unwrap().emit("reported", &text)?;
        Ok::<_, EventError>(Ack("reported"))
    });
    let builder = SocketIo::builder().namespace(main).namespace(Namespace::new("/moderators"));
    let server = TestServer::start(builder);
    let moderator = server.connect("/moderators", ()).await.unwrap();
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("report", "spam").await, json!(["reported"]));
    assert_eq!(moderator.next_event().await, ("reported".into(), json!(["spam"])));
    server.close().await;
}

#[actix_rt::test]
async fn a_listener_starts_a_namespace_whose_sockets_know_the_server_too() {
    let main = Namespace::new("/").on("open", |socket: Socket, name: String| async move {
        let io = socket.server().ok_or_else(|| EventError::new("no server"))?;
        io.spawn(Namespace::new(&name).on("names", |socket: Socket, (): ()| async move {
            Ack(socket.server().map(|io| io.namespaces()))
        }));
        Ok::<_, EventError>(Ack(name))
    });
    let server = TestServer::start(SocketIo::builder().namespace(main));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("open", "/game-7").await, json!(["/game-7"]));
    let player = server.connect("/game-7", ()).await.unwrap();
    assert_eq!(player.emit_with_ack("names", ()).await, json!([["/", "/game-7"]]));
    server.close().await;
}

#[actix_rt::test]
async fn a_namespace_that_was_started_alone_has_no_server() {
    let alone = Namespace::new("/alone")
        .on("served", |socket: Socket, (): ()| async move { Ack(socket.server().is_some()) });
    let client = TestSocket::connect(&alone.start(), ()).await.unwrap();
    assert_eq!(client.emit_with_ack("served", ()).await, json!([false]));
}

#[actix_rt::test]
async fn a_socket_does_not_keep_its_server() {
    let server = TestServer::start(SocketIo::builder());
    let main = server.io().namespace("/").unwrap();
    let client = server.connect("/", ()).await.unwrap();
    let socket = main.send(FindSocket(client.id())).await.unwrap().unwrap();
    assert!(socket.server().is_some());
    server.close().await;
    assert!(socket.server().is_none());
}
