//! The options about HTTP, through real requests: origins, cookies, compression, paths.
//!
//! The same with the official client is in `tests/e2e`: cors, cookie, http_compression.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    io::Read,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use greenroom::{
    SocketIoBuilder,
    engine::{Config, ConnectionError, Cookie, Cors, EngineIo, Hooks, Message, Opened, Refusal},
    prelude::*,
};
use http::{Response, Server};
use serde_json::Value;

const URL: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";
const ORIGIN: (&str, &str) = ("Origin", "https://a.example");

/// A server with these options.
fn server(build: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder + Send + 'static) -> Server {
    Server::start(|| build(SocketIo::builder()).start())
}

/// A server of Engine.IO alone that sends everything back.
fn engine(config: impl FnOnce(&mut Config) + Send + 'static, hooks: Hooks) -> Server {
    Server::engine(|| {
        let mut all = Config::default();
        all.path = "/engine.io".into();
        config(&mut all);
        EngineIo::with_hooks(all, hooks, |socket| Opened::new(move |message| socket.send(message)))
    })
}

fn open(server: &Server) -> String {
    let response = server.request("GET", URL, b"");
    assert_eq!(response.status, 200, "{response:?}");
    format!("{URL}&sid={}", response.sid())
}

fn is_error(response: &Response, status: u16, code: u8) {
    assert_eq!(response.status, status, "{response:?}");
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(body["code"], code);
}

// ---- origins ---------------------------------------------------------------------------------

fn origin_of(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[test]
fn every_answer_says_which_origins_are_allowed() {
    let server = server(|io| io.cors(Cors::origins(["https://a.example"]).credentials(true)));
    let url = open(&server);
    let delete = format!("{URL}&sid=unknown");
    let answers = [
        server.request_with("GET", URL, &[ORIGIN], b""),
        server.request_with("POST", &url, &[ORIGIN], b"40"),
        server.request_with("GET", &url, &[ORIGIN], b""),
        server.request_with("DELETE", &url, &[ORIGIN], b""),
        server.request_with("GET", "/socket.io/", &[ORIGIN], b""),
        server.request_with("GET", &delete, &[ORIGIN], b""),
        server.websocket_with(WS, &[ORIGIN]).unwrap().1,
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 200, 500, 400, 400, 101]);
    for answer in answers {
        assert_eq!(origin_of(&answer), Some("https://a.example"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.headers("vary").collect::<Vec<_>>(), ["Origin"]);
    }
    let other = server.request_with("GET", URL, &[("Origin", "https://evil.example")], b"");
    assert_eq!((other.status, origin_of(&other)), (200, None));
    assert_eq!(other.header("vary"), Some("Origin"));
    // Nobody reads the headers of a WebSocket that was refused.
    let refused = server.websocket_with(&format!("{WS}&sid=unknown"), &[ORIGIN]).err().unwrap();
    assert_eq!((refused.status, origin_of(&refused)), (400, None));
}

#[test]
fn a_preflight_is_answered_before_anything_else() {
    let seen = Arc::new(AtomicUsize::new(0));
    let (middleware, errors) = (Arc::clone(&seen), Arc::clone(&seen));
    let server = server(move |io| {
        io.cors(Cors::any().max_age(std::time::Duration::from_secs(5)))
            .engine_middleware(move |_| {
                middleware.fetch_add(1, Ordering::Relaxed);
                async { Err(Refusal::new()) }
            })
            .on_connection_error(move |_: ConnectionError| {
                errors.fetch_add(1, Ordering::Relaxed);
            })
    });
    let wanted = ("Access-Control-Request-Headers", "x-a");
    for url in [URL, "/socket.io/", "/socket.io/?transport=no", "/socket.io/?sid=x", "/socket.io/x"]
    {
        let answer = server.request_with("OPTIONS", url, &[ORIGIN, wanted], b"");
        assert_eq!((answer.status, &*answer.body), (204, ""));
        assert_eq!(origin_of(&answer), Some("*"));
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, Some("GET,HEAD,PUT,PATCH,POST,DELETE"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("x-a"));
        assert_eq!(answer.header("access-control-max-age"), Some("5"));
        assert_eq!(answer.header("vary"), Some("Access-Control-Request-Headers"));
    }
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let answer = server.request_with("OPTIONS", WS, &upgrade, b"");
    assert_eq!((answer.status, answer.header("connection")), (204, Some("close")));
    assert_eq!(seen.load(Ordering::Relaxed), 0, "nobody else is asked or told");
    assert_eq!(server.request("GET", URL, b"").status, 400);
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[test]
fn a_status_other_than_204_has_its_length() {
    let server = server(|io| io.cors(Cors::any().options_success_status(200)));
    let answer = server.request("OPTIONS", URL, b"");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
}

#[test]
fn without_the_option_nothing_is_said_and_a_preflight_is_a_bad_method() {
    let server = server(|io| io);
    let answer = server.request_with("GET", URL, &[ORIGIN], b"");
    assert_eq!((origin_of(&answer), answer.header("vary")), (None, None));
    let preflight = server.request_with("OPTIONS", URL, &[ORIGIN], b"");
    is_error(&preflight, 400, 2);
    assert_eq!(origin_of(&preflight), None);
}

#[test]
fn an_origin_that_the_function_does_not_accept_is_handled_as_without_the_option() {
    let server = server(|io| io.cors(Cors::decide(|origin| origin == Some("https://a.example"))));
    assert_eq!(server.request_with("OPTIONS", URL, &[ORIGIN], b"").status, 204);
    is_error(&server.request("OPTIONS", URL, b""), 400, 2);
}

#[test]
fn engine_io_alone_has_the_options_too() {
    let server = engine(
        |config| {
            config.cors = Some(Cors::any());
            config.cookie = Some(Cookie::named("sticky"));
        },
        Hooks::new(),
    );
    let answer = server.request("GET", "/engine.io/?EIO=4&transport=polling", b"");
    assert_eq!(origin_of(&answer), Some("*"));
    let cookie = format!("sticky={}; Path=/; HttpOnly; SameSite=Lax", answer.sid());
    assert_eq!(answer.header("set-cookie"), Some(&*cookie));
    assert_eq!(server.request("OPTIONS", "/engine.io/", b"").status, 204);
}

// ---- the cookie ------------------------------------------------------------------------------

#[test]
fn the_cookie_is_set_by_the_first_answer_of_a_polling_session_and_never_again() {
    let server = server(|io| io.cookie(Cookie::default()));
    let first = server.request("GET", URL, b"");
    let cookie = format!("io={}; Path=/; HttpOnly; SameSite=Lax", first.sid());
    assert_eq!(first.headers("set-cookie").collect::<Vec<_>>(), [&*cookie]);
    let url = format!("{URL}&sid={}", first.sid());
    let later = [
        server.request("POST", &url, b"40"),
        server.request("GET", &url, b""),
        server.request("GET", "/socket.io/", b""),
        server.websocket_with(WS, &[]).unwrap().1,
    ];
    for answer in later {
        assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
    }
}

// ---- compression -----------------------------------------------------------------------------

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br");

/// A server whose first answers have that many bytes, and some.
fn talkative(bytes: usize, threshold: Option<usize>) -> Server {
    server(move |io| {
        io.http_compression(threshold).initial_packet(Message::Text("x".repeat(bytes).into()))
    })
}

fn gunzipped(response: &Response) -> String {
    let mut text = String::new();
    GzDecoder::new(&response.bytes[..]).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn large_bodies_of_polls_are_compressed_as_the_client_likes_it() {
    // One that the worker compresses itself, and one that it gives away.
    for bytes in [1024, 300_000] {
        let server = talkative(bytes, Some(1024));
        let plain = server.request("GET", URL, b"");
        assert_eq!(plain.header("content-encoding"), None);
        assert!(plain.body.ends_with(&format!("\x1e4{}", "x".repeat(bytes))));

        let packed = server.request_with("GET", URL, &[GZIP], b"");
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert_eq!(packed.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(packed.header("cache-control"), Some("no-store"));
        assert!(packed.bytes.len() < 1000, "{}", packed.bytes.len());
        assert_eq!(gunzipped(&packed).len(), plain.body.len());

        let deflate = [("Accept-Encoding", "gzip;q=0.5, deflate")];
        let packed = server.request_with("GET", URL, &deflate, b"");
        assert_eq!(packed.header("content-encoding"), Some("deflate"));
        let mut text = String::new();
        ZlibDecoder::new(&packed.bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), plain.body.len());

        let brotli = server.request_with("GET", URL, &[("Accept-Encoding", "br")], b"");
        assert_eq!(
            (brotli.header("content-encoding"), brotli.body.len()),
            (None, plain.body.len())
        );
    }
}

#[test]
fn bodies_below_the_threshold_are_sent_as_they_are() {
    let length = talkative(1, None).request("GET", URL, b"").body.len();
    for (threshold, expected) in [(length, Some("gzip")), (length + 1, None)] {
        let answer = talkative(1, Some(threshold)).request_with("GET", URL, &[GZIP], b"");
        assert_eq!(answer.header("content-encoding"), expected, "{threshold}");
    }
    let off = talkative(10_000, None).request_with("GET", URL, &[GZIP], b"");
    assert_eq!(off.header("content-encoding"), None);
}

#[test]
fn packets_of_the_transport_itself_are_not_compressed() {
    let server = server(|io| io.http_compression(Some(0)));
    let url = open(&server);
    let mut poll = server.send("GET", &url, &[GZIP], b"");
    server.request("POST", &url, b"3");
    let closed = server.request_with("POST", &url, &[GZIP], b"1");
    assert_eq!((&*closed.body, closed.header("content-encoding")), ("ok", None));
    let noop = Response::read(&mut poll);
    assert_eq!((&*noop.body, noop.header("content-encoding")), ("6", None));
}

#[test]
fn a_session_survives_its_compressed_bodies() {
    let server = server(|io| {
        let echo = |socket: Socket, data: Args| async move { socket.emit("echo", &data) };
        io.namespace(Namespace::new("/").on("echo", echo))
    });
    let url = open(&server);
    server.request("POST", &url, b"40");
    server.request("GET", &url, b"");
    for round in 0..3 {
        let packet = format!("42[\"echo\",{round},\"{}\"]", "y".repeat(100_000));
        server.request("POST", &url, packet.as_bytes());
        assert_eq!(gunzipped(&server.request_with("GET", &url, &[GZIP], b"")), packet);
    }
}

// ---- the first packet ------------------------------------------------------------------------

#[test]
fn the_initial_packet_follows_the_handshake() {
    let server = server(|io| io.initial_packet(Message::Text("hello".into())));
    let answer = server.request("GET", URL, b"");
    assert!(answer.body.ends_with("}\x1e4hello"), "{}", answer.body);
    let mut socket = server.websocket(WS).unwrap();
    assert!(socket.next_text().starts_with("0{"));
    assert_eq!(socket.next_text(), "4hello");

    let binary = Message::Binary(Bytes::from_static(&[1, 2, 3]));
    let server = engine(move |config| config.initial_packet = Some(binary), Hooks::new());
    let answer = server.request("GET", "/engine.io/?EIO=4&transport=polling", b"");
    assert!(answer.body.ends_with("}\x1ebAQID"), "{}", answer.body);
    let mut socket = server.websocket("/engine.io/?EIO=4&transport=websocket").unwrap();
    socket.next_text();
    assert_eq!(socket.next(), (0x82, vec![1, 2, 3]));
}

// ---- paths and upgrades ----------------------------------------------------------------------

#[test]
fn the_slash_at_the_end_of_the_path_may_be_left_out() {
    let bare = "/socket.io?EIO=4&transport=polling";
    let with = server(|io| io);
    assert_eq!(with.request("GET", bare, b"").status, 404);
    let without = server(|io| io.add_trailing_slash(false).path("/socket.io/"));
    for url in [bare, URL, "/socket.iomore?EIO=4&transport=polling"] {
        assert_eq!(without.request("GET", url, b"").status, 200, "{url}");
    }
    assert!(without.websocket("/socket.io?EIO=4&transport=websocket").is_ok());
    assert_eq!(without.request("GET", "/other", b"").status, 404);
}

#[actix_rt::test]
async fn under_normalize_path_the_slash_is_kept_or_not_waited_for() {
    use actix_web::{
        App,
        middleware::{NormalizePath, TrailingSlash},
        test,
    };
    for (add, slash, status) in [
        (true, TrailingSlash::Trim, 404),
        (true, TrailingSlash::MergeOnly, 200),
        (false, TrailingSlash::Trim, 200),
    ] {
        let io = SocketIo::builder().add_trailing_slash(add).start();
        let app = App::new().wrap(NormalizePath::new(slash)).service(io);
        let app = test::init_service(app).await;
        let get = test::TestRequest::get().uri(URL).to_request();
        assert_eq!(test::call_service(&app, get).await.status(), status, "{add} {slash:?}");
    }
}

#[test]
fn upgrades_that_are_not_allowed_are_not_announced() {
    let server = server(|io| io.allow_upgrades(false));
    let answer = server.request("GET", URL, b"");
    assert!(answer.body.contains("\"upgrades\":[]"), "{}", answer.body);
    // And no more than that, as in the reference: a client that tries succeeds.
    let mut socket = server.websocket(&format!("{WS}&sid={}", answer.sid())).unwrap();
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    assert!(server.websocket(WS).is_ok());
}

#[test]
fn open_sessions_are_counted() {
    let handle = Arc::new(OnceLock::new());
    let kept = Arc::clone(&handle);
    let server = Server::start(move || {
        let io = SocketIo::builder().start();
        kept.set(io.clone()).unwrap();
        io
    });
    let io: &SocketIo = handle.get().unwrap();
    assert_eq!(io.clients_count(), 0);
    let (url, other) = (open(&server), open(&server));
    assert_eq!(io.clients_count(), 2);
    server.request("POST", &url, b"1");
    assert_eq!(io.clients_count(), 1);
    server.request("POST", &other, b"1");
    assert_eq!(io.clients_count(), 0);
}

#[actix_rt::test]
async fn the_path_can_be_asked_for_whatever_its_spelling() {
    assert_eq!(SocketIo::builder().start().path(), "/socket.io/");
    for (path, with, without) in [
        ("/a", "/a/", "/a"),
        ("a", "/a/", "/a"),
        ("a/", "/a/", "/a"),
        ("/a//", "/a/", "/a"),
        ("a/b", "/a/b/", "/a/b"),
        ("/", "/", ""),
        ("", "/", ""),
    ] {
        assert_eq!(SocketIo::builder().path(path).start().path(), with, "{path:?}");
        let bare = SocketIo::builder().path(path).add_trailing_slash(false).start();
        assert_eq!(bare.path(), without, "{path:?}");
    }
}
