//! The future that drives a link: packets in, deadlines, fairness.

use std::{
    pin::Pin,
    task::{Context as Task, Poll},
};

use actix::Context;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep};

use super::{Link, Protocol};

/// Batches of packets one client may have handled before others get their turn.
const BATCHES_PER_TURN: usize = 4;

/// The one future of a link: it carries packets in and keeps the time.
pub(super) struct Driver {
    sleep: Pin<Box<Sleep>>,
}

impl Driver {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(deadline)) }
    }

    /// Handles what is due and sets the alarm for what comes next.
    fn keep_time<P: Protocol>(
        &mut self,
        link: &mut Link<P>,
        ctx: &mut Context<Link<P>>,
        task: &mut Task<'_>,
    ) {
        while !link.ended {
            let fired = self.sleep.as_mut().poll(task).is_ready();
            if fired {
                link.tick(ctx);
            }
            let deadline = link.opened + link.deadline();
            if !(fired || link.rearm && deadline < self.sleep.deadline()) {
                link.rearm = false;
                return;
            }
            link.rearm = false;
            self.sleep.as_mut().reset(deadline);
        }
    }
}

impl<P: Protocol> actix::fut::ActorFuture<Link<P>> for Driver {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        link: &mut Link<P>,
        ctx: &mut Context<Link<P>>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        let span = link.span.clone();
        let _entered = span.enter();
        match &mut link.driver {
            Some(waker) => waker.clone_from(task.waker()),
            None => link.driver = Some(task.waker().clone()),
        }
        for _ in 0..BATCHES_PER_TURN {
            let look = link.pipe.attend();
            link.observe(look, ctx);
            self.keep_time(link, ctx, task);
            if link.ended {
                link.driver = None;
                return Poll::Ready(());
            }
            P::turn(link, ctx);
            if !link.upper.ready() || look.crowded {
                if link.pipe.poll_called(task).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            let mut batch = SmallVec::new();
            if link.pipe.poll_inbox(task, 8, &mut batch).is_pending() {
                link.close_if_drained();
                return Poll::Pending;
            }
            for (from, inbound) in batch {
                if !link.ended {
                    link.receive(from, inbound, ctx);
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
