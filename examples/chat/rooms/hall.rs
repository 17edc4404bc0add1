//! The owner of the chat's state.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
};

use actix::prelude::*;
use futures_util::future::join_all;
use greenroom::{BroadcastOperator, prelude::*};
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
    /// Where there are other servers: what asks them.
    cluster: Option<SocketIo>,
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
    pub(super) fn new(cluster: Option<SocketIo>) -> Self {
        Self { cluster, ..Self::default() }
    }

    fn room(&mut self, name: &'static str) -> &mut Members {
        self.rooms.entry(name).or_default()
    }

    /// With the names of all who are in the room, on other servers too.
    fn entered(&mut self, room: &'static str) -> Reply<Entered> {
        let done = move |users| Ok(Ack(Answer::Done(Entered { room, users })));
        match self.everywhere(room) {
            Some(members) => Response::fut(async move { done(names(&members).await) }),
            None => Response::reply(done(self.room(room).names.clone())),
        }
    }

    /// The members of a room on all servers, if there may be others.
    fn everywhere(&self, room: &'static str) -> Option<BroadcastOperator> {
        Some(self.cluster.as_ref()?.of("/chat")?.to(room))
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

    /// Takes a user from the room it is in, if any, to another one.
    fn change(&mut self, socket: &Socket, room: &'static str) -> Result<(), EmitError> {
        if self.whereabouts(socket).is_some_and(|(_, current)| current == room) {
            return Ok(());
        }
        let from = self.quit(socket.id())?;
        self.enter(socket, room)?;
        room_changed(socket, from, Some(room))
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

/// The names of members, in the order of JavaScript's `sort()`.
async fn names(members: &BroadcastOperator) -> Vec<String> {
    let sockets = members.fetch_sockets().await;
    let mut names: Vec<String> =
        sockets.iter().filter_map(|socket| socket.data().get("name")).collect();
    names.sort_by(|one, other| one.encode_utf16().cmp(other.encode_utf16()));
    names
}

/// What a handler answers now or later.
type Reply<R> = Response<Result<Ack<Answer<R>>, EventError>>;

fn refused<R: 'static>(why: &'static str) -> Reply<R> {
    Response::reply(Ok(Ack(Answer::Refused(why))))
}

const NOWHERE: &str = "not in a room";

impl Handler<Arrive> for Hall {
    type Result = ();

    fn handle(&mut self, Arrive(socket): Arrive, _: &mut Context<Self>) {
        let username = socket.handshake().auth["username"].as_str();
        let name = username.filter(|name| !name.is_empty()).unwrap_or("guest").to_owned();
        if self.cluster.is_some() {
            socket.data(|data| data.set("name", &name)).expect("a text has a JSON form");
        }
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
    type Result = Reply<Entered>;

    fn handle(&mut self, ask: Ask<Enter, Entered>, _: &mut Context<Self>) -> Self::Result {
        let Enter(Text(name)) = ask.data;
        let Some(room) = ROOMS.into_iter().find(|room| name.as_deref() == Some(room)) else {
            return refused("unknown room");
        };
        match self.change(&ask.socket, room) {
            Ok(()) => self.entered(room),
            Err(error) => Response::reply(Err(error.into())),
        }
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
    type Result = Reply<Delivered>;

    fn handle(&mut self, ask: Ask<Say, Delivered>, _: &mut Context<Self>) -> Self::Result {
        let Say(Text(text)) = ask.data;
        let Some((user, room)) = self.whereabouts(&ask.socket) else {
            return refused(NOWHERE);
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return refused("invalid message");
        };
        let username = user.name.clone();
        let message = Said { room, username: &username, text: &text };
        if let Err(error) = ask.socket.everyone().to(room).emit("message", &message) {
            return Response::reply(Err(error.into()));
        }
        self.tell_watchers("message", room, &username);
        let members = self.room(room);
        members.messages += 1;
        let done = |delivered| Ok(Ack(Answer::Done(Delivered { delivered })));
        let here = members.names.len();
        match self.everywhere(room) {
            // Without those of servers that do not answer.
            Some(members) => Response::fut(async move {
                done(members.count_sockets().await.unwrap_or_else(|incomplete| incomplete.results))
            }),
            None => Response::reply(done(here)),
        }
    }
}

impl Handler<Ask<Who, Entered>> for Hall {
    type Result = Reply<Entered>;

    fn handle(&mut self, ask: Ask<Who, Entered>, _: &mut Context<Self>) -> Self::Result {
        let room = self.whereabouts(&ask.socket).map(|(_, room)| room);
        room.map_or_else(|| refused(NOWHERE), |room| self.entered(room))
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
