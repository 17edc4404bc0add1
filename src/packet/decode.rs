//! What a client sent: text and binary messages to packets.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Args, Event, Packet, Payload, is_reserved, number, scan};

/// Why a message is no packet, in the words of the reference where it has some. The connection has
/// to be closed: what comes after cannot be trusted to be in step.
///
/// A parser that knows text alone refuses the rest, and its client:
///
/// ```
/// use greenroom::{engine::Message, packet::DecodeError};
///
/// fn text_of(message: Message) -> Result<String, DecodeError> {
///     match message {
///         Message::Text(text) if text.is_empty() => Err(DecodeError::Empty),
///         Message::Text(text) => Ok(text.to_string()),
///         Message::Binary(_) => Err(DecodeError::Parser("text only, please".into())),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message is empty. (The reference reads it as CONNECT, because `Number("")` is 0.)
    #[error("empty packet")]
    Empty,
    /// The first character is no packet type. (The text is that of the reference, to which what is
    /// no digit is not a number.)
    #[error("unknown packet type {}", .0.to_digit(10).map_or_else(|| "NaN".to_owned(), |digit| digit.to_string()))]
    UnknownType(char),
    /// The number of attachments is no number, or does not end in `-`.
    #[error("Illegal attachments")]
    IllegalCount,
    /// More attachments are announced than are allowed.
    #[error("too many attachments")]
    TooManyAttachments,
    /// The ack id is beyond 64 bits, or (msgpack) no whole number from zero up.
    #[error("invalid packet id")]
    InvalidId,
    /// The JSON is broken, or not what this type of packet carries.
    #[error("invalid payload")]
    InvalidPayload,
    /// A placeholder names no attachment, or one that another placeholder names.
    #[error("illegal attachments")]
    IllegalAttachments,
    /// Text came where an attachment was due.
    #[error("got plaintext data when reconstructing a packet")]
    TextWhileWaiting,
    /// Binary came where no attachment was due.
    #[error("got binary data when not reconstructing a packet")]
    UnexpectedBinary,
    /// The msgpack is broken.
    #[error("Could not parse")]
    Unreadable,
    /// So many bytes stand behind the msgpack of the packet.
    #[error("{0} trailing bytes")]
    TrailingBytes(usize),
    /// What the msgpack says is no packet of a known type.
    #[error("invalid packet type")]
    InvalidType,
    /// The namespace is no text.
    #[error("invalid namespace")]
    InvalidNamespace,
    /// The data nests deeper than is allowed.
    #[error("nested too deeply")]
    TooDeep,
    /// A reason of a [`Parser`](super::Parser) of one's own.
    #[error("{0}")]
    Parser(String),
}

/// Makes packets of the messages of one connection.
///
/// It bounds the number of attachments of a packet, and how deep it nests. The size of attachments,
/// and the time until the last one has come, are for the owner to bound:
/// [`is_waiting`](Self::is_waiting) says when that clock runs.
/// After an error it is of no more use.
///
/// ```
/// use greenroom::packet::{Decoder, Packet};
///
/// # fn main() -> Result<(), greenroom::packet::DecodeError> {
/// let mut decoder = Decoder::new(10);
/// let text = r#"51-["photo","me.png",{"_placeholder":true,"num":0}]"#;
/// assert_eq!(decoder.text(text.into())?, None);               // its attachment is still to come
/// let packet = decoder.binary("PNG".into())?;
/// assert!(matches!(packet, Some(Packet::Event { event, .. }) if event.args.len() == 2));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Decoder {
    max_attachments: u32,
    max_depth: u32,
    /// Rare and large, and every connection has a decoder.
    waiting: Option<Box<Waiting>>,
}

/// A packet whose attachments are on their way.
#[derive(Debug)]
struct Waiting {
    header: Header,
    args: Body,
    attachments: Vec<Bytes>,
}

/// What stands before the JSON.
#[derive(Debug)]
struct Header {
    attachments: usize,
    namespace: ByteString,
    id: Option<u64>,
}

/// What is in the JSON of an event or an ack.
#[derive(Debug)]
enum Body {
    Event(Event),
    Ack(Args),
}

impl Decoder {
    /// A decoder that refuses packets of more than `max_attachments` attachments. The reference
    /// allows 10.
    #[must_use]
    pub fn new(max_attachments: usize) -> Self {
        let max_attachments = u32::try_from(max_attachments).unwrap_or(u32::MAX);
        Self { max_attachments, max_depth: u32::MAX, waiting: None }
    }

    /// Refuses packets whose arguments nest deeper than so many levels. Default: any depth.
    #[must_use]
    pub fn with_max_depth(mut self, max_depth: usize) -> Self {
        self.max_depth = u32::try_from(max_depth).unwrap_or(u32::MAX);
        self
    }

    /// Whether attachments are outstanding.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Takes a text message. Answers a packet, or `None` when its attachments have still to come.
    ///
    /// # Errors
    /// When the message is no packet, or an attachment was due.
    pub fn text(&mut self, text: ByteString) -> Result<Option<Packet>, DecodeError> {
        if self.is_waiting() {
            return Err(DecodeError::TextWhileWaiting);
        }
        let kind = text.chars().next().ok_or(DecodeError::Empty)?;
        if !kind.is_ascii_digit() || kind > '6' {
            return Err(DecodeError::UnknownType(kind));
        }
        let (header, json) = self.header(&text, matches!(kind, '5' | '6'))?;
        let namespace = || header.namespace.clone();
        // The list of arguments is one level more than each of them.
        let around = usize::from(matches!(kind, '2' | '3' | '5' | '6'));
        if scan::nests_deeper(&json, (self.max_depth as usize).saturating_add(around)) {
            return Err(DecodeError::TooDeep);
        }
        let packet = match kind {
            '0' => Packet::Connect { namespace: namespace(), auth: object(json, false)? },
            '1' if json.is_empty() => Packet::Disconnect { namespace: namespace() },
            '1' => return Err(DecodeError::InvalidPayload),
            '4' => Packet::ConnectError { namespace: namespace(), data: object(json, true)? },
            '2' | '5' => return self.body(header, Body::Event(event(&json)?)),
            _ => return self.body(header, Body::Ack(ack(&json)?)),
        };
        Ok(Some(packet))
    }

    /// Takes a binary message, which has to be an attachment. Answers the packet when it was the
    /// last one.
    ///
    /// # Errors
    /// When no attachment was due, or placeholders do not fit the attachments.
    pub fn binary(&mut self, bytes: Bytes) -> Result<Option<Packet>, DecodeError> {
        let mut waiting = self.waiting.take().ok_or(DecodeError::UnexpectedBinary)?;
        waiting.attachments.push(bytes);
        if waiting.attachments.len() < waiting.header.attachments {
            self.waiting = Some(waiting);
            return Ok(None);
        }
        let Waiting { header, args, attachments } = *waiting;
        let attach = |args: Args| args.attach(attachments).ok_or(DecodeError::IllegalAttachments);
        let body = match args {
            Body::Event(Event { name, args }) => Body::Event(Event { name, args: attach(args)? }),
            Body::Ack(args) => Body::Ack(attach(args)?),
        };
        finish(header, body).map(Some)
    }

    /// Reads what stands before the JSON, which is the second part of the answer.
    fn header(&self, text: &ByteString, binary: bool) -> Result<(Header, ByteString), DecodeError> {
        let mut rest = &text[1..];
        let mut attachments = 0;
        if binary {
            let (count, behind) = rest.split_once('-').ok_or(DecodeError::IllegalCount)?;
            attachments = self.count(count)?;
            rest = behind;
        }
        let mut namespace = ByteString::from_static("/");
        if rest.starts_with('/') {
            // The comma may be missing when nothing follows.
            let (name, behind) = rest.split_once(',').unwrap_or((rest, ""));
            namespace = text.slice_ref(name);
            rest = behind;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, json) = rest.split_at(digits);
        // JavaScript reads any number of digits, and rounds beyond 2^53. The answer has to carry
        // the id that came, so it is kept exactly as far as 64 bits go, and refused beyond: no
        // client counts so far.
        let id = match id {
            "" => None,
            id => Some(id.parse().map_err(|_| DecodeError::InvalidId)?),
        };
        Ok((Header { attachments, namespace, id }, text.slice_ref(json)))
    }

    /// The number of attachments: decimal digits. (The reference also reads `1e0` or ` 1`, which no
    /// encoder writes.)
    fn count(&self, digits: &str) -> Result<usize, DecodeError> {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DecodeError::IllegalCount);
        }
        let count = digits.parse().unwrap_or(usize::MAX);
        if count > self.max_attachments as usize {
            Err(DecodeError::TooManyAttachments)
        } else {
            Ok(count)
        }
    }

    /// Delivers an event or ack, or waits for its attachments.
    ///
    /// With a count of 0 there is nothing to wait for. The reference has been seen to wait
    /// nevertheless, and refuses such packets since; but there are encoders that send them, and
    /// they are harmless.
    fn body(&mut self, header: Header, args: Body) -> Result<Option<Packet>, DecodeError> {
        if header.attachments == 0 {
            return finish(header, args).map(Some);
        }
        self.waiting = Some(Box::new(Waiting { header, args, attachments: Vec::new() }));
        Ok(None)
    }
}

fn finish(header: Header, body: Body) -> Result<Packet, DecodeError> {
    let Header { namespace, id, .. } = header;
    Ok(match body {
        Body::Event(event) => Packet::Event { namespace, id, event },
        Body::Ack(args) => Packet::Ack { namespace, id, args },
    })
}

/// The payload of CONNECT or CONNECT_ERROR: nothing, an object, or (`string`) a string.
fn object(json: ByteString, string: bool) -> Result<Option<ByteString>, DecodeError> {
    match json.as_bytes().first() {
        None => return Ok(None),
        Some(b'{') => {}
        Some(b'"') if string => {}
        Some(_) => return Err(DecodeError::InvalidPayload),
    }
    let raw: &RawValue = serde_json::from_str(&json).map_err(|_| DecodeError::InvalidPayload)?;
    Ok(Some(json.slice_ref(raw.get())))
}

/// The name and arguments of an event. (The reference also takes an event without any JSON, and
/// delivers it under no name; there is nothing that could listen to it.)
fn event(json: &ByteString) -> Result<Event, DecodeError> {
    let list = List::read(json)?;
    let first = list.first.ok_or(DecodeError::InvalidPayload)?;
    let name = name(json, first).ok_or(DecodeError::InvalidPayload)?;
    Ok(Event { name, args: list.args(json, list.second, list.len - 1) })
}

impl Payload {
    /// The event that this is the body of; `None` for that of an ack.
    pub(crate) fn to_event(&self) -> Option<Event> {
        let Event { name, args } = event(self.json()).ok()?;
        let args = match self.attachments() {
            [] => args,
            list => args.attach(list.to_vec())?,
        };
        Some(Event { name, args })
    }
}

/// The arguments of an ack, which may have no JSON at all.
fn ack(json: &ByteString) -> Result<Args, DecodeError> {
    if json.is_empty() {
        return Ok(Args::new());
    }
    let list = List::read(json)?;
    Ok(list.args(json, list.first, list.len))
}

/// The name that `literal` gives an event: a string that is not reserved, or a number.
fn name(json: &ByteString, literal: &str) -> Option<ByteString> {
    match literal.as_bytes().first()? {
        b'"' => {
            let plain = &literal[1..literal.len() - 1];
            let name = match plain.contains('\\') {
                true => serde_json::from_str::<String>(literal).ok()?.into(),
                false => json.slice_ref(plain),
            };
            (!is_reserved(&name)).then_some(name)
        }
        b'-' | b'0'..=b'9' => number::javascript_name(literal).map(Into::into),
        _ => None,
    }
}

/// A JSON array whose syntax has been checked: the text of its first two elements, and how many it
/// has.
struct List<'a> {
    first: Option<&'a str>,
    second: Option<&'a str>,
    len: usize,
}

impl<'a> List<'a> {
    /// Checks all of `json` in one pass, of which serde_json makes no tree and uses no stack,
    /// however deep it nests.
    fn read(json: &'a str) -> Result<Self, DecodeError> {
        // JSON may begin with white space; a packet may not. The reference takes that for the ack
        // id 0.
        if !json.starts_with('[') {
            return Err(DecodeError::InvalidPayload);
        }
        let mut parser = serde_json::Deserializer::from_str(json);
        let list = parser.deserialize_seq(ListVisitor).map_err(|_| DecodeError::InvalidPayload)?;
        parser.end().map_err(|_| DecodeError::InvalidPayload)?;
        Ok(list)
    }

    /// The `len` arguments from the element `from` to the end of the array `json`.
    fn args(&self, json: &ByteString, from: Option<&str>, len: usize) -> Args {
        let (Some(from), Some(end)) = (from, json.rfind(']')) else {
            return Args::new();
        };
        // Both are slices of one text, so the distance of their beginnings is an index into it.
        let start = from.as_ptr().addr() - json.as_ptr().addr();
        Args::from_checked(json.slice_ref(json[start..end].trim_end()), len)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
        let mut list = List { first: None, second: None, len: 0 };
        list.first = seq.next_element::<&RawValue>()?.map(RawValue::get);
        if list.first.is_some() {
            list.second = seq.next_element::<&RawValue>()?.map(RawValue::get);
            list.len = 1 + usize::from(list.second.is_some());
        }
        while list.second.is_some() && seq.next_element::<IgnoredAny>()?.is_some() {
            list.len += 1;
        }
        Ok(list)
    }
}
