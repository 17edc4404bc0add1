//! msgpack to JSON text and attachments.
//!
//! One pass without recursion, whose time and memory are bounded by the length of what came: at
//! most some 70 bytes for one (a list of nothing but empty binary).

use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::{SmallVec, smallvec};

use super::{
    date,
    read::{Fault, Read, Reader, Token},
    rewrite::Rewrite,
    text::{float, property, quote},
    write,
};
use crate::packet::Args;

/// How deep a packet may nest. The decoder of the reference gives up between 3,000 and 4,000, and
/// those of other clients, who may be sent the same, somewhere near.
const MAX_DEPTH: usize = 2048;

/// What is written where binary is.
enum Binary<'a> {
    /// A placeholder; the attachment is a slice of these bytes.
    Attached(&'a Bytes),
    /// What `JSON.stringify` writes.
    Inline,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The values themselves, with nothing around them.
    Top,
    Array,
    Map,
}

/// An array or map that has been begun.
#[derive(Clone, Copy, Debug)]
struct Level {
    kind: Kind,
    /// Elements or pairs that are still to come.
    left: usize,
    /// Pairs that it has when it is passed on.
    kept: usize,
    /// Where it begins when it is passed on.
    header: usize,
}

/// Where the last value began.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    at: usize,
    text: usize,
    level: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// A value was begun, and finished unless it is an array or a map.
    Value,
    /// A pair of a map was passed over.
    Nothing,
    /// An array or a map was finished.
    Closed,
    /// All values have been read.
    Done,
}

struct Transcoder<'a> {
    reader: Reader<'a>,
    text: String,
    binary: Binary<'a>,
    /// The number of the first attachment.
    first: usize,
    attachments: Vec<Bytes>,
    levels: SmallVec<[Level; 8]>,
    rewrite: Rewrite,
    begun: Begun,
    /// Levels that may be open at once.
    most: usize,
}

/// Levels that a message between servers may have around what a client has sent.
const AROUND: usize = 8;

/// The `count` values that begin at `start`, as arguments, and where they end.
pub(super) fn args(
    message: &Bytes,
    start: usize,
    count: usize,
    most: usize,
) -> Read<(Args, usize)> {
    if count == 0 {
        return Ok((Args::new(), start));
    }
    let mut transcoder = Transcoder::new(message, start, count, Binary::Attached(message));
    transcoder.most = most.min(MAX_DEPTH);
    while transcoder.step()? != Step::Done {}
    let Transcoder { reader, text, attachments, rewrite, .. } = transcoder;
    let bytes = rewrite.finish(message, reader.at);
    Ok((Args::from_msgpack(text.into(), count, attachments, bytes), reader.at))
}

/// The value that begins at `start`, and where it ends. Timestamps are dates here.
pub(super) fn value(message: &Bytes, start: usize) -> Read<(ByteString, Vec<Bytes>, usize)> {
    let mut transcoder = Transcoder::new(message, start, 1, Binary::Attached(message));
    transcoder.reader.timestamps = true;
    transcoder.most = MAX_DEPTH + AROUND;
    while transcoder.step()? != Step::Done {}
    let Transcoder { reader, text, attachments, .. } = transcoder;
    Ok((text.into(), attachments, reader.at))
}

/// The value that begins at `start`, as JSON alone.
pub(super) fn text(message: &Bytes, start: usize, most: usize) -> Read<ByteString> {
    let mut transcoder = Transcoder::new(message, start, 1, Binary::Inline);
    transcoder.most = most.min(MAX_DEPTH);
    while transcoder.step()? != Step::Done {}
    Ok(transcoder.text.into())
}

/// Some of several values.
pub(in crate::packet) struct Located {
    /// Their bytes.
    pub(in crate::packet) bytes: Range<usize>,
    /// How many they are.
    pub(in crate::packet) count: usize,
    /// The number of the first attachment that they can have.
    pub(in crate::packet) first: usize,
}

/// Finds values by where their JSON text is.
///
/// It goes from front to back and stays where it is: to find one part after the other takes no
/// longer than to find the last.
pub(in crate::packet) struct Locator<'a>(Transcoder<'a>);

impl<'a> Locator<'a> {
    /// For `count` values, whose attachments are numbered from `first`.
    pub(in crate::packet) fn new(values: &'a Bytes, count: usize, first: usize) -> Self {
        let mut transcoder = Transcoder::new(values, 0, count, Binary::Attached(values));
        transcoder.first = first;
        Self(transcoder)
    }

    /// Whether it is behind that place.
    pub(in crate::packet) fn has_passed(&self, place: usize) -> bool {
        self.0.text.len() > place
    }

    /// The values whose JSON text is at `part`; `None` unless it begins and ends with values that
    /// have one array around them. `to_end` says that it ends with the last value of all.
    pub(in crate::packet) fn find(&mut self, part: &Range<usize>, to_end: bool) -> Option<Located> {
        let transcoder = &mut self.0;
        let mut found: Option<(Begun, Located)> = None;
        loop {
            let first = transcoder.first + transcoder.attachments.len();
            let step = transcoder.step().ok()?;
            let begun = transcoder.begun;
            match &mut found {
                Some((start, located)) => {
                    located.count += usize::from(step == Step::Value && begun.level == start.level);
                }
                None if step == Step::Value && begun.text == part.start => {
                    let bytes = begun.at..transcoder.reader.bytes.len();
                    if to_end && begun.level == 1 {
                        let count = transcoder.levels.first().map_or(0, |top| top.left) + 1;
                        return Some(Located { bytes, count, first });
                    }
                    found = Some((begun, Located { bytes, count: 1, first }));
                }
                None => {}
            }
            if let Some((start, located)) = &mut found
                && transcoder.levels.len() == start.level
                && transcoder.text.len() == part.end
            {
                located.bytes.end = transcoder.reader.at;
                return found.map(|(_, located)| located);
            }
            if step == Step::Done || transcoder.text.len() > part.end {
                return None;
            }
        }
    }
}

impl<'a> Transcoder<'a> {
    fn new(message: &'a Bytes, start: usize, count: usize, binary: Binary<'a>) -> Self {
        let reader = Reader::new(message, start);
        let text = String::with_capacity(reader.rest() + reader.rest() / 8 + 16);
        Self {
            reader,
            text,
            binary,
            first: 0,
            attachments: Vec::new(),
            levels: smallvec![Level { kind: Kind::Top, left: count, kept: count, header: 0 }],
            rewrite: Rewrite::new(start),
            begun: Begun::default(),
            most: MAX_DEPTH,
        }
    }

    fn step(&mut self) -> Read<Step> {
        let Some(level) = self.levels.last_mut() else { return Ok(Step::Done) };
        if level.left == 0 {
            return Ok(self.close());
        }
        level.left -= 1;
        if level.kind != Kind::Map {
            self.comma();
        } else if !self.key()? {
            return Ok(Step::Nothing);
        }
        self.begun = Begun { at: self.reader.at, text: self.text.len(), level: self.levels.len() };
        let token = self.reader.token()?;
        self.value(token)?;
        Ok(Step::Value)
    }

    fn close(&mut self) -> Step {
        let Some(level) = self.levels.pop() else { return Step::Done };
        match level.kind {
            Kind::Top => return Step::Done,
            Kind::Array => self.text.push(']'),
            Kind::Map => self.text.push('}'),
        }
        Step::Closed
    }

    fn open(&mut self, kind: Kind, count: usize) -> Read<()> {
        if self.levels.len() > self.most {
            return Err(Fault::TooDeep);
        }
        self.text.push(if kind == Kind::Map { '{' } else { '[' });
        let header = self.rewrite.position(self.begun.at);
        self.levels.push(Level { kind, left: count, kept: count, header });
        Ok(())
    }

    /// Writes the comma before a value or key that is not the first.
    fn comma(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'[' | b'{')) {
            self.text.push(',');
        }
    }

    /// Writes the key of a pair, unless the pair has no place in JSON: then it is passed over.
    fn key(&mut self) -> Read<bool> {
        let start = self.reader.at;
        let token = self.reader.token()?;
        let range = start..self.reader.at;
        let lossy;
        let key = match token {
            Token::Str(text) => match std::str::from_utf8(&self.reader.bytes[text.clone()]) {
                Ok(key) => key,
                Err(_) => {
                    lossy = self.sanitized(range, text);
                    &lossy
                }
            },
            other => {
                lossy = property(&other).ok_or(Fault::InvalidPayload)?;
                self.rewrite.replace(self.reader.bytes, range, &write::text(&lossy));
                &lossy
            }
        };
        match (key, self.reader.bytes.get(self.reader.at)) {
            ("__proto__", _) => {
                self.reader.skip()?;
                self.forget(start);
                return Ok(false);
            }
            // A plain object to msgpack, which must not be taken for binary.
            ("_placeholder", Some(0xc3)) => {
                self.reader.token()?;
                return Ok(false);
            }
            (_, Some(0xd4)) => {
                let mut ahead = self.reader.clone();
                if ahead.token()? == Token::Undefined {
                    self.reader = ahead;
                    return Ok(false);
                }
            }
            _ => {}
        }
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        quote(key, &mut self.text);
        self.text.push(':');
        Ok(true)
    }

    /// Passes the pair that began at `start` and ends here on to nobody: in JavaScript it is no
    /// property of the object, but changes what the object is.
    fn forget(&mut self, start: usize) {
        let Some(map) = self.levels.last_mut() else { return };
        map.kept -= 1;
        let (header, kept) = (map.header, map.kept);
        // The key may have been replaced already.
        let start = self.rewrite.end().max(start);
        self.rewrite.replace(self.reader.bytes, start..self.reader.at, &[]);
        self.rewrite.recount(header, kept);
    }

    /// The `text` of the token at `range`, which is no UTF-8, with U+FFFD where it is not.
    fn sanitized(&mut self, range: Range<usize>, text: Range<usize>) -> String {
        let text = String::from_utf8_lossy(&self.reader.bytes[text]).into_owned();
        self.rewrite.replace(self.reader.bytes, range, &write::text(&text));
        text
    }

    fn value(&mut self, token: Token) -> Read<()> {
        match token {
            Token::Nil | Token::Undefined => self.text.push_str("null"),
            Token::Bool(true) => self.text.push_str("true"),
            Token::Bool(false) => self.text.push_str("false"),
            Token::Uint(value) => self.text.push_str(itoa::Buffer::new().format(value)),
            Token::Int(value) => self.text.push_str(itoa::Buffer::new().format(value)),
            Token::Float(value) => float(value, &mut self.text),
            Token::Str(text) => match std::str::from_utf8(&self.reader.bytes[text.clone()]) {
                Ok(text) => quote(text, &mut self.text),
                Err(_) => {
                    let text = self.sanitized(self.begun.at..self.reader.at, text);
                    quote(&text, &mut self.text);
                }
            },
            Token::Bin(data) => self.binary(data, true),
            Token::Buffer(data) => self.binary(data, false),
            Token::Date(milliseconds) => match date::to_json(milliseconds) {
                Some(date) => quote(&date, &mut self.text),
                None => self.text.push_str("null"),
            },
            Token::Ext(kind, data) => {
                self.text.push('[');
                self.text.push_str(itoa::Buffer::new().format(kind));
                self.text.push(',');
                self.binary(data, true);
                self.text.push(']');
            }
            Token::Array(count) => self.open(Kind::Array, count)?,
            Token::Map(count) => self.open(Kind::Map, count)?,
        }
        Ok(())
    }

    /// Writes binary; `buffer` says that it is a `Buffer` of Node, and not an `ArrayBuffer`.
    fn binary(&mut self, data: Range<usize>, buffer: bool) {
        match self.binary {
            Binary::Attached(message) => {
                let num = self.first + self.attachments.len();
                self.text.push_str(write::PLACEHOLDER);
                self.text.push_str(itoa::Buffer::new().format(num));
                self.text.push('}');
                self.attachments.push(message.slice(data));
            }
            Binary::Inline if buffer => {
                self.text.push_str("{\"type\":\"Buffer\",\"data\":[");
                for byte in &self.reader.bytes[data] {
                    self.comma();
                    self.text.push_str(itoa::Buffer::new().format(*byte));
                }
                self.text.push_str("]}");
            }
            Binary::Inline => self.text.push_str("{}"),
        }
    }
}
