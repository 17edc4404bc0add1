//! The link as a namespace has it, and requests of other nodes as it answers them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::prelude::*;

use super::{Attach, Detach, Incoming, Link, Operation, Outgoing};
use crate::{
    adapter::{
        bus::SeatNumber,
        message::{Answer, Message, Uid},
        node::Cluster,
    },
    metrics::Metrics,
};

/// The seat of one namespace. Dropped, it takes part no more.
pub(crate) struct LinkHandle {
    link: Addr<Link>,
    cluster: Cluster,
    seat: SeatNumber,
    metrics: Arc<Metrics>,
    /// Whether the link wants to know which rooms there are.
    pub(crate) wants_rooms: bool,
    /// Whether broadcasts are kept, and get names.
    pub(crate) keeps: bool,
}

static SEATS: AtomicU64 = AtomicU64::new(1);

impl LinkHandle {
    /// Takes part with a namespace that hears by `inbox`.
    pub(crate) fn attach(
        cluster: &Cluster,
        namespace: &Arc<str>,
        inbox: Recipient<Incoming>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let seat = SEATS.fetch_add(1, Ordering::Relaxed);
        let attach = Attach { seat, namespace: Arc::clone(namespace), inbox };
        // To the link itself too: what the namespace sends next must not come before it.
        cluster.link.do_send(attach.clone());
        cluster.node.do_send(attach);
        Self {
            link: cluster.link.clone(),
            cluster: cluster.clone(),
            seat,
            metrics: Arc::clone(metrics),
            wants_rooms: cluster.wants_rooms,
            keeps: cluster.keeps,
        }
    }

    /// The link has died, and this is the next one.
    pub(crate) fn relink(&mut self, link: Addr<Link>) {
        self.link = link;
    }

    /// Hands something over, without waiting. What cannot be taken is dropped and counted.
    /// Returns whether it was taken.
    pub(crate) fn submit(&self, operation: Operation) -> bool {
        let taken = self.link.try_send(Outgoing::new(self.seat, operation)).is_ok();
        if !taken {
            self.metrics.cluster_messages_dropped.increment();
        }
        taken
    }

    /// The same for what must not be lost, because nothing would make up for it. There is no more
    /// of it than sockets move.
    pub(crate) fn insist(&self, operation: Operation) {
        self.link.do_send(Outgoing::new(self.seat, operation));
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.link.do_send(Detach(self.seat));
        self.cluster.node.do_send(Detach(self.seat));
    }
}

impl fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkHandle").field(&self.seat).finish()
    }
}

/// Answers a request of another node.
#[derive(Clone)]
pub(crate) struct Reply {
    link: Recipient<Respond>,
    seat: SeatNumber,
    /// `None` if it does not say who it is.
    to: Option<Uid>,
    request: Uid,
}

impl Reply {
    pub(super) fn new(
        link: Recipient<Respond>,
        seat: SeatNumber,
        to: Option<Uid>,
        request: Uid,
    ) -> Self {
        Self { link, seat, to, request }
    }

    pub(crate) fn send(&self, answer: Answer) {
        let message = Message::Answer { request: self.request.clone(), answer };
        self.link.do_send(Respond { seat: self.seat, to: self.to.clone(), message });
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.request).finish()
    }
}

/// An answer for another node.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Respond {
    pub(super) seat: SeatNumber,
    pub(super) to: Option<Uid>,
    pub(super) message: Message,
}
