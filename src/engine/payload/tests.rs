use bytes::Bytes;
use bytestring::ByteString;

use super::*;
use crate::engine::packet::Message;

fn text(data: &str) -> Result<Packet, PacketError> {
    Ok(Packet::Message(Message::Text(ByteString::from(data))))
}

fn binary(data: &[u8]) -> Result<Packet, PacketError> {
    Ok(Packet::Message(Message::Binary(Bytes::copy_from_slice(data))))
}

fn packets(body: &[u8]) -> Vec<Result<Packet, PacketError>> {
    decode(body).collect()
}

#[test]
fn a_body_is_read_in_order() {
    let body = b"4hello\x1e2\x1e4\xe2\x82\xac\x1ebAQIDBA==\x1e4";
    let ping = Ok(Packet::Ping(ByteString::new()));
    let expected = vec![text("hello"), ping, text("€"), binary(&[1, 2, 3, 4]), text("")];
    assert_eq!(packets(body), expected);
    assert_eq!(packets(b"1"), [Ok(Packet::Close)]);
}

#[test]
fn an_empty_text_is_refused_wherever_it_is() {
    assert_eq!(packets(b""), [Err(PacketError::Empty)]);
    assert_eq!(packets(b"\x1e4a"), [Err(PacketError::Empty)]);
    assert_eq!(packets(b"4a\x1e"), [text("a"), Err(PacketError::Empty)]);
    assert_eq!(packets(b"4a\x1e\x1e4b"), [text("a"), Err(PacketError::Empty)]);
}

#[test]
fn nothing_behind_a_bad_packet_is_read() {
    let unknown = Err(PacketError::UnknownType('x'));
    assert_eq!(packets(b"4a\x1ex\x1e4b\x1ey"), [text("a"), unknown.clone()]);
    let mut packets = decode(b"x\x1e4b");
    assert_eq!(packets.next(), Some(unknown));
    assert_eq!(packets.next(), None);
    assert_eq!(packets.next(), None);
}

#[test]
fn invalid_utf8_is_replaced() {
    assert_eq!(
        packets(b"4a\xffb\xe2\x82\x1e4\xc3"),
        [text("a\u{fffd}b\u{fffd}"), text("\u{fffd}")]
    );
    assert_eq!(packets(b"\xff4"), [Err(PacketError::UnknownType('\u{fffd}'))]);
    assert_eq!(packets(b"bYW\xffJj"), [binary(b"abc")]);
}

#[test]
fn a_packet_does_not_keep_the_body() {
    let body = Bytes::from_static(b"4one\x1e4two");
    let range = body.as_ptr_range();
    for packet in decode(&body) {
        let Ok(Packet::Message(Message::Text(data))) = packet else {
            panic!("no message");
        };
        assert!(!range.contains(&data.as_ptr()));
    }
}

#[test]
fn a_body_is_written_with_separators_between() {
    let mut body = Vec::new();
    push_text(&mut body, b"4hello");
    push_binary(&mut body, &[1, 2, 3, 4]);
    push_text(&mut body, "4€".as_bytes());
    assert_eq!(body, "4hello\u{1e}bAQIDBA==\u{1e}4€".as_bytes());

    let mut body = Vec::new();
    push_binary(&mut body, b"");
    push_binary(&mut body, b"\xff");
    assert_eq!(body, b"b\x1eb/w==");
}

#[test]
fn what_is_written_is_read_back() {
    let mut body = Vec::new();
    let mut expected = Vec::new();
    let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    for length in 0..bytes.len() {
        push_binary(&mut body, &bytes[..length]);
        expected.push(binary(&bytes[..length]));
        let string = "né".repeat(length % 7);
        push_text(&mut body, format!("4{string}").as_bytes());
        expected.push(text(&string));
    }
    assert_eq!(packets(&body), expected);
}

#[test]
fn hostile_bodies_take_linear_time() {
    let separators = vec![SEPARATOR; 1 << 22];
    assert_eq!(decode(&separators).count(), 1);
    let noops = b"6\x1e".repeat(1 << 20);
    assert_eq!(decode(&noops).filter(Result::is_ok).count(), 1 << 20);
    let mut junk = b"b".to_vec();
    junk.extend(b"YWJj!\xff".repeat(1 << 18));
    assert_eq!(packets(&junk), [binary(&b"abc".repeat(1 << 18))]);
    let padding = [&b"b"[..], &[b'='; 1 << 20]].concat();
    assert_eq!(packets(&padding), [binary(b"")]);
}

#[test]
fn noise_never_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456b\x1e\x1e=-+/aZ \xff\xe2\x82\xac\xf0\x9f\x98\x80"[(state % 25) as usize]
    };
    for round in 0..20_000 {
        let body: Vec<u8> = (0..round % 50).map(|_| byte()).collect();
        let errors = decode(&body).filter(Result::is_err).count();
        assert!(errors <= 1);
        assert!(decode(&body).take_while(Result::is_ok).count() + errors == decode(&body).count());
    }
}
