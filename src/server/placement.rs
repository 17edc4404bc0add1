//! Which thread a namespace runs on: one of the HTTP workers.
//!
//! A server is started before its workers exist. On a thread of its own a namespace would cost a
//! wake-up across threads for everything it does, so its mailbox is made at once and its actor
//! waits for a worker. If a message comes first and no worker follows shortly, it runs where the
//! server was started: nobody who asks a namespace something waits for an HTTP server.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{
    dev::{
        Envelope, EnvelopeProxy as _,
        channel::{AddressReceiver, channel},
    },
    prelude::*,
};
use futures_util::{StreamExt, future::Either};
use tokio::sync::watch;

use crate::{engine::supervision, namespace::Namespace};

/// How long a namespace that has work waits for a worker.
const PATIENCE: Duration = Duration::from_millis(100);

/// The bound of a namespace's mailbox for those who send with back-pressure.
const MAILBOX: usize = 1024;

/// See the module's description.
pub(super) struct Placement {
    workers: Arc<Mutex<Workers>>,
    joined: watch::Sender<usize>,
}

#[derive(Default)]
struct Workers {
    arbiters: Vec<ArbiterHandle>,
    next: usize,
}

impl Workers {
    /// The workers take turns. Those whose thread has ended are taken off the list.
    fn pick(&mut self) -> Option<ArbiterHandle> {
        while !self.arbiters.is_empty() {
            let index = self.next % self.arbiters.len();
            if self.arbiters[index].spawn(std::future::ready(())) {
                self.next = self.next.wrapping_add(1);
                return Some(self.arbiters[index].clone());
            }
            self.arbiters.remove(index);
        }
        None
    }
}

/// A mailbox that has no actor yet.
pub(super) fn mailbox() -> (Addr<Namespace>, AddressReceiver<Namespace>) {
    let (sender, receiver) = channel(MAILBOX);
    (Addr::new(sender), receiver)
}

impl Placement {
    pub(super) fn new() -> Self {
        Self { workers: Arc::default(), joined: watch::Sender::new(0) }
    }

    pub(super) fn worker_joined(&self, arbiter: ArbiterHandle) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).arbiters.push(arbiter);
        self.joined.send_modify(|count| *count += 1);
    }

    /// Runs the namespace on a worker, or on the present thread if no worker comes.
    pub(super) fn place(&self, namespace: Namespace, receiver: AddressReceiver<Namespace>) {
        let picked = self.workers.lock().unwrap_or_else(PoisonError::into_inner).pick();
        if let Some(arbiter) = picked {
            run_on(&arbiter, namespace, receiver, None);
            return;
        }
        let workers = Arc::clone(&self.workers);
        let joined = self.joined.subscribe();
        actix::spawn(wait_for_worker(workers, joined, namespace, receiver));
    }
}

async fn wait_for_worker(
    workers: Arc<Mutex<Workers>>,
    mut joined: watch::Receiver<usize>,
    namespace: Namespace,
    mut receiver: AddressReceiver<Namespace>,
) {
    let worker = Box::pin(joined.wait_for(|count| *count > 0));
    let first = match futures_util::future::select(worker, receiver.next()).await {
        Either::Left(_) => None,
        Either::Right((first, worker)) => {
            // In vain or not: afterwards the message is handled.
            let _ = tokio::time::timeout(PATIENCE, worker).await;
            first
        }
    };
    let picked = workers.lock().unwrap_or_else(PoisonError::into_inner).pick();
    let arbiter = picked.unwrap_or_else(Arbiter::current);
    run_on(&arbiter, namespace, receiver, first);
}

/// Starts the actor on an arbiter; `first` has been taken from its mailbox already.
fn run_on(
    arbiter: &ArbiterHandle,
    mut namespace: Namespace,
    receiver: AddressReceiver<Namespace>,
    first: Option<Envelope<Namespace>>,
) {
    arbiter.spawn_fn(move || {
        let mut context = Context::with_receiver(receiver);
        if let Some(mut first) = first {
            first.handle(&mut namespace, &mut context);
        }
        supervision::run(context, namespace);
    });
}
