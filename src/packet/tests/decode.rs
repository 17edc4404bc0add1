use serde_json::json;

use super::super::{DecodeError, Decoder, Packet, RESERVED_EVENTS};
use super::{Bytes, args, decode, event};

#[test]
fn every_type_is_read() {
    let connect = |namespace: &str, auth: Option<&str>| Packet::Connect {
        namespace: namespace.into(),
        auth: auth.map(Into::into),
    };
    assert_eq!(decode("0", &[]), Ok(Some(connect("/", None))));
    assert_eq!(decode("0/admin,", &[]), Ok(Some(connect("/admin", None))));
    assert_eq!(decode("0/a?b=1", &[]), Ok(Some(connect("/a?b=1", None))));
    assert_eq!(decode(r#"0/admin,{"a":1} "#, &[]), Ok(Some(connect("/admin", Some(r#"{"a":1}"#)))));
    let disconnect = |namespace: &str| Ok(Some(Packet::Disconnect { namespace: namespace.into() }));
    assert_eq!(decode("1", &[]), disconnect("/"));
    assert_eq!(decode("11", &[]), disconnect("/"));
    assert_eq!(decode("1/admin", &[]), disconnect("/admin"));
    assert_eq!(decode("1/admin,", &[]), disconnect("/admin"));
    for (text, data) in [("4", None), (r#"4"x""#, Some(r#""x""#)), ("4{}", Some("{}"))] {
        let namespace = "/".into();
        let data = data.map(Into::into);
        assert_eq!(decode(text, &[]), Ok(Some(Packet::ConnectError { namespace, data })));
    }
    let Ok(Some(Packet::Ack { namespace, id, args })) = decode("3/admin,456[]", &[]) else {
        panic!()
    };
    assert_eq!((&*namespace, id, args.len()), ("/admin", Some(456), 0));
    assert!(matches!(decode("31", &[]), Ok(Some(Packet::Ack { id: Some(1), .. }))));
}

#[test]
fn ids_are_kept_exactly() {
    for (text, expected) in [
        (r#"2["x"]"#, None),
        (r#"20["x"]"#, Some(0)),
        (r#"2007["x"]"#, Some(7)),
        (r#"2/admin,9007199254740993["x"]"#, Some(9_007_199_254_740_993)),
        (r#"218446744073709551615["x"]"#, Some(u64::MAX)),
    ] {
        let Ok(Some(Packet::Event { id, .. })) = decode(text, &[]) else { panic!("{text}") };
        assert_eq!(id, expected, "{text}");
    }
    assert_eq!(decode(r#"218446744073709551616["x"]"#, &[]), Err(DecodeError::InvalidId));
    assert_eq!(
        decode(&format!("2{}[\"x\"]", "9".repeat(100_000)), &[]),
        Err(DecodeError::InvalidId)
    );
}

#[test]
fn what_the_reference_refuses_is_refused_in_its_words() {
    let payload = "invalid payload";
    let count = "Illegal attachments";
    for (text, expected) in [
        (r#"2[{"toString":"foo"}]"#, payload),
        (r#"2[null,"bar"]"#, payload),
        ("2[true]", payload),
        ("2[[]]", payload),
        ("2[]", payload),
        ("2{}", payload),
        ("0[]", payload),
        (r#"0"""#, payload),
        ("0null", payload),
        ("1/admin,{}", payload),
        ("15{}", payload),
        (r#"44["x"]"#, payload),
        (r#"42abc["x"]"#, payload),
        (r#"2["x",]"#, payload),
        (r#"2["x"]]"#, payload),
        (r#"2["x",01]"#, payload),
        (r#"2["x""#, payload),
        ("2[\"x\u{1}\"]", payload),
        (r#"2["\u0063onnect"]"#, payload),
        ("3{}", payload),
        ("51.23-", count),
        ("5a-", count),
        ("5-", count),
        ("5", count),
        ("51", count),
        ("5-1-", count),
        (r#"511-["x"]"#, "too many attachments"),
        (r#"599999999999999999999999999-["x"]"#, "too many attachments"),
        ("999", "unknown packet type 9"),
        ("7", "unknown packet type 7"),
        ("é", "unknown packet type NaN"),
    ] {
        let error = decode(text, &[]).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
    for name in RESERVED_EVENTS {
        assert_eq!(
            decode(&format!("2[{name:?}]"), &[]),
            Err(DecodeError::InvalidPayload),
            "{name}"
        );
    }
}

#[test]
fn an_ack_without_an_id_answers_nothing() {
    for text in ["3[]", "3"] {
        let packet = decode(text, &[]);
        assert!(matches!(packet, Ok(Some(Packet::Ack { id: None, .. }))), "{text}");
    }
}

#[test]
fn what_only_javascript_takes_is_refused() {
    assert_eq!(decode("", &[]), Err(DecodeError::Empty));
    for text in ["2", "2 [\"x\"]", "21 [\"x\"]", "51-", r#"2["\ud83d"]"#] {
        assert_eq!(decode(text, &[]), Err(DecodeError::InvalidPayload), "{text}");
    }
    assert_eq!(decode(r#"51e0-["x"]"#, &[]), Err(DecodeError::IllegalCount));
}

#[test]
fn names_are_what_javascript_makes_of_them() {
    for (literal, name) in [
        ("7", "7"),
        ("1e21", "1e+21"),
        ("-0", "0"),
        ("1.50", "1.5"),
        ("1e-7", "1e-7"),
        ("1.25e-7", "1.25e-7"),
        ("0.000001", "0.000001"),
        ("0.00012", "0.00012"),
        ("123456789012345680000", "123456789012345680000"),
        ("1e20", "100000000000000000000"),
        ("-12.5", "-12.5"),
        ("-1.5e300", "-1.5e+300"),
        ("1e999", "Infinity"),
        ("-1e999", "-Infinity"),
        ("5e-324", "5e-324"),
        (r#""""#, ""),
        (r#""error""#, "error"),
        (r#""a\"\u00e9\n""#, "a\"é\n"),
    ] {
        assert_eq!(event(&format!("2[{literal}]"), &[]).name, name);
    }
}

#[test]
fn arguments_are_a_slice_of_the_text() {
    let args = args("2[ \"x\" , 1 ,\t{\"a\" : [2]} ] ", &[]);
    assert_eq!((args.len(), args.raw_json()), (2, "1 ,\t{\"a\" : [2]}"));
    assert_eq!(args, json!([1, { "a": [2] }]));
    let text = bytestring::ByteString::from(r#"2["name",1]"#);
    let Ok(Some(Packet::Event { event, .. })) = Decoder::new(0).text(text.clone()) else {
        panic!()
    };
    assert_eq!(event.name.as_ptr(), text[3..].as_ptr());
    assert_eq!(event.args.raw_json().as_ptr(), text[9..].as_ptr());
}

#[test]
fn attachments_complete_a_packet() {
    let mut decoder = Decoder::new(10);
    let header = r#"52-/admin,7["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    assert_eq!(decoder.text(header.into()), Ok(None));
    assert!(decoder.is_waiting());
    assert_eq!(decoder.binary(Bytes::from_static(b"a")), Ok(None));
    let text = decoder.text("2[\"x\"]".into()).unwrap_err();
    assert_eq!(text.to_string(), "got plaintext data when reconstructing a packet");
    let Ok(Some(Packet::Event { id, event, .. })) = decoder.binary(Bytes::from_static(b"b")) else {
        panic!()
    };
    assert_eq!(id, Some(7));
    assert_eq!(event.args.parse::<(Bytes, Bytes)>().unwrap(), ("b".into(), "a".into()));
    let binary = decoder.binary(Bytes::new()).unwrap_err();
    assert_eq!(binary.to_string(), "got binary data when not reconstructing a packet");
}

#[test]
fn no_attachments_are_nothing_to_wait_for() {
    let mut decoder = Decoder::new(10);
    let packet = decoder.text(r#"50-["x",{"_placeholder":true,"num":0}]"#.into()).unwrap();
    assert!(packet.is_some() && !decoder.is_waiting());
    assert!(decoder.text("2[\"y\"]".into()).unwrap().is_some());
    assert!(matches!(decode("60-1[]", &[]), Ok(Some(Packet::Ack { id: Some(1), .. }))));
}

#[test]
fn placeholders_name_one_attachment_each() {
    for place in [
        r#"{"_placeholder":true,"num":0}"#,
        r#"{"num":0,"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":0.0}"#,
        r#"{ "_placeholder" : true , "num" : 0e0 }"#,
        r#"{"\u005fplaceholder":true,"n\u0075m":0}"#,
        r#"{"num":"x","_placeholder":false,"num":0,"_placeholder":true}"#,
        r#"{"num":0,"_placeholder":true,"z":[{"_placeholder":true,"num":44}]}"#,
    ] {
        let args = args(&format!("51-[\"x\",[{place}]]"), &[b"!"]);
        assert_eq!(args.raw_json(), r#"[{"_placeholder":true,"num":0}]"#, "{place}");
        assert_eq!(args.parse::<Vec<Bytes>>().unwrap(), ["!"]);
    }
    for place in [
        r#"{"_placeholder":true,"num":"splice"}"#,
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":1e99}"#,
        r#"{"_placeholder":true,"num":null}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}"#,
    ] {
        let error = decode(&format!("51-[\"x\",{place}]"), &[b"!"]).unwrap_err();
        assert_eq!(error.to_string(), "illegal attachments", "{place}");
    }
    for data in [
        r#"{"_placeholder":1,"num":4}"#,
        r#"{"_placeholder":"true","num":4}"#,
        r#"{"_placeholder":true,"_placeholder":false,"num":4}"#,
        r#"{"_placeholder":[true],"num":4}"#,
        r#"["_placeholder",true,"num",4]"#,
        r#"{"a":"{\"_placeholder\":true,\"num\":4}"}"#,
    ] {
        assert_eq!(args(&format!("51-[\"x\",{data}]"), &[b"!"]).raw_json(), data);
    }
    // An attachment without a place is dropped, and the others are numbered anew.
    let args = args_of_two(r#"["x",{"_placeholder":true,"num":1}]"#);
    assert_eq!(args.attachments(), ["b"]);
    assert_eq!(args.parse::<Bytes>().unwrap(), "b");
    assert!(args_of_two(r#"["x"]"#).attachments().is_empty());
    // In a packet without attachments it is data.
    let args = super::args(r#"2["x",{"_placeholder":true,"num":9}]"#, &[]);
    assert_eq!(args, json!([{ "_placeholder": true, "num": 9 }]));
}

fn args_of_two(json: &str) -> super::Args {
    args(&format!("52-{json}"), &[b"a", b"b"])
}
