//! The bytes of received values as they may be passed on.

use std::ops::Range;

use bytes::Bytes;

/// Notes what must not be passed on as it came, while values are read from front to back. What is
/// all right is not copied.
#[derive(Debug)]
pub(super) struct Rewrite {
    /// What takes the place of everything before `copied`; empty while nothing was replaced.
    out: Vec<u8>,
    start: usize,
    copied: usize,
    replaced: bool,
}

impl Rewrite {
    /// For values that begin at `start`.
    pub(super) fn new(start: usize) -> Self {
        Self { out: Vec::new(), start, copied: start, replaced: false }
    }

    /// Where the byte at `at` will be. Nothing behind `at` may have been replaced.
    pub(super) fn position(&self, at: usize) -> usize {
        self.out.len() + (at - self.copied)
    }

    /// The end of what was replaced last.
    pub(super) fn end(&self) -> usize {
        self.copied
    }

    /// Puts `bytes` in the place of a part that lies behind all that was replaced before.
    pub(super) fn replace(&mut self, message: &[u8], part: Range<usize>, bytes: &[u8]) {
        self.out.extend_from_slice(&message[self.copied..part.start]);
        self.out.extend_from_slice(bytes);
        self.copied = part.end;
        self.replaced = true;
    }

    /// Lowers the number in the header of a map, which is at [`position`](Self::position)
    /// `header`. A part of that map must have been replaced.
    pub(super) fn recount(&mut self, header: usize, count: usize) {
        let Some(header) = self.out.get_mut(header..) else { return };
        // In the form it has: that another one would be shorter does not matter.
        match header {
            [first @ 0x80..=0x8f, ..] => *first = 0x80 | (count & 0x0f) as u8,
            [0xde, number @ ..] if number.len() >= 2 => {
                number[..2].copy_from_slice(&(count as u16).to_be_bytes());
            }
            [0xdf, number @ ..] if number.len() >= 4 => {
                number[..4].copy_from_slice(&(count as u32).to_be_bytes());
            }
            _ => {}
        }
    }

    /// The values, which end at `end`.
    pub(super) fn finish(mut self, message: &Bytes, end: usize) -> Bytes {
        if !self.replaced {
            return message.slice(self.start..end);
        }
        self.out.extend_from_slice(&message[self.copied..end]);
        self.out.into()
    }
}
