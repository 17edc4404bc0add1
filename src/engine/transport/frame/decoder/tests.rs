mod compressed;

use super::{collected::RESERVE_AHEAD, *};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame in the shortest form; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let (mut head, length) = super::super::header(OpCode::Text, true, payload.len());
    head[0] = first;
    head[1] |= MASKED;
    let mut bytes = head[..length].to_vec();
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

fn feed(decoder: &mut Decoder, bytes: &[u8]) -> (Vec<Message>, Option<FrameError>) {
    let mut messages = Vec::new();
    let result = decoder.feed(bytes, &mut |message| messages.push(message));
    (messages, result.err())
}

fn feed_parts<'a>(
    max: usize,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<FrameError>) {
    let mut decoder = Decoder::new(max);
    let mut messages = Vec::new();
    for part in parts {
        if let Err(error) = decoder.feed(part, &mut |message| messages.push(message)) {
            return (messages, Some(error));
        }
    }
    (messages, None)
}

fn text(text: &'static str) -> Message {
    Message::Text(ByteString::from_static(text))
}

/// The error of `bytes` fed one by one, and how many of them it took.
fn refusal(max: usize, bytes: &[u8]) -> (FrameError, usize) {
    let mut decoder = Decoder::new(max);
    for (at, byte) in bytes.iter().enumerate() {
        if let (_, Some(error)) = feed(&mut decoder, &[*byte]) {
            return (error, at + 1);
        }
    }
    panic!("accepted: {bytes:02x?}");
}

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn the_vectors_of_the_rfc_are_read() {
    // RFC 6455 §5.7: "Hello" masked, and a masked pong.
    let hello = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let pong = *b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let mut decoder = Decoder::new(100);
    assert_eq!(feed(&mut decoder, &hello), (vec![text("Hello")], None));
    assert_eq!(feed(&mut decoder, &pong).0, [Message::Pong("Hello".into())]);
}

#[test]
fn lengths_of_every_form_are_read() {
    for len in [0, 1, 7, 8, 9, 125, 126, 127, 255, 65535, 65536, 200_000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let bytes = frame(0x82, &payload);
        let expected = (vec![Message::Binary(payload.into())], None);
        assert_eq!(feed_parts(len, [&bytes[..]]), expected);
        assert_eq!(feed_parts(len, bytes.chunks(1)), expected);
        assert_eq!(feed_parts(len, bytes.chunks(1000)), expected);
    }
}

#[test]
fn a_length_in_more_bytes_than_needed_is_accepted() {
    let mut bytes = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 9];
    let nine = Message::Binary(Bytes::from_static(&[9, 9]));
    assert_eq!(feed_parts(2, [&bytes[..]]), (vec![nine.clone()], None));
    bytes.splice(1..10, [0xfe, 0, 2]);
    assert_eq!(feed_parts(2, [&bytes[..]]), (vec![nine], None));
}

#[test]
fn control_frames_pass_between_fragments() {
    let mut bytes = frame(0x01, b"a");
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x00, b""));
    bytes.extend(frame(0x8a, b""));
    bytes.extend(frame(0x80, b"b"));
    bytes.extend(frame(0x82, b"c"));
    let expected = vec![
        Message::Ping(Bytes::from_static(b"ping")),
        Message::Pong(Bytes::new()),
        text("ab"),
        Message::Binary(Bytes::from_static(b"c")),
    ];
    for step in 1..bytes.len() + 1 {
        assert_eq!(feed_parts(2, bytes.chunks(step)), (expected.clone(), None));
    }
}

#[test]
fn nothing_is_read_after_a_close_or_an_error() {
    let mut bytes = frame(0x88, b"\x03\xe8bye");
    bytes.extend(frame(0x81, b"late"));
    let mut decoder = Decoder::new(100);
    let close =
        Message::Close(Some(CloseFrame { code: 1000, reason: ByteString::from_static("bye") }));
    assert_eq!(feed(&mut decoder, &bytes), (vec![close], None));
    assert_eq!(feed(&mut decoder, &[0xff; 9]), (vec![], None));
    assert_eq!(feed_parts(9, [&frame(0x88, b"")[..]]), (vec![Message::Close(None)], None));

    let mut decoder = Decoder::new(100);
    let mut bytes = frame(0x81, b"before");
    bytes.push(0x83);
    let error = Some(FrameError::ReservedOpCode(3));
    assert_eq!(feed(&mut decoder, &bytes), (vec![text("before")], error));
    assert_eq!(feed(&mut decoder, &frame(0x81, b"late")), (vec![], None));
}

#[test]
fn a_forbidden_first_byte_is_refused_at_once() {
    for reserved in [0x40, 0x20, 0x10] {
        assert_eq!(refusal(9, &[0x81 | reserved]), (FrameError::ReservedBit, 1));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let expected = (FrameError::ReservedOpCode(opcode), 1);
        assert_eq!(refusal(9, &[0x80 | opcode]), expected);
    }
    for opcode in [8, 9, 10] {
        assert_eq!(refusal(9, &[opcode]), (FrameError::FragmentedControl, 1));
    }
    assert_eq!(refusal(9, &[0x80]), (FrameError::UnexpectedContinuation, 1));
    assert_eq!(refusal(9, &[0x00]), (FrameError::UnexpectedContinuation, 1));
    for opcode in [0x01, 0x02, 0x81, 0x82] {
        let mut bytes = frame(0x01, b"a");
        let started = bytes.len();
        bytes.push(opcode);
        assert_eq!(refusal(9, &bytes), (FrameError::InterruptedMessage, started + 1));
    }
}

#[test]
fn a_forbidden_length_is_refused_before_the_payload() {
    assert_eq!(refusal(9, &[0x81, 0x01]), (FrameError::Unmasked, 2));
    for opcode in [0x88, 0x89, 0x8a] {
        for length in [0xfe, 0xff] {
            assert_eq!(refusal(999, &[opcode, length]), (FrameError::ControlLength, 2));
        }
    }
    assert_eq!(refusal(9, &[0x88, 0x81]), (FrameError::ControlLength, 2));

    assert_eq!(refusal(9, &[0x81, 0x8a]), (FrameError::TooBig, 2));
    assert_eq!(refusal(999, &[0x82, 0xfe, 0x03, 0xe8]), (FrameError::TooBig, 4));
    let top = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(refusal(9, &top), (FrameError::TooBig, 10));
    assert_eq!(refusal(usize::MAX, &top), (FrameError::TooBig, 10));
    // The limit counts what the message has collected, but no control frame.
    let mut bytes = frame(0x02, b"12345");
    bytes.extend(frame(0x89, &[0; 125]));
    bytes.extend(frame(0x00, b"6789"));
    let allowed = [&bytes[..], &frame(0x80, b"")].concat();
    assert_eq!(feed_parts(9, [&allowed[..]]).0.len(), 2);
    let refused = [&bytes[..], &[0x80, 0x81]].concat();
    assert_eq!(refusal(9, &refused), (FrameError::TooBig, refused.len()));
}

#[test]
fn only_close_codes_that_may_travel_are_accepted() {
    for code in 0..=u16::MAX {
        let (messages, error) = feed_parts(9, [&frame(0x88, &code.to_be_bytes())[..]]);
        let named = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
        if named || (3000..=4999).contains(&code) {
            assert_eq!((messages.len(), error), (1, None));
        } else {
            assert_eq!((messages, error), (vec![], Some(FrameError::CloseCode(code))));
        }
    }
    let (_, error) = feed_parts(9, [&frame(0x88, b"\x03\xe8\xc3")[..]]);
    assert_eq!(error, Some(FrameError::InvalidUtf8));
}

#[test]
fn invalid_utf8_is_refused_as_soon_as_it_is_certain() {
    // The text, and the byte (from 1) that makes it invalid.
    let cases: [(&[u8], usize); 14] = [
        (b"a\x80", 2),
        (b"\xc0\xaf", 1),
        (b"\xc1\xbf", 1),
        (b"\xe0\x80\xaf", 2),
        (b"\xed\xa0\x80", 2),
        (b"\xed\xbf\xbf", 2),
        (b"\xf0\x8f\xbf\xbf", 2),
        (b"\xf4\x90\x80\x80", 2),
        (b"\xf5\x80\x80\x80", 1),
        (b"\xff", 1),
        (b"\xc3\x28", 2),
        (b"\xe2\x82\x28", 3),
        (b"\xf0\x9f\x98a", 4),
        // Autobahn 6.4.1: valid Greek, then a surrogate.
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13),
    ];
    for (payload, certain) in cases {
        let mut padded = payload.to_vec();
        padded.extend(b"more text that never has to be read");
        let in_one_frame = frame(0x81, &padded);
        assert_eq!(refusal(99, &in_one_frame), (FrameError::InvalidUtf8, 6 + certain));
        let whole = feed_parts(99, [&in_one_frame[..]]);
        assert_eq!(whole, (vec![], Some(FrameError::InvalidUtf8)));

        let mut fragments = frame(0x01, &padded[..1]);
        for byte in &padded[1..] {
            fragments.extend(frame(0x00, &[*byte]));
        }
        assert_eq!(refusal(99, &fragments), (FrameError::InvalidUtf8, 7 * certain));
    }
}

#[test]
fn a_character_may_be_split_but_not_left_open() {
    let string = "κόσμε \u{10ffff}\u{ffff}\u{fffd} 😀";
    let mut bytes = frame(0x01, b"");
    for byte in string.bytes() {
        bytes.extend(frame(0x00, &[byte]));
        bytes.extend(frame(0x89, b""));
    }
    bytes.extend(frame(0x80, b""));
    let (messages, error) = feed_parts(99, bytes.chunks(3));
    assert_eq!((messages.last(), error), (Some(&text(string)), None));

    for open in [&b"a\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98"] {
        let whole = frame(0x81, open);
        assert_eq!(refusal(99, &whole), (FrameError::InvalidUtf8, whole.len()));
        let mut split = frame(0x01, open);
        split.extend(frame(0x80, b""));
        assert_eq!(refusal(99, &split), (FrameError::InvalidUtf8, split.len()));
    }
    // Bytes are no text.
    let binary = Message::Binary(Bytes::from_static(b"\xff\xc3"));
    assert_eq!(feed_parts(9, frame(0x82, b"\xff\xc3").chunks(1)).0, [binary]);
}

/// How many frames with this payload the decoder takes of a message that never ends.
fn endless(payload: &[u8]) -> usize {
    let mut decoder = Decoder::new(1 << 30);
    let mut first = 0x02;
    for taken in 0..1 << 20 {
        if let (_, Some(error)) = feed(&mut decoder, &frame(first, payload)) {
            assert_eq!(error, FrameError::TooManyFragments);
            return taken;
        }
        first = 0x00;
    }
    panic!("no end");
}

#[test]
fn a_message_without_end_in_empty_or_tiny_frames_is_refused() {
    assert_eq!(endless(b""), MAX_FRAGMENTS);
    let tiny = endless(b"x");
    assert!((MAX_FRAGMENTS..MAX_FRAGMENTS + 600).contains(&tiny), "{tiny}");
    assert!(endless(&[0; FRAGMENT_BYTES - 1]) <= FRAGMENT_BYTES * MAX_FRAGMENTS);
}

#[test]
fn as_many_frames_as_are_allowed_make_a_message() {
    let mut bytes = frame(0x02, b"");
    for _ in 2..MAX_FRAGMENTS {
        bytes.extend(frame(0x00, b""));
    }
    bytes.extend(frame(0x80, b""));
    let (messages, error) = feed_parts(1 << 20, [&bytes[..], &bytes]);
    assert_eq!((messages.len(), error), (2, None));
}

#[test]
fn a_large_message_may_come_in_small_frames() {
    // 4 MiB in frames of 64 bytes, as in Autobahn's 9.3.1 and 9.4.1.
    let payload: Vec<u8> = (0..4 << 20).map(|i| (i % 64) as u8).collect();
    let mut bytes = Vec::new();
    let last = payload.len() / 64 - 1;
    for (at, part) in payload.chunks(64).enumerate() {
        let opcode = if at == 0 { 0x01 } else { 0x00 };
        bytes.extend(frame(if at == last { 0x80 } else { opcode }, part));
    }
    let (messages, error) = feed_parts(4 << 20, bytes.chunks(16 * 1024));
    assert_eq!(error, None);
    let Some(Message::Text(text)) = messages.first() else { panic!("a text") };
    assert!(text.as_bytes() == &payload[..]);
}

#[test]
fn an_idle_decoder_is_small_and_keeps_no_buffer() {
    assert!(size_of::<Decoder>() <= 32);
    let mut decoder = Decoder::new(1 << 20);
    for first in [0x81, 0x82, 0x89, 0x8a] {
        let bytes = frame(first, &[b'x'; 100]);
        for cut in 0..bytes.len() {
            assert_eq!(feed(&mut decoder, &bytes[..cut]).0.len(), 0);
            assert_eq!(decoder.partial.is_some(), cut > 0);
            assert_eq!(feed(&mut decoder, &bytes[cut..]).0.len(), 1);
            assert!(decoder.partial.is_none());
        }
    }
    feed(&mut decoder, &frame(0x01, b"started"));
    assert!(decoder.partial.is_some());
    feed(&mut decoder, &[0xff]);
    assert!(decoder.partial.is_none());
}

#[test]
fn an_announced_length_reserves_little() {
    let capacity = |decoder: &Decoder| {
        let partial = decoder.partial.as_ref().expect("unfinished");
        partial.message.as_ref().map_or(0, |message| message.bytes.capacity())
    };
    let mut decoder = Decoder::new(usize::MAX);
    feed(&mut decoder, &[0x82, 0xff, 0, 0, 0, 0x40, 0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(capacity(&decoder), 0);
    let mut received = 0;
    for size in [1, 100, 1000, 65536, 1 << 20] {
        feed(&mut decoder, &vec![0; size]);
        received += size;
        assert!(capacity(&decoder) <= 2 * received + RESERVE_AHEAD);
    }
    // The end of a message of one frame is known: its buffer ends there.
    let mut decoder = Decoder::new(usize::MAX);
    let bytes = frame(0x82, &[0; 70_000]);
    feed(&mut decoder, &bytes[..bytes.len() - 1]);
    assert_eq!(capacity(&decoder), 70_000);
}

#[test]
fn the_portions_of_the_input_make_no_difference() {
    let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
    let mut outcomes = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(8) {
            let first = [0x81, 0x01, 0x00, 0x80, 0x82, 0x02, 0x89, 0x8a, 0x88][random.below(9)];
            let sample = ["", "x", "Hello", "κόσμε", "😀😀", "\x03\u{68}bye"][random.below(6)];
            let sample = sample.repeat(1 + random.below(30));
            let sample = sample.as_bytes();
            bytes.extend(frame(first, &sample[..random.below(sample.len() + 1)]));
        }
        if !bytes.is_empty() && random.below(3) == 0 {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        let whole = feed_parts(300, [&bytes[..]]);
        outcomes.0 += whole.0.len();
        outcomes.1 += usize::from(whole.1.is_some());
        assert_eq!(feed_parts(300, bytes.chunks(1)), whole, "{bytes:02x?}");
        let mut rest = &bytes[..];
        let cuts = std::iter::from_fn(|| {
            let (part, after) = rest.split_at(random.below(rest.len().min(40) + 1));
            let ended = rest.is_empty();
            rest = after;
            (!ended).then_some(part)
        });
        assert_eq!(feed_parts(300, cuts), whole, "{bytes:02x?}");
    }
    assert!(outcomes.0 > 5_000 && outcomes.1 > 5_000, "{outcomes:?}");
}

#[test]
fn noise_never_panics() {
    let mut random = XorShift(0x2545_f491_4f6c_dd1d);
    for _ in 0..50_000 {
        let mut bytes: Vec<u8> = (0..random.below(64)).map(|_| random.below(256) as u8).collect();
        if bytes.len() > 1 {
            // Past the first two checks more often than by chance.
            bytes[0] &= 0x8b;
            bytes[1] |= MASKED;
        }
        assert_eq!(feed_parts(50, [&bytes[..]]), feed_parts(50, bytes.chunks(1)));
    }
}
