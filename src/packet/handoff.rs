//! How [`Args`] passes through serde in one piece.
//!
//! serde's data model has no place for a shared list of attachments, and a `Deserialize` or
//! `Serialize` impl cannot name the (de)serializer it meets. So both sides agree on the name of a
//! newtype struct, and the value itself waits in a thread-local slot for the length of that one
//! call. Nothing is copied, and nothing stays behind in the slot.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Args;
use super::attachments::Attachments;

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

impl Serialize for Args {
    /// In this crate the arguments are spread, binary included; any other serializer gets a
    /// sequence, with placeholders.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ARGS, &Whole(self))
    }
}

struct Whole<'a>(&'a Args);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if answer(self.0) {
            return serializer.serialize_unit();
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for text in self.0.texts() {
            let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
            list.serialize_element(raw)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Args {
    /// From [`Args::parse`], all arguments that are left; anywhere deeper in JSON, the elements of
    /// an array.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ARGS, ArgsVisitor)
    }
}

struct ArgsVisitor;

impl<'de> Visitor<'de> for ArgsVisitor {
    type Value = Args;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of arguments")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Args, E> {
        take().ok_or_else(|| E::invalid_type(de::Unexpected::Unit, &self))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Args, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Args::from_array(raw.get(), &Attachments::default())
            .ok_or_else(|| de::Error::custom("expected an array"))
    }
}
