//! Layer 6: the supervisor of the sockets and rooms of one path.
//!
//! A [`Namespace`] is described by a builder and then runs as an actor. It owns who is in which
//! room, starts one room actor per worker that has members, and replaces one that dies. No user
//! code runs in it: middlewares and listeners run on the worker of their client.

mod ahead;
mod builder;
mod cluster;
mod crew;
mod dynamic;
mod keeping;
mod membership;
pub(crate) mod messages;
mod operations;
mod passing;
mod queries;
mod rebuilding;
mod recalling;
mod recovery;
pub(crate) mod returning;
mod supervisor;
mod typed;

use std::{
    fmt,
    sync::{Arc, Weak},
};

use actix::prelude::*;
use hashbrown::HashMap;
use tokio::sync::oneshot;
use tracing::debug;

pub(crate) use self::dynamic::Rule;
#[cfg(feature = "testing")]
pub use self::messages::{BreakRooms, KillNamespace, KillRooms};
pub use self::{
    builder::{
        BoxedMiddleware, Connecting, Disconnected, IntoConnect, IntoDisconnect, IntoMiddleware,
        NamespaceActor, On,
    },
    dynamic::{Acceptance, Parent},
    messages::{
        FindSocket, RoomEvent, SocketEvent, Sockets, Stop, SubscribeRooms, SubscribeSockets,
    },
};
use self::{
    crew::Crew, membership::Membership, messages::Entrance, rebuilding::Moment, recovery::Keeper,
};
use crate::{
    adapter::{
        link::{Incoming, LinkHandle},
        node::Cluster,
    },
    engine::supervision::start_supervised,
    metrics::{Metrics, meters::Census},
    room::{Key, SocketId},
    socket::home::{Common, Description, Home},
};

/// Operations after which a namespace lets the other actors of its thread work.
const OPERATIONS_PER_TURN: usize = 256;

/// The place of a namespace on its server's list.
pub(crate) trait Listing: Send {
    /// Whether an empty namespace may end now. If so, nobody finds it from now on.
    fn retire(&self) -> bool;
    /// Nobody is in the namespace at this address: it may be told to [make way](messages::MakeWay).
    fn emptied(&self, addr: Addr<Namespace>);
    /// Somebody is in it again.
    fn entered(&self);
    /// The namespace was told to end: it is not to be started again.
    fn stopping(&self);
    /// The actor has ended.
    fn ended(&self);
}

/// How long a namespace that nobody is in stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// Until the application ends it.
    ForGood,
    /// Until others want its room.
    Spare,
    /// It does not.
    Inhabited,
}

/// The sockets of one path, their rooms and their listeners.
///
/// Build it, then give it to [`SocketIo`](crate::SocketIo) or start it like any actor:
///
/// ```
/// use greenroom::{Ack, Namespace, Socket};
/// let chat = Namespace::new("/chat")
///     .on_connect(|socket: Socket| async move { socket.join("lobby") })
///     .on("double", |_: Socket, n: u64| async move { Ack(n * 2) });
/// ```
pub struct Namespace {
    name: Arc<str>,
    /// While it is built, the description has one owner: this.
    description: Arc<Description>,
    metrics: Arc<Metrics>,
    home: Weak<Home>,
    members: Membership,
    census: Census,
    crew: Crew,
    /// For connection state recovery, if the server wants it.
    keeper: Option<Box<Keeper>>,
    /// The other servers, if there may be some.
    link: Option<Box<LinkHandle>>,
    /// Held by each listener of other servers' events that is under way.
    serving: Arc<()>,
    room_events: Vec<Recipient<RoomEvent>>,
    socket_events: Vec<Recipient<SocketEvent>>,
    /// Who waits for a socket to be gone.
    partings: HashMap<SocketId, Vec<oneshot::Sender<()>>>,
    stopping: bool,
    listing: Option<Box<dyn Listing>>,
    tenure: Tenure,
    operations: usize,
    /// The client that is being let in, in case of a panic.
    admitting: Option<Key>,
    /// When a test wants it to panic.
    #[cfg(feature = "testing")]
    fuse: Option<KillNamespace>,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Namespace {
    /// The name, with its leading slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes over what all namespaces of a server have in common. `label` is what metrics call it.
    #[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
    pub(crate) fn join_server(&mut self, metrics: &Arc<Metrics>, common: &Common, label: &str) {
        self.metrics = Arc::clone(metrics);
        let description = builder::description(&mut self.description);
        description.shared.inherit(&common.shared);
        description.codec = common.codec.clone();
        description.shares_from = common.shares_from;
        description.recovery.clone_from(&common.recovery);
        description.limits = common.limits;
        description.propagation = common.propagation.clone();
        description.metrics = Arc::clone(metrics);
        #[cfg(feature = "metrics")]
        {
            let events = description.listeners.events.keys().map(|event| &**event);
            description.meters = metrics.meters.namespace(label, events);
        }
    }

    /// A namespace of a description that others share.
    pub(crate) fn described(
        name: &str,
        description: Arc<Description>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self { description, metrics: Arc::clone(metrics), ..Self::new(name) }
    }

    pub(crate) fn shared_description(&self) -> Arc<Description> {
        Arc::clone(&self.description)
    }

    pub(crate) fn set_listing(&mut self, listing: impl Listing + 'static) {
        self.listing = Some(Box::new(listing));
    }

    fn is_deserted(&self) -> bool {
        !self.stopping && self.members.is_empty() && self.partings.is_empty()
    }

    /// A child that nobody is in any more ends, if its server wants it so; else it may have to make
    /// way for others.
    fn retire_if_empty(&mut self, ctx: &mut Context<Self>) {
        match self.tenure {
            Tenure::ForGood => {}
            Tenure::Inhabited => {
                if !self.expects_returns() {
                    self.retire(ctx);
                }
            }
            Tenure::Spare => {
                if self.is_deserted()
                    && let Some(listing) = &self.listing
                {
                    listing.emptied(ctx.address());
                }
            }
        }
    }

    /// Ends, if nobody is in it or on the way to it.
    fn retire(&mut self, ctx: &mut Context<Self>) -> bool {
        let retires =
            self.is_deserted() && self.listing.as_ref().is_some_and(|listing| listing.retire());
        if retires {
            debug!(namespace = &*self.name, "an empty child namespace ends");
            self.stopping = true;
            ctx.stop();
        }
        retires
    }

    /// How long it stays without clients.
    pub(crate) fn stays(mut self, tenure: Tenure) -> Self {
        self.tenure = tenure;
        self
    }

    /// What connections need to reach the actor at `addr`, which is or will be this namespace.
    pub(crate) fn entrance(&mut self, addr: &Addr<Self>) -> Arc<Entrance> {
        let home = self.home.upgrade().unwrap_or_else(|| {
            let home = Home::new(Arc::clone(&self.name), Arc::clone(&self.description), addr);
            Arc::new(home)
        });
        self.home = Arc::downgrade(&home);
        if self.keeper.is_none() {
            let settings = self.description.recovery.as_ref();
            self.keeper = settings.map(|settings| Box::new(Keeper::new(settings)));
            self.arrange_keeping(addr);
        }
        let may_retire = self.tenure != Tenure::ForGood;
        Arc::new(Entrance { home, addr: addr.clone(), may_retire })
    }

    /// Counts an operation; after many of them others get their turn, and the mailbox waits.
    fn rest(&mut self, ctx: &mut Context<Self>) {
        self.burn(Moment::Within);
        self.operations += 1;
        if self.operations >= OPERATIONS_PER_TURN {
            self.operations = 0;
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    /// Takes part in the cluster from now on: the actor at `addr` is or will be this namespace.
    pub(crate) fn attach(&mut self, cluster: &Cluster, addr: &Addr<Self>) {
        if let Some(home) = self.home.upgrade() {
            home.set_clustered();
        }
        let inbox: Recipient<Incoming> = addr.clone().recipient();
        let link = LinkHandle::attach(cluster, &self.name, inbox, &self.metrics);
        self.link = Some(Box::new(link));
        self.arrange_keeping(addr);
    }

    /// Tells how many sockets and rooms there are, after they may have changed.
    fn take_census(&mut self) {
        let (sockets, rooms) = self.members.counts();
        self.census.tell(&self.description.meters, sockets, rooms);
    }

    fn tell_rooms(&mut self, events: impl Iterator<Item = RoomEvent>) {
        for event in events {
            if let Some(link) = &self.link {
                cluster::announce(link, &event);
            }
            if let Some(keeper) = &mut self.keeper {
                keeper.note(&event);
            }
            #[cfg(feature = "admin")]
            if let Some(tap) = self.description.tap() {
                match &event {
                    RoomEvent::Joined { room, socket } => tap.joined(&self.name, room, socket),
                    RoomEvent::Left { room, socket } => tap.left(&self.name, room, socket),
                    RoomEvent::Created { .. } | RoomEvent::Deleted { .. } => {}
                }
            }
            self.room_events.retain(|subscriber| subscriber.connected());
            for subscriber in &self.room_events {
                subscriber.do_send(event.clone());
            }
        }
    }

    fn tell_sockets(&mut self, event: &SocketEvent) {
        #[cfg(feature = "admin")]
        if let Some(tap) = self.description.tap() {
            match event {
                SocketEvent::Connected(socket) => {
                    let member =
                        self.members.key(socket.id()).and_then(|key| self.members.get(key));
                    let rooms = member.map(|member| member.rooms().to_vec());
                    tap.connected(socket, rooms.unwrap_or_default());
                }
                SocketEvent::Disconnected { socket, reason } => tap.disconnected(socket, *reason),
            }
        }
        self.socket_events.retain(|subscriber| subscriber.connected());
        for subscriber in &self.socket_events {
            subscriber.do_send(event.clone());
        }
    }
}

impl Actor for Namespace {
    type Context = Context<Self>;

    /// The same as an actor's, but it outlives its panics.
    fn start(self) -> Addr<Self> {
        start_supervised(self)
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.census = Census::default();
        self.orphan();
        if let Some(home) = self.home.upgrade() {
            home.close();
        }
        if let Some(listing) = self.listing.take() {
            listing.ended();
        }
    }
}
