//! Models: what several actors do together, run in every order in which it could happen.
//!
//! The parts that decide (the session's state machine, the pipe with its outbox, the origin of an
//! operation) are the real ones; only the actors around them are played. [`explore`] runs a model
//! again and again, each time by another schedule, until every state that can be reached has been.

mod order;
mod session;

use std::{
    collections::HashSet,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Something that can go on in several ways.
trait Model {
    /// One way to go on.
    type Step: Copy + Debug;

    /// All of them; none at the end.
    fn steps(&self) -> Vec<Self::Step>;
    fn step(&mut self, step: Self::Step);
    /// All that matters for what comes.
    fn state(&self, hasher: &mut DefaultHasher);
    /// What must hold always, and `at_end` what must hold there.
    fn check(&self, at_end: bool) -> Result<(), String>;
}

/// What there was.
#[derive(Debug, Default)]
struct Explored {
    states: usize,
    ends: usize,
}

/// Goes through all states of a model. Fails with the shortest schedule that breaks a promise.
fn explore<M: Model>(make: impl Fn() -> M) -> Result<Explored, String> {
    let mut explored = Explored::default();
    let mut seen = HashSet::new();
    let mut level = vec![Vec::new()];
    while !level.is_empty() {
        let mut next = Vec::new();
        for schedule in level {
            let mut model = make();
            for step in &schedule {
                model.step(*step);
            }
            let mut hasher = DefaultHasher::new();
            model.state(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            explored.states += 1;
            let steps = model.steps();
            explored.ends += usize::from(steps.is_empty());
            model.check(steps.is_empty()).map_err(|fault| format!("{fault} after {schedule:?}"))?;
            for step in steps {
                let mut longer = schedule.clone();
                longer.push(step);
                next.push(longer);
            }
        }
        level = next;
    }
    Ok(explored)
}

/// Anything with a `Debug` that shows it whole.
fn hash_debug(value: &impl Debug, hasher: &mut DefaultHasher) {
    format!("{value:?}").hash(hasher);
}
