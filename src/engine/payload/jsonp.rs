//! JSONP: polling by script elements and forms, for pages that cannot do better.
//!
//! An answer is a script that calls one of the page's functions with the body; what the client
//! sends is a field of a form.

/// Fields of a form that are looked at, as in Node's `querystring`.
const MAX_FIELDS: usize = 1000;

/// The script that hands `body` to the page's function of that number.
pub(crate) fn call(number: &str, body: &str) -> Vec<u8> {
    // JavaScript, which is not quite a superset of JSON: in a string, U+2028 and U+2029 were ends
    // of line before ES2019. A string always has a JSON form.
    let literal = serde_json::to_string(body).unwrap_or_default();
    let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    format!("___eio[{number}]({literal});").into_bytes()
}

/// The body in the field `d` of a form; `None` if there is not exactly one.
///
/// Clients write a line feed as `\n`, so that no browser changes it, and a `\n` of the text as
/// `\\n`.
pub(crate) fn field(form: &[u8]) -> Option<String> {
    let fields = form_urlencoded::parse(form).take(MAX_FIELDS);
    let mut values = fields.filter(|(name, _)| name == "d").map(|(_, value)| value);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    let mut rest = &*value;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"\\n") {
        // Of two backslashes before the letter, one was put there by the client.
        match rest[..at].strip_suffix('\\') {
            Some(before) => text.extend([before, "\\n"]),
            None => text.extend([&rest[..at], "\n"]),
        }
        rest = &rest[at + 2..];
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_becomes_the_argument_of_a_call() {
        let script = |body: &str| String::from_utf8(call("7", body)).unwrap();
        assert_eq!(script("2:4a"), r#"___eio[7]("2:4a");"#);
        let odd = "\"\\\n\u{1e}\u{7f}/é😀\u{2028}\u{2029}";
        assert_eq!(script(odd), "___eio[7](\"\\\"\\\\\\n\\u001e\u{7f}/é😀\\u2028\\u2029\");");
    }

    #[test]
    fn the_field_of_a_form_is_unescaped() {
        assert_eq!(field(b"d=2%3A4a").as_deref(), Some("2:4a"));
        assert_eq!(field(b"x=1&d=a+b%2B&y").as_deref(), Some("a b+"));
        assert_eq!(field(br"d=a\nb\\nc\d\\").as_deref(), Some("a\nb\\nc\\d\\\\"));
        assert_eq!(field(br"d=\\\n").as_deref(), Some("\\\\n"));
        assert_eq!(field(b"d=").as_deref(), Some(""));
        assert_eq!(field("d=%C3%A9é%FF".as_bytes()).as_deref(), Some("éé\u{fffd}"));
    }

    #[test]
    fn a_form_without_the_field_or_with_two_brings_nothing() {
        for form in [&b""[..], b"2:4a", b"e=1", b"d=1&d=2"] {
            assert_eq!(field(form), None);
        }
        let mut many = b"x=1&".repeat(MAX_FIELDS);
        many.extend(b"d=1");
        assert_eq!(field(&many), None);
    }
}
