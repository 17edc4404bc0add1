//! Sockets as servers describe them in their answers. What clients have said is a part of it, as
//! deep as they liked: each part is read for itself, so that nothing they say spoils the answer.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::fields::{part, rooms};
use crate::adapter::message::Rooms;

/// The sockets of an answer, if there are any.
pub(super) fn sockets<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Value>>, D::Error> {
    let list = Option::<Vec<&RawValue>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(socket).collect()))
}

/// One of them: what is known of it, or only its id.
fn socket(raw: &RawValue) -> Value {
    parts(raw, |name, raw| match name {
        "handshake" | "data" => object(raw),
        "rooms" => part::<RoomNames>(raw.get()).map_or(Value::Null, |RoomNames(rooms)| {
            rooms.iter().map(|room| Value::from(room.as_str())).collect()
        }),
        _ => value(raw),
    })
}

/// An object, also if what is in it is as deep as a value of this server's own may be.
pub(crate) fn object(raw: &RawValue) -> Value {
    parts(raw, |_, raw| value(raw))
}

/// The values of an object, each for itself and in their order; anything else is what it is.
fn parts(raw: &RawValue, each: impl Fn(&str, &RawValue) -> Value) -> Value {
    match part::<Parts<'_>>(raw.get()) {
        Ok(Parts(parts)) => parts
            .into_iter()
            .map(|(name, raw)| {
                let value = each(&name, raw);
                (name, value)
            })
            .collect(),
        Err(_) => value(raw),
    }
}

struct Parts<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartsVisitor).map(Self)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = map.next_entry()? {
            parts.push(part);
        }
        Ok(parts)
    }
}

/// A value; null for one that is deeper than any of this server's own may be.
fn value(raw: &RawValue) -> Value {
    part(raw.get()).unwrap_or_default()
}

#[derive(Deserialize)]
struct RoomNames(#[serde(deserialize_with = "rooms")] Rooms);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Read(#[serde(deserialize_with = "sockets")] Option<Vec<Value>>);

    fn read(text: &str) -> Option<Vec<Value>> {
        serde_json::from_str::<Read>(text).unwrap().0
    }

    fn nested(depth: usize) -> String {
        ["[".repeat(depth), "]".repeat(depth)].concat()
    }

    #[test]
    fn what_a_client_has_said_is_read_as_deep_as_its_server_has_taken_it() {
        let auth = nested(127);
        let text = format!(
            r#"[{{"id":"a","handshake":{{"auth":{auth},"url":"/"}},"data":{{"x":{deep}}}}},"b"]"#,
            deep = nested(127),
        );
        let sockets = read(&text).unwrap();
        assert_eq!(sockets[0]["handshake"]["auth"].to_string(), auth);
        assert_eq!(sockets[0]["data"]["x"].to_string(), nested(127));
        assert_eq!(sockets[1], "b");
    }

    #[test]
    fn what_is_too_deep_spoils_nothing_else() {
        let text = format!(
            r#"[{{"id":"a","handshake":{{"auth":{deep},"url":"/"}},"data":{deep}}},{{"id":"b"}}]"#,
            deep = nested(5000),
        );
        let expected = json!([{ "id": "a", "handshake": { "auth": null, "url": "/" }, "data": null }, { "id": "b" }]);
        assert_eq!(Value::from(read(&text).unwrap()), expected);
    }

    #[test]
    fn rooms_that_are_numbers_are_named_by_their_digits() {
        let sockets = read(r#"[{"id":"a","rooms":["a",42]}, {"rooms":[[]]}, 7, null]"#).unwrap();
        assert_eq!(sockets[0], json!({ "id": "a", "rooms": ["a", "42"] }));
        assert_eq!(sockets[1..], [json!({ "rooms": null }), json!(7), json!(null)]);
        assert_eq!(read("null"), None);
    }
}
