//! Answers that are outstanding between a socket's client and the application, and their bounds.

use std::sync::atomic::{AtomicU32, Ordering};

use tracing::debug;

use super::{Inner, Socket, Waiting};

impl Inner {
    /// Waits for an answer of the client; whether it may be asked.
    pub(super) fn expect(&self, id: u64, waiting: Waiting) -> bool {
        let description = &self.home.description;
        let may = self.questions.ask(id, waiting, description.limits.asked);
        if !may {
            description.metrics.questions_refused.increment();
            debug!(namespace = &*self.home.name, "too many answers of a client are awaited");
        }
        may
    }
}

impl Socket {
    /// The same.
    pub(super) fn expect(&self, id: u64, waiting: Waiting) -> bool {
        self.0.expect(id, waiting)
    }

    /// How many answers the application has kept to itself for later.
    pub(super) fn owed(&self) -> &AtomicU32 {
        &self.0.owed
    }

    /// Whether these are so many that no more are to come.
    pub(crate) fn is_owed_too_much(&self) -> bool {
        self.owed().load(Ordering::Relaxed) as usize >= self.0.home.description.limits.owed
    }
}
