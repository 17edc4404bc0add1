//! Writes JSON with a placeholder wherever a value writes bytes, and collects those bytes.
//!
//! [`Extract`] wraps everything that serde passes around while it writes (serializers, compounds,
//! values), and hands all of it on to serde_json.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;

use bytes::Bytes;
use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::original::Originals;
use super::{Args, handoff, scan};

/// The text so far, and what belongs to it.
#[derive(Debug)]
pub(super) struct Collected {
    /// Written by several hands in turns, hence the cell.
    pub(super) text: RefCell<Vec<u8>>,
    /// How many attachments the text before already has.
    base: usize,
    pub(super) list: RefCell<Vec<Bytes>>,
    pub(super) originals: RefCell<Originals>,
}

impl Collected {
    pub(super) fn new(base: usize) -> Self {
        Self {
            text: RefCell::default(),
            base,
            list: RefCell::default(),
            originals: RefCell::default(),
        }
    }

    /// Adds one attachment and answers its number.
    fn push(&self, bytes: Bytes) -> usize {
        let mut list = self.list.borrow_mut();
        list.push(bytes);
        self.base + list.len() - 1
    }

    /// Adds the attachments of `args`; answers the text whose placeholders are numbered
    /// accordingly, which is the text as it is when there is nothing to renumber, and its
    /// originals.
    pub(super) fn take_over<'a>(&self, args: &'a Args) -> (Cow<'a, str>, Originals) {
        let attachments = args.attachments();
        let offset = self.base + self.list.borrow().len();
        self.list.borrow_mut().extend_from_slice(attachments);
        let (text, originals) = (args.raw_json(), args.originals());
        if offset == 0 || attachments.is_empty() {
            return (text.into(), originals.clone());
        }
        let number = |num| (num < attachments.len()).then_some(num + offset);
        let slots = scan::slots(text);
        (scan::renumber(text, &slots, number).into(), originals.renumbered(&slots, number))
    }

    /// Keeps the originals of a text that is, or will be, written at `at`.
    pub(super) fn keep(&self, originals: &Originals, at: usize) {
        self.originals.borrow_mut().extend(originals, at);
    }

    /// Where the text ends.
    fn end(&self) -> usize {
        self.text.borrow().len()
    }
}

/// What the peer puts an attachment in place of.
#[derive(Serialize)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    marker: bool,
    num: usize,
}

/// Something of serde that writes, and where it puts attachments.
pub(super) struct Extract<'a, T> {
    pub(super) of: T,
    pub(super) collected: &'a Collected,
}

impl<'a, T> Extract<'a, T> {
    fn around<U>(&self, of: U) -> Extract<'a, U> {
        Extract { of, collected: self.collected }
    }
}

impl<T: Serialize + ?Sized> Serialize for Extract<'_, &T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.of.serialize(self.around(serializer))
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $($name: $type),*) -> Result<$ok, S::Error> {
            self.of.$method($($name),*)
        }
    )*};
}

macro_rules! forward_compound {
    ($($method:ident($($name:ident: $type:ty),*) -> $compound:ident;)*) => {$(
        fn $method(self, $($name: $type),*) -> Result<Self::$compound, S::Error> {
            let of = self.of.$method($($name),*)?;
            Ok(Extract { of, collected: self.collected })
        }
    )*};
}

impl<'a, S: Serializer> Serializer for Extract<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Extract<'a, S::SerializeSeq>;
    type SerializeTuple = Extract<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Extract<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Extract<'a, S::SerializeTupleVariant>;
    type SerializeMap = Extract<'a, S::SerializeMap>;
    type SerializeStruct = Extract<'a, S::SerializeStruct>;
    type SerializeStructVariant = Extract<'a, S::SerializeStructVariant>;

    forward! {
        serialize_bool(value: bool) -> S::Ok; serialize_i8(value: i8) -> S::Ok; serialize_i16(value: i16) -> S::Ok;
        serialize_i32(value: i32) -> S::Ok; serialize_i64(value: i64) -> S::Ok; serialize_i128(value: i128) -> S::Ok;
        serialize_u8(value: u8) -> S::Ok; serialize_u16(value: u16) -> S::Ok; serialize_u32(value: u32) -> S::Ok;
        serialize_u64(value: u64) -> S::Ok; serialize_u128(value: u128) -> S::Ok; serialize_f32(value: f32) -> S::Ok;
        serialize_f64(value: f64) -> S::Ok; serialize_char(value: char) -> S::Ok; serialize_str(value: &str) -> S::Ok;
        serialize_none() -> S::Ok; serialize_unit() -> S::Ok; serialize_unit_struct(name: &'static str) -> S::Ok;
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> S::Ok;
    }

    forward_compound! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant;
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<S::Ok, S::Error> {
        let num = self.collected.push(Bytes::copy_from_slice(bytes));
        Placeholder { marker: true, num }.serialize(self.of)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.around(value);
        self.of.serialize_some(&value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        match Some(value).filter(|_| name == handoff::ARGS).and_then(handoff::ask) {
            Some(args) => {
                let (body, originals) = self.collected.take_over(&args);
                let array = format!("[{body}]");
                let raw = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(&array));
                let start = self.collected.end();
                let written = raw.map_err(S::Error::custom)?.serialize(self.of)?;
                // Unless it went somewhere else first.
                if self.collected.end() == start + array.len() {
                    self.collected.keep(&originals, start + 1);
                }
                Ok(written)
            }
            None => {
                let value = self.around(value);
                self.of.serialize_newtype_struct(name, &value)
            }
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.around(value);
        self.of.serialize_newtype_variant(name, index, variant, &value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.of.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }
}

macro_rules! compound {
    ($($trait:ident::$method:ident($($key:ident)?);)*) => {$(
        impl<C: $trait> $trait for Extract<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), C::Error> {
                let value = self.around(value);
                self.of.$method($($key,)? &value)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.of.end()
            }
        }
    )*};
}

compound! {
    SerializeSeq::serialize_element(); SerializeTuple::serialize_element();
    SerializeTupleStruct::serialize_field(); SerializeTupleVariant::serialize_field();
    SerializeStruct::serialize_field(key); SerializeStructVariant::serialize_field(key);
}

impl<C: SerializeMap> SerializeMap for Extract<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.of.serialize_key(key) // a key is a string, never binary
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let value = self.around(value);
        self.of.serialize_value(&value)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.of.end()
    }
}
