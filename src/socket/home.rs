//! A namespace as its sockets see it: its name, its listeners, and where to send what.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{dev::RecipientRequest, prelude::*};
use hashbrown::HashMap;
use tokio::sync::oneshot;

#[cfg(feature = "admin")]
use super::tap::Tap;
use super::{
    codec::Codec,
    listeners::{ErrorHook, Listeners},
    recovery::DataChanged,
    remote::Fetch,
};
use crate::{
    adapter::{link::Consult, node::Cluster, recovery::Settings},
    config::SocketLimits,
    engine::{
        WhenFull,
        frame::Frame,
        outbox::{Frames, Way},
        pipe::Pipe,
    },
    metrics::{Metrics, meters::NamespaceMeters},
    room::{Broadcast, Disconnect, Join, Leave, MembersOf, RoomsOf, SocketId, messages::Origin},
    trace::Propagation,
};

/// Values the application shares with its listeners, one of each type.
#[derive(Clone, Default)]
pub(crate) struct Shared(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Shared {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// Takes over what is not set here.
    pub(crate) fn inherit(&mut self, other: &Self) {
        for (id, value) in &other.0 {
            self.0.entry(*id).or_insert_with(|| Arc::clone(value));
        }
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.get(&TypeId::of::<T>())?).downcast().ok()
    }
}

/// What all namespaces of a server have in common.
#[derive(Clone, Default)]
pub(crate) struct Common {
    pub(crate) shared: Shared,
    pub(crate) codec: Codec,
    /// The size from which frames of broadcasts are compressed once for all, if that may happen.
    pub(crate) shares_from: Option<usize>,
    pub(crate) recovery: Option<Arc<Settings>>,
    /// The other servers, if there may be some.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) limits: SocketLimits,
    /// How trace contexts travel.
    pub(crate) propagation: Propagation,
}

/// What the builder of a namespace has collected; it does not change once the namespace runs.
pub(crate) struct Description {
    pub(crate) listeners: Listeners,
    pub(crate) shared: Shared,
    pub(crate) serial: bool,
    /// How long before the end of its credentials a socket is told of.
    pub(crate) expiry_warning: Duration,
    pub(crate) error_hook: Option<ErrorHook>,
    /// What becomes of events for clients whose outbox is full.
    pub(crate) when_full: WhenFull,
    /// The server's.
    pub(crate) codec: Codec,
    /// A socket has had listeners of what is sent to it.
    copies: AtomicBool,
    /// Where what happens in the namespace is shown, if the server has an admin interface.
    #[cfg(feature = "admin")]
    tap: OnceLock<Arc<Tap>>,
    /// The server's, see [`Common`].
    pub(crate) shares_from: Option<usize>,
    /// The server's: whether clients can have their sockets back, and how.
    pub(crate) recovery: Option<Arc<Settings>>,
    /// The server's bounds, and where it is counted what they refuse.
    pub(crate) limits: SocketLimits,
    pub(crate) metrics: Arc<Metrics>,
    /// What is measured for an exporter.
    pub(crate) meters: Arc<NamespaceMeters>,
    /// The server's.
    pub(crate) propagation: Propagation,
}

impl Default for Description {
    fn default() -> Self {
        Self {
            listeners: Listeners::default(),
            shared: Shared::default(),
            serial: false,
            expiry_warning: Duration::from_secs(30),
            error_hook: None,
            when_full: WhenFull::default(),
            codec: Codec::default(),
            copies: AtomicBool::default(),
            #[cfg(feature = "admin")]
            tap: OnceLock::new(),
            shares_from: None,
            recovery: None,
            limits: SocketLimits::default(),
            metrics: Arc::default(),
            meters: Arc::default(),
            propagation: Propagation::default(),
        }
    }
}

impl Description {
    /// From now on broadcasts go along with what they say, for those who listen to it.
    pub(crate) fn want_copies(&self) {
        self.copies.store(true, Ordering::Release);
    }

    pub(crate) fn wants_copies(&self) -> bool {
        self.copies.load(Ordering::Acquire)
            || !self.listeners.any_outgoing.is_empty()
            || self.is_tapped()
    }

    /// Whether somebody looks at what happens in the namespace.
    #[cfg(feature = "admin")]
    pub(crate) fn is_tapped(&self) -> bool {
        self.tap().is_some()
    }

    /// Nobody looks without an admin interface.
    #[cfg(not(feature = "admin"))]
    pub(crate) fn is_tapped(&self) -> bool {
        false
    }

    /// Where to show what happens, while somebody looks.
    #[cfg(feature = "admin")]
    pub(crate) fn tap(&self) -> Option<&Arc<Tap>> {
        self.tap.get().filter(|tap| tap.is_on())
    }

    /// From now on what happens can be shown. A server has one interface.
    #[cfg(feature = "admin")]
    pub(crate) fn set_tap(&self, tap: &Arc<Tap>) {
        let _ = self.tap.set(Arc::clone(tap));
    }

    /// The frames of a broadcast: what may be compressed is compressed once for all receivers.
    pub(crate) fn shared_by_receivers(&self, frames: Frames) -> Frames {
        let Some(least) = self.shares_from else { return frames };
        let worth = |frame: &Frame| frame.compress() && frame.packet().len() >= least;
        frames.into_iter().map(|f| if worth(&f) { f.share() } else { f }).collect()
    }
}

/// Who knows which namespace has a name now.
pub(crate) trait Successors: Send + Sync {
    fn current(self: Arc<Self>, name: &str) -> Option<Arc<Home>>;
}

/// See the module's description. One per namespace, shared by all its sockets.
pub(crate) struct Home {
    pub(crate) name: Arc<str>,
    pub(crate) description: Arc<Description>,
    pub(crate) broadcast: Recipient<Broadcast>,
    pub(crate) join: Recipient<Join>,
    pub(crate) leave: Recipient<Leave>,
    pub(crate) disconnect: Recipient<Disconnect>,
    pub(crate) members: Recipient<MembersOf>,
    pub(crate) rooms: Recipient<RoomsOf>,
    pub(crate) fetch: Recipient<Fetch>,
    pub(crate) consult: Recipient<Consult>,
    data_changed: Recipient<DataChanged>,
    acks: AtomicU64,
    closed: AtomicBool,
    /// Whether there may be other servers.
    clustered: AtomicBool,
    /// Whether other servers may take up its sockets.
    depositing: AtomicBool,
    /// Clients that have found the namespace, and of whom it does not know yet.
    arrivals: AtomicUsize,
    /// Its place among the children that nobody is in, or 0.
    spare_place: AtomicU64,
    /// Where to ask when the namespace has ended. Not set for one that runs without a server.
    successors: OnceLock<Weak<dyn Successors>>,
}

impl Home {
    pub(crate) fn new<A>(name: Arc<str>, description: Arc<Description>, addr: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<Broadcast>
            + Handler<Join>
            + Handler<Leave>
            + Handler<Disconnect>
            + Handler<MembersOf>
            + Handler<RoomsOf>
            + Handler<Fetch>
            + Handler<Consult>
            + Handler<DataChanged>,
    {
        Self {
            name,
            description,
            broadcast: addr.clone().recipient(),
            join: addr.clone().recipient(),
            leave: addr.clone().recipient(),
            disconnect: addr.clone().recipient(),
            members: addr.clone().recipient(),
            rooms: addr.clone().recipient(),
            fetch: addr.clone().recipient(),
            consult: addr.clone().recipient(),
            data_changed: addr.clone().recipient(),
            acks: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            clustered: AtomicBool::new(false),
            depositing: AtomicBool::new(false),
            arrivals: AtomicUsize::new(0),
            spare_place: AtomicU64::new(0),
            successors: OnceLock::new(),
        }
    }

    /// Hands an operation of the client of `pipe` to the namespace; `returns` says whether it may
    /// come back to that client. Without a client nothing has to be kept in order.
    pub(crate) fn submit(
        self: &Arc<Self>,
        pipe: Option<&Pipe>,
        returns: bool,
        send: impl FnOnce(&Self, Option<Origin>) + Send + 'static,
    ) {
        let home = Arc::clone(self);
        match pipe {
            Some(pipe) if returns => {
                Origin::begin(pipe, self.way(), move |origin| send(&home, Some(origin)));
            }
            Some(pipe) => pipe.follow(self.way(), move || send(&home, None)),
            None => send(self, None),
        }
    }

    /// Asks the namespace something, in order with what the client of `pipe` did before. `None`
    /// if the namespace has ended.
    pub(crate) async fn ask<M>(
        self: &Arc<Self>,
        pipe: Option<&Pipe>,
        send: impl FnOnce(&Self) -> RecipientRequest<M> + Send + 'static,
    ) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (sender, sent) = oneshot::channel();
        self.submit(pipe, false, move |home, _| {
            // Whoever asks may have given up.
            let _ = sender.send(send(home));
        });
        sent.await.ok()?.await.ok()
    }

    /// A number that no other namespace has while this one lives.
    fn way(self: &Arc<Self>) -> Way {
        Arc::as_ptr(self).addr()
    }

    /// Other servers take part in the namespace from now on.
    pub(crate) fn set_clustered(&self) {
        self.clustered.store(true, Ordering::Release);
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.clustered.load(Ordering::Acquire)
    }

    /// Other servers may take up its sockets from now on.
    pub(crate) fn set_depositing(&self) {
        self.depositing.store(true, Ordering::Release);
    }

    /// The data of a socket have changed for the first time since they were looked at.
    pub(super) fn data_changed(&self, id: &SocketId) {
        if self.depositing.load(Ordering::Acquire) {
            self.data_changed.do_send(DataChanged(id.clone()));
        }
    }

    pub(crate) fn spare_place(&self) -> u64 {
        self.spare_place.load(Ordering::Relaxed)
    }

    pub(crate) fn set_spare_place(&self, place: u64) {
        self.spare_place.store(place, Ordering::Relaxed);
    }

    /// Nobody joins the namespace any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn set_successors(&self, successors: Weak<dyn Successors>) {
        // It is listed once.
        let _ = self.successors.set(successors);
    }

    /// This namespace, or the one that has its name since it has ended.
    pub(crate) fn current(self: &Arc<Self>) -> Arc<Self> {
        let successor = || self.successors.get()?.upgrade()?.current(&self.name);
        if self.is_closed() {
            successor().unwrap_or_else(|| Arc::clone(self))
        } else {
            Arc::clone(self)
        }
    }

    /// A client has found the namespace.
    pub(crate) fn arrive(&self) {
        self.arrivals.fetch_add(1, Ordering::AcqRel);
    }

    /// The namespace knows of a client that had found it, or the client has turned away.
    pub(crate) fn arrived(&self) {
        self.arrivals.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether clients are on their way to the namespace.
    pub(crate) fn is_expecting(&self) -> bool {
        self.arrivals.load(Ordering::Acquire) > 0
    }

    /// The id of the next event that wants an answer: one counter for the whole namespace.
    pub(crate) fn next_ack(&self) -> u64 {
        self.acks.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Home").field(&self.name).finish()
    }
}
