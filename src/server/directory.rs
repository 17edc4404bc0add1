//! The namespaces by name.
//!
//! Namespaces come and go rarely and are looked up at every join, so the list is a snapshot that
//! every thread reads; the lock is held to exchange it, never while anything else happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use actix::prelude::*;

use crate::{
    connection::Directory,
    namespace::{Namespace, Stop, messages::Entrance},
};

#[derive(Clone)]
struct Listed {
    addr: Addr<Namespace>,
    entrance: Entrance,
}

type List = Arc<BTreeMap<String, Listed>>;

/// See the module's description. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Namespaces(Arc<RwLock<List>>);

/// What became of a registration.
pub(super) enum Register {
    New(Addr<Namespace>),
    /// One of that name runs already.
    Known(Addr<Namespace>),
}

/// A name with the slash it begins with.
pub(super) fn normalized(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}

impl Namespaces {
    fn list(&self) -> List {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn register(
        &self,
        name: &str,
        addr: Addr<Namespace>,
        entrance: Entrance,
    ) -> Register {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match list.get(name) {
            Some(known) if known.addr.connected() => Register::Known(known.addr.clone()),
            _ => {
                let listed = Listed { addr: addr.clone(), entrance };
                Arc::make_mut(&mut list).insert(name.to_owned(), listed);
                Register::New(addr)
            }
        }
    }

    pub(super) fn entrance(&self, name: &str) -> Option<Entrance> {
        let list = self.list();
        let listed = list.get(name)?;
        listed.addr.connected().then(|| listed.entrance.clone())
    }

    pub(super) fn address(&self, name: &str) -> Option<Addr<Namespace>> {
        self.list().get(name).map(|listed| listed.addr.clone()).filter(|addr| addr.connected())
    }

    pub(super) fn names(&self) -> Vec<String> {
        let list = self.list();
        let running = list.iter().filter(|(_, listed)| listed.addr.connected());
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Ends all of them; done when each has taken the message.
    pub(super) async fn stop(&self) {
        for listed in self.list().values() {
            // One that has ended already cannot be told.
            let _ = listed.addr.send(Stop).await;
        }
    }
}

impl Directory for Namespaces {
    fn find(&self, name: &str) -> Option<Entrance> {
        self.entrance(name)
    }
}
