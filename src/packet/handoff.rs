//! How [`Args`] passes through serde in one piece.
//!
//! serde's data model has no place for a shared list of attachments, and a `Deserialize` or
//! `Serialize` impl cannot name the (de)serializer it meets. So both sides agree on the name of a
//! newtype struct, and the value itself waits in a thread-local slot for the length of that one
//! call. Nothing is copied, and nothing stays behind in the slot.

use std::cell::RefCell;

use serde::Serialize;

use super::Args;

/// The newtype struct that [`Args`] claims to be.
pub(super) const ARGS: &str = "$greenroom::packet::Args";

enum Slot {
    Idle,
    Wanted,
    Given(Args),
}

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Idle) };
}

fn swap(slot: Slot) -> Slot {
    SLOT.with(|cell| cell.replace(slot))
}

/// Deserializing: offers `args` to the visitor that `call` runs.
pub(super) fn give<R>(args: Args, call: impl FnOnce() -> R) -> R {
    swap(Slot::Given(args));
    let result = call();
    swap(Slot::Idle);
    result
}

/// Deserializing: what is on offer.
pub(super) fn take() -> Option<Args> {
    match swap(Slot::Idle) {
        Slot::Given(args) => Some(args),
        Slot::Idle | Slot::Wanted => None,
    }
}

/// Serializing: the [`Args`] behind `value`, which is the content of a newtype struct named
/// [`ARGS`].
pub(super) fn ask<T: Serialize + ?Sized>(value: &T) -> Option<Args> {
    swap(Slot::Wanted);
    // What is written does not matter: the value answers through the slot and writes a unit.
    let _ = value.serialize(&mut serde_json::Serializer::new(std::io::sink()));
    take()
}

/// Serializing: answers [`ask`], and says whether it was asked.
pub(super) fn answer(args: &Args) -> bool {
    match swap(Slot::Idle) {
        Slot::Wanted => {
            swap(Slot::Given(args.clone()));
            true
        }
        Slot::Idle | Slot::Given(_) => false,
    }
}
