//! The namespaces by name.
//!
//! Namespaces come and go rarely and are looked up at every join, so the list is a snapshot that
//! every thread reads; the lock is held to exchange it, never while anything else happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    namespace::{
        Stop,
        messages::{Arrival, Entrance},
    },
    socket::home::Home,
};

type List = Arc<BTreeMap<String, Arc<Entrance>>>;

/// See the module's description. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Namespaces(Arc<RwLock<List>>);

/// A name with the slash it begins with.
pub(super) fn normalized(name: &str) -> String {
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

    /// Lists a namespace, or gives the one of that name that runs already.
    pub(super) fn register(
        &self,
        name: &str,
        entrance: Arc<Entrance>,
    ) -> Result<(), Arc<Entrance>> {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match list.get(name) {
            Some(known) if known.is_open() => Err(known.clone()),
            _ => {
                Arc::make_mut(&mut list).insert(name.to_owned(), entrance);
                Ok(())
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

    /// How many are listed.
    pub(super) fn len(&self) -> usize {
        self.list().len()
    }

    /// Ends all of them; done when each has taken the message.
    pub(super) async fn stop(&self) {
        for entrance in self.list().values() {
            // One that has ended already cannot be told.
            let _ = entrance.addr.send(Stop).await;
        }
    }
}
