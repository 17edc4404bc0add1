//! Sockets seen from afar: what is known of them, and what can be done to them by their ids.
//!
//! A remote handle holds no socket. It works through the namespace, so it can stand for a socket
//! of another server of a cluster just as well.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::{
    Answered, BroadcastAcks, BroadcastOperator, Data, Handshake, OperatorBase, Socket,
    errors::{AckError, EmitError},
    home::Home,
};
use crate::room::{Disconnect, IntoRooms, Join, Leave, Room, SocketId, Target};

/// Sockets that are looked at before others get their turn.
pub(crate) const SOCKETS_PER_TURN: usize = 256;

/// Which sockets are selected, and which rooms are they in?
#[derive(Clone, Message)]
#[rtype(result = "Vec<Found>")]
pub(crate) struct Fetch(pub(crate) Target);

/// A socket of this server, and what only its namespace knows of it.
pub(crate) struct Found {
    pub(crate) socket: Socket,
    pub(crate) rooms: SmallVec<[Room; 2]>,
}

/// What is known of a socket, at the moment it was asked for. Its serialized form is that of the
/// reference's `fetchSockets()` between servers.
///
/// It holds what the client sent to get in, tokens and cookies included: do not show it to others
/// as it is.
///
/// ```no_run
/// use actix_web::web;
/// use greenroom::prelude::*;
///
/// async fn who_is_where(io: web::Data<SocketIo>) -> web::Json<Vec<(SocketId, Vec<Room>)>> {
///     let sockets = io.fetch_sockets().await;
///     let details = sockets.iter().map(|socket| socket.details());
///     web::Json(details.map(|known| (known.id.clone(), known.rooms.clone())).collect())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SocketDetails {
    /// The public id.
    pub id: SocketId,
    /// How the connection was opened, and what the client gave when it joined the namespace.
    pub handshake: Handshake,
    /// The rooms it was in, that of its own id included.
    pub rooms: Vec<Room>,
    /// Its data.
    #[serde(default)]
    pub data: Data,
}

impl fmt::Debug for SocketDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The handshake carries credentials.
        f.debug_struct("SocketDetails")
            .field("id", &self.id)
            .field("rooms", &self.rooms)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl From<Found> for SocketDetails {
    fn from(Found { socket, rooms }: Found) -> Self {
        let mut rooms = rooms.into_vec();
        // Stable: the own room first, the others as they were joined.
        rooms.sort_by_key(|room| **room != **socket.id());
        Self {
            id: socket.id().clone(),
            handshake: socket.handshake().clone(),
            rooms,
            data: socket.data(|data| data.clone()),
        }
    }
}

/// A socket of this server or of another one of its cluster, as
/// [`fetch_sockets`](BroadcastOperator::fetch_sockets) found it: what was known of it then, and what
/// can be done to it now. Cloning is cheap.
///
/// It serializes as its [`SocketDetails`], and so with what the client sent to get in: the tokens
/// and cookies of its [`handshake`](Self::handshake). Do not send it to clients as it is; pick what
/// they may know.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// async fn disconnect_guests(io: &SocketIo) {
///     for socket in io.sockets().fetch_sockets().await {
///         if socket.data().get::<String>("user").is_none() {
///             socket.disconnect(true);
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct RemoteSocket {
    details: Arc<SocketDetails>,
    home: Arc<Home>,
    operator: BroadcastOperator,
}

impl fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.details, f)
    }
}

impl Serialize for RemoteSocket {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.details.serialize(serializer)
    }
}

impl RemoteSocket {
    /// A handle of a socket of this namespace; what is done by it is in order with what `sender`
    /// does, if one asked.
    pub(super) fn new(details: SocketDetails, home: Arc<Home>, sender: Option<&Socket>) -> Self {
        let mut operator = home.operator().to(&details.id);
        operator.sender = sender.cloned();
        Self { details: Arc::new(details), home, operator }
    }

    /// What selects it.
    pub(super) fn operator(&self) -> &BroadcastOperator {
        &self.operator
    }

    /// The public id.
    pub fn id(&self) -> &SocketId {
        &self.details.id
    }

    /// The name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.home.name
    }

    /// How the connection was opened, and what the client gave when it joined the namespace: its
    /// headers, cookies and tokens included.
    pub fn handshake(&self) -> &Handshake {
        &self.details.handshake
    }

    /// The rooms it was in, that of its own id first.
    pub fn rooms(&self) -> &[Room] {
        &self.details.rooms
    }

    /// The data it had: [`Data::get`] reads one value, [`Data::read`] all of them as one type.
    pub fn data(&self) -> &Data {
        &self.details.data
    }

    /// All that is known of it.
    pub fn details(&self) -> &SocketDetails {
        &self.details
    }

    /// How long to wait for an answer. Default 5 s.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self {
            details: Arc::clone(&self.details),
            home: Arc::clone(&self.home),
            operator: self.operator.clone().timeout(timeout),
        }
    }

    /// Sends an event to the socket, by the room of its own id: to one that has left that room it
    /// does not come.
    ///
    /// # Errors
    /// If the name is reserved or the data has no JSON form. That the socket is gone is no error.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.operator.emit(event, data)
    }

    /// Sends an event to the socket at once, and gives the first value of the client's answer; the
    /// future need not be awaited.
    ///
    /// It fails if the event was not sent, no answer came in time (see [`RemoteSocket::timeout`]),
    /// the client is gone, or its answer is of another type.
    pub fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> RemoteAck<R> {
        let asked = self.operator.emit_with_ack(event, data).map_err(Some);
        RemoteAck { asked, result: PhantomData }
    }

    /// Lets the socket join one room or several.
    pub fn join(&self, rooms: impl IntoRooms) {
        let join = Join::socket(self.id(), rooms);
        let pipe = self.operator.pipe();
        self.home.submit(pipe.as_ref(), false, move |home, _| home.join.do_send(join));
    }

    /// Lets the socket leave one room or several.
    pub fn leave(&self, rooms: impl IntoRooms) {
        let leave = Leave::socket(self.id(), rooms);
        self.operator.submit(move |home, origin| {
            home.leave.do_send(Leave { origin, ..leave.clone() });
        });
    }

    /// Disconnects the socket; with `close`, closes its whole connection. The returned future may
    /// be dropped; it says whether there was such a socket on this server, when it is gone. One of
    /// another server of the cluster is told to go, and not waited for.
    pub fn disconnect(&self, close: bool) -> impl Future<Output = bool> + use<> {
        let (sender, mut done) = mpsc::unbounded_channel();
        let id = self.id().clone();
        self.operator.submit(move |home, origin| {
            let (socket, done) = (Some(id.clone()), Some(sender.clone()));
            let message = Disconnect::new(Target::everyone()).close(close);
            home.disconnect.do_send(Disconnect { origin, socket, done, ..message });
        });
        async move { done.recv().await.is_some_and(|count| count > 0) }
    }
}

/// The answer of one client, wherever it is. The event has been sent already; dropping this gives up
/// the answer.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// async fn find_helper(io: &SocketIo, ticket: u64) -> Option<SocketId> {
///     for helper in io.to("helpers").fetch_sockets().await {
///         match helper.emit_with_ack("take it?", &ticket).await {
///             Ok(true) => return Some(helper.id().clone()),
///             Ok(false) | Err(AckError::Timeout | AckError::Disconnected) => {}
///             Err(error) => eprintln!("{}: {error}", helper.id()),
///         }
///     }
///     None
/// }
/// ```
#[must_use = "the answer is lost if nobody awaits it"]
pub struct RemoteAck<R> {
    asked: Result<BroadcastAcks, Option<EmitError>>,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for RemoteAck<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteAck").field(&self.asked).finish()
    }
}

impl<R: DeserializeOwned> Future for RemoteAck<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answers = match &mut self.asked {
            Ok(answers) => answers,
            Err(error) => {
                let error = error.take().unwrap_or(EmitError::Disconnected);
                return Poll::Ready(Err(error.into()));
            }
        };
        let answer = ready!(answers.poll_answer(cx));
        Poll::Ready(match answer {
            Some(Answered { answer, .. }) => answer.take(1).parse().map_err(AckError::from),
            None if answers.is_complete() => Err(AckError::Disconnected),
            None => Err(AckError::Timeout),
        })
    }
}
