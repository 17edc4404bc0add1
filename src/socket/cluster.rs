//! What an operator asks of the other servers of a cluster, and events that go from server to
//! server.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{
    BroadcastOperator, RemoteSocket, Socket, SocketDetails,
    errors::EmitError,
    home::Home,
    remote::{Fetch, SOCKETS_PER_TURN},
    scope::Homes,
};
use crate::{
    adapter::{
        link::{Consult, Gathered, Operation, Question, Sink},
        message::{Answer, Wanted, is_kept_by_servers},
    },
    engine::pipe::Pipe,
    packet::{Args, EncodeError, Payload},
    room::{Incomplete, IntoRooms, Join, Leave, MembersOf, Missing, Room},
};

/// How long a socket that joins waits until the engine has confirmed it.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// Adds those that are missing in one namespace to those of others.
fn add(missing: &mut Missing, more: Missing) {
    missing.count = missing.count.zip(more.count).map(|(a, b)| a + b);
    missing.nodes.extend(more.nodes);
}

/// What other servers answer until all have, or the time is up.
async fn gathered(
    mut answers: mpsc::UnboundedReceiver<Gathered>,
    mut each: impl FnMut(Answer),
) -> Missing {
    loop {
        match answers.recv().await {
            Some(Gathered::Answer(answer)) => each(answer),
            Some(Gathered::End(missing)) => return missing,
            // The question was lost.
            None => return Missing::default(),
        }
    }
}

impl Home {
    /// Asks the other servers, behind what the client of `pipe` did before.
    fn consult(
        self: &Arc<Self>,
        pipe: Option<&Pipe>,
        local: bool,
        question: Question,
        timeout: Duration,
    ) -> mpsc::UnboundedReceiver<Gathered> {
        let (sender, answers) = mpsc::unbounded_channel();
        let sink = Sink::Gather(sender);
        let operation = Operation::Ask { question, timeout, sink };
        self.submit(pipe, false, move |home, _| {
            home.consult.do_send(Consult { operation, local });
        });
        answers
    }
}

impl Homes {
    fn current(&self) -> Vec<Arc<Home>> {
        match self {
            Self::One(home) => vec![home.current()],
            Self::Children(scope) => scope.homes(),
        }
    }
}

impl BroadcastOperator {
    /// Asks all other servers in each namespace.
    async fn gather(
        &self,
        question: Question,
        mut each: impl FnMut(&Arc<Home>, Answer),
    ) -> Missing {
        let pipe = self.pipe();
        let asked = self.homes.current().into_iter().map(|home| {
            let answers =
                home.consult(pipe.as_ref(), self.flags.local, question.clone(), self.timeout);
            (home, answers)
        });
        // All are asked before the first is waited for.
        let asked: Vec<_> = asked.collect();
        let mut missing = Missing::nobody();
        for (home, answers) in asked {
            add(&mut missing, gathered(answers, |answer| each(&home, answer)).await);
        }
        missing
    }

    /// Whether other servers have a part in it.
    fn is_shared(&self) -> bool {
        !self.flags.local && self.homes.current().iter().any(|home| home.is_clustered())
    }

    /// The selected sockets, in no particular order: a snapshot of each, and a handle. In a cluster
    /// also those of the other servers, as far as they answer in time (see
    /// [`timeout`](Self::timeout)); [`try_fetch_sockets`](Self::try_fetch_sockets) says who has not.
    ///
    /// To do the same with all of them, [`emit`](Self::emit), [`join`](Self::join),
    /// [`leave`](Self::leave) and [`disconnect`](Self::disconnect) of the operator itself cost
    /// less, and [`count_sockets`](Self::count_sockets) to count them.
    pub async fn fetch_sockets(&self) -> Vec<RemoteSocket> {
        self.try_fetch_sockets().await.unwrap_or_else(|incomplete| {
            warn!(%incomplete, "not all sockets were fetched");
            incomplete.results
        })
    }

    /// The same.
    ///
    /// # Errors
    /// If a server of the cluster has not answered in time: the error has the sockets of all
    /// others.
    pub async fn try_fetch_sockets(
        &self,
    ) -> Result<Vec<RemoteSocket>, Incomplete<Vec<RemoteSocket>>> {
        let (ask, pipe) = (Fetch(self.target.clone()), self.pipe());
        let here = self.homes.ask(pipe.as_ref(), move |home| home.fetch.send(ask.clone()));
        let question = Question::Fetch { target: self.target.clone(), wanted: Wanted::Details };
        let mut sockets = Vec::new();
        let mut missing = Missing::nobody();
        let mut elsewhere = Vec::new();
        let found = if self.is_shared() {
            let there = self.gather(question, |home, answer| {
                if let Answer::Sockets { sockets, .. } = answer {
                    elsewhere.push((Arc::clone(home), sockets));
                }
            });
            let (found, silent) = futures_util::future::join(here, there).await;
            missing = silent;
            found
        } else {
            here.await
        };
        for (home, found) in found {
            for found in found {
                let home = Arc::clone(&home);
                sockets.push(RemoteSocket::new(found.into(), home, self.sender.as_ref()));
                if sockets.len() % SOCKETS_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        for (home, details) in elsewhere {
            for details in details {
                // What is no socket was no answer.
                let Ok(details) = serde_json::from_value::<SocketDetails>(details) else {
                    continue;
                };
                let home = Arc::clone(&home);
                sockets.push(RemoteSocket::new(details, home, self.sender.as_ref()));
            }
        }
        Incomplete::unless_complete(sockets, missing)
    }

    /// How many sockets are selected. Other servers of a cluster are asked for their number only,
    /// if they know how to answer that.
    ///
    /// # Errors
    /// If a server of the cluster has not answered in time: the error has the sum of the others.
    pub async fn count_sockets(&self) -> Result<usize, Incomplete<usize>> {
        let (ask, pipe) = (MembersOf::target(self.target.clone()), self.pipe());
        let here = self.homes.ask(pipe.as_ref(), move |home| home.members.send(ask.clone()));
        if !self.is_shared() {
            return Ok(here.await.into_iter().map(|(_, ids)| ids.len()).sum());
        }
        let question = Question::Fetch { target: self.target.clone(), wanted: Wanted::Count };
        let mut count = 0_usize;
        let there = self.gather(question, |_, answer| {
            if let Answer::Sockets { count: more, .. } = answer {
                count = count.saturating_add(more);
            }
        });
        let (here, missing) = futures_util::future::join(here, there).await;
        let here = here.into_iter().map(|(_, ids)| ids.len()).sum();
        let count = count.saturating_add(here);
        Incomplete::unless_complete(count, missing)
    }

    /// The names of all rooms, sorted, those of the sockets' own ids included; which sockets the
    /// operator selects does not matter.
    ///
    /// # Errors
    /// If a server of the cluster has not answered in time: the error has the rooms of the others.
    pub async fn all_rooms(&self) -> Result<Vec<Room>, Incomplete<Vec<Room>>> {
        let mut rooms = std::collections::BTreeSet::new();
        let missing = self.gather(Question::AllRooms, |_, answer| match answer {
            Answer::Rooms(more) => rooms.extend(more),
            // Some engines have no message for it.
            Answer::Sockets { sockets, .. } => {
                let details = sockets.into_iter().map(serde_json::from_value::<SocketDetails>);
                rooms.extend(details.flatten().flat_map(|details| details.rooms));
            }
            _ => {}
        });
        let missing = missing.await;
        Incomplete::unless_complete(rooms.into_iter().collect(), missing)
    }

    /// The number of servers in the cluster, this one included: 1 without an adapter, `None` if the
    /// engine does not say. What it means exactly depends on the adapter.
    pub async fn server_count(&self) -> Option<usize> {
        let home = self.homes.current().into_iter().next()?;
        let (sender, others) = oneshot::channel();
        let operation = Operation::Count(sender);
        home.submit(self.pipe().as_ref(), false, move |home, _| {
            home.consult.do_send(Consult { operation, local: false });
        });
        others.await.ok().flatten().map(|others| others.saturating_add(1))
    }

    // ---- joining and leaving, for those who wait for it ------------------------------------------

    /// The same as [`join`](Self::join), and waits until it is done on all servers of the cluster: a
    /// broadcast to the rooms that is sent afterwards, from anywhere, reaches the sockets.
    ///
    /// # Errors
    /// If a server has not confirmed it in time (see [`timeout`](Self::timeout)); it may have been
    /// done nevertheless.
    pub async fn join_confirmed(&self, rooms: impl IntoRooms) -> Result<(), Incomplete<()>> {
        let join = Join { local: self.flags.local, ..Join::new(self.target.clone(), rooms) };
        self.confirm_join(join).await
    }

    /// Done when all servers have done it.
    pub(super) async fn confirm_join(&self, join: Join) -> Result<(), Incomplete<()>> {
        let (settled, mut here) = mpsc::channel(1);
        let join = Join { settled: Some(settled), ..join };
        self.homes.submit(self.pipe().as_ref(), false, {
            move |home, _| home.join.do_send(join.clone())
        });
        let here = async move {
            // Nothing comes; it ends when it is dropped.
            here.recv().await;
        };
        let confirmed = tokio::time::timeout(self.timeout, here).await.is_ok();
        let mut missing = if self.is_shared() {
            self.gather(Question::Settled, |_, _| {}).await
        } else {
            Missing::nobody()
        };
        if !confirmed {
            missing.count = None;
        }
        Incomplete::unless_complete((), missing)
    }

    /// The same as [`leave`](Self::leave), and waits until it is done on all servers of the cluster.
    ///
    /// # Errors
    /// As [`join_confirmed`](Self::join_confirmed).
    pub async fn leave_confirmed(&self, rooms: impl IntoRooms) -> Result<(), Incomplete<()>> {
        let leave = Leave { local: self.flags.local, ..Leave::new(self.target.clone(), rooms) };
        self.homes.submit(self.pipe().as_ref(), true, move |home, origin| {
            home.leave.do_send(Leave { origin, ..leave.clone() });
        });
        let missing = self.gather(Question::Settled, |_, _| {}).await;
        Incomplete::unless_complete((), missing)
    }

    // ---- events from server to server ------------------------------------------------------------

    /// Sends an event to the **other** servers of the cluster, in this namespace: to their
    /// [`Namespace::on_server_side`](crate::Namespace::on_server_side) listeners. Which sockets the
    /// operator selects does not matter. Without an adapter there is nobody to hear it.
    ///
    /// # Errors
    /// If the name is reserved or the data has no JSON form.
    pub fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), EmitError> {
        let payload = server_side(event, data)?;
        if !self.homes.current().iter().any(|home| home.is_clustered()) {
            warn!(event, "a server-side event was sent by a server without an adapter");
        }
        self.homes.submit(self.pipe().as_ref(), false, move |home, _| {
            let message = crate::adapter::message::Message::ServerSideEmit {
                payload: payload.clone(),
                request: None,
            };
            home.consult.do_send(Consult { operation: Operation::Say(message), local: false });
        });
        Ok(())
    }

    /// The same, and gives the answer of each other server: the first value of it. Without an
    /// adapter, or alone in the cluster, there is none.
    ///
    /// # Errors
    /// If a server has not answered in time (see [`timeout`](Self::timeout)), for instance because
    /// none of its listeners answers: the error has the answers of the others.
    ///
    /// The outer error is that of [`server_side_emit`](Self::server_side_emit).
    pub async fn server_side_emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<Result<Vec<Args>, Incomplete<Vec<Args>>>, EmitError> {
        let question = Question::ServerSideEmit(server_side(event, data)?);
        let mut answers = Vec::new();
        let missing = self.gather(question, |_, answer| {
            if let Answer::Value(args) = answer {
                answers.push(args);
            }
        });
        let missing = missing.await;
        Ok(Incomplete::unless_complete(answers, missing))
    }
}

fn server_side<T: Serialize + ?Sized>(event: &str, data: &T) -> Result<Payload, EmitError> {
    if is_kept_by_servers(event) {
        return Err(EncodeError::Reserved(event.to_owned()).into());
    }
    Ok(Payload::event(event, data)?)
}

impl Socket {
    /// The same as [`join`](Self::join), and waits until it is in effect everywhere: a broadcast to
    /// the rooms that is sent afterwards, by any server of the cluster, reaches the socket.
    ///
    /// # Errors
    /// If the engine of the cluster has not confirmed it within 5 s. The socket is in the rooms
    /// nevertheless; what this server sends reaches it.
    pub async fn join_confirmed(&self, rooms: impl IntoRooms) -> Result<(), Incomplete<()>> {
        if self.is_silent() {
            return Ok(());
        }
        let (settled, mut here) = mpsc::channel(1);
        let join = Join::socket(self.id(), rooms);
        let join = Join { local: true, settled: Some(settled), ..join };
        self.follow(move |home| home.join.do_send(join));
        // Nothing comes; it ends when it is dropped.
        let confirmed = tokio::time::timeout(CONFIRMATION, here.recv()).await.is_ok();
        let missing = if confirmed { Missing::nobody() } else { Missing::default() };
        Incomplete::unless_complete((), missing)
    }
}

impl RemoteSocket {
    /// The same as [`join`](Self::join), and waits until it is done, wherever the socket is: a
    /// broadcast to the rooms that is sent afterwards, from anywhere, reaches it.
    ///
    /// # Errors
    /// As [`BroadcastOperator::join_confirmed`].
    pub async fn join_confirmed(&self, rooms: impl IntoRooms) -> Result<(), Incomplete<()>> {
        self.operator().confirm_join(Join::socket(self.id(), rooms)).await
    }
}
