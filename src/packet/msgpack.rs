//! The parser of `socket.io-msgpack-parser`: each packet is one binary message, a map in msgpack.
//!
//! ```text
//! {"type": 2, "data": ["hello", 1], "nsp": "/admin", "id": 12}
//! ```
//!
//! Inside the crate data is JSON text and attachments, whatever the parser. So what comes is
//! transcoded in one pass, and what goes out is transcoded back ([`write`]), with binary in its
//! place on both sides. A value looks to a listener as if the default parser had brought it:
//! [`json`] says what becomes of values that JSON does not have. But the bytes of received
//! arguments are kept beside the text ([`originals`](super::original)), and where the arguments
//! are passed on as they came, the bytes go out again, dates and all.
//!
//! The extensions are those of the package `notepack.io`, all of type 0: one byte is `undefined`,
//! eight bytes are a date, a variable length is an `ArrayBuffer`.

mod date;
mod decode;
pub(super) mod json;
mod read;
mod rewrite;
mod text;
mod walk;
mod write;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use bytestring::ByteString;

use self::read::{Reader, Token};
pub(crate) use self::walk::Walk;
use super::{Decode, DecodeError, EncodeError, Outgoing, Packet, Parser, ParserLimits};
use crate::engine::Message;

/// The parser of the npm package `socket.io-msgpack-parser`: packets take fewer bytes, binary needs
/// no messages of its own, and dates and `undefined` survive where [`Args`](super::Args) are
/// passed on.
///
/// ```
/// use greenroom::{SocketIo, packet::MsgpackParser};
/// let builder = SocketIo::builder().parser(MsgpackParser);
/// ```
///
/// What a listener reads as a type of its own, or as a JSON value, is what `JSON.stringify` makes
/// of the client's value: a date is a string, `NaN`, infinities and a lone `undefined` are
/// `null`, a key whose value is `undefined` is missing. Binary is binary, and an unknown
/// extension is an array of its type and its bytes. The other way a float stays a float, also
/// one without a fraction; `NaN` and infinities are `null`, as in JSON.
///
/// A packet may nest 2,048 levels deep.
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgpackParser;

impl MsgpackParser {
    /// Appends a packet.
    pub(crate) fn write(packet: &Outgoing<'_>, out: &mut Vec<u8>) {
        write::packet(packet, out);
    }

    /// Bytes that a packet will have, about.
    pub(crate) fn size_hint(packet: &Outgoing<'_>) -> usize {
        write::size_hint(packet)
    }

    /// Reads what one client sent, unless it nests deeper than `max_depth` levels.
    pub(crate) fn read(message: &Message, max_depth: usize) -> Result<Packet, DecodeError> {
        match message {
            Message::Binary(bytes) => decode::packet(bytes, max_depth),
            // The reference looks for bytes in it, and finds none.
            Message::Text(_) => Err(DecodeError::Unreadable),
        }
    }
}

/// The one value that `message` is, as JSON text with placeholders, and its attachments. Dates of
/// MessagePack's own extension are read as well.
pub(super) fn read_value(message: &Bytes) -> Result<(ByteString, Vec<Bytes>), DecodeError> {
    let (text, attachments, end) = json::value(message, 0)?;
    match message.len() - end {
        0 => Ok((text, attachments)),
        rest => Err(DecodeError::TrailingBytes(rest)),
    }
}

/// A JSON text whose syntax has been checked, with its attachments in their places.
pub(super) fn write_value(text: &str, attachments: &[Bytes]) -> Vec<u8> {
    let binary: usize = attachments.iter().map(|data| data.len() + 5).sum();
    let mut out = Vec::with_capacity(text.len() + binary);
    write::json(&mut out, text, attachments, &[]);
    out
}

/// Whether the first of these values is `undefined`.
pub(super) fn is_undefined(values: &[u8]) -> bool {
    Reader::new(values, 0).token() == Ok(Token::Undefined)
}

impl Parser for MsgpackParser {
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decode> {
        Box::new(Bounded { max_depth: limits.max_depth })
    }

    fn encode(&self, packet: &Outgoing<'_>) -> Result<Vec<Message>, EncodeError> {
        let mut out = Vec::with_capacity(write::size_hint(packet));
        Self::write(packet, &mut out);
        Ok(vec![Message::Binary(out.into())])
    }
}

/// What reads for one client; a packet is one message, so nothing is kept between them.
struct Bounded {
    max_depth: usize,
}

impl Decode for Bounded {
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, DecodeError> {
        MsgpackParser::read(&message, self.max_depth).map(Some)
    }
}
