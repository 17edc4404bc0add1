//! A packet made ready once for every transport, shared by all who receive it.

mod shared;

use std::sync::Arc;

use bytes::{Buf, Bytes};

pub(crate) use self::shared::{Claim, Job, Shared, Underway};
use super::{
    packet::Message,
    payload,
    transport::frame::{MAX_HEADER, OpCode, header},
};

/// One Engine.IO packet as the bytes of a WebSocket frame; a polling body takes the part behind
/// the frame's header. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Compressed by each WebSocket for itself.
    Own(Ready),
    /// For many receivers: what is made of it for one of them is kept for the others.
    Shared(Arc<Shared>),
}

#[derive(Clone, Debug)]
pub(crate) struct Ready {
    bytes: Bytes,
    header: u8,
    binary: bool,
    compress: bool,
    mark: Mark,
}

/// What may become of a packet when too much waits for its receiver. It is said in the frame, so
/// that outboxes keep no books as long as everything fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is never dropped.
    #[default]
    Keep,
    /// Dropped before those that came after it.
    DropOldest,
    /// Dropped before those that came before it.
    DropNewest,
    /// Dropped when another one of the same key has come.
    KeepLatest,
    /// Shares the fate of the marked frame before it: an attachment.
    Part,
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
        let mut bytes = Bytes::from(bytes);
        bytes.advance(start);
        Self::Own(Ready {
            bytes,
            header: length as u8,
            binary: matches!(opcode, OpCode::Binary),
            compress: true,
            mark: Mark::Keep,
        })
    }

    /// Says what may become of this packet. To be said before it is [shared](Self::share).
    pub(crate) fn with_mark(mut self, mark: Mark) -> Self {
        if let Self::Own(ready) = &mut self {
            ready.mark = mark;
        }
        self
    }

    /// Says that another packet of the same key may stand for this one.
    pub(crate) fn with_key(self, key: &str) -> Self {
        match self.with_mark(Mark::KeepLatest) {
            Self::Own(ready) => Self::Shared(Arc::new(Shared::keyed(ready, key))),
            shared => shared,
        }
    }

    /// The same packet, which is never dropped and which nobody shares.
    pub(crate) fn unmarked(&self) -> Self {
        Self::Own(Ready { mark: Mark::Keep, ..self.ready().clone() })
    }

    pub(crate) fn mark(&self) -> Mark {
        self.ready().mark
    }

    /// Of which packets this one may be the latest.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => shared.key(),
        }
    }

    fn ready(&self) -> &Ready {
        match self {
            Self::Own(ready) => ready,
            Self::Shared(shared) => shared.ready(),
        }
    }

    /// A text packet given whole, its Engine.IO type included.
    pub(crate) fn text_packet(packet: &str) -> Self {
        let mut buffer = FrameBuffer::with_capacity(packet.len());
        buffer.out().extend_from_slice(packet.as_bytes());
        // A close and a no-op are the transport's own: the reference does not compress them.
        buffer.finish().with_compression(!matches!(packet, "1" | "6"))
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

    /// Says whether a transport that compresses may compress this packet. To be said before it is
    /// [shared](Self::share).
    pub(crate) fn with_compression(mut self, compress: bool) -> Self {
        if let Self::Own(ready) = &mut self {
            ready.compress = compress;
        }
        self
    }

    /// Whether a transport that compresses may compress this packet.
    pub(crate) fn compress(&self) -> bool {
        self.ready().compress
    }

    /// Lets all who get a clone of this frame use what one of them has compressed.
    pub(crate) fn share(self) -> Self {
        match self {
            Self::Own(ready) => Self::Shared(Arc::new(Shared::new(ready))),
            shared => shared,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ready().bytes.len()
    }

    /// What the layer above sends.
    pub(crate) fn message(message: &Message) -> Self {
        match message {
            Message::Binary(data) => Self::binary_message(data),
            Message::Text(text) => {
                let mut buffer = FrameBuffer::with_capacity(1 + text.len());
                buffer.out().push(b'4');
                buffer.out().extend_from_slice(text.as_bytes());
                buffer.finish()
            }
        }
    }

    /// The whole WebSocket frame.
    pub(crate) fn websocket(self) -> Bytes {
        match self {
            Self::Own(ready) => ready.bytes,
            Self::Shared(shared) => shared.ready().bytes.clone(),
        }
    }

    /// The frame as a WebSocket of revision 3 carries it: with the type before binary data, or with
    /// `base64` as text.
    pub(crate) fn into_revision3(self, base64: bool) -> Self {
        if !self.is_binary() {
            return self;
        }
        let mut buffer = FrameBuffer::with_capacity(1 + self.len());
        let frame = if base64 {
            buffer.out().extend_from_slice(&payload::revision3::base64_message(self.packet()));
            buffer.finish()
        } else {
            buffer.out().push(4);
            buffer.out().extend_from_slice(self.packet());
            Self::build(buffer.0, OpCode::Binary)
        };
        frame.with_compression(self.compress())
    }

    /// The packet without the frame's header: text with its type, or raw binary data.
    pub(crate) fn packet(&self) -> &[u8] {
        let ready = self.ready();
        &ready.bytes[ready.header as usize..]
    }

    /// The opcode of the frame.
    pub(crate) fn opcode(&self) -> OpCode {
        if self.ready().binary { OpCode::Binary } else { OpCode::Text }
    }

    /// Whether it is a binary message.
    pub(crate) fn is_binary(&self) -> bool {
        self.ready().binary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_sends_may_be_compressed_unless_it_says_no() {
        let packets =
            [Frame::text_packet("4a"), Frame::text_packet("2"), Frame::binary_message(b"6")];
        for packet in packets {
            assert!(packet.compress(), "{packet:?}");
            assert!(!packet.with_compression(false).compress());
        }
        // A body of nothing else is sent as it is.
        for own in ["1", "6"] {
            assert!(!Frame::text_packet(own).compress(), "{own}");
        }
    }

    #[test]
    fn a_message_is_framed_as_its_kind() {
        let text = Frame::message(&Message::Text("hé".into()));
        assert_eq!((text.packet(), text.is_binary()), ("4hé".as_bytes(), false));
        let binary = Frame::message(&Message::Binary(vec![1, 2].into()));
        assert_eq!((binary.packet(), binary.is_binary()), (&[1, 2][..], true));
    }
}
