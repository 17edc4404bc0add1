use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::{Args, EncodeError, Outgoing, Packet, Payload, RESERVED_EVENTS};
use super::{Bytes, args, decode};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn event(namespace: &str, id: Option<u64>, data: &impl Serialize) -> String {
    let payload = Payload::event("x", data).unwrap();
    written(|out| Outgoing::Event { namespace, id, payload: &payload }.write(out))
}

fn ack(data: &impl Serialize) -> String {
    Payload::ack(data).unwrap().json().to_string()
}

fn connect<'a>(namespace: &'a str, sid: Option<&'a str>, pid: Option<&'a str>) -> Outgoing<'a> {
    Outgoing::Connect { namespace, sid, pid }
}

#[test]
fn packets_are_the_bytes_of_the_reference() {
    assert_eq!(event("/", None, &()), r#"2["x"]"#);
    assert_eq!(event("", None, &()), r#"2["x"]"#);
    let data = (1, None::<u8>, "é\u{2028}\n\"\\\u{1}\u{7f}");
    let expected = "2/admin,12[\"x\",1,null,\"é\u{2028}\\n\\\"\\\\\\u0001\u{7f}\"]";
    assert_eq!(event("/admin", Some(12), &data), expected);
    #[derive(Serialize)]
    struct Data {
        a: Vec<Bytes>,
        b: Bytes,
    }
    let data = Data { a: vec![vec![1, 2].into()], b: vec![3].into() };
    let payload = Payload::event("x", &(data, 1.5)).unwrap();
    let text = written(|out| {
        Outgoing::Event { namespace: "/admin", id: None, payload: &payload }.write(out)
    });
    let places = r#"{"a":[{"_placeholder":true,"num":0}],"b":{"_placeholder":true,"num":1}}"#;
    assert_eq!(text, format!(r#"52-/admin,["x",{places},1.5]"#));
    assert_eq!(payload.attachments(), [&[1, 2][..], &[3]]);

    assert_eq!(
        written(|out| Outgoing::Ack {
            namespace: "/",
            id: 0,
            payload: &Payload::ack(&()).unwrap()
        }
        .write(out)),
        "30[]"
    );
    let payload = Payload::ack(&Bytes::from(vec![9])).unwrap();
    let text =
        written(|out| Outgoing::Ack { namespace: "/admin", id: 7, payload: &payload }.write(out));
    assert_eq!(text, r#"61-/admin,7[{"_placeholder":true,"num":0}]"#);

    assert_eq!(written(|out| connect("/", Some("abc"), None).write(out)), r#"0{"sid":"abc"}"#);
    assert_eq!(
        written(|out| connect("/", Some("abc"), Some("xyz")).write(out)),
        r#"0{"sid":"abc","pid":"xyz"}"#
    );
    assert_eq!(written(|out| connect("/admin", None, None).write(out)), "0/admin,");
    assert_eq!(
        written(|out| connect("/admin", Some("a\""), None).write(out)),
        r#"0/admin,{"sid":"a\""}"#
    );
    assert_eq!(written(|out| Outgoing::Disconnect { namespace: "/" }.write(out)), "1");
    assert_eq!(written(|out| Outgoing::Disconnect { namespace: "/admin" }.write(out)), "1/admin,");
    let error = |namespace: &str, data: Value| {
        written(|out| Outgoing::ConnectError { namespace, data: &data }.write(out))
    };
    let refused = error("/", json!({ "message": "Invalid namespace" }));
    assert_eq!(refused, r#"4{"message":"Invalid namespace"}"#);
    let refused = error("/admin", json!({ "message": "no", "data": { "code": 401 } }));
    assert_eq!(refused, r#"4/admin,{"message":"no","data":{"code":401}}"#);
}

#[test]
fn reserved_names_are_refused() {
    for name in RESERVED_EVENTS {
        let error = Payload::event(name, &()).unwrap_err();
        assert_eq!(error, EncodeError::Reserved(name.into()));
        assert_eq!(error.to_string(), format!("\"{name}\" is a reserved event name"));
    }
    assert!(Payload::event("error", &()).is_ok());
}

#[test]
fn data_becomes_arguments_as_arguments_become_data() {
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Newtype<T>(T);
    #[derive(Serialize)]
    struct Pair(u8, u8);
    #[derive(Serialize)]
    enum Choice {
        Unit,
        New(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }
    assert_eq!((ack(&()), ack(&Unit), ack(&Newtype(()))), ("[]".into(), "[]".into(), "[]".into()));
    assert_eq!(
        (ack(&7), ack(&"s"), ack(&None::<u8>)),
        ("[7]".into(), r#"["s"]"#.into(), "[null]".into())
    );
    assert_eq!((ack(&(1, "b")), ack(&Newtype((1, 2)))), (r#"[1,"b"]"#.into(), "[1,2]".into()));
    assert_eq!(
        (ack(&[1, 2]), ack(&vec![1, 2]), ack(&Pair(1, 2))),
        ("[1,2]".into(), "[[1,2]]".into(), "[[1,2]]".into())
    );
    assert_eq!(
        (ack(&Some((1, 2))), ack(&((1, 2), (), Unit))),
        ("[[1,2]]".into(), "[[1,2],null,null]".into())
    );
    assert_eq!(
        (ack(&Choice::Unit), ack(&Choice::New(1))),
        (r#"["Unit"]"#.into(), r#"[{"New":1}]"#.into())
    );
    assert_eq!(
        ack(&(Choice::Tuple(1, 2), Choice::Struct { a: 3 })),
        r#"[{"Tuple":[1,2]},{"Struct":{"a":3}}]"#
    );
    assert_eq!(ack(&BTreeMap::from([(1, "a"), (2, "b")])), r#"[{"1":"a","2":"b"}]"#);
    assert_eq!(
        ack(&(f64::NAN, f64::INFINITY, 0.1, u64::MAX)),
        "[null,null,0.1,18446744073709551615]"
    );
    assert_eq!(
        ack(&(1i128 << 90, 'c', format_args!("d"))),
        r#"[1237940039285380274899124224,"c","d"]"#
    );
    assert!(matches!(Payload::ack(&BTreeMap::from([(vec![1], 1)])), Err(EncodeError::Json(_))));
}

#[test]
fn arguments_pass_through_as_they_came() {
    let text = args("2[\"x\", 1.0 ,\t{\"b\":1e400}]", &[]);
    assert_eq!(ack(&text), "[1.0 ,\t{\"b\":1e400}]");
    assert_eq!(event("/", None, &text), "2[\"x\",1.0 ,\t{\"b\":1e400}]");
    assert_eq!(event("/", None, &Args::new()), r#"2["x"]"#);
    assert_eq!(ack(&(Args::new(), 1, &text, Args::new())), "[1,1.0 ,\t{\"b\":1e400}]");

    let list = args(
        r#"52-["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#,
        &[b"a", b"b"],
    );
    let payload = Payload::ack(&list).unwrap();
    assert_eq!(payload.json(), &format!("[{}]", list.raw_json()));
    assert_eq!(payload.attachments()[0].as_ptr(), list.attachments()[0].as_ptr());
}

#[test]
fn placeholders_of_several_sources_are_renumbered() {
    let list = args(
        r#"52-["x",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#,
        &[b"a", b"b"],
    );
    #[derive(Serialize)]
    struct Nested<'a> {
        list: &'a Args,
        more: Bytes,
    }
    let nested = Nested { list: &list, more: "d".into() };
    let payload = Payload::event("x", &(Bytes::from("c"), &list, nested, &list)).unwrap();
    let text =
        written(|out| Outgoing::Event { namespace: "/", id: None, payload: &payload }.write(out));
    let attachments: Vec<&[u8]> = payload.attachments().iter().map(|bytes| &bytes[..]).collect();
    assert_eq!(attachments, [&b"c"[..], b"a", b"b", b"a", b"b", b"d", b"a", b"b"]);
    let back = args(&text, &attachments);
    type Pair = (Bytes, (Bytes,));
    #[derive(serde::Deserialize)]
    struct Back {
        list: Pair,
        more: Bytes,
    }
    let pair: Pair = ("b".into(), ("a".into(),));
    let (c, b1, a1, nested, b2, a2): (Bytes, Bytes, (Bytes,), Back, Bytes, (Bytes,)) =
        back.parse().unwrap();
    assert_eq!((c, nested.more), (Bytes::from("c"), Bytes::from("d")));
    assert_eq!([(b1, a1), nested.list, (b2, a2)], [pair.clone(), pair.clone(), pair]);
}

#[test]
fn what_is_written_is_read_back() {
    let payload =
        Payload::event("say \"hi\"", &(json!({ "a": [1, 2.5, null, "é"] }), Bytes::from("!")))
            .unwrap();
    let text = written(|out| {
        Outgoing::Event { namespace: "/chat", id: Some(3), payload: &payload }.write(out)
    });
    let Ok(Some(Packet::Event { namespace, id, event })) = decode(&text, &[b"!"]) else {
        panic!("{text}")
    };
    assert_eq!((&*namespace, id, &*event.name), ("/chat", Some(3), "say \"hi\""));
    assert_eq!(Payload::event(&event.name, &event.args).unwrap(), payload);
}

#[test]
fn a_text_can_be_put_behind_the_arguments_and_whether_the_last_one_is_a_text_is_known() {
    let same = |payload: Payload, longer: Payload| assert_eq!(payload.with_text("a-1"), longer);
    let event = |data: &Value| {
        let mut list = vec![json!("e")];
        list.extend(data.as_array().unwrap().iter().cloned());
        Payload::event("e", &args(&format!("2{}", Value::from(list)), &[])).unwrap()
    };
    same(Payload::event("e", &()).unwrap(), event(&json!(["a-1"])));
    same(event(&json!([1, []])), event(&json!([1, [], "a-1"])));
    let binary = |more| Payload::event("e", &(Bytes::from("!"), more)).unwrap();
    same(Payload::event("e", &(Bytes::from("!"),)).unwrap(), binary("a-1"));
    for (data, expected) in [
        (json!([]), true),
        (json!(["x"]), true),
        (json!([1, "]"]), true),
        (json!(["x", 1]), false),
        (json!([["x"]]), false),
        (json!([{ "a": "x" }]), false),
        (json!([null]), false),
    ] {
        assert_eq!(event(&data).ends_with_text(), expected, "{data}");
    }
    // As it came, white space and all.
    let spaced = Payload::event("e", &args("2[\"e\",1, \"x\" ]", &[])).unwrap();
    assert!(spaced.ends_with_text());
}
