//! What a server knows of its namespaces: those that run, the parents of those that may, and how
//! to start again what has ended.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use actix::prelude::*;
use tracing::{debug, error, warn};

use super::{
    directory::{Namespaces, Started},
    parents::{ListedParent, Parents, Verdict},
    placement::{self, Placement},
    spare::{Complaints, Spare},
};
use crate::{
    connection::{Directory, Search},
    engine::unharmed::{Panicked, unharmed},
    metrics::Metrics,
    namespace::{
        Listing, Namespace, Tenure,
        messages::{Arrival, Entrance},
    },
    room::Broadcast,
    socket::{
        Handshake,
        home::{Common, Description, Home, Successors},
    },
};

/// Called with each namespace that was started, see
/// [`SocketIoBuilder::on_new_namespace`](super::SocketIoBuilder::on_new_namespace).
pub(crate) type OnNewNamespace = Box<dyn Fn(&str, &Addr<Namespace>) + Send + Sync>;

/// What a catalog is made of.
pub(super) struct Settings {
    pub(super) common: Common,
    pub(super) metrics: Arc<Metrics>,
    pub(super) on_new_namespace: Option<OnNewNamespace>,
    /// Whether children end when their last client has left.
    pub(super) cleanup: bool,
    /// How many namespaces there may be before none is born any more.
    pub(super) max_namespaces: usize,
    /// Bytes of a name that parents are asked about.
    pub(super) max_name: usize,
}

impl Settings {
    /// How many children that nobody is in are kept: a tenth of what there may be.
    fn max_empty(&self) -> usize {
        (self.max_namespaces / 10).max(1)
    }
}

/// How a namespace was described, and which one runs by it.
struct Described {
    description: Arc<Description>,
    home: Arc<Home>,
}

/// See the module's description.
pub(crate) struct Catalog {
    namespaces: Namespaces,
    pub(super) parents: Parents,
    placement: Placement,
    spare: Spare,
    complaints: Complaints,
    settings: Settings,
    /// The namespaces that were started by name, until they are removed.
    described: Mutex<BTreeMap<String, Described>>,
    /// Where what is sent to the main namespace goes.
    main: Mutex<Option<Arc<Home>>>,
    closed: AtomicBool,
    #[cfg(feature = "admin")]
    tap: std::sync::OnceLock<Arc<crate::socket::tap::Tap>>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Catalog {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            namespaces: Namespaces::default(),
            parents: Parents::default(),
            placement: Placement::new(),
            spare: Spare::default(),
            complaints: Complaints::default(),
            settings,
            described: Mutex::default(),
            main: Mutex::default(),
            closed: AtomicBool::new(false),
            #[cfg(feature = "admin")]
            tap: std::sync::OnceLock::new(),
        }
    }

    pub(super) fn worker_joined(&self, arbiter: ArbiterHandle) {
        self.placement.worker_joined(arbiter);
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Starts a namespace unless one of its name runs; the way into whichever runs then.
    pub(super) fn open(self: &Arc<Self>, mut namespace: Namespace) -> Arc<Entrance> {
        let name = namespace.name().to_owned();
        namespace.join_server(&self.settings.metrics, &self.settings.common, &name);
        let description = namespace.shared_description();
        match self.start(namespace, |_| true) {
            Started::New(entrance) => {
                let home = Arc::clone(&entrance.home);
                lock(&self.described).insert(name, Described { description, home });
                entrance
            }
            Started::Running(entrance) => {
                warn!(namespace = name, "it runs already: the new description is dropped");
                entrance
            }
            Started::Refused => unreachable!("every number of namespaces was allowed"),
        }
    }

    /// Starts a namespace if `allowed`, which is told how many are listed, and nobody has its name.
    fn start(
        self: &Arc<Self>,
        mut namespace: Namespace,
        allowed: impl FnOnce(usize) -> bool,
    ) -> Started {
        let (addr, receiver) = placement::mailbox();
        let name = namespace.name().to_owned();
        let entrance = namespace.entrance(&addr);
        match self.namespaces.register(&name, &entrance, allowed) {
            Started::New(_) => {}
            other => return other,
        }
        let home = Arc::clone(&entrance.home);
        #[cfg(feature = "admin")]
        if let Some(tap) = self.tap.get() {
            home.description.set_tap(tap);
        }
        let successors: Weak<Self> = Arc::downgrade(self);
        home.set_successors(successors);
        if name == "/" {
            *lock(&self.main) = Some(Arc::clone(&home));
        } else {
            self.announce(&name, &addr);
        }
        if let Some(cluster) = &self.settings.common.cluster {
            namespace.attach(cluster, &addr);
        }
        namespace.set_listing(ListedNamespace { catalog: Arc::clone(self), home });
        self.placement.place(namespace, receiver);
        Started::New(entrance)
    }

    fn announce(&self, name: &str, addr: &Addr<Namespace>) {
        let Some(hook) = &self.settings.on_new_namespace else { return };
        if let Err(Panicked(reason)) = unharmed(|| hook(name, addr)) {
            self.settings.metrics.panics.increment();
            error!(namespace = name, reason, "the hook for new namespaces panicked");
        }
    }

    /// Starts again, with its listeners, a namespace whose actor has ended without being told to:
    /// it panicked, or the thread it ran on is gone.
    fn revive(self: &Arc<Self>, name: &str) -> Option<Arc<Entrance>> {
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        let description = Arc::clone(&lock(&self.described).get(name)?.description);
        warn!(namespace = name, "a namespace had ended unasked and is started again");
        self.restart(name, description)
    }

    fn restart(
        self: &Arc<Self>,
        name: &str,
        description: Arc<Description>,
    ) -> Option<Arc<Entrance>> {
        let namespace = Namespace::described(name, description, &self.settings.metrics);
        match self.start(namespace, |_| true) {
            Started::New(entrance) => {
                if let Some(described) = lock(&self.described).get_mut(name) {
                    described.home = Arc::clone(&entrance.home);
                }
                Some(entrance)
            }
            Started::Running(entrance) => Some(entrance),
            Started::Refused => None,
        }
    }

    /// Shows what happens in all namespaces, those that come later included. Whether nobody did so
    /// before.
    #[cfg(feature = "admin")]
    pub(crate) fn set_tap(&self, tap: &Arc<crate::socket::tap::Tap>) -> bool {
        let first = self.tap.set(Arc::clone(tap)).is_ok();
        if first {
            // Those that are listed from now on find it themselves.
            self.namespaces.homes().iter().for_each(|home| home.description.set_tap(tap));
        }
        first
    }

    /// The namespace of a name, if it runs.
    pub(super) fn running(self: &Arc<Self>, name: &str) -> Option<Arc<Entrance>> {
        self.namespaces.entrance(name).or_else(|| self.revive(name))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.namespaces.names()
    }

    /// The main namespace. When the server is closed it is the last one, to which nobody listens.
    pub(super) fn main(self: &Arc<Self>) -> Arc<Home> {
        let last = lock(&self.main).clone();
        match (self.running("/"), last) {
            (Some(entrance), _) => Arc::clone(&entrance.home),
            (None, Some(home)) => home,
            (None, None) => Arc::clone(&self.open(Namespace::new("/")).home),
        }
    }

    /// The namespace of a name: the one that runs, or a child of the first parent whose pattern
    /// takes it, or a new one without listeners.
    pub(super) fn of(self: &Arc<Self>, name: &str) -> Arc<Entrance> {
        let parent = || self.parents.by_pattern(name);
        self.running(name)
            .or_else(|| self.born(name, &parent()?, Tenure::ForGood, |_| true))
            .unwrap_or_else(|| self.open(Namespace::new(name)))
    }

    fn born(
        self: &Arc<Self>,
        name: &str,
        parent: &Arc<ListedParent>,
        empty: Tenure,
        allowed: impl FnOnce(usize) -> bool,
    ) -> Option<Arc<Entrance>> {
        let metrics = &self.settings.metrics;
        let child = Namespace::described(name, Arc::clone(&parent.description), metrics);
        let tenure = if self.settings.cleanup { Tenure::Inhabited } else { empty };
        match self.start(child.stays(tenure), allowed) {
            Started::New(entrance) => {
                parent.add(&entrance.home);
                self.make_room();
                Some(entrance)
            }
            Started::Running(entrance) => Some(entrance),
            Started::Refused => None,
        }
    }

    /// Whether one more namespace may be born for a client. Asked under the lock of the list.
    fn may_be_born(&self, listed: usize) -> bool {
        !self.closed.load(Ordering::Acquire) && listed < self.settings.max_namespaces
    }

    /// Lets children go that nobody is in, the longest empty first, if there are many of them or no
    /// other could be born.
    fn make_room(&self) {
        let full = self.namespaces.len() >= self.settings.max_namespaces;
        self.spare.shrink(self.settings.max_empty(), full);
    }

    /// Forgets how this namespace was described, so that it is not started again; not how another
    /// one of its name was.
    fn forget(&self, home: &Arc<Home>) {
        let mut described = lock(&self.described);
        if described.get(&*home.name).is_some_and(|known| Arc::ptr_eq(&known.home, home)) {
            described.remove(&*home.name);
        }
    }

    /// The same by name.
    pub(super) fn forget_name(&self, name: &str) {
        lock(&self.described).remove(name);
    }

    /// Sends the same to all namespaces.
    pub(super) fn broadcast(&self, broadcast: &Broadcast) {
        self.namespaces.broadcast(broadcast);
    }

    /// Waits until what was sent before has reached the outboxes of all sockets.
    pub(super) async fn flush(&self) {
        self.namespaces.flush().await;
    }

    /// Ends all namespaces; done when each has taken the message.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.namespaces.stop().await;
    }

    /// After [`Catalog::close`]: starts again the namespaces that were started by name.
    pub(super) fn reopen(self: &Arc<Self>) {
        if !self.closed.swap(false, Ordering::AcqRel) {
            return;
        }
        let described: Vec<_> = lock(&self.described)
            .iter()
            .map(|(name, known)| (name.clone(), Arc::clone(&known.description)))
            .collect();
        for (name, description) in described {
            self.restart(&name, description);
        }
    }

    /// Lists a namespace that was started without the server.
    #[cfg(feature = "testing")]
    pub(super) fn adopt(&self, entrance: Arc<Entrance>) {
        self.namespaces.replace(entrance);
    }

    /// Goes through the parents from the one numbered `from`, for a name that nobody has.
    fn ask_parents(self: &Arc<Self>, name: &str, handshake: &Handshake) -> Search {
        if self.parents.is_empty() || name.len() > self.settings.max_name {
            return Search::Unknown;
        }
        if !self.may_be_born(self.namespaces.len()) {
            self.make_room();
            // Clients choose the name, and cause this at will.
            match self.complaints.next() {
                Some(refused) => {
                    warn!(name, refused, "there are too many namespaces for another one")
                }
                None => debug!(name, "there are too many namespaces for another one"),
            }
            return Search::Unknown;
        }
        match self.parents.judge(name, handshake) {
            Verdict::Taken(parent) => {
                self.arrive(name, &parent).map_or(Search::Unknown, Search::Found)
            }
            Verdict::Refused => Search::Unknown,
            Verdict::Asking(answer) => {
                let (catalog, name) = (Arc::clone(self), name.to_owned());
                Search::Asking(Box::pin(async move {
                    let parent = answer.await?;
                    catalog.arrive(&name, &parent)
                }))
            }
        }
    }

    /// Brings a client to a child, which is born if nobody else has caused it meanwhile.
    fn arrive(self: &Arc<Self>, name: &str, parent: &Arc<ListedParent>) -> Option<Arrival> {
        // The child may end for want of clients before this one is counted: once more, then.
        (0..8).find_map(|_| {
            self.namespaces.arrival(name).or_else(|| {
                self.born(name, parent, Tenure::Spare, |listed| self.may_be_born(listed))?;
                self.namespaces.arrival(name)
            })
        })
    }
}

impl Directory for Arc<Catalog> {
    fn find(&self, name: &str, handshake: &Handshake) -> Search {
        if let Some(arrival) = self.namespaces.arrival(name) {
            return Search::Found(arrival);
        }
        if self.revive(name).is_some()
            && let Some(arrival) = self.namespaces.arrival(name)
        {
            return Search::Found(arrival);
        }
        self.ask_parents(name, handshake)
    }
}

impl Successors for Catalog {
    fn current(self: Arc<Self>, name: &str) -> Option<Arc<Home>> {
        Some(Arc::clone(&self.running(name)?.home))
    }
}

/// What a namespace holds of its place in the catalog.
struct ListedNamespace {
    catalog: Arc<Catalog>,
    home: Arc<Home>,
}

impl Listing for ListedNamespace {
    fn retire(&self) -> bool {
        self.catalog.namespaces.retire(&self.home)
    }

    fn emptied(&self, addr: Addr<Namespace>) {
        self.catalog.spare.add(&self.home, addr);
        self.catalog.make_room();
    }

    fn entered(&self) {
        self.catalog.spare.remove(&self.home);
    }

    fn stopping(&self) {
        // When the server is closed it may open again.
        if !self.catalog.closed.load(Ordering::Acquire) {
            self.catalog.forget(&self.home);
        }
    }

    fn ended(&self) {
        self.catalog.spare.remove(&self.home);
        self.catalog.namespaces.forget(&self.home);
        self.catalog.parents.forget(&self.home);
    }
}
