use super::*;

fn dialect(query: &'static [(&str, &str)]) -> Dialect {
    Dialect::new(|name| query.iter().find(|(n, _)| *n == name).map(|(_, value)| *value))
}

fn frames() -> [Frame; 2] {
    [Frame::text_packet("4é"), Frame::binary_message(&[1, 2])]
}

fn written(dialect: &Dialect, frames: &[Frame]) -> (Vec<u8>, &'static str) {
    let Body { bytes, content_type } = dialect.body(frames);
    (bytes, content_type)
}

fn read(dialect: &Dialect, body: &[u8], content_type: &str) -> usize {
    let Some(body) = dialect.open(body.to_vec()) else { return 0 };
    let packets = dialect.packets(&body, Some(content_type.as_bytes()));
    packets.filter(|packet| matches!(packet, Ok(Packet::Message(_)))).count()
}

#[test]
fn whatever_is_not_4_is_revision_3() {
    for eio in [None, Some("3"), Some(""), Some("5"), Some("04")] {
        assert_eq!(Revision::of(eio), Revision::Three);
    }
    assert_eq!(Revision::of(Some("4")), Revision::Four);
}

#[test]
fn an_answer_is_written_as_the_opening_request_wants_it() {
    let text = "text/plain; charset=UTF-8";
    let four = dialect(&[("EIO", "4"), ("b64", "1")]);
    assert_eq!(written(&four, &frames()), ("4é\x1ebAQI=".into(), text));
    let three = dialect(&[]);
    let octets = b"\0\x03\xff4\xc3\xa9\x01\x03\xff\x04\x01\x02".to_vec();
    assert_eq!(written(&three, &frames()), (octets, "application/octet-stream"));
    assert_eq!(written(&three, &frames()[..1]), ("2:4é".into(), text));
    let base64 = dialect(&[("b64", "0")]);
    assert_eq!(written(&base64, &frames()), ("2:4é6:b4AQI=".into(), text));
    let script = dialect(&[("j", "x7")]);
    assert_eq!(written(&script, &frames()), ("___eio[7](\"2:4é6:b4AQI=\");".into(), text));
    let script = dialect(&[("j", ""), ("EIO", "4")]);
    assert_eq!(written(&script, &frames()[..1]), ("___eio[](\"4é\");".into(), text));
}

#[test]
fn a_body_is_read_as_its_type_and_the_session_say() {
    let three = dialect(&[]);
    assert_eq!(read(&three, b"2:4a2:4b", "text/plain"), 2);
    assert_eq!(read(&three, b"\0\x02\xff4a", "application/octet-stream"), 1);
    assert_eq!(read(&three, b"\0\x02\xff4a", "application/octet-stream; x"), 0);
    assert!(!three.refuses(Some(b"application/octet-stream")));
    let four = dialect(&[("EIO", "4")]);
    assert_eq!(read(&four, b"4a\x1e4b", "text/plain"), 2);
    assert!(four.refuses(Some(b"application/octet-stream")));
    assert!(!four.refuses(None));
    let form = dialect(&[("j", "0")]);
    assert_eq!(read(&form, b"d=2%3A4a2:4b", "application/x-www-form-urlencoded"), 2);
    assert_eq!(read(&form, b"2:4a", "text/plain"), 0);
}

#[test]
fn websocket_frames_carry_binary_data_behind_its_type() {
    let [text, binary] = frames();
    assert_eq!(text.into_revision3(true).websocket()[..], *b"\x81\x034\xc3\xa9");
    assert_eq!(binary.clone().into_revision3(false).websocket()[..], *b"\x82\x03\x04\x01\x02");
    assert_eq!(binary.into_revision3(true).websocket()[..], *b"\x81\x06b4AQI=");
    let large = Frame::binary_message(&[0; 125]).into_revision3(false).websocket();
    assert_eq!(large[..5], [0x82, 126, 0, 126, 4]);
    assert_eq!(Revision::Three.binary(Bytes::from_static(&[4, 9])), {
        Packet::Message(Message::Binary(Bytes::from_static(&[9])))
    });
    assert_eq!(Revision::Four.binary(Bytes::from_static(&[4, 9])), {
        Packet::Message(Message::Binary(Bytes::from_static(&[4, 9])))
    });
}
