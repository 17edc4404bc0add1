//! The tokens of msgpack.

use std::ops::Range;

use crate::packet::DecodeError;

/// What can be wrong with msgpack: a [`DecodeError`] that costs nothing to carry around.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Unreadable,
    InvalidPayload,
    TooDeep,
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable => Self::Unreadable,
            Fault::InvalidPayload => Self::InvalidPayload,
            Fault::TooDeep => Self::TooDeep,
        }
    }
}

/// One token; of an array or a map it is only the beginning.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Nil,
    Bool(bool),
    Uint(u64),
    /// Below zero.
    Int(i64),
    Float(f64),
    /// Where the text is. It should be UTF-8.
    Str(Range<usize>),
    Bin(Range<usize>),
    /// How many elements follow.
    Array(usize),
    /// How many pairs of key and value follow.
    Map(usize),
    /// `undefined` of JavaScript.
    Undefined,
    /// Milliseconds since 1970.
    Date(i64),
    /// An `ArrayBuffer` of JavaScript.
    Buffer(Range<usize>),
    /// Any other extension: its type and its data.
    Ext(i8, Range<usize>),
}

/// Reads tokens. It never reads beyond the bytes it has, nor believes a length that goes beyond
/// them.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Whether MessagePack's own extension for dates is one, as between servers.
    pub(super) timestamps: bool,
}

pub(super) type Read<T> = Result<T, Fault>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, timestamps: false }
    }

    pub(super) fn rest(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        let end = self.at + N;
        let bytes = self.bytes.get(self.at..end).and_then(|bytes| bytes.try_into().ok());
        self.at = end;
        bytes.ok_or(Fault::Unreadable)
    }

    fn byte(&mut self) -> Read<u8> {
        self.take().map(|[byte]| byte)
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, width: u8) -> Read<usize> {
        Ok(match width {
            0 => usize::from(self.byte()?),
            1 => usize::from(u16::from_be_bytes(self.take()?)),
            _ => u32::from_be_bytes(self.take()?) as usize,
        })
    }

    fn range(&mut self, length: usize) -> Read<Range<usize>> {
        if length > self.rest() {
            return Err(Fault::Unreadable);
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    /// A number of elements; each has one byte at least.
    fn count(&self, count: usize, bytes_of_each: usize) -> Read<usize> {
        match count.checked_mul(bytes_of_each) {
            Some(least) if least <= self.rest() => Ok(count),
            _ => Err(Fault::Unreadable),
        }
    }

    fn str(&mut self, length: usize) -> Read<Token> {
        self.range(length).map(Token::Str)
    }

    fn array(&self, length: usize) -> Read<Token> {
        self.count(length, 1).map(Token::Array)
    }

    fn map(&self, length: usize) -> Read<Token> {
        self.count(length, 2).map(Token::Map)
    }

    /// An extension whose length its first byte gave.
    fn fixext(&mut self, length: usize) -> Read<Token> {
        let kind = i8::from_be_bytes(self.take()?);
        let range = self.range(length)?;
        Ok(match (kind, length) {
            (0, 1) => Token::Undefined,
            (0, 8) => {
                let mut data = Reader::new(self.bytes, range.start);
                Token::Date(i64::from_be_bytes(data.take()?))
            }
            _ => self.extension(kind, range),
        })
    }

    fn extension(&self, kind: i8, range: Range<usize>) -> Token {
        match timestamp(&self.bytes[range.clone()]) {
            Some(milliseconds) if self.timestamps && kind == TIMESTAMP => Token::Date(milliseconds),
            _ => Token::Ext(kind, range),
        }
    }

    fn ext(&mut self, width: u8) -> Read<Token> {
        let length = self.length(width)?;
        let kind = i8::from_be_bytes(self.take()?);
        let range = self.range(length)?;
        Ok(if kind == 0 { Token::Buffer(range) } else { self.extension(kind, range) })
    }

    /// The next token.
    pub(super) fn token(&mut self) -> Read<Token> {
        let first = self.byte()?;
        Ok(match first {
            0x00..=0x7f => Token::Uint(u64::from(first)),
            0x80..=0x8f => self.map(usize::from(first & 0x0f))?,
            0x90..=0x9f => self.array(usize::from(first & 0x0f))?,
            0xa0..=0xbf => self.str(usize::from(first & 0x1f))?,
            0xc0 => Token::Nil,
            0xc1 => return Err(Fault::Unreadable),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => {
                let length = self.length(first - 0xc4)?;
                Token::Bin(self.range(length)?)
            }
            0xc7..=0xc9 => self.ext(first - 0xc7)?,
            0xca => Token::Float(f64::from(f32::from_be_bytes(self.take()?))),
            0xcb => Token::Float(f64::from_be_bytes(self.take()?)),
            0xcc => Token::Uint(u64::from(self.byte()?)),
            0xcd => Token::Uint(u64::from(u16::from_be_bytes(self.take()?))),
            0xce => Token::Uint(u64::from(u32::from_be_bytes(self.take()?))),
            0xcf => Token::Uint(u64::from_be_bytes(self.take()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.take()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.take()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.take()?))),
            0xd3 => signed(i64::from_be_bytes(self.take()?)),
            0xd4..=0xd8 => self.fixext(1 << (first - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(first - 0xd9)?;
                self.str(length)?
            }
            0xdc | 0xdd => {
                let length = self.length(first - 0xdc + 1)?;
                self.array(length)?
            }
            0xde | 0xdf => {
                let length = self.length(first - 0xde + 1)?;
                self.map(length)?
            }
            0xe0..=0xff => Token::Int(i64::from(first.cast_signed())),
        })
    }

    /// Passes over one value, of whatever depth, without using the stack.
    pub(super) fn skip(&mut self) -> Read<()> {
        let mut left = 1usize;
        while left > 0 {
            left -= 1;
            let more = match self.token()? {
                Token::Array(count) => count,
                Token::Map(count) => 2 * count,
                _ => 0,
            };
            left = left.saturating_add(more);
            // Each of them takes a byte: a promise that cannot be kept is found out at once.
            if left > self.rest() {
                return Err(Fault::Unreadable);
            }
        }
        Ok(())
    }
}

/// MessagePack's own extension for dates.
const TIMESTAMP: i8 = -1;

/// The milliseconds since 1970 of a timestamp: seconds in four bytes, nanoseconds and seconds in
/// 30 and 34 bits, or nanoseconds and seconds in four and eight bytes.
fn timestamp(data: &[u8]) -> Option<i64> {
    let (nanoseconds, seconds) = match data.len() {
        4 => (0, i64::from(u32::from_be_bytes(data.try_into().ok()?))),
        8 => {
            let value = u64::from_be_bytes(data.try_into().ok()?);
            ((value >> 34) as i64, (value & 0x3_ffff_ffff) as i64)
        }
        12 => {
            let (nanoseconds, seconds) = data.split_at(4);
            let nanoseconds = u32::from_be_bytes(nanoseconds.try_into().ok()?);
            (i64::from(nanoseconds), i64::from_be_bytes(seconds.try_into().ok()?))
        }
        _ => return None,
    };
    // What goes beyond is no date, and is shown as none.
    Some(seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000))
}

fn signed(value: i64) -> Token {
    u64::try_from(value).map_or(Token::Int(value), Token::Uint)
}
