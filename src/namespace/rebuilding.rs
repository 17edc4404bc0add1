//! A namespace that has panicked, and goes on.
//!
//! Its mailbox and its address survive, see `engine/supervision.rs`. What each socket is in is written
//! down once, beside its handle, which its connection has too: from that everything else is made
//! again, and the room actors are told. The data of sockets are in the handles.

use actix::prelude::*;
use tracing::warn;

use super::{Namespace, membership::Phase};
use crate::socket::Errand;

/// Where in a message the namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    /// What was done is written down, and nobody knows.
    Untold,
    Within,
}

impl Supervised for Namespace {
    fn restarting(&mut self, ctx: &mut Self::Context) {
        warn!(namespace = &*self.name, "a namespace is rebuilt from its sockets");
        self.metrics.namespaces_rebuilt.increment();
        self.operations = 0;
        #[cfg(feature = "testing")]
        {
            self.fuse = None;
        }
        self.members.rebuild();
        if let Some(key) = self.admitting.take()
            && let Some(member) = self.members.get(key)
            && member.phase == Phase::Pending
        {
            // It was not let in, and its connection does not know.
            let socket = member.socket.clone();
            self.forget(key);
            socket.errand(Errand::Lost(socket.clone()));
        }
        // Of those that have gone the message may be lost.
        for key in self.members.over() {
            self.forget(key);
        }
        self.take_census();
        self.partings.retain(|id, _| self.members.key(id).is_some());
        self.announce_rooms();
        self.renew_keeper(ctx);
        for worker in self.crew.workers() {
            self.muster(worker, false);
        }
        self.end_if_empty(ctx);
        self.retire_if_empty(ctx);
    }
}

impl Namespace {
    fn forget(&mut self, key: crate::room::Key) {
        let mut events = Vec::new();
        self.members.remove(key, &mut events);
        self.tell_rooms(events.into_iter());
    }

    /// It ends unasked: the connections of its sockets are closed, so that the clients come back.
    pub(super) fn orphan(&self) {
        if !self.stopping {
            for (_, member) in self.members.iter() {
                member.socket.errand(Errand::Orphaned);
            }
        }
    }

    /// The same for those of one worker.
    pub(super) fn orphan_worker(&self, worker: usize) {
        for (_, member) in self.members.iter().filter(|(_, m)| m.place.worker == worker) {
            member.socket.errand(Errand::Orphaned);
        }
    }

    /// A test may want it to panic about here.
    #[cfg(feature = "testing")]
    pub(super) fn burn(&mut self, moment: Moment) {
        use super::KillNamespace::{BeforeNext, BeforeTelling, DuringNext};
        let dies = match moment {
            Moment::Before => self.fuse == Some(BeforeNext),
            Moment::Untold => self.fuse == Some(BeforeTelling),
            Moment::Within => self.fuse == Some(DuringNext),
        };
        if dies {
            self.die();
        }
    }

    /// With nothing left but what it is rebuilt from.
    #[cfg(feature = "testing")]
    fn die(&mut self) -> ! {
        self.members.scramble();
        panic!("a namespace dies, for a test")
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn burn(&mut self, _: Moment) {}
}

#[cfg(feature = "testing")]
impl Handler<super::KillNamespace> for Namespace {
    type Result = ();

    fn handle(&mut self, kill: super::KillNamespace, ctx: &mut Self::Context) {
        use super::KillNamespace::{BeforeNext, BeforeTelling, DuringNext, ForGood, Now};
        match kill {
            Now => self.die(),
            BeforeNext | BeforeTelling | DuringNext => self.fuse = Some(kill),
            ForGood => {
                ctx.address().do_send(ForGood);
                self.die()
            }
        }
    }
}
