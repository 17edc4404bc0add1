//! What becomes of a broadcast for clients whose outbox is full.

use std::sync::Arc;

use super::BroadcastTarget;
use crate::engine::WhenFull;

impl BroadcastTarget {
    /// What becomes of the event for receivers whose outbox is full. Default: what the namespace
    /// says, see [`Namespace::when_full`](crate::Namespace::when_full).
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.flags.when_full = Some(when_full);
        self
    }

    /// Of the events with this key a slow client may get the latest only, see
    /// [`WhenFull::KeepLatest`].
    pub fn latest(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self.when_full(WhenFull::KeepLatest)
    }
}
