//! Reads JSON in which placeholders stand for attachments: whoever asks for bytes gets those of the
//! attachment.
//!
//! [`Splice`] wraps everything that serde passes around while it reads (deserializers, visitors,
//! accesses, seeds), and hands all of it on to serde_json, which so keeps its rules, its messages
//! and its limit of recursion.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::{MapDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::original::Cursor;
use super::{Args, handoff};

/// The arguments that are read, whose attachments placeholders name.
pub(super) struct Source<'a> {
    args: &'a Args,
    /// Where `Args` inside of these were found last.
    cursor: RefCell<Cursor<'a>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(args: &'a Args) -> Self {
        Self { args, cursor: RefCell::default() }
    }
}

/// Something of serde that reads, and what it reads from.
pub(super) struct Splice<'s, 'a, T> {
    pub(super) of: T,
    pub(super) source: &'s Source<'a>,
}

impl<'s, 'a, T> Splice<'s, 'a, T> {
    fn around<U>(&self, of: U) -> Splice<'s, 'a, U> {
        Splice { of, source: self.source }
    }
}

macro_rules! forward {
    ($($method:ident($($extra:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($extra: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.around(visitor);
            self.of.$method($($extra,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Splice<'_, '_, D> {
    type Error = D::Error;

    forward! {
        deserialize_bool(); deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64();
        deserialize_i128(); deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64();
        deserialize_u128(); deserialize_f32(); deserialize_f64(); deserialize_char(); deserialize_str();
        deserialize_string(); deserialize_option(); deserialize_unit();
        deserialize_unit_struct(name: &'static str); deserialize_seq(); deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize); deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]); deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let source = self.source;
        if keeps_content::<V::Value>() {
            return self.of.deserialize_any(ContentVisitor(Splice { of: visitor, source }));
        }
        self.of.deserialize_any(Splice { of: visitor, source })
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.around(visitor);
        self.of.deserialize_any(BytesVisitor { visitor, owned: false })
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.around(visitor);
        self.of.deserialize_any(BytesVisitor { visitor, owned: true })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name == handoff::ARGS {
            let raw = <&RawValue>::deserialize(self.of)?;
            let Source { args, cursor } = self.source;
            let args = args.nested(raw.get(), &mut cursor.borrow_mut());
            let args = args.ok_or_else(|| D::Error::custom("expected an array"))?;
            return handoff::give(args, || visitor.visit_unit());
        }
        let visitor = self.around(visitor);
        self.of.deserialize_newtype_struct(name, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }
}

/// Whether `T` is the buffer in which serde's derive keeps a value whose type it does not know yet:
/// untagged and internally tagged enums, `flatten`.
///
/// Such a buffer must get bytes for a placeholder, or the bytes behind it were lost; anything else
/// that reads "any" type, first of all [`Value`], must get the placeholder, because it refuses
/// bytes. serde has no public sign for the former, so its name has to do; if serde renames it,
/// binary inside such enums is refused, and a test fails.
fn keeps_content<T>() -> bool {
    let name = std::any::type_name::<T>();
    let name = name.split_once('<').map_or(name, |(name, _)| name);
    name.starts_with("serde") && name.ends_with("::content::Content")
}

/// The attachment that a finished object names, if it is a placeholder.
fn named<'a>(fields: &[(String, Value)], attachments: &'a [Bytes]) -> Option<&'a Bytes> {
    let last =
        |key: &str| fields.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
    last("_placeholder").filter(|marker| **marker == Value::Bool(true))?;
    let num = usize::try_from(last("num")?.as_u64()?).ok()?;
    attachments.get(num)
}

macro_rules! visit {
    ($self:ident => $visitor:expr; $($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>($self, value: $type) -> Result<V::Value, E> {
            $visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Splice<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.expecting(formatter)
    }

    visit! { self => self.of;
        visit_bool(bool); visit_i8(i8); visit_i16(i16); visit_i32(i32); visit_i64(i64); visit_i128(i128);
        visit_u8(u8); visit_u16(u16); visit_u32(u32); visit_u64(u64); visit_u128(u128); visit_f32(f32);
        visit_f64(f64); visit_char(char); visit_str(&str); visit_borrowed_str(&'de str); visit_string(String);
        visit_bytes(&[u8]); visit_borrowed_bytes(&'de [u8]); visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.around(deserializer);
        self.of.visit_some(deserializer)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_unit()
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        let deserializer = self.around(deserializer);
        self.of.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let seq = self.around(seq);
        self.of.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = self.around(map);
        self.of.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        let data = self.around(data);
        self.of.visit_enum(data)
    }
}

/// Gives a visitor of bytes those of an attachment, or what serde_json takes for bytes: a string,
/// an array of numbers.
struct BytesVisitor<'s, 'a, V> {
    visitor: Splice<'s, 'a, V>,
    owned: bool,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for BytesVisitor<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.visitor.of.visit_bytes(text.as_bytes())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.visitor.of.visit_borrowed_bytes(text.as_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        match named(&fields, self.visitor.source.args.attachments()) {
            Some(bytes) if self.owned => self.visitor.of.visit_byte_buf(bytes.to_vec()),
            Some(bytes) => self.visitor.of.visit_bytes(bytes),
            None => Err(A::Error::custom("expected binary, found an object")),
        }
    }
}

/// Gives [a buffer](keeps_content) bytes for each placeholder. Placeholders begin with their
/// marker: `Args::attach` made them so.
struct ContentVisitor<'s, 'a, V>(Splice<'s, 'a, V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for ContentVisitor<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    visit! { self => self.0;
        visit_bool(bool); visit_i64(i64); visit_u64(u64); visit_f64(f64); visit_str(&str);
        visit_borrowed_str(&'de str); visit_string(String);
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() != Some("_placeholder") {
            return self.0.visit_map(Peeked { first, map });
        }
        let mut fields = vec![(first.unwrap_or_default(), map.next_value()?)];
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        match named(&fields, self.0.source.args.attachments()) {
            Some(bytes) => self.0.of.visit_byte_buf(bytes.to_vec()),
            None => {
                let fields = MapDeserializer::<_, serde_json::Error>::new(fields.into_iter());
                self.0.visit_map(fields).map_err(A::Error::custom)
            }
        }
    }
}

/// A map whose first key has been read already.
struct Peeked<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Peeked<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(key) => {
                let key: StringDeserializer<A::Error> = key.into_deserializer();
                seed.deserialize(key).map(Some)
            }
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Splice<'_, '_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.around(deserializer);
        self.of.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Splice<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.around(seed);
        self.of.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Splice<'_, '_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.of.next_key_seed(seed) // a key is a string, never binary
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.of.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'de, 's, 'a, A: EnumAccess<'de>> EnumAccess<'de> for Splice<'s, 'a, A> {
    type Error = A::Error;
    type Variant = Splice<'s, 'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let source = self.source;
        let (value, of) = self.of.variant_seed(seed)?;
        Ok((value, Splice { of, source }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Splice<'_, '_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.of.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.of.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.of.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.of.struct_variant(fields, visitor)
    }
}
