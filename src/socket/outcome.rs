//! What a listener returns, and what the client is told of it.

use serde::Serialize;

use super::errors::{EmitError, EventError};
use crate::packet::Payload;

/// Answers the event: `Ack(value)`. A tuple (or an array `[T; N]`) answers with several values, `()`
/// with none.
///
/// ```
/// use greenroom::prelude::*;
///
/// Namespace::new("/")
///     .on("double", |_: Socket, n: f64| async move { Ack(n * 2.0) })
///     .on("both", |_: Socket, (): ()| async { Ack(("one", 2)) })      // in JavaScript (text, number)
///     .on("half", |_: Socket, n: u32| async move {
///         if n % 2 == 1 {
///             return Err(EventError::new("odd"));                     // the ack is {"error": "odd"}
///         }
///         Ok(Ack(n / 2))
///     });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<T>(pub T);

/// The end of an event.
///
/// Listeners seldom name it, see [`IntoOutcome`]. With it one can answer with what was encoded before:
///
/// ```
/// use greenroom::{Outcome, Payload, prelude::*};
///
/// # fn main() -> Result<(), greenroom::EncodeError> {
/// let rules = Payload::ack("a long text")?;
/// Namespace::new("/").on("rules", move |_: Socket, (): ()| {
///     let rules = rules.clone();                      // shared by all who ask
///     async move { Outcome::Answered(rules) }
/// });
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub enum Outcome {
    /// No answer.
    Silent,
    /// The answer for a client that asked for one.
    Answered(Payload),
    /// The listener failed: an error answer, and the error hook.
    Failed(EventError),
}

/// What a listener may return: `()`, [`Ack`], or a `Result` of either with any error.
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    note = "return `()`, `Ack(value)`, or a `Result` or `Option` of either; name the type of an async block that never returns"
)]
pub trait IntoOutcome {
    #[doc(hidden)]
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Silent
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<T: Serialize> IntoOutcome for Ack<T> {
    fn into_outcome(self) -> Outcome {
        match Payload::ack(&self.0) {
            Ok(payload) => Outcome::Answered(payload),
            Err(error) => Outcome::Failed(EventError::internal(EmitError::from(error))),
        }
    }
}

impl<R: IntoOutcome, E: Into<EventError>> IntoOutcome for Result<R, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(answer) => answer.into_outcome(),
            Err(error) => Outcome::Failed(error.into()),
        }
    }
}

impl<R: IntoOutcome> IntoOutcome for Option<R> {
    /// `None` does not answer.
    fn into_outcome(self) -> Outcome {
        self.map_or(Outcome::Silent, IntoOutcome::into_outcome)
    }
}
