//! What counts against a rate limit besides events: everything else that a client can send.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use greenroom::{RateLimit, prelude::*};
use http::{Server, WebSocket};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
/// How long a test waits for what does not come.
const LIMIT: Duration = Duration::from_secs(30);
/// First bytes of frames.
const BEGIN: u8 = 0x01;
const MIDDLE: u8 = 0x00;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// More than the limits here allow.
const MANY: usize = 300;

fn server(limit: RateLimit) -> (Server, SocketIo) {
    let (sender, handed_out) = mpsc::channel();
    let server = Server::start(move || {
        let main = Namespace::new("/").on("double", |_: Socket, n: u64| async move { Ack(n * 2) });
        let io = SocketIo::builder().namespace(main).rate_limit(limit).start();
        sender.send(io.clone()).unwrap();
        io
    });
    (server, handed_out.recv_timeout(LIMIT).unwrap())
}

fn joined(server: &Server) -> WebSocket {
    let mut client = server.websocket(WEBSOCKET).ok().unwrap();
    assert!(client.next_text().starts_with('0'));
    client.text("40");
    assert!(client.next_text().starts_with("40"));
    client
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

/// Sends so many of these frames behind each other, and reads to the close frame.
#[track_caller]
fn is_closed(server: &Server, io: &SocketIo, begin: &[u8], each: &[u8]) {
    let before = io.metrics().rate_limited;
    let mut client = joined(server);
    client.raw(&[begin, &each.repeat(MANY)].concat());
    let code = loop {
        match client.next() {
            (CLOSE, code) => break u16::from_be_bytes(code.try_into().unwrap()),
            (first, _) => assert!(matches!(first, PONG | TEXT), "{first}"),
        }
    };
    assert_eq!(code, 1008);
    assert_eq!(io.metrics().rate_limited, before + 1);
}

#[test]
fn pings_pongs_parts_of_messages_and_packets_that_say_nothing_count_as_events() {
    let (server, io) = server(RateLimit::new().events_per_second(100).close(true));
    let mut other = joined(&server);
    is_closed(&server, &io, b"", &frame(PING, b""));
    is_closed(&server, &io, b"", &frame(PONG, b""));
    is_closed(&server, &io, &frame(BEGIN, b"4"), &frame(MIDDLE, b""));
    is_closed(&server, &io, b"", &frame(TEXT, b"6"));
    is_closed(&server, &io, b"", &frame(TEXT, b"3"));
    other.text(r#"420["double",4]"#);
    assert_eq!(other.next_text(), "430[8]");
}

#[test]
fn what_is_in_pings_and_in_packets_that_say_nothing_counts_as_bytes() {
    let (server, io) = server(RateLimit::new().bytes_per_second(10_000).close(true));
    is_closed(&server, &io, b"", &frame(PING, &[b'x'; 100]));
    is_closed(&server, &io, b"", &frame(PONG, &[b'x'; 100]));
    is_closed(&server, &io, b"", &frame(TEXT, &[b'3'; 100]));
}

#[test]
fn packets_that_say_nothing_count_in_the_bodies_of_posts() {
    let (server, io) = server(RateLimit::new().events_per_second(100).close(true));
    let opened = server.request("GET", POLLING, b"");
    let url = format!("{POLLING}&sid={}", opened.sid());
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    let body = vec!["3"; MANY].join("\u{1e}");
    assert_eq!(server.request("POST", &url, body.as_bytes()).status, 200);
    let begin = Instant::now();
    while io.clients_count() > 0 {
        assert!(begin.elapsed() < LIMIT);
        std::thread::yield_now();
    }
    assert_eq!(io.metrics().rate_limited, 1);
}

#[test]
fn who_pings_too_fast_is_answered_in_the_end() {
    let (server, io) = server(RateLimit::new().events_per_second(200));
    let mut client = joined(&server);
    client.raw(&frame(PING, b"").repeat(MANY));
    client.text(r#"420["double",4]"#);
    let mut pongs = 0;
    loop {
        match client.next() {
            (PONG, _) => pongs += 1,
            (_, text) => break assert_eq!(text, b"430[8]"),
        }
    }
    assert_eq!(pongs, MANY);
    assert!(io.metrics().rate_limited >= 1);
}
