//! The owner of the chat's state.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
};

use actix::prelude::*;
use futures_util::future::join_all;
use greenroom::prelude::*;
use serde_json::json;

use super::{
    ROOMS,
    events::{
        Activity, Answer, Ask, Delivered, Enter, Entered, Kick, Kicked, Leave, Left, Presence,
        RoomChanged, RoomNumbers, Said, Say, Text, Typing, Watch, Who,
    },
};

/// See the module's description.
#[derive(Default)]
pub(super) struct Hall {
    users: HashMap<SocketId, User>,
    rooms: HashMap<&'static str, Members>,
    /// Admins that want to know what happens.
    watchers: Vec<Socket>,
}

struct User {
    socket: Socket,
    name: String,
    room: Option<&'static str>,
}

#[derive(Default)]
struct Members {
    /// Of its members, sorted; a name may be there several times.
    names: Vec<String>,
    messages: u64,
}

impl Actor for Hall {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1024);
    }
}

/// A user has connected.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Arrive(pub(super) Socket);

/// A user is about to go.
#[derive(Message)]
#[rtype(result = "Result<(), EmitError>")]
pub(super) struct Depart(pub(super) SocketId);

/// How many are where?
#[derive(Message)]
#[rtype(result = "BTreeMap<&'static str, RoomNumbers>")]
pub(super) struct Numbers;

impl Members {
    /// Where a name is or would be, in the order of JavaScript's `sort()`: by UTF-16 code units.
    fn position(&self, name: &str) -> usize {
        self.names.partition_point(|other| other.encode_utf16().lt(name.encode_utf16()))
    }
}

impl Hall {
    fn room(&mut self, name: &'static str) -> &mut Members {
        self.rooms.entry(name).or_default()
    }

    fn entered(&mut self, room: &'static str) -> Answer<Entered> {
        Answer::Done(Entered { room, users: self.room(room).names.clone() })
    }

    /// The user and the room it is in, if it is in one.
    fn whereabouts(&self, socket: &Socket) -> Option<(&User, &'static str)> {
        let user = self.users.get(socket.id())?;
        Some((user, user.room?))
    }

    fn enter(&mut self, socket: &Socket, room: &'static str) -> Result<(), EmitError> {
        let Some(user) = self.users.get_mut(socket.id()) else { return Ok(()) };
        let name = user.name.clone();
        user.room = Some(room);
        let members = self.room(room);
        members.names.insert(members.position(&name), name.clone());
        socket.join(room);
        socket.to(room).emit("user-joined", &Presence { room, username: &name })?;
        self.tell_watchers("join", room, &name);
        Ok(())
    }

    /// Takes a user out of its room; returns which one that was.
    fn quit(&mut self, id: &SocketId) -> Result<Option<&'static str>, EmitError> {
        let Some(user) = self.users.get_mut(id) else { return Ok(None) };
        let Some(room) = user.room.take() else { return Ok(None) };
        let (socket, name) = (user.socket.clone(), user.name.clone());
        let members = self.room(room);
        members.names.remove(members.position(&name));
        socket.leave(room);
        socket.to(room).emit("user-left", &Presence { room, username: &name })?;
        self.tell_watchers("leave", room, &name);
        Ok(Some(room))
    }

    fn tell_watchers(&mut self, r#type: &'static str, room: &'static str, username: &str) {
        let activity = Activity { r#type, room, username };
        self.watchers.retain(|watcher| watcher.emit("activity", &activity).is_ok());
    }
}

/// Tells a user where it is now: on the way that everything else of the chat takes, so that it
/// comes after all that was said before, and before all that is said then.
fn room_changed(
    socket: &Socket,
    from: Option<&'static str>,
    to: Option<&'static str>,
) -> Result<(), EmitError> {
    socket.everyone().to(socket.id()).emit("room-changed", &RoomChanged { from, to })
}

const NOWHERE: &str = "not in a room";

impl Handler<Arrive> for Hall {
    type Result = ();

    fn handle(&mut self, Arrive(socket): Arrive, _: &mut Context<Self>) {
        let username = socket.handshake().auth["username"].as_str();
        let name = username.filter(|name| !name.is_empty()).unwrap_or("guest").to_owned();
        self.users.insert(socket.id().clone(), User { socket, name, room: None });
    }
}

impl Handler<Depart> for Hall {
    type Result = Result<(), EmitError>;

    fn handle(&mut self, Depart(id): Depart, _: &mut Context<Self>) -> Self::Result {
        let left = self.quit(&id);
        self.users.remove(&id);
        left.map(|_| ())
    }
}

impl Handler<Ask<Enter, Entered>> for Hall {
    type Result = Result<Ack<Answer<Entered>>, EventError>;

    fn handle(&mut self, ask: Ask<Enter, Entered>, _: &mut Context<Self>) -> Self::Result {
        let Enter(Text(name)) = ask.data;
        let Some(room) = ROOMS.into_iter().find(|room| name.as_deref() == Some(room)) else {
            return Ok(Ack(Answer::Refused("unknown room")));
        };
        if self.whereabouts(&ask.socket).is_none_or(|(_, current)| current != room) {
            let from = self.quit(ask.socket.id())?;
            self.enter(&ask.socket, room)?;
            room_changed(&ask.socket, from, Some(room))?;
        }
        Ok(Ack(self.entered(room)))
    }
}

impl Handler<Ask<Leave, Left>> for Hall {
    type Result = Result<Ack<Answer<Left>>, EventError>;

    fn handle(&mut self, ask: Ask<Leave, Left>, _: &mut Context<Self>) -> Self::Result {
        let Some(room) = self.quit(ask.socket.id())? else {
            return Ok(Ack(Answer::Refused(NOWHERE)));
        };
        room_changed(&ask.socket, Some(room), None)?;
        Ok(Ack(Answer::Done(Left { room })))
    }
}

impl Handler<Ask<Say, Delivered>> for Hall {
    type Result = Result<Ack<Answer<Delivered>>, EventError>;

    fn handle(&mut self, ask: Ask<Say, Delivered>, _: &mut Context<Self>) -> Self::Result {
        let Say(Text(text)) = ask.data;
        let Some((user, room)) = self.whereabouts(&ask.socket) else {
            return Ok(Ack(Answer::Refused(NOWHERE)));
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Ack(Answer::Refused("invalid message")));
        };
        let username = user.name.clone();
        let message = Said { room, username: &username, text: &text };
        ask.socket.everyone().to(room).emit("message", &message)?;
        self.tell_watchers("message", room, &username);
        let members = self.room(room);
        members.messages += 1;
        Ok(Ack(Answer::Done(Delivered { delivered: members.names.len() })))
    }
}

impl Handler<Ask<Who, Entered>> for Hall {
    type Result = Result<Ack<Answer<Entered>>, EventError>;

    fn handle(&mut self, ask: Ask<Who, Entered>, _: &mut Context<Self>) -> Self::Result {
        let room = self.whereabouts(&ask.socket).map(|(_, room)| room);
        Ok(Ack(room.map_or(Answer::Refused(NOWHERE), |room| self.entered(room))))
    }
}

impl Handler<FromSocket<Typing>> for Hall {
    type Result = Result<(), EventError>;

    fn handle(&mut self, event: FromSocket<Typing>, _: &mut Context<Self>) -> Self::Result {
        if let Some((user, room)) = self.whereabouts(&event.socket) {
            let Typing(typing) = event.data;
            let told = json!({ "room": room, "username": user.name, "typing": typing });
            event.socket.to(room).emit("typing", &told)?;
        }
        Ok(())
    }
}

impl Handler<Ask<Kick, Kicked>> for Hall {
    type Result = ResponseFuture<Result<Ack<Answer<Kicked>>, EventError>>;

    fn handle(&mut self, ask: Ask<Kick, Kicked>, _: &mut Context<Self>) -> Self::Result {
        let Kick(Text(name)) = ask.data;
        let kicked: Vec<SocketId> = self
            .users
            .iter()
            .filter(|(_, user)| name.as_ref() == Some(&user.name))
            .map(|(id, _)| id.clone())
            .collect();
        let gone: Vec<_> = kicked.iter().filter_map(|id| self.put_out(id)).collect();
        Box::pin(async move {
            // The hall is not waited for meanwhile: it still has to hear of the departures.
            let kicked = join_all(gone).await.len();
            Ok(Ack(Answer::Done(Kicked { kicked })))
        })
    }
}

impl Hall {
    fn put_out(&mut self, id: &SocketId) -> Option<impl Future<Output = ()> + use<>> {
        // Presences have a JSON form.
        let _ = self.quit(id);
        let user = self.users.remove(id)?;
        Some(user.socket.disconnect(false))
    }
}

impl Handler<Ask<Watch, ()>> for Hall {
    type Result = Result<Ack<Answer<()>>, EventError>;

    fn handle(&mut self, ask: Ask<Watch, ()>, _: &mut Context<Self>) -> Self::Result {
        if !self.watchers.contains(&ask.socket) {
            self.watchers.push(ask.socket);
        }
        Ok(Ack(Answer::Done(())))
    }
}

impl Handler<Numbers> for Hall {
    type Result = MessageResult<Numbers>;

    fn handle(&mut self, _: Numbers, _: &mut Context<Self>) -> Self::Result {
        let numbers = ROOMS.into_iter().map(|name| {
            let Members { names, messages } = self.room(name);
            let numbers =
                RoomNumbers { users: names.len(), names: names.clone(), messages: *messages };
            (name, numbers)
        });
        MessageResult(numbers.collect())
    }
}
