//! Session id → pipe, sharded by worker: each worker owns the sessions it opened.
//!
//! A request finds a session of its own worker directly, without message and without lock. One
//! that landed on another worker asks that worker's [`Registry`] actor.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::prelude::*;
use hashbrown::HashMap;
use tokio::sync::Notify;

use super::{
    handshake::SessionId, link::Turn, pipe::Pipe, session::CloseReason,
    supervision::start_supervised,
};
use crate::metrics::Metrics;

/// The sessions that one worker holds. Cheap to clone, bound to its thread.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    worker: usize,
    map: Rc<RefCell<HashMap<SessionId, Held>>>,
    census: Arc<Census>,
}

/// A session, as its worker holds it.
#[derive(Debug)]
struct Held {
    pipe: Pipe,
    turn: Option<Weak<dyn Turn>>,
}

/// How many there are, on all workers together.
#[derive(Debug, Default)]
struct Census {
    /// Sessions that are open.
    sessions: AtomicUsize,
    /// Actors of sessions; they may still have work when their session has ended.
    actors: AtomicUsize,
    /// The last actor has ended.
    empty: Notify,
    metrics: Arc<Metrics>,
}

impl Sessions {
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    /// The counters of the server.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.census.metrics
    }

    /// Adds a session, unless there is one of that id.
    pub(crate) fn insert(&self, sid: SessionId, pipe: Pipe) -> bool {
        if self.map.borrow_mut().try_insert(sid, Held { pipe, turn: None }).is_err() {
            return false;
        }
        self.census.sessions.fetch_add(1, Ordering::Relaxed);
        self.census.actors.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The actor of a session has been started.
    pub(crate) fn started(&self, sid: &SessionId, turn: &Rc<dyn Turn>) {
        if let Some(held) = self.map.borrow_mut().get_mut(sid) {
            held.turn = Some(Rc::downgrade(turn));
        }
    }

    /// What runs a session of this worker.
    pub(crate) fn turn(&self, sid: &SessionId) -> Option<Rc<dyn Turn>> {
        self.map.borrow().get(sid)?.turn.as_ref()?.upgrade()
    }

    /// The actor of a session has ended.
    pub(crate) fn actor_ended(&self) {
        if self.census.actors.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.census.empty.notify_waiters();
        }
    }

    pub(crate) fn remove(&self, sid: &SessionId) {
        if self.map.borrow_mut().remove(sid).is_some() {
            self.census.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn get(&self, sid: &SessionId) -> Option<Pipe> {
        self.map.borrow().get(sid).map(|held| held.pipe.clone())
    }
}

/// Answers for the sessions of its worker. Started by the worker's first request service, ends
/// with the worker.
pub(crate) struct Registry(Sessions);

impl Actor for Registry {
    type Context = Context<Self>;
}

/// The sessions are not the actor's own: they stay, whatever happens to it.
impl Supervised for Registry {}

/// Which pipe has this session?
#[derive(Message)]
#[rtype(result = "Option<Pipe>")]
struct Find(SessionId);

impl Handler<Find> for Registry {
    type Result = Option<Pipe>;

    fn handle(&mut self, Find(sid): Find, _: &mut Self::Context) -> Self::Result {
        self.0.get(&sid)
    }
}

/// End every session of this worker.
#[derive(Message)]
#[rtype(result = "()")]
struct CloseAll;

impl Handler<CloseAll> for Registry {
    type Result = ();

    fn handle(&mut self, _: CloseAll, _: &mut Self::Context) {
        for held in self.0.map.borrow().values() {
            held.pipe.fail(CloseReason::ServerShuttingDown);
        }
    }
}

/// The pipes of all sessions of this worker.
#[derive(Message)]
#[rtype(result = "Vec<Pipe>")]
struct ListAll;

impl Handler<ListAll> for Registry {
    type Result = Vec<Pipe>;

    fn handle(&mut self, _: ListAll, _: &mut Self::Context) -> Self::Result {
        self.0.map.borrow().values().map(|held| held.pipe.clone()).collect()
    }
}

/// One HTTP worker: who answers for its sessions.
#[derive(Clone, Debug)]
struct Worker {
    registry: Addr<Registry>,
}

/// The workers of a server, in the order they came.
///
/// The lock guards the list of workers, which changes only while they start.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    list: RwLock<Vec<Worker>>,
    census: Arc<Census>,
}

impl Workers {
    /// None, of a server with these counters.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let census = Census { metrics, ..Census::default() };
        Self { list: RwLock::default(), census: Arc::new(census) }
    }

    /// Makes the current arbiter a worker; returns its own sessions.
    pub(crate) fn join(&self) -> Sessions {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        // The place of a worker whose thread has ended is free: so have its sessions.
        let free = list.iter().position(|worker| !worker.registry.connected());
        let worker = free.unwrap_or(list.len());
        let sessions = Sessions { worker, map: Rc::default(), census: Arc::clone(&self.census) };
        let registry = start_supervised(Registry(sessions.clone()));
        match free {
            Some(index) => list[index] = Worker { registry },
            None => list.push(Worker { registry }),
        }
        sessions
    }

    fn get(&self, worker: usize) -> Option<Worker> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).get(worker).cloned()
    }

    /// Sessions that are open now.
    pub(crate) fn sessions(&self) -> usize {
        self.census.sessions.load(Ordering::Relaxed)
    }

    /// The pipes of all sessions that are open.
    pub(crate) async fn pipes(&self) -> Vec<Pipe> {
        let workers = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut pipes = Vec::with_capacity(self.sessions());
        for worker in workers {
            // A worker whose thread has ended has no sessions.
            pipes.extend(worker.registry.send(ListAll).await.unwrap_or_default());
        }
        pipes
    }

    /// Ends every session; done when the last actor has ended.
    pub(crate) async fn close(&self) {
        let workers = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        let empty = self.census.empty.notified();
        tokio::pin!(empty);
        empty.as_mut().enable();
        for worker in workers {
            // Until it is handled: it must not meet sessions of a server that was opened again. A
            // worker whose thread has ended has no sessions.
            let _ = worker.registry.send(CloseAll).await;
        }
        if self.census.actors.load(Ordering::Acquire) > 0 {
            empty.await;
        }
    }

    /// Finds a session on whichever worker has it; `own` are those of the asking worker.
    pub(crate) async fn find(&self, own: &Sessions, sid: &SessionId) -> Option<Pipe> {
        let holder = sid.worker()?;
        if holder == own.worker {
            return own.get(sid);
        }
        let worker = self.get(holder)?;
        worker.registry.send(Find(sid.clone())).await.ok().flatten()
    }
}
