//! The server ends sockets, namespaces, connections and itself.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use greenroom::{
    CountSockets, Stop,
    prelude::*,
    testing::{Parting, TestServer},
};
use serde_json::json;
use support::{Log, handle, hears, noting};

#[actix_rt::test]
async fn closing_the_server_ends_every_socket_and_every_namespace() {
    let log = Log::default();
    let builder = SocketIo::builder().namespace(noting("/", &log)).namespace(noting("/a", &log));
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    client.join("/a", ()).await.unwrap();
    let idle = server.open().await.unwrap();
    let io = server.io().clone();
    server.close().await;
    assert_eq!(io.clients_count(), 0);
    let mut log = log.take();
    log.sort();
    assert_eq!(
        log[..2],
        ["/ server shutting down, in 0 rooms", "/a server shutting down, in 0 rooms"]
    );
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    assert_eq!(idle.closed().await, Parting::Closed(1001));
    // No goodbye in a namespace, as in the reference.
    assert!(client.connection().transcript().iter().all(|packet| !packet.starts_with('1')));
    assert_eq!(io.namespaces(), [] as [&str; 0]);
    assert!(io.namespace("/a").is_none());
}

#[actix_rt::test]
async fn a_closed_server_opens_no_session() {
    let server = TestServer::start(SocketIo::builder());
    server.io().close().await;
    assert_eq!(server.open().await.unwrap_err().message, "Server is closed");
    server.io().close().await;
}

#[actix_rt::test]
async fn disconnect_with_close_says_goodbye_in_every_namespace_first() {
    let log = Log::default();
    let builder = SocketIo::builder()
        .namespace(noting("/", &log))
        .namespace(noting("/a", &log))
        .namespace(noting("/b", &log));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    let b = main.join("/b", ()).await.unwrap();
    let socket = handle(&server, &a).await;
    socket.emit("last", &()).unwrap();
    socket.disconnect(true).await;
    for client in [&main, &a, &b] {
        assert_eq!(client.disconnected().await, Parting::ByServer);
    }
    assert_eq!(main.connection().closed().await, Parting::Closed(1000));
    let transcript = main.connection().transcript();
    assert_eq!(transcript[3..5], ["2/a,[\"last\"]", "1/a,"]);
    let mut rest = transcript[5..].to_vec();
    rest.sort();
    assert_eq!(rest, ["1", "1/b,"]);
    server.settle().await;
    let ends = log.take();
    for name in ["/", "/a", "/b"] {
        let end = format!("{name} server namespace disconnect, in 0 rooms");
        assert_eq!(ends.iter().filter(|line| **line == end).count(), 1, "{ends:?}");
    }
}

#[actix_rt::test]
async fn disconnect_without_close_ends_one_namespace_behind_what_was_sent() {
    let log = Log::default();
    let builder = SocketIo::builder().namespace(noting("/", &log)).namespace(noting("/a", &log));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    let socket = handle(&server, &a).await;
    socket.leave(socket.id());
    socket.to("room").emit("first", &()).unwrap();
    socket.emit("second", &()).unwrap();
    let gone = socket.disconnect(false);
    assert!(matches!(socket.emit("third", &()), Err(EmitError::Disconnected)));
    gone.await;
    assert!(!socket.connected());
    assert_eq!(log.take()[0], "disconnecting, in 1 rooms");
    assert_eq!(a.next_event().await.name, "first");
    assert_eq!(a.next_event().await.name, "second");
    assert_eq!(a.disconnected().await, Parting::ByServer);
    assert_eq!(main.emit_with_ack("echo", 1).await, json!([1]));
    // And back again, with a new id.
    let again = main.join("/a", ()).await.unwrap();
    assert_ne!(again.id(), *socket.id());
    assert_eq!(again.emit_with_ack("echo", 2).await, json!([2]));
}

#[actix_rt::test]
async fn close_connection_ends_all_namespaces_with_forced_close() {
    let log = Log::default();
    let builder = SocketIo::builder().namespace(noting("/", &log)).namespace(noting("/a", &log));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    main.join("/a", ()).await.unwrap();
    let socket = handle(&server, &main).await;
    socket.emit("last", &()).unwrap();
    socket.close_connection();
    hears(&main, "last").await;
    assert_eq!(main.disconnected().await, Parting::Closed(1000));
    server.settle().await;
    let ends = log.take();
    assert!(ends.contains(&"/ forced close, in 0 rooms".to_owned()), "{ends:?}");
    assert!(ends.contains(&"/a forced close, in 0 rooms".to_owned()), "{ends:?}");
}

#[actix_rt::test]
async fn a_namespace_that_is_stopped_puts_its_sockets_out_and_can_be_started_again() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder());
    let addr = server.io().spawn(noting("/a", &log));
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    addr.send(Stop).await.unwrap();
    assert_eq!(a.disconnected().await, Parting::ByServer);
    server.settle().await;
    assert!(!addr.connected());
    assert!(log.take().contains(&"/a server namespace disconnect, in 0 rooms".to_owned()));
    assert_eq!(main.join("/a", ()).await.unwrap_err().message, "Invalid namespace");
    server.io().spawn(noting("/a", &log));
    main.join("/a", ()).await.unwrap();
}

#[actix_rt::test]
async fn a_stopped_namespace_makes_room_for_another_at_once_on_several_workers() {
    let server = TestServer::workers(SocketIo::builder(), 2).await;
    for _ in 0..200 {
        let first = server.io().spawn(Namespace::new("/n"));
        first.send(Stop).await.unwrap();
        assert_eq!(server.io().namespaces(), ["/"]);
        let second = server.io().spawn(Namespace::new("/n"));
        assert_ne!(first, second);
        assert_eq!(second.send(CountSockets).await.unwrap(), 0);
        second.send(Stop).await.unwrap();
    }
}

#[actix_rt::test]
async fn who_asks_to_join_a_namespace_that_ends_is_refused_and_not_left_waiting() {
    let server = TestServer::start(SocketIo::builder());
    let main = server.connect("/", ()).await.unwrap();
    for _ in 0..3 {
        let addr = server.io().spawn(Namespace::new("/n"));
        addr.do_send(Stop);
        let refused = main.join("/n", ()).await.unwrap_err();
        assert_eq!(refused.message, "Invalid namespace");
        assert_eq!(server.io().namespaces(), ["/"]);
    }
    server.close().await;
}

#[actix_rt::test]
async fn what_was_emitted_right_before_the_server_closes_reaches_clients_of_the_same_worker() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(noting("/", &log)));
    let client = server.connect("/", ()).await.unwrap();
    let other = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    socket.join("late");
    socket.emit("own", &1).unwrap();
    server.io().to("late").emit("room", &2).unwrap();
    server.io().emit("all", &3).unwrap();
    server.close().await;
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    assert_eq!(
        client.connection().transcript()[1..],
        [r#"2["own",1]"#, r#"2["room",2]"#, r#"2["all",3]"#]
    );
    assert_eq!(other.connection().transcript()[1..], [r#"2["all",3]"#]);
}

#[actix_rt::test]
async fn what_waits_for_a_client_that_reads_again_reaches_it_after_the_server_has_closed() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    client.connection().stop_reading();
    for n in 0..100 {
        socket.emit("n", &n).unwrap();
    }
    server.close().await;
    assert!(!client.connection().is_closed());
    client.connection().resume_reading();
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    let heard: Vec<String> = (0..100).map(|n| format!(r#"2["n",{n}]"#)).collect();
    assert_eq!(client.connection().transcript()[1..], heard);
}
