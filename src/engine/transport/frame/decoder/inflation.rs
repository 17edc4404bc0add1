//! Compressed messages of one client: inflated piece by piece, so that nothing compressed is kept,
//! nothing grows beyond the limit on messages, and no client keeps the others waiting.

use super::{FrameError, unmask};
use crate::engine::transport::deflate::Inflater;

/// Bytes that are inflated at once. DEFLATE makes at most 1,032 bytes of one, so this bounds a step.
pub(super) const PIECE: usize = 512;

/// Bytes that come out before others have their turn.
const TURN: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Inflation {
    inflater: Inflater,
    /// Bytes that came out in this turn.
    produced: usize,
}

impl Inflation {
    pub(super) fn new(takeover: bool) -> Self {
        Self { inflater: Inflater::new(takeover), produced: 0 }
    }

    /// Appends what a masked piece of the message, of at most [`PIECE`] bytes, inflates to.
    pub(super) fn append(
        &mut self,
        piece: &[u8],
        mask: [u8; 4],
        message: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), FrameError> {
        let mut plain = [0; PIECE];
        let plain = &mut plain[..piece.len()];
        plain.copy_from_slice(piece);
        unmask(plain, mask);
        let before = message.len();
        self.inflater.push(plain, message, max)?;
        self.produced += message.len() - before;
        Ok(())
    }

    /// Appends the end of a message.
    pub(super) fn finish(&mut self, message: &mut Vec<u8>, max: usize) -> Result<(), FrameError> {
        Ok(self.inflater.finish(message, max)?)
    }

    /// Whether the turn is over; if so, the next one begins.
    pub(super) fn is_spent(&mut self) -> bool {
        let spent = self.produced >= TURN;
        if spent {
            self.produced = 0;
        }
        spent
    }
}
