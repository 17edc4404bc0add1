//! Entries of a stream: what they look like in Redis, and which stream is whose.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use redis::{Cmd, Value};

use crate::adapter::{
    message::{Envelope, Message, Rejected, Uid},
    recovery::Offset,
    redis::queue::LATE,
    wire::envelope,
};

/// The field by which a node knows its own entries again.
const NUMBER: &str = "number";

/// One entry as it came.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) id: Offset,
    pub(super) namespace: String,
    uid: String,
    kind: String,
    data: Option<Bytes>,
    /// Of whoever added it.
    pub(super) number: Option<u64>,
    /// Whether it was added after its server's own clients had got it.
    late: bool,
}

impl Entry {
    /// Whether those who were clients of whoever added it have got it before, without its name.
    pub(super) fn is_late_of(&self, is_owner: impl Fn(&Uid) -> bool) -> bool {
        self.late && is_owner(&Uid::from(&*self.uid))
    }

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

    /// Whether it is of this kind, as far as its fields say.
    pub(super) fn is_broadcast(&self) -> bool {
        self.kind == "3"
    }

    /// Whether it is what a node has said itself.
    pub(super) fn is_of(&self, uid: &Uid) -> bool {
        self.uid == uid.as_str()
    }
}

/// A message as it goes into a stream.
pub(in crate::adapter::redis) struct Written<'a> {
    uid: &'a Uid,
    namespace: &'a str,
    kind: u64,
    data: Option<Vec<u8>>,
}

/// Writes a message; `None` for one that this form does not have.
pub(in crate::adapter::redis) fn write<'a>(
    plain: bool,
    uid: &'a Uid,
    namespace: &'a str,
    message: &Message,
) -> Option<Written<'a>> {
    let kind = envelope::kind(message)?;
    let document = envelope::write_data_only(message, uid, namespace);
    let data = document.map(|document| match plain || document.attachments.is_empty() {
        true => document.to_json(),
        false => STANDARD.encode(document.to_msgpack()).into_bytes(),
    });
    Some(Written { uid, namespace, kind, data })
}

impl Written<'_> {
    /// The command that adds it, and its size. By its number a node knows its own entry again; others
    /// pass it over.
    pub(in crate::adapter::redis) fn into_command(
        self,
        stream: &str,
        max_len: usize,
        number: Option<u64>,
    ) -> (Cmd, usize) {
        let mut command = redis::cmd("XADD");
        command.arg(stream).arg("MAXLEN").arg("~").arg(max_len).arg("*");
        command.arg("uid").arg(self.uid.as_str()).arg("nsp").arg(self.namespace);
        command.arg("type").arg(self.kind);
        let size = self.data.as_ref().map_or(0, Vec::len);
        if let Some(data) = self.data {
            command.arg("data").arg(data);
        }
        if let Some(number) = number {
            command.arg(NUMBER).arg(number);
        }
        (command, size)
    }
}

/// The stream of a namespace. With several, Node.js takes the remainder of a hash that may be
/// negative: what it writes to such a stream none of its servers reads.
pub(in crate::adapter::redis) fn stream_of(name: &str, count: usize, namespace: &str) -> String {
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
    let mut entry = Entry {
        id,
        namespace: String::new(),
        uid: String::new(),
        kind: String::new(),
        data: None,
        number: None,
        late: false,
    };
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
            (Some(LATE), _) => entry.late = true,
            (Some("type"), value) => entry.kind = text(value).unwrap_or_default(),
            (Some(NUMBER), value) => entry.number = text(value).and_then(|text| text.parse().ok()),
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
pub(super) fn last_of_info(answer: Value) -> Option<Offset> {
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
