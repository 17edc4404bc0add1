//! The namespaces by name.
//!
//! Namespaces come and go rarely and are looked up at every join, so the list is a snapshot that
//! every thread reads; the lock is held to exchange it, never while anything else happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::future::join_all;

use crate::{
    namespace::{
        Stop,
        messages::{Arrival, Entrance, Flush},
    },
    room::Broadcast,
    socket::home::Home,
};

type List = Arc<BTreeMap<String, Arc<Entrance>>>;

/// See the module's description. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Namespaces(Arc<RwLock<List>>);

/// What has become of a namespace that was to be started.
pub(super) enum Started {
    New(Arc<Entrance>),
    /// One of its name runs already.
    Running(Arc<Entrance>),
    Refused,
}

/// A name with the slash it begins with.
pub(crate) fn normalized(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}

impl Namespaces {
    /// Takes a namespace that nobody is in or on the way to off the list; whether that is so.
    pub(super) fn retire(&self, home: &Arc<Home>) -> bool {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if home.is_expecting() {
            return false;
        }
        home.close();
        if list.get(&*home.name).is_some_and(|listed| Arc::ptr_eq(&listed.home, home)) {
            Arc::make_mut(&mut list).remove(&*home.name);
        }
        true
    }

    /// Finds a namespace for a client, which it will wait for.
    pub(super) fn arrival(&self, name: &str) -> Option<Arrival> {
        // Under the lock: it cannot retire in between.
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.get(name).filter(|entrance| entrance.is_open()).map(Arrival::new)
    }

    fn list(&self) -> List {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lists a namespace, unless one of that name runs already. `allowed` is told how many are listed.
    pub(super) fn register(
        &self,
        name: &str,
        entrance: &Arc<Entrance>,
        allowed: impl FnOnce(usize) -> bool,
    ) -> Started {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match list.get(name) {
            Some(known) if known.is_open() => Started::Running(known.clone()),
            _ if !allowed(list.len()) => Started::Refused,
            _ => {
                Arc::make_mut(&mut list).insert(name.to_owned(), entrance.clone());
                Started::New(entrance.clone())
            }
        }
    }

    /// Lists a namespace, whatever is listed under its name.
    #[cfg(feature = "testing")]
    pub(super) fn replace(&self, entrance: Arc<Entrance>) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut list).insert(entrance.home.name.to_string(), entrance);
    }

    /// Takes a namespace that has ended off the list, unless another one has its place.
    pub(super) fn forget(&self, home: &Arc<Home>) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if list.get(&*home.name).is_some_and(|listed| Arc::ptr_eq(&listed.home, home)) {
            Arc::make_mut(&mut list).remove(&*home.name);
        }
    }

    pub(super) fn entrance(&self, name: &str) -> Option<Arc<Entrance>> {
        self.list().get(name).filter(|entrance| entrance.is_open()).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let list = self.list();
        let running = list.iter().filter(|(_, entrance)| entrance.is_open());
        running.map(|(name, _)| name.clone()).collect()
    }

    /// All that are listed.
    #[cfg(feature = "admin")]
    pub(super) fn homes(&self) -> Vec<Arc<Home>> {
        self.list().values().map(|entrance| Arc::clone(&entrance.home)).collect()
    }

    /// How many are listed.
    pub(super) fn len(&self) -> usize {
        self.list().len()
    }

    /// Sends the same to all of them.
    pub(super) fn broadcast(&self, broadcast: &Broadcast) {
        for entrance in self.list().values() {
            entrance.addr.do_send(broadcast.clone());
        }
    }

    /// Waits until what was sent to them has reached the outboxes of their sockets.
    pub(super) async fn flush(&self) {
        let list = self.list();
        // One that has ended has nothing to wait for.
        join_all(list.values().map(|entrance| entrance.addr.send(Flush))).await;
    }

    /// Ends all of them; done when each has taken the message.
    pub(super) async fn stop(&self) {
        for entrance in self.list().values() {
            // One that has ended already cannot be told.
            let _ = entrance.addr.send(Stop).await;
        }
    }
}
