//! Walks over JSON text whose syntax has been checked: where arguments end, and where placeholders
//! stand.
//!
//! Everything here is one pass without recursion: a client may nest as deep as its packet is long.

use std::ops::{ControlFlow, Range};

use memchr::memchr2;

/// Shows `see` each bracket and comma of `text` that is not in a string, with its place and how deep
/// it is behind it, until that breaks.
#[inline(always)]
fn walk<B>(text: &str, mut see: impl FnMut(u8, usize, usize) -> ControlFlow<B>) -> Option<B> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => {}
            _ => {
                at += 1;
                continue;
            }
        }
        if let ControlFlow::Break(found) = see(byte, at, depth) {
            return Some(found);
        }
        at += 1;
    }
    None
}

/// The length of the first JSON value of `text`, up to the comma behind it or the end of the text.
pub(super) fn value_len(text: &str) -> usize {
    let end = walk(text, |byte, at, depth| match (byte, depth) {
        (b',', 0) => ControlFlow::Break(at),
        _ => ControlFlow::Continue(()),
    });
    end.unwrap_or(text.len())
}

/// `text` behind its first value and the comma, `None` when that was the last value.
pub(super) fn after_value(text: &str) -> Option<&str> {
    text.get(value_len(text) + 1..)
}

/// Whether `text` nests deeper than `most` levels; of text that is no JSON it may say anything.
///
/// Next to nothing for packets of ordinary size: each level takes two bytes, and one of the
/// brackets that are counted first.
pub(super) fn nests_deeper(text: &str, most: usize) -> bool {
    if text.len() / 2 <= most || openings(text.as_bytes()) <= most {
        return false;
    }
    let deeper = walk(text, |_, _, depth| match depth > most {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    deeper.is_some()
}

/// How many `[` and `{` there are, in strings too. Written for the vector unit: the two differ in
/// one bit, and a byte holds the count of a portion.
fn openings(bytes: &[u8]) -> usize {
    let portion = |part: &[u8]| part.iter().fold(0u8, |n, b| n + u8::from(b | 0x20 == b'{'));
    bytes.chunks(255).map(|part| usize::from(portion(part))).sum()
}

/// The index behind the string that opens at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2; // the backslash and what it escapes
    }
    bytes.len()
}

/// Where a placeholder stands, and the attachment that it names: `None` when `num` is no integer
/// from zero up.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) range: Range<usize>,
    pub(super) num: Option<usize>,
}

/// The placeholders in `text`, a list of JSON values.
///
/// As in the reference, a placeholder is any object whose `_placeholder` is `true`, whatever else
/// it holds; what is nested in such an object is thrown away with it. Of a repeated key the last
/// one counts.
pub(super) fn slots(text: &str) -> Vec<Slot> {
    let mut scanner = Scanner { text, slots: Vec::new(), open: Vec::new() };
    let mut at = 0;
    while at < text.len() {
        at = scanner.step(at);
    }
    scanner.slots
}

/// Copies `text` with the placeholders at `slots` renumbered by `number`, in the spelling of the
/// reference's encoder. Those that `number` gives `None` for stay as they are.
pub(super) fn renumber(
    text: &str,
    slots: &[Slot],
    number: impl Fn(usize) -> Option<usize>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for slot in slots {
        let Some(num) = slot.num.and_then(&number) else {
            continue;
        };
        out.push_str(&text[copied..slot.range.start]);
        out.push_str(&placeholder(num));
        copied = slot.range.end;
    }
    out.push_str(&text[copied..]);
    out
}

/// The text that stands for attachment `num`.
pub(super) fn placeholder(num: usize) -> String {
    format!("{{\"_placeholder\":true,\"num\":{num}}}")
}

/// An array or object that the scanner is inside of.
struct Frame {
    start: usize,
    object: bool,
    /// How many slots were known when it opened: those behind are nested in it.
    slots_before: usize,
    /// The next string is a key.
    key_expected: bool,
    /// The key whose value comes next.
    key: Key,
    marked: bool,
    num: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Marker,
    Num,
    Other,
}

struct Scanner<'a> {
    text: &'a str,
    slots: Vec<Slot>,
    open: Vec<Frame>,
}

impl Scanner<'_> {
    /// Reads the token at `at`; answers the index behind it.
    fn step(&mut self, at: usize) -> usize {
        match self.text.as_bytes()[at] {
            b'{' => self.enter(at, true),
            b'[' => self.enter(at, false),
            b'}' | b']' => self.leave(at),
            b',' => {
                if let Some(frame) = self.open.last_mut() {
                    frame.key_expected = frame.object;
                }
            }
            b'"' => {
                let end = string_end(self.text.as_bytes(), at);
                self.string(at..end);
                return end;
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => {
                let rest = &self.text[at..];
                let len = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.value(&rest[..len]);
                return at + len.max(1);
            }
        }
        at + 1
    }

    fn enter(&mut self, start: usize, object: bool) {
        self.value(""); // to the object around it: a value that is neither `true` nor a number
        self.open.push(Frame {
            start,
            object,
            slots_before: self.slots.len(),
            key_expected: object,
            key: Key::Other,
            marked: false,
            num: None,
        });
    }

    fn leave(&mut self, at: usize) {
        let Some(frame) = self.open.pop() else { return };
        if frame.marked {
            self.slots.truncate(frame.slots_before);
            self.slots.push(Slot { range: frame.start..at + 1, num: frame.num });
        }
    }

    fn string(&mut self, range: Range<usize>) {
        let quoted = &self.text[range];
        match self.open.last_mut() {
            Some(frame) if frame.key_expected => {
                frame.key_expected = false;
                frame.key = key(quoted);
            }
            _ => self.value(""),
        }
    }

    /// Notes a value of the object that the scanner is in; `scalar` is the text of a literal or
    /// number.
    fn value(&mut self, scalar: &str) {
        let Some(frame) = self.open.last_mut().filter(|frame| frame.object) else {
            return;
        };
        match frame.key {
            Key::Marker => frame.marked = scalar == "true",
            Key::Num => frame.num = attachment_index(scalar),
            Key::Other => {}
        }
    }
}

fn key(quoted: &str) -> Key {
    let named = |name: &str| match name {
        "_placeholder" => Key::Marker,
        "num" => Key::Num,
        _ => Key::Other,
    };
    if quoted.contains('\\') {
        return serde_json::from_str::<String>(quoted).map_or(Key::Other, |name| named(&name));
    }
    named(quoted.trim_matches('"'))
}

/// `num` as an index. JavaScript has one number type, so `1.0` and `1e0` are 1.
fn attachment_index(number: &str) -> Option<usize> {
    let value: f64 = number.parse().ok()?;
    let index = (0.0..=f64::from(u32::MAX)).contains(&value) && value.fract() == 0.0;
    index.then_some(value as usize)
}
