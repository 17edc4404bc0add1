//! How many servers hear what is published: after Redis was away, what waits is sent when they are
//! there again.

use std::{cell::RefCell, rc::Rc};

use hashbrown::HashMap;
use redis::{Cmd, Value};

use super::{census, publisher::Publish};

/// Channels whose listeners are counted. Servers come back as a whole, so some of them say it for all.
const MOST: usize = 256;

/// The channels that all servers of a namespace hear, and how many did. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Audience(Rc<RefCell<HashMap<Rc<str>, Listeners>>>);

#[derive(Default)]
struct Listeners {
    /// Namespaces of this server: a name may have a successor already.
    seats: usize,
    /// Not known before Redis was asked.
    count: Option<usize>,
}

impl Audience {
    pub(super) fn watch(&self, channel: &Rc<str>) {
        self.0.borrow_mut().entry(Rc::clone(channel)).or_default().seats += 1;
    }

    pub(super) fn unwatch(&self, channel: &Rc<str>) {
        let mut channels = self.0.borrow_mut();
        if let Some(listeners) = channels.get_mut(channel) {
            listeners.seats -= 1;
            if listeners.seats == 0 {
                channels.remove(channel);
            }
        }
    }

    /// What has to be asked; `None` if nothing is to be known.
    pub(super) fn question(&self, how: Publish) -> Option<Cmd> {
        let channels = self.0.borrow();
        if channels.is_empty() {
            return None;
        }
        let mut command = redis::cmd("PUBSUB");
        command.arg(match how {
            Publish::Ordinary => "NUMSUB",
            Publish::Sharded => "SHARDNUMSUB",
        });
        for channel in channels.keys().take(MOST) {
            command.arg(&**channel);
        }
        Some(command)
    }

    /// Remembers what Redis has answered.
    pub(super) fn note(&self, answers: &[Value]) {
        let counts = census::by_channel(answers);
        for (channel, listeners) in &mut *self.0.borrow_mut() {
            listeners.count = counts.get(channel.as_bytes()).copied();
        }
    }

    /// Whether as many are there as were known. Of those who were never counted nothing can be said:
    /// if all are such, no.
    pub(super) fn is_back(&self, answers: &[Value]) -> bool {
        let counts = census::by_channel(answers);
        let channels = self.0.borrow();
        let mut known =
            channels.iter().filter_map(|(channel, listeners)| Some((channel, listeners.count?)));
        let mut any = false;
        let all = known.all(|(channel, count)| {
            any = true;
            counts.get(channel.as_bytes()).copied().unwrap_or(0) >= count
        });
        all && any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(counts: &[(&str, i64)]) -> Vec<Value> {
        let pairs = counts.iter().map(|(channel, count)| {
            (Value::BulkString(channel.as_bytes().to_vec()), Value::Int(*count))
        });
        vec![Value::Map(pairs.collect())]
    }

    #[test]
    fn all_are_back_when_as_many_listen_as_were_known() {
        let audience = Audience::default();
        assert!(audience.question(Publish::Ordinary).is_none());
        let (a, b) = (Rc::from("a"), Rc::from("b"));
        audience.watch(&a);
        assert!(!audience.is_back(&answers(&[("a", 5)])), "nobody has been counted");
        audience.note(&answers(&[("a", 2)]));
        audience.watch(&b);
        for (counts, back) in [
            (&[("a", 1), ("b", 0)][..], false),
            (&[("a", 2), ("b", 0)], true),
            (&[("a", 3)], true),
            (&[], false),
        ] {
            assert_eq!(audience.is_back(&answers(counts)), back, "{counts:?}");
        }
        audience.watch(&a);
        audience.unwatch(&a);
        audience.note(&answers(&[("a", 1), ("b", 4)]));
        assert!(!audience.is_back(&answers(&[("a", 1), ("b", 3)])));
        audience.unwatch(&b);
        assert!(audience.is_back(&answers(&[("a", 1)])));
    }
}
