//! The body of a polling request or response, revision 3.
//!
//! ```text
//! <length>:<packet>...                          6:4hello10:b4AQIDBA==
//! ```
//!
//! A length counts UTF-16 code units, for the reference is written in JavaScript. A body that holds
//! binary data is written as octets, unless the client cannot read those:
//!
//! ```text
//! <0 text, 1 binary><digits of the length, a byte each><255><packet>...
//! ```

use std::borrow::Cow;

use base64::Engine as _;
use bytes::Bytes;

use crate::engine::packet::{BASE64, Packet, PacketError, revision3};

/// Ends the length of an element among octets.
const LENGTH_END: u8 = 255;

// ---- reading -------------------------------------------------------------------------------------

/// The packets of a text body, in order. Ends behind the first thing that is no packet; an empty
/// body is none, and an element of length 0 is skipped: as in the reference.
///
/// Invalid UTF-8 is replaced by U+FFFD, for Node reads the body as text before it is parsed.
pub(crate) fn decode_text(body: &[u8]) -> TextPackets<'_> {
    TextPackets { text: String::from_utf8_lossy(body), at: 0, ended: false }
}

/// The iterator of [`decode_text`].
#[derive(Clone, Debug)]
pub(crate) struct TextPackets<'a> {
    text: Cow<'a, str>,
    at: usize,
    ended: bool,
}

impl TextPackets<'_> {
    /// The bounds of the next element behind its length.
    fn element(&self) -> Result<(usize, usize), PacketError> {
        let rest = &self.text[self.at..];
        let colon = memchr::memchr(b':', rest.as_bytes()).ok_or(PacketError::Payload)?;
        let digits = rest.as_bytes()[..colon].iter().map(|byte| byte.wrapping_sub(b'0'));
        let length = number(digits).ok_or(PacketError::Payload)?;
        let length = utf16_prefix(&rest[colon + 1..], length).ok_or(PacketError::Payload)?;
        let start = self.at + colon + 1;
        Ok((start, start + length))
    }
}

impl Iterator for TextPackets<'_> {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended && (self.at < self.text.len() || self.text.is_empty()) {
            let packet = self.element().and_then(|(start, end)| {
                self.at = end;
                // Copied, so that a packet kept by a listener does not keep the whole body.
                let packet = (start < end)
                    .then(|| revision3::parse(&self.text[start..end], |data| data.into()));
                packet.transpose()
            });
            self.ended = packet.is_err();
            match packet {
                Ok(None) => {}
                Ok(Some(packet)) => return Some(Ok(packet)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// The packets of a body of octets, in order. A body whose lengths do not fit holds nothing but an
/// error: as in the reference, it is taken apart before anything of it is looked at.
pub(crate) fn decode_octets(body: &[u8]) -> impl Iterator<Item = Result<Packet, PacketError>> {
    let fits = Elements(body).all(|element| element.is_some());
    let body = if fits { body } else { &[] };
    let packets = Elements(body).flatten().map(|(text, data)| {
        if !text {
            return Ok(revision3::binary(data, Bytes::copy_from_slice));
        }
        // A text that is not UTF-8 is refused here, other than in a text body: again the reference.
        let text = std::str::from_utf8(data).map_err(|_| PacketError::Payload)?;
        revision3::parse(text, |data| data.into())
    });
    (!fits).then_some(Err(PacketError::Payload)).into_iter().chain(packets)
}

/// Whether an element is text, and its packet.
type Element<'a> = (bool, &'a [u8]);

/// Takes octets apart. `None` where a length is broken; that is the last one.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn split(body: &'a [u8]) -> Option<(Element<'a>, &'a [u8])> {
        let (kind, rest) = body.split_first()?;
        let end = memchr::memchr(LENGTH_END, rest)?;
        let length = number(rest[..end].iter().copied())?;
        let (data, rest) = rest[end + 1..].split_at_checked(length)?;
        Some(((*kind == 0, data), rest))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<Element<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let element = Self::split(self.0);
        self.0 = element.map_or(&[], |(_, rest)| rest);
        Some(element.map(|(element, _)| element))
    }
}

/// A length from its digits. Nothing is set aside for it: it is compared with what is there.
fn number(digits: impl ExactSizeIterator<Item = u8>) -> Option<usize> {
    if digits.len() == 0 {
        return None;
    }
    let mut number = 0_usize;
    for digit in digits {
        number = number.checked_mul(10)?.checked_add((digit < 10).then_some(digit)?.into())?;
    }
    Some(number)
}

/// Bytes of the first `units` UTF-16 code units. `None` if there are fewer, or if that is in the
/// middle of a character.
fn utf16_prefix(text: &str, units: usize) -> Option<usize> {
    if text.as_bytes().get(..units)?.is_ascii() {
        return Some(units);
    }
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

// ---- writing -------------------------------------------------------------------------------------

/// Appends a packet in text form to a text body.
pub(crate) fn push_text(out: &mut Vec<u8>, packet: &[u8]) {
    out.reserve(21 + packet.len());
    push_length(out, utf16_length(packet));
    out.extend_from_slice(packet);
}

/// Appends a binary message to a text body, as `b4` and base64.
pub(crate) fn push_base64(out: &mut Vec<u8>, data: &[u8]) {
    let message = base64_message(data);
    push_length(out, message.len());
    out.extend_from_slice(&message);
}

/// A binary message in text form.
pub(crate) fn base64_message(data: &[u8]) -> Vec<u8> {
    let mut message = String::with_capacity(2 + data.len().div_ceil(3) * 4);
    message.push_str("b4");
    BASE64.encode_string(data, &mut message);
    message.into_bytes()
}

/// Appends a packet to a body of octets: a text with its type, or the data of a binary message.
pub(crate) fn push_octets(out: &mut Vec<u8>, packet: &[u8], binary: bool) {
    out.reserve(24 + packet.len());
    out.push(u8::from(binary));
    let length = packet.len() + usize::from(binary);
    let mut digits = itoa::Buffer::new();
    out.extend(digits.format(length).bytes().map(|digit| digit - b'0'));
    out.push(LENGTH_END);
    if binary {
        out.push(4);
    }
    out.extend_from_slice(packet);
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.push(b':');
}

/// UTF-16 code units of a text: one for each character, two for those of four bytes.
fn utf16_length(text: &[u8]) -> usize {
    let units = |byte: &u8| usize::from(byte & 0xc0 != 0x80) + usize::from(*byte >= 0xf0);
    text.iter().map(units).sum()
}

#[cfg(test)]
mod tests;
