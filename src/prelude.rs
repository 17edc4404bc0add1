//! What most applications use: `use greenroom::prelude::*`.

pub use crate::{
    Ack, AckError, AckSender, Args, Broadcast, ConnectError, DisconnectReason, Drain, EmitError,
    Event, EventError, FromSocket, Handshake, Namespace, Parent, Recovery, Refusal, Room, Socket,
    SocketId, SocketIo, Target,
};
