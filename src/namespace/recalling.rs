//! Clients that come back, when the engine of the cluster keeps their sessions: it is asked, because
//! another server may have the session, or may have had it.

use actix::prelude::*;
use tokio::{
    sync::oneshot,
    time::{Duration, Instant},
};

use super::{Namespace, returning::Claim};
use crate::{
    adapter::{
        link::Operation,
        recovery::{
            Deposit, Deposited, Failure, Import, Missed, Offset, Pid, Recall, Recalled, Whereabouts,
        },
    },
    engine::outbox::Frames,
    packet::Outgoing,
    room::SocketId,
};

/// How long a client waits until this server has heard what it has got already.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often that is looked at.
const STEP: Duration = Duration::from_millis(10);

/// Clients that may be waiting for their sessions.
const MAX_ASKED: usize = 4096;

/// A client whose session is sought.
pub(super) struct Asked {
    offset: Option<String>,
    answer: oneshot::Sender<Option<Claim>>,
    until: Instant,
}

impl Asked {
    /// What its client got last.
    fn offset(&self) -> Option<Offset> {
        Some(self.offset.as_deref()?.parse::<Offset>().ok()?.place())
    }
}

impl Namespace {
    /// Whether sessions are sought with the engine.
    pub(super) fn recalls(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.ahead.is_some())
    }

    /// Seeks the session of a client.
    pub(super) fn recall(
        &mut self,
        pid: &str,
        offset: Option<String>,
        answer: oneshot::Sender<Option<Claim>>,
        ctx: &mut Context<Self>,
    ) {
        let place = offset.as_deref().map(str::parse::<Offset>);
        let Some(keeper) = &mut self.keeper else { return };
        let Some(ahead) = &mut keeper.ahead else { return };
        let pid = Pid::given(pid).filter(|pid| !ahead.asked.contains_key(pid));
        let (Some(pid), None | Some(Ok(_))) =
            (pid.filter(|_| ahead.asked.len() < MAX_ASKED), &place)
        else {
            let malformed = matches!(place, Some(Err(_)));
            self.failed(if malformed { Failure::Offset } else { Failure::Unknown });
            // Whoever asked may have gone, here and below.
            let _ = answer.send(None);
            return;
        };
        let here = keeper.store.find(pid.as_str());
        let recall = Recall {
            offset: place.and_then(Result::ok).map(Offset::place),
            is_here: here.is_some_and(|(id, _)| keeper.store.covers(&id, offset.as_deref())),
            bounds: keeper.store.settings().missed(),
            pid: pid.clone(),
        };
        keeper.store.recall(true);
        let until = Instant::now() + PATIENCE;
        ahead.asked.insert(pid.clone(), Asked { offset, answer, until });
        let asked = self.link.as_ref().is_some_and(|l| l.submit(Operation::Recall(recall)));
        if !asked {
            self.recalled(&pid, None, ctx);
        }
    }

    /// What has become of it.
    pub(super) fn recalled(
        &mut self,
        pid: &Pid,
        recalled: Option<Box<Recalled>>,
        ctx: &mut Context<Self>,
    ) {
        let Some(ahead) = self.ahead() else { return };
        let reached = ahead.reached;
        let Some(asked) = ahead.asked.remove(pid) else { return self.give_back(pid, recalled) };
        if asked.answer.is_closed() {
            self.recall_ended();
            return self.give_back(pid, recalled);
        }
        if let Some(Recalled::Found { missed: Ok(_), .. }) = recalled.as_deref()
            && asked.offset().is_some_and(|offset| offset > reached)
            && asked.until > Instant::now()
        {
            // The client has got more than has come here.
            if let Some(ahead) = self.ahead() {
                ahead.asked.insert(pid.clone(), asked);
            }
            let pid = pid.clone();
            ctx.run_later(STEP, move |namespace, ctx| namespace.recalled(&pid, recalled, ctx));
            return;
        }
        let claim = match recalled.map(|recalled| *recalled) {
            None => self.claim_here(pid, &asked, ctx),
            Some(Recalled::Nothing) => match self.here(pid) {
                // It had never been deposited.
                Some((_, deposited)) if deposited != Deposited::Yes => {
                    self.claim_here(pid, &asked, ctx)
                }
                // Another server has it.
                Some((id, _)) => self.give_up_session(&id, Failure::Unknown),
                None => self.claim_here(pid, &asked, ctx),
            },
            Some(Recalled::Own) => {
                let here = self.here(pid).map(|(id, _)| id);
                let claim = self.claim_here(pid, &asked, ctx);
                self.undeposited(here);
                claim
            }
            Some(Recalled::Found { missed: Err(failure), .. }) => {
                self.failed(failure);
                if let Some((id, _)) = self.here(pid)
                    && let Some(keeper) = &mut self.keeper
                {
                    keeper.store.end(&id);
                }
                None
            }
            Some(Recalled::Found { deposit, missed: Ok(missed) }) => {
                self.take_up(*deposit, missed, asked.offset(), ctx)
            }
        };
        self.recall_ended();
        let _ = asked.answer.send(claim);
    }

    fn recall_ended(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.store.recall(false);
        }
    }

    /// A session that is here, and may be had.
    fn here(&self, pid: &Pid) -> Option<(SocketId, Deposited)> {
        let store = &self.keeper.as_ref()?.store;
        let (id, whereabouts) = store.find(pid.as_str())?;
        let deposited = store.deposited(&id);
        (whereabouts == Whereabouts::Away).then_some((id, deposited))
    }

    fn claim_here(&mut self, pid: &Pid, asked: &Asked, ctx: &mut Context<Self>) -> Option<Claim> {
        match self.here(pid) {
            Some((id, _)) => self.claim(&id, asked.offset.as_deref(), ctx),
            None => {
                self.failed(Failure::Unknown);
                None
            }
        }
    }

    /// What this server had deposited is not there any more: it was taken for its client.
    fn undeposited(&mut self, id: Option<SocketId>) {
        if let Some(id) = id
            && let Some(keeper) = &mut self.keeper
        {
            keeper.store.set_deposited(&id, Deposited::Never);
            self.deposit_soon(&id);
        }
    }

    fn give_up_session(&mut self, id: &SocketId, failure: Failure) -> Option<Claim> {
        if let Some(keeper) = &mut self.keeper {
            keeper.store.end(id);
        }
        self.failed(failure);
        None
    }

    /// Takes up a session with what it has missed so far; what comes now is in the log.
    fn take_up(
        &mut self,
        deposit: Deposit,
        missed: Missed,
        offset: Option<Offset>,
        ctx: &mut Context<Self>,
    ) -> Option<Claim> {
        let reached = self.ahead()?.reached;
        let is_elsewhere = |place: Option<Whereabouts>| place == Some(Whereabouts::Here);
        let occupied = is_elsewhere(self.keeper.as_ref()?.store.whereabouts(&deposit.id));
        if occupied || offset.is_some_and(|offset| offset > reached) {
            self.failed(Failure::Unknown);
            self.put_back(deposit);
            return None;
        }
        let end = missed.end.min(reached);
        let mut frames = Frames::new();
        for (_, payload) in missed.events.iter().filter(|(offset, _)| *offset <= end) {
            let event = Outgoing::Event { namespace: &self.name, id: None, payload };
            frames.extend(self.description.codec.frames(&event, true));
        }
        let id = deposit.id.clone();
        let keeper = self.keeper.as_mut()?;
        let now = keeper.now();
        keeper.store.import(Import { deposit, missed: frames, end }, now);
        self.sweep_later(ctx);
        self.claim_of(&id, ctx)
    }

    /// Nobody waits for a session that was taken.
    fn give_back(&mut self, pid: &Pid, recalled: Option<Box<Recalled>>) {
        match recalled.map(|recalled| *recalled) {
            Some(Recalled::Found { deposit, .. }) => self.put_back(*deposit),
            Some(Recalled::Own) => {
                let here = self.here(pid).map(|(id, _)| id);
                self.undeposited(here);
            }
            Some(Recalled::Nothing) | None => {}
        }
    }

    /// Nobody will say any more what has become of them.
    pub(super) fn give_up_recalls(&mut self, ctx: &mut Context<Self>) {
        let Some(ahead) = self.ahead() else { return };
        let pids: Vec<_> = ahead.asked.keys().cloned().collect();
        for pid in pids {
            self.recalled(&pid, None, ctx);
        }
    }
}
