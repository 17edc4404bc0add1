//! Sending to many: rooms, exceptions and flags, collected step by step.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    BroadcastAcks, Socket,
    current::current,
    errors::EmitError,
    home::Home,
    scope::{Homes, Scope},
};
use crate::{
    engine::pipe::Pipe,
    packet::Payload,
    room::{
        Broadcast, Disconnect, IntoRooms, Join, Leave, MembersOf, SocketId, Target,
        messages::{AckRequest, Answer, Flags, Origin},
    },
};

/// How long a broadcast waits for answers if nothing else was said.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// A selection of sockets and how to send to them. Every step returns a new one, and one can be
/// used any number of times.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// async fn tell(io: &SocketIo, socket: &Socket) -> Result<(), EmitError> {
///     io.emit("news", &"for all of /")?;
///     io.to("sport").to("politics").except("muted").emit("news", &"once each")?;
///     socket.to("sport").volatile().emit("score", &(2, 1))?;          // the others in it, if they can take it now
///     let sport = io.to("sport");
///     sport.join("archive");                                          // all who are in it
///     println!("{:?}", sport.count_sockets().await);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BroadcastOperator {
    pub(super) homes: Homes,
    pub(super) target: Target,
    pub(super) sender: Option<Socket>,
    pub(super) flags: Flags,
    /// Of which events the next one may be the latest.
    pub(super) key: Option<Arc<str>>,
    pub(super) timeout: Duration,
}

/// What an operator can start from.
pub(crate) trait OperatorBase {
    fn operator(&self) -> BroadcastOperator;
}

impl OperatorBase for Arc<Home> {
    fn operator(&self) -> BroadcastOperator {
        BroadcastOperator {
            homes: Homes::One(Self::clone(self)),
            target: Target::everyone(),
            sender: None,
            flags: Flags::default(),
            key: None,
            timeout: ACK_TIMEOUT,
        }
    }
}

impl OperatorBase for Arc<dyn Scope> {
    fn operator(&self) -> BroadcastOperator {
        BroadcastOperator {
            homes: Homes::Children(Self::clone(self)),
            target: Target::everyone(),
            sender: None,
            flags: Flags::default(),
            key: None,
            timeout: ACK_TIMEOUT,
        }
    }
}

/// Broadcasts of a socket leave the socket itself out, by the room of its own id: a socket that
/// has left that room hears itself, as in the reference.
impl Socket {
    /// To everybody else in the namespace.
    pub fn broadcast(&self) -> BroadcastOperator {
        let mut operator = self.home().operator().and_except(self.id());
        operator.sender = Some(self.clone());
        operator
    }

    /// To everybody in the namespace, the socket itself included. What the socket sends afterwards
    /// comes behind it, an ack included, also when it is done by an actor that got the event.
    pub fn everyone(&self) -> BroadcastOperator {
        BroadcastOperator { sender: Some(self.clone()), ..self.home().operator() }
    }

    /// To the others in one room or several.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().and_to(rooms)
    }

    /// The same as [`Socket::to`].
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// To everybody else in the namespace, but only on this server of a cluster.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// To everybody else but the members of one room or several.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().and_except(rooms)
    }
}

/// A time as other servers are told of it.
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl BroadcastOperator {
    /// Adds the members of one room or several.
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        self.clone().and_to(rooms)
    }

    /// The same as [`BroadcastOperator::to`].
    pub fn within(&self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the members of one room or several.
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        self.clone().and_except(rooms)
    }

    /// The event is dropped for every receiver that cannot take it at once.
    pub fn volatile(&self) -> Self {
        Self { flags: Flags { volatile: true, ..self.flags }, ..self.clone() }
    }

    /// Whether transports that compress may compress the event. Default `true`.
    pub fn compress(&self, compress: bool) -> Self {
        Self { flags: Flags { compress, ..self.flags }, ..self.clone() }
    }

    /// Only to sockets of this server, not of the others in its cluster.
    pub fn local(&self) -> Self {
        Self { flags: Flags { local: true, ..self.flags }, ..self.clone() }
    }

    /// How long to wait for answers. Default 5 s.
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    fn and_to(mut self, rooms: impl IntoRooms) -> Self {
        self.target = self.target.and(rooms);
        self
    }

    fn and_except(mut self, rooms: impl IntoRooms) -> Self {
        self.target = self.target.except(rooms);
        self
    }

    /// Hands an operation to the namespace, in order with what its client did before. Returns how
    /// many namespaces there are.
    pub(super) fn submit(&self, send: impl FnMut(&Home, Option<Origin>) + Send + 'static) -> usize {
        match &self.sender {
            Some(socket) => {
                let excluded = self.target.except.iter().any(|room| **room == **socket.id());
                let returns = !(excluded && socket.excluded_by_own_room());
                self.homes.submit(Some(socket.pipe()), returns, send)
            }
            None => self.homes.submit(current().as_ref(), true, send),
        }
    }

    /// The client whose operations must not overtake each other.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        self.sender.as_ref().map(|socket| socket.pipe().clone()).or_else(current)
    }

    fn broadcast(&self, payload: Payload, answers: Option<mpsc::UnboundedSender<Answer>>) -> usize {
        let timeout = answers.as_ref().map_or(0, |_| milliseconds(self.timeout));
        let flags = Flags { timeout, ..self.flags };
        let mut broadcast = Broadcast::new(self.target.clone(), payload, flags);
        broadcast.key.clone_from(&self.key);
        self.submit(move |home, origin| {
            let answers = answers.clone();
            let ack = answers.map(|answers| AckRequest { id: home.next_ack(), answers });
            home.broadcast.do_send(Broadcast { origin, ack, ..broadcast.clone() });
        })
    }

    /// Sends an event to the selected sockets.
    ///
    /// # Errors
    /// If the name is reserved or the data has no JSON form.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.broadcast(Payload::event(event, data)?, None);
        Ok(())
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), EmitError> {
        self.emit("message", data)
    }

    /// Sends an event to the selected sockets and collects their answers.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<BroadcastAcks, EmitError> {
        let payload = Payload::event(event, data)?;
        let (answers, receiver) = mpsc::unbounded_channel::<Answer>();
        let namespaces = self.broadcast(payload, Some(answers));
        Ok(BroadcastAcks::new(receiver, namespaces, self.timeout))
    }

    /// Lets the selected sockets join one room or several. On other servers of the cluster a little
    /// later: [`join_confirmed`](Self::join_confirmed) waits for it.
    pub fn join(&self, rooms: impl IntoRooms) {
        let join = Join { local: self.flags.local, ..Join::new(self.target.clone(), rooms) };
        self.homes.submit(self.pipe().as_ref(), false, move |home, _| {
            home.join.do_send(join.clone());
        });
    }

    /// Lets the selected sockets leave one room or several.
    pub fn leave(&self, rooms: impl IntoRooms) {
        let leave = Leave { local: self.flags.local, ..Leave::new(self.target.clone(), rooms) };
        self.homes.submit(self.pipe().as_ref(), true, move |home, origin| {
            home.leave.do_send(Leave { origin, ..leave.clone() });
        });
    }

    /// Disconnects the selected sockets; with `close`, closes their whole connections. The
    /// returned future may be dropped; it gives the number of those of this server when they are
    /// gone. Those of other servers of the cluster are told to go, and not waited for.
    pub fn disconnect(&self, close: bool) -> impl Future<Output = usize> + use<> {
        let (target, local) = (self.target.clone(), self.flags.local);
        let (sender, mut done) = mpsc::unbounded_channel();
        self.submit(move |home, origin| {
            let done = Some(sender.clone());
            let message = Disconnect::new(target.clone()).close(close);
            home.disconnect.do_send(Disconnect { origin, done, local, ..message });
        });
        async move {
            let mut count = 0;
            while let Some(gone) = done.recv().await {
                count += gone;
            }
            count
        }
    }

    /// The ids of the selected sockets, in no particular order: those of this server. Of all servers
    /// of the cluster: [`fetch_sockets`](Self::fetch_sockets), and their number:
    /// [`count_sockets`](Self::count_sockets).
    pub async fn members(&self) -> Vec<SocketId> {
        let ask = MembersOf::target(self.target.clone());
        let pipe = self.pipe();
        let ids = self.homes.ask(pipe.as_ref(), move |home| home.members.send(ask.clone())).await;
        ids.into_iter().flat_map(|(_, ids)| ids).collect()
    }
}
