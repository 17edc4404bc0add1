//! permessage-deflate (RFC 7692): what two ends agree on, and the streams of both directions. No I/O.
//!
//! A message travels as the DEFLATE blocks of its data, up to an empty stored block whose last four
//! bytes are left out ([`TAIL`]); its first frame has RSV1 set. With *context takeover* a message may
//! refer to what was sent before it, so both ends keep a window between messages; without, each message
//! stands for itself, and one stream serves all connections of a thread.

mod deflater;
mod inflater;
mod offers;
mod options;
mod terms;

pub use self::options::{PerMessageDeflate, WindowBits};
pub(crate) use self::{
    deflater::{Deflater, Strength, deflate_alone},
    inflater::Inflater,
    offers::Unacceptable,
    terms::{Terms, negotiate},
};

/// What ends every flushed stream and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What zlib says of bytes that are no DEFLATE data, or of a setting that it does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflateError {
    /// Not DEFLATE data.
    Invalid,
    /// More than the limit comes out.
    TooBig,
}

#[cfg(test)]
mod tests;
