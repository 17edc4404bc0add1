//! One place where packets become frames, and messages packets.

use smallvec::smallvec;

use crate::{
    engine::{
        frame::{Frame, FrameBuffer},
        outbox::Frames,
    },
    packet::{Decoder, Outgoing},
};

/// Room for what stands before the varying part of a packet.
const HEAD: usize = 24;

/// The parser that a server speaks; all its namespaces share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codec;

impl Codec {
    /// A packet as ready frames, its attachments behind it.
    pub(crate) fn frames(&self, packet: &Outgoing<'_>, compress: bool) -> Frames {
        let mut buffer = FrameBuffer::with_capacity(HEAD + packet.size_hint());
        buffer.out().push(b'4');
        packet.write(buffer.out());
        let mut frames: Frames = smallvec![buffer.finish().with_compression(compress)];
        let attachments = packet.attachments().iter();
        frames
            .extend(attachments.map(|data| Frame::binary_message(data).with_compression(compress)));
        frames
    }

    /// Reads what one client sends.
    pub(crate) fn decoder(&self, max_attachments: usize) -> Decoder {
        Decoder::new(max_attachments)
    }
}
