//! Actors that outlive their panics.
//!
//! actix's `Supervisor` starts again an actor that has *stopped*; a panic ends actor and supervisor
//! together, and the mailbox with them. What is started here is started again after a panic: the
//! message at which it panicked is lost, its mailbox and its address stay.

pub(crate) mod gathering;

use std::{
    any::{Any, type_name},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context as Task, Poll},
    time::Duration,
};

use actix::{
    ActorState,
    dev::{
        ContextFut,
        channel::{AddressReceiver, channel},
    },
    prelude::*,
};
use tokio::time::Instant;
use tracing::error;

use self::gathering::Gathering;

/// Panics that an actor survives within [`WINDOW`]; at the next one it ends.
const RESTARTS: u32 = 100;
const WINDOW: Duration = Duration::from_secs(10);

/// The bound of a mailbox as actix has it, for those who send with back-pressure.
const MAILBOX: usize = 16;

/// Starts an actor on the present thread that outlives its panics.
///
/// A panic in a handler loses the message at which it happened, and whoever waits for its answer
/// reads `MailboxError::Closed`. It is logged with its text. Futures that the actor has spawned in
/// its context are dropped; then [`Supervised::restarting`] and [`Actor::started`] are called, and the
/// next message in the mailbox is handled. The actor's value is the one it was: whether it can be
/// trusted, and what has to be put right, is for `restarting` to say. Addresses stay valid.
///
/// After 100 panics within 10 seconds, and after a panic in `restarting`, the actor ends. An actor
/// that stops itself ends as any other. `panic = "abort"` undoes all of this.
///
/// ```
/// use actix::prelude::*;
/// use greenroom::{Ack, FromSocket, Namespace, start_supervised};
///
/// type Say = FromSocket<String, Ack<usize>>;
///
/// #[derive(Default)]
/// struct History { lines: Vec<String> }
///
/// impl Actor for History { type Context = Context<Self>; }
/// impl Supervised for History {}
/// # impl Handler<Say> for History {
/// #     type Result = Result<Ack<usize>, greenroom::EventError>;
/// #     fn handle(&mut self, say: Say, _: &mut Context<Self>) -> Self::Result {
/// #         self.lines.push(say.data);
/// #         Ok(Ack(self.lines.len()))
/// #     }
/// # }
/// # actix::System::new().block_on(async {
/// let history = start_supervised(History::default());
/// Namespace::new("/chat").on("say", history.recipient::<Say>());
/// # });
/// ```
///
/// # Panics
/// Outside an actix system.
pub fn start_supervised<A>(actor: A) -> Addr<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    let context = Context::new();
    let address = context.address();
    run(context, actor);
    address
}

/// The same on another thread, for an actor that [gathers](gathering).
pub(crate) fn start_gathering_in<A>(
    arbiter: &ArbiterHandle,
    make: impl FnOnce() -> A + Send + 'static,
) -> Addr<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    let (sender, receiver): (_, AddressReceiver<A>) = channel(MAILBOX);
    arbiter.spawn_fn(move || {
        let context = Context::with_receiver(receiver);
        actix::spawn(Gathering::new(Outliving::new(context, make())));
    });
    Addr::new(sender)
}

/// Runs an actor in its context.
pub(crate) fn run<A>(context: Context<A>, actor: A)
where
    A: Supervised + Actor<Context = Context<A>>,
{
    actix::spawn(Outliving::new(context, actor));
}

/// What a panic said, for the log.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}

/// The task of an actor.
struct Outliving<A: Supervised + Actor<Context = Context<A>>> {
    /// Until it ends.
    future: Option<ContextFut<A, Context<A>>>,
    /// When the first of the panics happened that are counted now.
    since: Option<Instant>,
    panics: u32,
}

impl<A: Supervised + Actor<Context = Context<A>>> Outliving<A> {
    fn new(context: Context<A>, actor: A) -> Self {
        Self { future: Some(context.into_future(actor)), since: None, panics: 0 }
    }

    /// The actor has panicked; whether it goes on.
    fn recover(&mut self, payload: &(dyn Any + Send)) -> bool {
        let (actor, reason) = (type_name::<A>(), panic_text(payload));
        let Some(future) = &mut self.future else { return false };
        if future.ctx().state() != ActorState::Running {
            error!(actor, reason, "an actor panicked while it ended");
            return false;
        }
        let now = Instant::now();
        match self.since {
            Some(since) if now - since < WINDOW => self.panics += 1,
            _ => (self.since, self.panics) = (Some(now), 1),
        }
        if self.panics > RESTARTS {
            error!(actor, reason, "an actor panicked too often and ends");
            return false;
        }
        error!(actor, reason, "an actor panicked; one message is lost, and it goes on");
        match catch_unwind(AssertUnwindSafe(|| future.restart())) {
            Ok(restarted) => restarted,
            Err(payload) => {
                let reason = panic_text(&*payload);
                error!(actor, reason, "an actor panicked when it was started again and ends");
                false
            }
        }
    }
}

impl<A: Supervised + Actor<Context = Context<A>>> Future for Outliving<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let Some(future) = &mut this.future else { return Poll::Ready(()) };
            // A message that was half handled is not handled again; what it left behind is for
            // `restarting`.
            match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))) {
                Ok(poll) => return poll,
                Err(payload) if this.recover(&*payload) => {}
                Err(_) => {
                    // Its end is told to it when it is dropped.
                    let future = this.future.take();
                    if catch_unwind(AssertUnwindSafe(move || drop(future))).is_err() {
                        error!(actor = type_name::<A>(), "an actor panicked when it had to end");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
