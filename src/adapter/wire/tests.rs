//! The forms against what real servers wrote, and against what nobody should write.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod reference;

use std::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{
    classic::{self, Channel},
    envelope, usual,
};
use crate::{
    adapter::message::{Answer, Envelope, Message, Rejected, Sending, Uid, Wanted},
    packet::{Args, Document, Payload},
    room::{Room, Target},
    trace::TraceParent,
};

const MAX: usize = 1 << 20;

fn trace() -> Option<TraceParent> {
    TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
}

/// Captured traffic of real servers.
fn vectors() -> Vec<Value> {
    let text = include_str!("../../../tests/cluster/vectors.json");
    let mut all: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(all["vectors"].take()).unwrap()
}

fn bytes(hex: &str) -> Bytes {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn a_usual_broadcast_is_read_without_a_detour_and_means_the_same() {
    let (mut direct, mut all) = (0, 0);
    for vector in vectors() {
        let Some(payload) = vector["payload_hex"].as_str().map(bytes) else { continue };
        if !payload.starts_with(b"\x93") {
            continue;
        }
        all += 1;
        if let Some(read) = usual::broadcast(&payload) {
            assert_eq!(Ok(read), classic::parse_unusual_broadcast(&payload, MAX));
            direct += 1;
        }
    }
    assert!(direct > 12 && direct + 3 > all, "{direct} of {all}");
}

proptest! {
    #[test]
    fn what_is_read_without_a_detour_means_the_same(
        name in "[a-z\"\\\\é]{0,4}|connect",
        data in vec(any::<u8>(), 0..5),
        rooms in vec("[a-z]{0,3}", 0..3),
        (volatile, compress, timeout) in (any::<bool>(), any::<bool>(), proptest::option::of(0u64..9)),
        traced in any::<bool>(),
        changes in vec((any::<Index>(), any::<u8>()), 0..3),
    ) {
        let sent = json!([name, { "a": [1, -1.5, null, "x"] }]).to_string();
        let payload = Payload::of_text(sent.into(), Vec::new()).to_args().unwrap();
        let payload = match data.len() {
            0 => Payload::of_args(&payload),
            _ => Payload::event("binary", &(Bytes::from(data), 1)).unwrap(),
        };
        let target = Target {
            rooms: rooms.iter().map(|room| Room::from(&**room)).collect(),
            except: rooms.iter().map(|room| Room::from(format!("not-{room}"))).collect(),
        };
        let timeout = timeout.map(Duration::from_millis);
        let sending = Sending { volatile, compress, timeout, trace: if traced { trace() } else { None } };
        let message = Message::Broadcast { payload, target, sending, request: None };
        let (_, mut written) = classic::write(&message, &Uid::short(), "/chat").unwrap();
        if changes.is_empty() && name != "connect" {
            let read = usual::broadcast(&written.clone().into());
            prop_assert_eq!(read.map(|read| read.message), Some(message));
        }
        for (at, byte) in changes {
            let at = at.index(written.len());
            written[at] = byte;
        }
        let written = Bytes::from(written);
        if let Some(read) = usual::broadcast(&written) {
            prop_assert_eq!(Ok(read), classic::parse_unusual_broadcast(&written, MAX));
        }
    }
}

#[test]
fn what_other_versions_send_is_understood() {
    let request = |value: Value| {
        let message = value.to_string().into();
        classic::parse_request(&message, "/", MAX).map(|envelope| envelope.message)
    };
    let socket = Target::room("id1");
    assert_eq!(
        request(json!({ "uid": "u", "requestId": "r", "type": 2, "sid": "id1", "room": "a" })),
        Ok(Message::Join { target: socket.clone(), rooms: ["a".into()].into_iter().collect() })
    );
    assert_eq!(
        request(json!({ "uid": "u", "requestId": "r", "type": 4, "sid": "id1", "close": true })),
        Ok(Message::Disconnect { target: socket, close: true })
    );
    assert_eq!(
        request(json!({ "uid": "u", "requestId": "r", "type": 0, "rooms": ["a"] })),
        Ok(Message::Fetch {
            target: Target::room("a"),
            request: Uid::from("r"),
            wanted: Wanted::Ids
        })
    );
    // Emitters of old versions name no namespace.
    let payload = Bytes::from_static(b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80");
    assert_eq!(classic::parse_broadcast(&payload, MAX).unwrap().namespace, "/");
    let silent = classic::parse_response(&json!({ "requestId": "r" }).to_string().into(), "/", MAX);
    let expected = Answer::Value(Args::new());
    assert_eq!(
        silent.unwrap().message,
        Message::Answer { request: Uid::from("r"), answer: expected }
    );
}

#[test]
fn binary_in_the_data_of_sockets_is_what_it_is_in_json() {
    let buffer = json!({ "type": "Buffer", "data": [0, 255] });
    let text = r#"{"type":8,"uid":"u","nsp":"/","data":{"requestId":"r","sockets":[{"id":"a","data":{"b":{"_placeholder":true,"num":0}}}]}}"#;
    let attachments = vec![Bytes::from_static(b"\x00\xff")];
    let bytes = Document { text: text.into(), attachments }.to_msgpack();
    let Message::Answer { answer: Answer::Sockets { sockets, .. }, .. } =
        envelope::parse(&bytes.into(), MAX).unwrap().message
    else {
        panic!("sockets");
    };
    assert_eq!(sockets[0]["data"]["b"], buffer);
}

#[test]
fn an_answer_of_null_is_an_answer() {
    let null = Document { text: "[null]".into(), attachments: Vec::new() }.args("[null]").unwrap();
    for answer in [Answer::Value(null.clone()), Answer::Ack(null), Answer::Ack(Args::new())] {
        let message = Message::Answer { request: Uid::hex(), answer };
        let uid = Uid::hex();
        let (_, bytes) = classic::write(&message, &uid, "/").unwrap();
        let read = classic::parse_response(&bytes.into(), "/", MAX).unwrap();
        assert_eq!(read.message, message);
        let bytes = envelope::write(&message, &uid, "/").unwrap().to_msgpack();
        assert_eq!(envelope::parse(&bytes.into(), MAX).unwrap().message, message);
    }
}

#[test]
fn what_nobody_should_send_is_told_apart_and_stops_nothing() {
    use Rejected::{Malformed, TooLarge, UnknownType};
    let cluster = |text: &str| envelope::parse(&text.to_owned().into(), 300);
    for (text, why) in [
        ("", Malformed),
        ("{", Malformed),
        ("{}", Malformed),
        ("[]", Malformed),
        ("{\"type\":3,\"uid\":\"u\",\"nsp\":\"/\"}", Malformed),
        ("{\"type\":14,\"uid\":\"u\",\"nsp\":\"/\"}", UnknownType),
        ("{\"type\":0,\"uid\":\"u\",\"nsp\":\"/\"}", UnknownType),
        ("{\"type\":-1,\"uid\":\"u\",\"nsp\":\"/\"}", Malformed),
        ("{\"type\":7,\"uid\":7,\"nsp\":\"/\"}", Malformed),
        ("{\"type\":7,\"uid\":\"u\",\"nsp\":\"/\",\"data\":{\"opts\":{}}}", Malformed),
        ("{\"type\":4,\"uid\":\"u\",\"nsp\":\"/\",\"data\":{\"rooms\":[null]}}", Malformed),
        ("{\"type\":11,\"uid\":\"u\",\"nsp\":\"/\",\"data\":{\"requestId\":\"r\"}}", Malformed),
        (&format!("{{\"type\":2,\"uid\":\"{}\",\"nsp\":\"/\"}}", "u".repeat(300)), TooLarge),
    ] {
        assert_eq!(cluster(text), Err(why), "{text}");
    }
    let request = |text: &str| classic::parse_request(&text.to_owned().into(), "/", MAX);
    for (text, why) in [
        ("{\"type\":10}", UnknownType),
        ("{\"type\":5,\"requestId\":\"r\"}", Malformed),
        ("{\"type\":5,\"opts\":{}}", Malformed),
        ("{\"requestId\":\"r\"}", Malformed),
        ("{\"type\":6,\"data\":7}", Malformed),
        ("{\"type\":6,\"data\":[\"disconnect\"]}", Malformed),
    ] {
        assert_eq!(request(text), Err(why), "{text}");
    }
}

/// Every message with bytes changed, cut off or put in.
#[test]
fn no_bytes_make_a_decoder_panic() {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};
    let mut random = SmallRng::seed_from_u64(7);
    let originals: Vec<Bytes> =
        vectors().iter().filter_map(|vector| vector["payload_hex"].as_str().map(bytes)).collect();
    let mut read = 0;
    for round in 0..20_000 {
        let mut message = originals[round % originals.len()].to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..=message.len());
            match random.random_range(0..3) {
                0 => message.truncate(at),
                1 => message.insert(at, random.random()),
                _ if at < message.len() => message[at] = random.random(),
                _ => {}
            }
        }
        let message = Bytes::from(message);
        let envelopes = [
            envelope::parse(&message, MAX),
            classic::parse_broadcast(&message, MAX),
            classic::parse_request(&message, "/", MAX),
            classic::parse_response(&message, "/", MAX),
        ];
        for Envelope { message, namespace, .. } in envelopes.into_iter().flatten() {
            // What was read can be written.
            let uid = Uid::hex();
            let _ = classic::write(&message, &uid, &namespace);
            let _ = envelope::write(&message, &uid, &namespace).map(|written| written.to_json());
            read += 1;
        }
        for kind in 0..15 {
            let _ = envelope::parse_data_only(kind, Some(&message), MAX);
        }
    }
    assert!(read > 100, "{read}");
}

#[test]
fn a_broadcast_has_its_binary_and_its_large_numbers() {
    let payload =
        Payload::event("e", &(Bytes::from_static(b"\x01\x02"), 1u64 << 60, 1e300)).unwrap();
    let message = Message::Broadcast {
        payload,
        target: Target::room("a").except("b"),
        sending: Sending { volatile: true, ..Sending::default() },
        request: None,
    };
    let uid = Uid::short();
    let (channel, written) = classic::write(&message, &uid, "/x").unwrap();
    assert_eq!(channel, Channel::Broadcast(Some("a".into())));
    let read = classic::parse_broadcast(&written.into(), MAX).unwrap();
    assert_eq!(read, Envelope { uid: Some(uid), namespace: "/x".into(), message });
}

#[test]
fn a_trace_context_is_beside_what_other_servers_read() {
    let message = Message::Broadcast {
        payload: Payload::event("e", &1).unwrap(),
        target: Target::room("a"),
        sending: Sending { trace: trace(), ..Sending::default() },
        request: Some(Uid::short()),
    };
    let (_, written) = classic::write(&message, &Uid::short(), "/x").unwrap();
    let read = classic::parse_request(&written.into(), "/x", MAX).unwrap();
    assert_eq!(read.message, message);
    let document = envelope::write(&message, &Uid::hex(), "/x").unwrap();
    let value: Value = serde_json::from_slice(&document.to_json()).unwrap();
    let opts = &value["data"]["opts"];
    let fields: Vec<_> = opts.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["rooms", "except", "flags", "traceparent"]);
    assert_eq!(opts["flags"], json!({}));
    let read = envelope::parse(&document.to_json().into(), MAX).unwrap();
    assert_eq!(read.message, message);
}

#[test]
fn what_is_no_trace_context_is_passed_over() {
    for odd in [json!(7), json!(null), json!("00-x"), json!({ "a": [1] })] {
        let text = json!({
            "type": 3, "uid": "u", "nsp": "/",
            "data": {
                "packet": { "type": 2, "data": ["e"] },
                "opts": { "rooms": [], "except": [], "flags": {}, "traceparent": odd },
            },
        });
        let read = envelope::parse(&text.to_string().into(), MAX).unwrap();
        let Message::Broadcast { sending, .. } = read.message else { panic!("{text}") };
        assert_eq!(sending.trace, None);
    }
}

/// As deep as a client may nest by default, with binary and without.
#[test]
fn what_a_client_may_send_passes_however_deep() {
    let depth = crate::packet::ParserLimits::default().max_depth;
    let deep = format!("[\"e\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    let json: Box<serde_json::value::RawValue> =
        serde_json::from_str(&deep["[\"e\",".len()..deep.len() - 1]).unwrap();
    let data = Bytes::from_static(b"\x01");
    let payloads =
        [Payload::event("e", &(&json,)).unwrap(), Payload::event("e", &(&json, data)).unwrap()];
    for payload in payloads {
        for request in [None, Some(Uid::hex())] {
            let (target, sending) = (Target::room("a"), Sending::default());
            let payload = payload.clone();
            let message = Message::Broadcast { payload, target, sending, request };
            let uid = Uid::short();
            let written = envelope::mixed(&envelope::write(&message, &uid, "/").unwrap());
            assert_eq!(envelope::parse(&written.into(), MAX).unwrap().message, message);
            let (to, written) = classic::write(&message, &uid, "/").unwrap();
            let read = match to {
                Channel::Request => classic::parse_request(&written.into(), "/", MAX),
                _ => classic::parse_broadcast(&written.into(), MAX),
            };
            assert_eq!(read.unwrap().message, message);
        }
    }
}
