//! Which client's listener runs on this thread right now.
//!
//! What a listener sends through the application's own handles may come back to its own client;
//! so that its later emits and its ack stay behind, such operations must be counted too.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::engine::{
    LocalFuture,
    pipe::Pipe,
    unharmed::{Panicked, unharmed},
};

thread_local! {
    static CURRENT: RefCell<Option<Pipe>> = const { RefCell::new(None) };
}

/// The client whose listener runs now, if one does.
pub(crate) fn current() -> Option<Pipe> {
    CURRENT.with_borrow(Option::clone)
}

struct Entered(Option<Pipe>);

impl Entered {
    fn new(pipe: &Pipe) -> Self {
        Self(CURRENT.replace(Some(pipe.clone())))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Calls user code for the client of `pipe`.
pub(crate) fn enter<T>(pipe: &Pipe, call: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _entered = Entered::new(pipe);
    unharmed(call)
}

/// User code under way for one client: its panics are caught, its operations counted.
pub(crate) struct Guarded<T> {
    future: LocalFuture<T>,
    pipe: Pipe,
}

impl<T> Guarded<T> {
    /// Starts `call` and guards the future that it returns.
    pub(crate) fn start(
        pipe: &Pipe,
        call: impl FnOnce() -> LocalFuture<T>,
    ) -> Result<Self, Panicked> {
        enter(pipe, call).map(|future| Self { future, pipe: pipe.clone() })
    }
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match enter(&this.pipe, || this.future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}
