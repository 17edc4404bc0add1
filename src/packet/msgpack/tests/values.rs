use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::*;

/// JSON, and what notepack writes for the same value.
const SAME: [(&str, &str); 40] = [
    ("null", "c0"),
    ("true", "c3"),
    ("false", "c2"),
    ("0", "00"),
    ("127", "7f"),
    ("128", "cc80"),
    ("255", "ccff"),
    ("256", "cd0100"),
    ("65535", "cdffff"),
    ("65536", "ce00010000"),
    ("4294967295", "ceffffffff"),
    ("4294967296", "cf0000000100000000"),
    ("9007199254740991", "cf001fffffffffffff"),
    ("9007199254740992", "cf0020000000000000"),
    ("-1", "ff"),
    ("-32", "e0"),
    ("-33", "d0df"),
    ("-128", "d080"),
    ("-129", "d1ff7f"),
    ("-32768", "d18000"),
    ("-32769", "d2ffff7fff"),
    ("-2147483648", "d280000000"),
    ("-2147483649", "d3ffffffff7fffffff"),
    ("-9007199254740992", "d3ffe0000000000000"),
    ("0.5", "cb3fe0000000000000"),
    ("-0.1", "cbbfb999999999999a"),
    ("0.3333333333333333", "cb3fd5555555555555"),
    ("5e-324", "cb0000000000000001"),
    ("1e-7", "cb3e7ad7f29abcaf48"),
    (r#""""#, "a0"),
    ("\"é\u{2028}\\n\\\"\\\\\\u0001\u{7f}\"", "aac3a9e280a80a225c017f"),
    (r#""\b\f\r\t/""#, "a5080c0d092f"),
    (r#""👍🏽""#, "a8f09f918df09f8fbd"),
    (
        r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#,
        "bf78787878787878787878787878787878787878787878787878787878787878",
    ),
    (
        r#""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#,
        "d9207878787878787878787878787878787878787878787878787878787878787878",
    ),
    ("[]", "90"),
    ("{}", "80"),
    (r#"{"a":[1,{"b":null}],"":""}"#, "82a161920181a162c0a0a0"),
    ("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "9f000000000000000000000000000000"),
    ("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "dc001000000000000000000000000000000000"),
];

#[test]
fn values_that_both_have_are_the_same_both_ways() {
    for (json, bytes) in SAME {
        let value: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(shown(&sent(&Args::of(value).unwrap())), bytes, "{json}");
        let back: Value = args(1, bytes).parse().unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(json).unwrap(), "{bytes}");
    }
}

#[test]
fn what_json_does_not_have_is_what_stringify_makes_of_it() {
    for (bytes, json) in [
        ("d40000", "null"),
        ("93 d40000 01 d40000", "[null,1,null]"),
        ("83 a161 d40000 a162 01 a163 d40000", r#"{"b":1}"#),
        ("81 a161 d40000", "{}"),
        ("d700 000000e8 d4a51005", r#""2001-09-09T01:46:40.005Z""#),
        ("d700 7fffffff ffffffff", "null"),
        ("cb7ff8000000000000", "null"),
        ("cbfff0000000000000", "null"),
        ("cb4000000000000000", "2"),
        ("cb8000000000000000", "-0.0"),
        ("cb43e0000000000000", "9.223372036854775808e18"),
        ("cb444b1ae4d6e2ef50", "1e21"),
        ("cb7fefffffffffffff", "1.7976931348623157e308"),
        ("ca3dcccccd", "0.10000000149011612"),
        ("cfffffffffffffffff", "18446744073709551615"),
        ("d38000000000000000", "-9223372036854775808"),
        ("d1000a", "10"),
        ("a2ff61", "\"\u{fffd}a\""),
        ("c403000102", r#"{"_placeholder":true,"num":0}"#),
        ("c7010007", r#"{"_placeholder":true,"num":0}"#),
        ("d6fe01020304", r#"[-2,{"_placeholder":true,"num":0}]"#),
        ("c7020501ff", r#"[5,{"_placeholder":true,"num":0}]"#),
        ("d5000102", r#"[0,{"_placeholder":true,"num":0}]"#),
        ("82 ac5f706c616365686f6c646572 c3 a36e756d 00", r#"{"num":0}"#),
        ("82 ac5f706c616365686f6c646572 c2 a36e756d 00", r#"{"_placeholder":false,"num":0}"#),
        ("82 a95f5f70726f746f5f5f 81a16101 a162 01", r#"{"b":1}"#),
        (
            "87 01 00 ff 00 c0 00 c2 00 cb3ff8000000000000 00 d40000 00 a1ff 00",
            "{\"1\":0,\"-1\":0,\"null\":0,\"false\":0,\"1.5\":0,\"undefined\":0,\"\u{fffd}\":0}",
        ),
    ] {
        let text = args(1, bytes);
        let shown: Value = serde_json::from_str(text.raw_json()).unwrap();
        assert_eq!((shown, text.len()), (serde_json::from_str(json).unwrap(), 1), "{bytes}");
        assert_eq!(
            text.raw_json().contains('.'),
            json.contains('.'),
            "{bytes}: {}",
            text.raw_json()
        );
    }
    for key in ["90", "80", "c400", "d700 0000000000000000", "d60500000000"] {
        let packet = try_args(1, &hex(&format!("81 {key} 01")));
        assert_eq!(packet, Err(DecodeError::InvalidPayload), "{key}");
    }
}

#[test]
fn values_of_rust_keep_their_kind() {
    for (bytes, expected) in [
        (sent(&1.0), "cb3ff0000000000000"),
        (sent(&-0.0), "cb8000000000000000"),
        (sent(&1e21), "cb444b1ae4d6e2ef50"),
        (sent(&f64::NAN), "c0"),
        (sent(&f64::INFINITY), "c0"),
        (sent(&0.1f32), "cb3fb999999999999a"),
        (sent(&u64::MAX), "cfffffffffffffffff"),
        (sent(&i64::MIN), "d38000000000000000"),
        (sent(&(1i128 << 90)), "cb4590000000000000"),
        (sent("\u{0}\u{1f}\u{2028}"), "a5 00 1f e280a8"),
        (
            sent(&serde_json::from_str::<&RawValue>(r#""\ud83d\ude00\ud800x\uDC00""#).unwrap()),
            "ab f09f9880 efbfbd 78 efbfbd",
        ),
        (sent(&Bytes::new()), "c400"),
        (
            sent(&(Bytes::from_static(b"a"), vec![Some(Bytes::from_static(b"b")), None])),
            "c40161 92 c40162 c0",
        ),
        (sent(&BTreeMap::from([(1, "a")])), "81 a131 a161"),
    ] {
        assert_eq!(shown(&bytes), shown(&hex(expected)));
    }
}

#[test]
fn large_containers_and_texts_have_the_header_that_they_need() {
    for count in [15, 16, 300, 65_535, 65_536] {
        let list = vec![(); count];
        let map: BTreeMap<String, [Vec<u8>; 1]> =
            (0..count).map(|key| (key.to_string(), [vec![1; 20]])).collect();
        let bytes = sent(&(&list, &map, "x".repeat(count), Bytes::from(vec![7; count])));
        let header = |few: u8, more: u8| match count {
            0..16 => vec![few | count as u8],
            16..65_536 => [&[more][..], &(count as u16).to_be_bytes()].concat(),
            _ => [&[more + 1][..], &(count as u32).to_be_bytes()].concat(),
        };
        let (array, object) = (header(0x90, 0xdc), header(0x80, 0xde));
        assert!(bytes.starts_with(&array), "{count}");
        assert!(bytes[array.len() + count..].starts_with(&object), "{count}");
        let back = try_args(4, &bytes).unwrap();
        let units: Vec<()> = back.get(0).unwrap();
        let object: BTreeMap<String, [Vec<u8>; 1]> = back.get(1).unwrap();
        let (text, data): (String, Bytes) = back.skip(2).parse().unwrap();
        assert_eq!((units.len(), text.len(), data.len()), (count, count, count));
        assert!(object == map, "{count}");
    }
}

#[test]
fn listeners_read_their_types() {
    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Order {
        id: u64,
        price: f64,
        note: Option<String>,
        files: Vec<Bytes>,
    }
    let order = Order { id: 1 << 60, price: 2.0, note: None, files: vec![b"ab".to_vec().into()] };
    let bytes = sent(&(&order, "x"));
    assert_eq!(try_args(2, &bytes).unwrap().parse(), Ok((order, "x".to_owned())));
    // A whole number that came as a float is good for either, an `undefined` for an `Option`.
    let list = args(3, "cb4008000000000000 03 d40000");
    assert_eq!(list.parse(), Ok((3u8, 3.0f64, None::<u8>)));
    assert_eq!([0, 1, 2, 3].map(|index| list.is_undefined(index)), [false, false, true, true]);
    assert!(!args(1, "c0").is_undefined(0));
}
