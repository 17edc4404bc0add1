//! This node of the cluster: who has the link, and starts another one when it dies.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use futures_util::stream::{Stream, unfold};
use hashbrown::HashMap;
use tokio::{sync::watch, time::Instant};
use tracing::error;

use super::{
    bus::{Connect, Inbox, SeatNumber},
    link::{Attach, CAPACITY, Close, Detach, Ended, Incoming, Link, WhenReady},
};
use crate::metrics::Metrics;

/// Links that may die within `PERIOD` before no more are started.
const RESTARTS: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);

/// The actor of a node. It supervises the link and knows the namespaces that take part, so that the
/// next link can be told of them.
pub(crate) struct Node {
    connect: Arc<dyn Connect>,
    max_bytes: usize,
    link: Addr<Link>,
    generation: u64,
    seats: HashMap<SeatNumber, Attach>,
    restarts: VecDeque<Instant>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    closing: bool,
}

/// How it is with a node; read by anybody.
#[derive(Debug)]
pub(crate) struct Health {
    away: AtomicBool,
    unready: AtomicBool,
    failed: AtomicBool,
    waiting: AtomicUsize,
    /// For those who want to know when it changes.
    states: watch::Sender<ClusterState>,
}

/// How a server's place in its cluster is.
///
/// ```
/// use actix_web::HttpResponse;
/// use greenroom::{ClusterState, SocketIo};
///
/// /// For a probe. `None` is a server without an adapter.
/// async fn health(io: SocketIo) -> HttpResponse {
///     match io.cluster_state() {
///         None | Some(ClusterState::Linked) => HttpResponse::Ok().finish(),
///         Some(other) => HttpResponse::ServiceUnavailable().body(format!("{other:?}")),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterState {
    /// Some namespaces do not hear yet what other servers send.
    Joining,
    /// All is well.
    Linked,
    /// The engine (the Redis server, say) cannot be reached, or has only just come back and the other
    /// servers may not be there yet. The server serves its own clients, and takes part again when it
    /// can. With Redis, what it sends to others waits meanwhile.
    Away,
    /// The driver has failed too often in a short time and is not started any more.
    Failed,
}

impl Health {
    /// That of a node which has just been started.
    fn new() -> Self {
        Self {
            away: AtomicBool::new(false),
            unready: AtomicBool::new(true),
            failed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            states: watch::Sender::new(ClusterState::Joining),
        }
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.set(&self.unready, !ready);
    }

    pub(super) fn set_away(&self, away: bool) {
        self.set(&self.away, away);
    }

    fn set(&self, flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::Release);
        let now = self.state();
        self.states.send_if_modified(|state| std::mem::replace(state, now) != now);
    }

    /// How it is now, and each time that changes.
    pub(crate) fn states(&self) -> impl Stream<Item = ClusterState> + Send + Unpin + use<> {
        let mut states = self.states.subscribe();
        states.mark_changed();
        Box::pin(unfold(states, |mut states| async {
            // The node is gone if it does not say so any more.
            states.changed().await.ok()?;
            let state = *states.borrow_and_update();
            Some((state, states))
        }))
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    pub(super) fn set_waiting(&self, count: usize) {
        self.waiting.store(count, Ordering::Release);
    }

    /// Messages that wait for an engine that is away.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> ClusterState {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        match () {
            () if is(&self.failed) => ClusterState::Failed,
            () if is(&self.away) => ClusterState::Away,
            () if is(&self.unready) => ClusterState::Joining,
            () => ClusterState::Linked,
        }
    }
}

/// A node as the rest of the server has it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(super) node: Addr<Node>,
    /// The first link.
    pub(super) link: Addr<Link>,
    pub(super) wants_rooms: bool,
    pub(super) keeps: bool,
    pub(crate) health: Arc<Health>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("state", &self.health.state()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Starts a node on this thread.
    pub(crate) fn start(
        connect: Arc<dyn Connect>,
        max_bytes: usize,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let health = Arc::new(Health::new());
        let mut started = None;
        let node = Node::create(|ctx| {
            let ended = ctx.address().recipient();
            let (link, traits) = start_link(&*connect, max_bytes, metrics, &health, ended, 0);
            started = Some((link.clone(), traits));
            Node {
                connect,
                max_bytes,
                link,
                generation: 0,
                seats: HashMap::new(),
                restarts: VecDeque::new(),
                metrics: Arc::clone(metrics),
                health: Arc::clone(&health),
                closing: false,
            }
        });
        let (link, (wants_rooms, keeps)) = started.expect("an actor is made when it is created");
        Self { node, link, wants_rooms, keeps, health }
    }

    /// Waits until all namespaces hear what other nodes send.
    pub(crate) async fn ready(&self) {
        // It has ended if it does not answer.
        let _ = self.node.send(WhenReady).await;
    }

    /// Ends the node; done when all that was sent before has left it.
    pub(crate) async fn close(&self) {
        // As above.
        let _ = self.node.send(Close).await;
    }

    #[cfg(feature = "testing")]
    pub(crate) fn kill_link(&self) {
        self.node.do_send(KillLink);
    }
}

fn start_link(
    connect: &dyn Connect,
    max_bytes: usize,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    ended: Recipient<Ended>,
    generation: u64,
) -> (Addr<Link>, (bool, bool)) {
    // Whether it wants to know rooms, and whether it keeps broadcasts.
    let mut traits = (false, false);
    let link = Link::create(|ctx| {
        ctx.set_mailbox_capacity(CAPACITY);
        let inbox = Inbox::new(ctx.address().recipient(), metrics, health, max_bytes);
        let bus = connect.connect(inbox);
        traits = (bus.wants_rooms(), bus.keeps());
        Link::new(bus, Arc::clone(metrics), Arc::clone(health), ended, generation)
    });
    (link, traits)
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Attach> for Node {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        if std::mem::take(&mut self.closing) {
            // The server is opened again.
            self.start_next(ctx);
        }
        if self.generation > 0 {
            // It knows the first link only, which is dead.
            self.link.do_send(attach.clone());
            attach.inbox.do_send(Incoming::Relinked(self.link.clone()));
        }
        self.seats.insert(attach.seat, attach);
    }
}

impl Handler<Detach> for Node {
    type Result = ();

    fn handle(&mut self, Detach(seat): Detach, _: &mut Self::Context) {
        self.seats.remove(&seat);
    }
}

impl Handler<Ended> for Node {
    type Result = ();

    fn handle(&mut self, Ended { generation }: Ended, ctx: &mut Self::Context) {
        if generation != self.generation || self.closing {
            return;
        }
        let now = Instant::now();
        self.restarts.retain(|restart| now.duration_since(*restart) < PERIOD);
        if self.restarts.len() >= RESTARTS {
            error!("the link to the cluster died too often and is given up");
            self.health.set(&self.health.failed, true);
            return;
        }
        error!("the link to the cluster died and is started again");
        self.restarts.push_back(now);
        self.metrics.cluster_links_restarted.increment();
        self.start_next(ctx);
    }
}

impl Node {
    fn start_next(&mut self, ctx: &mut Context<Self>) {
        self.generation += 1;
        let ended = ctx.address().recipient();
        let (link, _) = start_link(
            &*self.connect,
            self.max_bytes,
            &self.metrics,
            &self.health,
            ended,
            self.generation,
        );
        for attach in self.seats.values() {
            link.do_send(attach.clone());
            attach.inbox.do_send(Incoming::Relinked(link.clone()));
        }
        self.link = link;
    }
}

impl Handler<WhenReady> for Node {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: WhenReady, _: &mut Self::Context) -> Self::Result {
        let link = self.link.clone();
        Box::pin(async move {
            // A link that has ended is ready for nothing; its successor is asked by the next one.
            let _ = link.send(WhenReady).await;
        })
    }
}

impl Handler<Close> for Node {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Close, _: &mut Self::Context) -> Self::Result {
        self.closing = true;
        let link = self.link.clone();
        let closed = async move {
            // One that has died needs no closing.
            let _ = link.send(Close).await;
        };
        Box::pin(closed.into_actor(self))
    }
}

#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct KillLink;

#[cfg(feature = "testing")]
impl Handler<KillLink> for Node {
    type Result = ();

    fn handle(&mut self, _: KillLink, _: &mut Self::Context) {
        self.link.do_send(super::link::Die);
    }
}
