//! What the clients of the chat send, and what they get.

use std::collections::BTreeMap;

use greenroom::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An event of a client whose ack says `ok` and more, or why not.
pub(super) type Ask<T, R> = FromSocket<T, Ack<Answer<R>>>;

#[derive(Deserialize)]
pub(super) struct Enter(pub(super) Text);
#[derive(Deserialize)]
pub(super) struct Leave;
#[derive(Deserialize)]
pub(super) struct Say(pub(super) Text);
#[derive(Deserialize)]
pub(super) struct Who;
#[derive(Deserialize)]
pub(super) struct Typing(pub(super) bool);
#[derive(Deserialize)]
pub(super) struct Kick(pub(super) Text);
#[derive(Deserialize)]
pub(super) struct Watch;

/// A text, or nothing when a client sent something else.
pub(super) struct Text(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer).ok()))
    }
}

// ---- what they get -----------------------------------------------------------------------------

pub(super) enum Answer<R> {
    Done(R),
    Refused(&'static str),
}

impl<R: Serialize> Serialize for Answer<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Done<'a, R> {
            ok: bool,
            #[serde(flatten)]
            more: &'a R,
        }
        #[derive(Serialize)]
        struct Refused {
            ok: bool,
            error: &'static str,
        }
        match self {
            Self::Done(more) => Done { ok: true, more }.serialize(serializer),
            Self::Refused(error) => Refused { ok: false, error }.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Entered {
    pub(super) room: &'static str,
    pub(super) users: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Left {
    pub(super) room: &'static str,
}

#[derive(Serialize)]
pub(super) struct Delivered {
    pub(super) delivered: usize,
}

#[derive(Serialize)]
pub(super) struct Kicked {
    pub(super) kicked: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    pub(super) rooms: BTreeMap<&'static str, RoomNumbers>,
    pub(super) chat_users: usize,
    pub(super) admin_users: usize,
}

#[derive(Serialize)]
pub(super) struct RoomNumbers {
    pub(super) users: usize,
    pub(super) names: Vec<String>,
    pub(super) messages: u64,
}

/// Who did something, and where.
#[derive(Serialize)]
pub(super) struct Presence<'a> {
    pub(super) room: &'static str,
    pub(super) username: &'a str,
}

#[derive(Serialize)]
pub(super) struct RoomChanged {
    pub(super) from: Option<&'static str>,
    pub(super) to: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Activity<'a> {
    pub(super) r#type: &'static str,
    pub(super) room: &'static str,
    pub(super) username: &'a str,
}

#[derive(Serialize)]
pub(super) struct Said<'a> {
    pub(super) room: &'static str,
    pub(super) username: &'a str,
    pub(super) text: &'a str,
}

#[derive(Serialize)]
pub(super) struct Announcement {
    pub(super) room: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Value>,
}
