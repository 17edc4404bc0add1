//! WebSocket frames: any bytes, and frames whose headers and masks are right.

use crate::engine::transport::{
    deflate::{Strength, deflate_alone},
    frame::{Decoder, Message, OpCode},
};

/// How a decoder is set up, from one byte.
#[derive(Clone, Copy)]
struct Setup {
    max: usize,
    inflates: bool,
    takeover: bool,
}

impl Setup {
    fn of(byte: u8) -> Self {
        let max = [5, 125, 1_000, 70_000][usize::from(byte & 3)];
        Self { max, inflates: byte & 4 != 0, takeover: byte & 8 != 0 }
    }

    fn decoder(self) -> Decoder {
        let decoder = Decoder::new(self.max);
        if self.inflates { decoder.inflating(self.takeover) } else { decoder }
    }

    /// The messages of `bytes` that come in portions of these sizes, in turn, and how it ended.
    fn read(self, bytes: &[u8], portions: &[usize]) -> (Vec<Message>, Option<u16>) {
        let mut decoder = self.decoder();
        let mut messages = Vec::new();
        let mut sizes = portions.iter().cycle();
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
            let (mut portion, behind) = rest.split_at(size);
            rest = behind;
            while !portion.is_empty() {
                match decoder.feed(portion, &mut |message| messages.push(message)) {
                    Ok(0) => panic!("nothing was taken"),
                    Ok(taken) => portion = &portion[taken..],
                    Err(error) => return (messages, Some(error.close_code())),
                }
                assert!(decoder.held() <= 4 * self.max + 32 * 1024, "{} held", decoder.held());
            }
        }
        (messages, None)
    }

    /// What comes out does not depend on the portions, and nothing of it is too big.
    fn check(self, bytes: &[u8], portion: usize) {
        let (messages, end) = self.read(bytes, &[usize::MAX]);
        for portions in [&[1][..], &[portion, 1, 7]] {
            let (same, same_end) = self.read(bytes, portions);
            assert_eq!(same, messages);
            // Of compressed data more is read at once, so that another of its faults may come first.
            if self.inflates {
                assert_eq!(same_end.is_some(), end.is_some());
            } else {
                assert_eq!(same_end, end);
            }
        }
        for message in &messages {
            let len = match message {
                Message::Text(text) => text.len(),
                Message::Binary(data) => data.len(),
                Message::Ping(data) | Message::Pong(data) => {
                    assert!(data.len() <= 125);
                    0
                }
                Message::Close(close) => {
                    assert!(close.as_ref().is_none_or(|close| close.reason.len() <= 123));
                    0
                }
            };
            assert!(len <= self.max, "{len} of {}", self.max);
        }
    }
}

/// Any bytes, in portions: the first byte is the set-up, the second the size of a portion.
pub fn frames(data: &[u8]) {
    if let [setup, portion, bytes @ ..] = data {
        Setup::of(*setup).check(bytes, (*portion).into());
    }
}

/// Frames with headers that fit, for it takes a fuzzer long to get a mask right: each is one byte
/// for what a frame's first byte is, one for the length of what follows, and the payload. Where the
/// length's top bit is set, the payload is compressed.
pub fn frames_built(data: &[u8]) {
    let [setup, portion, script @ ..] = data else { return };
    let mut bytes = Vec::new();
    let mut rest = script;
    while let [first, length, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(length & 0x7f)));
        rest = behind;
        let compressed = (length & 0x80 != 0).then(|| deflated(payload));
        push(&mut bytes, *first, compressed.as_deref().unwrap_or(payload));
    }
    Setup::of(*setup).check(&bytes, (*portion).into());
}

/// Appends a client's frame.
fn push(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let mask = [first, 0x37, 0xfa, payload.len() as u8];
    out.push(first);
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        long => {
            out.push(0x80 | 126);
            out.extend((long as u16).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The payload a few times over, compressed.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let plain = payload.repeat(1 + usize::from(payload.len() as u8 % 40));
    if plain.is_empty() {
        return vec![0];
    }
    let strength = Strength { window_bits: 12, level: 6, memory_level: 5 };
    let frame = deflate_alone(strength, OpCode::Binary, &plain).expect("it can be compressed");
    let header = if frame[1] < 126 { 2 } else { 4 };
    frame[header..].to_vec()
}
