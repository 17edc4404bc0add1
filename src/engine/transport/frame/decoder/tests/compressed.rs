//! Compressed messages in frames, as clients write them.

use flate2::{Compress, Compression, FlushCompress};

use super::*;

/// A client's messages, compressed.
struct Client(Compress);

impl Client {
    fn new() -> Self {
        Self(Compress::new(Compression::default(), false))
    }

    fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() * 2 + 1024);
        self.0.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
        out
    }
}

/// Feeds until everything is taken, as the transport does it.
fn feed_all(decoder: &mut Decoder, parts: &[&[u8]]) -> (Vec<Message>, Option<FrameError>) {
    let mut messages = Vec::new();
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            match decoder.feed(rest, &mut |message| messages.push(message)) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn all(max: usize, takeover: bool, bytes: &[u8]) -> (Vec<Message>, Option<FrameError>) {
    feed_all(&mut Decoder::new(max).inflating(takeover), &[bytes])
}

#[test]
fn messages_are_inflated_with_and_without_takeover() {
    for takeover in [true, false] {
        let mut client = Client::new();
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for text in ["Hello", "", "Hello", "κόσμε"] {
            if !takeover {
                client = Client::new();
            }
            // zlib flushes nothing twice.
            let data = if text.is_empty() { vec![0] } else { client.deflate(text.as_bytes()) };
            bytes.extend(frame(0xc1, &data));
            expected.push(super::text(text));
            bytes.extend(frame(0x82, b"plain"));
            expected.push(Message::Binary(Bytes::from_static(b"plain")));
        }
        assert_eq!(all(100, takeover, &bytes), (expected.clone(), None));
        let mut decoder = Decoder::new(100).inflating(takeover);
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(feed_all(&mut decoder, &single), (expected, None));
        assert!(decoder.partial.is_none(), "nothing is kept between messages");
    }
}

#[test]
fn fragments_of_a_compressed_message_are_one_with_pings_between() {
    let data = Client::new().deflate(&b"fragment ".repeat(500));
    for step in [1, 2, 7, data.len()] {
        let mut bytes = Vec::new();
        let parts = data.chunks(step).count();
        for (at, part) in data.chunks(step).enumerate() {
            let first = if at == 0 { 0x42 } else { 0 };
            let last = if at + 1 == parts { 0x80 } else { 0 };
            bytes.extend(frame(first | last, part));
            if last == 0 {
                bytes.extend(frame(0x00, b""));
                bytes.extend(frame(0x89, b"?"));
            }
        }
        let (messages, error) = all(5000, true, &bytes);
        assert_eq!(error, None);
        assert_eq!(messages.last(), Some(&Message::Binary(b"fragment ".repeat(500).into())));
        assert_eq!(messages.len(), parts);
    }
}

#[test]
fn only_the_first_frame_of_a_data_message_says_that_it_is_compressed() {
    let start = frame(0x41, &Client::new().deflate(b"abc"));
    let after_start = |first| [&start[..], &frame(first, b"")].concat();
    let cases = [
        frame(0xc8, b""),
        frame(0xc9, b""),
        frame(0xca, b""),
        frame(0xc0, b""),
        after_start(0xc0),
        after_start(0x40),
        after_start(0xc9),
        frame(0xe1, b""),
        frame(0xd1, b""),
    ];
    for bytes in cases {
        assert_eq!(all(100, true, &bytes), (vec![], Some(FrameError::ReservedBit)), "{bytes:x?}");
    }
    let compressed = frame(0xc1, &Client::new().deflate(b"abc"));
    assert_eq!(feed_parts(100, [&compressed[..]]), (vec![], Some(FrameError::ReservedBit)));
}

#[test]
fn the_limit_counts_before_and_after_inflating() {
    let fits = Client::new().deflate(&[b'x'; 1000]);
    assert_eq!(all(1000, true, &frame(0xc2, &fits)).1, None);
    assert_eq!(all(999, true, &frame(0xc2, &fits)), (vec![], Some(FrameError::TooBig)));
    // Announced: nothing of it has come, and nothing of it would come out.
    let nothing = [0, 0, 0, 0xff, 0xff].repeat(200);
    assert_eq!(all(999, true, &frame(0xc2, &nothing)[..8]).1, Some(FrameError::TooBig));
    let mut fragments = frame(0x42, &nothing);
    fragments.extend(&frame(0x80, &[0])[..6]);
    assert_eq!(all(1000, true, &fragments), (vec![], Some(FrameError::TooBig)));
    // The next message has the whole limit again.
    let mut client = Client::new();
    let two: Vec<_> = [1000, 1000].map(|len| frame(0xc2, &client.deflate(&vec![7; len]))).concat();
    assert_eq!(all(1000, true, &two).0.len(), 2);
}

#[test]
fn what_is_no_deflate_data_or_no_text_is_refused_at_once() {
    let (_, error) = all(100, true, &frame(0x41, &[0xff; 3]));
    assert_eq!((error, FrameError::Deflate.close_code()), (Some(FrameError::Deflate), 1007));
    let latin = Client::new().deflate(b"caf\xe9 au lait");
    assert_eq!(all(100, true, &frame(0xc1, &latin)).1, Some(FrameError::InvalidUtf8));
    // Half a character may be completed by what comes.
    let half = Client::new().deflate("é".as_bytes());
    let halves = [frame(0x41, &half[..1]), frame(0x80, &half[1..])].concat();
    assert_eq!(all(100, true, &halves), (vec![text("é")], None));
}

#[test]
fn one_portion_inflates_only_so_much_before_others_have_their_turn() {
    let bomb = frame(0xc2, &Client::new().deflate(&vec![0; 900_000]));
    let portion = bomb.repeat(5);
    let mut decoder = Decoder::new(900_000).inflating(false);
    let mut rest = &portion[..];
    let mut turns = 0;
    let mut messages = 0;
    while !rest.is_empty() {
        let mut came = 0;
        let taken = decoder.feed(rest, &mut |_| came += 1).unwrap();
        assert!(came <= 1, "{came} messages of 900,000 bytes in one turn");
        rest = &rest[taken..];
        messages += came;
        turns += 1;
    }
    assert_eq!(messages, 5);
    assert!(turns >= 5, "{turns}");
}

#[test]
fn random_changes_of_compressed_frames_neither_panic_nor_grow() {
    const MAX: usize = 2000;
    let mut random = XorShift(0x5851_f42d_4c95_7f2d);
    let mut outcomes = (0, 0);
    let mut client = Client::new();
    for round in 0..400 {
        let takeover = round % 2 == 0;
        client.0.reset();
        let mut bytes = Vec::new();
        for _ in 0..4 {
            let message: Vec<u8> =
                (0..random.below(300) * 8).map(|_| b'a' + random.below(3) as u8).collect();
            if !takeover {
                client.0.reset();
            }
            let first = [0xc1, 0xc2, 0x41, 0x80, 0x81][random.below(5)];
            let data = if message.is_empty() { vec![0] } else { client.deflate(&message) };
            bytes.extend(frame(first, &data));
        }
        for _ in 0..random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let whole = all(MAX, takeover, &bytes);
        outcomes.0 += whole.0.len();
        outcomes.1 += usize::from(whole.1.is_some());
        let mut decoder = Decoder::new(MAX).inflating(takeover);
        let step = 1 + random.below(20);
        let mut parts = Vec::new();
        for part in bytes.chunks(step) {
            let fed = feed_all(&mut decoder, &[part]);
            parts.extend(fed.0);
            let held = decoder.partial.as_ref().and_then(|partial| partial.message.as_ref());
            assert!(held.is_none_or(|message| message.bytes.capacity() <= 2 * (MAX + 1)));
            if fed.1.is_some() {
                // Which of two faults is found first depends on how much there is to inflate at once.
                assert!(whole.1.is_some(), "{:?}", fed.1);
                break;
            }
        }
        assert_eq!(parts, whole.0);
    }
    assert!(outcomes.0 > 100 && outcomes.1 > 100, "{outcomes:?}");
}
