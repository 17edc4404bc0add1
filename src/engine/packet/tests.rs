use super::*;

fn decode(text: &str) -> Result<Packet, PacketError> {
    Packet::decode_text(ByteString::from(text))
}

fn binary(data: &[u8]) -> Result<Packet, PacketError> {
    Ok(Packet::Message(Message::Binary(Bytes::copy_from_slice(data))))
}

#[test]
fn every_type_is_read_and_written() {
    let packets = [
        ("0{\"sid\":\"a\"}", Packet::Open("{\"sid\":\"a\"}".into())),
        ("1", Packet::Close),
        ("2", Packet::Ping("".into())),
        ("2probe", Packet::Ping("probe".into())),
        ("3", Packet::Pong("".into())),
        ("3probe", Packet::Pong("probe".into())),
        ("4", Packet::Message(Message::Text("".into()))),
        ("4hé\u{1e}", Packet::Message(Message::Text("hé\u{1e}".into()))),
        ("5", Packet::Upgrade),
        ("6", Packet::Noop),
        ("bAQIDBA==", Packet::Message(Message::Binary(Bytes::from_static(&[1, 2, 3, 4])))),
        ("b", Packet::Message(Message::Binary(Bytes::new()))),
    ];
    for (text, packet) in packets {
        assert_eq!(decode(text).as_ref(), Ok(&packet));
    }
}

#[test]
fn data_of_a_type_that_has_none_is_ignored() {
    assert_eq!(decode("1now"), Ok(Packet::Close));
    assert_eq!(decode("5probe"), Ok(Packet::Upgrade));
    assert_eq!(decode("6\u{fffd}"), Ok(Packet::Noop));
}

#[test]
fn a_text_without_a_known_type_is_refused() {
    assert_eq!(decode(""), Err(PacketError::Empty));
    for kind in ['7', '9', 'a', 'B', ' ', '\0', '-', '\u{feff}', '\u{fffd}', '😀', '４'] {
        let expected = Err(PacketError::UnknownType(kind));
        assert_eq!(decode(&kind.to_string()), expected);
        assert_eq!(decode(&format!("{kind}4hello")), expected);
    }
}

#[test]
fn the_data_shares_the_memory_of_the_text() {
    let text = ByteString::from("4hello");
    let Ok(Packet::Message(Message::Text(data))) = Packet::decode_text(text.clone()) else {
        panic!("no message");
    };
    assert_eq!(data.as_ptr(), text[1..].as_ptr());
}

#[test]
fn base64_is_as_lenient_as_node() {
    // The right side is what Node 20 prints for `Buffer.from(left, "base64")`.
    let cases: [(&str, &[u8]); 27] = [
        ("YWJj", b"abc"),
        ("YWJ", b"ab"),
        ("YW", b"a"),
        ("Y", b""),
        ("YWJjZ", b"abc"),
        ("YWJjZA", b"abcd"),
        ("YWJjZA==", b"abcd"),
        ("YW==YWJj", b"a"),
        ("YWJj=YWJj", b"abc"),
        ("Y=WJj", b""),
        ("YW=Jj", b"a"),
        ("=YWJj", b""),
        ("==", b""),
        ("", b""),
        ("Y W\nJj", b"abc"),
        ("Y!W@Jj", b"abc"),
        ("+/-_", b"\xfb\xff\xbf"),
        ("-_8", b"\xfb\xff"),
        ("YWéJj", b"abc"),
        ("YWJj\u{fffd}YWJj", b"abcabc"),
        ("YWJjYQ=", b"abca"),
        ("YWJjYQ!=YWJj", b"abca"),
        ("!!=YWJj", b""),
        ("Y====WJj", b""),
        ("YQ\n==YWJj", b"a"),
        ("YR==", b"a"),
        ("YWK", b"ab"),
    ];
    for (text, data) in cases {
        assert_eq!(decode(&format!("b{text}")), binary(data), "{text:?}");
    }
    // Unlike Node, which takes the low byte of this character for `-`.
    assert_eq!(decode("bYW\u{4e2d}Jj"), binary(b"abc"));
}
