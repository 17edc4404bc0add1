//! Reads msgpack of a known shape piece by piece, and only what is wanted as JSON text. `None`
//! means that the next piece is not what was asked for; nothing can be read any more then.

use bytes::Bytes;

use super::{
    json,
    read::{Reader, Token},
};
use crate::packet::Document;

/// See the module's description.
pub(crate) struct Walk<'a> {
    message: &'a Bytes,
    reader: Reader<'a>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(message: &'a Bytes) -> Self {
        Self { message, reader: Reader::new(message, 0) }
    }

    fn token(&mut self) -> Option<Token> {
        self.reader.token().ok()
    }

    /// Begins an array: how many elements follow.
    pub(crate) fn array(&mut self) -> Option<usize> {
        match self.token()? {
            Token::Array(count) => Some(count),
            _ => None,
        }
    }

    /// Begins a map: how many pairs follow.
    pub(crate) fn map(&mut self) -> Option<usize> {
        match self.token()? {
            Token::Map(count) => Some(count),
            _ => None,
        }
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        match self.token()? {
            Token::Str(range) => std::str::from_utf8(&self.message[range]).ok(),
            _ => None,
        }
    }

    pub(crate) fn uint(&mut self) -> Option<u64> {
        match self.token()? {
            Token::Uint(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.token()? {
            Token::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// One value, whatever it is.
    pub(crate) fn value(&mut self) -> Option<Document> {
        let (text, attachments, end) = json::value(self.message, self.reader.at).ok()?;
        self.reader.at = end;
        Some(Document { text, attachments })
    }

    /// Whether everything has been read.
    pub(crate) fn is_done(&self) -> bool {
        self.reader.rest() == 0
    }
}
