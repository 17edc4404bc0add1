//! Reading the frames of one client, whatever portions they arrive in.
//!
//! A message whose only frame lies whole in one portion costs one exactly sized buffer; anything
//! else is gathered in a boxed [`Partial`], given back with the message, so that an idle
//! connection holds three words.
//!
//! No extension is negotiated, so the reserved bits must be zero. permessage-deflate (RFC 7692)
//! would let RSV1 pass in [`opening`], remember it in [`Collected`], and inflate in
//! [`Decoder::deliver`], with the limit on the inflated size there.

use bytes::Bytes;
use bytestring::ByteString;

use super::{CloseFrame, FIN, FrameError, MAX_CONTROL, MAX_HEADER, Message, OpCode};

/// The longest header that a client writes: that of a server, and a mask.
const MAX_MASKED_HEADER: usize = MAX_HEADER + 4;

/// Frames of one message; a bound, for empty frames never reach the limit on bytes. The number
/// and the close code 1008 are those of `ws`, the reference.
const MAX_FRAGMENTS: u32 = 16 * 1024;

/// Bytes reserved on the word of a header before they come.
const RESERVE_AHEAD: usize = 16 * 1024;

const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// Turns the bytes of one client into messages.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_message: usize,
    partial: Option<Box<Partial>>,
    done: bool,
}

/// All that waits for more bytes.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; MAX_MASKED_HEADER],
    header_len: usize,
    frame: Option<FrameHead>,
    control: Vec<u8>,
    message: Option<Collected>,
}

/// A frame whose header was read and accepted; `remaining` and `mask` move with its payload.
#[derive(Debug)]
struct FrameHead {
    opcode: OpCode,
    fin: bool,
    remaining: usize,
    mask: [u8; 4],
}

/// The data frames of an unfinished message.
#[derive(Debug)]
struct Collected {
    opcode: OpCode,
    bytes: Vec<u8>,
    /// How far `bytes` is known to be UTF-8.
    checked: usize,
    /// Frames that are complete.
    fragments: u32,
}

impl Decoder {
    /// A decoder that refuses messages of more than `max_message` bytes.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, partial: None, done: false }
    }

    /// Reads one portion and hands every message that it completes to `out`. Bytes after a close
    /// frame or an error are ignored.
    ///
    /// # Errors
    ///
    /// Fails as soon as what has come cannot be the beginning of anything valid; messages before
    /// that point were handed out.
    pub(crate) fn feed(
        &mut self,
        chunk: &[u8],
        out: &mut impl FnMut(Message),
    ) -> Result<(), FrameError> {
        let mut input = chunk;
        while !self.done && !input.is_empty() {
            if let Err(error) = self.step(&mut input, out) {
                self.finish();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Consumes a header, if one has to come, and as much of its payload as there is.
    fn step(&mut self, input: &mut &[u8], out: &mut impl FnMut(Message)) -> Result<(), FrameError> {
        let Some(frame) = self.next_frame(input)? else {
            return Ok(());
        };
        let (part, rest) = input.split_at(frame.remaining.min(input.len()));
        *input = rest;
        if self.partial.is_none() && frame.fin && part.len() == frame.remaining {
            let mut bytes = Vec::with_capacity(part.len());
            unmask_onto(&mut bytes, part, frame.mask);
            return self.deliver(frame.opcode, bytes, out);
        }
        self.collect(frame, part, out)
    }

    /// The frame that the next bytes belong to; `None` when its header is not complete yet.
    fn next_frame(&mut self, input: &mut &[u8]) -> Result<Option<FrameHead>, FrameError> {
        let mut waiting = 0;
        if let Some(partial) = &mut self.partial {
            if let Some(frame) = partial.frame.take() {
                return Ok(Some(frame));
            }
            waiting = partial.header_len;
        }
        if waiting == 0
            && let Some((frame, length)) = self.parse(input)?
        {
            *input = &input[length..];
            return Ok(Some(frame));
        }
        // The header is split: join it in `Partial::header`.
        let partial = self.partial.get_or_insert_default();
        let added = input.len().min(MAX_MASKED_HEADER - waiting);
        partial.header[waiting..waiting + added].copy_from_slice(&input[..added]);
        partial.header_len = waiting + added;
        let (header, header_len) = (partial.header, partial.header_len);
        let Some((frame, length)) = self.parse(&header[..header_len])? else {
            *input = &input[added..];
            return Ok(None);
        };
        *input = &input[length - waiting..];
        if let Some(partial) = &mut self.partial {
            partial.header_len = 0;
        }
        self.release();
        Ok(Some(frame))
    }

    /// Reads a header and its length, `None` when more bytes are needed. Each byte is judged as
    /// soon as it is there, the announced length before any payload.
    fn parse(&self, bytes: &[u8]) -> Result<Option<(FrameHead, usize)>, FrameError> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (opcode, fin) = opening(first, message)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        // RFC 6455 §5.1: "a server MUST close the connection upon receiving a frame that is not
        // masked".
        if second & MASKED == 0 {
            return Err(FrameError::Unmasked);
        }
        let short = second & !MASKED;
        if opcode.is_control()
            && (usize::from(short) > MAX_CONTROL || (opcode == OpCode::Close && short == 1))
        {
            return Err(FrameError::ControlLength);
        }
        // Lengths in more bytes than needed are accepted, as the reference does.
        let rest = &bytes[2..];
        let (length, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (u64::from(length), rest),
        };
        let remaining = self.admit(opcode, length, message)?;
        let Some((&mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let frame = FrameHead { opcode, fin, remaining, mask };
        Ok(Some((frame, bytes.len() - rest.len())))
    }

    /// Checks an announced length, together with what its message has collected, against the
    /// limit. A length whose top bit is set (RFC 6455 §5.2 forbids it) is too big as well.
    fn admit(
        &self,
        opcode: OpCode,
        length: u64,
        message: Option<&Collected>,
    ) -> Result<usize, FrameError> {
        let collected = message.map_or(0, |message| message.bytes.len());
        let room = if opcode.is_control() {
            MAX_CONTROL
        } else {
            self.max_message.min(isize::MAX as usize).saturating_sub(collected)
        };
        usize::try_from(length).ok().filter(|length| *length <= room).ok_or(FrameError::TooBig)
    }

    /// Keeps a part of a frame, and delivers what it completes.
    fn collect(
        &mut self,
        mut frame: FrameHead,
        part: &[u8],
        out: &mut impl FnMut(Message),
    ) -> Result<(), FrameError> {
        let partial = self.partial.get_or_insert_default();
        let complete = part.len() == frame.remaining;
        let mut finished = None;
        if frame.opcode.is_control() {
            unmask_onto(&mut partial.control, part, frame.mask);
            if complete {
                finished = Some((frame.opcode, std::mem::take(&mut partial.control)));
            }
        } else {
            let message = partial.message.get_or_insert_with(|| Collected::new(frame.opcode));
            message.append(part, &frame)?;
            message.fragments += u32::from(complete);
            if complete && frame.fin {
                let message = partial.message.take();
                finished = message.map(|message| (message.opcode, message.bytes));
            }
        }
        if !complete {
            frame.remaining -= part.len();
            frame.mask.rotate_left(part.len() % 4);
            partial.frame = Some(frame);
        }
        self.release();
        match finished {
            Some((opcode, bytes)) => self.deliver(opcode, bytes, out),
            None => Ok(()),
        }
    }

    /// Hands out a complete message. Its buffer is cut to size: it may live long in a listener.
    fn deliver(
        &mut self,
        opcode: OpCode,
        bytes: Vec<u8>,
        out: &mut impl FnMut(Message),
    ) -> Result<(), FrameError> {
        let bytes = bytes.into_boxed_slice();
        out(match opcode {
            OpCode::Text => Message::Text(utf8(bytes)?),
            OpCode::Binary => Message::Binary(Bytes::from(bytes)),
            OpCode::Ping => Message::Ping(Bytes::from(bytes)),
            OpCode::Pong => Message::Pong(Bytes::from(bytes)),
            OpCode::Close => {
                let frame = close_frame(&bytes)?;
                self.finish();
                Message::Close(frame)
            }
            OpCode::Continuation => return Err(FrameError::UnexpectedContinuation),
        });
        Ok(())
    }

    /// Gives the partial state back when nothing is left in it.
    fn release(&mut self) {
        let empty = |partial: &mut Box<Partial>| {
            partial.header_len == 0 && partial.frame.is_none() && partial.message.is_none()
        };
        self.partial.take_if(empty);
    }

    fn finish(&mut self) {
        self.partial = None;
        self.done = true;
    }
}

impl Collected {
    fn new(opcode: OpCode) -> Self {
        Self { opcode, bytes: Vec::new(), checked: 0, fragments: 0 }
    }

    /// Adds a part of `frame`. The buffer grows with what has come, never to what was announced.
    fn append(&mut self, part: &[u8], frame: &FrameHead) -> Result<(), FrameError> {
        let only = frame.fin && self.fragments == 0;
        if only && self.bytes.capacity() - self.bytes.len() < part.len() {
            // The end is known, so the last growth is exact; before it the buffer doubles.
            let ahead = part.len() + RESERVE_AHEAD.max(self.bytes.len());
            self.bytes.reserve_exact(ahead.min(frame.remaining));
        }
        unmask_onto(&mut self.bytes, part, frame.mask);
        if self.opcode == OpCode::Text {
            self.check()?;
        }
        Ok(())
    }

    /// Fails as soon as an invalid sequence is certain (RFC 6455 §8.1); one that more bytes may
    /// complete waits, and is looked at again from its first byte.
    fn check(&mut self) -> Result<(), FrameError> {
        self.checked += match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(FrameError::InvalidUtf8),
        };
        Ok(())
    }
}

/// Judges the first byte of a frame.
fn opening(first: u8, message: Option<&Collected>) -> Result<(OpCode, bool), FrameError> {
    // RFC 6455 §5.2: a nonzero reserved bit without an extension that defines it fails the
    // connection.
    if first & RESERVED != 0 {
        return Err(FrameError::ReservedBit);
    }
    let fin = first & FIN != 0;
    let opcode = match first & 0x0F {
        0x0 => OpCode::Continuation,
        0x1 => OpCode::Text,
        0x2 => OpCode::Binary,
        0x8 => OpCode::Close,
        0x9 => OpCode::Ping,
        0xA => OpCode::Pong,
        reserved => return Err(FrameError::ReservedOpCode(reserved)),
    };
    // RFC 6455 §5.4: control frames are never fragmented and may come between fragments; the
    // fragments of two messages may not.
    match (opcode, message) {
        (OpCode::Continuation, None) => Err(FrameError::UnexpectedContinuation),
        (OpCode::Continuation, Some(message)) if message.fragments >= MAX_FRAGMENTS => {
            Err(FrameError::TooManyFragments)
        }
        (OpCode::Text | OpCode::Binary, Some(_)) => Err(FrameError::InterruptedMessage),
        (control, _) if control.is_control() && !fin => Err(FrameError::FragmentedControl),
        _ => Ok((opcode, fin)),
    }
}

fn utf8(bytes: Box<[u8]>) -> Result<ByteString, FrameError> {
    ByteString::try_from(Bytes::from(bytes)).map_err(|_| FrameError::InvalidUtf8)
}

/// The body of a close frame (RFC 6455 §5.5.1): nothing, or a code and perhaps a reason.
fn close_frame(bytes: &[u8]) -> Result<Option<CloseFrame>, FrameError> {
    let Some((code, reason)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455 §7.4: 1004 is reserved, 1005 and 1006 never travel; 1012 to 1014 were registered
    // with IANA later.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameError::CloseCode(code));
    }
    let reason = ByteString::try_from(reason).map_err(|_| FrameError::InvalidUtf8)?;
    Ok(Some(CloseFrame { code, reason }))
}

/// Appends a masked part to `out`, unmasked (RFC 6455 §5.3).
fn unmask_onto(out: &mut Vec<u8>, masked: &[u8], mask: [u8; 4]) {
    let start = out.len();
    out.extend_from_slice(masked);
    let [a, b, c, d] = mask;
    let key = [a, b, c, d, a, b, c, d];
    let (words, tail) = out[start..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
