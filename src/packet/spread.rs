//! Arguments as a deserializer: a tuple is spread over them, any other type reads the first.

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::splice::{Source, Splice};
use super::{Args, ArgsError, handoff, scan};

impl ArgsError {
    fn invalid(index: usize, error: &dyn std::error::Error) -> Self {
        Self::Invalid { index, reason: error.to_string() }
    }
}

impl de::Error for ArgsError {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Self::Invalid { index: 0, reason: reason.to_string() }
    }
}

/// All arguments, as the data of one listener.
pub(super) struct Spread<'a> {
    pub(super) args: &'a Args,
}

impl<'a> Spread<'a> {
    fn first(self) -> Argument<'a> {
        let rest = Some(self.args.raw_json()).filter(|_| !self.args.is_empty());
        Argument { args: self.args, rest, index: 0 }
    }
}

/// One argument, which may be missing.
pub(super) struct Argument<'a> {
    pub(super) args: &'a Args,
    /// The text from this argument to the end: a JSON parser stops behind the first value by
    /// itself.
    pub(super) rest: Option<&'a str>,
    pub(super) index: usize,
}

impl<'a> Argument<'a> {
    fn text(&self) -> Result<&'a str, ArgsError> {
        self.rest.ok_or(ArgsError::Missing { index: self.index })
    }

    /// This argument and those behind it.
    fn all(self) -> Args {
        self.rest.map_or_else(Args::new, |rest| self.args.tail(rest, self.args.len() - self.index))
    }
}

/// Reads one argument with serde_json: directly when the packet is text, and through [`Splice`]
/// when it has binary, or [originals](super::original) that `Args` inside of it should keep.
macro_rules! read {
    ($argument:expr, $method:ident($($extra:expr,)* ; $visitor:expr)) => {{
        let argument = $argument;
        let mut json = serde_json::Deserializer::from_str(argument.text()?);
        let args = argument.args;
        if args.is_text() {
            json.$method($($extra,)* $visitor)
        } else {
            let source = Source::new(args);
            Splice { of: &mut json, source: &source }.$method($($extra,)* $visitor)
        }
        .map_err(|error| ArgsError::invalid(argument.index, &error))
    }};
}

macro_rules! read_by {
    ($($method:ident($($extra:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($extra: $type,)* visitor: V) -> Result<V::Value, ArgsError> {
            read!(self, $method($($extra,)*; visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Argument<'de> {
    type Error = ArgsError;

    read_by! {
        deserialize_any(); deserialize_bool(); deserialize_i8(); deserialize_i16(); deserialize_i32();
        deserialize_i64(); deserialize_i128(); deserialize_u8(); deserialize_u16(); deserialize_u32();
        deserialize_u64(); deserialize_u128(); deserialize_f32(); deserialize_f64(); deserialize_char();
        deserialize_str(); deserialize_string(); deserialize_bytes(); deserialize_byte_buf();
        deserialize_unit(); deserialize_unit_struct(name: &'static str);
        deserialize_seq(); deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize); deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]); deserialize_identifier();
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.rest {
            None => visitor.visit_none(),
            Some(_) => read!(self, deserialize_option(; visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        if name == handoff::ARGS {
            return handoff::give(self.all(), || visitor.visit_unit());
        }
        match self.rest {
            // A newtype of an `Option` may be missing as well: its content decides.
            None => visitor.visit_newtype_struct(self),
            Some(_) => read!(self, deserialize_newtype_struct(name,; visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }
}

macro_rules! first_by {
    ($($method:ident($($extra:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($extra: $type,)* visitor: V) -> Result<V::Value, ArgsError> {
            self.first().$method($($extra,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Spread<'de> {
    type Error = ArgsError;

    first_by! {
        deserialize_any(); deserialize_bool(); deserialize_i8(); deserialize_i16(); deserialize_i32();
        deserialize_i64(); deserialize_i128(); deserialize_u8(); deserialize_u16(); deserialize_u32();
        deserialize_u64(); deserialize_u128(); deserialize_f32(); deserialize_f64(); deserialize_char();
        deserialize_str(); deserialize_string(); deserialize_bytes(); deserialize_byte_buf();
        deserialize_option(); deserialize_seq();
        deserialize_tuple_struct(name: &'static str, len: usize); deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier(); deserialize_ignored_any();
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_seq(Elements { next: self.first(), len })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        if name == handoff::ARGS {
            return self.first().deserialize_newtype_struct(name, visitor);
        }
        // Anything that serde_json reads as raw text is one argument; any other newtype is as its
        // content is.
        if name == RAW_VALUE {
            return self.first().deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }
}

/// The name under which serde_json's `RawValue` asks for raw text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The elements of a tuple, one argument each.
struct Elements<'a> {
    next: Argument<'a>,
    len: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = ArgsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ArgsError> {
        let Argument { args, rest, index } = self.next;
        if index == self.len {
            return Ok(None);
        }
        // The text behind the last element is nobody's: the scan is saved.
        let behind = if index + 1 == self.len { None } else { rest.and_then(scan::after_value) };
        self.next = Argument { args, rest: behind, index: index + 1 };
        seed.deserialize(Argument { args, rest, index }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next.index)
    }
}
