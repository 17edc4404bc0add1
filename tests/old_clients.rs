//! Clients of Engine.IO 3 and Socket.IO 2, byte by byte.
//!
//! More of it, with the official clients, is in `tests/e2e/eio3.test.mjs` and `jsonp.test.mjs`.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use greenroom::{
    Recovery,
    engine::{Config, ConnectionEvent, EngineIo, Message, Opened, Request},
    prelude::*,
};
use http::{Server, WebSocket};
use serde_json::{Value, json};
use tokio::sync::watch;

const URL: &str = "/socket.io/?EIO=3&transport=polling";
const WS: &str = "/socket.io/?EIO=3&transport=websocket";

/// A namespace that says who asks, and sends back what it gets.
fn mirror(name: &str) -> Namespace {
    Namespace::new(name)
        .on("who", |socket: Socket, _: ()| async move {
            let auth = socket.handshake().auth.clone();
            Ack((socket.id().to_string(), socket.protocol(), auth))
        })
        .on("echo", |socket: Socket, data: Args| async move { socket.emit("echo", &data) })
}

fn server() -> Server {
    Server::with_workers(2, || {
        let refusing = Namespace::new("/refusing").before_connect(async |socket: Socket| {
            let error = ConnectError::new("no");
            Err::<(), _>(match &socket.handshake().auth["data"] {
                Value::String(text) => error.data(&serde_json::from_str::<Value>(text).unwrap()),
                _ => error,
            })
        });
        SocketIo::builder()
            .allow_eio3(true)
            .namespace(mirror("/"))
            .namespace(mirror("/admin"))
            .namespace(refusing)
            .start()
    })
}

/// Opens a session; its id. The client is in `/` from the start.
fn open(server: &Server) -> (WebSocket, String) {
    let mut socket = server.websocket(WS).ok().unwrap();
    let open: Value = serde_json::from_str(socket.next_text().strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open["upgrades"], json!([]));
    assert_eq!(socket.next_text(), "40");
    (socket, open["sid"].as_str().unwrap().to_owned())
}

#[test]
fn an_old_client_is_in_the_main_namespace_with_the_id_of_its_session() {
    let server = server();
    let (mut socket, sid) = open(&server);
    socket.text(r#"421["who"]"#);
    assert_eq!(socket.next_text(), format!(r#"431["{sid}",3,{{}}]"#));
    socket.text("40/admin?token=a%20b&x=1,");
    assert_eq!(socket.next_text(), "40/admin,");
    socket.text(r#"42/admin,2["who"]"#);
    let answer = format!(r##"43/admin,2["/admin#{sid}",3,{{"token":"a b","x":"1"}}]"##);
    assert_eq!(socket.next_text(), answer);
    // A client of today beside it.
    let mut young = server.websocket(&WS.replace("EIO=3", "EIO=4")).ok().unwrap();
    young.next_text();
    young.text("40/admin?token=1,");
    assert_eq!(young.next_text(), r#"44/admin?token=1,{"message":"Invalid namespace"}"#);
}

#[test]
fn an_old_client_is_refused_with_the_data_or_the_message_alone() {
    let server = server();
    let (mut socket, _) = open(&server);
    for (query, refusal) in [
        ("", r#""no""#),
        ("?data={\"code\":401}", r#"{"code":401}"#),
        ("?data=\"text\"", r#""text""#),
        ("?data=[]", "[]"),
        ("?data=1", "1"),
        ("?data=0", r#""no""#),
        ("?data=false", r#""no""#),
        ("?data=null", r#""no""#),
        ("?data=\"\"", r#""no""#),
    ] {
        socket.text(&format!("40/refusing{query},"));
        assert_eq!(socket.next_text(), format!("44/refusing,{refusal}"));
    }
    socket.text("40/nowhere,");
    assert_eq!(socket.next_text(), r#"44/nowhere,{"message":"Invalid namespace"}"#);
}

#[test]
fn polling_bodies_have_lengths() {
    let server = server();
    let response = server.request("GET", &format!("{URL}&b64=1"), b"");
    let (length, rest) = response.body.split_once(':').unwrap();
    let (open, mut rest) = rest.split_at(length.parse().unwrap());
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let url = format!("{URL}&sid={}", open["sid"].as_str().unwrap());
    let greeting;
    if rest.is_empty() {
        greeting = server.request("GET", &url, b"").body;
        rest = &greeting;
    }
    assert_eq!(rest, "2:40");
    // A scalar of two code units, and an attachment.
    let event = r#"451-["echo","👍",{"_placeholder":true,"num":0}]"#;
    let body = format!("{}:{event}10:b4AQIDBA==", event.encode_utf16().count());
    assert_eq!(server.request("POST", &url, body.as_bytes()).body, "ok");
    assert_eq!(server.request("GET", &url, b"").body, body);
    let octets = [("Content-Type", "application/octet-stream")];
    let body = [&[0, 1, 1, 255][..], br#"42["echo",1]"#].concat();
    // One character less than it has.
    assert_eq!(server.request_with("POST", &url, &octets, &body).body, "ok");
    assert_eq!(server.request("GET", &url, b"").status, 400);
}

#[test]
fn a_page_may_poll_with_scripts() {
    let server = server();
    for (eio, greeting, joined, event) in
        [(3, "", "2:40", r#"17:42["echo","a\\nb"]"#), (4, "40", "40{", r#"42["echo","a\\nb"]"#)]
    {
        let url = format!("/socket.io/?EIO={eio}&transport=polling");
        let opened = server.request("GET", &format!("{url}&j=5&b64=1"), b"").body;
        assert!(opened.starts_with("___eio[5](\""), "{opened}");
        let sid = opened.split("\\\"").skip_while(|part| *part != "sid").nth(2).unwrap();
        let url = format!("{url}&sid={sid}");
        if !greeting.is_empty() {
            server.request("POST", &url, format!("d={greeting}").as_bytes());
        }
        let mut script = opened.clone();
        while !script.contains(joined) {
            script = server.request("GET", &url, b"").body;
        }
        assert_eq!(server.request("POST", &url, format!("d={event}").as_bytes()).body, "ok");
        script.clear();
        while !script.contains("echo") {
            let polled = server.request("GET", &url, b"");
            assert_eq!(polled.status, 200, "{polled:?}");
            script = polled.body;
        }
        let end = serde_json::to_string(&event.replace("\\\\n", "\\n")).unwrap();
        assert!(script.starts_with("___eio[5](\""), "{script}");
        assert!(script.ends_with(&format!("{});", &end[1..])), "{script}");
    }
}

#[test]
fn an_old_client_that_comes_back_before_it_has_left_has_to_wait() {
    let (open_gate, gate) = watch::channel(false);
    let (leaving, left) = mpsc::channel();
    let handles = Arc::<Mutex<Vec<Socket>>>::default();
    let noted = Arc::clone(&handles);
    let server = Server::start(move || {
        let slow = mirror("/slow")
            .on_connect(move |socket: Socket| {
                noted.lock().unwrap().push(socket.clone());
                async move { socket.join("room") }
            })
            .on_disconnecting(move |_: Socket, _: DisconnectReason| {
                let mut gate = gate.clone();
                let leaving = leaving.clone();
                async move {
                    leaving.send(()).unwrap();
                    let _ = gate.wait_for(|open| *open).await;
                }
            })
            .on("old", move |_: Socket, _: ()| {
                let old = handles.lock().unwrap()[0].clone();
                async move {
                    old.leave("room");
                    old.disconnect(true).await;
                    Ack(old.rooms().await.len())
                }
            })
            .on("rooms", |socket: Socket, _: ()| async move { Ack(socket.rooms().await.len()) });
        SocketIo::builder().allow_eio3(true).namespace(mirror("/")).namespace(slow).start()
    });
    let (mut socket, sid) = open(&server);
    socket.text("40/slow,");
    assert_eq!(socket.next_text(), "40/slow,");
    socket.texts(&["41/slow,", "40/slow?again=1,", "40/slow?ignored=1,", r#"421["who"]"#]);
    assert_eq!(socket.next_text(), format!(r#"431["{sid}",3,{{}}]"#), "nothing else waits");
    left.recv_timeout(Duration::from_secs(10)).unwrap();
    open_gate.send(true).unwrap();
    assert_eq!(socket.next_text(), "40/slow,");
    socket.text(r#"42/slow,2["who"]"#);
    let answer = format!(r##"43/slow,2["/slow#{sid}",3,{{"again":"1"}}]"##);
    assert_eq!(socket.next_text(), answer);
    // The socket of before has the same id, and no part in the life of this one.
    socket.text(r#"42/slow,3["old"]"#);
    assert_eq!(socket.next_text(), "43/slow,3[0]");
    socket.text(r#"42/slow,4["rooms"]"#);
    assert_eq!(socket.next_text(), "43/slow,4[2]");
}

#[test]
fn what_old_clients_say_to_come_back_is_bounded_while_it_waits() {
    let (open_gate, gate) = watch::channel(false);
    let server = Server::start(move || {
        let slow = |name: &str| {
            let gate = gate.clone();
            mirror(name).on_disconnecting(move |_: Socket, _: DisconnectReason| {
                let mut gate = gate.clone();
                async move {
                    let _ = gate.wait_for(|open| *open).await;
                }
            })
        };
        let builder = SocketIo::builder().allow_eio3(true).max_auth_bytes(5_000);
        builder.namespace(mirror("/")).namespace(slow("/a")).namespace(slow("/b")).start()
    });
    let (mut socket, _) = open(&server);
    for name in ["a", "b"] {
        socket.text(&format!("40/{name},"));
        assert_eq!(socket.next_text(), format!("40/{name},"));
        socket.text(&format!("41/{name},"));
    }
    let long = "x".repeat(3_000);
    socket.text(&format!("40/a?long={long},"));
    socket.text(&format!("40/b?long={long},"));
    assert_eq!(socket.next_text(), r#"44/b,"Too much auth""#, "both still wait");
    open_gate.send(true).unwrap();
    assert_eq!(socket.next_text(), "40/a,");
}

#[test]
fn a_ping_of_an_old_client_is_its_heartbeat() {
    let server = Server::start(|| {
        let main = Namespace::new("/").on_connect(|socket: Socket| async move {
            let listener = socket.clone();
            socket.on_connection_event(move |_: Socket, event: ConnectionEvent| {
                let socket = listener.clone();
                async move {
                    // Its own packets make the connection busy, and drained again.
                    if event == ConnectionEvent::Heartbeat {
                        socket.emit("noticed", &true)?;
                    }
                    Ok::<_, EmitError>(())
                }
            });
        });
        SocketIo::builder().allow_eio3(true).namespace(main).start()
    });
    let (mut socket, _) = open(&server);
    socket.text("2data");
    assert_eq!(socket.next_text(), "3");
    assert_eq!(socket.next_text(), r#"42["noticed",true]"#);
    socket.text("3");
    socket.close_code();
}

/// The offset at the end of an event's text.
fn offset(event: &str, start: &str) -> String {
    let rest = event.strip_prefix(start).unwrap_or_else(|| panic!("{event}"));
    rest.strip_prefix(",\"").unwrap().strip_suffix("\"]").unwrap().to_owned()
}

#[test]
fn an_old_client_gets_offsets_and_a_new_socket_each_time_where_others_recover() {
    let server = Server::start(|| {
        let main = Namespace::new("/")
            .on("all", |socket: Socket, n: u64| async move { socket.everyone().emit("n", &n) })
            .on("who", |socket: Socket, (): ()| async move {
                Ack((socket.id().to_string(), socket.recovered()))
            });
        let recovery = Recovery::new();
        SocketIo::builder()
            .allow_eio3(true)
            .connection_state_recovery(recovery)
            .namespace(main)
            .namespace(mirror("/admin"))
            .start()
    });
    let (mut first, first_id) = open(&server);
    first.text("40/admin,");
    assert_eq!(first.next_text(), "40/admin,", "no secret");
    first.text(r#"42["all",1]"#);
    let first_offset = offset(&first.next_text(), r#"42["n",1"#);
    first.frame(0x88, &1000_u16.to_be_bytes());
    assert_eq!(first.close_code(), 1000);

    // A client of today has a secret, misses something, and has it when it comes back.
    let young = WS.replace("EIO=3", "EIO=4");
    let mut today = server.websocket(&young).ok().unwrap();
    today.next_text();
    today.text("40");
    let greeting: Value = serde_json::from_str(&today.next_text()[2..]).unwrap();
    today.text(r#"42["all",2]"#);
    let today_offset = offset(&today.next_text(), r#"42["n",2"#);
    today.text("40/admin,");
    let admin: Value = serde_json::from_str(&today.next_text()["40/admin,".len()..]).unwrap();
    assert_ne!(first_offset, today_offset);
    today.frame(0x88, &1000_u16.to_be_bytes());
    assert_eq!(today.close_code(), 1000);

    let (mut second, second_id) = open(&server);
    assert_ne!(first_id, second_id);
    // Not even with the secret of another.
    let pid = admin["pid"].as_str().unwrap();
    second.text(&format!("40/admin?pid={pid},"));
    assert_eq!(second.next_text(), "40/admin,");
    second.text(r#"42/admin,0["who"]"#);
    let own = format!(r##"43/admin,0["/admin#{second_id}",3,{{"pid":"{pid}"}}]"##);
    assert_eq!(second.next_text(), own);
    second.text(r#"421["who"]"#);
    assert_eq!(second.next_text(), format!(r#"431["{second_id}",false]"#), "nothing was missed");
    second.text(r#"42["all",3]"#);
    offset(&second.next_text(), r#"42["n",3"#);

    let mut today = server.websocket(&young).ok().unwrap();
    today.next_text();
    today.text(&format!("40{}", json!({ "pid": greeting["pid"], "offset": today_offset })));
    offset(&today.next_text(), r#"42["n",3"#);
    assert_eq!(today.next_text(), format!("40{greeting}"));
}

#[test]
fn what_an_old_client_is_sent_after_its_end_is_refused_with_recovery_too() {
    let (sender, results) = mpsc::channel();
    let server = Server::start(move || {
        let main = Namespace::new("/").on_disconnect(move |socket: Socket, _: DisconnectReason| {
            let sender = sender.clone();
            async move { sender.send(socket.emit("bye", &())).unwrap() }
        });
        let recovery = Recovery::new();
        SocketIo::builder()
            .allow_eio3(true)
            .connection_state_recovery(recovery)
            .namespace(main)
            .start()
    });
    drop(open(&server));
    let result = results.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(result, Err(EmitError::Disconnected)), "{result:?}");
}

#[test]
fn the_engine_by_itself_knows_the_revision() {
    let server = Server::engine(|| {
        let mut config = Config::default();
        config.path = "/engine.io".into();
        config.allow_eio3 = true;
        let allow = |request: Arc<Request>| async move {
            assert!([3, 4].contains(&request.protocol()));
            Ok(())
        };
        EngineIo::with_allow_request(config, allow, |socket| {
            let revision = socket.protocol().to_string();
            socket.send(Message::Text(revision.into()));
            Opened::new(move |message| socket.send(message))
        })
    });
    for (eio, revision) in [("EIO=3", "43"), ("EIO=4", "44"), ("x", "43")] {
        let mut socket =
            server.websocket(&format!("/engine.io/?{eio}&transport=websocket")).ok().unwrap();
        let mut first = [socket.next_text(), socket.next_text()];
        first.sort();
        assert!(first[0].starts_with("0{"));
        assert_eq!(first[1], revision);
        let binary = if revision == "43" { &[4, 1, 2][..] } else { &[1, 2] };
        socket.frame(0x82, binary);
        assert_eq!(socket.next(), (0x82, binary.to_vec()));
    }
}
