//! The parents of dynamic namespaces, in the order they were added, and the children of each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tracing::warn;

use super::catalog::Settings;
use crate::{
    engine::LocalFuture,
    namespace::{Parent, Rule},
    socket::{
        Handshake, Scope,
        home::{Description, Home},
    },
};

/// A parent on a server's list.
pub(crate) struct ListedParent {
    pub(super) name: Arc<str>,
    rule: Rule,
    pub(super) description: Arc<Description>,
    children: Mutex<BTreeMap<Arc<str>, Arc<Home>>>,
}

impl ListedParent {
    fn children(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Arc<Home>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, home: &Arc<Home>) {
        let mut children = self.children();
        // It may have ended already; under the lock, as it is forgotten under it too.
        if !home.is_closed() {
            children.insert(Arc::clone(&home.name), Arc::clone(home));
        }
    }

    fn forget(&self, home: &Arc<Home>) {
        let mut children = self.children();
        if children.get(&*home.name).is_some_and(|known| Arc::ptr_eq(known, home)) {
            children.remove(&*home.name);
        }
    }
}

impl Scope for ListedParent {
    fn homes(&self) -> Vec<Arc<Home>> {
        self.children().values().cloned().collect()
    }
}

/// What the parents say of a name.
pub(super) enum Verdict {
    Taken(Arc<ListedParent>),
    Refused,
    /// A function has to be asked first.
    Asking(LocalFuture<Option<Arc<ListedParent>>>),
}

type List = Arc<Vec<Arc<ListedParent>>>;

/// See the module's description. The lock guards a list that changes when a parent is added.
#[derive(Default)]
pub(super) struct Parents(RwLock<List>);

impl Parents {
    fn list(&self) -> List {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    pub(super) fn add(&self, parent: Parent, settings: &Settings) -> Arc<ListedParent> {
        let (name, rule, description) = parent.into_parts(&settings.metrics, &settings.common);
        let listed = Arc::new(ListedParent { name, rule, description, children: Mutex::default() });
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if list.iter().any(|known| known.name == listed.name) {
            warn!(
                parent = &*listed.name,
                "a parent of that name was added before, and comes first"
            );
        }
        Arc::make_mut(&mut list).push(Arc::clone(&listed));
        listed
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<ListedParent>> {
        self.list().iter().find(|parent| *parent.name == *name).cloned()
    }

    /// The first parent whose pattern takes the name; functions are not asked.
    pub(super) fn by_pattern(&self, name: &str) -> Option<Arc<ListedParent>> {
        let list = self.list();
        let mut takes = list.iter().filter(|parent| match &parent.rule {
            Rule::Pattern(regex) => regex.is_match(name),
            Rule::Function(_) => false,
        });
        takes.next().cloned()
    }

    /// The first parent that takes the name.
    pub(super) fn judge(&self, name: &str, handshake: &Handshake) -> Verdict {
        let list = self.list();
        for (index, parent) in list.iter().enumerate() {
            match &parent.rule {
                Rule::Pattern(regex) if regex.is_match(name) => {
                    return Verdict::Taken(Arc::clone(parent));
                }
                Rule::Pattern(_) => {}
                Rule::Function(_) => {
                    let answer = ask(Arc::clone(&list), index, name.to_owned(), handshake.clone());
                    return Verdict::Asking(Box::pin(answer));
                }
            }
        }
        Verdict::Refused
    }

    /// A child has ended.
    pub(super) fn forget(&self, home: &Arc<Home>) {
        for parent in self.list().iter() {
            parent.forget(home);
        }
    }
}

/// Asks the parents from `index` on, one after the other.
async fn ask(
    list: List,
    index: usize,
    name: String,
    handshake: Handshake,
) -> Option<Arc<ListedParent>> {
    for parent in &list[index..] {
        let taken = match &parent.rule {
            Rule::Pattern(regex) => regex.is_match(&name),
            Rule::Function(accepts) => accepts(name.clone(), handshake.clone()).await,
        };
        if taken {
            return Some(Arc::clone(parent));
        }
    }
    None
}
