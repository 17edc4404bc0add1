//! Whose answers to one request are still to come. Plain data.

use hashbrown::HashSet;

use crate::{
    adapter::{bus::Census, message::Uid},
    room::Missing,
};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Expectation {
    /// Not known before the bus has said who is there.
    census: Option<Census>,
    answered: HashSet<Uid>,
    /// Answers that do not say whose they are.
    anonymous: usize,
}

impl Expectation {
    /// These nodes are there.
    pub(super) fn expect(&mut self, census: Census) {
        self.census = Some(census);
    }

    /// A node has answered; `false` if it had already.
    pub(super) fn answer(&mut self, uid: Option<&Uid>) -> bool {
        match uid {
            Some(uid) => self.answered.insert(uid.clone()),
            None => {
                self.anonymous += 1;
                true
            }
        }
    }

    /// A node is gone; its answer is not waited for any more.
    pub(super) fn forget(&mut self, uid: &Uid) {
        if self.answered.contains(uid) {
            return;
        }
        if let Some(Census { others, names: Some(names) }) = &mut self.census
            && names.remove(uid)
        {
            *others -= 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing().is_nobody()
    }

    /// Who has not answered.
    pub(super) fn missing(&self) -> Missing {
        let Some(Census { others, names }) = &self.census else {
            return Missing { count: None, nodes: Vec::new() };
        };
        // By name, one that came later and answered does not count for one that was asked.
        let named = match names {
            Some(names) => names.intersection(&self.answered).count(),
            None => self.answered.len(),
        };
        let count = others.saturating_sub(named + self.anonymous);
        if count == 0 {
            return Missing::nobody();
        }
        let silent = names.iter().flatten().filter(|name| !self.answered.contains(*name));
        let mut nodes: Vec<String> = silent.map(ToString::to_string).collect();
        nodes.sort_unstable();
        Missing { count: Some(count), nodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Census {
        let names: HashSet<Uid> = names.iter().map(|name| Uid::from(*name)).collect();
        Census { others: names.len(), names: Some(names) }
    }

    fn counted(others: usize) -> Census {
        Census { others, names: None }
    }

    #[test]
    fn nothing_is_complete_before_it_is_known_who_is_there() {
        let mut expectation = Expectation::default();
        assert!(expectation.answer(Some(&"a".into())));
        assert_eq!(expectation.missing(), Missing { count: None, nodes: vec![] });
        expectation.expect(named(&["a"]));
        assert!(expectation.is_complete());
    }

    #[test]
    fn those_who_have_not_answered_are_named() {
        let mut expectation = Expectation::default();
        expectation.expect(named(&["a", "b", "c"]));
        expectation.answer(Some(&"b".into()));
        assert_eq!(
            expectation.missing(),
            Missing { count: Some(2), nodes: vec!["a".into(), "c".into()] }
        );
        expectation.forget(&"a".into());
        assert_eq!(expectation.missing(), Missing { count: Some(1), nodes: vec!["c".into()] });
        // One that answered before it went counts still.
        expectation.forget(&"b".into());
        expectation.answer(Some(&"c".into()));
        assert!(expectation.is_complete());
    }

    #[test]
    fn nobody_answers_twice() {
        let mut expectation = Expectation::default();
        expectation.expect(counted(2));
        assert!(expectation.answer(Some(&"a".into())));
        assert!(!expectation.answer(Some(&"a".into())));
        assert_eq!(expectation.missing().count, Some(1));
        assert!(expectation.answer(None));
        assert!(expectation.is_complete());
    }

    #[test]
    fn a_node_that_came_later_does_not_answer_for_another_one() {
        let mut expectation = Expectation::default();
        expectation.expect(named(&["a"]));
        expectation.answer(Some(&"later".into()));
        assert_eq!(expectation.missing(), Missing { count: Some(1), nodes: vec!["a".into()] });
    }

    #[test]
    fn alone_nobody_is_missing() {
        let mut expectation = Expectation::default();
        expectation.expect(counted(0));
        assert!(expectation.is_complete());
    }
}
