//! What the application says to requests, through real ones: headers, middlewares, ids, and what
//! it is told of those that are refused.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use actix::prelude::*;
use actix_web::http::header::{HeaderName, HeaderValue};
use greenroom::{
    SocketIoBuilder, Transport,
    engine::{ConnectionError, Cookie, Cors, Refusal, Request},
    prelude::*,
};
use http::{Response, Server};
use serde_json::{Value, json};

const URL: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";

/// A server with these options.
fn server(build: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder + Send + 'static) -> Server {
    Server::start(|| build(SocketIo::builder()).start())
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

fn origin_of(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

// ---- headers ---------------------------------------------------------------------------------

#[test]
fn the_application_may_change_the_headers_of_every_answer_of_a_session() {
    let log = Log::default();
    let noting = log.clone();
    let each = HeaderName::from_static("x-each");
    let server = server(move |io| {
        io.cors(Cors::any())
            .on_initial_headers(|headers, _| {
                let first = HeaderName::from_static("x-first");
                headers.insert(first, HeaderValue::from_static("yes"));
            })
            .on_headers(move |headers, request| {
                noting.note(format!("{} {}", request.transport, request.query("sid").is_some()));
                headers.insert(each.clone(), HeaderValue::from_static("yes"));
                // What the server itself has said may be changed too.
                headers.remove("access-control-allow-origin");
            })
    });
    let first = server.request("GET", URL, b"");
    assert_eq!((first.header("x-first"), first.header("x-each")), (Some("yes"), Some("yes")));
    assert_eq!(origin_of(&first), None);
    let url = format!("{URL}&sid={}", first.sid());
    let upgrade = format!("{WS}&sid={}", first.sid());
    for answer in [
        server.request("POST", &url, b"40"),
        server.request("GET", &url, b""),
        server.websocket_with(&upgrade, &[]).unwrap().1,
    ] {
        assert_eq!((answer.header("x-first"), answer.header("x-each")), (None, Some("yes")));
    }
    let (_socket, answer) = server.websocket_with(WS, &[]).unwrap();
    assert_eq!((answer.header("x-first"), answer.header("x-each")), (Some("yes"), Some("yes")));
    let heard =
        ["polling false", "polling true", "polling true", "websocket true", "websocket false"];
    assert_eq!(log.take(), heard);

    for answer in [server.request("GET", "/socket.io/", b""), server.request("PUT", &url, b"")] {
        assert_eq!(answer.header("x-each"), None, "{answer:?}");
        assert_eq!(origin_of(&answer), Some("*"));
    }
    assert_eq!(log.take().len(), 0);
}

// ---- refused requests ------------------------------------------------------------------------

type Errors = Arc<Mutex<Vec<(u8, &'static str, Value)>>>;

fn taken(errors: &Errors) -> (u8, &'static str, Value) {
    let mut errors = errors.lock().unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.pop().unwrap()
}

#[test]
fn every_refused_request_is_reported_with_its_reason() {
    let errors = Errors::default();
    let noted = Arc::clone(&errors);
    let server = server(move |io| {
        io.allow_request(|request: Arc<Request>| async move {
            match request.query("forbid") {
                None => Ok(()),
                Some("") => Err(Refusal::new()),
                Some(text) => Err(Refusal::message(text)),
            }
        })
        .on_connection_error(move |error: ConnectionError| {
            assert_eq!(error.request.headers.get("host").as_deref(), Some("test"));
            noted.lock().unwrap().push((error.code, error.message, error.context));
        })
    });
    let url = open(&server);
    let sid = url.rsplit('=').next().unwrap();
    let get = |url: &str| server.request("GET", url, b"").status;

    assert_eq!(get("/socket.io/"), 400);
    assert_eq!(taken(&errors), (0, "Transport unknown", json!({})));
    assert_eq!(get("/socket.io/?transport=tobi"), 400);
    assert_eq!(taken(&errors), (0, "Transport unknown", json!({ "transport": "tobi" })));
    assert_eq!(get(&format!("{URL}&sid=nobody")), 400);
    assert_eq!(taken(&errors), (1, "Session ID unknown", json!({ "sid": "nobody" })));
    assert_eq!(server.request("PUT", URL, b"").status, 400);
    assert_eq!(taken(&errors), (2, "Bad handshake method", json!({ "method": "PUT" })));
    assert_eq!(get(WS), 400);
    let name = json!({ "name": "TRANSPORT_HANDSHAKE_ERROR" });
    assert_eq!(taken(&errors), (3, "Bad request", name));
    assert_eq!(get(&format!("{WS}&sid={sid}")), 400);
    let mismatch = json!({
        "name": "TRANSPORT_MISMATCH", "transport": "websocket", "previousTransport": "polling"
    });
    assert_eq!(taken(&errors), (3, "Bad request", mismatch));
    assert_eq!(get(&url.replace("EIO=4", "EIO=3")), 400);
    let mismatch = json!({ "name": "PROTOCOL_MISMATCH", "protocol": 3, "previousProtocol": 4 });
    assert_eq!(taken(&errors), (3, "Bad request", mismatch));
    assert_eq!(get(&format!("{URL}&forbid=")), 403);
    assert_eq!(taken(&errors), (4, "Forbidden", json!({})));
    assert_eq!(get(&format!("{URL}&forbid=go+away")), 403);
    assert_eq!(taken(&errors), (4, "Forbidden", json!({ "message": "go away" })));
    assert_eq!(get(&URL.replace("EIO=4", "EIO=x")), 400);
    assert_eq!(taken(&errors), (5, "Unsupported protocol version", json!({ "protocol": 3 })));
    // The same for WebSockets.
    assert_eq!(server.websocket(&format!("{WS}&forbid=no")).err().unwrap().body, "no");
    assert_eq!(taken(&errors), (4, "Forbidden", json!({ "message": "no" })));

    assert_eq!(server.request("DELETE", &url, b"").status, 500);
    assert_eq!(server.request("POST", &url, b"3").status, 200);
    assert!(errors.lock().unwrap().is_empty(), "these are no errors of the protocol");
}

struct Listener(mpsc::Sender<u8>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ConnectionError> for Listener {
    type Result = ();

    fn handle(&mut self, error: ConnectionError, _: &mut Self::Context) {
        self.0.send(error.code).unwrap();
    }
}

#[test]
fn an_actor_is_told_of_refused_requests_as_long_as_it_keeps_up() {
    const REQUESTS: usize = 60;
    let (sender, codes) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let handle = Arc::new(OnceLock::new());
    let kept = Arc::clone(&handle);
    let server = Server::start(move || {
        let arbiter = Arbiter::new();
        let listener = Listener::start_in_arbiter(&arbiter.handle(), |_| Listener(sender));
        // The actor's thread is busy with something else, until the test lets it go on.
        arbiter.spawn_fn(move || {
            let _ = wait.recv();
        });
        let io = SocketIo::builder().on_connection_error(listener.recipient()).start();
        kept.set(io.clone()).unwrap();
        io
    });
    for _ in 0..REQUESTS {
        is_error(&server.request("GET", "/socket.io/", b""), 400, 0);
    }
    let metrics = handle.get().unwrap().metrics();
    assert_eq!(metrics.requests_refused, REQUESTS as u64);
    let lost = metrics.connection_errors_lost as usize;
    assert!((1..REQUESTS).contains(&lost), "{lost}");
    drop(go_on);
    for _ in lost..REQUESTS {
        assert_eq!(codes.recv_timeout(std::time::Duration::from_secs(10)), Ok(0));
    }
}

// ---- middlewares -----------------------------------------------------------------------------

#[test]
fn middlewares_see_every_request_in_their_order() {
    let log = Log::default();
    let (first, second) = (log.clone(), log.clone());
    let server = server(move |io| {
        io.engine_middleware(move |request| {
            let log = first.clone();
            async move {
                log.note(format!("first {}", request.transport));
                tokio::task::yield_now().await;
                log.note("first, later");
                if request.headers.get("x-bad").is_some() {
                    return Err(Refusal::message("a secret reason"));
                }
                Ok(())
            }
        })
        .engine_middleware(move |_| {
            second.note("second");
            async { Ok(()) }
        })
    });
    let url = open(&server);
    assert_eq!(log.take(), ["first polling", "first, later", "second"]);
    for (method, body) in [("POST", "40"), ("GET", ""), ("PUT", "")] {
        server.request(method, &url, body.as_bytes());
        assert_eq!(log.take(), ["first polling", "first, later", "second"]);
    }
    let _socket = server.websocket(WS).unwrap();
    assert_eq!(log.take(), ["first websocket", "first, later", "second"]);
    // Nothing else is looked at when one refuses.
    let bad = [("X-Bad", "1")];
    for url in [URL, "/socket.io/?transport=no", &url] {
        let answer = server.request_with("GET", url, &bad, b"");
        is_error(&answer, 400, 3);
        assert!(!answer.body.contains("secret"));
    }
    let refused = server.websocket_with(WS, &bad).err().unwrap();
    assert_eq!((refused.status, &*refused.body), (400, "Bad request"));
    assert!(!log.take().contains(&"second".to_owned()));
    assert_eq!(server.request("POST", &url, b"3").status, 200, "the session is as it was");
}

#[test]
fn a_middleware_that_refuses_is_reported() {
    let errors = Errors::default();
    let noted = Arc::clone(&errors);
    let server = server(move |io| {
        io.engine_middleware(|request: Arc<Request>| async move {
            Err(if request.transport == Transport::Polling {
                Refusal::new()
            } else {
                Refusal::message("why")
            })
        })
        .on_connection_error(move |error: ConnectionError| {
            noted.lock().unwrap().push((error.code, error.message, error.context));
        })
    });
    server.request("GET", URL, b"");
    let context = json!({ "name": "MIDDLEWARE_FAILURE" });
    assert_eq!(taken(&errors), (3, "Bad request", context));
    server.websocket(WS).err().unwrap();
    let context = json!({ "name": "MIDDLEWARE_FAILURE", "error": "why" });
    assert_eq!(taken(&errors), (3, "Bad request", context));
}

#[test]
fn a_hook_that_panics_costs_its_own_request_only_and_is_counted() {
    let (sender, handed_out) = mpsc::channel();
    let build = |io: SocketIoBuilder| {
        io.engine_middleware(|request: Arc<Request>| async move {
            assert!(request.query("panic").is_none(), "a middleware panics");
            Ok(())
        })
        .allow_request(|request| {
            assert!(request.query("judge").is_none(), "before anything is awaited");
            async move {
                assert!(request.query("later").is_none(), "while it is awaited");
                Ok(())
            }
        })
        .generate_id(|request| async move {
            assert!(request.query("id").is_none(), "no id");
            Ok::<_, String>(format!("{:p}", Arc::as_ptr(&request)))
        })
        .on_connection_error(|error: ConnectionError| {
            assert!(error.request.query("told").is_none(), "a listener of errors panics");
        })
        .on_headers(|_, request| assert!(request.query("burst").is_none(), "a hook panics"))
    };
    let server = Server::start(move || {
        let io = build(SocketIo::builder()).start();
        sender.send(io.clone()).unwrap();
        io
    });
    let io = handed_out.recv().unwrap();
    let url = open(&server);
    for parameter in ["panic", "judge", "later", "id", "burst"] {
        let answer = server.request("GET", &format!("{URL}&{parameter}=1"), b"");
        assert_eq!((answer.status, &*answer.body), (500, "Internal server error"), "{parameter}");
        let answer = server.websocket(&format!("{WS}&{parameter}=1")).err().unwrap();
        assert_eq!(answer.status, 500, "{parameter}");
    }
    is_error(&server.request("POST", &format!("{URL}&told=1"), b""), 400, 2);
    assert_eq!(io.metrics().panics, 11);
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40"));
}

#[test]
fn middlewares_of_actix_web_can_be_wrapped_around_the_server_alone() {
    let server = Server::wrapped(|| SocketIo::builder().path("/").start());
    let answer = server.request("GET", URL, b"");
    assert_eq!((answer.status, answer.header("x-wrapped")), (200, Some("yes")));
    assert_eq!(answer.sid().len(), 26);
    let (mut socket, answer) = server.websocket_with(WS, &[]).unwrap();
    assert_eq!(answer.header("x-wrapped"), Some("yes"));
    assert!(socket.next_text().starts_with("0{"));
    let elsewhere = server.request("GET", "/elsewhere", b"");
    assert_eq!((&*elsewhere.body, elsewhere.header("x-wrapped")), ("another service", None));
}

// ---- ids of sessions -------------------------------------------------------------------------

#[test]
fn ids_of_the_application_are_found_on_every_worker() {
    let number = AtomicUsize::new(0);
    let server = Server::with_workers(3, move || {
        SocketIo::builder()
            .generate_id(move |request| {
                let number = number.fetch_add(1, Ordering::Relaxed);
                async move {
                    tokio::task::yield_now().await;
                    assert_eq!(request.query("sid"), None);
                    Ok::<_, std::convert::Infallible>(format!("user/{number} ü"))
                }
            })
            .cookie(Cookie::default())
            .start()
    });
    for number in 0..6 {
        let answer = server.request("GET", URL, b"");
        let sid = answer.sid();
        let worker = sid.strip_suffix(&format!("user/{number} ü")).unwrap();
        assert_eq!(worker.len(), 2, "two characters for the worker: {sid}");
        let encoded = format!("{worker}user%2F{number}%20%C3%BC");
        assert!(answer.header("set-cookie").unwrap().starts_with(&format!("io={encoded};")));
        let url = format!("{URL}&sid={encoded}");
        for _ in 0..3 {
            assert_eq!(server.request("POST", &url, b"3").status, 200);
        }
    }
}

#[test]
fn a_session_without_an_id_of_its_own_is_refused() {
    let errors = Errors::default();
    let noted = Arc::clone(&errors);
    let server = server(move |io| {
        io.generate_id(|request: Arc<Request>| async move {
            request.query("id").map(str::to_owned).ok_or("no id given")
        })
        .on_connection_error(move |error: ConnectionError| {
            noted.lock().unwrap().push((error.code, error.message, error.context));
        })
    });
    is_error(&server.request("GET", URL, b""), 400, 3);
    let context = json!({ "name": "ID_GENERATION_ERROR", "error": "no id given" });
    assert_eq!(taken(&errors), (3, "Bad request", context));

    let url = format!("{URL}&id=one");
    assert_eq!(server.request("GET", &url, b"").status, 200);
    is_error(&server.request("GET", &url, b""), 400, 3);
    let context = json!({ "name": "ID_GENERATION_ERROR", "error": "the id is in use" });
    assert_eq!(taken(&errors), (3, "Bad request", context));
    // The first one is still there, and its id is free again when it has gone.
    let session = format!("{URL}&sid=AAone");
    assert_eq!(server.request("POST", &session, b"1").status, 200);
    assert_eq!(server.request("GET", &url, b"").status, 200);
}
