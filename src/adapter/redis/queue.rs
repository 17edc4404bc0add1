//! What waits to be carried out, in its order: bounded in number and in bytes, and, while Redis is
//! away, in time. Plain data; times are given.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use redis::{Cmd, Value};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    adapter::bus::{Patience, Unsent},
    metrics::meters::Since,
};

/// Commands that may wait, and the bytes of their messages.
const MAX_WAITING: usize = 16_384;
const MAX_BYTES: usize = 64 << 20;

/// How long an answer to another server is of use: requests have no longer by default.
const BRIEF: Duration = Duration::from_secs(5);

/// Something to publish.
pub(super) struct Publication {
    pub(super) kind: Kind,
    /// The channel, or the key.
    pub(super) key: Rc<str>,
    pub(super) command: Cmd,
    /// Of what it carries.
    pub(super) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message for a channel, which Redis has forgotten when it has passed it on.
    Message,
    /// An entry of a stream, which can be found there.
    Entry,
    /// Of no use later, and not missed.
    Command,
}

/// The field of an entry that was late: those who sent it have shown it to their clients before.
pub(super) const LATE: &str = "late";

pub(super) enum Command {
    Publish(Publication, Since),
    /// Any command, and who waits for what each server answers.
    Ask {
        /// Whether it asks for what is so now, and not when what was published before has arrived.
        now: bool,
        command: Cmd,
        answer: oneshot::Sender<Vec<Value>>,
    },
    /// A command of one key, for which no other waits.
    Inquire {
        command: Cmd,
        answer: oneshot::Sender<Value>,
    },
    /// Dropped when all before has been carried out.
    Flush(#[allow(dead_code, reason = "its drop is what it is for")] oneshot::Sender<()>),
}

impl Command {
    fn size(&self) -> usize {
        match self {
            Self::Publish(publication, _) => publication.size,
            _ => 0,
        }
    }

    /// Whether it is lost to somebody when it is dropped, who is not told.
    fn is_message(&self) -> bool {
        matches!(self, Self::Publish(Publication { kind: Kind::Message | Kind::Entry, .. }, _))
    }

    /// Whether it can be carried out while others may not have subscribed yet.
    fn may_pass(&self) -> bool {
        match self {
            Self::Publish(publication, _) => publication.kind != Kind::Message,
            Self::Inquire { .. } => true,
            Self::Ask { now, .. } => *now,
            Self::Flush(_) => false,
        }
    }
}

/// See [`Queue`].
pub(super) struct Waiting {
    pub(super) command: Command,
    pub(super) patience: Patience,
    /// Once Redis was away: how long it waits.
    pub(super) deadline: Option<Instant>,
}

impl Waiting {
    /// Redis is away from now on: how long this waits for it.
    pub(super) fn stamp(&mut self, now: Instant, keep: Duration) {
        let kept = now + keep;
        self.deadline.get_or_insert(match self.patience {
            Patience::None => now,
            Patience::Kept => kept,
            Patience::Brief => kept.min(now + BRIEF),
            Patience::Until(time) => kept.min(time),
        });
    }

    /// It comes behind what clients of this server have seen by then.
    fn mark(&mut self) {
        if let Command::Publish(publication, _) = &mut self.command
            && publication.kind == Kind::Entry
            && !publication
                .command
                .args_iter()
                .any(|arg| arg == redis::Arg::Simple(LATE.as_bytes()))
        {
            publication.command.arg(LATE).arg(1);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// Messages that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) expired: u64,
    pub(super) volatile: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Away,
    /// There is one, and others may not hear yet what is published.
    Holding,
    Open,
}

/// See the module's description.
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// What was passed by others; before all that waits.
    held: VecDeque<Waiting>,
    /// Also of what is being carried out.
    bytes: usize,
    phase: Phase,
    keep: Duration,
    /// Whether something did not fit since it was open last.
    overflown: bool,
}

impl Queue {
    /// One that keeps what is given while Redis is away for so long.
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            held: VecDeque::new(),
            bytes: 0,
            phase: Phase::Away,
            keep,
            overflown: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_holding(&self) -> bool {
        self.phase == Phase::Holding
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.held.len()
    }

    /// Those of what waits that are for other servers.
    pub(super) fn messages(&self) -> usize {
        self.held.iter().chain(&self.waiting).filter(|each| each.command.is_message()).count()
    }

    /// Adds something. `now` is asked only if the queue is not open.
    pub(super) fn push(
        &mut self,
        command: Command,
        patience: Patience,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), Unsent> {
        let mut waiting = Waiting { command, patience, deadline: None };
        let at_once =
            self.is_holding() && matches!(waiting.command, Command::Ask { now: true, .. });
        if !self.is_open() && !at_once {
            if patience == Patience::None {
                return Err(Unsent::Unawaited);
            }
            let now = now();
            waiting.stamp(now, self.keep);
            if waiting.is_over(now) {
                return Err(Unsent::Away);
            }
            waiting.mark();
        }
        let size = waiting.command.size();
        if self.len() >= MAX_WAITING || self.bytes + size > MAX_BYTES {
            if !std::mem::replace(&mut self.overflown, true) {
                tracing::warn!("too much waits for Redis; what comes now is not sent");
            }
            return Err(Unsent::Away);
        }
        self.bytes += size;
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Takes what can be carried out now. Its bytes count until they are released.
    pub(super) fn take(&mut self, limit: usize, taken: &mut VecDeque<Waiting>) {
        while taken.len() < limit {
            match self.phase {
                Phase::Away => return,
                Phase::Holding => match self.waiting.pop_front() {
                    Some(next) if next.command.may_pass() => taken.push_back(next),
                    Some(next) => self.held.push_back(next),
                    None => return,
                },
                Phase::Open => match self.held.pop_front().or_else(|| self.waiting.pop_front()) {
                    Some(next) => taken.push_back(next),
                    None => return,
                },
            }
        }
    }

    /// What was taken and not carried out comes first.
    pub(super) fn put_back(&mut self, taken: &mut VecDeque<Waiting>, now: Instant) {
        for mut waiting in taken.drain(..).rev() {
            if waiting.deadline.is_some() || !self.is_open() {
                waiting.stamp(now, self.keep);
                waiting.mark();
            }
            self.held.push_front(waiting);
        }
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// There is no connection any more.
    pub(super) fn leave(&mut self, now: Instant) -> Lost {
        self.phase = Phase::Away;
        let keep = self.keep;
        for waiting in self.held.iter_mut().chain(&mut self.waiting) {
            waiting.stamp(now, keep);
            waiting.mark();
        }
        self.drop_all(now)
    }

    /// There is one again. Only what may pass is given away.
    pub(super) fn hold(&mut self, now: Instant) -> Lost {
        // What had been held stays before all else.
        self.held.append(&mut self.waiting);
        std::mem::swap(&mut self.held, &mut self.waiting);
        self.phase = Phase::Holding;
        self.drop_all(now)
    }

    /// Others hear what is published.
    pub(super) fn open(&mut self, now: Instant) -> Lost {
        self.phase = Phase::Open;
        self.overflown = false;
        self.drop_all(now)
    }

    /// Drops the oldest ones if their time is over, to make room.
    pub(super) fn expire(&mut self, now: Instant) -> Lost {
        let mut lost = Lost::default();
        for queue in [&mut self.held, &mut self.waiting] {
            while queue.front().is_some_and(|first| first.is_over(now))
                && let Some(first) = queue.pop_front()
            {
                self.bytes -= first.command.size();
                lost.count(&first);
            }
        }
        lost
    }

    /// Drops all whose time is over.
    fn drop_all(&mut self, now: Instant) -> Lost {
        let mut lost = Lost::default();
        let bytes = &mut self.bytes;
        for queue in [&mut self.held, &mut self.waiting] {
            queue.retain(|waiting| {
                let over = waiting.is_over(now);
                if over {
                    *bytes -= waiting.command.size();
                    lost.count(waiting);
                }
                !over
            });
        }
        lost
    }
}

impl Lost {
    pub(super) fn count(&mut self, waiting: &Waiting) {
        if !waiting.command.is_message() {
            return;
        }
        match waiting.patience {
            Patience::None => self.volatile += 1,
            _ => self.expired += 1,
        }
    }
}

#[cfg(test)]
mod tests;
