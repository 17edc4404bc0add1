//! One value on its way between servers: JSON text with placeholders, and the attachments they
//! name. Servers write it as JSON or as msgpack; here is the way from either to the text and back.

use bytes::Bytes;
use bytestring::ByteString;

use super::{Args, DecodeError, Payload, attachments::Attachments, is_reserved, msgpack, scan};

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document {
    pub(crate) text: ByteString,
    pub(crate) attachments: Vec<Bytes>,
}

impl Document {
    /// A value as it came: what begins like an object is JSON, anything else msgpack. (The brace
    /// alone would be a number in msgpack, which nobody sends.)
    pub(crate) fn read(message: &Bytes) -> Result<Self, DecodeError> {
        match message.first() {
            Some(b'{') => Self::from_json(message),
            _ => Self::from_msgpack(message),
        }
    }

    /// A value in JSON, of any depth: what a server lets its clients send must reach the others. Nothing
    /// in it is binary.
    pub(crate) fn from_json(message: &Bytes) -> Result<Self, DecodeError> {
        let text =
            ByteString::try_from(message.clone()).map_err(|_| DecodeError::InvalidPayload)?;
        serde_json::from_str::<serde::de::IgnoredAny>(&text)
            .map_err(|_| DecodeError::InvalidPayload)?;
        Ok(Self { text, attachments: Vec::new() })
    }

    /// A value in msgpack, as the packages `notepack.io` 3 and `@msgpack/msgpack` write it.
    pub(crate) fn from_msgpack(message: &Bytes) -> Result<Self, DecodeError> {
        let (text, attachments) = msgpack::read_value(message)?;
        Ok(Self { text, attachments })
    }

    /// As msgpack: binary in its place, integers in 64 bits as they are, larger ones as floats, and no
    /// extensions.
    pub(crate) fn to_msgpack(&self) -> Vec<u8> {
        msgpack::write_value(&self.text, &self.attachments)
    }

    /// As JSON, binary as `JSON.stringify` writes a `Buffer` of Node.js.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        if self.attachments.is_empty() {
            return self.text.as_bytes().to_vec();
        }
        let mut out = Vec::with_capacity(self.text.len());
        let mut copied = 0;
        for slot in scan::slots(&self.text) {
            let data = slot.num.and_then(|num| self.attachments.get(num));
            let Some(data) = data else { continue };
            out.extend_from_slice(&self.text.as_bytes()[copied..slot.range.start]);
            write_buffer(&mut out, data);
            copied = slot.range.end;
        }
        out.extend_from_slice(&self.text.as_bytes()[copied..]);
        out
    }

    /// The arguments that `array`, a part of the text, stands for.
    pub(crate) fn args(&self, array: &str) -> Option<Args> {
        Args::from_array(array, &Attachments::from(self.attachments.clone()))
    }

    /// One argument: `value`, a part of the text.
    pub(crate) fn arg(&self, value: &str) -> Option<Args> {
        self.args(&["[", value, "]"].concat())
    }

    /// The event that `array`, a part of the text, stands for; `None` for what no client takes.
    pub(crate) fn event(&self, array: &str) -> Option<Payload> {
        if self.attachments.is_empty() && array.starts_with("[\"") {
            // There is nothing to be numbered or trimmed.
            return Self { text: array.into(), attachments: Vec::new() }.into_event();
        }
        let args = self.args(array)?;
        is_event(args.texts().next()?).then(|| Payload::of_args(&args))
    }

    /// The event that it is; `None` for what no client takes. All of its attachments are named.
    pub(crate) fn into_event(self) -> Option<Payload> {
        let Self { text, attachments } = self;
        let body = text.strip_prefix('[')?.strip_suffix(']')?;
        is_event(&body[..scan::value_len(body)]).then(|| Payload::of_text(text, attachments))
    }
}

/// Whether events may begin with this value: a name that is not reserved, or a number.
fn is_event(name: &str) -> bool {
    let inner = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(plain) = inner.filter(|inner| !inner.contains('\\')) {
        return !is_reserved(plain);
    }
    match serde_json::from_str::<serde_json::Value>(name) {
        Ok(serde_json::Value::String(name)) => !is_reserved(&name),
        Ok(serde_json::Value::Number(_)) => true,
        _ => false,
    }
}

fn write_buffer(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"Buffer\",\"data\":[");
    for (index, byte) in data.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(itoa::Buffer::new().format(*byte).as_bytes());
    }
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(hex: &str) -> Bytes {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    #[test]
    fn every_form_of_a_timestamp_is_a_date() {
        for (hex, date) in [
            ("d6ff65535300", "2023-11-14T10:59:12.000Z"),
            ("d7ff1d5353006553f100", "2023-11-14T22:13:20.123Z"),
            ("c70cff00000000ffffffffffffffff", "1969-12-31T23:59:59.000Z"),
        ] {
            let document = Document::read(&bytes(hex)).unwrap();
            assert_eq!(document.text, format!("{date:?}"));
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_floats() {
        let text = |text: &str| Document { text: text.into(), attachments: Vec::new() };
        assert_eq!(text("18446744073709551616").to_msgpack(), bytes("cb43f0000000000000")[..]);
        assert_eq!(text("18446744073709551615").to_msgpack()[0], 0xcf);
        assert_eq!(text("-9223372036854775809").to_msgpack(), bytes("cbc3e0000000000000")[..]);
    }

    #[test]
    fn what_is_no_single_value_is_refused() {
        for wrong in ["", "0101", "c1", "92", "c4ff01", "dfffffffff", "7b", "7b7d7d", "7b226122"] {
            assert!(Document::read(&bytes(wrong)).is_err(), "{wrong}");
        }
        let mut deep = vec![0x91; 5000];
        deep.push(0xc0);
        assert_eq!(Document::read(&deep.into()), Err(DecodeError::TooDeep));
    }

    #[test]
    fn binary_in_json_is_what_node_makes_of_a_buffer() {
        let payload = Payload::event("e", &(Bytes::from_static(&[1, 255]), 7)).unwrap();
        let document =
            Document { text: payload.json().clone(), attachments: payload.attachments().to_vec() };
        let read: serde_json::Value = serde_json::from_slice(&document.to_json()).unwrap();
        assert_eq!(read, json!(["e", { "type": "Buffer", "data": [1, 255] }, 7]));
    }

    #[test]
    fn only_what_clients_take_is_an_event() {
        let event = |text: &str| Document { text: text.into(), attachments: vec![] }.event(text);
        assert_eq!(event("[\"a\",1]"), Some(Payload::event("a", &1).unwrap()));
        for wrong in ["[]", "{}", "7", "[null]", "[\"disconnect\"]", "[{\"a\":1}]"] {
            assert_eq!(event(wrong), None, "{wrong}");
        }
    }
}
