//! Parsers: how packets become messages of the engine, and messages packets.

use std::fmt;

use super::{DecodeError, Decoder, EncodeError, Outgoing, Packet};
use crate::engine::Message;

/// Bounds of what one client may send, for a [`Parser`] to keep.
///
/// Bytes and time are bounded before: `max_http_buffer_size`, `max_packet_bytes` and
/// `attachment_timeout` of the server.
///
/// ```
/// use greenroom::packet::{DecodeError, DefaultParser, Parser, ParserLimits};
///
/// let mut decoder = DefaultParser.decoder(ParserLimits::default().with_max_depth(2));
/// let deep = greenroom::engine::Message::Text(r#"2["deep",[[[]]]]"#.into());
/// assert_eq!(decoder.decode(deep), Err(DecodeError::TooDeep));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParserLimits {
    /// Attachments that one packet may have. Default 10. It does not concern parsers that write
    /// binary in place.
    pub max_attachments: usize,
    /// Levels that an argument, or other data of a packet, may nest. Default 2,048. With msgpack no
    /// more are possible.
    pub max_depth: usize,
}

impl Default for ParserLimits {
    fn default() -> Self {
        Self { max_attachments: 10, max_depth: 2_048 }
    }
}

impl ParserLimits {
    /// Bounds that allow so many attachments.
    #[must_use]
    pub fn with_max_attachments(max_attachments: usize) -> Self {
        Self { max_attachments, ..Self::default() }
    }

    /// The same bounds with so many levels.
    #[must_use]
    pub fn with_max_depth(mut self, max_depth: usize) -> Self {
        self.max_depth = max_depth;
        self
    }
}

/// What a server and its clients write packets in. Both sides must use the same; the server gets
/// its own by [`SocketIoBuilder::parser`](crate::SocketIoBuilder::parser).
///
/// There are [`DefaultParser`] and [`MsgpackParser`](super::MsgpackParser). To write one of your
/// own, read a packet's parts from [`Outgoing`] (data is JSON text and attachments there), and
/// make a [`Packet`] of what comes.
///
/// A parser runs on every thread of the server, also in the actors of namespaces: it has to be
/// quick and must not block. A panic in it costs the packet (`encode`) or the connection
/// (`decode`), no more.
///
/// ```
/// use greenroom::{
///     SocketIo,
///     engine::Message,
///     packet::{
///         Decode, DecodeError, DefaultParser, EncodeError, Outgoing, Packet, Parser, ParserLimits,
///     },
/// };
///
/// /// The default parser, with every text reversed: an example of what may be done to messages.
/// #[derive(Debug)]
/// struct Reversed;
///
/// struct Reader(Box<dyn Decode>);
///
/// fn reverse(message: Message) -> Message {
///     match message {
///         Message::Text(text) => Message::Text(text.chars().rev().collect::<String>().into()),
///         binary => binary,
///     }
/// }
///
/// impl Parser for Reversed {
///     fn decoder(&self, limits: ParserLimits) -> Box<dyn Decode> {
///         Box::new(Reader(DefaultParser.decoder(limits)))
///     }
///
///     fn encode(&self, packet: &Outgoing<'_>) -> Result<Vec<Message>, EncodeError> {
///         Ok(DefaultParser.encode(packet)?.into_iter().map(reverse).collect())
///     }
/// }
///
/// impl Decode for Reader {
///     fn decode(&mut self, message: Message) -> Result<Option<Packet>, DecodeError> {
///         self.0.decode(reverse(message))
///     }
/// }
///
/// let builder = SocketIo::builder().parser(Reversed);
/// # let sent = Reversed.encode(&Outgoing::Disconnect { namespace: "/chat" }).unwrap();
/// # assert_eq!(sent, [Message::Text(",tahc/1".into())]);
/// # let mut reader = Reversed.decoder(ParserLimits::default());
/// # assert_eq!(
/// #     reader.decode(sent[0].clone()),
/// #     Ok(Some(Packet::Disconnect { namespace: "/chat".into() }))
/// # );
/// ```
pub trait Parser: fmt::Debug + Send + Sync + 'static {
    /// What reads the messages of one connection, from its first to its last.
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decode>;

    /// The messages of a packet, in order; nothing comes between them on the way. Of a broadcast it
    /// is called once, however many receive it.
    ///
    /// # Errors
    /// When the packet cannot be written: [`EncodeError::Parser`] says why. Only that packet is
    /// lost. Who emits to one socket gets the error; a broadcast, an ack or a packet of the server
    /// itself is logged and counted in `packets_not_encoded`.
    fn encode(&self, packet: &Outgoing<'_>) -> Result<Vec<Message>, EncodeError>;
}

/// Makes packets of the messages of one connection.
///
/// [`Parser`] shows one.
pub trait Decode: Send {
    /// Takes the next message. Answers a packet, or `None` when more messages belong to it.
    ///
    /// # Errors
    /// When the message is no packet or part of one; [`DecodeError::Parser`] is there for reasons
    /// of one's own. The connection is closed then, and the decoder not called again.
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, DecodeError>;
}

/// The parser that servers and clients use unless they are told otherwise: JSON text, and binary
/// as attachments behind it.
///
/// ```
/// use greenroom::{engine::Message, packet::{DefaultParser, Outgoing, Parser}};
///
/// let left = DefaultParser.encode(&Outgoing::Disconnect { namespace: "/chat" });
/// assert_eq!(left, Ok(vec![Message::Text("1/chat,".into())]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultParser;

impl Parser for DefaultParser {
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decode> {
        Box::new(Decoder::new(limits.max_attachments).with_max_depth(limits.max_depth))
    }

    fn encode(&self, packet: &Outgoing<'_>) -> Result<Vec<Message>, EncodeError> {
        let mut text = Vec::with_capacity(packet.size_hint());
        packet.write(&mut text);
        let text =
            String::from_utf8(text).map_err(|error| EncodeError::Parser(error.to_string()))?;
        let attachments = packet.attachments().iter().cloned().map(Message::Binary);
        Ok(std::iter::once(Message::Text(text.into())).chain(attachments).collect())
    }
}

impl Decode for Decoder {
    fn decode(&mut self, message: Message) -> Result<Option<Packet>, DecodeError> {
        match message {
            Message::Text(text) => self.text(text),
            Message::Binary(data) => self.binary(data),
        }
    }
}
