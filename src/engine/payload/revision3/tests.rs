use bytestring::ByteString;

use super::*;
use crate::engine::packet::Message;

type Decoded = Result<Packet, PacketError>;

const BROKEN: Decoded = Err(PacketError::Payload);

fn text(data: &str) -> Decoded {
    Ok(Packet::Message(Message::Text(ByteString::from(data))))
}

fn binary(data: &[u8]) -> Decoded {
    Ok(Packet::Message(Message::Binary(Bytes::copy_from_slice(data))))
}

fn texts(body: impl AsRef<[u8]>) -> Vec<Decoded> {
    decode_text(body.as_ref()).collect()
}

fn octets(body: &[u8]) -> Vec<Decoded> {
    decode_octets(body).collect()
}

// ---- text ----------------------------------------------------------------------------------------

#[test]
fn a_body_is_read_in_order() {
    let ping = Ok(Packet::Ping(ByteString::new()));
    let expected = vec![text("hello"), ping, binary(&[1, 2, 3, 4]), text("")];
    assert_eq!(texts("6:4hello1:210:b4AQIDBA==1:4"), expected);
    assert_eq!(texts("4:4a:b2:4:"), [text("a:b"), text(":")]);
}

#[test]
fn lengths_are_utf16_code_units() {
    for data in ["é", "漢字", "👍🏽", "\u{2028}\0", "a👍é", "\u{ffff}\u{10000}"] {
        let mut body = Vec::new();
        push_text(&mut body, format!("4{data}").as_bytes());
        let units = 1 + data.encode_utf16().count();
        assert_eq!(String::from_utf8(body.clone()).unwrap(), format!("{units}:4{data}"));
        push_text(&mut body, b"4!");
        assert_eq!(texts(&body), [text(data), text("!")], "{data}");
    }
}

#[test]
fn an_element_that_ends_within_a_character_is_refused() {
    assert_eq!(texts("2:4a2:4👍"), [text("a"), BROKEN]);
    assert_eq!(texts("2:👍"), [Err(PacketError::UnknownType('👍'))]);
}

#[test]
fn elements_without_a_packet_are_passed_over() {
    assert_eq!(texts("0:1:40:0:"), [text("")]);
    assert_eq!(texts("000:0002:4a"), [text("a")]);
    assert_eq!(texts("0:".repeat(10_000)), []);
}

#[test]
fn what_follows_the_first_error_is_dropped() {
    assert_eq!(texts(""), [BROKEN]);
    for body in
        ["x", ":", ":4a", "4hello", "3:4a", "-1:4a", "+2:4a", " 2:4a", "2 :4a", "0x2:4a", "2.0:4a"]
    {
        assert_eq!(texts(body), [BROKEN], "{body}");
        assert_eq!(texts(format!("2:4a{body}")), [text("a"), BROKEN], "{body}");
    }
    assert_eq!(texts("1:72:4a"), [Err(PacketError::UnknownType('7'))]);
    assert_eq!(texts("2:4a0"), [text("a"), BROKEN]);
}

#[test]
fn a_length_beyond_the_body_costs_nothing() {
    for length in ["9", "1000000000", "18446744073709551615", "18446744073709551616"] {
        assert_eq!(texts(format!("{length}:4a")), [BROKEN]);
    }
    assert_eq!(texts(format!("{}:4a", "9".repeat(100_000))), [BROKEN]);
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_before_lengths_are_looked_at() {
    assert_eq!(texts(b"3:4\xff\xc3"), [text("\u{fffd}\u{fffd}")]);
}

// ---- octets --------------------------------------------------------------------------------------

#[test]
fn octets_are_those_of_the_specification() {
    let mut body = Vec::new();
    push_octets(&mut body, b"4hello", false);
    push_octets(&mut body, &[1, 2, 3, 4], true);
    let expected = [0, 6, 255, 52, 104, 101, 108, 108, 111, 1, 5, 255, 4, 1, 2, 3, 4];
    assert_eq!(body, expected);
    assert_eq!(octets(&body), [text("hello"), binary(&[1, 2, 3, 4])]);
}

#[test]
fn lengths_of_octets_are_bytes() {
    let long = "é".repeat(700);
    let mut body = Vec::new();
    push_octets(&mut body, format!("4{long}").as_bytes(), false);
    push_octets(&mut body, &[7; 999], true);
    assert_eq!(body[..6], [0, 1, 4, 0, 1, 255]);
    assert_eq!(octets(&body), [text(&long), binary(&[7; 999])]);
}

#[test]
fn octets_may_hold_base64_and_types_that_mean_nothing() {
    let body = [&[0, 8, 255][..], b"b4AQIDBA", &[1, 2, 255, 9, 9, 1, 0, 255]].concat();
    assert_eq!(octets(&body), [binary(&[1, 2, 3, 4]), Ok(Packet::Noop), Ok(Packet::Noop)]);
    assert_eq!(octets(&[]), []);
}

#[test]
fn octets_whose_lengths_do_not_fit_are_refused_as_a_whole() {
    let good = [0, 2, 255, 52, 97];
    assert_eq!(octets(&good), [text("a")]);
    let endless = vec![1; 1000];
    let cases: [&[u8]; 9] = [
        &[0],
        &[0, 2],
        &[0, 255],
        &[1, 255, 4],
        &[0, 3, 255, 52, 97],
        &[0, 12, 255, 52],
        &[0, 200, 255, 52],
        &[1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 255],
        &endless,
    ];
    for broken in cases {
        assert_eq!(octets(&[&good[..], broken].concat()), [BROKEN], "{broken:?}");
    }
}

#[test]
fn texts_among_octets_must_be_packets_and_utf8() {
    let good = [0, 2, 255, 52, 97];
    for (broken, error) in [
        (&[0, 1, 255, 55][..], PacketError::UnknownType('7')),
        (&[0, 0, 255], PacketError::Empty),
        (&[0, 2, 255, 52, 0xff], PacketError::Payload),
    ] {
        let mut found = octets(&[&good[..], broken].concat()).into_iter();
        assert_eq!(found.next(), Some(text("a")));
        assert_eq!(found.next(), Some(Err(error)));
    }
}

#[test]
fn binary_is_written_as_text_for_those_who_cannot_read_octets() {
    let mut body = Vec::new();
    push_text(&mut body, b"4hello");
    push_base64(&mut body, &[1, 2, 3, 4]);
    push_base64(&mut body, &[]);
    assert_eq!(body, b"6:4hello10:b4AQIDBA==2:b4");
    assert_eq!(texts(&body), [text("hello"), binary(&[1, 2, 3, 4]), binary(&[])]);
}

// ---- hostile input -------------------------------------------------------------------------------

#[test]
fn what_is_kept_does_not_keep_the_body() {
    let body = b"2:4a2:4b".repeat(100);
    let range = body.as_ptr_range();
    for packet in decode_text(&body) {
        let Ok(Packet::Message(Message::Text(data))) = packet else { panic!("no message") };
        assert!(!range.contains(&data.as_ptr()));
    }
    let body = [1, 3, 255, 4, 1, 2].repeat(100);
    let range = body.as_ptr_range();
    for packet in decode_octets(&body) {
        let Ok(Packet::Message(Message::Binary(data))) = packet else { panic!("no message") };
        assert!(!range.contains(&data.as_ptr()));
    }
}

#[test]
fn hostile_bodies_take_linear_time() {
    assert_eq!(decode_text(&b"0:".repeat(1 << 18)).count(), 0);
    assert_eq!(decode_text(&b"1:6".repeat(1 << 18)).filter(Result::is_ok).count(), 1 << 18);
    assert_eq!(texts(vec![b'0'; 1 << 18]), [BROKEN]);
    let wide = "2:4é".repeat(1 << 18);
    assert_eq!(decode_text(wide.as_bytes()).filter(Result::is_ok).count(), 1 << 18);
    assert_eq!(decode_octets(&[1, 0, 255].repeat(1 << 18)).count(), 1 << 18);
    assert_eq!(octets(&vec![0; 1 << 18]), [BROKEN]);
    assert_eq!(octets(&[&[1][..], &[0; 1 << 18], &[255]].concat()), [Ok(Packet::Noop)]);
}

#[test]
fn noise_never_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |alphabet: &[u8]| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        alphabet[(state % alphabet.len() as u64) as usize]
    };
    for round in 0..20_000 {
        let length = round % 50;
        let body: Vec<u8> =
            (0..length).map(|_| pick(b"0123456::::b46=\xff\xe2\x82\xac\xf0\x9f\x98\x80")).collect();
        let errors = decode_text(&body).filter(Result::is_err).count();
        assert_eq!(
            decode_text(&body).take_while(Result::is_ok).count() + errors,
            texts(&body).len()
        );
        assert!(errors <= 1);
        let body: Vec<u8> =
            (0..length).map(|_| pick(&[0, 1, 1, 2, 3, 4, 255, 255, 52, 98])).collect();
        assert!(decode_octets(&body).count() <= body.len());
    }
}
