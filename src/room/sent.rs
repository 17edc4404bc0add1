//! A copy of what is sent, for those who listen to it.

use std::sync::{Arc, OnceLock};

use crate::packet::{Event, Payload};

/// An event that was sent, shared by all sockets whose listeners want to see it; it is read once,
/// when the first of them does.
#[derive(Clone, Debug)]
pub(crate) struct Sent(Arc<Copy>);

#[derive(Debug)]
struct Copy {
    payload: Payload,
    event: OnceLock<Option<Event>>,
}

impl Sent {
    pub(crate) fn new(payload: &Payload) -> Self {
        Self(Arc::new(Copy { payload: payload.clone(), event: OnceLock::new() }))
    }

    /// The bytes it keeps alive.
    pub(crate) fn size(&self) -> usize {
        let attachments = self.0.payload.attachments().iter();
        self.0.payload.json().len() + attachments.map(|data| data.len()).sum::<usize>()
    }

    /// Name and arguments. Every payload of an event has them.
    pub(crate) fn event(&self) -> Option<&Event> {
        self.0.event.get_or_init(|| self.0.payload.to_event()).as_ref()
    }
}
