//! What messages look like on a bus, byte by byte. Pure: messages in, bytes out, and back. What
//! cannot be read is told apart from what nobody knows, and neither stops anything.
//!
//! [`envelope`] is the form of the cluster messages (sharded Redis, Redis Streams), [`classic`] that
//! of the first Redis adapter. Both are written as JSON text with placeholders first; [`Document`]
//! makes JSON or msgpack of it.

pub(crate) mod classic;
pub(crate) mod envelope;
mod fields;
mod sockets;
mod usual;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Serialize;

#[cfg(feature = "redis")]
pub(crate) use self::sockets::object;
use super::message::Rejected;
use crate::packet::{Args, Document, Payload};

/// JSON text that is being written, and the attachments that it names.
#[derive(Default)]
struct Writer {
    text: String,
    attachments: Vec<Bytes>,
}

impl Writer {
    /// Text as it is.
    fn raw(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Any value that has a JSON form.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> &mut Self {
        // Strings, numbers and lists of them always have one.
        self.text.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
        self
    }

    /// The arguments of an event or an ack, name and brackets included. There may be one such part
    /// only, as its placeholders count from 0.
    fn payload(&mut self, payload: &Payload) -> &mut Self {
        debug_assert!(self.attachments.is_empty());
        self.attachments.extend_from_slice(payload.attachments());
        self.raw(payload.json())
    }

    /// The first of some arguments.
    fn first(&mut self, args: &Args) -> &mut Self {
        debug_assert!(self.attachments.is_empty());
        let first = args.take(1);
        self.attachments.extend_from_slice(first.attachments());
        self.raw(first.raw_json())
    }

    fn finish(self) -> Document {
        Document { text: self.text.into(), attachments: self.attachments }
    }
}

/// Reads what has come, unless it is too large.
fn read(message: &Bytes, max_bytes: usize) -> Result<Document, Rejected> {
    if message.len() > max_bytes {
        return Err(Rejected::TooLarge);
    }
    Document::read(message).map_err(|_| Rejected::Malformed)
}
