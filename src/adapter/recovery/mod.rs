//! Connection state recovery: what a namespace keeps so that a client whose connection broke can
//! have its socket back. Plain data; the namespace's actor owns it and gives the time.
//!
//! The [`Log`] holds the namespace's latest events, [`Sessions`] who may come back, and [`Store`]
//! puts both together. A position in the log is known to clients as an *offset*: a string behind
//! the arguments of every event that is kept. Why offsets are enough, and when one is too old:
//! `docs/decisions/0010-recovery.md`.

mod elsewhere;
mod imported;
mod log;
mod offset;
mod options;
mod pid;
mod sessions;
mod store;

#[cfg(test)]
mod tests;

pub use self::options::Recovery;
pub(crate) use self::{
    elsewhere::{Change, Deposit, Missed, Over, Recall, Recalled},
    imported::{Deposited, Import},
    log::Audience,
    offset::Offset,
    options::Settings,
    pid::Pid,
    sessions::{Returned, Whereabouts},
    store::{Departure, Failure, Store},
};

/// A time, since the store was made.
pub(crate) type Moment = std::time::Duration;

/// The number of an event in its log. The first one is 1.
pub(crate) type Position = u64;
