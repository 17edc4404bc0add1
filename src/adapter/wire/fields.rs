//! The parts that messages of all forms have in common.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    adapter::message::{Rejected, Rooms, Sending},
    room::{Room, Target},
};

/// A time that no request waits, so that sums of times have an end.
const LONGEST: f64 = 86_400_000.0;

/// `opts` of a message.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Opts {
    #[serde(deserialize_with = "rooms")]
    pub(super) rooms: Rooms,
    #[serde(deserialize_with = "rooms")]
    pub(super) except: Rooms,
    #[serde(deserialize_with = "flags")]
    pub(super) flags: Map<String, Value>,
}

impl Opts {
    pub(super) fn target(&mut self) -> Target {
        Target { rooms: std::mem::take(&mut self.rooms), except: std::mem::take(&mut self.except) }
    }

    pub(super) fn sending(&self) -> Sending {
        let flag = |name: &str| self.flags.get(name).and_then(Value::as_bool);
        Sending {
            volatile: flag("volatile").unwrap_or(false),
            compress: flag("compress").unwrap_or(true),
            timeout: self.flags.get("timeout").and_then(Value::as_f64).and_then(milliseconds),
        }
    }

    /// Whether only a number is wanted. Other servers know no such flag, and send all they have.
    pub(super) fn counts(&self) -> bool {
        self.flags.get(COUNT).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// The flag of a request that wants to know how many sockets there are, and nothing of them.
pub(super) const COUNT: &str = "countOnly";

fn milliseconds(number: f64) -> Option<Duration> {
    (0.0..=LONGEST).contains(&number).then(|| Duration::from_secs_f64(number / 1000.0))
}

/// Rooms are strings. In JavaScript they may be numbers too: such a room is named by its digits here.
pub(super) fn rooms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rooms, D::Error> {
    let list = Vec::<Value>::deserialize(deserializer)?;
    list.into_iter()
        .map(room)
        .collect::<Option<_>>()
        .ok_or_else(|| serde::de::Error::custom("a room is neither a string nor a number"))
}

fn room(value: Value) -> Option<Room> {
    match value {
        Value::String(name) => Some(Room::from(name)),
        Value::Number(number) => Some(Room::from(number.to_string())),
        _ => None,
    }
}

fn flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(flags) => flags,
        _ => Map::new(),
    })
}

/// A packet: only events cross.
#[derive(Deserialize)]
pub(super) struct WirePacket<'a> {
    #[serde(rename = "type")]
    pub(super) kind: u64,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
    #[serde(borrow, default)]
    pub(super) nsp: Option<Cow<'a, str>>,
}

impl WirePacket<'_> {
    pub(super) fn is_event(&self) -> bool {
        self.kind == EVENT
    }
}

/// The type of an event. With binary it is the same here.
pub(super) const EVENT: u64 = 2;

/// Reads a part of a message.
pub(super) fn part<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Rejected> {
    serde_json::from_str(text).map_err(|_| Rejected::Malformed)
}

/// `opts` as they are written: in this order, as Node.js writes them.
pub(super) struct Written<'a> {
    pub(super) target: &'a Target,
    /// Some messages have none.
    pub(super) flags: Option<WrittenFlags>,
    /// Emitters write the flags before the exceptions.
    pub(super) emitter: bool,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rooms", &*self.target.rooms)?;
        if let (Some(flags), true) = (&self.flags, self.emitter) {
            map.serialize_entry("flags", flags)?;
        }
        map.serialize_entry("except", &*self.target.except)?;
        if let (Some(flags), false) = (&self.flags, self.emitter) {
            map.serialize_entry("flags", flags)?;
        }
        map.end()
    }
}

/// `flags` as they are written: what is as it always is, is left out.
#[derive(Clone, Copy, Default)]
pub(super) struct WrittenFlags {
    pub(super) sending: Sending,
    pub(super) count: bool,
}

impl From<Sending> for WrittenFlags {
    fn from(sending: Sending) -> Self {
        Self { sending, count: false }
    }
}

impl Serialize for WrittenFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.sending.volatile {
            map.serialize_entry("volatile", &true)?;
        }
        if !self.sending.compress {
            map.serialize_entry("compress", &false)?;
        }
        if let Some(timeout) = self.sending.timeout {
            map.serialize_entry("timeout", &(timeout.as_millis() as u64))?;
        }
        if self.count {
            map.serialize_entry(COUNT, &true)?;
        }
        map.end()
    }
}
