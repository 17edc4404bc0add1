//! WebSocket frames as a server reads and writes them (RFC 6455): bytes in, messages out, no I/O.

mod decoder;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

pub(crate) use decoder::{Decoder, Partial};

use super::deflate::InflateError;

/// The longest header that a server writes: two bytes and a 64 bit length, no mask.
pub(crate) const MAX_HEADER: usize = 10;

/// RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;

/// On the first frame of a message: it is compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

/// What a frame carries (RFC 6455 §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum OpCode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl OpCode {
    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A whole message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Text(ByteString),
    Binary(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    /// The last message of a connection; whatever follows is ignored.
    Close(Option<CloseFrame>),
}

/// Why the client closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseFrame {
    pub(crate) code: u16,
    pub(crate) reason: ByteString,
}

/// What a client may not send. The connection has to be closed with [`FrameError::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a reserved bit is set")]
    ReservedBit,
    #[error("the opcode {0:#x} is reserved")]
    ReservedOpCode(u8),
    #[error("a client's frame must be masked")]
    Unmasked,
    #[error("a control frame is fragmented")]
    FragmentedControl,
    #[error("a control frame has an invalid length")]
    ControlLength,
    #[error("a continuation without a message to continue")]
    UnexpectedContinuation,
    #[error("a new message inside a fragmented one")]
    InterruptedMessage,
    #[error("the close code {0} is invalid")]
    CloseCode(u16),
    #[error("invalid UTF-8")]
    InvalidUtf8,
    #[error("the message is too big")]
    TooBig,
    #[error("the message has too many fragments")]
    TooManyFragments,
    #[error("invalid compressed data")]
    Deflate,
}

impl From<InflateError> for FrameError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Invalid => Self::Deflate,
            InflateError::TooBig => Self::TooBig,
        }
    }
}

impl FrameError {
    /// The status code to close with (RFC 6455 §7.4.1).
    pub(crate) fn close_code(&self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::Deflate => 1007,
            Self::TooManyFragments => 1008,
            Self::TooBig => 1009,
            _ => 1002,
        }
    }
}

/// The header of a frame with `len` bytes of payload, and how much of the array it takes.
pub(crate) fn header(opcode: OpCode, fin: bool, len: usize) -> ([u8; MAX_HEADER], usize) {
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = opcode as u8 | if fin { FIN } else { 0 };
    let length = match len {
        0..=125 => {
            bytes[1] = len as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(len as u64).to_be_bytes());
            MAX_HEADER
        }
    };
    (bytes, length)
}

/// A close frame. The reason is cut where a control frame ends; 1005 stands for "no code" and
/// becomes an empty frame, for it must not travel (RFC 6455 §7.4.1).
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    if code == 1005 {
        return control(OpCode::Close, &[]);
    }
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    control(OpCode::Close, &payload)
}

/// Appends the answer to a ping, with its payload (RFC 6455 §5.5.3).
pub(crate) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let (head, length) = header(OpCode::Pong, true, payload.len());
    out.extend_from_slice(&head[..length]);
    out.extend_from_slice(payload);
}

fn control(opcode: OpCode, payload: &[u8]) -> Bytes {
    let (head, length) = header(opcode, true, payload.len());
    let mut frame = BytesMut::with_capacity(length + payload.len());
    frame.put_slice(&head[..length]);
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests;
