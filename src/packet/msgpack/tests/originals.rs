//! What is passed on goes out as it came.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;

/// Five arguments that no JSON text tells apart from others: a date, `undefined`, an
/// `ArrayBuffer`, a list with an extension and binary, NaN.
const DATE: &str = "d7000000016ea0c8e000";
const NOTHING: &str = "d40000";
const LIST: &str = "93d6fe01020304c4010781a16193c4020506d40000cb7ff8000000000000";
const NAN: &str = "cb7ff8000000000000";

fn five() -> Args {
    args(5, &[DATE, NOTHING, "c702000908", LIST, NAN].concat())
}

fn list(parts: &[&str]) -> String {
    shown(&hex(&parts.concat()))
}

const FIVE: [&str; 5] = [DATE, NOTHING, "c702000908", LIST, NAN];

#[test]
fn arguments_go_back_as_they_came() {
    let five = five();
    assert_eq!(five.attachments().len(), 4);
    assert_eq!(shown(&sent(&five)), list(&FIVE));
    assert_eq!(shown(&sent(&(1, &five, "x"))), list(&["01", &FIVE.concat(), "a178"]));
    let payload = Payload::event("echo-back", &five).unwrap();
    let packet = written(&Outgoing::Event { namespace: "/", id: None, payload: &payload });
    assert!(shown(&packet).ends_with(&list(&FIVE)));
    // Also behind attachments of others, which renumbers placeholders in the text.
    let bytes = sent(&(Bytes::from_static(b"a"), &five, vec![Bytes::from_static(b"b"); 10], &five));
    let ten = format!("9a{}", "c40162".repeat(10));
    assert_eq!(shown(&bytes), list(&["c40161", &FIVE.concat(), &ten, &FIVE.concat()]));
}

#[test]
fn parts_of_arguments_go_back_as_they_came() {
    let five = five();
    for start in 0..=5 {
        for end in start..=5 {
            let part = five.take(end).skip(start);
            assert_eq!(part, five.skip(start).take(end - start));
            assert_eq!(shown(&sent(&part)), list(&FIVE[start..end]), "{start}..{end}");
            let behind = sent(&(vec![Bytes::from_static(b"x"); 12], &part));
            let twelve = format!("9c{}", "c40178".repeat(12));
            assert_eq!(shown(&behind), list(&[&twelve, &FIVE[start..end].concat()]));
        }
    }
    let (_, rest): (String, Args) = five.parse().unwrap();
    assert_eq!(shown(&sent(&rest)), list(&FIVE[1..]));
}

#[test]
fn a_list_built_of_others_keeps_what_they_were() {
    let five = five();
    let mut all = five.skip(3);
    all.push(&Bytes::from_static(b"a")).unwrap();
    all.append(&five.take(3));
    all.append(&Args::new());
    all.push(&("x", &five)).unwrap();
    let nested = format!("92a178 95{}", FIVE.concat());
    let expected = [LIST, NAN, "c40161", DATE, NOTHING, "c702000908", &nested];
    assert_eq!(all.len(), 7);
    assert_eq!(shown(&sent(&all)), list(&expected));
    for start in 0..=7 {
        for end in start..=7 {
            let part = all.skip(start).take(end - start);
            assert_eq!(shown(&sent(&part)), list(&expected[start..end]), "{start}..{end}");
        }
    }
}

#[test]
fn arguments_inside_of_others_keep_what_they_were() {
    #[derive(Deserialize, Serialize)]
    struct Order {
        event: String,
        args: Args,
        #[serde(default)]
        more: Vec<Args>,
    }
    let fields = |args: &str, more: &str| {
        format!("83 a56576656e74 a178 a461726773 {args} a46d6f7265 {more}")
    };
    let inner = format!("95{}", FIVE.concat());
    let more = format!("93 91{LIST} 90 92{NAN}c40103");
    // Behind another argument with binary, and with `undefined` in the map before.
    let bytes = format!("c40109 84 a17a d40000 {}", &fields(&inner, &more)[3..]);
    let (first, order): (Bytes, Order) = args(2, &bytes).parse().unwrap();
    assert_eq!((&first[..], order.args.len(), order.more.len()), (&[9][..], 5, 3));
    assert_eq!(order.args, five());
    assert_eq!(shown(&sent(&order.args)), list(&FIVE));
    assert_eq!(shown(&sent(&order.more[0])), list(&[LIST]));
    assert_eq!(shown(&sent(&order.more[2])), list(&[NAN, "c40103"]));
    assert_eq!(shown(&sent(&(order, 1))), list(&[&fields(&inner, &more), "01"]));
    // An extension looks like an array in JSON, but its parts are no values.
    let extension: Vec<Args> = args(1, "91 d6fe01020304").parse().unwrap();
    assert_eq!(shown(&sent(&extension[0])), list(&["fe c40401020304"]));
}

#[test]
fn what_a_listener_made_a_value_of_is_that_value() {
    let value: (Value, Value) = args(2, &[DATE, "92 d40000 01"].concat()).parse().unwrap();
    let text = "b8323032332d30312d30315430303a30303a30302e3030305a";
    let bytes = shown(&sent(&value));
    assert!(bytes.starts_with("b8") && bytes.len() == text.len() + "92c001".len(), "{bytes}");
    assert!(bytes.ends_with("92c001"), "{bytes}");
}

#[test]
fn what_would_harm_others_is_not_passed_on() {
    for (came, goes) in [
        ("a2ff61", "a4efbfbd61"),
        ("d9 03 eda080", "a9efbfbdefbfbdefbfbd"),
        ("81 a1ff a1ff", "81 a3efbfbd a3efbfbd"),
        ("82 01 02 c0 03", "82 a131 02 a46e756c6c 03"),
        ("81 a95f5f70726f746f5f5f 81 a161 01", "80"),
        (
            "83 a161 91a1ff a95f5f70726f746f5f5f 92a1ff80 a162 a1ff",
            "82 a161 91a3efbfbd a162 a3efbfbd",
        ),
        ("de0002 d9095f5f70726f746f5f5f 01 d9095f5f70726f746f5f5f 02", "de0000"),
        ("df00000001 a95f5f70726f746f5f5f 81a95f5f70726f746f5f5f01", "df00000000"),
        ("92 81 a95f5f70726f746f5f5f 01 a95f5f70726f746f5f5f", "92 80 a95f5f70726f746f5f5f"),
    ] {
        let args = args(3, &format!("{DATE} {came} {NOTHING}"));
        assert_eq!(shown(&sent(&args)), list(&[DATE, goes, NOTHING]), "{came}");
        assert_eq!(shown(&sent(&args.skip(1).take(1))), list(&[goes]), "{came}");
    }
}

#[test]
fn nothing_is_kept_with_the_default_parser() {
    let mut decoder = crate::packet::Decoder::new(10);
    let packet = decoder.text(r#"2["x",1,{"a":[]}]"#.into());
    let Ok(Some(Packet::Event { event, .. })) = packet else { panic!("{packet:?}") };
    assert!(event.args.originals().is_empty());
    assert!(Args::of(&(1, "x")).unwrap().originals().is_empty());
    assert!(event.args.skip(1).originals().is_empty());
}

#[test]
fn originals_are_slices_of_the_message() {
    let message = Bytes::from(event_of(1, &hex(&format!("c5 0100 {}", "07".repeat(256)))));
    let Ok(Packet::Event { event, .. }) = read(message.clone()) else { panic!() };
    let range = message.as_ptr_range();
    assert!(range.contains(&event.args.attachments()[0].as_ptr()));
    assert!(range.contains(&event.args.originals().as_slice()[0].bytes.as_ptr()));
    assert!(range.contains(&event.name.as_bytes().as_ptr()));
}
