//! Servers with another parser than the default one: msgpack, and parsers of the application.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use bytes::Bytes;
use greenroom::{
    Args, EmitError, EncodeError, Event, Payload,
    engine::Message,
    packet::{
        Decode, DecodeError, DefaultParser, MsgpackParser, Outgoing, Packet, Parser, ParserLimits,
    },
    prelude::*,
    testing::{Parting, TestServer},
};
use serde_json::{Value, json};
use support::{Log, handle, hears};

fn echoing() -> Namespace {
    Namespace::new("/")
        .on("echo", |_: Socket, data: Args| async move { Ack(data) })
        .on("back", |socket: Socket, data: Args| async move { socket.emit("back", &data) })
        .on("all", |socket: Socket, data: Args| async move { socket.everyone().emit("all", &data) })
}

// ---- msgpack -----------------------------------------------------------------------------------

fn msgpack(namespace: Namespace) -> TestServer {
    TestServer::start(SocketIo::builder().parser(MsgpackParser).namespace(namespace))
}

#[actix_rt::test]
async fn everything_works_with_msgpack() {
    let refusing = Namespace::new("/closed").before_connect(|socket: Socket| async move {
        assert_eq!(socket.handshake().auth, json!({ "token": [1, "é"] }));
        Err::<(), _>(ConnectError::new("no").data(&json!({ "code": 401 })))
    });
    let builder = SocketIo::builder().parser(MsgpackParser).namespace(echoing());
    let server = TestServer::start(builder.namespace(refusing));
    let client = server.connect("/", ()).await.unwrap();
    let refused = client.join("/closed", json!({ "token": [1, "é"] })).await.unwrap_err();
    assert_eq!((&*refused.message, refused.data), ("no", Some(json!({ "code": 401 }))));
    assert_eq!(client.join("/nowhere", ()).await.unwrap_err().message, "Invalid namespace");

    let data = (1, "two", Bytes::from_static(b"three"), [4.5; 20], json!({ "five": null }));
    let answer = client.emit_with_ack("echo", &data).await;
    type Data = (u8, String, Bytes, [f64; 20], Value);
    let back: Data = answer.parse().unwrap();
    assert_eq!((back.0, &*back.1, &back.2, back.3, &back.4), (1, "two", &data.2, data.3, &data.4));
    client.emit("back", &data);
    assert_eq!(client.next_event().await.args, answer);

    let other = server.connect("/", ()).await.unwrap();
    client.emit("all", &data);
    for client in [&client, &other] {
        assert_eq!(client.next_event().await.args, answer);
    }
    let asked = handle(&server, &other).await;
    let asking = actix_rt::spawn(async move { asked.emit_with_ack::<Bytes>("?", &()).await });
    let question = other.next_event().await;
    question.answer(&data.2);
    assert_eq!(asking.await.unwrap().unwrap(), data.2);

    let put_out = handle(&server, &other).await;
    drop(put_out.disconnect(false));
    assert_eq!(other.disconnected().await, Parting::ByServer);
    client.leave();
    server.settle().await;
    assert!(server.io().sockets().members().await.is_empty());
}

/// A packet in msgpack: an event `back` with one argument.
fn back(argument: &[u8]) -> Bytes {
    [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4back", argument].concat().into()
}

/// The bytes of a packet that goes to a client, as a decoder of its own sees them.
fn argument(packet: &Args) -> Vec<u8> {
    let payload = Payload::event("x", packet).unwrap();
    let sent = Outgoing::Event { namespace: "/", id: None, payload: &payload };
    let [Message::Binary(bytes)] = &MsgpackParser.encode(&sent).unwrap()[..] else { panic!() };
    let start = bytes.windows(2).position(|two| two == b"\xa1x").unwrap();
    bytes[start + 2..].to_vec()
}

#[actix_rt::test]
async fn what_json_cannot_say_survives_an_echo() {
    let server = msgpack(echoing());
    let client = server.connect("/", ()).await.unwrap();
    // undefined, a date, an ArrayBuffer, an extension, NaN, -0, 2^53 + 1, a string of two bytes too
    // many in its header.
    for value in [
        &b"\xd4\0\0"[..],
        b"\xd7\0\0\0\x01\x80\x0a\x0b\x0c\x0d",
        b"\xc7\x01\0\x07",
        b"\xd5\x05\x01\x02",
        b"\xcb\x7f\xf8\0\0\0\0\0\0",
        b"\xcb\x80\0\0\0\0\0\0\0",
        b"\xcf\0\x20\0\0\0\0\0\x01",
        b"\xda\0\x01a",
    ] {
        client.connection().send_binary(back(value));
        let event = client.next_event().await;
        assert_eq!(argument(&event.args), value);
    }
}

#[actix_rt::test]
async fn hostile_msgpack_costs_only_its_client() {
    let log = Log::default();
    let notes = log.clone();
    let namespace =
        echoing().on_error(move |_, event, error| notes.note(format!("{event:?}: {error}")));
    let server = msgpack(namespace);
    let healthy = server.connect("/", ()).await.unwrap();
    let deep = back(&[vec![0x91; 10_000], vec![0xc0]].concat());
    let claims = back(b"\xdd\xff\xff\xff\xff");
    for (message, error) in [
        (deep, "nested too deeply"),
        (claims, "Could not parse"),
        (back(b""), "Could not parse"),
        (back(b"\xc0\xc0\xc0"), "2 trailing bytes"),
        (Bytes::from_static(b"\x82\xa4type\x07\xa3nsp\xa1/"), "invalid packet type"),
    ] {
        let client = server.connect("/", ()).await.unwrap();
        client.connection().send_binary(message);
        assert!(matches!(client.disconnected().await, Parting::Closed(_)));
        assert_eq!(log.take(), [format!("\"\": {error}")]);
    }
    let client = server.connect("/", ()).await.unwrap();
    client.connection().send_raw(r#"2["back",1]"#);
    assert!(matches!(client.disconnected().await, Parting::Closed(_)));
    assert_eq!(server.metrics().bad_packets, 6);
    assert_eq!(healthy.emit_with_ack("echo", 1).await, json!([1]));
}

#[actix_rt::test]
async fn attachments_are_limited_only_where_there_are_any() {
    let builder = SocketIo::builder().parser(MsgpackParser).max_attachments(0);
    let server = TestServer::start(builder.namespace(echoing()));
    let client = server.connect("/", ()).await.unwrap();
    let list = vec![Bytes::from_static(b"x"); 300];
    let back: Vec<Bytes> = client.emit_with_ack("echo", &list).await.parse().unwrap();
    assert_eq!(back, list);
}

// ---- a parser of one's own ---------------------------------------------------------------------

/// Packets as JSON objects. What is called `password` is shown to nobody, and binary, of which
/// JSON has none, cannot be sent.
#[derive(Debug)]
struct Discreet;

struct DiscreetReader {
    messages: usize,
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(hide),
        Value::Object(map) => {
            for (key, value) in map {
                if key == "password" { *value = "***".into() } else { hide(value) }
            }
        }
        _ => {}
    }
}

impl Discreet {
    fn data(payload: &Payload) -> Result<Value, EncodeError> {
        if !payload.attachments().is_empty() {
            return Err(EncodeError::Parser("no binary, please".into()));
        }
        let mut data = serde_json::from_str(payload.json())
            .map_err(|error| EncodeError::Parser(error.to_string()))?;
        hide(&mut data);
        assert_ne!(data[0], "a bug");
        Ok(data)
    }
}

impl Parser for Discreet {
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decode> {
        assert!(limits.max_attachments >= 10);
        Box::new(DiscreetReader { messages: 0 })
    }

    fn encode(&self, packet: &Outgoing<'_>) -> Result<Vec<Message>, EncodeError> {
        let packet = match *packet {
            Outgoing::Connect { namespace, sid, .. } => json!([0, namespace, null, { "sid": sid }]),
            Outgoing::ConnectRequest { namespace, auth } => {
                let auth: Option<Value> = auth.and_then(|auth| serde_json::from_str(auth).ok());
                json!([0, namespace, null, auth])
            }
            Outgoing::Disconnect { namespace } => json!([1, namespace]),
            Outgoing::Event { namespace, id, payload } => {
                json!([2, namespace, id, Self::data(payload)?])
            }
            Outgoing::Ack { namespace, id, payload } => {
                json!([3, namespace, id, Self::data(payload)?])
            }
            Outgoing::ConnectError { namespace, data } => json!([4, namespace, null, data]),
            _ => return Err(EncodeError::Parser("a packet of a later version".into())),
        };
        Ok(vec![Message::Text(packet.to_string().into())])
    }
}

impl Decode for DiscreetReader {
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, DecodeError> {
        self.messages += 1;
        let Message::Text(text) = message else { return Err(DecodeError::UnexpectedBinary) };
        assert_ne!(&*text, "a bug");
        let (kind, namespace, id, data): (u8, String, Option<u64>, Option<Value>) =
            serde_json::from_str::<Args>(&text)
                .ok()
                .and_then(|args| args.parse().ok())
                .ok_or_else(|| DecodeError::Parser(format!("message {}", self.messages)))?;
        let (namespace, data) = (namespace.into(), data.unwrap_or_default());
        let mut args = Args::new();
        for value in data.as_array().into_iter().flatten() {
            args.push(value).map_err(|error| DecodeError::Parser(error.to_string()))?;
        }
        let object = || data.is_object().then(|| data.to_string().into());
        Ok(Some(match kind {
            0 => Packet::Connect { namespace, auth: object() },
            1 => Packet::Disconnect { namespace },
            2 => {
                let name: String = args.get(0).map_err(|_| DecodeError::InvalidPayload)?;
                let event = Event { name: name.into(), args: args.skip(1) };
                Packet::Event { namespace, id, event }
            }
            3 => Packet::Ack { namespace, id, args },
            4 => Packet::ConnectError { namespace, data: object() },
            _ => return Err(DecodeError::InvalidType),
        }))
    }
}

fn discreet(namespace: Namespace) -> TestServer {
    TestServer::start(SocketIo::builder().parser(Discreet).namespace(namespace))
}

#[actix_rt::test]
async fn a_parser_of_ones_own_reads_and_writes_all_packets() {
    let server = discreet(echoing());
    let client = server.connect("/", json!({ "a": 1 })).await.unwrap();
    assert_eq!(client.connection().transcript()[0], {
        let id = client.id();
        format!(r#"[0,"/",null,{{"sid":"{id}"}}]"#)
    });
    assert_eq!(client.join("/nowhere", ()).await.unwrap_err().message, "Invalid namespace");
    let secret = json!({ "user": { "name": "alice", "password": "1234" } });
    let shown = json!([{ "user": { "name": "alice", "password": "***" } }]);
    assert_eq!(client.emit_with_ack("echo", &secret).await, shown);
    client.emit("all", &secret);
    assert_eq!(client.next_event().await.args, shown);
    let socket = handle(&server, &client).await;
    drop(socket.disconnect(false));
    assert_eq!(client.disconnected().await, Parting::ByServer);
}

#[actix_rt::test]
async fn a_packet_that_cannot_be_written_is_the_only_one_lost() {
    let server = discreet(echoing());
    let client = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &client).await;
    let binary = Bytes::from_static(b"binary");

    let error = socket.emit("x", &binary).unwrap_err();
    assert!(matches!(&error, EmitError::Encode(EncodeError::Parser(_))));
    assert_eq!(error.to_string(), "the parser cannot write the packet: no binary, please");
    let error = socket.emit_with_ack::<()>("x", &binary).await.unwrap_err();
    assert_eq!(error.to_string(), "the parser cannot write the packet: no binary, please");
    assert_eq!(server.metrics().packets_not_encoded, 2);

    socket.everyone().emit("x", &binary).unwrap();
    let answers = socket.everyone().emit_with_ack("x", &binary).unwrap().all().await.unwrap();
    assert!(answers.is_empty());
    assert_eq!(server.metrics().packets_not_encoded, 4);

    // What came after it still comes, in order.
    socket.everyone().emit("first", &()).unwrap();
    socket.emit("second", &()).unwrap();
    assert_eq!(client.next_event().await.name, "first");
    hears(&client, "second").await;
}

#[actix_rt::test]
async fn a_parser_that_panics_costs_one_packet_or_one_client() {
    let server = discreet(echoing());
    let client = server.connect("/", ()).await.unwrap();
    let other = server.connect("/", ()).await.unwrap();
    server.io().emit("a bug", &()).unwrap();
    server.settle().await;
    let error = server.io().sockets().emit_with_ack("a bug", &()).unwrap().all().await;
    assert!(error.is_ok_and(|answers| answers.is_empty()));
    let socket = handle(&server, &client).await;
    assert!(socket.emit("a bug", &()).is_err());
    assert_eq!(server.metrics().packets_not_encoded, 3);

    other.connection().send_raw("a bug");
    assert!(matches!(other.disconnected().await, Parting::Closed(_)));
    assert_eq!(server.metrics().panics, 4);
    assert_eq!(server.metrics().bad_packets, 1);
    server.io().emit("fine", &()).unwrap();
    hears(&client, "fine").await;
    assert_eq!(server.io().clients_count(), 1);
}

#[actix_rt::test]
async fn what_is_no_packet_ends_the_connection_with_the_parsers_reason() {
    let log = Log::default();
    let notes = log.clone();
    let server = discreet(echoing().on_error(move |_, _, error| notes.note(error.to_string())));
    let client = server.connect("/", ()).await.unwrap();
    client.connection().send_raw("[2]");
    assert!(matches!(client.disconnected().await, Parting::Closed(_)));
    assert_eq!(log.take(), ["message 2"]);
}

// ---- the default one, named --------------------------------------------------------------------

#[actix_rt::test]
async fn the_default_parser_is_what_a_server_has_anyway() {
    for builder in [SocketIo::builder(), SocketIo::builder().parser(DefaultParser)] {
        let server = TestServer::start(builder.namespace(echoing()));
        let client = server.connect("/", ()).await.unwrap();
        client.emit("back", &(1, Bytes::from_static(b"x")));
        client.next_event().await;
        let transcript = client.connection().transcript();
        assert_eq!(
            transcript[1..],
            [r#"51-["back",1,{"_placeholder":true,"num":0}]"#, "<1 bytes>"]
        );
    }
    let payload = Payload::ack(&(1, Bytes::from_static(b"x"))).unwrap();
    let packet = Outgoing::Ack { namespace: "/a", id: 7, payload: &payload };
    let messages = DefaultParser.encode(&packet).unwrap();
    let text = r#"61-/a,7[1,{"_placeholder":true,"num":0}]"#;
    let expected = [Message::Text(text.into()), Message::Binary(Bytes::from_static(b"x"))];
    assert_eq!(messages, expected);
    let mut decoder = DefaultParser.decoder(ParserLimits::default());
    let [text, data] = expected;
    assert_eq!(decoder.decode(text), Ok(None));
    assert!(matches!(decoder.decode(data), Ok(Some(Packet::Ack { id: Some(7), .. }))));
}
