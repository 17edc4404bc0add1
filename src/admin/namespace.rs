//! The namespace that the Admin UI connects to.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tracing::warn;

use super::{
    commands::{CommandError, Rooms, Whom},
    desk::{Desk, Order},
};
use crate::{
    engine::WhenFull,
    namespace::Namespace,
    packet::Args,
    server::SocketIo,
    socket::{ConnectError, Pace, Socket},
};

/// Users at the same time.
const ADMINS: usize = 64;

pub(super) fn describe(desk: &Arc<Desk>) -> Namespace {
    let (door, hall, pace) = (Arc::clone(desk), Arc::clone(desk), Arc::clone(desk));
    let namespace = Namespace::new(&desk.name)
        // Events may be lost on somebody who does not keep up. The picture is sent again then.
        .when_full(WhenFull::DropOldest)
        .before_connect(move |socket: Socket| let_in(Arc::clone(&door), socket))
        .on_connect(move |socket: Socket| {
            hall.arrived();
            let sent = socket.emit("config", &hall.config());
            if sent.is_ok() {
                hall.order(Order::Welcome(socket));
            }
            async move { sent.map_err(crate::EventError::from) }
        })
        .on_pace(move |socket: Socket, now: Pace| {
            if now == Pace::CaughtUp {
                pace.order(Order::Repeat(socket));
            }
            std::future::ready(())
        });
    if desk.read_only { namespace } else { with_commands(namespace, desk) }
}

async fn let_in(desk: Arc<Desk>, socket: Socket) -> Result<(), ConnectError> {
    if desk.admins() >= ADMINS {
        return Err(ConnectError::new("too many admins"));
    }
    let handshake = socket.handshake();
    let address = handshake.request.address.map(|address| address.ip());
    match desk.authentication.admit(&handshake.auth, address).await {
        Ok(None) => Ok(()),
        Ok(Some(session)) => {
            socket.emit("session", &session).map_err(|_| ConnectError::new("internal error"))
        }
        Err(denied) => Err(ConnectError::new(denied.text())),
    }
}

/// One argument. One that is not given, or is null, is the default; of another type it is a mistake,
/// and nothing is done: it might concern everybody.
fn argument<T: DeserializeOwned + Default>(args: &Args, index: usize) -> Result<T, CommandError> {
    if index >= args.len() {
        return Ok(T::default());
    }
    let given = args.get::<Option<T>>(index).map_err(CommandError::Argument)?;
    Ok(given.unwrap_or_default())
}

fn rooms(args: &Args, index: usize) -> Result<Vec<String>, CommandError> {
    Ok(argument::<Rooms>(args, index)?.into_list())
}

/// Everybody in this namespace, or those in these rooms.
fn whom(args: &Args, filter: usize) -> Result<Whom, CommandError> {
    let namespace = args.get(0).map_err(CommandError::Argument)?;
    Ok(Whom { namespace, rooms: rooms(args, filter)?, except: Vec::new() })
}

fn with_commands(namespace: Namespace, desk: &Arc<Desk>) -> Namespace {
    let on = |namespace: Namespace, event: &'static str, run: Run| {
        let desk = Arc::clone(desk);
        namespace.on(event, move |_: Socket, args: Args| {
            if let Some(io) = desk.io()
                && let Err(error) = run(&io, &args)
            {
                // The reference answers nothing either.
                warn!(event, %error, "a command of the admin interface was not carried out");
            }
            std::future::ready(())
        })
    };
    let namespace = on(namespace, "emit", emit);
    let namespace = on(namespace, "join", join);
    let namespace = on(namespace, "leave", leave);
    on(namespace, "_disconnect", disconnect)
}

type Run = fn(&SocketIo, &Args) -> Result<(), CommandError>;

/// `(namespace, filter, event, ...args)`
fn emit(io: &SocketIo, args: &Args) -> Result<(), CommandError> {
    let event: String = args.get(2).map_err(CommandError::Argument)?;
    whom(args, 1)?.emit(io, &event, &args.skip(3))
}

/// `(namespace, room, filter)`
fn join(io: &SocketIo, args: &Args) -> Result<(), CommandError> {
    whom(args, 2)?.join(io, rooms(args, 1)?)
}

/// `(namespace, room, filter)`
fn leave(io: &SocketIo, args: &Args) -> Result<(), CommandError> {
    whom(args, 2)?.leave(io, rooms(args, 1)?)
}

/// `(namespace, close, filter)`
fn disconnect(io: &SocketIo, args: &Args) -> Result<(), CommandError> {
    // Nobody waits for their end.
    drop(whom(args, 2)?.disconnect(io, argument(args, 1)?)?);
    Ok(())
}
