//! Which other nodes there are, by what they say of themselves. Plain data; times are given.

use std::time::Duration;

use hashbrown::HashMap;

use crate::adapter::{bus::Census, message::Uid};

/// A time since the link was made.
pub(super) type Moment = Duration;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Members {
    heard: HashMap<Uid, Moment>,
    /// When this node said anything last.
    pub(super) said: Moment,
}

impl Members {
    /// A node has said something; whether it was not known.
    pub(super) fn hear(&mut self, uid: &Uid, now: Moment) -> bool {
        !uid.is_emitter() && self.heard.insert(uid.clone(), now).is_none()
    }

    /// A node has said that it ends.
    pub(super) fn forget(&mut self, uid: &Uid) -> bool {
        self.heard.remove(uid).is_some()
    }

    /// Forgets who has not been heard of for longer than `timeout`.
    pub(super) fn expire(&mut self, now: Moment, timeout: Duration) -> Vec<Uid> {
        let gone = self.heard.extract_if(|_, heard| now.saturating_sub(*heard) > timeout);
        gone.map(|(uid, _)| uid).collect()
    }

    pub(super) fn census(&self) -> Census {
        Census { others: self.heard.len(), names: Some(self.heard.keys().cloned().collect()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_node_is_known_as_long_as_it_is_heard_of() {
        let mut members = Members::default();
        let (a, b) = (Uid::from("a"), Uid::from("b"));
        assert!(members.hear(&a, SECOND));
        assert!(members.hear(&b, SECOND));
        assert!(!members.hear(&a, 8 * SECOND));
        assert_eq!(members.expire(11 * SECOND, 10 * SECOND), []);
        assert_eq!(members.expire(12 * SECOND, 10 * SECOND), [b]);
        assert_eq!(members.census().others, 1);
        assert!(members.forget(&a));
        assert!(!members.forget(&a));
        assert_eq!(members.census(), Census { others: 0, names: Some([].into()) });
    }

    #[test]
    fn an_emitter_is_no_node() {
        let mut members = Members::default();
        assert!(!members.hear(&Uid::from("emitter"), SECOND));
        assert_eq!(members.census().others, 0);
    }
}
