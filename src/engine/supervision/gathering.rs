//! Work in larger portions: an actor that has been sent something waits a moment for more.
//!
//! What a room actor puts into outboxes in one turn leaves in one write for each client, and a write is most
//! of what a delivery costs. So it does not work as soon as something has come: first the runtime looks
//! twice for what has come for others, once so that they read it, and once so that what they
//! send has passed its namespace. Each look is a system call, some microseconds in all, however idle the
//! thread is. See `docs/decisions/0020-joined-writes.md`.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::task::yield_now;

/// How often the runtime looks for what has come for others.
const LOOKS: u8 = 2;

thread_local! {
    static TURN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The number of the present turn of such an actor on this thread; another one between turns.
pub(crate) fn turn() -> u64 {
    TURN.get()
}

/// Polls its future only when that has been woken and others have had their turn.
pub(super) struct Gathering<F> {
    future: F,
    looks: u8,
}

impl<F> Gathering<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future, looks: LOOKS }
    }
}

impl<F: Future + Unpin> Future for Gathering<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.looks < LOOKS {
            self.looks += 1;
            // It wakes this when the runtime has looked.
            let _ = pin!(yield_now()).poll(cx);
            return Poll::Pending;
        }
        self.looks = 0;
        TURN.set(turn() + 1);
        let polled = Pin::new(&mut self.future).poll(cx);
        TURN.set(turn() + 1);
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, rc::Rc, task::Waker};

    use super::*;

    #[test]
    fn it_works_when_others_have_had_their_turns_since_it_was_woken() {
        actix::System::new().block_on(async {
            let (turns, waker) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None::<Waker>)));
            let (counted, kept) = (Rc::clone(&turns), Rc::clone(&waker));
            actix::spawn(Gathering::new(poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                kept.set(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })));
            yield_now().await;
            assert_eq!(turns.get(), 1, "it is started at once");
            waker.take().unwrap().wake();
            for _ in 0..LOOKS {
                assert_eq!(turns.get(), 1);
                yield_now().await;
            }
            yield_now().await;
            assert_eq!(turns.get(), 2);
            for _ in 0..9 {
                yield_now().await;
            }
            assert_eq!(turns.get(), 2, "it sleeps until it is woken");
        });
    }
}
