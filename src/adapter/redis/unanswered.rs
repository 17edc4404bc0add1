//! Entries for which Redis had not answered when the connection broke: some have been added, and the
//! rest is added again. As Redis carries out what comes over a connection in its order, and keeps
//! fields as they were given, the stream itself says which.

use std::{collections::VecDeque, rc::Rc};

use hashbrown::HashMap;
use redis::{Arg, Cmd, RedisResult, Value};

use super::{
    queue::{Command, Kind, Waiting},
    server::Connection,
    subscriber::bytes_of,
};

/// Where the fields begin in `XADD stream MAXLEN ~ n * ...`.
const FIRST_FIELD: usize = 6;

/// Entries that are read at a time.
const COUNT: usize = 500;

/// The last entry of this server that each stream is known to have.
pub(super) type Last = HashMap<Rc<str>, Vec<u8>>;

/// Leaves those that the streams have not. The server's own entries behind the last one that is
/// known are among these.
pub(super) async fn leave_missing(
    connection: &mut Connection,
    last: &mut Last,
    unanswered: &mut VecDeque<Waiting>,
) -> RedisResult<()> {
    let stream_of = |waiting: &Waiting| match &waiting.command {
        Command::Publish(publication, _) if publication.kind == Kind::Entry => {
            Some(Rc::clone(&publication.key))
        }
        _ => None,
    };
    let mut streams: Vec<Rc<str>> = unanswered.iter().filter_map(stream_of).collect();
    streams.sort_unstable();
    streams.dedup();
    for stream in streams {
        let mut begin = last.get(&stream).map_or_else(|| b"-".to_vec(), |id| behind(id));
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(&*stream).arg(&begin).arg("+").arg("COUNT").arg(COUNT);
            let Value::Array(entries) = connection.carry_out(range, false).await? else { break };
            let is_last = entries.len() < COUNT;
            for entry in entries {
                let Some((id, fields)) = parts(entry) else { continue };
                begin = behind(&id);
                let same = |waiting: &Waiting| match &waiting.command {
                    Command::Publish(publication, _) => {
                        publication.key == stream && is_of(&publication.command, &fields)
                    }
                    _ => false,
                };
                // Those before it that are not there were refused, and nobody was told.
                if let Some(place) = unanswered.iter().position(same) {
                    last.insert(Rc::clone(&stream), id);
                    unanswered.remove(place);
                }
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Remembers the last entries that were added.
pub(super) fn note<'a>(
    last: &mut Last,
    answers: impl DoubleEndedIterator<Item = (&'a Rc<str>, &'a Value)>,
) {
    let mut seen: Vec<&Rc<str>> = Vec::new();
    for (stream, answer) in answers.rev() {
        // Nearly always there is one.
        if seen.iter().any(|other| Rc::ptr_eq(other, stream) || *other == stream) {
            continue;
        }
        if let Value::BulkString(id) = answer {
            last.insert(Rc::clone(stream), id.clone());
            seen.push(stream);
        }
    }
}

/// The begin of a range behind an entry (Redis 6.2 or later also has `(`).
fn behind(id: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(id);
    let (time, number) = text.split_once('-').unwrap_or((&text, "0"));
    match number.parse::<u64>().ok().and_then(|number| number.checked_add(1)) {
        Some(number) => format!("{time}-{number}").into_bytes(),
        None => id.to_vec(),
    }
}

/// The id of an entry, and its fields as they were given.
fn parts(entry: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(pair) = entry else { return None };
    let mut pair = pair.into_iter();
    let id = bytes_of(pair.next()?)?;
    let Value::Array(fields) = pair.next()? else { return None };
    Some((id, fields.into_iter().map(bytes_of).collect::<Option<_>>()?))
}

fn is_of(command: &Cmd, fields: &[Vec<u8>]) -> bool {
    let given = command.args_iter().skip(FIRST_FIELD);
    given.len() == fields.len()
        && given.zip(fields).all(|(arg, field)| matches!(arg, Arg::Simple(arg) if arg == field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{
        message::{Message, Uid},
        redis::streams::entry,
    };

    #[test]
    fn an_entry_is_known_again_by_all_its_fields() {
        let message = Message::Leave {
            target: crate::room::Target::everyone(),
            rooms: ["a".into()].into_iter().collect(),
        };
        let uid = Uid::from("0123");
        let written = entry::write(false, &uid, "/", &message).unwrap();
        let (command, _) = written.into_command("stream", 10, Some(7));
        let all: Vec<Vec<u8>> = command
            .args_iter()
            .filter_map(|arg| match arg {
                Arg::Simple(bytes) => Some(bytes.to_vec()),
                _ => None,
            })
            .collect();
        assert_eq!(all[FIRST_FIELD - 1], b"*");
        let mut fields = all[FIRST_FIELD..].to_vec();
        assert!(is_of(&command, &fields));
        *fields.last_mut().unwrap() = b"8".to_vec();
        assert!(!is_of(&command, &fields));
        fields.pop();
        assert!(!is_of(&command, &fields));
        assert_eq!(behind(b"5-1"), b"5-2");
    }
}
