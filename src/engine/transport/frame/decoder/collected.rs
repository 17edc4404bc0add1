//! What has come of an unfinished message.

use super::{FrameError, FrameHead, OpCode, unmask_onto};

/// Bytes reserved on the word of a header before they come.
pub(super) const RESERVE_AHEAD: usize = 16 * 1024;

/// The data frames of an unfinished message.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) opcode: OpCode,
    /// Inflated already, if the message is `compressed`.
    pub(super) bytes: Vec<u8>,
    pub(super) compressed: bool,
    /// Bytes of payload that have come.
    pub(super) received: usize,
    /// How far `bytes` is known to be UTF-8.
    checked: usize,
    /// Frames that are complete.
    pub(super) fragments: usize,
}

impl Collected {
    pub(super) fn new(first: &FrameHead) -> Self {
        let FrameHead { opcode, compressed, .. } = *first;
        Self { opcode, bytes: Vec::new(), compressed, received: 0, checked: 0, fragments: 0 }
    }

    /// Adds a part of `frame`. The buffer grows with what has come, never to what was announced.
    pub(super) fn append(&mut self, part: &[u8], frame: &FrameHead) {
        let only = frame.fin && self.fragments == 0;
        if only && self.bytes.capacity() - self.bytes.len() < part.len() {
            // The end is known, so the last growth is exact; before it the buffer doubles.
            let ahead = part.len() + RESERVE_AHEAD.max(self.bytes.len());
            self.bytes.reserve_exact(ahead.min(frame.remaining));
        }
        unmask_onto(&mut self.bytes, part, frame.mask);
    }

    /// Fails as soon as an invalid sequence is certain in a text (RFC 6455 §8.1); one that more bytes
    /// may complete waits, and is looked at again from its first byte.
    pub(super) fn check(&mut self) -> Result<(), FrameError> {
        if self.opcode != OpCode::Text {
            return Ok(());
        }
        self.checked += match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(FrameError::InvalidUtf8),
        };
        Ok(())
    }
}
