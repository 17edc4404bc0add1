//! Doors to private layers, for this repository's own benchmarks. Not public: it is there only with
//! the feature `internals`, and changes without notice.

use bytes::Bytes;

use crate::engine::{
    frame::Frame,
    transport::frame::{Decoder, Message},
};

pub use crate::room::internals::RoomTable;

/// Reads WebSocket frames of one client.
#[derive(Debug)]
pub struct FrameReader(Decoder);

impl FrameReader {
    /// Refuses messages of more than `max_message` bytes.
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        Self(Decoder::new(max_message))
    }

    /// Hands the payload of every data message that `chunk` completes to `out`; `None` when it
    /// cannot be the beginning of anything valid.
    pub fn feed(&mut self, chunk: &[u8], mut out: impl FnMut(Bytes)) -> Option<usize> {
        let mut hand_out = |message| match message {
            Message::Text(text) => out(text.into_bytes()),
            Message::Binary(data) => out(data),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        };
        self.0.feed(chunk, &mut hand_out).ok()
    }
}

/// The WebSocket frame of a message with text.
#[must_use]
pub fn text_frame(text: &str) -> Bytes {
    Frame::text_message(text).websocket()
}

/// The WebSocket frame of a message with binary data.
#[must_use]
pub fn binary_frame(data: &[u8]) -> Bytes {
    Frame::binary_message(data).websocket()
}
