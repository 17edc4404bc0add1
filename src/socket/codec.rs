//! One place where packets become frames, and messages packets.

use std::{any::TypeId, fmt, sync::Arc};

use smallvec::smallvec;
use tracing::error;

use crate::{
    engine::{
        Message,
        frame::{Frame, FrameBuffer},
        outbox::Frames,
        unharmed::{Panicked, unharmed},
    },
    metrics::Metrics,
    packet::{
        Decode, DecodeError, Decoder, DefaultParser, EncodeError, MsgpackParser, Outgoing, Packet,
        Parser, ParserLimits,
    },
};

/// Room for what stands before the varying part of a packet: types, numbers and their separators.
const HEAD: usize = 48;

/// The parser that a server speaks; all its namespaces share it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Codec {
    #[default]
    Default,
    Msgpack,
    Own(Arc<Own>),
}

/// A parser of the application.
#[derive(Debug)]
pub(crate) struct Own {
    parser: Box<dyn Parser>,
    metrics: Arc<Metrics>,
}

impl Codec {
    /// The codec of a parser. Those of the crate need no dynamic calls, and write into the buffer
    /// of a frame at once.
    pub(crate) fn new<P: Parser>(parser: P) -> Self {
        let kind = TypeId::of::<P>();
        if kind == TypeId::of::<DefaultParser>() {
            Self::Default
        } else if kind == TypeId::of::<MsgpackParser>() {
            Self::Msgpack
        } else {
            Self::Own(Arc::new(Own { parser: Box::new(parser), metrics: Arc::default() }))
        }
    }

    /// Counts from now on what cannot be written.
    pub(crate) fn count_in(&mut self, metrics: &Arc<Metrics>) {
        if let Self::Own(own) = self
            && let Some(own) = Arc::get_mut(own)
        {
            own.metrics = Arc::clone(metrics);
        }
    }

    /// A packet as ready frames, its attachments behind it. One that cannot be written is logged
    /// and counted, and has no frames.
    pub(crate) fn frames(&self, packet: &Outgoing<'_>, compress: bool) -> Frames {
        self.try_frames(packet, compress).unwrap_or_default()
    }

    /// The same for those who can tell somebody why there is nothing.
    pub(crate) fn try_frames(
        &self,
        packet: &Outgoing<'_>,
        compress: bool,
    ) -> Result<Frames, EncodeError> {
        match self {
            Self::Default => Ok(text(packet, compress)),
            Self::Msgpack => {
                let mut buffer = FrameBuffer::with_capacity(MsgpackParser::size_hint(packet));
                MsgpackParser::write(packet, buffer.out());
                Ok(smallvec![buffer.finish_binary().with_compression(compress)])
            }
            Self::Own(own) => own.frames(packet, compress),
        }
    }

    /// Reads what one client sends.
    pub(crate) fn reader(&self, limits: ParserLimits) -> Reader {
        let ParserLimits { max_attachments, max_depth, .. } = limits;
        match self {
            Self::Default => {
                Reader::Default(Decoder::new(max_attachments).with_max_depth(max_depth))
            }
            Self::Msgpack => Reader::Msgpack { max_depth },
            Self::Own(own) => Reader::Own(own.parser.decoder(limits), Arc::clone(own)),
        }
    }
}

/// The default parser.
fn text(packet: &Outgoing<'_>, compress: bool) -> Frames {
    let mut buffer = FrameBuffer::with_capacity(HEAD + packet.size_hint());
    buffer.out().push(b'4');
    packet.write(buffer.out());
    let mut frames: Frames = smallvec![buffer.finish().with_compression(compress)];
    let attachments = packet.attachments().iter();
    frames.extend(attachments.map(|data| Frame::binary_message(data).with_compression(compress)));
    frames
}

impl Own {
    fn frames(&self, packet: &Outgoing<'_>, compress: bool) -> Result<Frames, EncodeError> {
        // Namespaces write their broadcasts themselves: they must not end with a parser.
        let encoded = unharmed(|| self.parser.encode(packet));
        let messages = encoded.unwrap_or_else(|Panicked(reason)| {
            self.metrics.panics.increment();
            Err(EncodeError::Parser(format!("it panicked: {reason}")))
        });
        let messages = messages.inspect_err(|error| {
            self.metrics.packets_not_encoded.increment();
            error!(%error, parser = ?self.parser, "packet not sent");
        })?;
        let frames = messages.into_iter().map(|message| match message {
            Message::Text(text) => Frame::text_message(&text).with_compression(compress),
            Message::Binary(data) => Frame::binary_message(&data).with_compression(compress),
        });
        Ok(frames.collect())
    }
}

/// Makes packets of what one client sends.
pub(crate) enum Reader {
    Default(Decoder),
    Msgpack { max_depth: usize },
    Own(Box<dyn Decode>, Arc<Own>),
}

impl Reader {
    /// Takes a message. Answers a packet, or `None` when it has not come completely.
    pub(crate) fn take(&mut self, message: Message) -> Result<Option<Packet>, DecodeError> {
        match self {
            Self::Default(decoder) => decoder.decode(message),
            Self::Msgpack { max_depth } => MsgpackParser::read(&message, *max_depth).map(Some),
            Self::Own(decoder, own) => {
                let decoded = unharmed(|| decoder.decode(message));
                decoded.unwrap_or_else(|Panicked(reason)| {
                    own.metrics.panics.increment();
                    error!(parser = ?own.parser, reason, "parser panicked");
                    Err(DecodeError::Parser("the parser panicked".into()))
                })
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(decoder) => decoder.fmt(f),
            Self::Msgpack { .. } => f.write_str("Msgpack"),
            Self::Own(_, own) => own.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_parser_pays_nothing_for_the_others() {
        assert!(size_of::<Reader>() <= 4 * size_of::<usize>());
        assert!(size_of::<Codec>() <= 2 * size_of::<usize>());
    }
}
