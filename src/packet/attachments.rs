//! The binary of one packet, shared by everything that was made of it.

use std::sync::Arc;

use bytes::Bytes;

/// The attachments of one packet, in order. A clone shares the list; the common case of none
/// allocates nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Attachments(Option<Arc<Vec<Bytes>>>);

impl Attachments {
    pub(super) fn as_slice(&self) -> &[Bytes] {
        self.0.as_ref().map_or(&[], |list| list.as_slice())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Appends `more`; copies the list (not the bytes) only when somebody else holds it.
    pub(super) fn extend(&mut self, more: Vec<Bytes>) {
        if !more.is_empty() {
            Arc::make_mut(self.0.get_or_insert_default()).extend(more);
        }
    }
}

impl From<Vec<Bytes>> for Attachments {
    fn from(list: Vec<Bytes>) -> Self {
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }
}

impl PartialEq for Attachments {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}
