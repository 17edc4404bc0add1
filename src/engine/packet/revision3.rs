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

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Packet, PacketError> {
        parse(text, |data| data.into())
    }

    fn message(data: &'static [u8]) -> Packet {
        Packet::Message(Message::Binary(Bytes::from_static(data)))
    }

    #[test]
    fn texts_are_those_of_revision_4() {
        assert_eq!(decode("4é"), Ok(Packet::Message(Message::Text("é".into()))));
        assert_eq!(decode("2probe"), Ok(Packet::Ping("probe".into())));
        assert_eq!(decode(""), Err(PacketError::Empty));
        assert_eq!(decode("7"), Err(PacketError::UnknownType('7')));
    }

    #[test]
    fn base64_has_a_type_before_it() {
        assert_eq!(decode("b4AQIDBA=="), Ok(message(&[1, 2, 3, 4])));
        assert_eq!(decode("b4"), Ok(message(&[])));
        assert_eq!(decode("b1AQID"), Ok(Packet::Close));
        assert_eq!(decode("b2cHJvYmU="), Ok(Packet::Ping("".into())), "binary is no probe");
        for unknown in ["b", "b9AQID", "bAQID", "bé", "b/"] {
            assert_eq!(decode(unknown), Ok(Packet::Noop), "{unknown}");
        }
    }

    #[test]
    fn a_binary_element_has_its_type_as_a_byte() {
        let decode = |data: &[u8]| binary(data, Bytes::copy_from_slice);
        assert_eq!(decode(&[4, 0, 255]), message(&[0, 255]));
        assert_eq!(decode(&[4]), message(&[]));
        assert_eq!(decode(&[5, 1]), Packet::Upgrade);
        for unknown in [&[][..], &[7], b"4x", &[255; 9]] {
            assert_eq!(decode(unknown), Packet::Noop);
        }
    }
}
