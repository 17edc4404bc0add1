//! Values that are known to both sides.

use bytes::Bytes;
use serde::Serialize;

/// What the operation `fixture` answers, key by key in this order.
pub(crate) const FIXTURE: &str = r#"{"nil":null,"yes":true,"no":false,"zero":0,"neg":-1,"half":0.5,
"big":9007199254740991,"exp":1e+21,"tiny":5e-7,"empty":"","accents":"é à ü","emoji":"👍🏽 👨‍👩‍👧",
"quote":"\"\\/\b\f\n\r\t","ctl":"\u0000\u001e\u2028","list":[],"obj":{},"nested":[[[{"a":[{"b":null}]}]]],
"keys":{"10":"x","2":"y","b":1,"a":2}}"#;

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Blob {
    Binary(Bytes),
    Text(String),
}

pub(crate) fn blob(size: usize, binary: bool) -> Blob {
    if binary {
        return Blob::Binary((0..size).map(|i| (31 * i + 7) as u8).collect());
    }
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
    Blob::Text((0..size).map(|i| char::from(letters[(7 * i) % letters.len()])).collect())
}
