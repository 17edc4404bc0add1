//! The options of the extension, with the defaults of `ws`, the reference's WebSocket library.

use std::ops::RangeInclusive;

use super::Strength;

/// Window sizes that the extension knows, as powers of two (RFC 7692 §7.1.2).
const WINDOW_BITS: RangeInclusive<u8> = 8..=15;

/// What a server has to say about the size of a window: the distance, as a power of two, over which
/// one direction may refer to what was sent before.
///
/// ```
/// use greenroom::{PerMessageDeflate, SocketIo, WindowBits};
///
/// // 4 KiB for each client, instead of 32.
/// let options = PerMessageDeflate::new().server_max_window_bits(WindowBits::Max(12));
/// SocketIo::builder().per_message_deflate(options);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowBits {
    /// As the client asks, else 32 KiB.
    #[default]
    AsOffered,
    /// The client may not ask. An offer that limits the *server's* window is refused; a limit that a
    /// client offers for its own is not taken up.
    Unlimited,
    /// At most two to the power of this many bytes, 8 to 15. A client that does not offer what this
    /// needs is refused, see [`PerMessageDeflate`].
    Max(u8),
}

/// Compression of WebSocket messages: the extension permessage-deflate (RFC 7692).
///
/// Off unless it is given to [`SocketIoBuilder::per_message_deflate`] or [`Config`]. Negotiated as `ws`
/// does it, the WebSocket library of the Node.js reference: the first of a client's offers that fits
/// these options is accepted, a client that offers nothing is served uncompressed, and a client whose
/// offers are malformed or none of which fits is refused with status 400.
///
/// With *context takeover*, the default of both directions, each connection keeps a compressor
/// (up to 375 KiB) from its first compressed message on and a decompressor (42 KiB) from the first
/// one of the client on. Without it connections keep nothing, and a broadcast is
/// compressed once for all of its receivers: [`server_no_context_takeover(true)`] together with
/// [`client_no_context_takeover(true)`] suits a server with many clients. `docs/protocol.md` has the
/// figures.
///
/// ```
/// use greenroom::{SocketIo, engine::PerMessageDeflate};
/// let builder = SocketIo::builder().per_message_deflate(
///     PerMessageDeflate::new().server_no_context_takeover(true).client_no_context_takeover(true),
/// );
/// ```
///
/// [`SocketIoBuilder::per_message_deflate`]: crate::SocketIoBuilder::per_message_deflate
/// [`Config`]: crate::engine::Config
/// [`server_no_context_takeover(true)`]: Self::server_no_context_takeover
/// [`client_no_context_takeover(true)`]: Self::client_no_context_takeover
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct PerMessageDeflate {
    pub(super) server_no_context_takeover: Option<bool>,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: WindowBits,
    pub(super) client_max_window_bits: WindowBits,
    threshold: usize,
    level: u8,
    memory_level: u8,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self {
            server_no_context_takeover: None,
            client_no_context_takeover: false,
            server_max_window_bits: WindowBits::AsOffered,
            client_max_window_bits: WindowBits::AsOffered,
            threshold: 1024,
            level: 6,
            memory_level: 8,
        }
    }
}

impl PerMessageDeflate {
    /// The defaults of `ws`.
    pub fn new() -> Self {
        Self::default()
    }

    /// `true`: every message of the server stands for itself. `false`: an offer that asks for that is
    /// refused. Default: as the client asks.
    pub fn server_no_context_takeover(mut self, without: bool) -> Self {
        self.server_no_context_takeover = Some(without);
        self
    }

    /// `true`: every message of the client stands for itself. Default `false`: as the client offers.
    pub fn client_no_context_takeover(mut self, without: bool) -> Self {
        self.client_no_context_takeover = without;
        self
    }

    /// The window of what the server sends. Default [`WindowBits::AsOffered`]. With
    /// [`WindowBits::Max`] an offer that asks for a smaller one is refused.
    ///
    /// # Panics
    /// If a maximum is not between 8 and 15.
    #[track_caller]
    pub fn server_max_window_bits(mut self, bits: WindowBits) -> Self {
        self.server_max_window_bits = bits.checked();
        self
    }

    /// The window of what clients send. Default [`WindowBits::AsOffered`]. With [`WindowBits::Max`] an
    /// offer is refused that does not let the server choose, or that limits it to less.
    ///
    /// # Panics
    /// If a maximum is not between 8 and 15.
    #[track_caller]
    pub fn client_max_window_bits(mut self, bits: WindowBits) -> Self {
        self.client_max_window_bits = bits.checked();
        self
    }

    /// Messages of fewer bytes are sent as they are. Default 1,024. (`ws` looks at the threshold only
    /// on connections without server context takeover, so that there every heartbeat makes a
    /// compressor; `threshold(0)` does the same.)
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// How hard to try, from 0 (not at all) and 1 (fast) to 9 (small). Default 6.
    ///
    /// # Panics
    /// Above 9.
    #[track_caller]
    pub fn level(mut self, level: u8) -> Self {
        assert!(level <= 9, "a compression level is 0 to 9, not {level}");
        self.level = level;
        self
    }

    /// How much memory a compressor takes besides its window, from 1 (least, and worse compression) to
    /// 9. Default 8.
    ///
    /// # Panics
    /// Unless it is 1 to 9.
    #[track_caller]
    pub fn memory_level(mut self, level: u8) -> Self {
        assert!((1..=9).contains(&level), "a memory level is 1 to 9, not {level}");
        self.memory_level = level;
        self
    }

    pub(crate) fn least(&self) -> usize {
        self.threshold
    }

    /// The smallest message that may be compressed once for several receivers; `None` if that never
    /// happens.
    pub(crate) fn shares_from(&self) -> Option<usize> {
        (self.server_no_context_takeover != Some(false)).then_some(self.threshold)
    }

    /// How a stream with this window compresses.
    pub(crate) fn strength(&self, window_bits: u8) -> Strength {
        Strength { window_bits, level: self.level, memory_level: self.memory_level }
    }
}

impl WindowBits {
    #[track_caller]
    fn checked(self) -> Self {
        if let Self::Max(bits) = self {
            assert!(WINDOW_BITS.contains(&bits), "window bits are 8 to 15, not {bits}");
        }
        self
    }
}
