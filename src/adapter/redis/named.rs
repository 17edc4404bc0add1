//! The namespaces of this server by what names them: channels, or themselves.

use std::{hash::Hash, rc::Rc};

use hashbrown::{Equivalent, HashMap};
use smallvec::SmallVec;

/// Those of one name: one, but for a namespace that has a successor already.
pub(super) type Found<P> = SmallVec<[Rc<P>; 1]>;

/// See the module's description.
pub(super) struct Named<K, P>(HashMap<K, Found<P>>);

impl<K, P> Default for Named<K, P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, P> Named<K, P> {
    /// Adds one. Whether nobody had the name before.
    pub(super) fn add(&mut self, name: K, place: &Rc<P>) -> bool {
        let places = self.0.entry(name).or_default();
        places.push(Rc::clone(place));
        places.len() == 1
    }

    /// Takes one out. Whether nobody has the name any more.
    pub(super) fn remove<Q: Hash + Equivalent<K> + ?Sized>(
        &mut self,
        name: &Q,
        place: &Rc<P>,
    ) -> bool {
        let Some(places) = self.0.get_mut(name) else { return false };
        places.retain(|other| !Rc::ptr_eq(other, place));
        let nobody = places.is_empty();
        if nobody {
            self.0.remove(name);
        }
        nobody
    }

    pub(super) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, name: &Q) -> Found<P> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}
