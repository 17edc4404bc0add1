//! Clients that read nothing of what is written to them, behind an ordinary `HttpServer`: the session
//! ends, and its place is free, though actix-http keeps the TCP connection.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    io::Read,
    sync::mpsc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use greenroom::prelude::*;
use http::{Server, WebSocket};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
/// How long a test waits for what does not come.
const LIMIT: Duration = Duration::from_secs(30);
/// More than the system takes of what nobody reads.
const MUCH: usize = 16 << 20;

/// A server for one client, which may be sent more than any system keeps.
fn server(pings: Duration) -> (Server, SocketIo) {
    let (sender, handed_out) = mpsc::channel();
    let server = Server::start(move || {
        let main = Namespace::new("/").on("much", |socket: Socket, (): ()| async move {
            socket.emit("much", &Bytes::from(vec![b'x'; MUCH])).unwrap();
        });
        let io = SocketIo::builder()
            .namespace(main)
            .max_connections(1)
            .max_outbox_bytes(2 * MUCH)
            .ping_interval(pings)
            .ping_timeout(2 * pings)
            .close_timeout(Duration::from_millis(300))
            .start();
        sender.send(io.clone()).unwrap();
        io
    });
    (server, handed_out.recv_timeout(LIMIT).unwrap())
}

/// A server that soon misses a client.
fn watchful() -> (Server, SocketIo) {
    server(Duration::from_secs(1))
}

/// The next text that is no ping.
fn next(client: &mut WebSocket) -> String {
    loop {
        match client.next_text() {
            text if text == "2" => client.text("3"),
            text => return text,
        }
    }
}

fn joined(server: &Server) -> WebSocket {
    let mut client = server.websocket(WEBSOCKET).ok().unwrap();
    assert!(next(&mut client).starts_with('0'));
    client.text("40");
    assert!(next(&mut client).starts_with("40"));
    client
}

/// A polling client in the main namespace: the URL of its session.
fn polling(server: &Server) -> String {
    let opened = server.request("GET", POLLING, b"");
    let url = format!("{POLLING}&sid={}", opened.sid());
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    while !server.request("GET", &url, b"").body.contains("40{") {
        assert_eq!(server.request("POST", &url, b"3").status, 200);
    }
    url
}

/// Waits until the place of the only client there may be has been given up, and takes it.
fn its_place_is_free(server: &Server, io: &SocketIo) {
    let begin = Instant::now();
    while io.metrics().unread_timeouts == 0 {
        assert!(begin.elapsed() < LIMIT, "{:?}", io.metrics());
        std::thread::yield_now();
    }
    assert_eq!(server.request("GET", POLLING, b"").status, 200);
}

#[test]
fn the_place_of_a_websocket_that_reads_nothing_is_free_after_a_time() {
    let (server, io) = watchful();
    let mut client = joined(&server);
    client.text(r#"42["much"]"#);
    its_place_is_free(&server, &io);
    assert_eq!(io.metrics().ping_timeouts, 1);
}

#[test]
fn who_sends_pongs_and_reads_nothing_loses_its_place_too() {
    let (server, io) = watchful();
    let mut client = joined(&server);
    client.text(r#"42["much"]"#);
    let begin = Instant::now();
    while io.metrics().sessions_closed == 0 {
        assert!(begin.elapsed() < LIMIT, "{:?}", io.metrics());
        client.text("3");
        // More of them than fit into the system's buffers would hold up the test.
        std::thread::sleep(Duration::from_millis(5));
    }
    its_place_is_free(&server, &io);
}

#[test]
fn the_place_of_a_poll_that_is_not_read_to_its_end_is_free_and_its_answer_is_let_go() {
    let (server, io) = watchful();
    let url = polling(&server);
    assert_eq!(server.request("POST", &url, br#"42["much"]"#).status, 200);
    let mut poll = server.send("GET", &url, &[], b"");
    // Some of it, so that it is under way.
    poll.read_exact(&mut [0; 1000]).unwrap();
    its_place_is_free(&server, &io);
    assert_eq!(io.metrics().ping_timeouts, 1);
    let mut read = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = poll.read(&mut buffer) {
        read += count;
    }
    assert!(read < MUCH, "{read} bytes: the answer was kept");
}

#[test]
fn a_large_event_comes_whole_on_either_transport() {
    let (server, io) = server(LIMIT);
    let mut client = joined(&server);
    client.text(r#"42["much"]"#);
    assert_eq!(next(&mut client), r#"451-["much",{"_placeholder":true,"num":0}]"#);
    let (first, data) = client.next();
    assert_eq!((first, data.len()), (0x82, MUCH));
    assert!(data.iter().all(|byte| *byte == b'x'));
    drop(client);
    let begin = Instant::now();
    while io.clients_count() > 0 {
        assert!(begin.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    let url = polling(&server);
    assert_eq!(server.request("POST", &url, br#"42["much"]"#).status, 200);
    assert!(server.request("GET", &url, b"").body.len() > MUCH);
    assert_eq!(io.metrics().unread_timeouts, 0);
}
