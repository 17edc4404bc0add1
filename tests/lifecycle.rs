//! Birth and end of sockets and connections.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use greenroom::{
    CountSockets,
    prelude::*,
    testing::{Parting, TestServer},
};
use serde_json::json;
use support::{Log, handle, noting, observe_sockets};
use tokio::sync::watch;

const SECOND: Duration = Duration::from_secs(1);

/// A gate that is shut until `true` is sent.
fn gate() -> (watch::Sender<bool>, impl AsyncFn() + Clone + Send + Sync + 'static) {
    let (open, gate) = watch::channel(false);
    let pass = async move || {
        let _ = gate.clone().wait_for(|open| *open).await;
    };
    (open, pass)
}

// ---- time ------------------------------------------------------------------------------------

#[actix_rt::test]
async fn a_client_that_answers_no_ping_is_found_out() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(noting("/", &log)));
    let client = server.connect("/", ()).await.unwrap();
    client.stop_answering_pings();
    server.advance(44 * SECOND).await;
    assert_eq!(server.io().clients_count(), 1);
    server.advance(2 * SECOND).await;
    assert_eq!(server.io().clients_count(), 0);
    assert_eq!(log.take(), ["disconnecting, in 2 rooms", "/ ping timeout, in 0 rooms"]);
    assert_eq!(client.disconnected().await, Parting::Closed(1000));
}

#[actix_rt::test]
async fn a_client_that_answers_pings_stays_for_ever() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    server.advance(24 * 3600 * SECOND).await;
    assert!(client.is_connected());
}

#[actix_rt::test]
async fn a_connection_that_has_left_all_it_had_joined_is_closed_unless_it_joins_again() {
    let server = TestServer::start(SocketIo::builder());
    let idle = server.open().await.unwrap();
    server.advance(40 * SECOND).await;
    idle.join("/", ()).await.unwrap().leave();
    server.advance(40 * SECOND).await;
    let again = idle.join("/", ()).await.unwrap();
    server.advance(100 * SECOND).await;
    assert!(!idle.is_closed());
    again.leave();
    server.advance(44 * SECOND).await;
    assert!(!idle.is_closed());
    server.advance(2 * SECOND).await;
    assert_eq!(idle.closed().await, Parting::Closed(1000));
    assert_eq!(server.metrics().connect_timeouts, 1);
}

#[actix_rt::test]
async fn a_connection_that_joins_nothing_is_closed() {
    let strict = Namespace::new("/strict")
        .before_connect(|_: Socket| async { Err::<(), _>(ConnectError::new("no")) });
    let server = TestServer::start(SocketIo::builder().namespace(strict));
    let [idle, refused, joined] =
        [server.open().await, server.open().await, server.open().await].map(Result::unwrap);
    let socket = joined.join("/", ()).await.unwrap();
    server.advance(40 * SECOND).await;
    // A refusal does not stop that clock.
    refused.join("/strict", ()).await.unwrap_err();
    server.advance(6 * SECOND).await;
    assert_eq!(idle.closed().await, Parting::Closed(1000));
    assert_eq!(refused.closed().await, Parting::Closed(1000));
    server.advance(100 * SECOND).await;
    assert!(!joined.is_closed() && socket.is_connected());
}

#[actix_rt::test]
async fn a_disconnecting_listener_that_never_ends_is_not_waited_for_for_ever() {
    let namespace = Namespace::new("/")
        .on_disconnecting(|_: Socket, _: DisconnectReason| std::future::pending::<()>());
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    client.leave();
    server.advance(4 * SECOND).await;
    assert_eq!(server.io().members().await.len(), 1);
    server.advance(2 * SECOND).await;
    assert!(server.io().members().await.is_empty());
}

// ---- the client ends it ----------------------------------------------------------------------

#[actix_rt::test]
async fn disconnecting_sees_the_rooms_and_disconnect_sees_none() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(noting("/", &log)));
    for (end, reason) in [(0, "client namespace disconnect"), (1, "transport close")] {
        let client = server.connect("/", ()).await.unwrap();
        if end == 0 {
            client.leave();
        } else {
            client.drop_connection();
        }
        server.settle().await;
        let expected = ["disconnecting, in 2 rooms".to_owned(), format!("/ {reason}, in 0 rooms")];
        assert_eq!(log.take(), expected);
    }
}

#[actix_rt::test]
async fn a_disconnecting_listener_still_reaches_the_rooms_and_not_the_leaver() {
    let namespace = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("room") })
        .on_disconnecting(|socket: Socket, _: DisconnectReason| async move {
            for room in socket.rooms().await.iter().skip(1) {
                socket.to(room).emit("leaves", socket.id())?;
            }
            Ok::<_, EmitError>(())
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let id = a.id();
    a.leave();
    assert_eq!(b.next_event().await, ("leaves".into(), json!([id])));
    a.expect_silence().await;
}

#[actix_rt::test]
async fn an_observer_hears_of_every_socket_once_and_in_order() {
    let server = TestServer::start(SocketIo::builder());
    let log = observe_sockets(&server, "/").await;
    let client = server.connect("/", ()).await.unwrap();
    let id = client.id();
    client.disconnect().await;
    let reason = "client namespace disconnect";
    assert_eq!(log.take(), [format!("connected {id}"), format!("disconnected {id}: {reason}")]);
}

#[actix_rt::test]
async fn listeners_of_one_socket_are_called_at_its_end_after_those_of_the_namespace() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(noting("/", &log)));
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let (first, second) = (log.clone(), log.clone());
    socket.on_disconnecting(move |_, reason| first.noted(format!("own: {reason}")));
    socket.on_disconnect(move |socket, _| second.noted(format!("own: {}", socket.connected())));
    client.drop_connection();
    server.settle().await;
    let mut lines = log.take();
    lines.sort();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2..], ["own: false", "own: transport close"]);
}

// ---- races -----------------------------------------------------------------------------------

#[actix_rt::test]
async fn an_event_in_flight_after_a_server_disconnect_closes_no_other_namespace() {
    let log = Log::default();
    let builder = SocketIo::builder().namespace(noting("/", &log)).namespace(noting("/a", &log));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    let socket = handle(&server, &a).await;
    socket.disconnect(false).await;
    // The client sends before it has read the goodbye.
    main.connection().send_raw("2/a,7[\"echo\",1]");
    main.connection().send_raw("3/a,0[]");
    main.connection().send_raw("1/a,");
    assert_eq!(main.emit_with_ack("echo", 1).await, json!([1]));
    assert_eq!(server.metrics().events_after_disconnect, 3);
    assert_eq!(server.metrics().bad_packets, 0);
    main.join("/a", ()).await.unwrap();
}

#[actix_rt::test]
async fn an_event_for_a_namespace_never_joined_closes_the_connection() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(noting("/", &log)));
    for packet in ["2/other,[\"echo\"]", "1/other,", "3/other,0[]", "4{\"message\":\"x\"}", "0"] {
        let client = server.connect("/", ()).await.unwrap();
        client.connection().send_raw(packet);
        assert_eq!(client.disconnected().await, Parting::Closed(1000), "{packet}");
        server.settle().await;
        assert_eq!(log.take()[1], "/ forced server close, in 0 rooms", "{packet}");
    }
    assert_eq!(server.metrics().bad_packets, 5);
}

#[actix_rt::test]
async fn two_connects_during_a_slow_middleware_make_one_socket() {
    let (open, pass) = gate();
    let asked = Log::default();
    let notes = asked.clone();
    let namespace = Namespace::new("/").before_connect(move |_: Socket| {
        notes.note("asked");
        let pass = pass.clone();
        async move {
            pass().await;
            Ok::<_, ConnectError>(())
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = server.open().await.unwrap();
    connection.send_raw("0");
    connection.send_raw("0{\"token\":1}");
    server.settle().await;
    open.send(true).unwrap();
    server.settle().await;
    assert_eq!(asked.take(), ["asked"]);
    assert_eq!(connection.transcript().len(), 1);
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 1);
}

#[actix_rt::test]
async fn a_client_may_leave_and_join_again_at_once() {
    let log = Log::default();
    let builder = SocketIo::builder().namespace(noting("/", &log)).namespace(noting("/a", &log));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..50 {
        let a = main.join("/a", ()).await.unwrap();
        assert!(ids.insert(a.id()));
        a.leave();
    }
    server.settle().await;
    assert_eq!(log.take().len(), 100);
    let namespace = server.io().namespace("/a").unwrap();
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 0);
    assert!(main.is_connected());
}

#[actix_rt::test]
async fn an_ack_after_the_disconnection_is_dropped() {
    let (open, pass) = gate();
    let namespace = Namespace::new("/a").on("slow", move |_: Socket, (): ()| {
        let pass = pass.clone();
        async move {
            pass().await;
            Ack("too late")
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    drop(a.emit_with_ack("slow", ()));
    server.settle().await;
    handle(&server, &a).await.disconnect(false).await;
    open.send(true).unwrap();
    server.settle().await;
    assert_eq!(main.connection().transcript().last().unwrap(), "1/a,");
}

#[actix_rt::test]
async fn a_server_closes_while_everything_is_under_way() {
    let (_open, pass) = gate();
    let namespace = Namespace::new("/")
        .before_connect(|socket: Socket| async move {
            match socket.handshake().auth["slow"].as_bool() {
                Some(true) => std::future::pending().await,
                _ => Ok::<_, ConnectError>(()),
            }
        })
        .on("slow", move |_: Socket, (): ()| {
            let pass = pass.clone();
            async move { pass().await }
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let asking = server.open().await.unwrap();
    asking.send_raw("0{\"slow\":true}");
    let client = server.connect("/", ()).await.unwrap();
    client.emit("slow", ());
    let _answer = handle(&server, &client).await.emit_with_ack::<u64>("ask", &());
    server.close().await;
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    assert_eq!(asking.closed().await, Parting::Closed(1001));
}

#[actix_rt::test]
async fn the_values_of_a_listener_are_dropped_with_its_server() {
    struct Guard(Log);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let log = Log::default();
    let namespace = Namespace::new("/").share(Guard(log.clone()));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    server.close().await;
    drop(client);
    tokio::time::sleep(SECOND).await;
    assert_eq!(log.take(), ["dropped"]);
}

#[actix_rt::test]
async fn a_client_that_has_left_hears_nothing_that_was_on_its_way_however_long_it_takes() {
    // More than a room actor delivers before it lets others work.
    const SOCKETS: usize = 4_200;
    let server = TestServer::start(SocketIo::builder().namespace(Namespace::new("/")));
    let clients = server.many("/", SOCKETS).await;
    let before = clients[0].connection().transcript().len();
    clients[0].leave();
    for n in 0..3 {
        server.io().emit("n", &n).unwrap();
    }
    server.settle().await;
    assert_eq!(clients[0].connection().transcript().len(), before);
    let stayed = clients[SOCKETS - 1].connection().transcript();
    assert_eq!(stayed.iter().filter(|packet| packet.starts_with('2')).count(), 3);
}

#[actix_rt::test]
async fn a_socket_is_told_what_happens_to_its_connection() {
    let log = Log::default();
    let (events, ends) = (log.clone(), log.clone());
    let namespace = Namespace::new("/")
        .on_connect(move |socket: Socket| {
            let log = events.clone();
            socket.on_connection_event(move |_, event| log.noted(format!("{event:?}")));
            std::future::ready(())
        })
        .on("two", |socket: Socket, (): ()| async move {
            socket.emit("one", &())?;
            socket.emit("two", &())
        })
        .on_disconnecting(move |_: Socket, _: DisconnectReason| ends.noted("disconnecting"));
    let builder = SocketIo::builder().ping_interval(SECOND).namespace(namespace);
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    server.settle().await;
    log.take();
    client.connection().stop_reading();
    client.emit("two", ());
    server.settle().await;
    assert_eq!(log.take(), [] as [&str; 0], "it waits");
    client.connection().resume_reading();
    server.settle().await;
    assert_eq!(log.take(), ["Drained"]);
    server.advance(SECOND).await;
    assert_eq!(log.take(), ["Drained", "Heartbeat"], "the ping has gone, the pong has come");
    client.drop_connection();
    server.settle().await;
    assert_eq!(log.take(), ["disconnecting", "Closed(TransportClose)"]);
}

#[actix_rt::test]
async fn events_that_wait_when_their_socket_leaves_are_dropped_and_counted() {
    for serial in [false, true] {
        for leaves in [false, true] {
            let (_open, pass) = gate();
            let slow = move |_: Socket, (): ()| {
                let pass = pass.clone();
                async move { pass().await }
            };
            let main = Namespace::new("/").on("slow", slow).serial(serial);
            let max = if serial { 100 } else { 1 };
            let builder = SocketIo::builder().namespace(main).max_running_listeners(max);
            let server = TestServer::start(builder);
            let client = server.connect("/", ()).await.unwrap();
            for _ in 0..10 {
                client.emit("slow", ());
            }
            server.settle().await;
            if leaves {
                client.leave();
                server.settle().await;
            }
            client.drop_connection();
            server.settle().await;
            let metrics = server.metrics();
            assert_eq!(metrics.events_received, 10);
            assert_eq!(metrics.events_after_disconnect, 9, "serial: {serial}, leaves: {leaves}");
        }
    }
}
