use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::{Args, ArgsError};
use super::{Bytes, args};

const BINARY: &str = r#"53-["x",{"_placeholder":true,"num":0},{"a":[{"_placeholder":true,"num":1},null]},
    {"num":2,"_placeholder":true}]"#;

fn binary() -> Args {
    args(BINARY, &[b"zero", b"one", b"two"])
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, u8);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[test]
fn a_tuple_takes_as_many_arguments_as_it_has() {
    let args = args(r#"2["x",1,"two",[3,4]]"#, &[]);
    assert_eq!(args.parse::<(u8,)>(), Ok((1,)));
    assert_eq!(args.parse::<(u8, String)>(), Ok((1, "two".into())));
    assert_eq!(args.parse::<(u8, String, (u8, u8))>(), Ok((1, "two".into(), (3, 4))));
    assert_eq!(
        args.parse::<(u8, String, Pair, Option<u8>)>(),
        Ok((1, "two".into(), Pair(3, 4), None))
    );
    type Lax = (u8, String, Value, Newtype<Option<u8>>, Option<()>);
    assert_eq!(args.parse::<Lax>(), Ok((1, "two".into(), json!([3, 4]), Newtype(None), None)));
    assert_eq!(args.parse::<Newtype<(u8, String)>>(), Ok(Newtype((1, "two".into()))));
    assert_eq!(args.parse::<[Value; 2]>(), Ok([json!(1), json!("two")]));
    let missing = args.parse::<(u8, String, Value, u8)>().unwrap_err();
    assert_eq!(
        (missing.to_string().as_str(), missing),
        ("argument 3 is missing", ArgsError::Missing { index: 3 })
    );
    let wrong = args.parse::<(u8, u8)>().unwrap_err().to_string();
    assert!(wrong.starts_with("argument 1: invalid type: string \"two\", expected u8"), "{wrong}");
}

#[test]
fn any_other_type_takes_the_first() {
    let some = args(r#"2["x",7,"more"]"#, &[]);
    let none = args(r#"2["x"]"#, &[]);
    let null = args(r#"2["x",null]"#, &[]);
    assert_eq!(some.parse::<u64>(), Ok(7));
    assert_eq!(some.parse::<Newtype<f64>>(), Ok(Newtype(7.0)));
    assert_eq!(some.parse::<Option<u64>>(), Ok(Some(7)));
    assert_eq!((none.parse::<Option<u64>>(), null.parse::<Option<u64>>()), (Ok(None), Ok(None)));
    assert_eq!(none.parse::<u64>(), Err(ArgsError::Missing { index: 0 }));
    assert_eq!((some.parse::<()>(), none.parse::<()>()), (Ok(()), Ok(())));
    assert_eq!((some.parse::<Unit>(), none.parse::<Unit>()), (Ok(Unit), Ok(Unit)));
    assert_eq!(some.parse::<Box<RawValue>>().unwrap().get(), "7");
    assert_eq!(args(r#"2["x",[1,2],3]"#, &[]).parse::<Vec<u8>>(), Ok(vec![1, 2]));
    assert_eq!(args(r#"2["x",[1,2],3]"#, &[]).parse::<Pair>(), Ok(Pair(1, 2)));
    let keyed = args(r#"2["x",{"1":true}]"#, &[]).parse::<HashMap<u64, bool>>();
    assert_eq!(keyed, Ok(HashMap::from([(1, true)])));
}

#[test]
fn args_take_all_that_are_left() {
    let text = args(r#"2["x",1,"two",[3]]"#, &[]);
    assert_eq!(text.parse::<Args>(), Ok(text.clone()));
    assert_eq!(text.parse::<Newtype<Args>>(), Ok(Newtype(text.clone())));
    let (first, rest): (u8, Args) = text.parse().unwrap();
    assert_eq!((first, rest.len(), rest.raw_json()), (1, 2, r#""two",[3]"#));
    assert_eq!(args(r#"2["x",1]"#, &[]).parse::<(u8, Args)>(), Ok((1, Args::new())));
    assert_eq!(text.get::<Args>(2).unwrap(), json!([[3]]));

    let (_, rest): (Bytes, Args) = binary().parse().unwrap();
    assert_eq!(rest.attachments(), ["one", "two"]);
    assert_eq!(rest.get::<Bytes>(1).unwrap(), "two");
    assert_eq!(rest, binary().skip(1));
    assert_eq!(binary().parse::<Args>(), Ok(binary()));
}

#[test]
fn args_inside_an_argument_are_an_array() {
    #[derive(Deserialize)]
    struct Nested {
        a: Args,
    }
    let text: Nested = args(r#"2["x",{"a":[1,[2]]}]"#, &[]).parse().unwrap();
    assert_eq!(text.a, json!([1, [2]]));
    let nested: Nested = binary().get(1).unwrap();
    assert_eq!((nested.a.len(), nested.a.attachments()), (2, &[Bytes::from("one")][..]));
    assert_eq!(nested.a.parse::<(Bytes, Option<u8>)>(), Ok(("one".into(), None)));
    assert!(args(r#"2["x",{"a":{}}]"#, &[]).parse::<Nested>().is_err());
    assert_eq!(
        serde_json::to_string(&nested.a).unwrap(),
        r#"[{"_placeholder":true,"num":0},null]"#
    );
}

#[test]
fn binary_is_found_at_any_depth() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Deep {
        a: Vec<Option<Bytes>>,
    }
    let (zero, deep, two): (Bytes, Deep, Option<Newtype<Bytes>>) = binary().parse().unwrap();
    assert_eq!((zero, deep.a), (Bytes::from("zero"), vec![Some(Bytes::from("one")), None]));
    assert_eq!(two, Some(Newtype("two".into())));
    assert_eq!(binary().parse::<Bytes>().unwrap(), "zero");
    assert_eq!(
        binary().get::<HashMap<String, Vec<Option<Bytes>>>>(1).unwrap()["a"][0],
        Some("one".into())
    );

    #[derive(Debug, PartialEq, Deserialize)]
    enum External {
        New(Bytes),
        Tuple(u8, Bytes),
        Struct { b: Bytes },
    }
    let place = r#"{"_placeholder":true,"num":0}"#;
    for (json, expected) in [
        (format!(r#"{{"New":{place}}}"#), External::New("!".into())),
        (format!(r#"{{"Tuple":[1,{place}]}}"#), External::Tuple(1, "!".into())),
        (format!(r#"{{"Struct":{{"b":{place}}}}}"#), External::Struct { b: "!".into() }),
    ] {
        assert_eq!(args(&format!("51-[\"x\",{json}]"), &[b"!"]).parse::<External>(), Ok(expected));
    }
}

#[test]
fn binary_is_found_behind_serdes_buffers() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Bytes(Bytes),
        List(Vec<Untagged>),
        Struct { num: u8, _placeholder: Option<bool>, data: Bytes },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        File { data: Bytes },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        rest: HashMap<String, Bytes>,
    }
    for place in [r#"{"_placeholder":true,"num":0}"#, r#"{"num":0,"_placeholder":true}"#] {
        let args = |json: String| args(&format!("51-[\"x\",{json}]"), &[b"!"]);
        let bytes = || Bytes::from("!");
        assert_eq!(args(place.to_owned()).parse(), Ok(Untagged::Bytes(bytes())));
        let list = Untagged::List(vec![Untagged::Number(1), Untagged::Bytes(bytes())]);
        assert_eq!(args(format!("[1,{place}]")).parse(), Ok(list));
        let fields = Untagged::Struct { num: 3, _placeholder: None, data: bytes() };
        assert_eq!(args(format!(r#"{{"num":3,"data":{place}}}"#)).parse(), Ok(fields));
        let tagged = Tagged::File { data: bytes() };
        assert_eq!(args(format!(r#"{{"data":{place},"type":"File"}}"#)).parse(), Ok(tagged));
        let flat = Flat { rest: HashMap::from([("a".into(), bytes())]) };
        assert_eq!(args(format!(r#"{{"a":{place}}}"#)).parse(), Ok(flat));
    }
}

#[test]
fn where_nobody_asks_for_bytes_a_placeholder_is_an_object() {
    let place = |num: u8| json!({ "_placeholder": true, "num": num });
    assert_eq!(binary().parse::<Value>().unwrap(), place(0));
    assert_eq!(binary().to_json(), json!([place(0), { "a": [place(1), null] }, place(2)]));
    assert_eq!(binary(), binary().to_json());
    assert!(binary().get::<Box<RawValue>>(1).unwrap().get().starts_with(r#"{"a":[{"_pl"#));
    assert!(binary().parse::<String>().is_err());
    // And where somebody does, but there is other data:
    assert_eq!(args(r#"51-["x",[1,2]]"#, &[b"!"]).parse::<Bytes>().unwrap(), vec![1, 2]);
    assert_eq!(args(r#"51-["x","é"]"#, &[b"!"]).parse::<Bytes>().unwrap(), "é");
    assert!(args(r#"51-["x",{"num":0}]"#, &[b"!"]).parse::<Bytes>().is_err());
    assert!(args(r#"2["x",{"_placeholder":true,"num":0}]"#, &[]).parse::<Bytes>().is_err());
}

#[test]
fn arguments_are_read_one_by_one() {
    let args = args(r#"2["x",1,"a,]\"[",{"b":[1,2]},null]"#, &[]);
    assert_eq!(args.texts().collect::<Vec<_>>(), ["1", r#""a,]\"[""#, r#"{"b":[1,2]}"#, "null"]);
    assert_eq!(args.get::<String>(1).unwrap(), "a,]\"[");
    assert_eq!(args.get::<Value>(2).unwrap(), json!({ "b": [1, 2] }));
    assert_eq!(args.get::<(u8,)>(3).unwrap_err().to_string().split(':').next(), Some("argument 3"));
    assert_eq!(args.get::<u8>(4), Err(ArgsError::Missing { index: 4 }));
    assert_eq!(args.get::<Option<u8>>(4), Ok(None));
    assert_eq!(
        (args.skip(0), args.skip(4), args.skip(99)),
        (args.clone(), Args::new(), Args::new())
    );
    assert_eq!(args.skip(3), json!([null]));
    assert_eq!(args.take(1), json!([1]));
    assert_eq!(args.take(3), json!([1, "a,]\"[", { "b": [1, 2] }]));
    assert_eq!((args.take(0), args.take(4), args.take(99)), (Args::new(), args.clone(), args));
}

#[test]
fn appending_and_taking_move_attachments_along() {
    let mut list = Args::of(&(1, Bytes::from("own"))).unwrap();
    list.append(&Args::new()).append(&binary().take(1)).append(&binary().skip(2));
    let place = |num: u8| json!({ "_placeholder": true, "num": num });
    assert_eq!(list, json!([1, place(0), place(1), place(2)]));
    assert_eq!(list.attachments(), ["own", "zero", "two"]);
    assert_eq!(list.take(2).attachments(), ["own"]);
    assert_eq!(list.take(0).attachments().len(), 0);
    assert_eq!(Args::new().append(&list), &list);
}

#[test]
fn pushing_builds_a_list() {
    let mut list = Args::new();
    list.push(&1).unwrap().push("two").unwrap().push(&(3, 4)).unwrap().push(&()).unwrap();
    let before = list.clone();
    list.push(&Bytes::from("!")).unwrap().push(&binary()).unwrap();
    assert_eq!((before.len(), before.raw_json()), (4, r#"1,"two",[3,4],null"#));
    let place = |num: u8| json!({ "_placeholder": true, "num": num });
    let nested = json!([place(1), { "a": [place(2), null] }, place(3)]);
    assert_eq!(list, json!([1, "two", [3, 4], null, place(0), nested]));
    assert_eq!(list.attachments(), ["!", "zero", "one", "two"]);
    let keyed = HashMap::from([(vec![1], 1)]);
    assert!(list.clone().push(&keyed).is_err());
    assert_eq!(list.skip(5).parse::<Vec<Value>>().unwrap().len(), 3);
    assert_eq!(list.skip(5).attachments().len(), 3);
    assert_eq!(Args::of(&("a", binary())).unwrap().len(), 4);
    assert_eq!(Args::of(&()).unwrap(), Args::new());
}
