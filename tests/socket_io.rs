//! The Socket.IO protocol as a client sees it, packet by packet.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use bytes::Bytes;
use greenroom::{
    Args,
    prelude::*,
    testing::{Parting, TestConnection, TestServer},
};
use serde_json::json;
use support::{Log, handle, hears};

/// Notes every event in `log`, whatever its name.
fn listening(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/")
        .on("echo", |_: Socket, data: Args| async move { Ack(data) })
        .on("back", |socket: Socket, data: Args| async move { socket.emit("back", &data) })
        .on_fallback(move |_: Socket, event: Event| {
            log.note(event.args.to_json().to_string());
            std::future::ready(())
        })
}

async fn raw(server: &TestServer) -> TestConnection {
    let connection = server.open().await.unwrap();
    connection.send_raw("0");
    server.settle().await;
    connection
}

/// What has come since the greeting.
async fn answers(server: &TestServer, connection: &TestConnection) -> Vec<String> {
    server.settle().await;
    connection.transcript()[1..].to_vec()
}

#[actix_rt::test]
async fn a_client_gets_an_id_of_its_own_in_every_namespace() {
    let builder = SocketIo::builder().namespace(Namespace::new("/a"));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let a = main.join("/a", ()).await.unwrap();
    assert_eq!(main.id().len(), 20);
    assert_ne!(main.id(), a.id());
    assert_eq!(*handle(&server, &a).await.id(), a.id());
    let greetings = main.connection().transcript();
    assert_eq!(greetings[1], format!("0/a,{{\"sid\":\"{}\"}}", a.id()));
}

#[actix_rt::test]
async fn an_unknown_namespace_is_refused_and_the_connection_stays() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let connection = raw(&server).await;
    for packet in ["0/nowhere,", "0/nowhere", "0/nowhere,{\"a\":1}"] {
        connection.send_raw(packet);
    }
    let refusal = r#"4/nowhere,{"message":"Invalid namespace"}"#;
    assert_eq!(answers(&server, &connection).await, [refusal; 3]);
    // A name is a name, whatever is in it.
    connection.send_raw("0/?token=1,");
    let expected = r#"4/?token=1,{"message":"Invalid namespace"}"#;
    assert_eq!(answers(&server, &connection).await[3], expected);
    assert!(!connection.is_closed());
    assert_eq!(server.metrics().unknown_namespaces, 4);
}

#[actix_rt::test]
async fn a_packet_without_comma_is_legal_when_nothing_follows() {
    let server = TestServer::start(SocketIo::builder().namespace(Namespace::new("/a")));
    let connection = raw(&server).await;
    connection.send_raw("0/a");
    assert!(answers(&server, &connection).await[0].starts_with("0/a,{\"sid\""));
    connection.send_raw("1/a");
    connection.send_raw("0/a");
    assert_eq!(answers(&server, &connection).await.len(), 2);
}

#[actix_rt::test]
async fn what_is_no_packet_closes_the_connection() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let broken = [
        "",
        "7",
        "x",
        "2",
        "2{}",
        "2[]",
        "2[null]",
        "2[\"a\"",
        "2[\"a\"]]",
        "2/[\"a\"]",
        "0[]",
        "0\"a\"",
        "1{}",
        "2[\"connect\"]",
        "2[\"disconnect\"]",
        "2[\"newListener\"]",
        "2 [\"a\"]",
        "5[\"a\"]",
        "5x-[\"a\"]",
        "511-[\"a\"]",
        "299999999999999999999999[\"a\"]",
        "2[{\"name\":1}]",
    ];
    for packet in broken {
        let connection = raw(&server).await;
        connection.send_raw(packet);
        assert_eq!(connection.closed().await, Parting::Closed(1000), "{packet}");
    }
    assert_eq!(server.metrics().bad_packets, broken.len() as u64);
    assert_eq!(log.take(), [] as [&str; 0]);
    assert_eq!(server.io().clients_count(), 0);
}

#[actix_rt::test]
async fn what_is_no_engine_packet_closes_the_connection() {
    let reasons = Log::default();
    let log = reasons.clone();
    let namespace = Namespace::new("/")
        .on_disconnect(move |_: Socket, reason: DisconnectReason| log.noted(reason.as_str()));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    for (packet, reason) in [
        ("", "parse error"),
        ("x", "parse error"),
        // Only the server pings.
        ("2", "transport error"),
        ("1", "transport close"),
    ] {
        let connection = raw(&server).await;
        connection.send_engine(packet);
        connection.closed().await;
        server.settle().await;
        assert_eq!(reasons.take(), [reason], "{packet}");
    }
}

#[actix_rt::test]
async fn a_packet_that_cannot_be_decoded_is_reported_to_the_error_hook() {
    let log = Log::default();
    let notes = log.clone();
    let namespace = Namespace::new("/")
        .on_error(move |_, event, error| notes.note(format!("{event:?} {error}")));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = raw(&server).await;
    connection.send_raw("2[1");
    connection.closed().await;
    assert_eq!(log.take(), ["\"\" invalid payload"]);
}

#[actix_rt::test]
async fn auth_is_an_object_or_nothing() {
    let server = TestServer::start(SocketIo::builder());
    for auth in ["[]", "\"a\"", "true", "null", "{", "{}x"] {
        let connection = server.open().await.unwrap();
        connection.send_raw(&format!("0{auth}"));
        connection.closed().await;
    }
    // JSON nested deeper than anyone can look at.
    let connection = server.open().await.unwrap();
    connection.send_raw(&format!("0{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000)));
    connection.closed().await;
}

#[actix_rt::test]
async fn arguments_come_and_go_as_they_are() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let connection = raw(&server).await;
    let bodies = [
        "[]",
        "[null]",
        "[1,[2,{\"a\":[]}],\"x\"]",
        "[1e400]",
        "[12345678901234567890123]",
        "[\"\\ud800\"]",
        "[{\"_placeholder\":true,\"num\":0}]",
        "[\"\\u0000\\\"\"]",
    ];
    for (id, body) in bodies.iter().enumerate() {
        let args = &body[1..];
        let comma = if args == "]" { "" } else { "," };
        connection.send_raw(&format!("2{id}[\"echo\"{comma}{args}"));
    }
    let acks = answers(&server, &connection).await;
    for ((id, body), ack) in bodies.iter().enumerate().zip(&acks) {
        assert_eq!(*ack, format!("3{id}{body}"));
    }
    assert_eq!(acks.len(), bodies.len());
}

#[actix_rt::test]
async fn an_event_may_have_a_number_for_a_name() {
    let namespace = Namespace::new("/").on("7", |_: Socket, n: u64| async move { Ack(n) });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = raw(&server).await;
    connection.send_raw("20[7,1]");
    assert_eq!(answers(&server, &connection).await, ["30[1]"]);
}

#[actix_rt::test]
async fn the_fallback_hears_what_nobody_else_takes() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let client = server.connect("/", ()).await.unwrap();
    client.emit("unheard", ("a", 1));
    client.emit("echo", "b");
    server.settle().await;
    assert_eq!(log.take(), ["[\"a\",1]"]);
    assert_eq!(server.metrics().events_received, 2);
    assert_eq!(server.metrics().events_unhandled, 0);
}

#[actix_rt::test]
async fn data_types_take_the_arguments_they_need() {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Point {
        x: i32,
        y: Option<i32>,
    }
    let namespace = Namespace::new("/")
        .on("first", |_: Socket, s: String| async move { Ack(s) })
        .on("pair", |_: Socket, (a, b): (i32, Option<i32>)| async move { Ack((b, a)) })
        .on("rest", |_: Socket, (a, rest): (i32, Args)| async move { Ack((rest, a)) })
        .on("struct", |_: Socket, point: Point| async move { Ack(point) })
        .on("list", |_: Socket, list: Vec<i32>| async move { Ack(list) });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("first", ("a", "b")).await, json!(["a"]));
    assert_eq!(client.emit_with_ack("pair", (1, 2)).await, json!([2, 1]));
    assert_eq!(client.emit_with_ack("pair", 1).await, json!([null, 1]));
    assert_eq!(client.emit_with_ack("rest", (1, 2, 3)).await, json!([2, 3, 1]));
    assert_eq!(
        client.emit_with_ack("struct", json!({ "x": 1 })).await,
        json!([{ "x": 1, "y": null }])
    );
    assert_eq!(client.emit_with_ack("list", json!([1, 2])).await, json!([[1, 2]]));
}

// ---- binary ----------------------------------------------------------------------------------

#[actix_rt::test]
async fn binary_is_put_in_its_place_at_any_depth() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let connection = raw(&server).await;
    let text = r#"["back",{"a":[{"_placeholder":true,"num":1}]},2,{"_placeholder":true,"num":0}]"#;
    connection.send_raw(&format!("52-{text}"));
    connection.send_binary(Bytes::from_static(b"zero"));
    assert_eq!(answers(&server, &connection).await, [] as [&str; 0]);
    connection.send_binary(Bytes::from_static(b"one"));
    let back = answers(&server, &connection).await;
    assert_eq!(back, [format!("52-{text}"), "<4 bytes>".into(), "<3 bytes>".into()]);
}

#[actix_rt::test]
async fn what_breaks_a_binary_packet_closes_the_connection() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    // Binary that nobody waits for.
    let connection = raw(&server).await;
    connection.send_binary(Bytes::from_static(b"x"));
    connection.closed().await;
    // Text where an attachment is due.
    let connection = raw(&server).await;
    connection.send_raw(r#"51-["a",{"_placeholder":true,"num":0}]"#);
    connection.send_raw("2[\"b\"]");
    connection.closed().await;
    // A placeholder for none of the attachments, and one for the same.
    for body in [r#"[{"_placeholder":true,"num":1}]"#, r#"[{"_placeholder":true,"num":-1}]"#] {
        let connection = raw(&server).await;
        connection.send_raw(&format!("51-[\"a\",{body}]"));
        connection.send_binary(Bytes::from_static(b"x"));
        connection.closed().await;
    }
    assert_eq!(log.take(), [] as [&str; 0]);
    assert_eq!(server.metrics().bad_packets, 4);
}

#[actix_rt::test]
async fn heartbeats_may_come_between_a_packet_and_its_attachments() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let connection = raw(&server).await;
    connection.send_raw(r#"51-["bin",{"_placeholder":true,"num":0}]"#);
    connection.send_engine("3");
    connection.send_binary(Bytes::from_static(b"x"));
    server.settle().await;
    assert_eq!(log.take(), [r#"[{"_placeholder":true,"num":0}]"#]);
}

#[actix_rt::test]
async fn a_binary_packet_without_attachments_is_an_event_like_others() {
    let log = Log::default();
    let server = TestServer::start(SocketIo::builder().namespace(listening(&log)));
    let connection = raw(&server).await;
    connection.send_raw("50-[\"none\",1]");
    connection.send_raw("2[\"next\",2]");
    server.settle().await;
    assert_eq!(log.take(), ["[1]", "[2]"]);
}

// ---- namespaces on one connection ------------------------------------------------------------

#[actix_rt::test]
async fn namespaces_on_one_connection_hear_their_own_events_alone() {
    let other = |name| {
        Namespace::new(name)
            .on("who", |socket: Socket, (): ()| async move { Ack(socket.namespace().to_owned()) })
    };
    let builder = SocketIo::builder().namespace(other("/a")).namespace(other("b"));
    let server = TestServer::start(builder);
    let a = server.connect("/a", ()).await.unwrap();
    let b = a.join("/b", ()).await.unwrap();
    assert_eq!(a.emit_with_ack("who", ()).await, json!(["/a"]));
    assert_eq!(b.emit_with_ack("who", ()).await, json!(["/b"]));
    server.io().of("a").unwrap().emit("to a", &()).unwrap();
    hears(&a, "to a").await;
    b.expect_silence().await;
    a.leave();
    server.settle().await;
    server.io().of("/b").unwrap().emit("to b", &()).unwrap();
    hears(&b, "to b").await;
}

// ---- listeners of one socket -----------------------------------------------------------------

#[actix_rt::test]
async fn a_socket_gets_and_loses_listeners_of_its_own() {
    let namespace = Namespace::new("/").on("e", |_: Socket, (): ()| async move {});
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let id = socket.on("e", |_: Socket, (): ()| async { Ack("on") });
    assert_eq!(client.emit_with_ack("e", ()).await, json!(["on"]));
    assert!(socket.off(id));
    assert!(!socket.off(id));
    socket.once("e", |_: Socket, (): ()| async { Ack("once") });
    assert_eq!(client.emit_with_ack("e", ()).await, json!(["once"]));
    drop(client.emit_with_ack("e", ()));
    client.expect_silence().await;
    socket.on("e", |_: Socket, (): ()| async { Ack(1) });
    socket.on("e", |_: Socket, (): ()| async { Ack(2) });
    assert_eq!(client.emit_with_ack("e", ()).await, json!([1]));
    assert_eq!(socket.off_all("e"), 2);
    drop(client.emit_with_ack("e", ()));
    client.expect_silence().await;
}

#[actix_rt::test]
async fn send_is_the_event_message() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    handle(&server, &client).await.send(&("a", 1)).unwrap();
    server.io().sockets().send(&2).unwrap();
    assert_eq!(client.next_event().await, ("message".into(), json!(["a", 1])));
    assert_eq!(client.next_event().await, ("message".into(), json!([2])));
}

#[actix_rt::test]
async fn values_are_shared_by_the_server_and_overridden_by_a_namespace() {
    let shared = |socket: Socket, (): ()| async move { Ack(*socket.shared::<u64>().unwrap()) };
    let builder = SocketIo::builder()
        .share(1_u64)
        .namespace(Namespace::new("/").on("shared", shared))
        .namespace(Namespace::new("/own").share(2_u64).on("shared", shared));
    let server = TestServer::start(builder);
    let main = server.connect("/", ()).await.unwrap();
    let own = main.join("/own", ()).await.unwrap();
    assert_eq!(main.emit_with_ack("shared", ()).await, json!([1]));
    assert_eq!(own.emit_with_ack("shared", ()).await, json!([2]));
}
