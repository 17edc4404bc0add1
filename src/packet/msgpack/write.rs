//! JSON text and attachments to msgpack.
//!
//! One pass without recursion. Numbers and lengths take as few bytes as they can, as the reference
//! writes them. How many elements an array or map has is known at its end: it is begun as if they
//! were few, and room for a larger header is made when all is written, for all in one pass.

use bytes::Bytes;
use memchr::memchr2;

use crate::packet::{Outgoing, Payload, original::Original};

/// How a placeholder begins; the number of its attachment and a brace follow.
pub(super) const PLACEHOLDER: &str = "{\"_placeholder\":true,\"num\":";

/// Room for what stands before the data.
const HEAD: usize = 40;

/// Bytes that a packet will have, about.
pub(super) fn size_hint(packet: &Outgoing<'_>) -> usize {
    let binary: usize = packet.attachments().iter().map(|data| data.len() + 5).sum();
    HEAD + packet.size_hint() + binary
}

/// Appends a packet.
pub(super) fn packet(packet: &Outgoing<'_>, out: &mut Vec<u8>) {
    match *packet {
        Outgoing::Connect { namespace, sid, pid } => {
            head(out, 0, namespace, None, sid.is_some());
            if let Some(sid) = sid {
                out.push(0x81 + u8::from(pid.is_some()));
                str(out, b"sid");
                str(out, sid.as_bytes());
                if let Some(pid) = pid {
                    str(out, b"pid");
                    str(out, pid.as_bytes());
                }
            }
        }
        Outgoing::ConnectRequest { namespace, auth } => {
            head(out, 0, namespace, None, auth.is_some());
            if let Some(auth) = auth {
                json(out, auth, &[], &[]);
            }
        }
        Outgoing::ConnectError { namespace, data } => {
            head(out, 4, namespace, None, true);
            json(out, &data.to_string(), &[], &[]);
        }
        Outgoing::Disconnect { namespace } => head(out, 1, namespace, None, false),
        Outgoing::Event { namespace, id, payload } => {
            head(out, 2, namespace, id, true);
            body(out, payload);
        }
        Outgoing::Ack { namespace, id, payload } => {
            head(out, 3, namespace, Some(id), true);
            body(out, payload);
        }
    }
}

/// Begins a packet; its data has to follow if it has some.
fn head(out: &mut Vec<u8>, kind: u8, namespace: &str, id: Option<u64>, data: bool) {
    out.push(0x82 + u8::from(id.is_some()) + u8::from(data));
    str(out, b"type");
    out.push(kind);
    str(out, b"nsp");
    str(out, namespace.as_bytes());
    if let Some(id) = id {
        str(out, b"id");
        uint(out, id);
    }
    if data {
        str(out, b"data");
    }
}

fn body(out: &mut Vec<u8>, payload: &Payload) {
    json(out, payload.json(), payload.attachments(), payload.originals().as_slice());
}

// ---- scalars -----------------------------------------------------------------------------------

/// A text as a value of its own.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 5);
    str(&mut out, text.as_bytes());
    out
}

fn str(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length => long(out, 0xd9, length),
    }
    out.extend_from_slice(text);
}

fn bin(out: &mut Vec<u8>, data: &[u8]) {
    long(out, 0xc4, data.len());
    out.extend_from_slice(data);
}

/// A length of one, two or four bytes, behind the first of three types.
fn long(out: &mut Vec<u8>, kind: u8, length: usize) {
    match length {
        0..0x100 => out.extend_from_slice(&[kind, length as u8]),
        0x100..0x1_0000 => {
            out.push(kind + 1);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(kind + 2);
            // More than 4 GiB: no message is that large.
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn uint(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let (kind, width) = match value {
        0..0x80 => return out.push(value as u8),
        0x80..0x100 => (0xcc, 1),
        0x100..0x1_0000 => (0xcd, 2),
        0x1_0000..0x1_0000_0000 => (0xce, 4),
        _ => (0xcf, 8),
    };
    out.push(kind);
    out.extend_from_slice(&bytes[8 - width..]);
}

/// A number below zero.
fn int(out: &mut Vec<u8>, value: i64) {
    let bytes = value.to_be_bytes();
    let (kind, width) = match value {
        -0x20.. => return out.push(bytes[7]),
        -0x80.. => (0xd0, 1),
        -0x8000.. => (0xd1, 2),
        -0x8000_0000.. => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(kind);
    out.extend_from_slice(&bytes[8 - width..]);
}

/// The text of a JSON number: whole if it is written so, as far as 64 bits go, otherwise a float.
fn number(out: &mut Vec<u8>, literal: &str) {
    if literal == "-0" {
        // Zero has a sign in JSON, but among floats only.
    } else if let Ok(value) = literal.parse() {
        return uint(out, value);
    } else if let Ok(value) = literal.parse() {
        return int(out, value);
    }
    out.push(0xcb);
    // Every JSON number is in the grammar of `f64::from_str`.
    out.extend_from_slice(&literal.parse().unwrap_or(f64::NAN).to_be_bytes());
}

// ---- JSON --------------------------------------------------------------------------------------

/// An array or object that has been begun, and the number of its elements or pairs so far.
struct Level {
    header: usize,
    count: usize,
    object: bool,
}

struct Transcoder<'a> {
    text: &'a str,
    at: usize,
    attachments: &'a [Bytes],
    originals: std::iter::Peekable<std::slice::Iter<'a, Original>>,
    levels: Vec<Level>,
    /// Those whose header needs more than one byte.
    large: Vec<Level>,
    /// For strings with escapes.
    unescaped: Vec<u8>,
}

/// Appends the values of a JSON text whose syntax has been checked.
pub(super) fn json(out: &mut Vec<u8>, text: &str, attachments: &[Bytes], originals: &[Original]) {
    out.reserve(text.len());
    let mut transcoder = Transcoder {
        text,
        at: 0,
        attachments,
        originals: originals.iter().peekable(),
        levels: Vec::new(),
        large: Vec::new(),
        unescaped: Vec::new(),
    };
    while transcoder.at < text.len() {
        transcoder.step(out);
    }
    make_room(out, transcoder.large);
}

impl<'a> Transcoder<'a> {
    /// Takes one token.
    fn step(&mut self, out: &mut Vec<u8>) {
        if let Some(original) = self.originals.next_if(|next| next.text.start == self.at) {
            self.values(original.count);
            out.extend_from_slice(&original.bytes);
            self.at = original.text.end;
            return;
        }
        match self.text.as_bytes()[self.at] {
            b'{' => match self.placeholder() {
                Some((data, end)) => {
                    self.values(1);
                    bin(out, data);
                    self.at = end;
                }
                None => self.open(out, true),
            },
            b'[' => self.open(out, false),
            b'}' | b']' => self.close(out),
            b'"' => {
                self.values(1);
                self.string(out);
            }
            b':' => {
                if let Some(level) = self.levels.last_mut() {
                    level.count += 1;
                }
                self.at += 1;
            }
            b',' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
            _ => {
                self.values(1);
                self.scalar(out);
            }
        }
    }

    /// Counts values if they are elements of an array; pairs are counted by their colons.
    fn values(&mut self, count: usize) {
        if let Some(level) = self.levels.last_mut().filter(|level| !level.object) {
            level.count += count;
        }
    }

    fn open(&mut self, out: &mut Vec<u8>, object: bool) {
        self.values(1);
        self.levels.push(Level { header: out.len(), count: 0, object });
        out.push(if object { 0x80 } else { 0x90 });
        self.at += 1;
    }

    fn close(&mut self, out: &mut [u8]) {
        self.at += 1;
        match self.levels.pop() {
            Some(level) if level.count < 16 => out[level.header] |= level.count as u8,
            Some(level) => self.large.push(level),
            None => {}
        }
    }

    /// The attachment that a placeholder here names, and where the placeholder ends. All are
    /// spelled alike.
    fn placeholder(&self) -> Option<(&'a Bytes, usize)> {
        let rest = self.text[self.at..].strip_prefix(PLACEHOLDER)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let data = self.attachments.get(rest[..digits].parse::<usize>().ok()?)?;
        let end = self.at + PLACEHOLDER.len() + digits + 1;
        rest[digits..].starts_with('}').then_some((data, end))
    }

    fn scalar(&mut self, out: &mut Vec<u8>) {
        let rest = &self.text[self.at..];
        let end = |c: char| matches!(c, ',' | ']' | '}' | ':' | ' ' | '\t' | '\n' | '\r');
        let length = rest.find(end).unwrap_or(rest.len());
        match &rest[..length] {
            "null" => out.push(0xc0),
            "false" => out.push(0xc2),
            "true" => out.push(0xc3),
            literal => number(out, literal),
        }
        self.at += length;
    }

    /// A string, which is a value or a key.
    fn string(&mut self, out: &mut Vec<u8>) {
        let bytes = &self.text.as_bytes()[self.at + 1..];
        match memchr2(b'"', b'\\', bytes) {
            Some(end) if bytes[end] == b'"' => {
                str(out, &bytes[..end]);
                self.at += end + 2;
            }
            _ => {
                self.unescaped.clear();
                self.at += 1 + unescape(bytes, &mut self.unescaped);
                str(out, &self.unescaped);
            }
        }
    }
}

/// Appends the content of a JSON string that begins before `bytes`; answers where it has ended.
fn unescape(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        out.extend_from_slice(&bytes[at..at + found]);
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        let escaped = bytes.get(at + 1).copied().unwrap_or(b'\\');
        at += 2;
        match escaped {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => at += unicode(&bytes[at..], out),
            other => out.push(other),
        }
    }
    bytes.len()
}

/// Appends the character of one `\u`, or of two that make a pair; answers how many bytes behind
/// the `u` it took. Half a pair, which UTF-8 does not have, is U+FFFD.
fn unicode(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(bytes.get(at..at + 4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else { return 0 };
    let second = bytes.get(4..6).filter(|escape| *escape == b"\\u").and_then(|_| unit(6));
    let units = [first, second.unwrap_or(0)];
    let pair = char::decode_utf16(units).next().and_then(Result::ok);
    let character = pair.unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    if character.len_utf16() == 2 { 10 } else { 4 }
}

/// Writes the headers of `large`, which have one byte each so far.
fn make_room(out: &mut Vec<u8>, mut large: Vec<Level>) {
    let width = |level: &Level| if level.count < 0x1_0000 { 2 } else { 4 };
    large.sort_unstable_by_key(|level| level.header);
    let mut end = out.len();
    let mut shift: usize = large.iter().map(width).sum();
    out.resize(end + shift, 0);
    // From the last to the first: each byte moves once.
    for level in large.iter().rev() {
        let start = level.header + 1;
        out.copy_within(start..end, start + shift);
        shift -= width(level);
        let header = level.header + shift;
        let kind = if level.object { 0xde } else { 0xdc };
        match width(level) {
            2 => {
                out[header] = kind;
                out[header + 1..header + 3].copy_from_slice(&(level.count as u16).to_be_bytes());
            }
            _ => {
                out[header] = kind + 1;
                out[header + 1..header + 5].copy_from_slice(&(level.count as u32).to_be_bytes());
            }
        }
        end = level.header;
    }
}
