//! Messages of the server, compressed.

use std::{cell::RefCell, fmt};

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

use super::TAIL;
use crate::engine::transport::frame::{MAX_HEADER, OpCode, RSV1, header};

/// Output that is made room for at least; zlib wants more than six bytes, or it flushes twice.
const LEAST_ROOM: usize = 128;

/// How a stream compresses: its window (9 to 15 bits), level (0 to 9) and memory level (1 to 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strength {
    pub(crate) window_bits: u8,
    pub(crate) level: u8,
    pub(crate) memory_level: u8,
}

/// A compressor. Its messages are to be read in the order they were written, unless it is reset
/// between them.
pub(crate) struct Deflater {
    stream: Deflate,
    strength: Strength,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("strength", &self.strength).finish_non_exhaustive()
    }
}

impl Deflater {
    pub(crate) fn new(strength: Strength) -> Self {
        let config = DeflateConfig {
            // Negative: no header around the data.
            window_bits: -i32::from(strength.window_bits),
            mem_level: strength.memory_level.into(),
            ..DeflateConfig::new(strength.level.into())
        };
        Self { stream: Deflate::new_with_config(config), strength }
    }

    /// Forgets the messages before.
    fn reset(&mut self) {
        self.stream.reset();
    }

    /// The whole WebSocket frame of one message, which is not empty. `None` if the stream has failed:
    /// it is of no use then, and the message goes out as it is.
    pub(crate) fn frame(&mut self, opcode: OpCode, message: &[u8]) -> Option<Bytes> {
        let mut out = vec![0; MAX_HEADER];
        self.compress(message, &mut out)?;
        let end = out.len().checked_sub(TAIL.len())?;
        if end < MAX_HEADER || out[end..] != TAIL {
            return None;
        }
        out.truncate(end);
        let (head, length) = header(opcode, true, end - MAX_HEADER);
        let start = MAX_HEADER - length;
        out[start..MAX_HEADER].copy_from_slice(&head[..length]);
        out[start] |= RSV1;
        // It may wait for many receivers.
        out.shrink_to_fit();
        Some(Bytes::from(out).slice(start..))
    }

    fn compress(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut room = LEAST_ROOM.max(input.len() / 4);
        loop {
            let (start, before) = (out.len(), self.stream.total_in());
            let wrote = self.stream.total_out();
            out.resize(start + room, 0);
            let status = self.stream.compress(input, &mut out[start..], DeflateFlush::SyncFlush);
            let wrote = usize::try_from(self.stream.total_out() - wrote).ok()?;
            let read = usize::try_from(self.stream.total_in() - before).ok()?;
            out.truncate(start + wrote);
            input = input.get(read..)?;
            match status {
                Ok(Status::Ok | Status::BufError) if wrote < room => {
                    return input.is_empty().then_some(());
                }
                Ok(Status::Ok) => room = LEAST_ROOM.max(out.len()),
                Ok(Status::BufError | Status::StreamEnd) | Err(_) => return None,
            }
        }
    }
}

thread_local! {
    /// The compressor of the last message of this thread that stood for itself.
    static SPARE: RefCell<Option<Deflater>> = const { RefCell::new(None) };
}

/// [`Deflater::frame`] for a message that refers to none before it.
pub(crate) fn deflate_alone(strength: Strength, opcode: OpCode, message: &[u8]) -> Option<Bytes> {
    // A thread that is ending has no spare one.
    let spare = SPARE.try_with(RefCell::take).unwrap_or_default();
    let spare = spare.filter(|deflater| deflater.strength == strength);
    let mut deflater = spare.unwrap_or_else(|| Deflater::new(strength));
    let frame = deflater.frame(opcode, message)?;
    deflater.reset();
    let _ = SPARE.try_with(|spare| spare.replace(Some(deflater)));
    Some(frame)
}
