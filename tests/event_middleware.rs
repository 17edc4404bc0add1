//! What events pass before their listeners get them.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{future::Ready, time::Duration};

use actix::prelude::*;
use greenroom::{EventErrorKind, Receiving, prelude::*, testing::TestServer};
use serde_json::json;
use support::{Log, handle};

const SECOND: Duration = Duration::from_secs(1);

/// Notes its name and the event, and lets it through.
fn noting(
    log: &Log,
    name: &'static str,
) -> impl Fn(Socket, Event) -> Ready<Result<(), EventError>> + Send + Sync + use<> {
    let log = log.clone();
    move |_, event| {
        log.note(format!("{name} {}", event.name));
        std::future::ready(Ok(()))
    }
}

async fn no_bad_ones(_: Socket, event: Event) -> Result<(), EventError> {
    match event.name.starts_with("bad") {
        true => Err(EventError::new("refused").data(&json!({ "event": &*event.name }))),
        false => Ok(()),
    }
}

/// Holds `slow` events for a second.
async fn hold(_: Socket, event: Event) -> Result<(), EventError> {
    if event.name == "slow" {
        tokio::time::sleep(SECOND).await;
    }
    Ok(())
}

/// A namespace that notes which listeners are called.
fn heard(log: &Log) -> Namespace {
    let mut namespace = Namespace::new("/");
    for event in ["good", "bad", "slow", "fast"] {
        let log = log.clone();
        namespace = namespace.on(event, move |_: Socket, n: Option<u32>| {
            log.note(format!("heard {event} {}", n.unwrap_or_default()));
            std::future::ready(Ack(event))
        });
    }
    namespace
}

#[actix_rt::test]
async fn middlewares_run_in_order_the_sockets_own_behind_those_of_the_namespace() {
    let log = Log::default();
    let own = log.clone();
    let namespace = heard(&log)
        .before_event(noting(&log, "first"))
        .before_event(noting(&log, "second"))
        .on_connect(move |socket: Socket| {
            socket.before_event(noting(&own, "own"));
            std::future::ready(())
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("good", ()).await, json!(["good"]));
    assert_eq!(log.take(), ["first good", "second good", "own good", "heard good 0"]);
}

#[actix_rt::test]
async fn a_refused_event_reaches_nobody_is_not_acked_and_becomes_an_error_of_its_socket() {
    let log = Log::default();
    let (shared, own) = (log.clone(), log.clone());
    let namespace = heard(&log)
        .before_event(no_bad_ones)
        .before_event(noting(&log, "behind"))
        .on_error(move |socket, event, error| {
            assert_eq!(error.kind(), EventErrorKind::Refused);
            shared.note(format!("namespace: {event}: {error} {:?}", error.details()));
            socket.emit("rejected", &error.details()).unwrap();
        })
        .on_connect(move |socket: Socket| {
            let log = own.clone();
            socket.on_error(move |_, event, error| log.note(format!("socket: {event}: {error}")));
            std::future::ready(())
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    drop(client.emit_with_ack("bad", 1));
    assert_eq!(client.next_event().await, ("rejected".into(), json!([{ "event": "bad" }])));
    client.expect_silence().await;
    let notes = log.take();
    assert!(notes[0].starts_with("namespace: bad: refused Some(Object"), "{notes:?}");
    assert_eq!(notes[1..], ["socket: bad: refused"]);
    assert_eq!((server.metrics().events_refused, server.metrics().events_failed), (1, 0));
    assert_eq!(client.emit_with_ack("good", 1).await, json!(["good"]));
}

#[actix_rt::test]
async fn a_middleware_may_answer_what_it_refuses_and_any_error_refuses() {
    let namespace = Namespace::new("/").before_event(|_: Socket, event: Event, ack: AckSender| {
        let number = event.args.get::<u32>(0);
        async move {
            match number {
                Ok(_) => Ok(()),
                Err(error) => {
                    ack.send(&json!({ "error": "a number, please" }))?;
                    Err(EventError::from(error))
                }
            }
        }
    });
    let namespace = namespace.on("n", |_: Socket, n: u32| async move { Ack(n) });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("n", 7).await, json!([7]));
    let refused = client.emit_with_ack("n", "seven").await;
    assert_eq!(refused, json!([{ "error": "a number, please" }]));
}

#[actix_rt::test]
async fn a_middleware_that_waits_holds_its_own_event_only() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(heard(&log).before_event(hold)));
    let client = server.connect("/", ()).await.unwrap();
    let slow = client.emit_with_ack("slow", 1);
    client.emit("slow", 2);
    assert_eq!(client.emit_with_ack("fast", 3).await, json!(["fast"]));
    assert_eq!(log.take(), ["heard fast 3"]);
    assert_eq!(slow.await, json!(["slow"]));
    server.settle().await;
    assert_eq!(log.take(), ["heard slow 1", "heard slow 2"]);
}

#[actix_rt::test]
async fn in_serial_mode_a_held_event_holds_those_behind_it_and_a_refused_one_does_not() {
    let log = Log::default();
    let namespace = heard(&log).serial(true).before_event(hold).before_event(no_bad_ones);
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    for (event, n) in [("bad", 0), ("slow", 1), ("fast", 2), ("bad", 3), ("slow", 4), ("good", 5)] {
        client.emit(event, n);
    }
    server.advance(SECOND / 2).await;
    assert_eq!(log.take(), [] as [&str; 0]);
    server.advance(SECOND).await;
    assert_eq!(log.take(), ["heard slow 1", "heard fast 2"]);
    server.advance(SECOND).await;
    assert_eq!(log.take(), ["heard slow 4", "heard good 5"]);
    assert_eq!(server.metrics().events_refused, 2);
}

#[actix_rt::test]
async fn in_serial_mode_a_refusal_after_a_wait_lets_the_next_one_through() {
    let log = Log::default();
    let late = |_: Socket, event: Event| async move {
        tokio::time::sleep(SECOND).await;
        match &*event.name {
            "bad" => Err(EventError::new("late")),
            _ => Ok(()),
        }
    };
    let namespace = heard(&log).serial(true).before_event(late);
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    drop(client.emit_with_ack("bad", ()));
    assert_eq!(client.emit_with_ack("good", ()).await, json!(["good"]));
    assert_eq!(log.take(), ["heard good 0"]);
}

#[actix_rt::test]
async fn an_event_is_dropped_when_its_socket_leaves_while_it_is_held() {
    let log = Log::default();
    let namespace = heard(&log).before_event(hold).before_event(noting(&log, "behind"));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [left, put_out, cut] = server.many("/", 3).await.try_into().unwrap();
    for client in [&left, &put_out, &cut] {
        client.emit("slow", 1);
    }
    server.settle().await;
    left.leave();
    handle(&server, &put_out).await.disconnect(false).await;
    cut.drop_connection();
    server.advance(2 * SECOND).await;
    assert_eq!(log.take(), [] as [&str; 0]);
    // The connection that has ended has nobody left to count it.
    assert_eq!(server.metrics().events_after_disconnect, 2);
    let back = left.connection().join("/", ()).await.unwrap();
    back.expect_silence().await;
}

#[actix_rt::test]
async fn a_listener_is_looked_up_when_the_event_is_let_through() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(heard(&log).before_event(hold)));
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    client.emit("slow", 1);
    server.settle().await;
    let late = log.clone();
    socket.on("slow", move |_: Socket, n: u32| late.noted(format!("late {n}")));
    server.advance(SECOND).await;
    assert_eq!(log.take(), ["heard slow 1", "late 1"]);
}

#[actix_rt::test]
async fn a_middleware_that_panics_refuses_its_event_and_nothing_else() {
    let log = Log::default();
    let errors = log.clone();
    let namespace = heard(&log)
        .before_event(|_: Socket, event: Event| {
            assert_ne!(event.name, "bad", "the middleware panics at once");
            async move {
                tokio::task::yield_now().await;
                assert_ne!(event.name, "slow", "the middleware panics later");
                Ok::<_, EventError>(())
            }
        })
        .on_error(move |_, event, error| errors.note(format!("{event} {:?}", error.kind())));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("bad", ());
    client.emit("slow", ());
    server.settle().await;
    assert_eq!(client.emit_with_ack("good", ()).await, json!(["good"]));
    assert_eq!(log.take(), ["bad Panicked", "slow Panicked", "heard good 0"]);
    assert_eq!(server.metrics().panics, 2);
}

#[actix_rt::test]
async fn events_that_middlewares_hold_count_as_listeners_under_way() {
    let log = Log::default();
    let builder = SocketIo::builder().max_running_listeners(2);
    let server = TestServer::start(builder.namespace(heard(&log).before_event(hold)));
    let client = server.connect("/", ()).await.unwrap();
    for (event, n) in [("slow", 1), ("slow", 2), ("fast", 3)] {
        client.emit(event, n);
    }
    server.advance(SECOND / 2).await;
    assert_eq!(log.take(), [] as [&str; 0], "no room for another");
    server.advance(SECOND).await;
    assert_eq!(log.take(), ["heard slow 1", "heard slow 2", "heard fast 3"]);
}

struct Censor(u32);

impl Actor for Censor {
    type Context = Context<Self>;
}

impl Handler<Receiving> for Censor {
    type Result = Result<(), EventError>;

    fn handle(
        &mut self,
        Receiving { event, .. }: Receiving,
        _: &mut Self::Context,
    ) -> Self::Result {
        self.0 += 1;
        match self.0 {
            1 => Ok(()),
            n => Err(EventError::new(format!("{} is number {n}", event.name))),
        }
    }
}

#[actix_rt::test]
async fn an_actor_may_decide() {
    let log = Log::default();
    let errors = log.clone();
    let namespace = heard(&log)
        .before_event(Censor(0).start().recipient())
        .on_error(move |_, _, error| errors.note(error.to_string()));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("good", 1);
    client.emit("good", 2);
    server.settle().await;
    assert_eq!(log.take(), ["heard good 1", "good is number 2"]);
}
