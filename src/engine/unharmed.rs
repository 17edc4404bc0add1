//! Calls of user code that may panic. What a call leaves half done belongs to the user code.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt;

use super::supervision::panic_text;

/// User code panicked, with this text. The panic has been caught.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

impl Panicked {
    fn caught(payload: Box<dyn Any + Send>) -> Self {
        Self(panic_text(&*payload))
    }
}

/// Calls user code.
pub(crate) fn unharmed<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(Panicked::caught)
}

/// Waits for user code.
pub(crate) async fn unharmed_future<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(Panicked::caught)
}
