//! What clients that nobody knows yet can hold: connections, handshakes, sessions, upgrades, requests.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    io::{BufRead, Read, Write},
    net::TcpStream,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use greenroom::{Snapshot, SocketIoBuilder, TrustedProxies, prelude::*};
use http::{Response, Server};
use tokio::sync::Semaphore;

const URL: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";
/// How long a test waits for what does not come.
const LIMIT: Duration = Duration::from_secs(10);
/// What the options are set to; far from their defaults, which are longer than `LIMIT`.
const SHORT: Duration = Duration::from_millis(300);

fn server(
    build: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder + Send + 'static,
) -> (Server, SocketIo) {
    let (sender, handed_out) = mpsc::channel();
    let server = Server::start(move || {
        let main = Namespace::new("/")
            .on("echo", |socket: Socket, data: Args| async move { socket.emit("echo", &data) });
        let io = build(SocketIo::builder().namespace(main)).start();
        sender.send(io.clone()).unwrap();
        io
    });
    (server, handed_out.recv_timeout(LIMIT).unwrap())
}

fn open(server: &Server, headers: &[(&str, &str)]) -> Response {
    server.request_with("GET", URL, headers, b"")
}

fn session(response: &Response) -> String {
    assert_eq!(response.status, 200, "{response:?}");
    format!("{URL}&sid={}", response.sid())
}

#[track_caller]
fn is_full(response: &Response, text: &str) {
    assert_eq!((response.status, &*response.body), (503, text), "{response:?}");
    assert_eq!(response.header("retry-after"), Some("5"));
}

/// Waits until the counters say so.
fn until(io: &SocketIo, condition: impl Fn(&Snapshot) -> bool) {
    let begin = Instant::now();
    while !condition(&io.metrics()) {
        assert!(begin.elapsed() < LIMIT, "{:?}", io.metrics());
        std::thread::yield_now();
    }
}

fn until_closed(io: &SocketIo, clients: usize) {
    let begin = Instant::now();
    while io.clients_count() > clients {
        assert!(begin.elapsed() < LIMIT, "{} are open", io.clients_count());
        std::thread::yield_now();
    }
}

/// Reads to the end of the stream, which has to come.
fn to_end(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    rest
}

// ---- how many --------------------------------------------------------------------------------

#[test]
fn a_full_server_says_so_and_takes_clients_again_when_one_has_left() {
    let (server, io) = server(|builder| builder.max_connections(2));
    let first = session(&open(&server, &[]));
    let mut second = server.websocket(WS).ok().unwrap();
    assert!(second.next_text().starts_with('0'));
    assert_eq!(server.request("POST", &first, b"40").status, 200);
    second.text("40");
    assert!(second.next_text().starts_with("40{"));
    for _ in 0..20 {
        is_full(&open(&server, &[]), "Too many connections");
        is_full(&server.websocket(WS).err().unwrap(), "Too many connections");
    }
    // Those who are there notice nothing.
    second.text(r#"42["echo",1]"#);
    assert_eq!(second.next_text(), r#"42["echo",1]"#);
    assert_eq!(server.request("POST", &first, b"1").status, 200);
    until_closed(&io, 1);
    let third = session(&open(&server, &[]));
    assert_eq!(server.request("POST", &third, b"40").status, 200);
    let metrics = io.metrics();
    assert_eq!((metrics.connections_refused, metrics.requests_refused), (40, 40));
    assert_eq!(metrics.sessions_opened, 3);
}

#[test]
fn the_application_has_so_long_to_judge_a_request_and_its_place_is_free_again() {
    let (server, io) = server(|builder| {
        builder
            .hook_timeout(SHORT)
            .max_handshakes(1)
            .allow_request(|request| async move {
                if request.query("allow").is_some() {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
            .generate_id(|request| async move {
                if request.query("id").is_some() {
                    std::future::pending::<()>().await;
                }
                Ok::<_, String>("the-only-one".into())
            })
            .engine_middleware(|request| async move {
                if request.query("middleware").is_some() {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
    });
    for hook in ["allow", "id", "middleware"] {
        let answer = server.request("GET", &format!("{URL}&{hook}=1"), b"");
        is_full(&answer, "Request timed out");
    }
    assert_eq!(io.metrics().hook_timeouts, 3);
    session(&open(&server, &[]));
}

#[test]
fn what_a_refused_request_had_taken_is_given_back() {
    let (server, _) = server(|builder| {
        let builder = builder.max_connections(1).max_handshakes(1);
        builder.max_connections_per_address(1).allow_request(|request| async move {
            if request.query("token").is_some() { Ok(()) } else { Err(Refusal::new()) }
        })
    });
    for _ in 0..3 {
        assert_eq!(open(&server, &[]).status, 403);
        assert_eq!(server.request("POST", URL, b"").status, 400);
        assert_eq!(server.request("GET", "/socket.io/?EIO=4&transport=x", b"").status, 400);
        assert_eq!(server.websocket(WS).err().unwrap().status, 400);
    }
    assert_eq!(server.request("GET", &format!("{URL}&token=x"), b"").status, 200);
}

#[test]
fn an_address_has_as_many_connections_as_it_may_have() {
    let (server, io) = server(|builder| builder.max_connections_per_address(2));
    let first = session(&open(&server, &[]));
    session(&open(&server, &[]));
    // Nobody is believed who just says so.
    for header in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
        let refused = open(&server, &[(header, "203.0.113.7"), (header, "for=203.0.113.7")]);
        is_full(&refused, "Too many connections from this address");
    }
    server.request("POST", &first, b"1");
    until_closed(&io, 1);
    session(&open(&server, &[]));
    assert_eq!(io.metrics().address_connections_refused, 3);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_address() {
    let (told, addresses) = mpsc::channel();
    let (server, _) = server(move |builder| {
        builder
            .trusted_proxies(TrustedProxies::x_forwarded_for(["127.0.0.0/8"]))
            .max_connections_per_address(1)
            .allow_request(move |request| {
                told.send(request.address.unwrap().ip().to_string()).unwrap();
                std::future::ready(Ok(()))
            })
    });
    let is_taken = |said: &str| open(&server, &[("X-Forwarded-For", said)]).status;
    assert_eq!(is_taken("203.0.113.7"), 200);
    assert_eq!(is_taken("203.0.113.7"), 503);
    assert_eq!(is_taken("192.0.2.99, 203.0.113.7"), 503, "what the client writes is not believed");
    assert_eq!(is_taken("203.0.113.8"), 200);
    assert_eq!(is_taken("2001:db8:0:1::1"), 200);
    assert_eq!(is_taken("2001:db8:0:1:ffff::9"), 503, "the same network");
    assert_eq!(is_taken("2001:db8:0:2::1"), 200);
    assert_eq!(is_taken("garbage"), 200);
    assert_eq!(open(&server, &[]).status, 503, "both are the proxy's");
    let addresses: Vec<String> = addresses.try_iter().collect();
    let known = ["203.0.113.7", "203.0.113.8", "2001:db8:0:1::1", "2001:db8:0:2::1", "127.0.0.1"];
    assert_eq!(addresses, known);
}

#[test]
fn handshakes_in_flight_have_a_limit_of_their_own() {
    let gate = Arc::new(Semaphore::new(0));
    let (entered, waits) = mpsc::channel();
    let judge = Arc::clone(&gate);
    let (server, io) = server(move |builder| {
        builder.max_handshakes(2).allow_request(move |request| {
            let (judge, entered) = (Arc::clone(&judge), entered.clone());
            async move {
                if request.query("slow").is_some() {
                    entered.send(()).unwrap();
                    judge.acquire().await.map_err(|_| Refusal::new())?.forget();
                }
                Ok(())
            }
        })
    });
    // One is being judged, the other is open and has joined nothing.
    let mut slow = server.send("GET", &format!("{URL}&slow=1"), &[], b"");
    waits.recv_timeout(LIMIT).unwrap();
    let mut idle = server.websocket(WS).ok().unwrap();
    idle.next_text();
    idle.text("40");
    assert!(idle.next_text().starts_with("40{"));
    // It has joined; another one does not, and has to go for the next one that is judged.
    let mut lazy = server.websocket(WS).ok().unwrap();
    assert!(lazy.next_text().starts_with('0'));
    let mut other = server.send("GET", &format!("{URL}&slow=2"), &[], b"");
    waits.recv_timeout(LIMIT).unwrap();
    assert_eq!(lazy.close_code(), 1013);
    // Those who are being judged cannot go.
    is_full(&open(&server, &[]), "Too many handshakes");
    is_full(&server.websocket(WS).err().unwrap(), "Too many handshakes");
    gate.add_permits(2);
    for url in [session(&Response::read(&mut slow)), session(&Response::read(&mut other))] {
        assert_eq!(server.request("POST", &url, b"40").status, 200);
        assert!(server.request("GET", &url, b"").body.starts_with("40{"));
    }
    session(&open(&server, &[]));
    let metrics = io.metrics();
    assert_eq!((metrics.handshakes_refused, metrics.handshakes_evicted), (2, 1));
}

#[test]
fn a_flood_of_sessions_that_join_nothing_keeps_nobody_out() {
    const FLOOD: usize = 2_000;
    let (server, io) = server(|builder| builder.max_handshakes(100));
    let mut member = server.websocket(WS).ok().unwrap();
    member.next_text();
    member.text("40");
    assert!(member.next_text().starts_with("40{"));
    let stream = TcpStream::connect(server.address).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let request = format!("GET {URL} HTTP/1.1\r\nHost: test\r\n\r\n");
        writer.write_all(request.repeat(FLOOD).as_bytes()).unwrap();
    });
    let mut answers = std::io::BufReader::new(stream);
    for _ in 0..FLOOD {
        assert_eq!(read_status(&mut answers), 200);
    }
    flood.join().unwrap();
    // Whoever comes now gets in, on either transport.
    let url = session(&open(&server, &[]));
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40{"));
    let mut socket = server.websocket(WS).ok().unwrap();
    socket.next_text();
    socket.text("40");
    assert!(socket.next_text().starts_with("40{"));
    // Who had joined something has noticed nothing.
    member.text(r#"42["echo",1]"#);
    assert_eq!(member.next_text(), r#"42["echo",1]"#);
    until_closed(&io, 103);
    let metrics = io.metrics();
    assert_eq!(metrics.handshakes_refused, 0);
    assert!(metrics.handshakes_evicted >= FLOOD as u64 - 100, "{metrics:?}");
}

/// Reads one of several answers of a connection; its status.
fn read_status(answers: &mut impl BufRead) -> u16 {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        answers.read_line(&mut line).unwrap();
        let lower = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(rest) = lower.strip_prefix("content-length:") {
            length = rest.trim().parse().unwrap();
        } else if lower.is_empty() {
            break;
        }
    }
    std::io::copy(&mut answers.take(length), &mut std::io::sink()).unwrap();
    status
}

#[test]
fn what_is_kept_of_a_request_has_a_bound() {
    let (server, io) = server(|builder| builder.max_request_bytes(4_000));
    let cookie = |bytes: usize| "c".repeat(bytes);
    assert_eq!(open(&server, &[("Cookie", &cookie(3_000))]).status, 200);
    let refused = open(&server, &[("Cookie", &cookie(4_000))]);
    assert_eq!((refused.status, &*refused.body), (431, "Request headers too large"));
    let query = format!("{WS}&q={}", cookie(4_000));
    assert_eq!(server.websocket(&query).err().unwrap().status, 431);
    // Parameters take more than their text.
    let many = format!("{URL}{}", "&a".repeat(60));
    assert_eq!(server.request("GET", &many, b"").status, 431);
    // What is not kept may be longer.
    let url = session(&open(&server, &[]));
    let response = server.request_with("POST", &url, &[("Cookie", &cookie(5_000))], b"40");
    assert_eq!(response.status, 200);
    let metrics = io.metrics();
    assert_eq!((metrics.requests_over_limit, metrics.requests_refused), (3, 3));
}

// ---- how long --------------------------------------------------------------------------------

#[test]
fn sessions_that_join_nothing_are_closed_counted_and_make_room() {
    let (server, io) =
        server(|builder| builder.connect_timeout(SHORT).close_timeout(SHORT).max_connections(2));
    let url = session(&open(&server, &[]));
    let mut socket = server.websocket(WS).ok().unwrap();
    assert!(socket.next_text().starts_with('0'));
    assert_eq!(socket.close_code(), 1005);
    socket.is_ended();
    until_closed(&io, 0);
    assert_eq!(io.metrics().connect_timeouts, 2);
    assert_eq!(server.request("POST", &url, b"40").status, 400);
    session(&open(&server, &[]));
}

#[test]
fn polling_sessions_that_were_left_behind_are_closed_and_counted() {
    let (server, io) = server(|builder| builder.ping_interval(SHORT).ping_timeout(SHORT));
    let urls: Vec<String> = (0..50).map(|_| session(&open(&server, &[]))).collect();
    let joined = &urls[0];
    assert_eq!(server.request("POST", joined, b"40").status, 200);
    until_closed(&io, 0);
    until(&io, |metrics| metrics.ping_timeouts == 50);
    assert_eq!(
        server.request("GET", joined, b"").body,
        r#"{"code":1,"message":"Session ID unknown"}"#
    );
}

#[test]
fn an_upgrade_that_is_never_finished_ends_in_time_whatever_comes_on_it() {
    let (server, io) = server(|builder| builder.upgrade_timeout(SHORT));
    let url = session(&open(&server, &[]));
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40{"));
    let upgrade = url.replace("polling", "websocket");
    for (round, probes) in [0, 1, 2].into_iter().enumerate() {
        let begin = Instant::now();
        let mut socket = server.websocket(&upgrade).ok().unwrap();
        for _ in 0..probes {
            socket.text("2probe");
            assert_eq!(socket.next_text(), "3probe");
        }
        assert_eq!(socket.close_code(), 1005);
        socket.is_ended();
        assert!(begin.elapsed() >= SHORT, "{:?}", begin.elapsed());
        assert_eq!(io.metrics().upgrade_timeouts, round as u64 + 1);
        // The session goes on where it was.
        assert_eq!(server.request("POST", &url, br#"42["echo",1]"#).status, 200);
        let heard = (0..9).map(|_| server.request("GET", &url, b"").body).find(|body| body != "6");
        assert_eq!(heard.as_deref(), Some(r#"42["echo",1]"#));
    }
}

#[test]
fn headers_that_do_not_end_are_cut_off() {
    // actix-http's clock ticks every half second.
    let server = Server::impatient(Duration::from_secs(2), || SocketIo::builder().start());
    let begin = Instant::now();
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(stream, "GET {URL} HTTP/1.1\r\nHost: test\r\nX-Slow: ").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // Every byte is another reason to go on reading.
    while stream.peek(&mut [0]).is_err() {
        assert!(begin.elapsed() < LIMIT, "the headers are still being read");
        let _ = stream.write_all(b"x");
    }
    let rest = String::from_utf8(to_end(&mut stream)).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408 "), "{rest}");
    assert_eq!(server.request("GET", URL, b"").status, 200);
}

#[test]
fn a_body_that_does_not_end_is_cut_off_and_counted() {
    let (server, io) = server(|builder| builder.body_timeout(SHORT));
    let url = session(&open(&server, &[]));
    let mut stream = server.begin("POST", &url, 900_000);
    assert_eq!(Response::read(&mut stream).status, 400);
    to_end(&mut stream);
    until_closed(&io, 0);
    assert_eq!(io.metrics().body_timeouts, 1);
}

#[test]
fn the_body_of_a_refused_request_is_not_waited_for() {
    let (server, _) = server(|builder| builder.max_connections(1));
    session(&open(&server, &[]));
    for url in [URL, "/socket.io/?EIO=4&transport=polling&sid=unknown"] {
        let mut stream = server.begin("POST", url, 900_000);
        assert!(matches!(Response::read(&mut stream).status, 400 | 503));
        to_end(&mut stream);
    }
}

// ---- whose session ---------------------------------------------------------------------------

#[test]
fn a_session_born_on_a_websocket_is_never_another_request_s() {
    let (server, io) = server(|builder| builder);
    let mut socket = server.websocket(WS).ok().unwrap();
    let open = socket.next_text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    assert!(open["upgrades"].as_array().unwrap().is_empty());
    socket.text("40");
    assert!(socket.next_text().starts_with("40{"));
    for (method, body) in [("GET", &b""[..]), ("POST", br#"42["echo","stolen"]"#)] {
        let response = server.request(method, &format!("{URL}&sid={sid}"), body);
        assert_eq!(
            (response.status, &*response.body),
            (400, r#"{"code":3,"message":"Bad request"}"#)
        );
    }
    for _ in 0..2 {
        let mut other = server.websocket(&format!("{WS}&sid={sid}")).ok().unwrap();
        other.texts(&["2probe", "5", r#"42["echo","stolen"]"#]);
        assert_eq!(other.close_code(), 1005);
        other.is_ended();
    }
    socket.text(r#"42["echo","mine"]"#);
    assert_eq!(socket.next_text(), r#"42["echo","mine"]"#);
    assert_eq!(io.clients_count(), 1);
    assert_eq!(io.metrics().events_received, 1);
}

#[test]
fn a_session_that_has_moved_to_a_websocket_stays_there() {
    let (server, _) = server(|builder| builder);
    let url = session(&open(&server, &[]));
    let upgrade = url.replace("polling", "websocket");
    let mut socket = server.websocket(&upgrade).ok().unwrap();
    // While one is on its way there is no second one.
    let mut rival = server.websocket(&upgrade).ok().unwrap();
    rival.texts(&["2probe", "5"]);
    assert_eq!(rival.close_code(), 1005);
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    socket.texts(&["5", "40"]);
    assert!(socket.next_text().starts_with("40{"));
    let mut late = server.websocket(&upgrade).ok().unwrap();
    late.texts(&["2probe", "5"]);
    assert_eq!(late.close_code(), 1005);
    assert_eq!(server.request("GET", &url, b"").status, 400);
    socket.text(r#"42["echo","mine"]"#);
    assert_eq!(socket.next_text(), r#"42["echo","mine"]"#);
}
