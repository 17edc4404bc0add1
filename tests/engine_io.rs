//! The Engine.IO protocol through the front door: a real server, and clients that speak bytes.
//!
//! More of it, with the official client, is in `tests/e2e`.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use greenroom::{
    engine::{Config, EngineIo, EngineSocket, Hooks, Message, Opened, Refusal},
    prelude::*,
};
use http::{Response, Server};
use serde_json::{Value, json};

const URL: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";

fn echo() -> SocketIo {
    let echo = Namespace::new("/").on("echo", |socket: Socket, data: greenroom::Args| async move {
        socket.emit("echo", &data)
    });
    SocketIo::builder().namespace(echo).start()
}

/// Opens a polling session; its id and what the server said of it.
fn open(server: &Server) -> (String, Value) {
    let response = server.request("GET", URL, b"");
    assert_eq!(response.status, 200);
    let open: Value = serde_json::from_str(response.body.strip_prefix('0').unwrap()).unwrap();
    (format!("{URL}&sid={}", open["sid"].as_str().unwrap()), open)
}

/// Opens a polling session and joins the main namespace.
fn join(server: &Server) -> String {
    let (url, _) = open(server);
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40{\"sid\":\""));
    url
}

fn is_error(response: &Response, status: u16, code: u8, message: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(body, json!({ "code": code, "message": message }));
}

// ---- polling ---------------------------------------------------------------------------------

#[test]
fn a_polling_session_is_opened_with_the_facts_of_the_server() {
    let server = Server::start(echo);
    let response = server.request("GET", URL, b"");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let (_, mut open) = open(&server);
    open.as_object_mut().unwrap().remove("sid");
    let expected = json!({
        "upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000
    });
    assert_eq!(open, expected);
}

#[test]
fn packets_travel_in_bodies_separated_and_binary_in_base64() {
    let server = Server::with_workers(3, echo);
    let url = join(&server);
    let packets = "42[\"echo\",1]\x1e451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==";
    let response = server.request("POST", &url, packets.as_bytes());
    assert_eq!((response.status, &*response.body), (200, "ok"));
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(server.request("GET", &url, b"").body, packets);
}

#[test]
fn a_poll_waits_until_there_is_something_to_say() {
    let server = Server::start(echo);
    let url = join(&server);
    let mut poll = server.send("GET", &url, &[], b"");
    poll.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(std::io::Read::read(&mut poll, &mut [0]).is_err(), "nothing was to be said");
    poll.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    server.request("POST", &url, b"42[\"echo\",1]");
    assert_eq!(Response::read(&mut poll).body, "42[\"echo\",1]");
}

#[test]
fn a_second_poll_is_refused_and_ends_the_session() {
    let server = Server::start(echo);
    let url = join(&server);
    let mut first = server.send("GET", &url, &[], b"");
    // The first one is waiting for sure when a later request has been answered.
    server.request("POST", &url, b"3");
    let second = server.request("GET", &url, b"");
    assert_eq!((second.status, &*second.body), (400, ""));
    assert_eq!(Response::read(&mut first).body, "1");
    is_error(&server.request("GET", &url, b""), 400, 1, "Session ID unknown");
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_session_stays() {
    let server = Server::start(|| SocketIo::builder().max_http_buffer_size(10).start());
    let (url, open) = open(&server);
    assert_eq!(open["maxPayload"], 10);
    assert_eq!(server.request("POST", &url, &[b'x'; 11]).status, 413);
    assert_eq!(server.request("POST", &url, b"40").status, 200);
}

#[test]
fn a_second_post_is_refused_and_the_first_is_not_left_waiting() {
    let server = Server::start(echo);
    let url = join(&server);
    let mut first = server.begin("POST", &url, 100);
    // Pongs are ignored, until the server has seen the head of the first request.
    while server.request("POST", &url, b"3").status == 200 {}
    assert_eq!(Response::read(&mut first).status, 400);
    is_error(&server.request("GET", &url, b""), 400, 1, "Session ID unknown");
}

#[test]
fn a_body_that_is_no_payload_ends_the_session() {
    let server = Server::start(echo);
    for body in ["", "x", "42[\"echo\"]\x1e\x1e42[\"echo\"]", "\x1e"] {
        let url = join(&server);
        server.request("POST", &url, body.as_bytes());
        is_error(&server.request("GET", &url, b""), 400, 1, "Session ID unknown");
    }
    let url = join(&server);
    let binary = [("Content-Type", "application/octet-stream")];
    assert_eq!(server.request_with("POST", &url, &binary, b"40").status, 400);
    is_error(&server.request("GET", &url, b""), 400, 1, "Session ID unknown");
}

#[test]
fn a_client_that_closes_gets_a_noop_for_its_waiting_poll() {
    let server = Server::start(echo);
    let url = join(&server);
    let mut poll = server.send("GET", &url, &[], b"");
    server.request("POST", &url, b"3");
    assert_eq!(server.request("POST", &url, b"1").status, 200);
    assert_eq!(Response::read(&mut poll).body, "6");
    is_error(&server.request("GET", &url, b""), 400, 1, "Session ID unknown");
}

#[test]
fn a_session_that_the_server_closes_gets_a_close_packet() {
    let server = Server::start(echo);
    let (url, _) = open(&server);
    // An event of a namespace that was not joined.
    server.request("POST", &url, b"42[\"echo\"]");
    assert_eq!(server.request("GET", &url, b"").body, "1");
}

// ---- refusals --------------------------------------------------------------------------------

#[test]
fn requests_that_make_no_sense_are_refused_with_a_code() {
    let server = Server::start(echo);
    for url in ["/socket.io/", "/socket.io/?EIO=4", "/socket.io/?EIO=4&transport=tube"] {
        is_error(&server.request("GET", url, b""), 400, 0, "Transport unknown");
    }
    for sid in ["nobody", "__proto__", "%00"] {
        let url = format!("{URL}&sid={sid}");
        is_error(&server.request("GET", &url, b""), 400, 1, "Session ID unknown");
    }
    is_error(&server.request("POST", URL, b"40"), 400, 2, "Bad handshake method");
    is_error(&server.request("GET", WS, b""), 400, 3, "Bad request");
    let old = "/socket.io/?EIO=3&transport=polling";
    is_error(&server.request("GET", old, b""), 400, 5, "Unsupported protocol version");
    let (url, _) = open(&server);
    let response = server.request("DELETE", &url, b"");
    assert_eq!((response.status, &*response.body), (500, ""));
    assert_eq!(server.request("GET", "/elsewhere", b"").status, 404);
}

#[test]
fn a_websocket_that_is_refused_is_told_in_plain_text() {
    let server = Server::start(echo);
    for (url, message) in [
        ("/socket.io/?EIO=4&transport=tube", "Transport unknown"),
        ("/socket.io/?EIO=4&transport=websocket&sid=nobody", "Session ID unknown"),
        ("/socket.io/?EIO=3&transport=websocket", "Unsupported protocol version"),
    ] {
        let response = server.websocket(url).err().unwrap();
        assert_eq!((response.status, &*response.body), (400, message));
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(response.header("content-type"), Some("text/html"));
    }
}

#[test]
fn the_application_refuses_requests_before_a_session_is_opened() {
    let server = Server::start(|| {
        let builder = SocketIo::builder().allow_request(|request| async move {
            match request.query("token") {
                Some("secret") => Ok(()),
                Some(_) => Err(Refusal::message("wrong token")),
                None => Err(Refusal::new()),
            }
        });
        builder.start()
    });
    is_error(&server.request("GET", URL, b""), 403, 4, "Forbidden");
    let wrong = format!("{URL}&token=guess");
    is_error(&server.request("GET", &wrong, b""), 403, 4, "wrong token");
    let refused = server.websocket(WS).err().unwrap();
    assert_eq!((refused.status, &*refused.body), (400, "Forbidden"));
    let opened = server.request("GET", &format!("{URL}&token=secret"), b"");
    assert_eq!(opened.status, 200);
    // The session's later requests are not asked for the token again.
    let open: Value = serde_json::from_str(&opened.body[1..]).unwrap();
    let url = format!("{URL}&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(server.request("POST", &url, b"40").status, 200);
}

#[test]
fn a_transport_that_is_not_enabled_is_unknown() {
    let server =
        Server::start(|| SocketIo::builder().transports([greenroom::Transport::WebSocket]).start());
    is_error(&server.request("GET", URL, b""), 400, 0, "Transport unknown");
    let mut socket = server.websocket(WS).ok().unwrap();
    assert!(socket.next_text().starts_with("0{"));
    let server =
        Server::start(|| SocketIo::builder().transports([greenroom::Transport::Polling]).start());
    assert_eq!(open(&server).1["upgrades"], json!([]));
}

#[test]
fn a_closed_server_says_so() {
    let (sender, handed_out) = std::sync::mpsc::channel();
    let server = Server::start(move || {
        let io = echo();
        sender.send(io.clone()).unwrap();
        io
    });
    let io = handed_out.recv().unwrap();
    let url = join(&server);
    let mut poll = server.send("GET", &url, &[], b"");
    server.request("POST", &url, b"3");
    let mut socket = server.websocket(WS).ok().unwrap();
    socket.next_text();
    actix_rt::System::new().block_on(io.close());
    assert_eq!(Response::read(&mut poll).body, "1");
    assert_eq!(socket.close_code(), 1001);
    let response = server.request("GET", URL, b"");
    assert_eq!((response.status, &*response.body), (503, "Server is closed"));
}

// ---- websocket -------------------------------------------------------------------------------

#[test]
fn a_websocket_carries_a_session_by_itself() {
    let server = Server::start(echo);
    let mut socket = server.websocket(WS).ok().unwrap();
    let open: Value = serde_json::from_str(&socket.next_text()[1..]).unwrap();
    assert_eq!(open["upgrades"], json!([]));
    socket.text("40");
    assert!(socket.next_text().starts_with("40{\"sid\":\""));
    socket.text("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    // In fragments, with a ping between them.
    socket.frame(0x02, &[1, 2]);
    socket.frame(0x89, b"are you there?");
    socket.frame(0x80, &[3, 4]);
    assert_eq!(socket.next(), (0x8a, b"are you there?".to_vec()));
    assert_eq!(socket.next_text(), "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]");
    assert_eq!(socket.next(), (0x82, vec![1, 2, 3, 4]));
    socket.frame(0x88, &1000_u16.to_be_bytes());
    assert_eq!(socket.close_code(), 1000);
}

#[test]
fn a_websocket_that_breaks_the_rules_is_closed_with_the_code_of_its_fault() {
    let server = Server::start(|| SocketIo::builder().max_http_buffer_size(1000).start());
    let broken: [(&[u8], u16); 4] = [
        (&[0x81, 0x01, b'3'], 1002),
        (&[0xc1, 0x81, 0, 0, 0, 0, b'3'], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, b'4', 0xff], 1007),
        // A length of two to the forty, of which nothing needs to come.
        (&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], 1009),
    ];
    for (bytes, code) in broken {
        let mut socket = server.websocket(WS).ok().unwrap();
        socket.next_text();
        socket.raw(bytes);
        assert_eq!(socket.close_code(), code, "{bytes:?}");
    }
}

#[test]
fn a_session_moves_from_polling_to_a_websocket_without_losing_or_reordering_anything() {
    let server = Server::with_workers(3, echo);
    let url = join(&server);
    let upgrade = url.replace("polling", "websocket");
    let mut poll = server.send("GET", &url, &[], b"");
    let mut socket = server.websocket(&upgrade).ok().unwrap();
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    // The waiting poll is released, so that the client can move on.
    assert_eq!(Response::read(&mut poll).body, "6");
    server.request("POST", &url, b"42[\"echo\",1]");
    server.request("POST", &url, b"42[\"echo\",2]");
    socket.text("5");
    socket.text("42[\"echo\",3]");
    for n in 1..=3 {
        assert_eq!(socket.next_text(), format!("42[\"echo\",{n}]"));
    }
    is_error(&server.request("GET", &url, b""), 400, 3, "Bad request");
    // Another WebSocket for it is closed; the session does not mind.
    let mut late = server.websocket(&upgrade).ok().unwrap();
    assert_eq!(late.close_code(), 1005);
    socket.text("42[\"echo\",4]");
    assert_eq!(socket.next_text(), "42[\"echo\",4]");
}

#[test]
fn a_failed_upgrade_leaves_the_session_where_it_was() {
    let server = Server::with_workers(3, echo);
    let url = join(&server);
    let upgrade = url.replace("polling", "websocket");
    let mut socket = server.websocket(&upgrade).ok().unwrap();
    socket.text("2not a probe");
    assert!([1000, 1005].contains(&socket.close_code()));
    drop(server.websocket(&upgrade).ok().unwrap());
    server.request("POST", &url, b"42[\"echo\",1]");
    assert_eq!(server.request("GET", &url, b"").body, "42[\"echo\",1]");
}

#[test]
fn what_a_refused_probe_still_says_is_not_taken_for_the_session_s() {
    let server = Server::with_workers(3, echo);
    for packets in [["2probe", "4hello", "2probe"], ["4hello", "1", "2"]] {
        let url = join(&server);
        let mut socket = server.websocket(&url.replace("polling", "websocket")).ok().unwrap();
        // All in one segment, so that the last ones come before the refusal of the first.
        socket.texts(&packets);
        socket.close_code();
        server.request("POST", &url, b"42[\"echo\",1]");
        assert_eq!(server.request("GET", &url, b"").body, "42[\"echo\",1]");
    }
}

// ---- by itself -------------------------------------------------------------------------------

#[test]
fn the_engine_serves_messages_without_socket_io() {
    let server = Server::engine(|| {
        let mut config = Config::default();
        config.path = "engine.io".into();
        EngineIo::new(config, |socket| Opened::new(move |message| socket.send(message)))
    });
    let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket").ok().unwrap();
    socket.next_text();
    socket.text("4hello");
    socket.frame(0x82, &[1, 2]);
    assert_eq!(socket.next_text(), "4hello");
    assert_eq!(socket.next(), (0x82, vec![1, 2]));
    assert_eq!(server.request("GET", URL, b"").status, 404);
}

/// A server of Engine.IO alone that can be asked what it counts.
fn engine_with(
    hooks: Hooks,
    on_open: impl Fn(EngineSocket) -> Opened + Send + Sync + 'static,
) -> (Server, EngineIo) {
    let (sender, handed_out) = mpsc::channel();
    let server = Server::engine(move || {
        let mut config = Config::default();
        config.path = "engine.io".into();
        let engine = EngineIo::with_hooks(config, hooks, on_open);
        sender.send(engine.clone()).unwrap();
        engine
    });
    (server, handed_out.recv().unwrap())
}

const ENGINE: &str = "/engine.io/?EIO=4&transport=polling";
const ENGINE_WS: &str = "/engine.io/?EIO=4&transport=websocket";

#[test]
fn an_introduction_that_panics_opens_no_session_and_leaves_nothing_behind() {
    let (server, engine) = engine_with(Hooks::new(), |socket| {
        assert!(socket.request().query("bad").is_none(), "this one is not welcome");
        Opened::new(move |message| socket.send(message))
    });
    let answer = server.request("GET", &format!("{ENGINE}&bad=1"), b"");
    assert_eq!((answer.status, &*answer.body), (500, "Internal server error"));
    assert_eq!(server.websocket(&format!("{ENGINE_WS}&bad=1")).err().unwrap().status, 500);
    assert_eq!(engine.clients_count(), 0);
    let mut socket = server.websocket(ENGINE_WS).ok().unwrap();
    socket.next_text();
    assert_eq!(engine.clients_count(), 1);
    let metrics = engine.metrics();
    assert_eq!((metrics.panics, metrics.sessions_opened, metrics.requests_refused), (2, 1, 2));
    // Nobody waits for those that were never there.
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(engine.close());
        done.send(engine.metrics().sessions_closed).unwrap();
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)).expect("it closes"), 1);
}

#[test]
fn a_listener_of_the_engine_that_panics_loses_that_message_alone() {
    let (server, engine) = engine_with(Hooks::new(), |socket| {
        Opened::new(move |message| match &message {
            Message::Text(text) if *text == "bad" => panic!("this one is not understood"),
            _ => socket.send(message),
        })
        .on_close(|_| panic!("nor is this"))
    });
    let mut socket = server.websocket(ENGINE_WS).ok().unwrap();
    socket.next_text();
    socket.texts(&["4one", "4bad", "4two"]);
    assert_eq!((socket.next_text(), socket.next_text()), ("4one".into(), "4two".into()));
    assert_eq!(engine.metrics().panics, 1);
    socket.text("1");
    assert_eq!(socket.close_code(), 1005);
    let begun = Instant::now();
    while engine.metrics().panics < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", engine.metrics());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((engine.metrics().sessions_closed, engine.clients_count()), (1, 0));
}
