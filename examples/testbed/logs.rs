//! The logs of all namespaces, which outlive them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use actix::prelude::*;
use greenroom::{Namespace, SubscribeRooms};

use super::journal::Journal;

#[derive(Default)]
pub(crate) struct Logs {
    journals: Mutex<HashMap<String, Addr<Journal>>>,
    new_namespaces: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    /// The journal of a namespace.
    pub(crate) fn journal(&self, namespace: &str) -> Addr<Journal> {
        let mut journals = lock(&self.journals);
        journals.entry(namespace.to_owned()).or_insert_with(|| Journal::default().start()).clone()
    }

    /// Keeps a log of the rooms of a namespace; not of `/bench`, which is measured.
    pub(crate) fn watch(&self, name: &str, namespace: &Addr<Namespace>) {
        if name != "/bench" {
            namespace.do_send(SubscribeRooms(self.journal(name).recipient()));
        }
    }

    /// A namespace was started.
    pub(crate) fn announce(&self, name: &str, namespace: &Addr<Namespace>) {
        self.watch(name, namespace);
        if name.starts_with("/dyn-") || name.starts_with("/fn-") {
            lock(&self.new_namespaces).push(name.to_owned());
        }
    }

    /// The dynamic namespaces that were started, in order; with `clear` they are forgotten then.
    pub(crate) fn new_namespaces(&self, clear: bool) -> Vec<String> {
        let mut names = lock(&self.new_namespaces);
        if clear { std::mem::take(&mut *names) } else { names.clone() }
    }
}
