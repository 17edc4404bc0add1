//! Clients that come back: who asks for a socket, who waits for its end, who gets it.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tracing::debug;

use super::{Namespace, membership::Phase};
use crate::{
    adapter::recovery::{Failure, Returned, Whereabouts},
    engine::pipe::Pipe,
    room::SocketId,
    socket::{Errand, Previous},
};

/// How long a client that has come back waits for the end of its old connection. That takes as
/// long as the old socket's `disconnecting` listeners, which have less.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client has come back: may it have its socket?
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Restore {
    pub(crate) pid: String,
    /// What it got last, if it got anything.
    pub(crate) offset: Option<String>,
    pub(crate) pipe: Pipe,
    /// Closed when the client leaves. A claim that nobody takes gives the socket back.
    pub(crate) answer: oneshot::Sender<Option<Claim>>,
}

/// A connection has a client's former socket, until the namespace has let it in. Dropped before,
/// it gives the socket back, for the next attempt.
pub(crate) struct Claim {
    id: SocketId,
    belongings: Returned,
    release: Option<Recipient<Release>>,
}

impl Claim {
    /// What the socket had.
    pub(crate) fn previous(&mut self) -> Previous {
        let Returned { data, expires } = std::mem::take(&mut self.belongings);
        Previous { id: self.id.clone(), data, expires }
    }

    /// The namespace has the socket again.
    pub(super) fn settle(mut self) {
        self.release = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release.do_send(Release(self.id.clone()));
        }
    }
}

/// Who had come back for a socket has turned away.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Release(SocketId);

/// A client that has come back before its old socket has gone.
pub(super) struct Waiting {
    number: u64,
    pub(super) offset: Option<String>,
    pub(super) answer: oneshot::Sender<Option<Claim>>,
}

impl Handler<Restore> for Namespace {
    type Result = ();

    fn handle(&mut self, restore: Restore, ctx: &mut Self::Context) {
        let found = self.keeper.as_ref().filter(|_| !self.stopping);
        let seeks = self.recalls();
        let claim = match found.and_then(|keeper| keeper.store.find(&restore.pid)) {
            Some((_, Whereabouts::Away)) | None if seeks && !self.stopping => {
                self.recall(&restore.pid, restore.offset, restore.answer, ctx);
                return self.rest(ctx);
            }
            Some((id, Whereabouts::Away)) => self.claim(&id, restore.offset.as_deref(), ctx),
            Some((id, Whereabouts::Here | Whereabouts::Parting)) if !self.is_awaited(&id) => {
                self.wait_for_end(&id, restore, ctx);
                return;
            }
            // Two connections have come for one socket: the first one gets it.
            Some(_) | None => {
                self.failed(Failure::Unknown);
                None
            }
        };
        // Whoever asked may have gone.
        let _ = restore.answer.send(claim);
        self.rest(ctx);
    }
}

impl Handler<Release> for Namespace {
    type Result = ();

    fn handle(&mut self, Release(id): Release, _: &mut Self::Context) {
        let Some(keeper) = &mut self.keeper else { return };
        let untaken = keeper.store.deposit_untaken(&id);
        let ended = keeper.store.release(&id);
        self.metrics.recovery_sessions_evicted.add(ended as u64);
        match untaken {
            Some(deposit) => self.put_back(deposit),
            None => self.deposit_soon(&id),
        }
    }
}

impl Namespace {
    /// Whether another connection waits for the end of this socket.
    fn is_awaited(&self, id: &SocketId) -> bool {
        let waiting = self.keeper.as_ref().and_then(|keeper| keeper.waiting.get(id));
        waiting.is_some_and(|waiting| !waiting.answer.is_closed())
    }

    /// The client was faster than the end of its old connection: that one is closed now.
    fn wait_for_end(&mut self, id: &SocketId, restore: Restore, ctx: &mut Context<Self>) {
        let Restore { offset, pipe, answer, .. } = restore;
        let Some(keeper) = &mut self.keeper else { return };
        let member = self.members.key(id).and_then(|key| self.members.get(key));
        // A client that leaves and joins again on one connection has left already.
        if let Some(member) = member
            && member.phase == Phase::Connected
            && !member.socket.pipe().is(&pipe)
        {
            let id = member.socket.shown_id();
            debug!(%id, "a client has come back before its old connection ended");
            member.socket.errand(Errand::Outlived);
        }
        keeper.last_waiting += 1;
        let number = keeper.last_waiting;
        keeper.waiting.insert(id.clone(), Waiting { number, offset, answer });
        let id = id.clone();
        ctx.run_later(PATIENCE, move |namespace, _| namespace.give_up(&id, number));
    }

    fn give_up(&mut self, id: &SocketId, number: u64) {
        let Some(keeper) = &mut self.keeper else { return };
        if keeper.waiting.get(id).is_some_and(|waiting| waiting.number == number)
            && let Some(waiting) = keeper.waiting.remove(id)
        {
            self.failed(Failure::Unknown);
            // Whoever asked may have gone.
            let _ = waiting.answer.send(None);
        }
    }

    pub(super) fn claim(
        &mut self,
        id: &SocketId,
        offset: Option<&str>,
        ctx: &mut Context<Self>,
    ) -> Option<Claim> {
        let keeper = self.keeper.as_mut()?;
        let now = keeper.now();
        match keeper.store.claim(id, offset, now) {
            Ok(belongings) => {
                let release = Some(ctx.address().recipient());
                Some(Claim { id: id.clone(), belongings, release })
            }
            Err(failure) => {
                self.failed(failure);
                None
            }
        }
    }

    /// The same for a session that was taken up for the client who asks.
    pub(super) fn claim_of(&self, id: &SocketId, ctx: &mut Context<Self>) -> Option<Claim> {
        let belongings = self.keeper.as_ref()?.store.belongings_of_claimed(id)?;
        let release = Some(ctx.address().recipient());
        Some(Claim { id: id.clone(), belongings, release })
    }
}
