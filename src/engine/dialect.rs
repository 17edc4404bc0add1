//! How a client wants to be spoken to: the revision of the protocol, and what its URL asks for.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    frame::Frame,
    packet::{self, Message, Packet, PacketError},
    payload::{self, jsonp, revision3},
};

/// A revision of the Engine.IO protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    /// The client pings; Socket.IO 1 and 2.
    Three,
    /// The server pings; Socket.IO 3 and 4.
    Four,
}

impl Revision {
    /// The revision that the parameter `EIO` asks for: whatever is not 4 is 3, as in the reference.
    pub(crate) fn of(eio: Option<&str>) -> Self {
        if eio == Some("4") { Self::Four } else { Self::Three }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Three => 3,
            Self::Four => 4,
        }
    }

    /// Reads a text frame of a WebSocket.
    pub(crate) fn text(self, text: ByteString) -> Result<Packet, PacketError> {
        match self {
            Self::Three => packet::revision3::parse(&text, |data| text.slice_ref(data)),
            Self::Four => Packet::decode_text(text),
        }
    }

    /// Reads a binary frame of a WebSocket.
    pub(crate) fn binary(self, data: Bytes) -> Packet {
        match self {
            Self::Three => packet::revision3::binary(&data, |message| data.slice_ref(message)),
            Self::Four => Packet::Message(Message::Binary(data)),
        }
    }
}

/// See the module's description. Fixed by the request that opens a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) revision: Revision,
    /// In revision 3: binary data travels as text on every transport.
    pub(crate) base64: bool,
    /// The number of the function that every answer has to call: a polling session that a page
    /// reads with script elements (JSONP).
    callback: Option<Box<str>>,
}

/// What a poll is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: &'static str,
}

impl Dialect {
    /// `get` gives the parameters of the opening request.
    pub(crate) fn new<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        Self {
            revision: Revision::of(get("EIO")),
            base64: asks_for_base64(get("b64")),
            callback: get("j").map(|number| digits(number).into()),
        }
    }

    /// The answer to a poll, with these packets in order.
    pub(crate) fn body(&self, frames: &[Frame]) -> Body {
        if let Some(number) = &self.callback {
            // Scripts are text.
            let text = self.text_body(frames);
            let bytes = jsonp::call(number, &String::from_utf8_lossy(&text));
            return Body { bytes, content_type: TEXT };
        }
        let binary =
            self.revision == Revision::Three && !self.base64 && frames.iter().any(Frame::is_binary);
        if !binary {
            return Body { bytes: self.text_body(frames), content_type: TEXT };
        }
        let mut bytes = Vec::new();
        for frame in frames {
            revision3::push_octets(&mut bytes, frame.packet(), frame.is_binary());
        }
        Body { bytes, content_type: OCTETS }
    }

    fn text_body(&self, frames: &[Frame]) -> Vec<u8> {
        let push = match self.revision {
            Revision::Three => [revision3::push_text, revision3::push_base64],
            Revision::Four => [payload::push_text, payload::push_binary],
        };
        let mut bytes = Vec::new();
        for frame in frames {
            push[usize::from(frame.is_binary())](&mut bytes, frame.packet());
        }
        bytes
    }

    /// Whether a request body of this type cannot be read.
    pub(crate) fn refuses(&self, content_type: Option<&[u8]>) -> bool {
        self.revision == Revision::Four && is_octets(content_type)
    }

    /// What is in a request body: itself, or what a form of JSONP holds. `None` if nothing was sent, as
    /// far as the reference is concerned.
    pub(crate) fn open(&self, body: Vec<u8>) -> Option<Vec<u8>> {
        match &self.callback {
            None => Some(body),
            Some(_) => jsonp::field(&body).map(String::into_bytes),
        }
    }

    /// The packets of an [opened](Self::open) request body.
    pub(crate) fn packets<'a>(
        &self,
        body: &'a [u8],
        content_type: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Result<Packet, PacketError>> + 'a> {
        let octets = is_octets(content_type) && self.callback.is_none();
        match self.revision {
            Revision::Four => Box::new(payload::decode(body)),
            Revision::Three if octets => Box::new(revision3::decode_octets(body)),
            Revision::Three => Box::new(revision3::decode_text(body)),
        }
    }
}

/// The content types of a body.
const TEXT: &str = "text/plain; charset=UTF-8";
const OCTETS: &str = "application/octet-stream";

fn is_octets(content_type: Option<&[u8]>) -> bool {
    content_type == Some(OCTETS.as_bytes())
}

/// Whether the parameter `b64` asks for binary data as text: `b64=0` does too, as in the reference.
pub(crate) fn asks_for_base64(value: Option<&str>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests;
