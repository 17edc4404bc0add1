//! Which subscriptions are wanted, and which Redis has confirmed. Plain data: what has changed waits
//! in a queue, so that a change costs the same however many there are, and whoever wants to know
//! when something is in effect waits for a place in that queue.

use std::{cmp::Reverse, collections::VecDeque, rc::Rc};

use hashbrown::HashMap;

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subscription {
    Pattern(Rc<str>),
    Channel(Rc<str>),
    /// A channel of sharded pub/sub.
    Shard(Rc<str>),
}

impl Subscription {
    pub(super) fn name(&self) -> &Rc<str> {
        match self {
            Self::Pattern(name) | Self::Channel(name) | Self::Shard(name) => name,
        }
    }
}

/// Grows with every change. What is in effect up to one is in effect up to all before it.
pub(super) type Turn = u64;

/// Something to tell Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) subscription: Subscription,
    /// Whether to subscribe.
    pub(super) add: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Wants {
    entries: HashMap<Subscription, Entry>,
    queue: VecDeque<(Turn, Subscription)>,
    turn: Turn,
    /// The first turn of what is being told.
    telling: Option<Turn>,
    connected: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    wanted: bool,
    known: bool,
    queued: bool,
}

impl Wants {
    /// Wants something, or no more.
    pub(super) fn set(&mut self, subscription: &Subscription, wanted: bool) {
        let entry = match self.entries.get_mut(subscription) {
            Some(entry) => entry,
            None if wanted => self.entries.entry(subscription.clone()).or_default(),
            None => return,
        };
        if entry.wanted == wanted {
            return;
        }
        entry.wanted = wanted;
        if !self.connected {
            // Nothing is known, and with the next connection all that is wanted is told.
            if !wanted {
                self.entries.remove(subscription);
            }
        } else if !std::mem::replace(&mut entry.queued, true) {
            self.turn += 1;
            self.queue.push_back((self.turn, subscription.clone()));
        }
    }

    /// The connection is gone, and what it knew.
    pub(super) fn disconnect(&mut self) {
        self.connected = false;
        self.telling = None;
        self.queue = VecDeque::new();
        self.entries.retain(|_, entry| {
            *entry = Entry { wanted: entry.wanted, ..Entry::default() };
            entry.wanted
        });
    }

    /// There is a new one, which knows nothing.
    pub(super) fn connect(&mut self) {
        self.disconnect();
        self.connected = true;
        for (subscription, entry) in &mut self.entries {
            entry.queued = true;
            // Before everything that anybody waits for.
            self.queue.push_back((0, subscription.clone()));
        }
        // A server counts as present with the channels that others begin with: they come last.
        let last = |(_, subscription): &(Turn, Subscription)| {
            let is_pattern = matches!(subscription, Subscription::Pattern(_));
            (!is_pattern, Reverse(subscription.name().len()))
        };
        self.queue.make_contiguous().sort_unstable_by_key(last);
    }

    /// Up to `limit` steps, in the order of their turns. [`Wants::told`] has to follow.
    pub(super) fn next(&mut self, limit: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.len() < limit
            && let Some((turn, subscription)) = self.queue.pop_front()
        {
            let Some(entry) = self.entries.get_mut(&subscription) else { continue };
            entry.queued = false;
            if entry.wanted != entry.known {
                self.telling.get_or_insert(turn);
                steps.push(Step { add: entry.wanted, subscription });
            } else if !entry.wanted {
                self.entries.remove(&subscription);
            }
        }
        steps
    }

    /// Redis has confirmed these.
    pub(super) fn told(&mut self, steps: &[Step]) {
        self.telling = None;
        for Step { subscription, add } in steps {
            let Some(entry) = self.entries.get_mut(subscription) else { continue };
            entry.known = *add;
            if !entry.known && !entry.wanted && !entry.queued {
                self.entries.remove(subscription);
            }
        }
    }

    /// The turn of the last change.
    pub(super) fn turn(&self) -> Turn {
        self.turn
    }

    /// Whether everything is in effect up to a turn.
    pub(super) fn is_in_effect(&self, turn: Turn) -> bool {
        let next = self.telling.or_else(|| self.queue.front().map(|(turn, _)| *turn));
        self.connected && next.is_none_or(|next| next > turn)
    }

    /// Whether Redis knows everything that was wanted when it was connected.
    pub(super) fn is_restored(&self) -> bool {
        self.is_in_effect(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Subscription {
        Subscription::Shard(name.into())
    }

    fn step(name: &str, add: bool) -> Step {
        Step { subscription: channel(name), add }
    }

    /// Tells all that is to be told.
    fn settle(wants: &mut Wants) -> Vec<Step> {
        let mut told = Vec::new();
        loop {
            let steps = wants.next(2);
            if steps.is_empty() {
                return told;
            }
            wants.told(&steps);
            told.extend(steps);
        }
    }

    #[test]
    fn what_is_wanted_is_told_in_its_order_once() {
        let mut wants = Wants::default();
        wants.connect();
        for name in ["a", "b", "c"] {
            wants.set(&channel(name), true);
            wants.set(&channel(name), true);
        }
        assert_eq!(settle(&mut wants), [step("a", true), step("b", true), step("c", true)]);
        assert_eq!(settle(&mut wants), []);
        wants.set(&channel("b"), false);
        assert_eq!(settle(&mut wants), [step("b", false)]);
        assert_eq!(wants.entries.len(), 2);
    }

    #[test]
    fn what_was_let_go_and_is_wanted_again_before_redis_has_answered_is_subscribed() {
        let mut wants = Wants::default();
        wants.connect();
        wants.set(&channel("a"), true);
        settle(&mut wants);
        wants.set(&channel("a"), false);
        let leaving = wants.next(10);
        wants.set(&channel("a"), true);
        let turn = wants.turn();
        wants.told(&leaving);
        assert!(!wants.is_in_effect(turn));
        assert_eq!(settle(&mut wants), [step("a", true)]);
        assert!(wants.is_in_effect(turn));
    }

    #[test]
    fn a_change_that_is_taken_back_costs_nothing() {
        let mut wants = Wants::default();
        wants.connect();
        for _ in 0..1000 {
            wants.set(&channel("a"), true);
            wants.set(&channel("a"), false);
        }
        assert_eq!(wants.queue.len(), 1);
        assert_eq!(settle(&mut wants), []);
        assert!(wants.entries.is_empty());
    }

    #[test]
    fn who_waits_for_a_change_does_not_wait_for_later_ones() {
        let mut wants = Wants::default();
        wants.connect();
        wants.set(&channel("a"), true);
        wants.set(&channel("b"), true);
        let turn = wants.turn();
        wants.set(&channel("c"), true);
        let steps = wants.next(2);
        assert!(!wants.is_in_effect(turn), "Redis has been told, and has not answered");
        wants.told(&steps);
        assert!(wants.is_in_effect(turn));
        assert!(!wants.is_in_effect(wants.turn()));
    }

    #[test]
    fn a_new_connection_is_told_everything_and_nothing_is_in_effect_without_one() {
        let mut wants = Wants::default();
        wants.set(&channel("early"), true);
        assert!(!wants.is_in_effect(wants.turn()));
        wants.connect();
        assert!(!wants.is_restored());
        settle(&mut wants);
        wants.set(&channel("a"), true);
        let turn = wants.turn();
        drop(wants.next(10));
        wants.disconnect();
        assert!(!wants.is_in_effect(turn));
        for n in 0..1000 {
            wants.set(&channel(&n.to_string()), true);
            wants.set(&channel(&n.to_string()), false);
        }
        assert_eq!(wants.entries.len(), 2, "nothing grows while there is no connection");
        wants.connect();
        assert!(!wants.is_in_effect(turn));
        assert_eq!(settle(&mut wants).len(), 2);
        assert!(wants.is_in_effect(turn) && wants.is_restored());
    }
}
