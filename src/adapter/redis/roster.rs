//! Who else takes part in one namespace: how many, as Redis counts those who listen, and by name.
//!
//! Every node listens to a channel of its own name. Redis finds them by a pattern, but looks through
//! all channels of everybody for it, and does nothing else meanwhile: so names are remembered, and
//! counted together with the others, and looked for when their number does not fit only.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use hashbrown::HashSet;
use redis::Cmd;
use tokio::time::{Duration, Instant};

use super::{
    census,
    publisher::{Publish, Publisher},
};
use crate::adapter::{
    bus::{Census, Patience},
    message::{Envelope, Message, Rejected, Uid},
};

/// Nodes whose names are remembered. With more, nobody is named.
const MAX_NAMES: usize = 1024;

/// How often all channels may be looked through for names, as long as the number stays the same.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's description.
pub(super) struct Roster {
    how: Publish,
    own: Uid,
    /// What every node listens to once.
    common: Rc<str>,
    /// What the channels of single nodes begin with.
    prefix: Rc<str>,
    names: RefCell<HashSet<Uid>>,
    /// When names were looked for, and for how many others.
    searched: Cell<Option<(Instant, usize)>>,
}

impl Roster {
    pub(super) fn new(how: Publish, own: &Uid, common: &Rc<str>, prefix: &Rc<str>) -> Rc<Self> {
        let (common, prefix) = (Rc::clone(common), Rc::clone(prefix));
        let (names, searched) = (RefCell::default(), Cell::default());
        Rc::new(Self { how, own: own.clone(), common, prefix, names, searched })
    }

    /// A message came. Broadcasts are passed over: they are too many.
    pub(super) fn hear(&self, read: &Result<Envelope, Rejected>) {
        let Ok(Envelope { uid: Some(uid), message, .. }) = read else { return };
        if matches!(message, Message::Broadcast { request: None, .. }) || !self.is_name(uid) {
            return;
        }
        let mut names = self.names.borrow_mut();
        if names.len() < MAX_NAMES {
            names.get_or_insert_with(uid, Uid::clone);
        }
    }

    /// Whether it is a name as nodes have it, and another one: emitters have other names.
    fn is_name(&self, uid: &Uid) -> bool {
        let is_letter = |byte: u8| match self.is_hex() {
            true => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            false => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        uid.as_str().len() == self.own.as_str().len()
            && uid.as_str().bytes().all(is_letter)
            && *uid != self.own
    }

    /// Whether names are those of cluster messages. There rooms may have channels that begin as those
    /// of nodes do.
    fn is_hex(&self) -> bool {
        self.own.as_str().len() == Uid::HEX_LENGTH
    }

    /// See [`Bus::census`](crate::adapter::bus::Bus::census).
    pub(super) async fn census(
        self: Rc<Self>,
        publisher: Publisher,
        patience: Patience,
    ) -> Option<Census> {
        let counted = publisher.ask(self.counting(), patience).await?;
        let counts = census::by_channel(&counted);
        let count = |channel: &str| counts.get(channel.as_bytes()).copied().unwrap_or(0);
        let others = count(&self.common).saturating_sub(1);
        self.names.borrow_mut().retain(|name| count(&self.channel(name)) > 0);
        if self.may_search(others, Instant::now())
            && let Some(found) = publisher.ask(self.searching(), patience).await
        {
            let found = census::names(found, &self.prefix);
            self.names.borrow_mut().extend(found.filter(|name| self.is_name(name)));
        }
        let names = self.names.borrow();
        Some(Census { others, names: (names.len() == others).then(|| names.clone()) })
    }

    fn channel(&self, name: &Uid) -> String {
        format!("{}{name}#", self.prefix)
    }

    fn counting(&self) -> Cmd {
        let which = match self.how {
            Publish::Ordinary => "NUMSUB",
            Publish::Sharded => "SHARDNUMSUB",
        };
        let mut command = census::command(which, &self.common);
        for name in &*self.names.borrow() {
            command.arg(self.channel(name));
        }
        command
    }

    fn searching(&self) -> Cmd {
        let which = match self.how {
            Publish::Ordinary => "CHANNELS",
            Publish::Sharded => "SHARDCHANNELS",
        };
        let letter = if self.is_hex() { "[0-9a-f]" } else { "[0-9A-Za-z_-]" };
        let name = letter.repeat(self.own.as_str().len());
        census::command(which, &format!("{}{name}#", census::escaped(&self.prefix)))
    }

    /// Whether names are missing, and may be looked for now.
    fn may_search(&self, others: usize, now: Instant) -> bool {
        if self.names.borrow().len() == others || others > MAX_NAMES {
            return false;
        }
        let is_due = self.searched.get().is_none_or(|(at, number)| {
            number != others || now.duration_since(at) >= SEARCH_INTERVAL
        });
        if is_due {
            self.searched.set(Some((now, others)));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{adapter::message::Answer, packet::Args};

    fn roster() -> Rc<Roster> {
        Roster::new(Publish::Ordinary, &Uid::from("ownown"), &"common".into(), &"answers#".into())
    }

    fn hear(roster: &Roster, uid: &str) {
        let message = Message::Answer { request: Uid::hex(), answer: Answer::Value(Args::new()) };
        let namespace = "/".to_owned();
        roster.hear(&Ok(Envelope { uid: Some(Uid::from(uid)), namespace, message }));
    }

    #[test]
    fn only_what_may_be_a_name_is_remembered_and_no_more_than_there_may_be() {
        let roster = roster();
        for other in ["ownown", "emitter", "", "a b#c*", &"x".repeat(1 << 20), "ü\u{fc}üü"] {
            hear(&roster, other);
        }
        assert!(roster.names.borrow().is_empty());
        for n in 0..2 * MAX_NAMES {
            hear(&roster, &format!("{n:06}"));
        }
        assert_eq!(roster.names.borrow().len(), MAX_NAMES);
    }

    #[test]
    fn names_are_looked_for_when_some_are_missing_and_not_all_the_time() {
        let (roster, begin) = (roster(), Instant::now());
        assert!(!roster.may_search(0, begin));
        assert!(roster.may_search(2, begin));
        assert!(!roster.may_search(2, begin + SEARCH_INTERVAL / 2));
        assert!(roster.may_search(3, begin + SEARCH_INTERVAL / 2), "one more has come");
        assert!(!roster.may_search(3, begin + SEARCH_INTERVAL));
        assert!(roster.may_search(3, begin + 2 * SEARCH_INTERVAL));
        assert!(!roster.may_search(MAX_NAMES + 1, begin + 9 * SEARCH_INTERVAL));
        hear(&roster, "abcdef");
        assert!(!roster.may_search(1, begin + 9 * SEARCH_INTERVAL));
    }
}
