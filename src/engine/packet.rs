//! One Engine.IO packet and its text form: a type, one digit, and data.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use bytestring::ByteString;

pub(crate) mod revision3;

/// Base64 as written by anyone who writes it right, with padding or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the two sides of a session tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// `0`: the session is open; the data is the handshake, JSON.
    Open(ByteString),
    /// `1`: the session ends.
    Close,
    /// `2`: a heartbeat of the server, or the probe of an upgrade.
    Ping(ByteString),
    /// `3`: the answer to a ping, with its data.
    Pong(ByteString),
    /// `4`, or a binary frame: what the layer above sends.
    Message(Message),
    /// `5`: the client has moved to the transport that this came on.
    Upgrade,
    /// `6`: nothing; it ends a poll that waits.
    Noop,
}

/// What the layer above sends.
///
/// ```
/// use greenroom::engine::{Config, EngineIo, Message, Opened};
///
/// EngineIo::new(Config::default(), |socket| {
///     Opened::new(move |message| match message {
///         Message::Text(text) => socket.send(Message::Text(text.to_uppercase().into())),
///         Message::Binary(bytes) => println!("{} bytes", bytes.len()),
///     })
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(ByteString),
    /// Bytes: a binary frame on WebSocket, base64 in a polling body.
    Binary(Bytes),
}

impl Message {
    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(data) => data.len(),
        }
    }
}

/// Why a text is no packet. The session ends with "parse error".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PacketError {
    /// There is not even a type.
    #[error("parser error: the packet is empty")]
    Empty,
    /// The type is none of the protocol's.
    #[error("parser error: unknown packet type {0:?}")]
    UnknownType(char),
    /// In revision 3: a body is not made of packets and their lengths.
    #[error("parser error: the payload is broken")]
    Payload,
}

impl Packet {
    /// Bytes of its data.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Open(data) | Self::Ping(data) | Self::Pong(data) => data.len(),
            Self::Message(message) => message.len(),
            Self::Close | Self::Upgrade | Self::Noop => 0,
        }
    }

    /// Reads a text frame of a WebSocket, or one text of a polling body; the data shares the
    /// memory of `text`. Data behind the types that have none is ignored. `b` starts a binary
    /// message in base64 on every transport, as in the reference.
    ///
    /// # Errors
    ///
    /// Fails when `text` is empty or starts with an unknown type.
    pub(crate) fn decode_text(text: ByteString) -> Result<Self, PacketError> {
        Self::parse(&text, |data| text.slice_ref(data))
    }

    /// [`Self::decode_text`], where `own` makes the data of the packet out of a part of `text`.
    pub(super) fn parse(
        text: &str,
        own: impl FnOnce(&str) -> ByteString,
    ) -> Result<Self, PacketError> {
        let mut chars = text.chars();
        let kind = chars.next().ok_or(PacketError::Empty)?;
        let data = chars.as_str();
        Ok(match kind {
            '0' => Self::Open(own(data)),
            '1' => Self::Close,
            '2' => Self::Ping(own(data)),
            '3' => Self::Pong(own(data)),
            '4' => Self::Message(Message::Text(own(data))),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            'b' => Self::Message(Message::Binary(decode_base64(data.as_bytes()))),
            unknown => return Err(PacketError::UnknownType(unknown)),
        })
    }
}

/// Decodes as Node's `Buffer.from(data, "base64")`, which refuses nothing: both alphabets count,
/// other characters are skipped, `=` ends the data, and bits that fill no byte are dropped.
///
/// Node looks only at the low byte of a character beyond Latin-1, and so takes U+4E2D for `-`.
/// Such characters are skipped here.
fn decode_base64(data: &[u8]) -> Bytes {
    if let Ok(bytes) = BASE64.decode(data) {
        return Bytes::from(bytes);
    }
    let symbol = |byte: &u8| match *byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Some(*byte),
        _ => None,
    };
    let end = memchr::memchr(b'=', data).unwrap_or(data.len());
    let mut symbols: Vec<u8> = data[..end].iter().filter_map(symbol).collect();
    if symbols.len() % 4 == 1 {
        symbols.pop();
    }
    // Nothing but symbols is left, in a number that makes whole bytes: this cannot fail.
    Bytes::from(BASE64.decode(symbols).unwrap_or_default())
}

#[cfg(test)]
mod tests;
