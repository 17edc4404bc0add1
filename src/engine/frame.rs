//! A packet made ready once for every transport, shared by all who receive it.

use bytes::Bytes;

use super::{
    payload,
    transport::frame::{MAX_HEADER, OpCode, header},
};

/// One Engine.IO packet as the bytes of a WebSocket frame; a polling body takes the part behind
/// the frame's header. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    bytes: Bytes,
    header: u8,
    binary: bool,
    compress: bool,
}

/// A buffer that leaves room for the frame's header, to be filled with one packet.
#[derive(Debug)]
pub(crate) struct FrameBuffer(Vec<u8>);

impl FrameBuffer {
    /// An empty packet with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(MAX_HEADER + capacity);
        bytes.resize(MAX_HEADER, 0);
        Self(bytes)
    }

    /// Where the packet's bytes go; nothing before the present end may be touched.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// A text packet, its Engine.IO type included.
    pub(crate) fn finish(self) -> Frame {
        Frame::build(self.0, OpCode::Text)
    }

    /// A message packet with binary data.
    pub(crate) fn finish_binary(self) -> Frame {
        Frame::build(self.0, OpCode::Binary)
    }
}

impl Frame {
    fn build(mut bytes: Vec<u8>, opcode: OpCode) -> Self {
        let (head, length) = header(opcode, true, bytes.len() - MAX_HEADER);
        let start = MAX_HEADER - length;
        bytes[start..MAX_HEADER].copy_from_slice(&head[..length]);
        Self {
            bytes: Bytes::from(bytes).slice(start..),
            header: length as u8,
            binary: matches!(opcode, OpCode::Binary),
            compress: true,
        }
    }

    /// A text packet given whole, its Engine.IO type included.
    pub(crate) fn text_packet(packet: &str) -> Self {
        let mut buffer = FrameBuffer::with_capacity(packet.len());
        buffer.out().extend_from_slice(packet.as_bytes());
        buffer.finish()
    }

    /// A message packet with text.
    pub(crate) fn text_message(text: &str) -> Self {
        let mut buffer = FrameBuffer::with_capacity(1 + text.len());
        buffer.out().push(b'4');
        buffer.out().extend_from_slice(text.as_bytes());
        buffer.finish()
    }

    /// A message packet with binary data.
    pub(crate) fn binary_message(data: &[u8]) -> Self {
        let mut buffer = FrameBuffer::with_capacity(data.len());
        buffer.out().extend_from_slice(data);
        buffer.finish_binary()
    }

    /// Says whether a transport that compresses may compress this packet.
    pub(crate) fn with_compression(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole WebSocket frame.
    pub(crate) fn websocket(self) -> Bytes {
        self.bytes
    }

    /// The packet without the frame's header: text with its type, or raw binary data.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.bytes[self.header as usize..]
    }

    /// Appends the packet to a polling body.
    pub(crate) fn append_to(&self, body: &mut Vec<u8>) {
        if self.binary {
            payload::push_binary(body, self.packet());
        } else {
            payload::push_text(body, self.packet());
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn is_binary(&self) -> bool {
        self.binary
    }
}
