use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::*;
use crate::engine::transport::frame::OpCode;

const D: &str = "permessage-deflate";

/// What `ws` 8.21 answers, the extension's name left out; `None` for an extension that is not asked
/// for, `Err` for status 400.
fn answer(options: &PerMessageDeflate, header: &str) -> Result<Option<String>, Unacceptable> {
    let answer = negotiate(options, header.as_bytes())?;
    Ok(answer.map(|(_, header)| {
        let rest = header.strip_prefix(D).unwrap();
        rest.strip_prefix("; ").unwrap_or(rest).to_owned()
    }))
}

fn terms(options: &PerMessageDeflate, header: &str) -> Terms {
    negotiate(options, header.as_bytes()).unwrap().unwrap().0
}

// ---- negotiation -----------------------------------------------------------------------------

#[test]
fn an_offer_is_taken_as_it_is_unless_the_options_say_more() {
    let both = "server_no_context_takeover; client_no_context_takeover";
    let cases = [
        ("", ""),
        ("; client_max_window_bits", ""),
        ("; client_max_window_bits=10", "client_max_window_bits=10"),
        ("; client_max_window_bits=8", "client_max_window_bits=8"),
        ("; server_max_window_bits=8", "server_max_window_bits=8"),
        ("; server_max_window_bits=15", "server_max_window_bits=15"),
        ("; server_no_context_takeover; client_no_context_takeover", both),
        (
            "; client_no_context_takeover; server_max_window_bits=11; server_no_context_takeover; \
             client_max_window_bits",
            "client_no_context_takeover; server_max_window_bits=11; server_no_context_takeover",
        ),
        ("; server_max_window_bits=9, permessage-deflate", "server_max_window_bits=9"),
    ];
    let options = PerMessageDeflate::new();
    for (offer, expected) in cases {
        assert_eq!(answer(&options, &format!("{D}{offer}")), Ok(Some(expected.into())), "{offer}");
    }
}

#[test]
fn the_options_add_to_an_offer_and_replace_its_values_in_place() {
    let options = PerMessageDeflate::new()
        .server_no_context_takeover(true)
        .client_no_context_takeover(true)
        .server_max_window_bits(WindowBits::Max(12))
        .client_max_window_bits(WindowBits::Max(11));
    let cases = [
        (
            "client_max_window_bits",
            "client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=12",
        ),
        (
            "client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=13",
            "client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11; \
             server_no_context_takeover",
        ),
    ];
    for (offer, expected) in cases {
        assert_eq!(answer(&options, &format!("{D}; {offer}")), Ok(Some(expected.into())));
    }
}

#[test]
fn an_offer_that_does_not_fit_the_options_is_passed_over() {
    let new = PerMessageDeflate::new;
    let keeps = new().server_no_context_takeover(false);
    let small = new().server_max_window_bits(WindowBits::Max(12));
    let fixed = new().server_max_window_bits(WindowBits::Unlimited);
    let limits = new().client_max_window_bits(WindowBits::Max(11));
    let refused = [
        (&keeps, "server_no_context_takeover"),
        (&small, "server_max_window_bits=11"),
        (&fixed, "server_max_window_bits=15"),
        (&limits, "client_no_context_takeover"),
        (&limits, "client_max_window_bits=10"),
    ];
    for (options, offer) in refused {
        assert_eq!(answer(options, &format!("{D}; {offer}")), Err(Unacceptable), "{offer}");
        let second = format!("{D}; {offer}, {D}; client_max_window_bits=12");
        assert!(answer(options, &second).unwrap().is_some(), "{offer}");
    }
    let taken = [
        (&keeps, "client_no_context_takeover", "client_no_context_takeover"),
        (&small, "server_max_window_bits=13", "server_max_window_bits=12"),
        (&limits, "client_max_window_bits=11", "client_max_window_bits=11"),
        (&limits, "client_max_window_bits", "client_max_window_bits=11"),
    ];
    for (options, offer, expected) in taken {
        assert_eq!(answer(options, &format!("{D}; {offer}")), Ok(Some(expected.into())), "{offer}");
    }
    // A limit that the server does not want is left out, not refused.
    let unlimited = new().client_max_window_bits(WindowBits::Unlimited);
    assert_eq!(answer(&unlimited, &format!("{D}; client_max_window_bits=9")), Ok(Some("".into())));
}

#[test]
fn headers_are_read_as_ws_reads_them() {
    let options = PerMessageDeflate::new();
    let absent = ["x", "x; a", "x; a=b; a=c", "Permessage-Deflate", "x, y; b=\"c\""];
    for header in absent {
        assert_eq!(answer(&options, header), Ok(None), "{header}");
    }
    let plain = ["foo; bar=1, permessage-deflate", "permessage-deflate , x"];
    for header in plain {
        assert_eq!(answer(&options, header), Ok(Some("".into())), "{header}");
    }
    let malformed = [
        "",
        " ",
        "x;",
        "x,",
        ",x",
        "x, y; b=\"c d\"",
        "x; a=",
        "x; a=b c",
        "x; a = b",
        "x=3",
        "x; a=b=c",
        "x y",
        "é",
        "x; a=\"\"",
        "x; a=\"b",
        "x; a=\"b\"c",
        "x; a=\"b\\",
        "x; a=\"\\ \"",
        " permessage-deflate",
        "permessage-deflate ",
        "permessage-deflate; ",
        "permessage-deflate;",
    ];
    for header in malformed {
        assert_eq!(answer(&options, header), Err(Unacceptable), "{header}");
    }
}

#[test]
fn every_parameter_of_every_offer_must_be_known_and_valid() {
    let options = PerMessageDeflate::new();
    let invalid = [
        "unknown",
        "__proto__",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "client_max_window_bits=",
        "client_max_window_bits=9.5",
        "client_max_window_bits=1_0",
        "client_max_window_bits=0x+9",
        "client_max_window_bits=Infinity",
        "client_max_window_bits=-9",
        "client_max_window_bits=264",
        "client_max_window_bits=nan",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits=9; client_max_window_bits",
    ];
    for parameter in invalid {
        for header in [format!("{D}; {parameter}"), format!("{D}, {D}; {parameter}")] {
            assert_eq!(answer(&options, &header), Err(Unacceptable), "{header}");
        }
    }
    // Whatever JavaScript takes for a number.
    let tens = ["10", "010", "1e1", "+10", "10.0", "10.", ".1e2", "0xa", "0XA", "0o12", "0b1010"];
    let quoted = ["\"10\"", "\"1\\0\"", "\"\\1\\0\"", "10 "];
    for ten in tens.iter().chain(&quoted) {
        let header = format!("{D}; client_max_window_bits={ten}; server_no_context_takeover");
        let expected = "client_max_window_bits=10; server_no_context_takeover";
        assert_eq!(answer(&options, &header), Ok(Some(expected.into())), "{ten}");
    }
}

#[test]
fn terms_say_what_each_side_keeps_and_how_far_the_server_looks_back() {
    let options = PerMessageDeflate::new();
    let all = Terms { server_takeover: true, client_takeover: true, window_bits: 15 };
    assert_eq!(terms(&options, D), all);
    let server = terms(&options, &format!("{D}; server_no_context_takeover"));
    assert_eq!(server, Terms { server_takeover: false, ..all });
    let client = terms(&options, &format!("{D}; client_no_context_takeover"));
    assert_eq!(client, Terms { client_takeover: false, ..all });
    let small = terms(&options, &format!("{D}; server_max_window_bits=10"));
    assert_eq!(small, Terms { window_bits: 10, ..all });
    let least = terms(&options, &format!("{D}; server_max_window_bits=8"));
    assert_eq!(least, Terms { window_bits: 9, ..all });
}

#[test]
#[should_panic(expected = "window bits are 8 to 15, not 16")]
fn a_window_that_does_not_exist_is_refused_at_once() {
    let _ = PerMessageDeflate::new().server_max_window_bits(WindowBits::Max(16));
}

#[test]
fn random_headers_are_answered_or_refused() {
    let mut random = XorShift(11);
    let words = [
        D,
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
        "x",
        ";",
        ";",
        ";",
        ",",
        ",",
        "=",
        "\"",
        "\\",
        " ",
        "\t",
        "9",
        "15",
        "1e1",
        "\u{e9}",
    ];
    let options = PerMessageDeflate::new();
    let mut accepted = 0;
    for _ in 0..50_000 {
        let header: String =
            (0..random.below(12)).map(|_| words[random.below(words.len())]).collect();
        accepted += usize::from(answer(&options, &header).is_ok_and(|answer| answer.is_some()));
    }
    assert!(accepted > 50, "{accepted}");
}

// ---- streams ---------------------------------------------------------------------------------

struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
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
    let mut random = XorShift(3);
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
    let message = XorShift(5).bytes(2000, 256);
    let mut deflater = Deflater::new(strength(15, 6, 8));
    let first = deflater.frame(OpCode::Text, &message).unwrap().len();
    let second = deflater.frame(OpCode::Text, &message).unwrap().len();
    assert!(first > 2000 && second < 50, "{first}, {second}");
    let alone = || deflate_alone(strength(15, 6, 8), OpCode::Text, &message).unwrap();
    assert_eq!(alone(), alone());
}

#[test]
fn the_smallest_window_holds_for_a_client_with_256_bytes() {
    let mut random = XorShift(7);
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
    let mut random = XorShift(9);
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

#[test]
fn random_bytes_neither_panic_nor_grow() {
    const MAX: usize = 1_800;
    let mut random = XorShift(13);
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
