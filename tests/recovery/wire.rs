//! What is on the wire.

use actix_rt::test;
use greenroom::{Recovery, prelude::*, testing::TestServer};
use serde_json::{Value, json};

use crate::{
    builder, cut, heard, http::Server, lines::Lines, list_offset, packets, rooms, server,
    support::handle,
};

#[test]
async fn what_was_missed_comes_before_the_reply_and_that_before_anything_new() {
    let lobby = rooms("/").on_connect(|socket: Socket| async move { socket.emit("hello", &1) });
    let server = server(lobby);
    let ann = server.connect("/", json!({ "rooms": ["lobby"] })).await.unwrap();
    heard::<1>(&ann).await;
    cut(&server, &ann).await;
    server.io().to("lobby").emit("said", &2).unwrap();
    server.io().to("lobby").emit("said", &bytes::Bytes::from_static(b"three")).unwrap();
    let reconnecting = server.reconnect(&ann, ());
    server.io().to("lobby").emit("said", &4).unwrap();
    let back = reconnecting.await.unwrap();
    server.settle().await;
    let expected = [
        r#"2["said",2]"#,
        r#"51-["said",{"_placeholder":true,"num":0}]"#,
        "<5 bytes>",
        r#"2["said",4]"#,
        "0",
        r#"2["hello",1]"#,
    ];
    assert_eq!(packets(&back), expected);
    let reply = |client: &greenroom::testing::TestSocket| {
        let packets = client.connection().transcript();
        packets.into_iter().find(|packet| packet.starts_with('0')).unwrap()
    };
    assert_eq!(reply(&back), reply(&ann), "the same id and the same secret");
    assert!(reply(&ann).contains("\"pid\":"));
}

#[test]
async fn without_the_option_nothing_of_it_is_on_the_wire() {
    let server = TestServer::start(SocketIo::builder().namespace(rooms("/")));
    let ann = server.connect("/", json!({ "pid": "x", "offset": "y" })).await.unwrap();
    server.io().emit("said", &1).unwrap();
    // Nothing says that these two are for the same client: no order is promised between them.
    server.settle().await;
    handle(&server, &ann).await.emit("said", &2).unwrap();
    server.settle().await;
    let packets = ann.connection().transcript();
    assert_eq!(packets[0], format!("0{{\"sid\":\"{}\"}}", ann.id()));
    assert_eq!(packets[1..], [r#"2["said",1]"#, r#"2["said",2]"#]);
    cut(&server, &ann).await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(!back.recovered());
    assert_ne!(back.id(), ann.id());
}

#[test]
async fn an_event_carries_its_offset_unless_it_is_volatile_or_wants_an_answer() {
    let server = server(rooms("/").on("echo", |_: Socket, n: u64| async move { Ack(n) }));
    let ann = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &ann).await;
    let (io, everyone) = (server.io(), server.io().sockets());
    let mut offsets: Vec<Value> = Vec::new();
    for _ in 0..2 {
        io.emit("e", &1).unwrap();
        socket.emit("e", &1).unwrap();
        for _ in 0..2 {
            let args = ann.next_event().await.args.to_json();
            assert!(list_offset(&args[1]) && !offsets.contains(&args[1]), "{args}");
            offsets.push(args[1].clone());
        }
        let volatile = everyone.clone().volatile();
        let sent: [(Value, &dyn Fn()); 4] = [
            (json!([2]), &|| volatile.emit("v", &2).unwrap()),
            (json!([3]), &|| socket.volatile().emit("v", &3).unwrap()),
            (json!(["text"]), &|| drop(everyone.emit_with_ack("q", "text").unwrap())),
            (json!(["own text"]), &|| drop(socket.emit_with_ack::<u64>("q", "own text"))),
        ];
        for (expected, send) in sent {
            send();
            assert_eq!(ann.next_event().await.args, expected);
        }
        assert_eq!(ann.emit_with_ack("echo", 7).await, json!([7]));
    }
}

/// The official client takes the last text of any event for its offset, the name included.
#[test]
async fn a_volatile_event_that_ends_with_a_text_repeats_the_last_offset_and_is_not_kept() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &ann).await;
    socket.emit("kept", &1).unwrap();
    let offset = ann.next_event().await.args.to_json()[1].clone();
    let everyone = server.io().sockets().volatile();
    everyone.emit("v", "text").unwrap();
    assert_eq!(ann.next_event().await.args, json!(["text", offset]));
    everyone.emit("v", &()).unwrap();
    assert_eq!(ann.next_event().await.args, json!([offset]));
    socket.volatile().emit("v", &(1, "text")).unwrap();
    assert_eq!(ann.next_event().await.args, json!([1, "text", offset]));
    socket.volatile().emit("v", &()).unwrap();
    assert_eq!(ann.next_event().await.args, json!([offset]));
    cut(&server, &ann).await;
    everyone.emit("v", "text").unwrap();
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    back.expect_silence().await;
}

#[test]
async fn what_comes_with_the_keys_is_auth_as_ever_and_none_of_it_is_in_debug_output() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    cut(&server, &ann).await;
    let back = server.reconnect(&ann, json!({ "token": "hidden" })).await.unwrap();
    let socket = handle(&server, &back).await;
    let auth = &socket.handshake().auth;
    assert_eq!((&auth["token"], &auth["pid"]), (&json!("hidden"), &back.session()["pid"]));
    let shown = format!("{:?} {socket:?}", socket.handshake());
    assert!(shown.contains(r#"["pid", "token"]"#), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
async fn the_secret_is_in_no_log_line() {
    let lines = Lines::of_all_threads(tracing::Level::TRACE);
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    cut(&server, &back).await;
    let wrong = json!({ "pid": "wrong-secret", "offset": "wrong-offset" });
    server.connect("/", wrong).await.unwrap();
    server.close().await;
    let log = lines.text();
    assert!(
        log.contains("socket recovered") && log.contains("a socket was not recovered"),
        "{log}"
    );
    let pid = back.session()["pid"].as_str().unwrap().to_owned();
    for secret in [&*pid, "wrong-secret", "wrong-offset"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// The packets of a polling session's next answers, until one begins like this.
fn poll_until(server: &Server, sid: &str, start: &str) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    while !packets.iter().any(|packet| packet.starts_with(start)) {
        let url = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let body = server.request("GET", &url, b"").body;
        packets.extend(body.split('\x1e').map(str::to_owned));
    }
    packets
}

fn open_polling(server: &Server, connect: &str) -> (String, Vec<String>) {
    let open = server.request("GET", "/socket.io/?EIO=4&transport=polling", b"").body;
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap().to_owned();
    post(server, &sid, connect);
    let packets = poll_until(server, &sid, "40");
    (sid, packets)
}

fn post(server: &Server, sid: &str, body: &str) {
    let url = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(server.request("POST", &url, body.as_bytes()).status, 200);
}

#[test]
async fn a_polling_client_has_its_socket_back_on_another_worker() {
    let server = Server::with_workers(2, || {
        let namespace = Namespace::new("/").on("shout", |socket: Socket, n: u64| async move {
            socket.everyone().emit("shouted", &n)
        });
        builder(namespace, Recovery::new()).start()
    });
    let (ann, packets) = open_polling(&server, "40");
    let reply: Value = serde_json::from_str(&packets[0][2..]).unwrap();
    post(&server, &ann, "42[\"shout\",1]");
    let shouted: Value = serde_json::from_str(&poll_until(&server, &ann, "42")[0][2..]).unwrap();
    // The first client closes; the second one shouts until the first has missed something.
    post(&server, &ann, "1");
    let (bob, _) = open_polling(&server, "40");
    post(&server, &bob, "42[\"shout\",2]\x1e42[\"shout\",3]");
    assert!(poll_until(&server, &bob, "42[\"shouted\",3").len() <= 2);
    let auth = json!({ "pid": reply["pid"], "offset": shouted[2] });
    let (_, packets) = open_polling(&server, &format!("40{auth}"));
    assert!(packets[0].starts_with("42[\"shouted\",2,"), "{packets:?}");
    assert!(packets[1].starts_with("42[\"shouted\",3,"), "{packets:?}");
    assert_eq!(packets[2], format!("40{reply}"));
}
