use serde_json::json;

use super::*;

#[test]
fn packets_are_the_bytes_of_the_reference() {
    let (one, none) = (Payload::event("x", &()).unwrap(), Payload::ack(&()).unwrap());
    let binary = Payload::event("x", &(1, Bytes::from_static(&[1, 2]))).unwrap();
    let refusal = json!({ "message": "no", "data": { "code": 401 } });
    let (root, admin) = ("/", "/admin");
    let connect = |namespace, sid, pid| Outgoing::Connect { namespace, sid, pid };
    let cases = [
        (
            connect(root, Some("abc"), None),
            "83a47479706500a36e7370a12fa46461746181a3736964a3616263",
        ),
        (
            connect(root, Some("abc"), Some("xyz")),
            "83a47479706500a36e7370a12fa46461746182a3736964a3616263a3706964a378797a",
        ),
        (connect(admin, None, None), "82a47479706500a36e7370a62f61646d696e"),
        (
            Outgoing::ConnectRequest { namespace: admin, auth: Some(r#"{"token":"é"}"#) },
            "83a47479706500a36e7370a62f61646d696ea46461746181a5746f6b656ea2c3a9",
        ),
        (Outgoing::Disconnect { namespace: admin }, "82a47479706501a36e7370a62f61646d696e"),
        (
            Outgoing::Event { namespace: root, id: None, payload: &binary },
            "83a47479706502a36e7370a12fa46461746193a17801c4020102",
        ),
        (
            Outgoing::Event { namespace: admin, id: Some(300), payload: &one },
            "84a47479706502a36e7370a62f61646d696ea26964cd012ca46461746191a178",
        ),
        (
            Outgoing::Ack { namespace: root, id: 0, payload: &none },
            "84a47479706503a36e7370a12fa2696400a46461746190",
        ),
        (
            Outgoing::ConnectError { namespace: admin, data: &refusal },
            "83a47479706504a36e7370a62f61646d696ea46461746182a76d657373616765a26e6fa46461746181a4636f\
             6465cd0191",
        ),
    ];
    for (packet, expected) in cases {
        assert_eq!(shown(&written(&packet)), expected.replace(' ', ""), "{packet:?}");
        assert!(read(written(&packet)).is_ok());
    }
}

#[test]
fn every_type_is_read() {
    let connect = |data| read(hex(&format!("83 a474797065 00 a464617461 {data} a36e7370 a22f61")));
    let request = |auth: Option<&str>| {
        Ok(Packet::Connect { namespace: "/a".into(), auth: auth.map(Into::into) })
    };
    assert_eq!(connect("d40000"), request(None));
    assert_eq!(connect("80"), request(Some("{}")));
    assert_eq!(
        connect("82 a161 d700 00000000 00000000 a162 92 c4 02 01ff c7 01 00 05"),
        request(Some(
            r#"{"a":"1970-01-01T00:00:00.000Z","b":[{"type":"Buffer","data":[1,255]},{}]}"#
        )),
    );
    let packet = read(hex("82 a474797065 01 a36e7370 a12f"));
    assert_eq!(packet, Ok(Packet::Disconnect { namespace: "/".into() }));
    let packet = read(hex("83 a464617461 93 c0 a161 c403010203 a474797065 03 a36e7370 a12f"));
    let Ok(Packet::Ack { id: None, args, .. }) = packet else { panic!("{packet:?}") };
    assert_eq!(args.parse(), Ok(((), "a".to_owned(), Bytes::from_static(&[1, 2, 3]))));
    for (data, expected) in [("a16e", r#""n""#), ("80", "{}")] {
        let packet = read(hex(&format!("83 a474797065 04 a36e7370 a12f a464617461 {data}")));
        let data = Some(expected.into());
        assert_eq!(packet, Ok(Packet::ConnectError { namespace: "/".into(), data }));
    }
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_passed_over() {
    // A list as key, a map as value, `type` twice, an id that is undefined.
    let packet = read(hex(
        "88 91c0 01 a474797065 09 a464617461 92 a178 01 a26964 d40000 a7 6f7074696f6e73 81 a163 c3
         a36e7370 a22f61 a474797065 cb4000000000000000 02 80",
    ));
    let Ok(Packet::Event { namespace, id: None, event }) = packet else { panic!("{packet:?}") };
    assert_eq!((&*namespace, &*event.name, event.args.parse()), ("/a", "x", Ok(1)));
}

#[test]
fn ids_and_names_are_what_javascript_takes_them_for() {
    let id = |id: &str| {
        let packet = format!("84 a474797065 02 a36e7370 a12f a464617461 91 a178 a26964 {id}");
        match read(hex(&packet)) {
            Ok(Packet::Event { id, .. }) => Ok(id),
            other => Err(other.err()),
        }
    };
    for (bytes, expected) in [
        ("d40000", None),
        ("00", Some(0)),
        ("d300000000000000ff", Some(255)),
        ("ca40000000", Some(2)),
        ("cb43e0000000000000", Some(1 << 63)),
        ("cfffffffffffffffff", Some(u64::MAX)),
    ] {
        assert_eq!(id(bytes), Ok(expected), "{bytes}");
    }
    for bytes in ["c0", "a131", "cb3ff8000000000000", "90", "c3", "ff", "cb43f0000000000000"] {
        assert_eq!(id(bytes), Err(Some(DecodeError::InvalidId)), "{bytes}");
    }
    let name = |name: &str| match read(hex(&format!(
        "83 a474797065 02 a36e7370 a12f a464617461 91 {name}"
    ))) {
        Ok(Packet::Event { event, .. }) => Ok(event.name.to_string()),
        other => Err(other.err()),
    };
    for (bytes, expected) in [
        ("a0", ""),
        ("a2c3a9", "é"),
        ("a2ff61", "\u{fffd}a"),
        ("07", "7"),
        ("ff", "-1"),
        ("cb444b1ae4d6e2ef50", "1e+21"),
        ("cb7ff8000000000000", "NaN"),
        ("cf8000000000000001", "9223372036854776000"),
    ] {
        assert_eq!(name(bytes), Ok(expected.into()), "{bytes}");
    }
    for bytes in ["c0", "c3", "90", "80", "c400", "d40000", "aa646973636f6e6e656374"] {
        assert_eq!(name(bytes), Err(Some(DecodeError::InvalidPayload)), "{bytes}");
    }
}

#[test]
fn what_the_reference_refuses_is_refused_in_its_words() {
    let event = "a474797065 02 a36e7370 a12f a464617461";
    for (bytes, expected) in [
        (String::new(), "Could not parse"),
        ("c1".into(), "Could not parse"),
        ("83".into(), "Could not parse"),
        (format!("83 {event} c0 05"), "1 trailing bytes"),
        (format!("83 {event} 91 c1"), "Could not parse"),
        (format!("83 {event} 91 a278"), "Could not parse"),
        ("07".into(), "invalid packet type"),
        ("93 02 01 03".into(), "invalid packet type"),
        ("80".into(), "invalid packet type"),
        ("82 a474797065 05 a36e7370 a12f".into(), "invalid packet type"),
        ("82 a474797065 ff a36e7370 01".into(), "invalid packet type"),
        ("82 a474797065 a132 a36e7370 a12f".into(), "invalid packet type"),
        ("82 a474797065 cb4004000000000000 a36e7370 a12f".into(), "invalid packet type"),
        ("81 a474797065 01".into(), "invalid namespace"),
        ("82 a474797065 01 a36e7370 c4012f".into(), "invalid namespace"),
        ("82 a474797065 02 a36e7370 a12f".into(), "invalid payload"),
        (format!("83 {event} 80"), "invalid payload"),
        (format!("83 {event} 90"), "invalid payload"),
        (format!("84 {event} 91a178 a26964 a131"), "invalid packet id"),
        (format!("84 {event} c0 a26964 a131"), "invalid payload"),
        ("83 a474797065 00 a36e7370 a12f a464617461 c0".into(), "invalid payload"),
        (
            "83 a474797065 00 a36e7370 a12f a464617461 d7000000000000000000".into(),
            "invalid payload",
        ),
        ("83 a474797065 01 a36e7370 a12f a464617461 80".into(), "invalid payload"),
        ("83 a474797065 03 a36e7370 a12f a464617461 80".into(), "invalid payload"),
        ("83 a474797065 04 a36e7370 a12f a464617461 90".into(), "invalid payload"),
    ] {
        let error = read(hex(&bytes)).unwrap_err();
        assert_eq!(error.to_string(), expected, "{bytes}");
    }
    let text = MsgpackParser::read(&Message::Text(r#"2["x"]"#.into()), usize::MAX);
    assert_eq!(text.unwrap_err(), DecodeError::Unreadable);
}
