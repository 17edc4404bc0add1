//! Arguments as a serializer: a tuple is spread into several, any other data is one.

use std::cell::{Cell, RefMut};
use std::fmt::Display;
use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{Error as _, SerializeTuple, Serializer};
use serde_json::Error;

use super::encode::EncodeError;
use super::extract::{Collected, Extract};
use super::handoff;
use super::original::Originals;

/// Room for an array of unknown size, which then need not grow from nothing.
const SMALL: usize = 64;

/// What a [`Sheet`] has at the end.
pub(super) struct Written {
    pub(super) text: String,
    /// The number of arguments.
    pub(super) len: usize,
    pub(super) attachments: Vec<Bytes>,
    pub(super) originals: Originals,
}

/// Where arguments are written to: texts with commas between them, and attachments.
#[derive(Debug)]
pub(super) struct Sheet {
    len: Cell<usize>,
    /// They are the elements of one.
    array: Cell<bool>,
    collected: Collected,
}

type Json<'a> = serde_json::Serializer<&'a Sheet>;

impl Sheet {
    /// An empty sheet; attachments are numbered from `base`.
    pub(super) fn new(base: usize) -> Self {
        Self { len: Cell::new(0), array: Cell::new(false), collected: Collected::new(base) }
    }

    /// Writes `data` as one argument.
    pub(super) fn argument<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), Error> {
        self.begin();
        data.serialize(Extract { of: &mut Json::new(self), collected: &self.collected })
    }

    /// Writes `data` as the arguments that it stands for.
    pub(super) fn spread<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), Error> {
        data.serialize(Gather { sheet: self, json: &mut Json::new(self), level: Level::Top })
    }

    /// The text, the number of arguments in it, and what belongs to it.
    pub(super) fn finish(self) -> Result<Written, EncodeError> {
        let len = self.len.get();
        let Collected { text, list, originals, .. } = self.collected;
        let text = String::from_utf8(text.into_inner()).map_err(Error::custom)?;
        let (attachments, originals) = (list.into_inner(), originals.into_inner());
        Ok(Written { text, len, attachments, originals })
    }

    fn text(&self) -> RefMut<'_, Vec<u8>> {
        self.collected.text.borrow_mut()
    }

    /// Opens an array before the first argument, in the same buffer.
    pub(super) fn open(&self) {
        self.array.set(true);
    }

    /// Closes the array.
    pub(super) fn close(&self) {
        self.text().extend_from_slice(if self.len.get() == 0 { b"[]" } else { b"]" });
    }

    /// Writes what stands before an argument.
    fn begin(&self) {
        let mut text = self.text();
        match self.len.replace(self.len.get() + 1) {
            0 => {
                if text.capacity() == 0 {
                    text.reserve(SMALL);
                }
                if self.array.get() {
                    text.push(b'[');
                }
            }
            _ => text.push(b','),
        }
    }

    /// Writes all of `args`: a copy of their text, unless attachments of others come before theirs.
    pub(super) fn splice(&self, args: &super::Args) {
        if args.is_empty() {
            return;
        }
        self.text().reserve(args.raw_json().len() + 2);
        self.begin();
        self.len.set(self.len.get() + args.len() - 1);
        let (body, originals) = self.collected.take_over(args);
        self.collected.keep(&originals, self.text().len());
        self.text().extend_from_slice(body.as_bytes());
    }
}

impl io::Write for &Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    /// The data itself: tuples are spread, `()` is nothing.
    Top,
    /// An element of such a tuple: only `Args` are spread.
    Element,
}

struct Gather<'a, 's> {
    sheet: &'s Sheet,
    json: &'a mut Json<'s>,
    level: Level,
}

impl<'a, 's> Gather<'a, 's> {
    /// Begins an argument, which the serializer that is returned writes.
    fn one(self) -> Extract<'s, &'a mut Json<'s>> {
        self.sheet.begin();
        Extract { of: self.json, collected: &self.sheet.collected }
    }
}

macro_rules! one {
    ($($method:ident($($name:ident: $type:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $($name: $type),*) -> Result<$ok, Error> {
            self.one().$method($($name),*)
        }
    )*};
}

type Inner<'a, 's> = Extract<'s, &'a mut Json<'s>>;

impl<'a, 's> Serializer for Gather<'a, 's> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = <Inner<'a, 's> as Serializer>::SerializeSeq;
    type SerializeTuple = Tuple<'a, 's>;
    type SerializeTupleStruct = <Inner<'a, 's> as Serializer>::SerializeTupleStruct;
    type SerializeTupleVariant = <Inner<'a, 's> as Serializer>::SerializeTupleVariant;
    type SerializeMap = <Inner<'a, 's> as Serializer>::SerializeMap;
    type SerializeStruct = <Inner<'a, 's> as Serializer>::SerializeStruct;
    type SerializeStructVariant = <Inner<'a, 's> as Serializer>::SerializeStructVariant;

    one! {
        serialize_bool(value: bool) -> (); serialize_i8(value: i8) -> (); serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> (); serialize_i64(value: i64) -> (); serialize_i128(value: i128) -> ();
        serialize_u8(value: u8) -> (); serialize_u16(value: u16) -> (); serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> (); serialize_u128(value: u128) -> (); serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> (); serialize_char(value: char) -> (); serialize_str(value: &str) -> ();
        serialize_bytes(value: &[u8]) -> (); serialize_none() -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
        serialize_tuple_struct(name: &'static str, len: usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> Self::SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> Self::SerializeStructVariant;
    }

    fn serialize_unit(self) -> Result<(), Error> {
        match self.level {
            Level::Top => Ok(()),
            Level::Element => self.one().serialize_unit(),
        }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.one().serialize_some(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        match Some(value).filter(|_| name == handoff::ARGS).and_then(handoff::ask) {
            Some(args) => {
                self.sheet.splice(&args);
                Ok(())
            }
            None => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.one().serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_tuple(self, len: usize) -> Result<Tuple<'a, 's>, Error> {
        match self.level {
            Level::Top => Ok(Tuple::Spread(self)),
            Level::Element => self.one().serialize_tuple(len).map(Tuple::Array),
        }
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.one().collect_str(value)
    }
}

enum Tuple<'a, 's> {
    Spread(Gather<'a, 's>),
    Array(<Inner<'a, 's> as Serializer>::SerializeTuple),
}

impl SerializeTuple for Tuple<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        match self {
            Self::Spread(Gather { sheet, json, .. }) => {
                value.serialize(Gather { sheet, json, level: Level::Element })
            }
            Self::Array(array) => array.serialize_element(value),
        }
    }

    fn end(self) -> Result<(), Error> {
        match self {
            Self::Spread(_) => Ok(()),
            Self::Array(array) => array.end(),
        }
    }
}
