//! The chat itself: `/chat` with its three rooms, and `/admin`, which watches over them.
//!
//! [`Hall`] is an ordinary actor and the one owner of who is where. The events of clients become
//! its messages, so what they do to the rooms happens one after the other, and what it returns is
//! the ack. What needs none of its state is a plain async fn.

mod events;
mod hall;

use actix::prelude::*;
use greenroom::{CountSockets, prelude::*};
use serde_json::{Value, json};

use self::{
    events::{
        Announcement, Answer, Ask, Delivered, Enter, Entered, Kick, Kicked, Leave, Left, Say,
        Stats, Typing, Watch, Who,
    },
    hall::{Arrive, Depart, Hall, Numbers},
};

const ROOMS: [&str; 3] = ["general", "tech", "random"];

/// Adds `/chat` and `/admin` to a server. With `clustered`, what users are told of a room counts those
/// of other servers too; the admin page is about one server.
pub(crate) fn open(io: &SocketIo, clustered: bool) {
    let hall = Hall::new(clustered.then(|| io.clone())).start();
    io.spawn(chat(&hall));
    io.spawn(admin(&hall, io));
}

fn chat(hall: &Addr<Hall>) -> Namespace {
    let (arrivals, departures) = (hall.clone(), hall.clone());
    Namespace::new("/chat")
        // The hall takes one event after the other anyway: their acks keep that order too.
        .serial(true)
        .on_connect(move |socket: Socket| {
            arrivals.do_send(Arrive(socket.clone()));
            async move { socket.emit("rooms", ROOMS.as_slice()) }
        })
        .on_disconnecting(move |socket: Socket, _: DisconnectReason| {
            departures.send(Depart(socket.id().clone()))
        })
        .on("join", hall.clone().recipient::<Ask<Enter, Entered>>())
        .on("leave", hall.clone().recipient::<Ask<Leave, Left>>())
        .on("message", hall.clone().recipient::<Ask<Say, Delivered>>())
        .on("users", hall.clone().recipient::<Ask<Who, Entered>>())
        .on("typing", hall.clone().recipient::<FromSocket<Typing>>())
}

fn admin(hall: &Addr<Hall>, io: &SocketIo) -> Namespace {
    let (statistics, stats_io, announce_io) = (hall.clone(), io.clone(), io.clone());
    Namespace::new("/admin")
        .before_connect(require_key)
        .on("kick", hall.clone().recipient::<Ask<Kick, Kicked>>())
        .on("watch", hall.clone().recipient::<Ask<Watch, ()>>())
        .on("stats", move |_: Socket, (): ()| {
            let (rooms, io) = (statistics.send(Numbers), stats_io.clone());
            async move {
                let rooms = rooms.await?;
                let (chat_users, admin_users) =
                    (count(&io, "/chat").await?, count(&io, "/admin").await?);
                Ok::<_, EventError>(Ack(Stats { rooms, chat_users, admin_users }))
            }
        })
        .on("announce", move |_: Socket, args: Args| {
            let io = announce_io.clone();
            async move { announce(&io, &args).map(Ack) }
        })
}

async fn require_key(socket: Socket) -> Result<(), ConnectError> {
    if socket.handshake().auth["key"] == "letmein" {
        return Ok(());
    }
    Err(ConnectError::new("admin only").data(&json!({ "code": 403 })))
}

async fn count(io: &SocketIo, namespace: &str) -> Result<usize, MailboxError> {
    let address = io.namespace(namespace).ok_or(MailboxError::Closed)?;
    address.send(CountSockets).await
}

fn announce(io: &SocketIo, args: &Args) -> Result<Answer<()>, EventError> {
    let chat = io.of("/chat").ok_or_else(|| EventError::new("the chat is closed"))?;
    let room: Option<Value> = args.get(0).ok();
    let audience = match &room {
        Some(Value::Null) => chat,
        Some(Value::String(name)) if ROOMS.contains(&name.as_str()) => chat.to(name),
        _ => return Ok(Answer::Refused("unknown room")),
    };
    audience.emit("announcement", &Announcement { room, text: args.get(1).ok() })?;
    Ok(Answer::Done(()))
}
