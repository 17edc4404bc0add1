//! One packet of revision 3: like revision 4, but binary data has its type before it.

use bytes::Bytes;
use bytestring::ByteString;

use super::{Message, Packet, PacketError, decode_base64};

/// Reads one text; `own` makes the data of the packet out of a part of it.
///
/// # Errors
///
/// Fails when `text` is empty or starts with an unknown type.
pub(crate) fn parse(
    text: &str,
    own: impl FnOnce(&str) -> ByteString,
) -> Result<Packet, PacketError> {
    let Some(base64) = text.strip_prefix('b') else { return Packet::parse(text, own) };
    let kind = base64.bytes().next().map(|digit| digit.wrapping_sub(b'0'));
    Ok(of_type(kind, || decode_base64(&base64.as_bytes()[1..])))
}

/// Reads one binary element; `own` makes the data of a message out of a part of it.
pub(crate) fn binary(data: &[u8], own: impl FnOnce(&[u8]) -> Bytes) -> Packet {
    of_type(data.first().copied(), || own(&data[1..]))
}

/// Only messages have binary data; a type that does not exist means nothing, as in the reference.
fn of_type(kind: Option<u8>, data: impl FnOnce() -> Bytes) -> Packet {
    match kind {
        Some(0) => Packet::Open(ByteString::new()),
        Some(1) => Packet::Close,
        Some(2) => Packet::Ping(ByteString::new()),
        Some(3) => Packet::Pong(ByteString::new()),
        Some(4) => Packet::Message(Message::Binary(data())),
        Some(5) => Packet::Upgrade,
        _ => Packet::Noop,
    }
}
