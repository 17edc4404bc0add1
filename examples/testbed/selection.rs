//! The selection of sockets that several operations take, and how to send to them.

use std::time::Duration;

use greenroom::{BroadcastOperator, Emitter, IntoRooms, prelude::Room};
use serde::Deserialize;

use super::{
    control::{DYN, FN},
    operations::{Call, Failure},
};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Selection {
    target: Option<String>,
    to: Option<Rooms>,
    #[serde(rename = "in")]
    within: Option<Rooms>,
    except: Option<Rooms>,
    flags: Flags,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    volatile: bool,
    compress: Option<bool>,
    local: bool,
    timeout: Option<f64>,
}

/// A room or an array of rooms.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Rooms {
    One(Room),
    Many(Vec<Room>),
}

impl Default for Rooms {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl IntoRooms for Rooms {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        let (one, many) = match self {
            Self::One(room) => (Some(room), Vec::new()),
            Self::Many(rooms) => (None, rooms),
        };
        one.into_iter().chain(many)
    }
}

/// What a selection comes to.
pub(crate) enum Selected {
    /// The asking socket alone.
    Own(Emitter),
    Many(BroadcastOperator),
}

impl Selection {
    pub(crate) fn of(&self, call: &Call) -> Result<Selected, Failure> {
        let Flags { volatile, compress, local, timeout } = self.flags;
        let timeout = timeout.map(|ms| Duration::try_from_secs_f64(ms / 1000.0)).transpose()?;
        let socket = &call.socket;
        let base = match self.target.as_deref() {
            Some("io") => call.world.io.sockets(),
            None | Some("nsp") => {
                call.world.io.of(socket.namespace()).ok_or("no such namespace")?
            }
            Some("socket.broadcast") => socket.broadcast(),
            // With rooms it is a broadcast to others.
            Some("socket") if self.has_rooms() || local => socket.broadcast(),
            Some("socket") => {
                let mut emitter = socket.compress(compress.unwrap_or(true));
                if volatile {
                    emitter = emitter.volatile();
                }
                if let Some(timeout) = timeout {
                    emitter = emitter.timeout(timeout);
                }
                return Ok(Selected::Own(emitter));
            }
            Some(name @ ("dyn" | "fn")) => {
                let parent = if name == "dyn" { DYN } else { FN };
                call.world.io.parent(parent).ok_or("no such parent")?.sockets()
            }
            Some(_) => return Err("unknown target".into()),
        };
        let mut operator = base
            .to(self.to.clone().unwrap_or_default())
            .within(self.within.clone().unwrap_or_default())
            .except(self.except.clone().unwrap_or_default())
            .compress(compress.unwrap_or(true));
        if volatile {
            operator = operator.volatile();
        }
        if local {
            operator = operator.local();
        }
        if let Some(timeout) = timeout {
            operator = operator.timeout(timeout);
        }
        Ok(Selected::Many(operator))
    }

    /// The same for what is done to many only.
    pub(crate) fn many(&self, call: &Call) -> Result<BroadcastOperator, Failure> {
        match self.of(call)? {
            Selected::Many(operator) => Ok(operator),
            Selected::Own(_) => Err("not an operation of a single socket".into()),
        }
    }

    /// The same for `fetchSockets`, which the reference does not have on parents.
    pub(crate) fn fetched(&self, call: &Call) -> Result<BroadcastOperator, Failure> {
        if matches!(self.target.as_deref(), Some("dyn" | "fn")) {
            return Err("fetchSockets() is not supported on parent namespaces".into());
        }
        self.many(call)
    }

    fn has_rooms(&self) -> bool {
        self.to.is_some() || self.within.is_some() || self.except.is_some()
    }
}
