//! Whatever can be written is read back as it was (proptest): packets, payloads, frames, msgpack and
//! arguments.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::packets::read;
use crate::{
    engine::{
        dialect::Dialect,
        frame::Frame,
        packet::{Message, Packet as EnginePacket},
        transport::{
            deflate::{Strength, deflate_alone},
            frame::{self, Decoder, OpCode},
        },
    },
    packet::{Args, DefaultParser, MsgpackParser, Outgoing, Packet, Parser, Payload},
};

/// A value with binary at any depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Data {
    Json(Value),
    Bytes(Bytes),
    Both(Value, Bytes),
    List(Vec<Data>),
    Named { name: String, data: Option<Bytes>, more: Vec<Data> },
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", "\\PC{0,20}", any::<String>()]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has it, and JavaScript not as an integer", |n| n.is_finite()
                && n.fract() != 0.0)
            .prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            // An object that says it is a placeholder is one.
            vec((text().prop_filter("a marker", |key| key != "_placeholder"), inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn data() -> impl Strategy<Value = Data> {
    let leaf = prop_oneof![
        value().prop_map(Data::Json),
        bytes().prop_map(Data::Bytes),
        (value(), bytes()).prop_map(|(value, bytes)| Data::Both(value, bytes)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let list = || vec(inner.clone(), 0..4);
        prop_oneof![
            list().prop_map(Data::List),
            (text(), proptest::option::of(bytes()), list())
                .prop_map(|(name, data, more)| Data::Named { name, data, more }),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    text().prop_filter("reserved", |name| !crate::packet::is_reserved(name))
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[a-z0-9_?=&-]{1,20}"]
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    // U+001E ends a packet of a polling body, and the reference does not escape it either.
    let text = text().prop_map(|text| Message::Text(text.replace('\u{1e}', "").into()));
    vec(prop_oneof![text, bytes().prop_map(Message::Binary)], 1..20)
}

/// A client's frame.
fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let (mut head, length) = frame::header(OpCode::Text, true, payload.len());
    head[0] = first;
    head[1] |= 0x80;
    let mut bytes = [&head[..length], &mask].concat();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

proptest! {
    #[test]
    fn data_comes_back_through_both_parsers(
        data in vec(data(), 1..4), name in name(), namespace in namespace(),
        id in proptest::option::of(any::<u64>()),
    ) {
        let args = Args::of(&(&data, 1))?;
        prop_assert_eq!(args.get::<Vec<Data>>(0), Ok(data.clone()));
        let payload = Payload::event(&name, &args)?;
        let packet = Outgoing::Event { namespace: &namespace, id, payload: &payload };
        for parser in [&DefaultParser as &dyn Parser, &MsgpackParser] {
            let Ok(Packet::Event { namespace: n, id: i, event }) = read(parser, &packet) else {
                panic!("no event");
            };
            prop_assert_eq!((&*n, i), (&*namespace, id));
            // A number as a name is its text.
            prop_assert_eq!(&*event.name, &name);
            let (back, one) = event.args.parse::<(Vec<Data>, u8)>()?;
            prop_assert_eq!((&back, one), (&data, 1));
            prop_assert_eq!(event.args.skip(1).parse::<u8>(), Ok(1));
        }
    }

    #[test]
    fn acks_and_refusals_come_back(
        data in data(), id in any::<u64>(), namespace in namespace(), reason in value(),
    ) {
        let payload = Payload::ack(&(&data,))?;
        let ack = Outgoing::Ack { namespace: &namespace, id, payload: &payload };
        for parser in [&DefaultParser as &dyn Parser, &MsgpackParser] {
            let Ok(Packet::Ack { id: Some(i), args, .. }) = read(parser, &ack) else {
                panic!("no ack");
            };
            prop_assert_eq!((i, args.get::<Data>(0)), (id, Ok(data.clone())));
            let reason = serde_json::json!({ "message": "no", "data": &reason });
            let refusal = Outgoing::ConnectError { namespace: &namespace, data: &reason };
            let Ok(Packet::ConnectError { data: Some(text), .. }) = read(parser, &refusal) else {
                panic!("no refusal");
            };
            prop_assert_eq!(serde_json::from_str::<Value>(&text)?, reason);
            let gone = Outgoing::Disconnect { namespace: &namespace };
            prop_assert_eq!(
                read(parser, &gone), Ok(Packet::Disconnect { namespace: namespace.as_str().into() })
            );
        }
    }

    #[test]
    fn bodies_come_back_in_every_dialect(messages in messages()) {
        let frames: Vec<Frame> = messages.iter().map(Frame::message).collect();
        for query in [&[("EIO", "4")][..], &[("EIO", "3")], &[("EIO", "3"), ("b64", "1")]] {
            let get = |name: &str| query.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            let dialect = Dialect::new(get);
            let body = dialect.body(&frames);
            let content_type = Some(body.content_type.as_bytes());
            let read: Vec<_> = dialect.packets(&body.bytes, content_type).map(|packet| match packet {
                Ok(EnginePacket::Message(message)) => message,
                other => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(&read, &messages, "{:?}", query);
        }
    }

    #[test]
    fn frames_come_back_however_they_are_cut(
        messages in messages(), mask in any::<[u8; 4]>(), fragment in 1..200_usize,
        portion in 1..100_usize, deflates in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for message in &messages {
            let (opcode, payload, read) = match message {
                Message::Text(text) => (1, &text.as_bytes()[..], frame::Message::Text(text.clone())),
                Message::Binary(data) => (2, &data[..], frame::Message::Binary(data.clone())),
            };
            expected.push(read);
            let strength = Strength { window_bits: 15, level: 6, memory_level: 8 };
            let deflated = (deflates && !payload.is_empty())
                .then(|| deflate_alone(strength, OpCode::Binary, payload)).flatten();
            let (payload, rsv) = match &deflated {
                Some(frame) => (&frame[if frame[1] < 126 { 2 } else { 4 }..], 0x40),
                None => (payload, 0),
            };
            let parts: Vec<&[u8]> =
                if payload.is_empty() { vec![payload] } else { payload.chunks(fragment).collect() };
            for (at, part) in parts.iter().enumerate() {
                let fin = if at + 1 == parts.len() { 0x80 } else { 0 };
                let kind = if at == 0 { opcode | rsv } else { 0 };
                bytes.extend(masked(fin | kind, part, mask));
            }
        }
        let mut decoder = Decoder::new(10_000);
        if deflates {
            decoder = decoder.inflating(false);
        }
        let mut read = Vec::new();
        for part in bytes.chunks(portion) {
            let taken = decoder.feed(part, &mut |message| read.push(message));
            prop_assert_eq!(taken, Ok(part.len()));
        }
        prop_assert_eq!(read, expected);
        prop_assert_eq!(decoder.held(), 0);
    }
}
