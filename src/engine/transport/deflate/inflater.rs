//! Messages of a client, inflated as they come and never beyond the limit.

use std::{cell::RefCell, fmt};

use zlib_rs::{Inflate, InflateFlush};

use super::{InflateError, TAIL};

/// Every decompressor has the largest window: a smaller one would take no less memory.
const WINDOW_BITS: u8 = 15;

/// Output that is made room for at once: as much as so little input mostly inflates to, twice as much
/// whenever that was not enough. How much has come out before does not count, for the room is filled
/// with zeros first: a message would cost the square of its length.
pub(super) const LEAST_ROOM: usize = 256;
const MOST_ROOM: usize = 16 * 1024;

thread_local! {
    /// The decompressor of the last message of this thread that stood for itself.
    static SPARE: RefCell<Option<Inflate>> = const { RefCell::new(None) };
}

/// The inflating side of one connection.
pub(crate) struct Inflater {
    /// Whether messages refer to those before.
    takeover: bool,
    /// With takeover from the first message on, else while a message is being read.
    stream: Option<Inflate>,
    /// The message has said that it ends; what follows in it is ignored, as `ws` does.
    ended: bool,
    #[cfg(test)]
    pub(super) work: Work,
}

/// What inflating has cost so far.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Work {
    /// Times that the decompressor was called.
    pub(super) calls: usize,
    /// Bytes that were filled with zeros for it.
    pub(super) zeroed: usize,
}

#[cfg(test)]
impl Work {
    fn add(&mut self, room: usize) {
        self.calls += 1;
        self.zeroed += room;
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("takeover", &self.takeover).finish_non_exhaustive()
    }
}

impl Inflater {
    pub(crate) fn new(takeover: bool) -> Self {
        Self {
            takeover,
            stream: None,
            ended: false,
            #[cfg(test)]
            work: Work::default(),
        }
    }

    /// Appends what the next part of a message inflates to. `out` never holds more than one byte
    /// above `max`, nor has room for more.
    ///
    /// # Errors
    /// The stream is of no use afterwards.
    pub(crate) fn push(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), InflateError> {
        let stream = self.stream.get_or_insert_with(|| {
            let spare = if self.takeover { None } else { spare() };
            spare.unwrap_or_else(|| Inflate::new(false, WINDOW_BITS))
        });
        // One byte above the limit tells a message that is too big from one that just fits.
        let limit = max.saturating_add(1);
        let mut wish = input.len().saturating_mul(2).clamp(LEAST_ROOM, MOST_ROOM);
        while !self.ended {
            let start = out.len();
            let room = wish.min(limit.saturating_sub(start));
            reserve(out, room, limit);
            let (read, wrote) = (stream.total_in(), stream.total_out());
            out.resize(start + room, 0);
            #[cfg(test)]
            self.work.add(room);
            let result = stream.decompress(input, &mut out[start..], InflateFlush::SyncFlush);
            // Both differences are bounded by the slices.
            let read = (stream.total_in() - read) as usize;
            let wrote = (stream.total_out() - wrote) as usize;
            out.truncate(start + wrote);
            input = &input[read..];
            let status = result.map_err(|_| InflateError::Invalid)?;
            if out.len() > max {
                return Err(InflateError::TooBig);
            }
            self.ended = status == zlib_rs::Status::StreamEnd;
            if wrote < room {
                break;
            }
            wish = (2 * wish).min(MOST_ROOM);
        }
        Ok(())
    }

    /// The message is complete: appends what was held back for its end.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, max: usize) -> Result<(), InflateError> {
        self.push(&TAIL, out, max)?;
        let ended = std::mem::take(&mut self.ended);
        if ended && self.takeover {
            // A new stream, as in `ws`: what comes next cannot refer to before the end.
            self.stream = None;
        }
        if !self.takeover
            && let Some(mut stream) = self.stream.take()
        {
            stream.reset(false);
            // A thread that is ending keeps no spare one.
            let _ = SPARE.try_with(|spare| spare.replace(Some(stream)));
        }
        Ok(())
    }
}

/// Makes room for that many bytes more, at most up to the limit. What is there is moved only when it
/// has doubled, or for the last time.
fn reserve(out: &mut Vec<u8>, room: usize, limit: usize) {
    let needed = out.len() + room;
    if needed > out.capacity() {
        let capacity = out.capacity().saturating_mul(2).min(limit).max(needed);
        out.reserve_exact(capacity - out.len());
    }
}

fn spare() -> Option<Inflate> {
    SPARE.try_with(RefCell::take).unwrap_or_default()
}
