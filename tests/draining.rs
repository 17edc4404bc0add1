//! A server is emptied for a deploy: newcomers are refused, clients are closed over time when nothing
//! of theirs is in flight, and it ends in time whatever they do.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{sync::Arc, time::Duration};

use greenroom::{
    Drain, DrainReport,
    prelude::*,
    testing::{Parting, TestServer},
};
use serde_json::json;
use support::{Log, handle, noting};
use tokio::{sync::Notify, time::Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Starts to drain a server, and lets it begin.
async fn start_draining(
    server: &TestServer,
    drain: Drain,
) -> tokio::task::JoinHandle<(DrainReport, Instant)> {
    let drained = server.io().drain(drain);
    let task = actix_rt::spawn(async move { (drained.await, Instant::now()) });
    server.settle().await;
    task
}

#[actix_rt::test]
async fn a_server_that_drains_is_not_ready_and_lets_nobody_in() {
    let server = TestServer::start(SocketIo::builder());
    let _client = server.connect("/", ()).await.unwrap();
    assert!(server.io().is_ready());
    // From the call on, not from the first poll.
    let drained = server.io().drain(Drain::new());
    assert!(!server.io().is_ready());
    assert_eq!(server.open().await.unwrap_err().message, "Server is closed");
    drained.await;
    assert!(!server.io().is_ready());
    server.io().reopen().await;
    assert!(server.io().is_ready());
    server.connect("/", ()).await.unwrap();
}

#[actix_rt::test]
async fn clients_hear_a_close_after_which_they_connect_again_by_themselves() {
    let log = Log::default();
    let builder = SocketIo::builder().namespace(noting("/", &log)).namespace(noting("/a", &log));
    let server = TestServer::start(builder);
    let client = server.connect("/", ()).await.unwrap();
    let other = client.join("/a", ()).await.unwrap();
    let report = server.io().drain(Drain::new()).await;
    assert_eq!((report.closed, report.cut, report.complete), (1, 0, true));
    // "io server disconnect" would keep them away; this is "transport close" to them.
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    assert_eq!(other.disconnected().await, Parting::Closed(1001));
    let transcript = client.connection().transcript();
    assert!(transcript.iter().all(|packet| !packet.starts_with('1')), "{transcript:?}");
    let ends = log.take();
    for end in ["/ server shutting down, in 0 rooms", "/a server shutting down, in 0 rooms"] {
        assert!(ends.contains(&end.to_owned()), "{ends:?}");
    }
    assert_eq!(server.io().namespaces(), [] as [&str; 0]);
}

#[actix_rt::test]
async fn an_announcement_reaches_every_socket_before_its_end() {
    let builder = SocketIo::builder().namespace(Namespace::new("/a"));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    let drain = Drain::new().announce("restart", &json!({ "in": 3 })).unwrap();
    server.io().drain(drain).await;
    for client in [&main, &a] {
        assert_eq!(client.next_event().await, ("restart".into(), json!([{ "in": 3 }])));
        assert_eq!(client.disconnected().await, Parting::Closed(1001));
    }
    assert!(Drain::new().announce("disconnect", &()).is_err());
}

#[actix_rt::test]
async fn clients_are_closed_at_the_rate_that_was_asked_for() {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", 100).await;
    let start = Instant::now();
    let drained = server.io().drain(Drain::new().deadline(60 * SECOND).rate(10));
    let drained = actix_rt::spawn(drained);
    let gone = || clients.iter().filter(|client| !client.is_connected()).count();
    for second in 1..10 {
        let moment = start + SECOND * second;
        tokio::time::sleep_until(moment).await;
        let expected = second as usize * 10;
        assert!(gone().abs_diff(expected) <= 2, "{} after {second} s", gone());
    }
    let report = drained.await.unwrap();
    assert_eq!((report.closed, report.cut), (100, 0));
    assert!(start.elapsed().abs_diff(10 * SECOND) < SECOND, "{:?}", start.elapsed());
    assert_eq!(server.metrics().sessions_drained, 100);
}

#[actix_rt::test]
async fn clients_are_not_closed_in_the_order_in_which_they_came() {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", 60).await;
    let _drained = start_draining(&server, Drain::new().deadline(100 * SECOND).rate(1)).await;
    server.advance(30 * SECOND).await;
    // Of the first half, as many as of the second, more or less: the odds of this are one in 10^9.
    let gone = clients[..30].iter().filter(|client| !client.is_connected()).count();
    assert!((1..30).contains(&gone), "{gone} of the first 30");
}

#[actix_rt::test]
async fn more_clients_than_the_rate_allows_are_closed_evenly_before_the_deadline() {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", 200).await;
    let start = Instant::now();
    let drained = start_draining(&server, Drain::new().deadline(8 * SECOND).rate(1)).await;
    tokio::time::sleep_until(start + 3 * SECOND).await;
    let gone = clients.iter().filter(|client| !client.is_connected()).count();
    assert!(gone.abs_diff(100) <= 3, "{gone} at half time");
    let (report, end) = drained.await.unwrap();
    assert_eq!((report.closed, report.cut), (200, 0));
    assert!(end - start < 7 * SECOND, "{:?}", end - start);
}

/// A namespace whose listener answers when it is told to.
fn slow_to_answer(go: &Arc<Notify>) -> Namespace {
    let go = Arc::clone(go);
    Namespace::new("/").on("slow", move |_: Socket, n: u64| {
        let go = Arc::clone(&go);
        async move {
            go.notified().await;
            Ack(n)
        }
    })
}

#[actix_rt::test]
async fn a_client_gets_the_acks_it_has_asked_for_before_its_end() {
    let go = Arc::new(Notify::new());
    let server = TestServer::start(SocketIo::builder().namespace(slow_to_answer(&go)));
    let [waits, idle]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let acks = [1, 2].map(|n| waits.emit_with_ack("slow", n));
    server.settle().await;
    let drained = start_draining(&server, Drain::new()).await;
    server.advance(SECOND).await;
    assert!(waits.is_connected() && !idle.is_connected());
    // What comes while it waits is taken as well.
    let late = waits.emit_with_ack("slow", 3);
    server.settle().await;
    for _ in 0..3 {
        go.notify_one();
        server.advance(SECOND).await;
    }
    for (ack, n) in acks.into_iter().chain([late]).zip(1..) {
        assert_eq!(ack.await, json!([n]));
    }
    assert_eq!(waits.disconnected().await, Parting::Closed(1001));
    let (report, _) = drained.await.unwrap();
    assert_eq!((report.closed, report.acks_awaited, report.cut), (2, 2, 0));
}

#[actix_rt::test]
async fn an_answer_that_a_listener_has_given_away_is_waited_for() {
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let namespace = Namespace::new("/").on("later", move |_: Socket, (): (), ack: AckSender| {
        *keep.lock().unwrap() = Some(ack);
        async {}
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let ack = client.emit_with_ack("later", ());
    server.settle().await;
    let drained = start_draining(&server, Drain::new()).await;
    server.advance(SECOND).await;
    assert!(client.is_connected());
    let sender = kept.lock().unwrap().take().unwrap();
    sender.send(&"at last").unwrap();
    assert_eq!(ack.await, json!(["at last"]));
    assert_eq!(drained.await.unwrap().0.cut, 0);
    // One that is dropped instead is waited for no longer.
    server.io().reopen().await;
    let client = server.connect("/", ()).await.unwrap();
    client.emit("later", ());
    let ack = client.emit_with_ack("later", ());
    server.settle().await;
    let drained = start_draining(&server, Drain::new()).await;
    assert!(client.is_connected());
    kept.lock().unwrap().take();
    server.advance(SECOND).await;
    assert!(drained.is_finished());
    drop(ack);
}

#[actix_rt::test]
async fn a_client_may_give_the_acks_it_is_asked_for_before_its_end() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let answer = socket.emit_with_ack::<u64>("sum", &(1, 2));
    let given_up = socket.timeout(2 * SECOND).emit_with_ack::<u64>("ignored", &());
    let given_up = actix_rt::spawn(given_up);
    let drained = start_draining(&server, Drain::new()).await;
    server.advance(SECOND).await;
    client.next_event().await.answer(3);
    assert_eq!(answer.await.unwrap(), 3);
    assert!(client.is_connected());
    // Nobody waits for the other one after its time.
    assert!(matches!(given_up.await.unwrap(), Err(AckError::Timeout)));
    server.advance(SECOND).await;
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    let (report, _) = drained.await.unwrap();
    assert_eq!((report.closed, report.acks_awaited, report.cut), (1, 2, 0));
}

#[actix_rt::test]
async fn what_was_sent_to_a_client_reaches_it_before_its_end() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    client.connection().stop_reading();
    for n in 0..100 {
        socket.emit("n", &n).unwrap();
    }
    let drained = start_draining(&server, Drain::new()).await;
    server.advance(3 * SECOND).await;
    assert!(!drained.is_finished());
    client.connection().resume_reading();
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
    let heard: Vec<String> = (0..100).map(|n| format!(r#"2["n",{n}]"#)).collect();
    assert_eq!(client.connection().transcript()[1..], heard);
    assert_eq!(drained.await.unwrap().0.closed, 1);
}

#[actix_rt::test]
async fn it_ends_soon_after_the_deadline_whatever_clients_and_listeners_do() {
    const DEADLINE: Duration = Duration::from_secs(5);
    let go = Arc::new(Notify::new());
    let namespace = slow_to_answer(&go).on_disconnecting(|_: Socket, _: DisconnectReason| async {
        tokio::time::sleep(3600 * SECOND).await;
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [asks, stalled, silent]: [_; 3] = server.many("/", 3).await.try_into().unwrap();
    drop(asks.emit_with_ack("slow", 1));
    stalled.connection().stop_reading();
    silent.stop_answering_pings();
    let socket = handle(&server, &stalled).await;
    for _ in 0..100 {
        socket.emit("lots", &"x".repeat(1000)).unwrap();
    }
    let start = Instant::now();
    let drained = start_draining(&server, Drain::new().deadline(DEADLINE)).await;
    let (report, end) = drained.await.unwrap();
    assert!(end - start < DEADLINE + 2 * SECOND, "{:?}", end - start);
    assert_eq!((report.closed, report.cut, report.complete), (1, 2, false));
    assert_eq!(server.metrics().drain_sessions_cut, 2);
    assert_eq!(server.io().clients_count(), 0);
    assert_eq!(asks.disconnected().await, Parting::Closed(1001));
}

#[actix_rt::test]
async fn an_empty_server_is_drained_at_once() {
    let server = TestServer::start(SocketIo::builder());
    let start = Instant::now();
    let report = server.io().drain(Drain::new()).await;
    assert_eq!((report.closed, report.acks_awaited, report.cut), (0, 0, 0));
    assert!(report.complete);
    assert!(start.elapsed() < SECOND / 10);
    // Once more, and closed on top of it: nothing is left to do.
    assert!(server.io().drain(Drain::new()).await.complete);
    server.close().await;
}

#[actix_rt::test]
async fn a_drain_that_is_given_up_leaves_who_is_there_and_close_ends_them() {
    let go = Arc::new(Notify::new());
    let server = TestServer::start(SocketIo::builder().namespace(slow_to_answer(&go)));
    let client = server.connect("/", ()).await.unwrap();
    drop(client.emit_with_ack("slow", 1));
    let drained = start_draining(&server, Drain::new()).await;
    drained.abort();
    server.settle().await;
    assert!(client.is_connected() && !server.io().is_ready());
    server.close().await;
    assert_eq!(client.disconnected().await, Parting::Closed(1001));
}

#[actix_rt::test]
async fn sessions_on_several_workers_are_drained() {
    let server = TestServer::workers(SocketIo::builder(), 2).await;
    let clients = server.many("/", 20).await;
    let report = server.io().drain(Drain::new().rate(200)).await;
    assert_eq!((report.closed, report.cut, report.complete), (20, 0, true));
    for client in &clients {
        assert_eq!(client.disconnected().await, Parting::Closed(1001));
    }
}
