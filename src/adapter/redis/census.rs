//! What Redis says of who listens.

use hashbrown::HashMap;
use redis::{Cmd, Value};

use crate::adapter::message::Uid;

/// PUBSUB and one of its commands.
pub(super) fn command(which: &str, of: &str) -> Cmd {
    let mut command = redis::cmd("PUBSUB");
    command.arg(which).arg(of);
    command
}

/// The numbers in what each server answers, by channel, summed.
pub(super) fn by_channel(answers: &[Value]) -> HashMap<Vec<u8>, usize> {
    let mut sums = HashMap::new();
    for (channel, number) in answers.iter().flat_map(numbers) {
        *sums.entry_ref(channel).or_default() += number;
    }
    sums
}

/// A name in which nothing is special to a pattern of Redis.
pub(super) fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The numbers in an answer: channels and numbers, as a list or as a map.
fn numbers(answer: &Value) -> Vec<(&[u8], usize)> {
    match answer {
        Value::Array(list) => {
            list.chunks_exact(2).filter_map(|two| named(&two[0], &two[1])).collect()
        }
        Value::Map(pairs) => pairs.iter().filter_map(|(name, n)| named(name, n)).collect(),
        _ => Vec::new(),
    }
}

fn named<'a>(name: &'a Value, number: &Value) -> Option<(&'a [u8], usize)> {
    let name = match name {
        Value::BulkString(bytes) => &**bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => return None,
    };
    match number {
        Value::Int(number) => Some((name, usize::try_from(*number).ok()?)),
        _ => None,
    }
}

/// The names in channels of the form `<prefix><name>#`.
pub(super) fn names(answers: Vec<Value>, prefix: &str) -> impl Iterator<Item = Uid> {
    let name = move |channel: String| {
        let name = channel.strip_prefix(prefix)?.strip_suffix('#')?;
        Some(Uid::from(name))
    };
    answers.into_iter().flat_map(texts).filter_map(name)
}

fn texts(value: Value) -> Vec<String> {
    let list = match value {
        Value::Array(list) | Value::Set(list) => list,
        _ => Vec::new(),
    };
    let text = |value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    };
    list.into_iter().filter_map(text).collect()
}
