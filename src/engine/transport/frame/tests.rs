use super::*;

fn pong_to(ping: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    pong(ping, &mut out);
    out
}

#[test]
fn headers_take_the_shortest_form() {
    let cases: [(usize, &[u8]); 6] = [
        (0, &[0x82, 0]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (256, &[0x82, 126, 1, 0]),
        (65535, &[0x82, 126, 0xff, 0xff]),
        (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    for (len, expected) in cases {
        let (bytes, length) = header(OpCode::Binary, true, len);
        assert_eq!(&bytes[..length], expected);
    }
}

#[test]
fn the_vectors_of_the_rfc_are_written() {
    // RFC 6455 §5.7: unmasked text, its two fragments, an unmasked pong.
    assert_eq!(header(OpCode::Text, true, 5).0[..2], [0x81, 0x05]);
    assert_eq!(header(OpCode::Text, false, 3).0[..2], [0x01, 0x03]);
    assert_eq!(header(OpCode::Continuation, true, 2).0[..2], [0x80, 0x02]);
    assert_eq!(pong_to(b"Hello"), *b"\x8a\x05Hello");
}

#[test]
fn a_close_frame_has_a_code_and_a_reason_that_fits() {
    assert_eq!(close(1000, "")[..], [0x88, 2, 0x03, 0xe8]);
    assert_eq!(close(1009, "big")[..], *b"\x88\x05\x03\xf1big");
    assert_eq!(close(1005, "never sent")[..], [0x88, 0]);

    let long = close(1000, &"x".repeat(200));
    assert_eq!((long.len(), long[1]), (2 + 125, 125));
    // 123 is inside a character of two bytes.
    let cut = close(1000, &"é".repeat(100));
    assert_eq!(cut[1], 2 + 122);
    assert!(std::str::from_utf8(&cut[4..]).is_ok());
}

#[test]
fn a_pong_never_exceeds_a_control_frame() {
    assert_eq!(pong_to(&[7; 300]).len(), 2 + MAX_CONTROL);
    assert_eq!(pong_to(b""), [0x8a, 0]);
}

#[test]
fn every_error_names_its_close_code() {
    assert_eq!(FrameError::Unmasked.close_code(), 1002);
    assert_eq!(FrameError::CloseCode(1005).close_code(), 1002);
    assert_eq!(FrameError::InvalidUtf8.close_code(), 1007);
    assert_eq!(FrameError::TooManyFragments.close_code(), 1008);
    assert_eq!(FrameError::TooBig.close_code(), 1009);
}
