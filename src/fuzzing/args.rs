//! Arguments of events and acks, used in every way there is.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::packet::Args;

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Untagged {
    Bytes(Bytes),
    Number(f64),
    List(Vec<Untagged>),
    Map(HashMap<String, Untagged>),
    Other(Value),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tagged {
    Data { data: Bytes },
    Args { args: Args },
    Rest(HashMap<String, Value>),
}

#[derive(Debug, Deserialize, Serialize)]
struct Record {
    #[serde(default)]
    data: Option<Bytes>,
    #[serde(default)]
    name: String,
    #[serde(flatten)]
    rest: HashMap<String, Untagged>,
}

#[derive(Debug, Deserialize, Serialize)]
enum External {
    Unit,
    New(Bytes),
    Pair(i64, Bytes),
    Fields { a: Option<u8>, b: Vec<Bytes> },
}

/// What reads without an error can be written; reading what was written gives the same.
fn as_type<T: serde::de::DeserializeOwned + Serialize>(args: &Args) {
    let Ok(value) = args.parse::<T>() else { return };
    let Ok(once) = Args::of(&(&value,)) else { return };
    let again = once.parse::<T>().expect("what was written can be read");
    let twice = Args::of(&(&again,)).expect("what was written once can be written");
    assert_eq!(once.len(), twice.len());
    assert_eq!(once.raw_json().len(), twice.raw_json().len(), "{once:?} {twice:?}");
    assert_eq!(once.attachments().len(), twice.attachments().len());
}

/// `args` have been decoded.
pub(super) fn exercise(args: &Args) {
    let texts: Vec<&str> = args.texts().collect();
    assert_eq!(texts.len(), args.len(), "{args:?}");
    let passed_on = Args::of(args).expect("received arguments can be sent");
    assert_eq!(&passed_on, args);
    halves(args, &texts);
    // They need not be of the type, only hold together.
    let _ = args.parse::<(Option<Bytes>, Value, Args)>();
    let _ = args.parse::<(Option<Option<u8>>, String, (Bytes, Bytes))>();
    as_type::<Value>(args);
    as_type::<Bytes>(args);
    as_type::<Untagged>(args);
    as_type::<Tagged>(args);
    as_type::<Record>(args);
    as_type::<External>(args);
    as_type::<Vec<Option<Bytes>>>(args);
    as_type::<HashMap<String, Bytes>>(args);
    for index in 0..texts.len().min(4) {
        let _ = args.get::<Untagged>(index);
        let _ = args.get::<Bytes>(index);
        let _ = args.is_undefined(index);
    }
    assert!(args.get::<Value>(texts.len()).is_err());
    let _ = (args.to_json(), format!("{args:?}"));
}

/// Cut in two and put together again, nothing is lost.
fn halves(args: &Args, texts: &[&str]) {
    for cut in [0, 1, texts.len() / 2, texts.len()] {
        let (front, back) = (args.take(cut), args.skip(cut));
        assert_eq!(front.len(), cut.min(texts.len()));
        assert_eq!(front.len() + back.len(), texts.len());
        let mut whole = front.clone();
        whole.append(&back);
        assert_eq!(whole.len(), texts.len());
        assert_eq!(whole.attachments().len(), args.attachments().len(), "{args:?}");
        if args.attachments().is_empty() {
            assert!(whole.texts().eq(texts.iter().copied()), "{whole:?} {args:?}");
        } else {
            let sizes = |args: &Args| {
                let mut sizes: Vec<_> = args.attachments().iter().map(Bytes::len).collect();
                sizes.sort_unstable();
                sizes
            };
            assert_eq!(sizes(&whole), sizes(args));
        }
        let mut more = back.clone();
        more.push(&("x", Bytes::from_static(b"y"), &front)).expect("it can be written");
        assert_eq!(more.len(), back.len() + 1);
        assert_eq!(more.attachments().len(), args.attachments().len() + 1);
    }
}
