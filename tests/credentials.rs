//! Credentials that expire: the warning, more time, and the end.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use greenroom::{
    Recovery, SocketIoBuilder,
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use serde_json::json;
use support::{Log, handle, hears};

const SECOND: Duration = Duration::from_secs(1);

/// A namespace whose clients give their time to live in seconds, as `auth.ttl`, and get more with
/// the event `more`. What happens to them is noted.
fn vault(name: &str, log: &Log) -> Namespace {
    let (warned, left) = (log.clone(), log.clone());
    Namespace::new(name)
        .before_connect(|socket: Socket| async move {
            if let Some(seconds) = socket.handshake().auth["ttl"].as_u64() {
                socket.expire_in(Duration::from_secs(seconds));
            }
            Ok::<_, ConnectError>(())
        })
        .on_expiring(move |socket: Socket| {
            let left = socket.expires_in().unwrap().as_secs_f64().round();
            warned.note(format!("warned {left}"));
            async move { socket.emit("token please", &()) }
        })
        .on("more", |socket: Socket, seconds: u64| async move {
            socket.expire_in(Duration::from_secs(seconds));
            Ack(())
        })
        .on("for ever", |socket: Socket, (): ()| async move {
            socket.expire_never();
            Ack(())
        })
        .on("echo", |_: Socket, data: Args| async move { Ack(data) })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            left.noted(format!("left: {reason}"))
        })
}

fn builder(log: &Log) -> SocketIoBuilder {
    SocketIo::builder().namespace(vault("/", log)).namespace(vault("/other", log))
}

async fn connect(server: &TestServer, seconds: u64) -> TestSocket {
    server.connect("/", json!({ "ttl": seconds })).await.unwrap()
}

#[actix_rt::test]
async fn a_socket_is_warned_of_and_then_put_out_with_the_reason() {
    let log = Log::default();
    let server = TestServer::start(builder(&log));
    let client = connect(&server, 100).await;
    let socket = handle(&server, &client).await;
    server.advance(69 * SECOND).await;
    assert!(log.take().is_empty());
    server.advance(2 * SECOND).await;
    assert_eq!(log.take(), ["warned 30"]);
    hears(&client, "token please").await;
    server.advance(28 * SECOND).await;
    assert!(client.is_connected() && log.take().is_empty(), "a warning comes once");
    server.advance(2 * SECOND).await;
    assert_eq!(client.disconnected().await, Parting::ByServer);
    assert_eq!(log.take(), ["left: credentials expired"]);
    assert!(!socket.connected());
    assert_eq!(server.metrics().credentials_expired, 1);
    // The connection itself stays, for a client that has new ones.
    let again = client.connection().join("/", json!({ "ttl": 100 })).await.unwrap();
    assert_eq!(again.emit_with_ack("echo", 1).await, json!([1]));
    server.close().await;
}

#[actix_rt::test]
async fn a_client_that_shows_new_credentials_in_time_stays() {
    let log = Log::default();
    let server = TestServer::start(builder(&log));
    let client = connect(&server, 60).await;
    for _ in 0..5 {
        server.advance(31 * SECOND).await;
        assert_eq!(log.take(), ["warned 30"]);
        assert_eq!(client.next_event().await.name, "token please");
        client.emit_with_ack("more", 60).await;
    }
    server.advance(61 * SECOND).await;
    assert_eq!(log.take(), ["warned 30", "left: credentials expired"]);
    server.close().await;
}

#[actix_rt::test]
async fn a_time_to_live_may_be_shortened_and_taken_away() {
    let log = Log::default();
    let server = TestServer::start(builder(&log));
    let [short, free] = [connect(&server, 3600).await, connect(&server, 3600).await];
    short.emit_with_ack("more", 10).await;
    free.emit_with_ack("for ever", ()).await;
    server.settle().await;
    assert_eq!(log.take(), ["warned 10"], "what is shorter than the warning is warned of at once");
    server.advance(11 * SECOND).await;
    assert_eq!(log.take(), ["left: credentials expired"]);
    server.advance(7200 * SECOND).await;
    assert!(free.is_connected() && log.take().is_empty());
    assert_eq!(handle(&server, &free).await.expires_in(), None);
    server.close().await;
}

#[actix_rt::test]
async fn a_time_to_live_beyond_all_clocks_is_none_and_none_at_all_is_the_end() {
    let log = Log::default();
    let server = TestServer::start(builder(&log));
    let client = connect(&server, u64::MAX).await;
    server.advance(7200 * SECOND).await;
    assert!(client.is_connected());
    client.emit_with_ack("more", 0).await;
    assert_eq!(client.disconnected().await, Parting::ByServer);
    assert_eq!(log.take(), ["left: credentials expired"]);
    server.close().await;
}

#[actix_rt::test]
async fn every_namespace_has_its_own_end() {
    let log = Log::default();
    let server = TestServer::start(builder(&log));
    let client = connect(&server, 50).await;
    let other = client.join("/other", json!({ "ttl": 40 })).await.unwrap();
    server.advance(41 * SECOND).await;
    assert!(client.is_connected() && !other.is_connected());
    server.advance(10 * SECOND).await;
    assert!(!client.is_connected());
    assert_eq!(server.metrics().credentials_expired, 2);
    assert_eq!(server.io().clients_count(), 1);
    server.close().await;
}

#[actix_rt::test]
async fn nothing_is_taken_of_a_client_after_the_end() {
    let log = Log::default();
    let heard = Log::default();
    let noted = heard.clone();
    let main = vault("/", &log)
        .on("note", move |_: Socket, text: String| noted.noted(text))
        .on("end", |socket: Socket, (): ()| async move { socket.expire_in(Duration::ZERO) });
    let server = TestServer::start(SocketIo::builder().namespace(main));
    let client = connect(&server, 3600).await;
    client.emit("note", "before");
    client.emit("end", ());
    server.settle().await;
    // What was on its way is dropped and counted, and is no fault of the client's.
    client.connection().send_raw(r#"2["note","after"]"#);
    server.settle().await;
    assert_eq!(client.disconnected().await, Parting::ByServer);
    assert_eq!(server.metrics().events_after_disconnect, 1);
    assert_eq!(heard.take(), ["before"]);
    assert_eq!(log.take(), ["left: credentials expired"]);
    assert!(!client.connection().is_closed(), "it did nothing wrong");
    server.close().await;
}

#[actix_rt::test]
async fn the_warning_comes_as_early_as_the_namespace_says() {
    let log = Log::default();
    let early = vault("/early", &log).expiry_warning(90 * SECOND);
    let late = Namespace::new("/silent").on_connect(|socket: Socket| async move {
        socket.expire_in(100 * SECOND);
    });
    let server = TestServer::start(SocketIo::builder().namespace(early).namespace(late));
    let client = server.connect("/early", json!({ "ttl": 100 })).await.unwrap();
    let silent = server.connect("/silent", ()).await.unwrap();
    server.advance(11 * SECOND).await;
    assert_eq!(log.take(), ["warned 90"]);
    server.advance(88 * SECOND).await;
    assert!(client.is_connected() && silent.is_connected());
    server.advance(2 * SECOND).await;
    assert!(!client.is_connected() && !silent.is_connected());
    server.close().await;
}

#[actix_rt::test]
async fn who_leaves_before_the_end_leaves_for_its_own_reason() {
    let log = Log::default();
    let server = TestServer::start(builder(&log));
    let client = connect(&server, 20).await;
    assert_eq!(log.take(), ["warned 20"]);
    client.leave();
    server.advance(60 * SECOND).await;
    assert_eq!(log.take(), ["left: client namespace disconnect"]);
    assert_eq!(server.metrics().credentials_expired, 0);
    server.close().await;
}

#[actix_rt::test]
async fn a_client_that_comes_back_shows_its_credentials_again() {
    let log = Log::default();
    // Recovery skips middlewares, unless the credentials had an end.
    let server = TestServer::start(builder(&log).connection_state_recovery(Recovery::new()));
    let client = connect(&server, 60).await;
    let free = server.connect("/", ()).await.unwrap();
    for socket in [&client, &free] {
        socket.drop_connection();
    }
    server.settle().await;
    log.take();
    let back = server.reconnect(&client, json!({ "ttl": 20 })).await.unwrap();
    assert!(back.recovered());
    let free = server.reconnect(&free, json!({ "ttl": 20 })).await.unwrap();
    assert!(free.recovered());
    assert_eq!(handle(&server, &free).await.expires_in(), None, "it passed no middleware");
    server.advance(21 * SECOND).await;
    assert!(!back.is_connected() && free.is_connected());
    assert_eq!(log.take(), ["warned 20", "left: credentials expired"]);
    // Whom the server has put out for that does not come back by the secret of recovery.
    let again = server.reconnect(&back, json!({})).await.unwrap();
    assert!(!again.recovered());
    server.close().await;
}
