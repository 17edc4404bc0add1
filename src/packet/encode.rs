//! What the server sends: bodies encoded once, and the headers before them.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde_json::Value;

use super::attachments::Attachments;
use super::gather::Sheet;
use super::is_reserved;

/// Why data cannot be sent.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    json: ByteString,
    attachments: Attachments,
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
        let (json, _, attachments) = sheet.finish()?;
        Ok(Self { json: json.into(), attachments: attachments.into() })
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
}

/// Appends the text of an event to `out`. The attachments of the payload have to follow it.
pub fn write_event(out: &mut Vec<u8>, namespace: &str, id: Option<u64>, payload: &Payload) {
    write_body(out, [b'2', b'5'], namespace, id, payload);
}

/// Appends the text of the ack to event `id`. The attachments of the payload have to follow it.
pub fn write_ack(out: &mut Vec<u8>, namespace: &str, id: u64, payload: &Payload) {
    write_body(out, [b'3', b'6'], namespace, Some(id), payload);
}

/// Appends the answer to a CONNECT: `sid` is the id of the socket.
pub fn write_connect(out: &mut Vec<u8>, namespace: &str, sid: &str) {
    out.push(b'0');
    write_namespace(out, namespace);
    out.extend_from_slice(b"{\"sid\":");
    write_json(out, sid);
    out.push(b'}');
}

/// Appends the order to leave a namespace.
pub fn write_disconnect(out: &mut Vec<u8>, namespace: &str) {
    out.push(b'1');
    write_namespace(out, namespace);
}

/// Appends the refusal of a CONNECT; `data` is left out when there is none.
pub fn write_connect_error(
    out: &mut Vec<u8>,
    namespace: &str,
    message: &str,
    data: Option<&Value>,
) {
    out.push(b'4');
    write_namespace(out, namespace);
    out.extend_from_slice(b"{\"message\":");
    write_json(out, message);
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        write_json(out, data);
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
    out.reserve(payload.json.len() + namespace.len() + 48);
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
