//! Listeners that hear everything.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use bytes::Bytes;
use greenroom::{prelude::*, testing::TestServer};
use serde_json::json;
use support::{Log, handle};

fn incoming(log: &Log, name: &str) -> impl Fn(&Socket, &Event, &AckSender) + Send + Sync + use<> {
    let (log, name) = (log.clone(), name.to_owned());
    move |_, event, ack| {
        let wants = if ack.is_wanted() { " ack" } else { "" };
        log.note(format!("{name} {} {}{wants}", event.name, event.args.raw_json()));
    }
}

fn outgoing(log: &Log, name: &str) -> impl Fn(&Socket, &Event) + Send + Sync + use<> {
    let (log, name) = (log.clone(), name.to_owned());
    move |_, event| log.note(format!("{name} {} {}", event.name, event.args.raw_json()))
}

#[actix_rt::test]
async fn incoming_events_are_seen_before_middlewares_and_listeners_refused_and_unheard_ones_too() {
    let log = Log::default();
    let (own, refusing, heard) = (log.clone(), log.clone(), log.clone());
    let namespace = Namespace::new("/")
        .on_any(incoming(&log, "namespace"))
        .before_event(move |_: Socket, event: Event| {
            refusing.note("middleware");
            let refused = event.name == "bad";
            async move { if refused { Err(EventError::new("no")) } else { Ok(()) } }
        })
        .on("good", move |_: Socket, (): ()| heard.noted("listener"))
        .on_connect(move |socket: Socket| {
            socket.on_any(incoming(&own, "second"));
            socket.prepend_any(incoming(&own, "first"));
            std::future::ready(())
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("good", (1, "x"));
    server.settle().await;
    assert_eq!(
        log.take(),
        [
            r#"namespace good 1,"x""#,
            r#"first good 1,"x""#,
            r#"second good 1,"x""#,
            "middleware",
            "listener"
        ]
    );
    drop(client.emit_with_ack("bad", ()));
    client.emit("nobody listens", ());
    server.settle().await;
    let notes = log.take();
    assert_eq!(notes[..3], ["namespace bad  ack", "first bad  ack", "second bad  ack"]);
    assert_eq!(notes[4], "namespace nobody listens ");
}

#[actix_rt::test]
async fn a_catch_all_listener_may_answer() {
    let namespace = Namespace::new("/")
        .on_any(|_, _, ack| ack.send("any").unwrap())
        .on("e", |_: Socket, (): ()| async { Ack("listener") });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("e", ()).await, json!(["any"]));
    client.expect_silence().await;
}

#[actix_rt::test]
async fn catch_all_listeners_can_be_taken_away_one_by_one_or_all() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(Namespace::new("/")));
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let event = socket.on("e", |_: Socket, (): ()| async {});
    let a = socket.on_any(incoming(&log, "a"));
    let b = socket.prepend_any(incoming(&log, "b"));
    let c = socket.on_any(incoming(&log, "c"));
    let out = socket.on_any_outgoing(outgoing(&log, "out"));
    assert_eq!(
        (socket.listeners_any(), socket.listeners_any_outgoing()),
        (vec![b, a, c], vec![out])
    );
    assert_eq!((socket.off_any(a), socket.off_any(a), socket.off_any(event)), (1, 0, 0));
    assert_eq!((socket.off_any(out), socket.off(b)), (0, false), "each table has its own");
    client.emit("e", ());
    server.settle().await;
    socket.emit("o", &()).unwrap();
    server.settle().await;
    assert_eq!(log.take(), ["b e ", "c e ", "out o "]);
    assert_eq!((socket.off_any(None), socket.off_any_outgoing(None)), (2, 1));
    client.emit("e", ());
    socket.emit("o", &()).unwrap();
    server.settle().await;
    assert_eq!(log.take(), [] as [&str; 0]);
    assert_eq!(socket.listeners_any(), []);
}

#[actix_rt::test]
async fn what_is_sent_is_seen_in_order_emits_broadcasts_and_questions_but_no_answers() {
    let log = Log::default();
    let own = log.clone();
    let namespace = Namespace::new("/")
        .on_connect(move |socket: Socket| {
            socket.join("room");
            socket.on_any_outgoing(outgoing(&own, "b"));
            socket.prepend_any_outgoing(outgoing(&own, "a"));
            std::future::ready(())
        })
        .on("go", |socket: Socket, (): ()| async move {
            socket.emit("1", &Bytes::from_static(b"x"))?;
            socket.everyone().to("room").emit("2", &())?;
            drop(socket.emit_with_ack::<()>("3", &3));
            drop(socket.everyone().emit_with_ack("4", &())?);
            socket.broadcast().emit("to others", &())?;
            socket.everyone().except("room").emit("not to the room", &())?;
            socket.volatile().emit("5", &("x", [1]))?;
            Ok::<_, EmitError>(Ack("not seen"))
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("go", ()).await, json!(["not seen"]));
    server.settle().await;
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let expected = [("1", placeholder), ("2", ""), ("3", "3"), ("4", ""), ("5", r#""x",[1]"#)];
    let expected: Vec<_> = expected
        .iter()
        .flat_map(|(event, args)| ["a", "b"].map(|name| format!("{name} {event} {args}")))
        .collect();
    assert_eq!(log.take(), expected);
}

#[actix_rt::test]
async fn the_order_of_what_is_seen_is_the_order_on_the_wire() {
    let log = Log::default();
    let own = log.clone();
    let namespace = Namespace::new("/")
        .on_connect(move |socket: Socket| {
            socket.join("room");
            socket.on_any_outgoing(outgoing(&own, "out"));
            std::future::ready(())
        })
        .on("go", |socket: Socket, round: u32| async move {
            for step in 0..5 {
                let label = round * 10 + step;
                match (round + step) % 3 {
                    0 => socket.emit("n", &label)?,
                    1 => socket.everyone().emit("n", &label)?,
                    _ => socket.everyone().to("room").emit("n", &label)?,
                }
            }
            Ok::<_, EmitError>(())
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    for round in 0..20 {
        client.emit("go", round);
    }
    let mut wire = Vec::new();
    for _ in 0..100 {
        let event = client.next_event().await;
        wire.push(format!("out {} {}", event.name, event.args.raw_json()));
    }
    server.settle().await;
    assert_eq!(log.take(), wire);
}

#[actix_rt::test]
async fn only_receivers_see_a_broadcast_and_a_namespace_sees_those_of_all() {
    let log = Log::default();
    let namespace = Namespace::new("/all").on_any_outgoing(outgoing(&log, "namespace"));
    let server =
        TestServer::start(SocketIo::builder().namespace(Namespace::new("/")).namespace(namespace));
    let [listening, deaf, elsewhere] = server.many("/", 3).await.try_into().unwrap();
    for (client, name) in [(&listening, "in"), (&elsewhere, "out")] {
        handle(&server, client).await.on_any_outgoing(outgoing(&log, name));
    }
    for client in [&listening, &deaf] {
        handle(&server, client).await.join("room");
    }
    server.io().to("room").emit("e", &1).unwrap();
    for client in [&listening, &deaf] {
        assert_eq!(client.next_event().await, ("e".into(), json!([1])));
    }
    assert_eq!(log.take(), ["in e 1"]);
    let both = server.many("/all", 2).await;
    server.io().of("/all").unwrap().emit("e", &2).unwrap();
    for client in &both {
        client.next_event().await;
    }
    assert_eq!(log.take(), ["namespace e 2", "namespace e 2"]);
}

#[actix_rt::test]
async fn what_was_sent_before_the_end_is_seen_before_the_end() {
    let log = Log::default();
    let (out, end) = (log.clone(), log.clone());
    let namespace = Namespace::new("/")
        .on_connect(move |socket: Socket| {
            socket.on_any_outgoing(outgoing(&out, "out"));
            std::future::ready(())
        })
        .on("bye", |socket: Socket, (): ()| async move {
            socket.everyone().emit("last broadcast", &())?;
            socket.emit("last", &())?;
            drop(socket.disconnect(true));
            Ok::<_, EmitError>(())
        })
        .on_disconnecting(move |_: Socket, _: DisconnectReason| end.noted("disconnecting"));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("bye", ());
    server.settle().await;
    assert_eq!(log.take(), ["out last broadcast ", "out last ", "disconnecting"]);
}

#[actix_rt::test]
async fn what_nobody_has_come_to_see_is_bounded_and_counted() {
    const SENT: u64 = 60_000;
    let log = Log::default();
    let own = log.clone();
    let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
        socket.on_any_outgoing(outgoing(&own, "out"));
        std::future::ready(())
    });
    let builder = SocketIo::builder()
        .max_outbox_bytes(64 << 20)
        .max_outbox_packets(1 << 20)
        .namespace(namespace);
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    for n in 0..SENT {
        socket.emit("n", &n).unwrap();
    }
    server.settle().await;
    let seen = log.take().len() as u64;
    assert!(seen > 40_000 && seen < SENT, "{seen}");
    assert_eq!(server.metrics().outgoing_unheard, SENT - seen);
    socket.emit("after", &()).unwrap();
    server.settle().await;
    assert_eq!(log.take(), ["out after "]);
}

#[actix_rt::test]
async fn catch_all_listeners_that_panic_stop_nothing() {
    let log = Log::default();
    let namespace = Namespace::new("/")
        .on_any(|_, _, _| panic!("the catch-all listener panics"))
        .on_any_outgoing(|_, _| panic!("the one of what is sent panics"))
        .on_any_outgoing(outgoing(&log, "out"))
        .on("e", |socket: Socket, (): ()| async move { socket.emit("back", &()).map(Ack) });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("e", ()).await, json!([]));
    client.next_event().await;
    server.settle().await;
    assert_eq!(log.take(), ["out back "]);
    assert_eq!(server.metrics().panics, 2);
}

#[actix_rt::test]
async fn a_listener_that_sends_to_its_own_client_harms_itself_alone() {
    let namespace = Namespace::new("/").on("start", |socket: Socket, (): ()| {
        socket.on_any_outgoing(|socket, _| {
            // Its client goes away in the end.
            let _ = socket.emit("again", &());
        });
        async move { socket.emit("once", &()) }
    });
    let namespace = namespace.on("echo", |_: Socket, n: u32| async move { Ack(n) });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [looping, other] = server.many("/", 2).await.try_into().unwrap();
    looping.connection().stop_reading();
    looping.emit("start", ());
    for n in 0..20 {
        assert_eq!(other.emit_with_ack("echo", n).await, json!([n]));
    }
    looping.drop_connection();
    assert_eq!(other.emit_with_ack("echo", 21).await, json!([21]));
}
