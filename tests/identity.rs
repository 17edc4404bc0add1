//! Who may talk to the server, and that nobody can take the place of another.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::sync::mpsc;

use greenroom::{
    Cookie, Cors, Recovery, SocketIoBuilder,
    engine::{ConnectionError, SameSite},
    prelude::*,
};
use http::{Response, Server, WebSocket};
use serde_json::{Value, json};

const URL: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";

fn server(build: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder + Send + 'static) -> Server {
    Server::start(|| build(SocketIo::builder()).start())
}

fn session(server: &Server) -> String {
    let response = server.request("GET", URL, b"");
    assert_eq!(response.status, 200, "{response:?}");
    format!("{URL}&sid={}", response.sid())
}

/// The status of a WebSocket request of a page of this origin, and its text if it is refused.
fn from_page(server: &Server, url: &str, origin: &str) -> (u16, String) {
    from_page_at(server, url, origin, "test")
}

fn from_page_at(server: &Server, url: &str, origin: &str, host: &str) -> (u16, String) {
    let headers = [("Origin", origin), ("X-Forwarded-Host", host)];
    match server.websocket_with(url, &headers) {
        Ok((_, head)) => (head.status, String::new()),
        Err(refused) => (refused.status, refused.body),
    }
}

// ---- origins ---------------------------------------------------------------------------------

#[test]
fn websockets_of_foreign_pages_are_refused_where_cors_says_who_is_not_foreign() {
    let (told, errors) = mpsc::channel();
    let (handed_out, handle) = mpsc::channel();
    let server = Server::start(move || {
        let cors = Cors::origins(["https://a.example", "http://b.example:8080"]).credentials(true);
        let io = SocketIo::builder()
            .cors(cors)
            .on_connection_error(move |error: ConnectionError| told.send(error).unwrap())
            .start();
        handed_out.send(io.clone()).unwrap();
        io
    });
    let io = handle.recv().unwrap();
    for origin in ["https://a.example", "http://b.example:8080"] {
        assert_eq!(from_page(&server, WS, origin).0, 101, "{origin}");
    }
    let foreign = [
        "https://evil.example",
        "http://a.example",
        "https://a.example:444",
        "https://a.example.evil.example",
        "https://evil.example/https://a.example",
        "https://xa.example",
        "https://A.example",
        "https://a.example/",
        "https://a.example ,https://evil.example",
        "null",
        "test",
        "https://",
        "https://test.evil.example",
        "https://test:8443",
        "file://",
    ];
    for origin in foreign {
        let refused = (403, "Origin not allowed".to_owned());
        assert_eq!(from_page(&server, WS, origin), refused, "{origin}");
        let error = errors.try_recv().unwrap();
        let context = json!({ "name": "FOREIGN_ORIGIN", "origin": origin });
        assert_eq!((error.code, error.message, error.context), (4, "Forbidden", context));
    }
    let metrics = io.metrics();
    assert_eq!(metrics.foreign_origins_refused, foreign.len() as u64);
    assert_eq!(metrics.sessions_opened, 2);
}

#[test]
fn pages_of_the_server_itself_and_clients_that_are_no_browsers_are_let_in() {
    let server = server(|builder| builder.cors(Cors::origin("https://a.example")));
    // The tests' requests go to the host `test`.
    for origin in ["http://test", "https://test", "http://test:80", "https://TEST:443"] {
        assert_eq!(from_page(&server, WS, origin).0, 101, "{origin}");
    }
    assert!(server.websocket(WS).is_ok());
    // A header that a client may write is not the host.
    assert_eq!(from_page_at(&server, WS, "https://c.example", "c.example").0, 403);
}

#[test]
fn an_upgrade_is_asked_for_its_origin_as_well() {
    let server = server(|builder| builder.cors(Cors::origin("https://a.example")));
    let url = session(&server);
    let upgrade = url.replace("polling", "websocket");
    assert_eq!(from_page(&server, &upgrade, "https://evil.example").0, 403);
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40{"));
    assert_eq!(from_page(&server, &upgrade, "https://a.example").0, 101);
}

#[test]
fn every_form_of_cors_decides_for_websockets_as_for_the_rest() {
    let status = |cors: Cors, origin: &str| {
        let server = server(|builder| builder.cors(cors));
        from_page(&server, WS, origin).0
    };
    let evil = "https://evil.example";
    assert_eq!(status(Cors::any(), evil), 101);
    assert_eq!(status(Cors::reflect(), "null"), 101);
    assert_eq!(status(Cors::origins(["null"]), "null"), 101);
    let ours = || Cors::matching(|origin| origin == "https://a.example");
    assert_eq!((status(ours(), evil), status(ours(), "https://a.example")), (403, 101));
    let decided = || Cors::decide(|origin| origin != Some("https://evil.example"));
    assert_eq!((status(decided(), evil), status(decided(), "https://b.example")), (403, 101));
    let open = Cors::origin("https://a.example").refuse_foreign(false);
    assert_eq!(status(open, evil), 101);
}

#[test]
fn without_cors_nobody_is_asked() {
    let server = server(|builder| builder);
    assert_eq!(from_page(&server, WS, "https://evil.example").0, 101);
}

#[test]
fn scripts_for_foreign_pages_are_refused_as_far_as_the_browser_says_so() {
    let server = server(|builder| builder.cors(Cors::origins(["https://a.example"])));
    let status = |headers: &[(&str, &str)]| {
        server.request_with("GET", &format!("{URL}&j=0"), headers, b"").status
    };
    let (site, referer) = ("Sec-Fetch-Site", "Referer");
    for foreign in ["cross-site", "same-site"] {
        assert_eq!(status(&[(site, foreign), (referer, "https://evil.example/x")]), 403);
        assert_eq!(
            status(&[(site, foreign), (referer, "https://evil.example/https://a.example/")]),
            403
        );
        assert_eq!(status(&[(site, foreign)]), 403);
        assert_eq!(status(&[(site, foreign), (referer, "https://a.example/x?y=https://b")]), 200);
        assert_eq!(status(&[(site, foreign), (referer, "https://a.example")]), 200);
    }
    assert_eq!(status(&[(site, "same-origin")]), 200);
    assert_eq!(status(&[(site, "none")]), 200);
    assert_eq!(status(&[]), 200);
    // A form names its origin.
    let url = format!("{URL}&j=0&sid=unknown");
    let evil = [("Origin", "https://evil.example")];
    let refused = server.request_with("POST", &url, &evil, b"d=");
    assert_eq!(
        (refused.status, &*refused.body),
        (403, r#"{"code":4,"message":"Origin not allowed"}"#)
    );
    // Without a script it is the browser that keeps a page from reading.
    assert_eq!(server.request_with("GET", URL, &evil, b"").status, 200);
}

// ---- headers ---------------------------------------------------------------------------------

#[test]
fn nothing_that_a_client_sends_becomes_a_header_of_the_answer() {
    let (server, id) = (
        server(|builder| {
            builder
                .cors(Cors::reflect().credentials(true))
                .cookie(Cookie::named("sticky").secure(true).same_site(SameSite::None))
                .generate_id(|request| {
                    let id = request.query("id").unwrap_or("none").to_owned();
                    std::future::ready(Ok::<_, String>(id))
                })
        }),
        "%0d%0aX-Injected:%201",
    );
    let is_clean = |response: &Response| {
        assert!(response.header("x-injected").is_none(), "{response:?}");
        let all: Vec<&str> = response.headers("set-cookie").collect();
        assert!(all.iter().all(|cookie| !cookie.contains('\r')), "{all:?}");
    };
    let opened = server.request("GET", &format!("{URL}&id={id}"), b"");
    assert_eq!(opened.status, 200);
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.starts_with("sticky="), "{cookie}");
    let value = "%0D%0AX-Injected%3A%201; Path=/; HttpOnly; Secure; SameSite=None";
    assert!(cookie.ends_with(value), "{cookie}");
    is_clean(&opened);
    for url in [
        format!("{URL}&j={id}"),
        format!("{URL}&sid={id}"),
        format!("{URL}&sid=x&j={id}"),
        format!("/socket.io/?EIO={id}&transport=polling"),
        format!("/socket.io/?EIO=4&transport={id}"),
        format!("/socket.io/{id}?EIO=4&transport=polling"),
    ] {
        is_clean(&server.request("GET", &url, b""));
    }
    // A bare line feed or return within a value is none of HTTP: the request is refused as a whole.
    for header in ["Origin", "Access-Control-Request-Headers", "Sec-WebSocket-Protocol"] {
        for value in ["https://a.example\r X-Injected: 1", "a\nX-Injected: 1"] {
            let method = if header.starts_with('A') { "OPTIONS" } else { "GET" };
            is_clean(&server.request_with(method, URL, &[(header, value)], b""));
        }
    }
    let echoed = server.request_with("GET", URL, &[("Origin", "https://a.example, x")], b"");
    assert_eq!(echoed.header("access-control-allow-origin"), Some("https://a.example, x"));
}

// ---- ids -------------------------------------------------------------------------------------

/// A client with a WebSocket of its own that has joined `/`: its socket and what the server said.
fn client(server: &Server, auth: &Value) -> (WebSocket, Value) {
    let mut socket = server.websocket(WS).ok().unwrap();
    let open: Value = serde_json::from_str(&socket.next_text()[1..]).unwrap();
    socket.text(&format!("40{auth}"));
    let text = loop {
        let text = socket.next_text();
        if text.starts_with("40") {
            break text;
        }
    };
    let mut ids: Value = serde_json::from_str(&text[2..]).unwrap();
    ids["session"] = open["sid"].clone();
    (socket, ids)
}

#[test]
fn no_id_of_a_client_opens_anything_but_its_own_door() {
    let server = Server::start(|| {
        let main = Namespace::new("/").on_connect(|socket: Socket| async move {
            if !socket.recovered() {
                socket.data(|data| data.set("secret", "of ann")).unwrap();
                socket.join("ann's room");
            }
            let secret: Option<String> = socket.data(|data| data.get("secret"));
            socket.emit("you", &(socket.recovered(), secret))
        });
        let other = Namespace::new("/other");
        let builder = SocketIo::builder().namespace(main).namespace(other);
        builder.connection_state_recovery(Recovery::new()).start()
    });
    let (mut ann, ids) = client(&server, &json!({}));
    let [sid, pid, session] = ["sid", "pid", "session"].map(|id| ids[id].as_str().unwrap());
    // They are made apart from each other, and none is a part of another.
    for (one, other) in [(sid, pid), (pid, session), (session, sid)] {
        let parts = |text: &str, whole: &str| {
            (0..text.len() - 7).any(|start| whole.contains(&text[start..start + 8]))
        };
        assert!(!parts(one, other) && !parts(other, one), "{one} {other}");
    }
    // The public id and the secret of recovery are no session.
    for id in [sid, pid] {
        for url in [format!("{URL}&sid={id}"), format!("{URL}&sid={}{id}", &session[..2])] {
            for method in ["GET", "POST"] {
                assert!(server.request(method, &url, b"41").body.contains("Session ID unknown"));
            }
            let refused = server.websocket(&url.replace("polling", "websocket")).err().unwrap();
            assert_eq!(refused.body, "Session ID unknown");
        }
    }
    // The public id and the session are no secret of recovery, nor is a part of the secret.
    let inner = &pid[..pid.len() - 1];
    for claimed in [sid, session, inner, ""] {
        let (mut eve, eves) = client(&server, &json!({ "pid": claimed, "offset": "" }));
        assert_ne!(eves["sid"], sid);
        assert_ne!(eves["pid"], pid);
        assert!(eve.next_text().contains(r#"["you",false,"#));
    }
    // The secret of one namespace is none in another.
    let (mut eve, _) = client(&server, &json!({}));
    eve.next_text();
    eve.text(&format!("40/other,{}", json!({ "pid": pid })));
    let joined = eve.next_text();
    assert!(joined.starts_with("40/other,") && !joined.contains(sid) && !joined.contains(pid));
    // Ann has noticed nothing of all that.
    assert!(ann.next_text().contains(r#"["you",false,"of ann""#));
    ann.frame(0x89, b"still here");
    assert_eq!(ann.next(), (0x8a, b"still here".to_vec()));
}
