//! What the client of a socket has been asked, and who waits for its answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use super::Socket;
use crate::{
    metrics::meters::Since,
    packet::Args,
    room::{SocketId, messages::Answer},
};

/// Who waits for an answer of a client.
pub(crate) enum Waiting {
    /// One caller for this one answer.
    One(oneshot::Sender<Args>),
    /// A broadcast that collects the answers of many.
    Broadcast(mpsc::UnboundedSender<Answer>),
}

impl Waiting {
    /// The answer has come.
    pub(crate) fn answer(self, id: &SocketId, args: Args) {
        // Whoever asked may have given up.
        match self {
            Self::One(sender) => drop(sender.send(args)),
            Self::Broadcast(sender) => drop(sender.send(Answer::From(id.clone(), args))),
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Broadcast(sender) => sender.is_closed(),
        }
    }

    /// The client has left.
    pub(crate) fn fail(self) {
        if let Self::Broadcast(sender) = self {
            // As above; a single caller sees its channel closed.
            let _ = sender.send(Answer::Gone);
        }
    }
}

/// What a socket's client has been asked. It is filled before the question is sent, wherever that
/// happens, so that no answer can come first.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Open>);

#[derive(Default)]
struct Open {
    waiting: HashMap<u64, (Waiting, Since)>,
    /// The client has left: nothing will be answered any more.
    closed: bool,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, unless `most` are awaited already: then it is as if the client had left,
    /// and `false` comes back.
    pub(crate) fn ask(&self, id: u64, waiting: Waiting, most: usize) -> bool {
        let mut open = self.lock();
        let len = open.waiting.len();
        if len == open.waiting.capacity() || len >= most {
            // Broadcasts whose caller has gone leave their questions behind.
            open.waiting.retain(|_, (waiting, _)| !waiting.is_abandoned());
        }
        let full = open.waiting.len() >= most;
        if open.closed || full {
            drop(open);
            waiting.fail();
            return !full;
        }
        open.waiting.insert(id, (waiting, Since::now()));
        true
    }

    /// Who waits for this answer, and since when; nobody does afterwards.
    pub(crate) fn take(&self, id: u64) -> Option<(Waiting, Since)> {
        self.lock().waiting.remove(&id)
    }

    /// How many answers somebody waits for.
    pub(crate) fn count(&self) -> usize {
        self.lock().waiting.values().filter(|(waiting, _)| !waiting.is_abandoned()).count()
    }

    /// Nothing will be answered any more. How many answers somebody waited for.
    fn close(&self) -> usize {
        let waiting = {
            let mut open = self.lock();
            open.closed = true;
            std::mem::take(&mut open.waiting)
        };
        let wanted = waiting.values().filter(|(waiting, _)| !waiting.is_abandoned()).count();
        waiting.into_values().for_each(|(waiting, _)| waiting.fail());
        wanted
    }
}

impl Socket {
    /// The client will answer nothing any more.
    pub(crate) fn close_questions(&self) {
        let missing = self.questions().close();
        self.home().description.meters.client_acks_missing.add(missing as u64);
    }
}
