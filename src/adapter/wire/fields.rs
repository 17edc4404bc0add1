//! The parts that messages of all forms have in common.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{Value, value::RawValue};

use crate::{
    adapter::message::{Rejected, Rooms, Sending},
    room::{Room, Target},
    trace::TraceParent,
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
    pub(super) flags: Flags,
    #[serde(rename = "traceparent", deserialize_with = "trace")]
    pub(super) trace: Option<TraceParent>,
}

/// The flags that are of interest; one of another type counts as missing.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) volatile: Option<bool>,
    pub(super) compress: Option<bool>,
    pub(super) timeout: Option<f64>,
    pub(super) count: Option<bool>,
}

impl Opts {
    pub(super) fn target(&mut self) -> Target {
        Target { rooms: std::mem::take(&mut self.rooms), except: std::mem::take(&mut self.except) }
    }

    pub(super) fn sending(&self) -> Sending {
        let Flags { volatile, compress, timeout, .. } = self.flags;
        Sending {
            volatile: volatile.unwrap_or(false),
            compress: compress.unwrap_or(true),
            timeout: timeout.and_then(milliseconds),
            trace: self.trace,
        }
    }

    /// Whether only a number is wanted. Other servers know no such flag, and send all they have.
    pub(super) fn counts(&self) -> bool {
        self.flags.count.unwrap_or(false)
    }
}

/// The flag of a request that wants to know how many sockets there are, and nothing of them.
pub(super) const COUNT: &str = "countOnly";

fn milliseconds(number: f64) -> Option<Duration> {
    (0.0..=LONGEST).contains(&number).then(|| Duration::from_secs_f64(number / 1000.0))
}

/// Rooms are strings. In JavaScript they may be numbers too: such a room is named by its digits here.
pub(super) fn rooms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rooms, D::Error> {
    deserializer.deserialize_seq(RoomList)
}

struct RoomList;

impl<'de> Visitor<'de> for RoomList {
    type Value = Rooms;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rooms")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rooms, A::Error> {
        let mut rooms = Rooms::new();
        while let Some(RoomName(room)) = list.next_element()? {
            rooms.push(room);
        }
        Ok(rooms)
    }
}

struct RoomName(Room);

impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RoomVisitor).map(Self)
    }
}

struct RoomVisitor;

impl Visitor<'_> for RoomVisitor {
    type Value = Room;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E>(self, name: &str) -> Result<Room, E> {
        Ok(Room::from(name))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Room, E> {
        Ok(Room::from(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Room, E> {
        Ok(Room::from(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Room, E> {
        Ok(Room::from(Value::from(number).to_string()))
    }
}

/// Where a server says which span a broadcast belongs to. Node.js takes `rooms`, `except` and `flags`
/// out of `opts`, and looks at nothing else.
pub(super) const TRACE: &str = "traceparent";

/// What is not understood is none.
fn trace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(TraceParent::parse))
}

/// What is no object has no flags.
fn flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Flags, D::Error> {
    deserializer.deserialize_any(FlagsVisitor)
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Flag {
    Volatile,
    Compress,
    Timeout,
    CountOnly,
    #[serde(other)]
    Other,
}

struct FlagsVisitor;

impl<'de> Visitor<'de> for FlagsVisitor {
    type Value = Flags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flags, A::Error> {
        let mut flags = Flags::default();
        while let Some(flag) = map.next_key()? {
            let value = match flag {
                Flag::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => map.next_value::<Value>()?,
            };
            match flag {
                Flag::Volatile => flags.volatile = value.as_bool(),
                Flag::Compress => flags.compress = value.as_bool(),
                Flag::Timeout => flags.timeout = value.as_f64(),
                Flag::CountOnly => flags.count = value.as_bool(),
                Flag::Other => {}
            }
        }
        Ok(flags)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Flags, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Flags::default())
    }

    fn visit_unit<E>(self) -> Result<Flags, E> {
        Ok(Flags::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Flags, E> {
        Ok(Flags::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Flags, E> {
        Ok(Flags::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Flags, E> {
        Ok(Flags::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Flags, E> {
        Ok(Flags::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Flags, E> {
        Ok(Flags::default())
    }
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

/// A value that is there, also if it is null: that is an answer, and none is another one.
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

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
        if let Some(trace) = self.flags.as_ref().and_then(|flags| flags.sending.trace) {
            map.serialize_entry(TRACE, &trace.to_string())?;
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
