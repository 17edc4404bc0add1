//! Who runs the actor of a session: a task of its own, and whoever brings packets to its thread.
//!
//! A WebSocket that has read a message lets the session handle it on the spot, and finds the answer
//! in the outbox: one turn of one task, where a wake-up of the session and one of the transport would
//! cost three. The actor's future is the same; its wakers are always those of its own task.

use std::{
    cell::{OnceCell, RefCell},
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context as Task, Poll, Waker},
};

use actix::{Context, dev::ContextFut};

use super::{Link, Protocol};

/// Lets a session of this thread handle what has been handed in.
pub(crate) trait Turn: fmt::Debug {
    /// Handles it now, as much as fits into one turn. `false` if the session has to be woken instead.
    fn take(&self) -> bool;
}

/// The future of the actor.
type Life<P> = ContextFut<Link<P>, Context<Link<P>>>;

struct Runner<P: Protocol> {
    actor: RefCell<Option<Life<P>>>,
    /// The task's own, from its first turn on.
    waker: OnceCell<Waker>,
}

/// Starts the actor of a session on the current thread.
pub(crate) fn start<P: Protocol>(link: Link<P>) -> Rc<dyn Turn> {
    let actor = Context::new().into_future(link);
    let runner = Rc::new(Runner { actor: RefCell::new(Some(actor)), waker: OnceCell::new() });
    let own = Rc::clone(&runner);
    actix::spawn(poll_fn(move |task| {
        let waker = own.waker.get_or_init(|| task.waker().clone());
        own.poll(&mut Task::from_waker(waker))
    }));
    runner
}

impl<P: Protocol> Runner<P> {
    fn poll(&self, task: &mut Task<'_>) -> Poll<()> {
        let Ok(mut slot) = self.actor.try_borrow_mut() else {
            // It is at work further up this stack, and will look again.
            task.waker().wake_by_ref();
            return Poll::Pending;
        };
        let Some(actor) = slot.as_mut() else { return Poll::Ready(()) };
        // A panic ends the actor, as it would end a task, and not the transport that brought it.
        if let Ok(Poll::Pending) = catch_unwind(AssertUnwindSafe(|| Pin::new(actor).poll(task))) {
            return Poll::Pending;
        }
        let ended = slot.take();
        drop(slot);
        // What is left of a panicked actor is stopped here; the hook has told of the panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(ended)));
        Poll::Ready(())
    }
}

impl<P: Protocol> Turn for Runner<P> {
    fn take(&self) -> bool {
        let Some(waker) = self.waker.get() else { return false };
        if self.poll(&mut Task::from_waker(waker)).is_ready() {
            // The task has to end too.
            waker.wake_by_ref();
        }
        true
    }
}

impl<P: Protocol> fmt::Debug for Runner<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runner")
    }
}
