//! A server that opens again: after `close()`, behind another HTTP server, after a death.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle};
use greenroom::{CountSockets, prelude::*, testing::TestServer};
use serde_json::json;
use support::Log;

fn doubling(name: &str) -> Namespace {
    Namespace::new(name).on("double", |_: Socket, n: u64| async move { Ack(2 * n) }).on(
        "join",
        |socket: Socket, room: String| async move {
            socket.join(room);
            Ack(())
        },
    )
}

#[actix_rt::test]
async fn after_close_the_server_opens_again_with_the_listeners_it_had() {
    let builder = SocketIo::builder().namespace(doubling("/")).namespace(doubling("/a")).parent(
        Parent::matching("^/p")
            .children(|child| child.on("x", |_: Socket, (): ()| async { Ack(1) })),
    );
    let server = TestServer::start(builder);
    server.io().spawn(doubling("/later"));
    assert!(server.io().remove("/a").await);
    server.connect("/p", ()).await.unwrap();
    let before = server.io().namespace("/").unwrap();
    server.io().close().await;
    assert_eq!(server.open().await.unwrap_err().message, "Server is closed");
    assert_eq!(server.io().namespaces(), [] as [&str; 0]);

    server.io().reopen().await;
    assert!(!before.connected());
    // What was removed stays so; a child waits for its first client.
    assert_eq!(server.io().namespaces(), ["/", "/later"]);
    for name in ["/", "/later"] {
        let client = server.connect(name, ()).await.unwrap();
        assert_eq!(client.emit_with_ack("double", 2).await, json!([4]));
    }
    let child = server.connect("/p", ()).await.unwrap();
    assert_eq!(child.emit_with_ack("x", ()).await, json!([1]));
    let main = server.connect("/", ()).await.unwrap();
    server.io().emit("hello", &()).unwrap();
    assert_eq!(main.next_event().await.name, "hello");
    server.io().close().await;
    server.io().reopen().await;
    server.connect("/later", ()).await.unwrap();
}

#[actix_rt::test]
async fn reopening_a_server_that_is_open_changes_nothing() {
    let server = TestServer::start(SocketIo::builder().namespace(doubling("/")));
    let client = server.connect("/", ()).await.unwrap();
    server.io().reopen().await;
    assert_eq!(client.emit_with_ack("double", 2).await, json!([4]));
    let main = server.io().namespace("/").unwrap();
    assert_eq!(main.send(CountSockets).await.unwrap(), 1);
}

/// An HTTP server in front of `io`, with threads of its own.
fn serve(io: &SocketIo) -> (ServerHandle, u16) {
    let io = io.clone();
    let server = HttpServer::new(move || App::new().service(io.clone()))
        .workers(2)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(("127.0.0.1", 0))
        .unwrap();
    let port = server.addrs()[0].port();
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    (handle, port)
}

/// The body of the answer to a request on a connection of its own.
async fn request(port: u16, method: &str, query: &str, body: &str) -> String {
    let request = format!(
        "{method} /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: x\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    actix_rt::task::spawn_blocking(exchange).await.unwrap()
}

async fn post(port: u16, sid: &str, packets: &str) -> String {
    request(port, "POST", &format!("&sid={sid}"), packets).await
}

async fn get(port: u16, query: &str) -> String {
    request(port, "GET", query, "").await
}

/// Joins the main namespace by polling; returns the session's id.
async fn come(port: u16) -> String {
    let open = get(port, "").await;
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap().to_owned();
    assert_eq!(post(port, &sid, "40").await, "ok");
    assert!(get(port, &format!("&sid={sid}")).await.starts_with("40{\"sid\""));
    sid
}

#[actix_rt::test]
async fn another_http_server_takes_over_when_the_threads_of_the_first_have_ended() {
    let log = Log::default();
    let note = log.clone();
    let main = doubling("/").on_disconnect(move |_: Socket, reason: DisconnectReason| {
        note.note(reason.as_str());
        std::future::ready(())
    });
    let io = SocketIo::builder().namespace(main).start();
    for round in 0..3 {
        let (server, port) = serve(&io);
        let sids = [come(port).await, come(port).await, come(port).await];
        assert_eq!(post(port, &sids[0], "420[\"double\",4]").await, "ok");
        assert_eq!(get(port, &format!("&sid={}", sids[0])).await, "430[8]", "round {round}");
        for sid in &sids {
            assert_eq!(post(port, sid, "421[\"join\",\"all\"]").await, "ok");
            assert_eq!(get(port, &format!("&sid={sid}")).await, "431[]");
        }
        io.to("all").emit("news", &round).unwrap();
        for sid in &sids {
            let news = get(port, &format!("&sid={sid}")).await;
            assert_eq!(news, format!("42[\"news\",{round}]"));
        }
        assert_eq!(io.clients_count(), 3);
        // The threads end, and with them whatever lives on them.
        server.stop(false).await;
        let gone = async {
            while io.clients_count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("sessions end");
    }
}
