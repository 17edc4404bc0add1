//! What the server sends: bodies encoded once, and the headers before them.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde_json::Value;

use super::attachments::Attachments;
use super::gather::{Sheet, Written};
use super::is_reserved;
use super::original::Originals;

/// Why data cannot be sent.
///
/// ```
/// use greenroom::{EncodeError, prelude::*};
///
/// fn forward(socket: &Socket, event: &Event) {
///     match socket.emit(&event.name, &event.args) {
///         Err(EmitError::Encode(EncodeError::Reserved(name))) => println!("{name:?} is the protocol's"),
///         Err(error) => println!("{error}"),
///         Ok(()) => {}
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The event has a name that both sides keep for themselves.
    #[error("{0:?} is a reserved event name")]
    Reserved(String),
    /// The data has no JSON form: a map whose keys are no strings, or an error of its own
    /// `Serialize`.
    #[error("the data cannot be written as JSON: {0}")]
    Json(String),
    /// The server's [`Parser`](super::Parser) cannot write the packet.
    #[error("the parser cannot write the packet: {0}")]
    Parser(String),
}

impl From<serde_json::Error> for EncodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// The body of one event or ack, encoded once: the JSON text `["name",…]` or `[…]`, and its
/// attachments.
///
/// A clone shares both. How data becomes arguments is the rule of the [module](super).
///
/// ```
/// use bytes::Bytes;
/// use greenroom::Payload;
///
/// # fn main() -> Result<(), greenroom::EncodeError> {
/// let photo = Payload::event("photo", &("me.png", Bytes::from_static(b"PNG")))?;
/// assert_eq!(photo.json(), r#"["photo","me.png",{"_placeholder":true,"num":0}]"#);
/// assert_eq!(photo.attachments(), ["PNG"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Payload {
    json: ByteString,
    attachments: Attachments,
    originals: Originals,
}

impl PartialEq for Payload {
    /// Compares text and attachments.
    fn eq(&self, other: &Self) -> bool {
        (&self.json, &self.attachments) == (&other.json, &other.attachments)
    }
}

impl Payload {
    /// The body of the event `name`.
    ///
    /// # Errors
    /// When the name is reserved, or `data` has no JSON form.
    pub fn event<T: Serialize + ?Sized>(name: &str, data: &T) -> Result<Self, EncodeError> {
        if is_reserved(name) {
            return Err(EncodeError::Reserved(name.to_owned()));
        }
        Self::array(|sheet| {
            sheet.argument(name)?;
            sheet.spread(data)
        })
    }

    /// The body of an ack.
    ///
    /// # Errors
    /// When `data` has no JSON form.
    pub fn ack<T: Serialize + ?Sized>(data: &T) -> Result<Self, EncodeError> {
        Self::array(|sheet| sheet.spread(data))
    }

    fn array(
        write: impl FnOnce(&Sheet) -> Result<(), serde_json::Error>,
    ) -> Result<Self, EncodeError> {
        let sheet = Sheet::new(0);
        sheet.open();
        write(&sheet)?;
        sheet.close();
        let Written { text, attachments, originals, .. } = sheet.finish()?;
        Ok(Self { json: text.into(), attachments: attachments.into(), originals })
    }

    /// A body of arguments that came from another server, the event's name among them.
    pub(crate) fn of_args(args: &super::Args) -> Self {
        let json = ["[", args.raw_json(), "]"].concat();
        Self::of_text(json.into(), args.attachments().to_vec())
    }

    /// The same as it is sent: an array, whose placeholders name all attachments in their order.
    pub(crate) fn of_text(json: ByteString, attachments: Vec<Bytes>) -> Self {
        Self { json, attachments: attachments.into(), originals: Originals::default() }
    }

    /// The elements of the array as arguments.
    pub(crate) fn to_args(&self) -> Option<super::Args> {
        super::Args::from_array(&self.json, &self.attachments)
    }

    /// The same with one more argument, a text that needs no escapes.
    pub(crate) fn with_text(&self, text: &str) -> Self {
        debug_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{text:?}");
        let open = self.json.strip_suffix(']').unwrap_or(&self.json);
        let json = [open, ",\"", text, "\"]"].concat();
        let (attachments, originals) = (self.attachments.clone(), self.originals.clone());
        Self { json: json.into(), attachments, originals }
    }

    /// Whether the last element, the name if there are no arguments, is a text.
    pub(crate) fn ends_with_text(&self) -> bool {
        self.json.strip_suffix(']').is_some_and(|open| open.trim_end().ends_with('"'))
    }

    /// The name of an event as it stands in the text, without its quotes.
    pub(crate) fn name(&self) -> &str {
        let text = self.json.strip_prefix("[\"").unwrap_or_default();
        let mut escaped = false;
        let end = text.bytes().position(|b| {
            let ends = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            ends
        });
        end.map_or(text, |end| &text[..end])
    }

    /// The text: a JSON array.
    #[must_use]
    pub fn json(&self) -> &ByteString {
        &self.json
    }

    /// What has to follow the text, one binary message each, with nothing between.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments.as_slice()
    }

    pub(super) fn originals(&self) -> &Originals {
        &self.originals
    }
}

/// One packet to be sent.
///
/// ```
/// use greenroom::{Payload, packet::Outgoing};
///
/// # fn main() -> Result<(), greenroom::EncodeError> {
/// let payload = Payload::event("hello", &1)?;
/// let mut text = Vec::new();
/// Outgoing::Event { namespace: "/chat", id: Some(12), payload: &payload }.write(&mut text);
/// assert_eq!(text, br#"2/chat,12["hello",1]"#);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outgoing<'a> {
    /// A client has been let into a namespace.
    Connect {
        /// The namespace.
        namespace: &'a str,
        /// The id of the socket; without one the packet has no data (clients of revision 4).
        sid: Option<&'a str>,
        /// The secret by which the client can have its socket back after a broken connection.
        pid: Option<&'a str>,
    },
    /// A client asks to be let into a namespace. Servers do not send it; it is for those who speak
    /// as a client, in a test for example.
    ConnectRequest {
        /// The namespace.
        namespace: &'a str,
        /// The text of a JSON object.
        auth: Option<&'a str>,
    },
    /// A client has been refused.
    ConnectError {
        /// The namespace.
        namespace: &'a str,
        /// Why: an object with `message` and perhaps `data`.
        data: &'a Value,
    },
    /// The client is out of the namespace.
    Disconnect {
        /// The namespace.
        namespace: &'a str,
    },
    /// An event; with an `id` when an ack is wanted.
    Event {
        /// The namespace.
        namespace: &'a str,
        /// What the ack has to carry.
        id: Option<u64>,
        /// Name and arguments.
        payload: &'a Payload,
    },
    /// The answer to the event `id`.
    Ack {
        /// The namespace.
        namespace: &'a str,
        /// The id that the event had.
        id: u64,
        /// The answer.
        payload: &'a Payload,
    },
}

impl Outgoing<'_> {
    /// Bytes of the part whose size varies, to make room for.
    pub(crate) fn size_hint(&self) -> usize {
        match self {
            Self::Connect { namespace, .. } => namespace.len() + 64,
            Self::ConnectRequest { namespace, auth } => namespace.len() + auth.map_or(0, str::len),
            Self::ConnectError { namespace, .. } => namespace.len() + 96,
            Self::Disconnect { namespace } => namespace.len(),
            Self::Event { namespace, payload, .. } | Self::Ack { namespace, payload, .. } => {
                namespace.len() + payload.json.len()
            }
        }
    }

    /// The binary messages that have to follow the text, with nothing between.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        match self {
            Self::Event { payload, .. } | Self::Ack { payload, .. } => payload.attachments(),
            _ => &[],
        }
    }

    /// Appends the text of the packet in the form of the default parser.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Connect { namespace, sid, pid } => write_connect(out, namespace, sid, pid),
            Self::ConnectRequest { namespace, auth } => {
                out.push(b'0');
                write_namespace(out, namespace);
                out.extend_from_slice(auth.unwrap_or_default().as_bytes());
            }
            Self::ConnectError { namespace, data } => {
                out.push(b'4');
                write_namespace(out, namespace);
                write_json(out, data);
            }
            Self::Disconnect { namespace } => {
                out.push(b'1');
                write_namespace(out, namespace);
            }
            Self::Event { namespace, id, payload } => {
                write_body(out, [b'2', b'5'], namespace, id, payload);
            }
            Self::Ack { namespace, id, payload } => {
                write_body(out, [b'3', b'6'], namespace, Some(id), payload);
            }
        }
    }
}

fn write_connect(out: &mut Vec<u8>, namespace: &str, sid: Option<&str>, pid: Option<&str>) {
    out.push(b'0');
    write_namespace(out, namespace);
    let Some(sid) = sid else { return };
    out.extend_from_slice(b"{\"sid\":");
    write_json(out, sid);
    if let Some(pid) = pid {
        out.extend_from_slice(b",\"pid\":");
        write_json(out, pid);
    }
    out.push(b'}');
}

/// `types` are the types without and with attachments.
fn write_body(
    out: &mut Vec<u8>,
    types: [u8; 2],
    namespace: &str,
    id: Option<u64>,
    payload: &Payload,
) {
    out.reserve(payload.json.len() + namespace.len() + 44);
    match payload.attachments() {
        [] => out.push(types[0]),
        list => {
            out.push(types[1]);
            write_number(out, list.len() as u64);
            out.push(b'-');
        }
    }
    write_namespace(out, namespace);
    if let Some(id) = id {
        write_number(out, id);
    }
    out.extend_from_slice(payload.json.as_bytes());
}

fn write_namespace(out: &mut Vec<u8>, namespace: &str) {
    if !matches!(namespace, "" | "/") {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Strings and `Value`s always have a JSON form, and a Vec takes every write.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}
