//! Bytes that nobody would send in good faith.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{Args, DecodeError, Decoder, Packet, Payload};
use super::{Bytes, args};

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for json in [deep, objects] {
        let text = args(&format!("2[\"x\",{json},2]"), &[]);
        let place = r#"{"_placeholder":true,"num":0}"#;
        let binary = args(&format!("51-[\"x\",{json},{place}]"), &[b"!"]);
        for args in [text, binary] {
            assert!(args.parse::<Value>().unwrap_err().to_string().contains("recursion limit"));
            assert_eq!(args.to_json()[0], Value::String(json.clone()));
            assert!(args.get::<Value>(1).is_ok());
            let payload = Payload::event("y", &("first", Bytes::from("1"), &args)).unwrap();
            assert!(payload.json().contains(&json));
            let mut nested = Args::new();
            nested.push(&args).unwrap();
            assert_eq!(nested.len(), 1);
            assert!(nested.raw_json().contains(&json));
        }
    }
}

#[test]
fn nesting_is_bounded_where_it_is_wanted() {
    let decode = |text: String| Decoder::new(1).with_max_depth(300).text(text.into());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |n| format!("{}1{}", open.repeat(n), close.repeat(n));
        for kind in ["2[\"x\",", "3[", "51-[\"x\",", "3[\"[{\\\"[\",{},[[]],"] {
            assert!(decode(format!("{kind}{}]", nested(300))).is_ok(), "{kind}");
            let refused = decode(format!("{kind}{}]", nested(301)));
            assert_eq!(refused, Err(DecodeError::TooDeep), "{kind}");
        }
    }
    let auth = |n| format!("0{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    assert!(decode(auth(300)).is_ok());
    assert_eq!(decode(auth(301)), Err(DecodeError::TooDeep));
    // Neither many brackets side by side nor those in texts are levels.
    for flat in ["[],", "[{}],", "\"[[[{{{\",", "\"\\\"[[{\",", "{\"[\":[]},"] {
        assert!(decode(format!("2[\"x\",{}1]", flat.repeat(5_000))).is_ok(), "{flat}");
    }
    // Broken JSON is refused, by whichever comes first.
    assert!(decode(format!("2[\"x\",{}", "[".repeat(100_000))).is_err());
    assert!(decode(format!("2[\"x\"{}", "]".repeat(100_000))).is_err());
}

#[test]
fn many_arguments_take_linear_time() {
    let started = Instant::now();
    let list = "1,".repeat(200_000);
    let many = args(&format!("2[\"x\",{list}2]"), &[]);
    assert_eq!(many.len(), 200_001);
    assert_eq!(many.texts().count(), 200_001);
    assert_eq!(many.parse::<(u8, Args)>().unwrap().1.len(), 200_000);
    assert_eq!(Payload::ack(&many).unwrap().json().len(), 400_003);
    let mut built = Args::new();
    for number in 0..200_000 {
        built.push(&number).unwrap();
    }
    let places: Vec<String> =
        (0..20_000).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
    let mut decoder = Decoder::new(20_000);
    assert_eq!(decoder.text(format!("520000-[\"x\",{}]", places.join(",")).into()), Ok(None));
    for _ in 0..19_999 {
        assert_eq!(decoder.binary(Bytes::new()), Ok(None));
    }
    let Ok(Some(Packet::Event { event, .. })) = decoder.binary(Bytes::new()) else { panic!() };
    assert_eq!(event.args.skip(10_000).attachments().len(), 10_000);
    for bytes in event.args.attachments() {
        built.push(bytes).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// xorshift64: the same packets in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Uses a packet in every way there is.
fn exercise(packet: Packet) {
    let (Packet::Event { event: super::Event { args, .. }, .. } | Packet::Ack { args, .. }) =
        packet
    else {
        return;
    };
    assert_eq!(args.texts().count(), args.len());
    assert_eq!(args.to_json().as_array().map(Vec::len), Some(args.len()));
    let _ = args.parse::<(Option<Bytes>, Args)>();
    let _ = args.parse::<(Value, Vec<Bytes>)>();
    let _ = args.skip(1).parse::<Option<String>>();
    let mut twice = Args::of(&("a", &args, &args)).unwrap();
    twice.push(&args).unwrap();
    assert_eq!(twice.len(), 2 * args.len() + 2);
    let payload = Payload::event("again", &args).unwrap();
    let mut text = Vec::new();
    super::super::Outgoing::Event { namespace: "/", id: None, payload: &payload }.write(&mut text);
    let mut decoder = Decoder::new(usize::MAX);
    let mut again = decoder.text(String::from_utf8(text).unwrap().into()).unwrap();
    for bytes in payload.attachments() {
        again = decoder.binary(bytes.clone()).unwrap();
    }
    let Some(Packet::Event { event, .. }) = again else { panic!("{payload:?}") };
    assert_eq!(event.args, args);
}

#[test]
fn no_mutation_makes_it_panic() {
    let seeds = [
        r#"2/admin,12["hello",1,{"a":[null,"\u00e9\n"]},-1.5e3]"#,
        r#"52-/admin,1["x",{"_placeholder":true,"num":0},[{"num":1,"_placeholder":true}]]"#,
        r#"61-7[{"a":{"_placeholder":true,"num":0}},"_placeholder",true]"#,
        r#"0/admin,{"token":"secret"}"#,
        r#"4{"message":"no"}"#,
        "1/admin,",
        "31[1e21,{}]",
    ];
    let dictionary: &[&[u8]] = &[
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"-",
        b"/",
        b"0",
        b"9",
        b"true",
        b"\"num\":",
        b"\xc3\xa9",
        b" ",
    ];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut decoded = 0;
    for round in 0..60_000 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len().max(1)).min(bytes.len());
            match random.below(4) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => drop(
                    bytes
                        .splice(at..at, dictionary[random.below(dictionary.len())].iter().copied()),
                ),
            }
        }
        let mut decoder = Decoder::new(4);
        let mut result = decoder.text(String::from_utf8_lossy(&bytes).into_owned().into());
        while result == Ok(None) {
            result = decoder.binary(Bytes::from_static(b"bytes"));
        }
        if let Ok(Some(packet)) = result {
            decoded += 1;
            exercise(packet);
        }
    }
    assert!(decoded > 5_000, "{decoded} of the packets were valid");
}
