//! The body of a polling request or response, revision 4: packets with U+001E between them.

use std::iter::FusedIterator;

use base64::Engine as _;

use super::packet::{BASE64, Packet, PacketError};

pub(crate) mod jsonp;
pub(crate) mod revision3;

/// ASCII "record separator": no byte of a longer UTF-8 sequence can be taken for it.
const SEPARATOR: u8 = 0x1e;

/// The packets of a body, in order. Ends behind the first text that is no packet, and an empty
/// body is one empty text: both as in the reference.
///
/// Invalid UTF-8 is replaced by U+FFFD, for Node reads the body as text before it is parsed.
pub(crate) fn decode(body: &[u8]) -> Packets<'_> {
    Packets { rest: Some(body) }
}

/// The iterator of [`decode`].
#[derive(Clone, Debug)]
pub(crate) struct Packets<'a> {
    rest: Option<&'a [u8]>,
}

impl Iterator for Packets<'_> {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let (element, rest) = match memchr::memchr(SEPARATOR, rest) {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        // Copied, so that a packet kept by a listener does not keep the whole body.
        let packet = Packet::parse(&String::from_utf8_lossy(element), |data| data.into());
        if packet.is_ok() {
            self.rest = rest;
        }
        Some(packet)
    }
}

impl FusedIterator for Packets<'_> {}

/// Appends a packet in text form to a body.
pub(crate) fn push_text(out: &mut Vec<u8>, packet: &[u8]) {
    out.reserve(1 + packet.len());
    separate(out);
    out.extend_from_slice(packet);
}

/// Appends a binary message to a body, as `b` and base64.
pub(crate) fn push_binary(out: &mut Vec<u8>, data: &[u8]) {
    let encoded = data.len().div_ceil(3) * 4;
    out.reserve(2 + encoded);
    separate(out);
    out.push(b'b');
    let start = out.len();
    out.resize(start + encoded, 0);
    // The room is what padded base64 takes: this cannot fail.
    let written = BASE64.encode_slice(data, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(SEPARATOR);
    }
}

#[cfg(test)]
mod tests;
