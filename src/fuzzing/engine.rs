//! Layer 1: Engine.IO packets, the bodies of polling requests, offers of compression.

use bytes::Bytes;

use crate::engine::{
    dialect::Revision,
    frame::Frame,
    packet::{Message, Packet},
    payload::{self, jsonp, revision3},
    transport::deflate::{PerMessageDeflate, WindowBits, negotiate},
};

/// One message of a WebSocket, as text and as binary, in both revisions.
pub fn engine_packet(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for revision in [Revision::Three, Revision::Four] {
        if let Ok(packet) = revision.text((&*text).into()) {
            comes_back(packet);
        }
        comes_back(revision.binary(Bytes::copy_from_slice(data)));
    }
}

/// What the layer above got can be sent, and is then the same on the other side.
fn comes_back(packet: Packet) {
    assert!(packet.len() <= 1 << 30);
    let Packet::Message(message) = packet else { return };
    let frame = Frame::message(&message);
    let read = |revision: Revision, frame: &Frame| {
        let bytes = Bytes::copy_from_slice(frame.packet());
        if frame.is_binary() {
            return revision.binary(bytes);
        }
        let text = std::str::from_utf8(&bytes).expect("text is UTF-8");
        revision.text(text.into()).expect("what was written can be read")
    };
    let expected = Packet::Message(message);
    assert_eq!(read(Revision::Four, &frame), expected);
    for base64 in [false, true] {
        let frame = frame.clone().into_revision3(base64);
        assert!(!(base64 && frame.is_binary()));
        assert_eq!(read(Revision::Three, &frame), expected);
    }
}

/// Messages of packets up to the first that is none: no session reads on behind it.
fn messages<E>(packets: impl Iterator<Item = Result<Packet, E>>) -> Vec<Message> {
    let message = |packet| match packet {
        Packet::Message(message) => Some(message),
        _ => None,
    };
    packets.map_while(Result::ok).filter_map(message).collect()
}

fn body(messages: &[Message], push: impl Fn(&mut Vec<u8>, &Frame)) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        push(&mut body, &Frame::message(message));
    }
    body
}

/// The body of a request, revision 4, also as a field of a form (JSONP).
pub fn payload4(data: &[u8]) {
    let sent = messages(payload::decode(data));
    assert!(payload::decode(data).filter(Result::is_err).count() <= 1);
    if !sent.is_empty() {
        let again = body(&sent, |body, frame| match frame.is_binary() {
            true => payload::push_binary(body, frame.packet()),
            false => payload::push_text(body, frame.packet()),
        });
        assert_eq!(messages(payload::decode(&again)), sent);
    }
    if let Some(field) = jsonp::field(data) {
        messages(payload::decode(field.as_bytes()));
    }
    let text = String::from_utf8_lossy(data);
    let script = String::from_utf8(jsonp::call("0", &text)).expect("a script is text");
    let literal = script.strip_prefix("___eio[0](").and_then(|rest| rest.strip_suffix(");"));
    let literal = literal.expect("it is one call");
    assert!(!literal.contains(['\n', '\r', '\u{2028}', '\u{2029}']));
    assert_eq!(serde_json::from_str::<String>(literal).expect("its argument is a string"), text);
}

/// The body of a request, revision 3: text and octets.
pub fn payload3(data: &[u8]) {
    let sent = messages(revision3::decode_text(data));
    let text = body(&sent, |body, frame| match frame.is_binary() {
        true => revision3::push_base64(body, frame.packet()),
        false => revision3::push_text(body, frame.packet()),
    });
    if !sent.is_empty() {
        assert_eq!(messages(revision3::decode_text(&text)), sent);
    }
    let sent = messages(revision3::decode_octets(data));
    let octets = body(&sent, |body, frame| {
        revision3::push_octets(body, frame.packet(), frame.is_binary());
    });
    assert_eq!(messages(revision3::decode_octets(&octets)), sent);
}

/// The header `Sec-WebSocket-Extensions` of a request.
pub fn offers(data: &[u8]) {
    let new = PerMessageDeflate::new;
    let options = [
        new(),
        new().server_no_context_takeover(true).client_no_context_takeover(true),
        new().server_no_context_takeover(false),
        new().server_max_window_bits(WindowBits::Max(10)),
        new().server_max_window_bits(WindowBits::Unlimited),
        new().client_max_window_bits(WindowBits::Max(9)),
    ];
    for options in options {
        let Ok(Some((terms, answer))) = negotiate(&options, data) else { continue };
        assert!((9..=15).contains(&terms.window_bits), "{terms:?}");
        assert!(answer.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{answer:?}");
        // The answer is in the grammar of an offer. Its order of names is the client's, so that it may
        // not be acceptable a second time to these options, but it is to none.
        assert!(negotiate(&new(), answer.as_bytes()).is_ok(), "{answer:?}");
    }
}
