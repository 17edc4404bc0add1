//! What values were before they became JSON text.
//!
//! msgpack has values that JSON has not, and the text of received arguments cannot say of a string
//! that it was a date. So the bytes that came are kept beside the text, a slice of the message, and
//! go wherever the text goes unchanged; [`msgpack`](super::msgpack) then writes them instead of
//! it. With the default parser there are none, and nothing is allocated for them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::msgpack::{
    self,
    json::{Located, Locator},
};
use super::scan;

/// The original of a part of a JSON text.
#[derive(Clone, Debug)]
pub(super) struct Original {
    /// The part: values with commas between them, elements of one array.
    pub(super) text: Range<usize>,
    /// How many values.
    pub(super) count: usize,
    /// The number of the first attachment that the part names, if it names any; the others follow.
    first: usize,
    /// The values in msgpack.
    pub(super) bytes: Bytes,
}

/// The originals of parts of one text, from front to back. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Originals(Option<Arc<SmallVec<[Original; 1]>>>);

impl Originals {
    /// The one of a whole text.
    pub(super) fn whole(text: &str, count: usize, bytes: Bytes) -> Self {
        let original = Original { text: 0..text.len(), count, first: 0, bytes };
        Self(Some(Arc::new(smallvec![original])))
    }

    pub(super) fn as_slice(&self) -> &[Original] {
        self.0.as_ref().map_or(&[], |list| list.as_slice())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the first value is `undefined`.
    pub(super) fn is_undefined(&self) -> bool {
        self.as_slice().first().is_some_and(|original| msgpack::is_undefined(&original.bytes))
    }

    /// Adds those of a text that is appended at `at`.
    pub(super) fn extend(&mut self, more: &Self, at: usize) {
        if more.is_empty() {
            return;
        }
        let list = Arc::make_mut(self.0.get_or_insert_default());
        list.extend(more.as_slice().iter().cloned().map(|original| Original {
            text: original.text.start + at..original.text.end + at,
            ..original
        }));
    }

    /// Follows the renumbering of the placeholders at `slots` by `number`, see
    /// [`scan::renumber`].
    pub(super) fn renumbered(
        &self,
        slots: &[scan::Slot],
        number: impl Fn(usize) -> Option<usize>,
    ) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        let mut slots = slots.iter().peekable();
        let (mut grown, mut shrunk) = (0, 0);
        // Called with positions from front to back.
        let mut moved = |at: usize| {
            while let Some(slot) = slots.next_if(|slot| slot.range.end <= at) {
                if let Some(num) = slot.num.and_then(&number) {
                    grown += scan::placeholder(num).len();
                    shrunk += slot.range.len();
                }
            }
            at + grown - shrunk
        };
        let list = self.as_slice().iter().map(|original| Original {
            text: moved(original.text.start)..moved(original.text.end),
            first: number(original.first).unwrap_or_default(),
            ..original.clone()
        });
        Self(Some(Arc::new(list.collect())))
    }

    /// Those of a part of the text, which begins and ends with values.
    pub(super) fn part(&self, part: &Range<usize>) -> Self {
        self.next_part(part, &mut Cursor::default())
    }

    /// The same for one of several parts that are asked for from front to back.
    pub(super) fn next_part<'a>(&'a self, part: &Range<usize>, cursor: &mut Cursor<'a>) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        let originals = self.as_slice().iter();
        let list: SmallVec<_> =
            originals.filter_map(|original| original.part(part, cursor)).collect();
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }
}

/// Where the last part was.
#[derive(Default)]
pub(super) struct Cursor<'a>(Option<(&'a Original, Locator<'a>)>);

impl<'a> Cursor<'a> {
    /// What finds values of `original` from `start` on.
    fn locator(&mut self, original: &'a Original, start: usize) -> &mut Locator<'a> {
        let fits = |(known, locator): &(&Original, Locator<'_>)| {
            std::ptr::eq(*known, original) && !locator.has_passed(start)
        };
        let new = || (original, Locator::new(&original.bytes, original.count, original.first));
        let known = self.0.take().filter(fits);
        &mut self.0.insert(known.unwrap_or_else(new)).1
    }
}

impl Original {
    /// What it says of `part`; nothing if the two have nothing in common.
    fn part<'a>(&'a self, part: &Range<usize>, cursor: &mut Cursor<'a>) -> Option<Self> {
        let common = self.text.start.max(part.start)..self.text.end.min(part.end);
        if common.is_empty() {
            return None;
        }
        let text = common.start - part.start..common.end - part.start;
        if common == self.text {
            return Some(Self { text, ..self.clone() });
        }
        let inside = common.start - self.text.start..common.end - self.text.start;
        let to_end = common.end == self.text.end;
        let Located { bytes, count, first } =
            cursor.locator(self, inside.start).find(&inside, to_end)?;
        Some(Self { text, count, first, bytes: self.bytes.slice(bytes) })
    }
}
