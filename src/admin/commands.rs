//! What a user of the interface lets the server do.

use std::future::Future;

use serde::Deserialize;
use tracing::info;

use crate::{
    packet::{Args, ArgsError},
    server::SocketIo,
    socket::{BroadcastOperator, EmitError},
};

/// Rooms, as the interface names them: nothing, one or a list. An empty name is none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(untagged, expecting = "rooms are a name, a list of names, or null")]
pub(super) enum Rooms {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl Rooms {
    pub(super) fn into_list(self) -> Vec<String> {
        let list = match self {
            Self::None => Vec::new(),
            Self::One(room) => vec![room],
            Self::Many(rooms) => rooms,
        };
        list.into_iter().filter(|room| !room.is_empty()).collect()
    }
}

/// Whom a command concerns: the sockets of a namespace, or those of them that are in one of these
/// rooms. A socket's id is a room.
#[derive(Clone, Debug)]
pub(super) struct Whom {
    pub(super) namespace: String,
    pub(super) rooms: Vec<String>,
    pub(super) except: Vec<String>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("there is no such namespace")]
    UnknownNamespace,
    #[error("a room is missing")]
    NoRoom,
    #[error(transparent)]
    Argument(ArgsError),
    #[error(transparent)]
    Emit(#[from] EmitError),
}

impl Whom {
    fn operator(&self, io: &SocketIo) -> Result<BroadcastOperator, CommandError> {
        let mut operator = io.of(&self.namespace).ok_or(CommandError::UnknownNamespace)?;
        if !self.rooms.is_empty() {
            operator = operator.to(self.rooms.clone());
        }
        if !self.except.is_empty() {
            operator = operator.except(self.except.clone());
        }
        Ok(operator)
    }

    pub(super) fn emit(&self, io: &SocketIo, event: &str, args: &Args) -> Result<(), CommandError> {
        let operator = self.operator(io)?;
        let Self { namespace, rooms: whom, except } = self;
        info!(namespace, ?whom, ?except, event, "admin: emit");
        Ok(operator.emit(event, args)?)
    }

    pub(super) fn join(&self, io: &SocketIo, rooms: Vec<String>) -> Result<(), CommandError> {
        let operator = self.operator(io)?;
        if rooms.is_empty() {
            return Err(CommandError::NoRoom);
        }
        let Self { namespace, rooms: whom, except } = self;
        info!(namespace, ?whom, ?except, ?rooms, "admin: join");
        operator.join(rooms);
        Ok(())
    }

    pub(super) fn leave(&self, io: &SocketIo, rooms: Vec<String>) -> Result<(), CommandError> {
        let operator = self.operator(io)?;
        if rooms.is_empty() {
            return Err(CommandError::NoRoom);
        }
        let Self { namespace, rooms: whom, except } = self;
        info!(namespace, ?whom, ?except, ?rooms, "admin: leave");
        operator.leave(rooms);
        Ok(())
    }

    /// The future, which may be dropped, says how many of this server have gone.
    pub(super) fn disconnect(
        &self,
        io: &SocketIo,
        close: bool,
    ) -> Result<impl Future<Output = usize> + use<>, CommandError> {
        let operator = self.operator(io)?;
        let Self { namespace, rooms: whom, except } = self;
        info!(namespace, ?whom, ?except, close, "admin: disconnect");
        Ok(operator.disconnect(close))
    }
}
