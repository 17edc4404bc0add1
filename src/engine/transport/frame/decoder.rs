//! Reading the frames of one client, whatever portions they arrive in.
//!
//! A message whose only frame lies whole in one portion costs one exactly sized buffer; anything
//! else is gathered in a boxed [`Partial`], given back with the message, so that an idle
//! connection holds four words.
//!
//! The reserved bits must be zero, but for RSV1 where permessage-deflate (RFC 7692) was agreed on. A
//! compressed message is inflated while it is gathered, a little at a time: see [`inflation`].

mod collected;
mod inflation;

use bytes::Bytes;
use bytestring::ByteString;

use self::{collected::Collected, inflation::Inflation};
use super::{CloseFrame, FIN, FrameError, MAX_CONTROL, MAX_HEADER, Message, OpCode, RSV1};

/// The longest header that a client writes: that of a server, and a mask.
const MAX_MASKED_HEADER: usize = MAX_HEADER + 4;

/// Frames of one message, whatever is in them; a bound, for empty frames never reach the limit on
/// bytes. The number and the close code 1008 are those of `ws`, the reference.
const MAX_FRAGMENTS: usize = 16 * 1024;

/// Beyond those, a frame more for so many bytes of payload: a large message may come in small
/// frames, and tiny ones are still bounded by the limit on bytes.
const FRAGMENT_BYTES: usize = 32;

/// RSV2 and RSV3, which mean nothing to anybody.
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// Turns the bytes of one client into messages.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_message: usize,
    partial: Option<Box<Partial>>,
    /// Only where compression was agreed on.
    inflation: Option<Box<Inflation>>,
    done: bool,
    /// Frames that were complete and not the last of their message, since this was asked.
    fragments: u32,
}

/// All that waits for more bytes.
#[derive(Debug, Default)]
pub(crate) struct Partial {
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
    /// It belongs to a compressed message.
    compressed: bool,
    remaining: usize,
    mask: [u8; 4],
}

impl Decoder {
    /// A decoder that refuses messages of more than `max_message` bytes.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, partial: None, inflation: None, done: false, fragments: 0 }
    }

    /// Takes compressed messages too; `takeover` says whether they may refer to those before.
    pub(crate) fn inflating(mut self, takeover: bool) -> Self {
        self.inflation = Some(Box::new(Inflation::new(takeover)));
        self
    }

    /// Reads one portion and hands every message that it completes to `out`. Returns how many bytes
    /// were taken: all, unless so much was inflated that others should have their turn first. Bytes
    /// after a close frame or an error are ignored.
    ///
    /// # Errors
    ///
    /// Fails as soon as what has come cannot be the beginning of anything valid; messages before
    /// that point were handed out.
    pub(crate) fn feed(
        &mut self,
        chunk: &[u8],
        out: &mut impl FnMut(Message),
    ) -> Result<usize, FrameError> {
        let mut input = chunk;
        while !self.done && !input.is_empty() {
            if let Err(error) = self.step(&mut input, out) {
                self.finish();
                return Err(error);
            }
            if self.inflation.as_mut().is_some_and(|inflation| inflation.is_spent()) {
                return Ok(chunk.len() - input.len());
            }
        }
        Ok(chunk.len())
    }

    /// Takes out what waits for more to come, if it is that many bytes. The decoder cannot read on
    /// before it has got that back.
    pub(crate) fn detach(&mut self, least: usize) -> Option<Box<Partial>> {
        self.partial.take_if(|partial| {
            partial.message.as_ref().is_some_and(|message| message.bytes.capacity() >= least)
        })
    }

    /// Puts back what [`Decoder::detach`] took out.
    pub(crate) fn attach(&mut self, partial: Box<Partial>) {
        self.partial = Some(partial);
    }

    /// Frames that have come since this was asked and have not completed a message.
    pub(crate) fn take_fragments(&mut self) -> u32 {
        std::mem::take(&mut self.fragments)
    }

    /// Bytes that wait for more to come.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| message.bytes.capacity());
            message + partial.control.capacity()
        })
    }

    /// Consumes a header, if one has to come, and as much of its payload as there is.
    fn step(&mut self, input: &mut &[u8], out: &mut impl FnMut(Message)) -> Result<(), FrameError> {
        let Some(frame) = self.next_frame(input)? else {
            return Ok(());
        };
        let most = if frame.compressed { inflation::PIECE } else { usize::MAX };
        let (part, rest) = input.split_at(frame.remaining.min(input.len()).min(most));
        *input = rest;
        let only = self.partial.is_none() && frame.fin && !frame.compressed;
        if only && part.len() == frame.remaining {
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
        let (opcode, fin, compressed) = opening(first, message, self.inflation.is_some())?;
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
        let frame = FrameHead { opcode, fin, compressed, remaining, mask };
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
        let collected = message.map_or(0, |message| message.received);
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
            let message = partial.message.get_or_insert_with(|| Collected::new(&frame));
            match &mut self.inflation {
                Some(inflation) if message.compressed => {
                    inflation.append(part, frame.mask, &mut message.bytes, self.max_message)?;
                    if complete && frame.fin {
                        inflation.finish(&mut message.bytes, self.max_message)?;
                    }
                }
                _ => message.append(part, &frame),
            }
            message.check()?;
            message.received += part.len();
            message.fragments += usize::from(complete);
            self.fragments += u32::from(complete && !frame.fin);
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

/// Judges the first byte of a frame: its opcode, whether it is the last of its message, and whether
/// that is compressed, which it may be if `inflates`.
fn opening(
    first: u8,
    message: Option<&Collected>,
    inflates: bool,
) -> Result<(OpCode, bool, bool), FrameError> {
    // RFC 6455 §5.2: a nonzero reserved bit without an extension that defines it fails the
    // connection.
    let compressed = first & RSV1 != 0;
    if first & RESERVED != 0 || (compressed && !inflates) {
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
    // fragments of two messages may not. RFC 7692 §6.1: only the first frame of a message says that
    // it is compressed.
    match (opcode, message) {
        (opcode, _) if compressed && !matches!(opcode, OpCode::Text | OpCode::Binary) => {
            Err(FrameError::ReservedBit)
        }
        (OpCode::Continuation, None) => Err(FrameError::UnexpectedContinuation),
        (OpCode::Continuation, Some(message))
            if message.fragments >= MAX_FRAGMENTS + message.received / FRAGMENT_BYTES =>
        {
            Err(FrameError::TooManyFragments)
        }
        (OpCode::Continuation, Some(message)) => Ok((opcode, fin, message.compressed)),
        (OpCode::Text | OpCode::Binary, Some(_)) => Err(FrameError::InterruptedMessage),
        (control, _) if control.is_control() && !fin => Err(FrameError::FragmentedControl),
        _ => Ok((opcode, fin, compressed)),
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

/// Appends a masked part to `out`, unmasked.
fn unmask_onto(out: &mut Vec<u8>, masked: &[u8], mask: [u8; 4]) {
    let start = out.len();
    out.extend_from_slice(masked);
    unmask(&mut out[start..], mask);
}

/// Takes the mask off a part that begins with its first byte (RFC 6455 §5.3).
fn unmask(part: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let key = [a, b, c, d, a, b, c, d];
    let (words, tail) = part.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
