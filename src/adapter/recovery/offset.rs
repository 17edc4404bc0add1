//! Where clients take up what they missed, if the engine keeps it.

use std::{fmt, str::FromStr};

/// The place of an event in a stream that the engine keeps. Clients know it as their offset.
///
/// An event that is in no stream, because it is for this node alone or the engine is away, has a
/// place too, behind the last one that came: its number counts such events above 32 bits, which no
/// stream reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offset {
    milliseconds: u64,
    number: u64,
}

/// What one more event that is in no stream adds to the number.
const APART: u64 = 1 << 32;

impl Offset {
    /// The event of the stream that it is, or the one before it if it is in no stream.
    pub(crate) fn place(self) -> Self {
        Self { number: self.number % APART, ..self }
    }

    /// The first place behind it.
    pub(crate) fn next(self) -> Self {
        match self.number.checked_add(1) {
            Some(number) => Self { number, ..self },
            None => Self { milliseconds: self.milliseconds.saturating_add(1), number: 0 },
        }
    }

    /// That of the next event if it is in no stream.
    pub(super) fn next_apart(self) -> Self {
        Self { number: self.number.saturating_add(APART), ..self }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for Offset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (milliseconds, number) = text.split_once('-').ok_or(())?;
        let parse = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(())
        };
        Ok(Self { milliseconds: parse(milliseconds)?, number: parse(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_two_numbers_in_their_order() {
        for text in ["0-0", "1700000000000-18446744073709551615"] {
            assert_eq!(text.parse::<Offset>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1-", "-1", "+1-1", "1--1", "1-1-1", "a-1", "18446744073709551616-0"]
        {
            assert_eq!(text.parse::<Offset>(), Err(()), "{text}");
        }
        assert!("9-10".parse::<Offset>() < "10-9".parse());
        assert!("9-9".parse::<Offset>() < "9-10".parse());
    }

    #[test]
    fn what_is_in_no_stream_is_at_the_place_before_it() {
        let offset: Offset = "5-7".parse().unwrap();
        let apart = offset.next_apart().next_apart();
        assert!(apart > offset);
        assert_eq!((apart.place(), offset.place()), (offset, offset));
        assert_eq!(offset.next().to_string(), "5-8");
        let last: Offset = format!("5-{}", u64::MAX).parse().unwrap();
        assert_eq!(last.next().to_string(), "6-0");
    }
}
