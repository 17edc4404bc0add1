//! Entries of a stream: what they look like in Redis, and which stream is whose.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use redis::{Cmd, Value};

use crate::adapter::{
    bus::Seat,
    message::{Envelope, Message, Rejected, Uid},
    wire::envelope,
};

/// The place of an entry in its stream. Clients know it as their offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    milliseconds: u64,
    number: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (milliseconds, number) = text.split_once('-').ok_or(())?;
        let parse = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(())
        };
        Ok(Self { milliseconds: parse(milliseconds)?, number: parse(number)? })
    }
}

/// One entry as it came.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) namespace: String,
    uid: String,
    kind: String,
    data: Option<Bytes>,
}

impl Entry {
    /// What it says.
    pub(super) fn read(&self, max_bytes: usize) -> Result<Envelope, Rejected> {
        let kind = self.kind.parse().map_err(|_| Rejected::UnknownType)?;
        let data = match &self.data {
            // Half as large at the most once it is decoded, so this is no limit of its own.
            Some(data) if data.len() / 2 > max_bytes => return Err(Rejected::TooLarge),
            Some(data) if !data.is_empty() && !data.starts_with(b"{") => {
                Some(STANDARD.decode(data).map_err(|_| Rejected::Malformed)?.into())
            }
            Some(data) if data.is_empty() => None,
            data => data.clone(),
        };
        Ok(Envelope {
            uid: Some(Uid::from(&*self.uid)),
            message: envelope::parse_data_only(kind, data.as_ref(), max_bytes)?,
            namespace: self.namespace.clone(),
        })
    }

    /// Whether it is what a node has said itself.
    pub(super) fn is_of(&self, uid: &Uid) -> bool {
        self.uid == uid.as_str()
    }
}

/// The command that adds a message, and its size; `None` for one that this form does not have.
pub(super) fn add(
    stream: &str,
    max_len: usize,
    plain: bool,
    seat: &Seat,
    message: &Message,
) -> Option<(Cmd, usize)> {
    let kind = envelope::kind(message)?;
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("MAXLEN").arg("~").arg(max_len).arg("*");
    command.arg("uid").arg(seat.uid.as_str()).arg("nsp").arg(&*seat.namespace);
    command.arg("type").arg(kind);
    let mut size = 0;
    if let Some(document) = envelope::write_data_only(message, &seat.uid, &seat.namespace) {
        let data = if plain || document.attachments.is_empty() {
            document.to_json()
        } else {
            STANDARD.encode(document.to_msgpack()).into_bytes()
        };
        size = data.len();
        command.arg("data").arg(data);
    }
    Some((command, size))
}

/// The stream of a namespace. With several, Node.js takes the remainder of a hash that may be
/// negative: what it writes to such a stream none of its servers reads.
pub(super) fn stream_of(name: &str, count: usize, namespace: &str) -> String {
    if count <= 1 {
        return name.to_owned();
    }
    let hash = namespace
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    format!("{name}-{}", i64::from(hash) % count)
}

/// Whether Node.js servers do not read a stream, see [`stream_of`].
pub(super) fn is_unread(stream: &str, name: &str) -> bool {
    stream.strip_prefix(name).is_some_and(|rest| rest.starts_with("--"))
}

/// The entries in an answer to XREAD of one stream; none if it has waited in vain.
pub(super) fn of_read(answer: Value) -> Vec<Entry> {
    let stream = match answer {
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, entries)| entries),
        Value::Array(list) => match list.into_iter().next() {
            Some(Value::Array(pair)) => pair.into_iter().nth(1),
            _ => None,
        },
        _ => None,
    };
    stream.map(of_range).unwrap_or_default()
}

/// The entries in an answer to XRANGE. Those without a namespace are of others.
pub(super) fn of_range(answer: Value) -> Vec<Entry> {
    let Value::Array(list) = answer else { return Vec::new() };
    list.into_iter().filter_map(entry).collect()
}

/// An entry. What is not one of a message has an empty namespace, which nobody has.
fn entry(value: Value) -> Option<Entry> {
    let Value::Array(pair) = value else { return None };
    let mut pair = pair.into_iter();
    let id = text(pair.next()?)?.parse().ok()?;
    let mut entry =
        Entry { id, namespace: String::new(), uid: String::new(), kind: String::new(), data: None };
    let fields: Vec<Value> = match pair.next()? {
        Value::Array(list) => list,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        _ => Vec::new(),
    };
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match (text(name).as_deref(), value) {
            (Some("data"), Value::BulkString(bytes)) => entry.data = Some(bytes.into()),
            (Some("nsp"), value) => entry.namespace = text(value).unwrap_or_default(),
            (Some("uid"), value) => entry.uid = text(value).unwrap_or_default(),
            (Some("type"), value) => entry.kind = text(value).unwrap_or_default(),
            _ => {}
        }
    }
    Some(entry)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The last entry that a stream has ever had, in an answer to XINFO STREAM.
pub(super) fn last_of_info(answer: Value) -> Option<EntryId> {
    let mut fields: Box<dyn Iterator<Item = (Value, Value)>> = match answer {
        Value::Map(pairs) => Box::new(pairs.into_iter()),
        Value::Array(list) => {
            let mut list = list.into_iter();
            Box::new(std::iter::from_fn(move || Some((list.next()?, list.next()?))))
        }
        _ => return None,
    };
    let last = fields.find(|(name, _)| match name {
        Value::BulkString(name) => name == b"last-generated-id",
        Value::SimpleString(name) => name == "last-generated-id",
        _ => false,
    });
    text(last?.1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn value(id: &str, fields: &[&str]) -> Value {
        let fields = fields.iter().map(|field| bulk(field)).collect();
        Value::Array(vec![bulk(id), Value::Array(fields)])
    }

    #[test]
    fn an_id_is_two_numbers_in_their_order() {
        for text in ["0-0", "1700000000000-18446744073709551615"] {
            assert_eq!(text.parse::<EntryId>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1-", "-1", "+1-1", "1--1", "1-1-1", "a-1", "18446744073709551616-0"]
        {
            assert_eq!(text.parse::<EntryId>(), Err(()), "{text}");
        }
        assert!("9-10".parse::<EntryId>() < "10-9".parse());
        assert!("9-9".parse::<EntryId>() < "9-10".parse());
    }

    #[test]
    fn a_namespace_has_the_stream_that_node_writes_to() {
        assert_eq!(stream_of("s", 1, "/notifications"), "s");
        // What the function of the adapter for Node.js gives.
        assert_eq!(stream_of("socket.io", 4, "/notifications"), "socket.io--3");
        assert_eq!(stream_of("s", 4, "/"), "s-3");
        assert_eq!(stream_of("s", 10, "/é✓"), "s-3");
        for (namespace, unread) in [("/notifications", true), ("/", false)] {
            assert_eq!(is_unread(&stream_of("a--b", 4, namespace), "a--b"), unread);
            assert!(!is_unread(&stream_of("a--b", 1, namespace), "a--b"));
        }
    }

    #[test]
    fn entries_are_read_from_both_versions_of_the_protocol() {
        let entry = || value("5-1", &["uid", "abc", "nsp", "/", "type", "13", "new", "field"]);
        let entries = || Value::Array(vec![entry(), value("5-2", &["other", "x"])]);
        let two = of_read(Value::Array(vec![Value::Array(vec![bulk("stream"), entries()])]));
        let three = of_read(Value::Map(vec![(bulk("stream"), entries())]));
        assert_eq!(two, three);
        assert_eq!(two.len(), 2);
        assert_eq!(two[0].read(100).unwrap().message, Message::Close);
        assert!(two[0].is_of(&Uid::from("abc")));
        assert_eq!(two[1].namespace, "");
        assert_eq!(two[1].id.to_string(), "5-2");
        assert!(of_read(Value::Nil).is_empty());
    }

    #[test]
    fn data_is_json_or_msgpack_in_base64_and_nothing_else() {
        let read = |kind: &str, data: &str| {
            let fields = ["uid", "a", "nsp", "/", "type", kind, "data", data];
            of_range(Value::Array(vec![value("1-1", &fields)]))[0].read(1000)
        };
        let json =
            r#"{"packet":{"type":2,"data":["x"]},"opts":{"rooms":["r"],"except":[],"flags":{}}}"#;
        assert!(matches!(read("3", json), Ok(Envelope { message: Message::Broadcast { .. }, .. })));
        let binary = "gqZwYWNrZXSCpHR5cGUCpGRhdGGSpGJsb2LEAwD/EKRvcHRzg6Vyb29tc5Glcm9vbTGmZXhjZXB0kKVmbGFnc4A=";
        let Ok(Envelope { message: Message::Broadcast { payload, .. }, .. }) = read("3", binary)
        else {
            panic!("a broadcast");
        };
        assert_eq!(payload.attachments().len(), 1);
        assert_eq!(read("3", "no base64!"), Err(Rejected::Malformed));
        assert_eq!(read("x", json), Err(Rejected::UnknownType));
        assert_eq!(read("99", json), Err(Rejected::UnknownType));
        assert_eq!(read("3", &"{".repeat(2100)), Err(Rejected::TooLarge));
        assert_eq!(read("3", &format!("{{{}", " ".repeat(1100))), Err(Rejected::TooLarge));
    }
}
