//! The text of arguments, shared by everything that was made of it.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

/// The JSON texts of the arguments, separated by commas. A clone shares the text.
#[derive(Clone, Default)]
pub(super) struct Body {
    /// A slice of a packet; of no more meaning once there is a text built here.
    slice: ByteString,
    built: Option<Arc<String>>,
}

impl Body {
    pub(super) fn as_str(&self) -> &str {
        self.built.as_ref().map_or(&*self.slice, |text| text.as_str())
    }

    /// `part`, which is a slice of this text.
    pub(super) fn slice(&self, part: &str) -> Self {
        match self.built {
            None => self.slice.slice_ref(part).into(),
            Some(_) => ByteString::from(part).into(),
        }
    }

    /// The text to append to: copied once from a slice, or while it is shared.
    pub(super) fn make_mut(&mut self) -> &mut String {
        let slice = &self.slice;
        Arc::make_mut(self.built.get_or_insert_with(|| Arc::new(String::from(&**slice))))
    }
}

impl From<ByteString> for Body {
    fn from(slice: ByteString) -> Self {
        Self { slice, built: None }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        ByteString::from(text).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
