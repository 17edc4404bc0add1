//! What most applications use: `use greenroom::prelude::*`.

pub use crate::{
    Ack, AckError, AckSender, Args, Broadcast, ConnectError, DisconnectReason, EmitError, Event,
    EventError, FromSocket, Namespace, Parent, Room, Socket, SocketId, SocketIo, Target,
};
