//! Scalars as JSON text.

use super::read::Token;
use crate::packet::number;

/// The name of the property that JavaScript makes of a key that is no string.
pub(super) fn property(key: &Token) -> Option<String> {
    Some(match key {
        Token::Nil => "null".into(),
        Token::Undefined => "undefined".into(),
        Token::Bool(value) => value.to_string(),
        Token::Uint(value) => number::to_javascript(*value as f64),
        Token::Int(value) => number::to_javascript(*value as f64),
        Token::Float(value) => number::to_javascript(*value),
        _ => return None,
    })
}

const TWO_TO_63: f64 = (1u64 << 63) as f64;

/// Writes a number as `JSON.stringify` does, but for a zero that is negative.
pub(super) fn float(value: f64, text: &mut String) {
    let negative_zero = value == 0.0 && value.is_sign_negative();
    if !value.is_finite() {
        text.push_str("null");
    } else if value.fract() == 0.0 && value.abs() < TWO_TO_63 && !negative_zero {
        text.push_str(itoa::Buffer::new().format(value as i64));
    } else {
        let mut digits = [0; 32];
        let mut rest = &mut digits[..];
        // 24 characters are the most that a finite number has.
        let written = serde_json::to_writer(&mut rest, &value).map(|()| rest.len());
        let digits = written.map(|left| std::str::from_utf8(&digits[..32 - left]));
        debug_assert!(matches!(digits, Ok(Ok(_))), "{value}");
        text.push_str(digits.unwrap_or(Ok("null")).unwrap_or("null"));
    }
}

/// Where the first byte is that a JSON string may not hold as it is.
fn to_escape(bytes: &[u8]) -> Option<usize> {
    const fn escaped(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }
    // A block without a branch inside is taken at once by the processor.
    let blocks = bytes
        .chunks(32)
        .position(|block| block.iter().fold(false, |found, byte| found | escaped(*byte)))?;
    let start = blocks * 32;
    let at = bytes[start..].iter().position(|byte| escaped(*byte))?;
    Some(start + at)
}

/// Writes a JSON string.
pub(super) fn quote(value: &str, text: &mut String) {
    text.push('"');
    let mut rest = value;
    while let Some(at) = to_escape(rest.as_bytes()) {
        text.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x08 => text.push_str("\\b"),
            0x0c => text.push_str("\\f"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                text.push_str("\\u00");
                text.push(char::from(HEX[usize::from(control >> 4)]));
                text.push(char::from(HEX[usize::from(control & 15)]));
            }
        }
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
    text.push('"');
}
