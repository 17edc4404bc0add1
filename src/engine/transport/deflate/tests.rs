use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::{inflater::LEAST_ROOM, *};
use crate::engine::transport::frame::OpCode;

/// The same numbers in every run.
pub(super) struct XorShift(u64);

impl XorShift {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Bytes that compress about as well as JSON, or not at all.
    fn bytes(&mut self, len: usize, alphabet: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(alphabet) as u8).collect()
    }
}

fn strength(window_bits: u8, level: u8, memory_level: u8) -> Strength {
    Strength { window_bits, level, memory_level }
}

/// The payload of a frame that must be the compressed one of a whole message.
fn payload(frame: &Bytes, opcode: OpCode) -> &[u8] {
    assert_eq!(frame[0], 0xc0 | opcode as u8);
    let (start, length) = match frame[1] {
        126 => (4, usize::from(u16::from_be_bytes([frame[2], frame[3]]))),
        127 => (10, u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize),
        length => (2, usize::from(length)),
    };
    assert_eq!(frame.len(), start + length);
    &frame[start..]
}

/// Another implementation of DEFLATE, as a client's.
struct Other(Decompress);

impl Other {
    fn new() -> Self {
        Self(Decompress::new(false))
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let input = [payload, &TAIL[..]].concat();
        let (mut rest, mut out) = (&input[..], Vec::new());
        loop {
            out.reserve(64 * 1024);
            let (read, wrote) = (self.0.total_in(), self.0.total_out());
            self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync).unwrap();
            rest = &rest[(self.0.total_in() - read) as usize..];
            if rest.is_empty() && self.0.total_out() == wrote {
                return out;
            }
        }
    }
}

fn other_deflate(stream: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() * 2 + 1024);
    stream.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - TAIL.len());
    out
}

/// Inflates a whole message.
fn inflate(inflater: &mut Inflater, payload: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    inflater.push(payload, &mut out, max)?;
    inflater.finish(&mut out, max)?;
    Ok(out)
}

#[test]
fn another_implementation_reads_what_is_written_with_every_setting() {
    let mut random = XorShift::new(3);
    for window_bits in 9..=15 {
        for level in 0..=9 {
            let setting = strength(window_bits, level, random.below(9) as u8 + 1);
            let mut deflater = Deflater::new(setting);
            let mut other = Other::new();
            let large = if window_bits == 15 { 70_000 } else { 1000 };
            for len in [1, 2, 3, 100, 1500, large] {
                let alphabet = if random.below(4) == 0 { 256 } else { 12 };
                let message = random.bytes(len, alphabet);
                let frame = deflater.frame(OpCode::Binary, &message).unwrap();
                assert!(other.inflate(payload(&frame, OpCode::Binary)) == message, "{setting:?}");
                let alone = deflate_alone(setting, OpCode::Text, &message).unwrap();
                let alone = Other::new().inflate(payload(&alone, OpCode::Text));
                assert!(alone == message, "{setting:?}");
            }
        }
    }
}

#[test]
fn with_takeover_a_repeated_message_costs_nearly_nothing() {
    let message = XorShift::new(5).bytes(2000, 256);
    let mut deflater = Deflater::new(strength(15, 6, 8));
    let first = deflater.frame(OpCode::Text, &message).unwrap().len();
    let second = deflater.frame(OpCode::Text, &message).unwrap().len();
    assert!(first > 2000 && second < 50, "{first}, {second}");
    let alone = || deflate_alone(strength(15, 6, 8), OpCode::Text, &message).unwrap();
    assert_eq!(alone(), alone());
}

#[test]
fn the_smallest_window_holds_for_a_client_with_256_bytes() {
    let mut random = XorShift::new(7);
    for level in 1..=9 {
        let mut twice = |len| {
            let block = random.bytes(len, 256);
            let frame = deflate_alone(strength(9, level, 8), OpCode::Binary, &block.repeat(2));
            frame.unwrap().len()
        };
        assert!(twice(200) < 250, "level {level} finds what is near");
        assert!(twice(257) >= 2 * 257, "level {level} refers to nothing beyond 256 bytes");
    }
}

#[test]
fn what_another_implementation_writes_is_read() {
    let mut random = XorShift::new(9);
    for takeover in [true, false] {
        let mut inflater = Inflater::new(takeover);
        let mut stream = Compress::new(Compression::default(), false);
        for len in [1, 5, 200, 200, 40_000, 3] {
            let message = random.bytes(len, 20);
            let compressed = other_deflate(&mut stream, &message);
            assert!(inflate(&mut inflater, &compressed, len).unwrap() == message);
            if !takeover {
                stream.reset();
            }
        }
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 7692 §7.2.3: one block; the same again with takeover; no compression; a final block, which
    // ends the stream; two blocks.
    let hello: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];
    let stored: &[u8] = &[0, 5, 0, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0];
    let last: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two: &[u8] = &[0xf2, 0x48, 5, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let mut inflater = Inflater::new(true);
    for message in [hello, again, stored, two, last, last, hello] {
        assert_eq!(inflate(&mut inflater, message, 5).unwrap(), b"Hello");
    }
    assert_eq!(inflate(&mut inflater, &[0], 0).unwrap(), b"");
    // Behind a final block nothing of before is known.
    inflate(&mut inflater, last, 5).unwrap();
    assert_eq!(inflate(&mut inflater, again, 5), Err(InflateError::Invalid));
    // And without takeover never.
    let mut inflater = Inflater::new(false);
    inflate(&mut inflater, hello, 5).unwrap();
    assert_eq!(inflate(&mut inflater, again, 5), Err(InflateError::Invalid));
}

#[test]
fn a_bomb_fills_the_limit_and_no_more() {
    let mut stream = Compress::new(Compression::best(), false);
    let bomb = other_deflate(&mut stream, &vec![0; 3_000_000]);
    assert!(bomb.len() < 4_000);
    for max in [0, 1, 1000, 1_000_000, 2_999_999] {
        let mut out = Vec::new();
        let mut inflater = Inflater::new(true);
        assert_eq!(inflater.push(&bomb, &mut out, max), Err(InflateError::TooBig));
        assert!(out.capacity() <= (max + 1).max(8), "{} for {max}", out.capacity());
    }
    assert!(inflate(&mut Inflater::new(true), &bomb, 3_000_000).is_ok());
}

/// Bytes that inflating a message in pieces has filled with zeros and moved, and calls of the
/// decompressor.
fn cost(compressed: &[u8], piece: usize, len: usize) -> (usize, usize) {
    let mut inflater = Inflater::new(false);
    let (mut out, mut moved) = (Vec::new(), 0);
    for piece in compressed.chunks(piece) {
        let (before, capacity) = (out.len(), out.capacity());
        inflater.push(piece, &mut out, 2 * len).unwrap();
        if out.capacity() > capacity {
            moved += before;
        }
    }
    inflater.finish(&mut out, 2 * len).unwrap();
    assert_eq!(out.len(), len);
    (inflater.work.zeroed + moved, inflater.work.calls)
}

#[test]
fn inflating_costs_as_much_as_comes_in_and_out_however_long_the_message_is() {
    const MIB: usize = 1 << 20;
    let mut random = XorShift::new(17);
    for alphabet in [64, 1] {
        let bytes = random.bytes(4 * MIB, alphabet);
        for size in [MIB, 2 * MIB, 4 * MIB] {
            let message = &bytes[..size];
            let mut stream = Compress::new(Compression::fast(), false);
            let compressed = other_deflate(&mut stream, message);
            for piece in [100, 512, 100_000] {
                let (bytes, calls) = cost(&compressed, piece, size);
                let pieces = compressed.len().div_ceil(piece);
                let what = format!("{size} bytes of {alphabet} in pieces of {piece}");
                // The room for a piece, and twice what comes out, moved once more.
                let most = pieces * LEAST_ROOM.max(2 * piece) + 4 * size;
                assert!(bytes <= most, "{bytes} > {most}: {what}");
                let most = 2 * pieces + size / 1024 + 10;
                assert!(calls <= most, "{calls} > {most}: {what}");
            }
        }
    }
}

#[test]
fn random_bytes_neither_panic_nor_grow() {
    const MAX: usize = 1_800;
    let mut random = XorShift::new(13);
    let mut stream = Compress::new(Compression::default(), false);
    let mut read = [0; 3];
    for round in 0..500 {
        let takeover = round % 2 == 0;
        let mut inflater = Inflater::new(takeover);
        for _ in 0..4 {
            // Noise, and real messages with a few bytes changed.
            let len = random.below(400);
            let mut bytes = if round % 3 == 0 {
                random.bytes(len, 256)
            } else {
                stream.reset();
                let message = random.bytes(len * 6, 3);
                other_deflate(&mut stream, &message)
            };
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            let mut out = Vec::new();
            let step = random.below(100) + 1;
            let pushed = bytes.chunks(step).try_for_each(|c| inflater.push(c, &mut out, MAX));
            let result = pushed.and_then(|()| inflater.finish(&mut out, MAX));
            assert!(out.capacity() <= MAX + 1, "{}", out.capacity());
            match result {
                Ok(()) => read[0] += 1,
                Err(InflateError::Invalid) => read[1] += 1,
                Err(InflateError::TooBig) => read[2] += 1,
            }
            if result.is_err() {
                break;
            }
        }
    }
    assert!(read.iter().all(|count| *count > 50), "{read:?}");
}
