//! Numbers as event names: the string that JavaScript makes of a number.

/// What `String(JSON.parse(literal))` is in JavaScript, for the text of a JSON number.
///
/// A client that emits `7` or `1e21` and a listener registered for `"7"` or `"1e+21"` meet on a
/// Node server, whose event names are property keys; so they have to meet here.
pub(super) fn javascript_name(literal: &str) -> Option<String> {
    // Every JSON number is in the grammar of `f64::from_str`, which rounds as JavaScript does, to
    // infinity if need be.
    literal.parse().ok().map(to_javascript)
}

/// `Number::toString` of ECMA-262: the shortest digits that read back as the same number, placed by
/// its exponent.
pub(super) fn to_javascript(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if value == 0.0 {
        return "0".into(); // also -0
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", place(&digits, exponent))
}

/// Puts the decimal point into `digits`, of which the first stands for ten to the power of
/// `exponent`.
fn place(digits: &str, exponent: i32) -> String {
    let point = exponent + 1;
    let width = digits.len();
    match usize::try_from(point) {
        Ok(point) if point <= 21 && point >= width => {
            format!("{digits}{}", "0".repeat(point - width))
        }
        Ok(point) if point <= 21 && point > 0 => {
            format!("{}.{}", &digits[..point], &digits[point..])
        }
        _ if (-5..=0).contains(&point) => {
            format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            let plus = if exponent > 0 { "+" } else { "" };
            format!("{first}{dot}{rest}e{plus}{exponent}")
        }
    }
}
