//! The arguments of an event or an ack: a slice of JSON text, and the attachments it names.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::attachments::Attachments;
use super::body::Body;
use super::encode::EncodeError;
use super::gather::{Sheet, Written};
use super::original::{Cursor, Originals};
use super::scan;
use super::spread::{Argument, Spread};

/// The arguments of an event or an ack, with binary in place.
///
/// What came from a client is kept as text and parsed when asked for; a clone is cheap. As a data
/// type, `Args` takes all arguments (inside a tuple: all that are left), and gives them back as
/// they were.
///
/// ```
/// use bytes::Bytes;
/// use greenroom::{Args, prelude::*};
///
/// Namespace::new("/")
///     .on("echo", |_: Socket, all: Args| async move { Ack(all) })              // back as they came
///     .on("relay", |socket: Socket, (room, rest): (String, Args)| async move {
///         socket.to(room).emit("relayed", &rest)                               // not parsed at all
///     })
///     .on("file", |_: Socket, args: Args| async move {
///         let name: String = args.get(0)?;
///         let content: Option<Bytes> = args.get(1)?;                           // it may be missing
///         Ok::<_, EventError>(Ack((name, content.map(|bytes| bytes.len()), args.len())))
///     });
/// ```
#[derive(Clone, Default)]
pub struct Args {
    body: Body,
    len: usize,
    attachments: Attachments,
    originals: Originals,
}

impl PartialEq for Args {
    /// Compares text and attachments.
    fn eq(&self, other: &Self) -> bool {
        (&self.body, &self.attachments) == (&other.body, &other.attachments)
    }
}

/// Why arguments are not of the type that was asked for. Positions count from 0.
///
/// ```
/// use greenroom::{Args, ArgsError};
///
/// fn page(args: &Args) -> Result<u32, ArgsError> {
///     match args.get(0) {
///         Err(ArgsError::Missing { .. }) => Ok(1),        // nothing was said
///         page => page,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// There are not as many arguments.
    #[error("argument {index} is missing")]
    Missing {
        /// The position of the first one that is missing.
        index: usize,
    },
    /// An argument is of another type.
    #[error("argument {index}: {reason}")]
    Invalid {
        /// Its position.
        index: usize,
        /// What serde says about it.
        reason: String,
    },
}

impl fmt::Debug for Args {
    /// The arguments as JSON, and the sizes of their attachments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Args[{}]", self.raw_json())?;
        if !self.attachments().is_empty() {
            let sizes = self.attachments().iter().map(Bytes::len);
            f.debug_list().entries(sizes).finish()?;
        }
        Ok(())
    }
}

impl Args {
    /// No arguments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The arguments that `data` stands for, by the rule of the [module](super).
    ///
    /// # Errors
    /// When `data` cannot be written as JSON.
    pub fn of<T: Serialize + ?Sized>(data: &T) -> Result<Self, EncodeError> {
        let sheet = Sheet::new(0);
        sheet.spread(data)?;
        let Written { text, len, attachments, originals } = sheet.finish()?;
        Ok(Self { body: Body::from(text), len, attachments: attachments.into(), originals })
    }

    /// Appends one argument: a tuple is one array here.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON; nothing is appended then.
    pub fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<&mut Self, EncodeError> {
        let sheet = Sheet::new(self.attachments.len());
        sheet.argument(value)?;
        self.add(sheet)
    }

    /// Appends all of `others`.
    pub fn append(&mut self, others: &Self) -> &mut Self {
        let sheet = Sheet::new(self.attachments.len());
        sheet.splice(others);
        // Args are text already: no value that could fail to become it.
        let added = self.add(sheet).is_ok();
        debug_assert!(added, "arguments are UTF-8");
        self
    }

    fn add(&mut self, sheet: Sheet) -> Result<&mut Self, EncodeError> {
        let Written { text, len, attachments, originals } = sheet.finish()?;
        if len == 0 {
            return Ok(self);
        }
        let body = self.body.make_mut();
        if self.len > 0 {
            body.push(',');
        }
        self.originals.extend(&originals, body.len());
        body.push_str(&text);
        self.len += len;
        self.attachments.extend(attachments);
        Ok(self)
    }

    /// The number of arguments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the argument at position `index`, counted from 0. `Option` reads a missing one as
    /// `None`.
    ///
    /// Finding it takes time in the length of what is before it: to read many,
    /// [`parse`](Self::parse) a tuple.
    ///
    /// # Errors
    /// When it is missing, or of another type.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgsError> {
        T::deserialize(Argument { args: self, rest: self.text_from(index), index })
    }

    /// Whether the argument at position `index` is missing, or is the `undefined` of a client that
    /// speaks msgpack: to all that reads it, that is a `null`.
    #[must_use]
    pub fn is_undefined(&self, index: usize) -> bool {
        self.text_from(index).is_none_or(|rest| {
            let start = self.raw_json().len() - rest.len();
            self.originals.part(&(start..start + scan::value_len(rest))).is_undefined()
        })
    }

    /// Reads the arguments as a `T`: a tuple takes as many as it has, `Args` all, `()` none, any
    /// other type the first. Arguments that are left over are ignored.
    ///
    /// # Errors
    /// When an argument is missing and not an `Option`, or of another type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        T::deserialize(Spread { args: self })
    }

    /// The arguments as a JSON array, binary as `{"_placeholder":true,"num":n}` (see
    /// [`attachments`](Self::attachments)).
    ///
    /// An argument that no [`Value`] can hold (nested deeper than 128, half a surrogate pair, a
    /// number beyond `f64`) is shown as a string with its JSON text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let show = |text: &str| {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        };
        self.texts().map(show).collect()
    }

    /// The attachments; the placeholder numbered `n` stands for the one at `n`. Of a received
    /// packet, exactly those that the arguments name.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments.as_slice()
    }

    /// The JSON texts of the arguments, separated by commas, **without** the brackets of an array
    /// around them.
    #[must_use]
    pub fn raw_json(&self) -> &str {
        self.body.as_str()
    }

    /// The JSON text of each argument.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.text_from(0);
        std::iter::from_fn(move || {
            let text = rest?;
            rest = scan::after_value(text);
            Some(text[..scan::value_len(text)].trim())
        })
    }

    /// The arguments behind the first `count`.
    ///
    /// Attachments that only those before it named are left out, and the others renumbered.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        match self.text_from(count) {
            Some(rest) => self.tail(rest, self.len - count),
            None => Self::default(),
        }
    }

    /// The first `count` arguments; attachments that only those behind them named are left out.
    #[must_use]
    pub fn take(&self, count: usize) -> Self {
        let Some(rest) = self.text_from(count) else { return self.clone() };
        let all = self.raw_json();
        // What is left ends with the comma before the rest.
        let text = all[..all.len() - rest.len()].trim_end().trim_end_matches(',');
        self.part(text, count)
    }

    /// The text from the argument at `index` to the end, `None` when there is no such argument.
    fn text_from(&self, index: usize) -> Option<&str> {
        if index >= self.len {
            return None;
        }
        let mut rest = self.body.as_str();
        for _ in 0..index {
            rest = scan::after_value(rest)?;
        }
        Some(rest)
    }

    /// The last `len` arguments, whose text is `rest`, a slice of this text.
    pub(super) fn tail(&self, rest: &str, len: usize) -> Self {
        if len == self.len {
            return self.clone();
        }
        self.part(rest, len)
    }

    /// The `len` values whose text is `part`, a slice of this text.
    fn part(&self, part: &str, len: usize) -> Self {
        self.next_part(part, len, &mut Cursor::default())
    }

    fn next_part<'a>(&'a self, part: &str, len: usize, cursor: &mut Cursor<'a>) -> Self {
        let (body, attachments) = (self.body.slice(part), self.attachments.clone());
        let start = part.as_ptr().addr() - self.raw_json().as_ptr().addr();
        let originals = self.originals.next_part(&(start..start + part.len()), cursor);
        Self { body, len, attachments, originals }.compact()
    }

    /// Arguments from the text of an array inside of these, of several that are read from front to
    /// back; `None` when it is no array.
    pub(super) fn nested<'a>(&'a self, array: &str, cursor: &mut Cursor<'a>) -> Option<Self> {
        let start = array.as_ptr().addr().checked_sub(self.raw_json().as_ptr().addr());
        if start.and_then(|at| self.raw_json().get(at..at + array.len())) != Some(array) {
            return Self::from_array(array, &self.attachments);
        }
        let body = array.strip_prefix('[')?.strip_suffix(']')?.trim();
        match count(body) {
            0 => Some(Self::default()),
            len => Some(self.next_part(body, len, cursor)),
        }
    }

    /// Arguments that came in msgpack: their text, and their bytes.
    pub(super) fn from_msgpack(
        text: ByteString,
        len: usize,
        attachments: Vec<Bytes>,
        bytes: Bytes,
    ) -> Self {
        let originals = Originals::whole(&text, len, bytes);
        Self { body: Body::from(text), len, attachments: attachments.into(), originals }
    }

    /// Arguments from the text between the brackets of a JSON array, whose syntax has been checked.
    pub(super) fn from_checked(body: ByteString, len: usize) -> Self {
        Self { body: Body::from(body), len, ..Self::default() }
    }

    /// Arguments from the text of any JSON value, whose syntax has been checked; `None` when it is
    /// not an array.
    pub(super) fn from_array(array: &str, attachments: &Attachments) -> Option<Self> {
        let body = array.strip_prefix('[')?.strip_suffix(']')?.trim();
        let len = count(body);
        let body = Body::from(ByteString::from(body));
        let attachments = attachments.clone();
        Some(Self { body, len, attachments, ..Self::default() }.compact())
    }

    /// Puts attachments in their places, and drops those without one. `None` when a placeholder
    /// names none of them, or one that is taken.
    ///
    /// The reference lets several placeholders name one attachment, though no encoder writes that.
    /// Each use is a copy here, so a packet of many placeholders for one large attachment would
    /// take many times its size.
    pub(super) fn attach(self, list: Vec<Bytes>) -> Option<Self> {
        let slots = scan::slots(self.raw_json());
        let mut taken = vec![false; list.len()];
        for slot in &slots {
            let taken = taken.get_mut(slot.num?)?;
            if std::mem::replace(taken, true) {
                return None;
            }
        }
        // One spelling for all, so that reading may look at the first key of an object only (see
        // `splice`).
        let plain = |slot: &scan::Slot| {
            slot.num
                .is_some_and(|num| self.raw_json()[slot.range.clone()] == *scan::placeholder(num))
        };
        let body = match slots.iter().all(plain) {
            true => self.body,
            false => Body::from(scan::renumber(self.raw_json(), &slots, Some)),
        };
        let args = Self { body, len: self.len, attachments: list.into(), ..Self::default() };
        Some(if slots.len() < taken.len() { args.compact() } else { args })
    }

    /// Drops attachments that no placeholder names, and numbers the others from 0 in order.
    fn compact(self) -> Self {
        if self.attachments.is_empty() {
            return self;
        }
        let (slots, all) = (scan::slots(self.raw_json()), self.attachments.as_slice());
        let known = || slots.iter().filter_map(|slot| slot.num).filter(|num| *num < all.len());
        // Often few of many, next to each other.
        let low = known().min().unwrap_or_default();
        let mut numbers = vec![None; known().max().map_or(0, |high| high - low + 1)];
        let mut kept = Vec::new();
        for num in known() {
            if let Some(number @ None) = numbers.get_mut(num - low) {
                *number = Some(kept.len());
                kept.push(all[num].clone());
            }
        }
        if kept.len() == all.len() && numbers.iter().flatten().copied().eq(0..all.len()) {
            return self;
        }
        let number = |num: usize| numbers.get(num.checked_sub(low)?).copied().flatten();
        let originals = self.originals.renumbered(&slots, number);
        let body = Body::from(scan::renumber(self.raw_json(), &slots, number));
        Self { body, len: self.len, attachments: kept.into(), originals }
    }

    pub(super) fn originals(&self) -> &Originals {
        &self.originals
    }

    /// Whether there is nothing but text.
    pub(super) fn is_text(&self) -> bool {
        self.attachments.is_empty() && self.originals.is_empty()
    }
}

/// The number of values in a list of JSON texts.
fn count(list: &str) -> usize {
    let mut rest = Some(list).filter(|list| !list.is_empty());
    let mut count = 0;
    while let Some(text) = rest {
        rest = scan::after_value(text);
        count += 1;
    }
    count
}

impl PartialEq<Value> for Args {
    /// Compares with what [`to_json`](Args::to_json) gives.
    fn eq(&self, other: &Value) -> bool {
        self.to_json() == *other
    }
}
