//! The connection for commands. They are carried out in the order they are given, many at a time.
//! While Redis is away, what is published waits; when it is back, until the other servers are there
//! too, or a while has passed.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tracing::warn;

use super::{
    audience::Audience,
    publishing::Task,
    queue::{Command, Kind, Lost, Publication, Queue},
    server::Server,
    state::State,
};
use crate::{
    adapter::bus::{Inbox, Patience, Unsent},
    metrics::{Metrics, meters::Since},
};

/// By which command a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    Ordinary,
    Sharded,
}

impl Publish {
    fn command(self) -> &'static str {
        match self {
            Self::Ordinary => "PUBLISH",
            Self::Sharded => "SPUBLISH",
        }
    }
}

/// What the task works on.
pub(super) struct Shared {
    pub(super) how: Publish,
    /// How long what is given while Redis is away waits.
    pub(super) keep: Duration,
    pub(super) queue: RefCell<Queue>,
    pub(super) changed: Notify,
    pub(super) closed: Cell<bool>,
    pub(super) audience: Audience,
    pub(super) inbox: Inbox,
    /// What was dropped since Redis was away.
    pub(super) lost: Cell<Lost>,
}

impl Shared {
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        self.inbox.metrics()
    }

    fn push(&self, command: Command, patience: Patience) -> Result<(), Unsent> {
        let mut queue = self.queue.borrow_mut();
        if !queue.is_open() {
            self.count(queue.expire(Instant::now()));
        }
        let pushed = queue.push(command, patience, Instant::now);
        if !queue.is_open() {
            self.inbox.waiting(queue.len());
        }
        self.changed.notify_one();
        pushed
    }

    pub(super) fn count(&self, Lost { expired, volatile }: Lost) {
        if expired + volatile == 0 {
            return;
        }
        self.metrics().cluster_messages_expired.add(expired);
        self.metrics().cluster_messages_volatile.add(volatile);
        let before = self.lost.get();
        if expired > 0 && before.expired == 0 {
            warn!("messages to other servers have waited too long for Redis and are dropped");
        }
        self.lost
            .set(Lost { expired: before.expired + expired, volatile: before.volatile + volatile });
    }
}

/// See the module's description. The task ends when all of its clones are dropped.
#[derive(Clone)]
pub(super) struct Publisher(Rc<Owner>);

struct Owner(Rc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.changed.notify_one();
    }
}

impl Publisher {
    /// Starts the task, which keeps what is given while Redis is away for `keep`.
    pub(super) fn start(
        server: Server,
        how: Publish,
        keep: Duration,
        state: State,
        inbox: Inbox,
    ) -> Self {
        let shared = Rc::new(Shared {
            how,
            keep,
            queue: RefCell::new(Queue::new(keep)),
            changed: Notify::new(),
            closed: Cell::new(false),
            audience: Audience::default(),
            inbox,
            lost: Cell::default(),
        });
        actix::spawn(Task::new(Rc::clone(&shared), server, state).run());
        Self(Rc::new(Owner(shared)))
    }

    /// Whom to wait for when Redis was away.
    pub(super) fn audience(&self) -> &Audience {
        &self.0.0.audience
    }

    /// Whether what is given now goes out at once.
    pub(super) fn is_open(&self) -> bool {
        self.0.0.queue.borrow().is_open()
    }

    /// Publishes a message behind all that was given before.
    pub(super) fn publish(
        &self,
        channel: Rc<str>,
        message: &[u8],
        patience: Patience,
    ) -> Result<(), Unsent> {
        let mut command = redis::cmd(self.0.0.how.command());
        command.arg(&*channel).arg(message);
        self.give(Kind::Message, channel, command, message.len(), patience)
    }

    /// Adds an entry to a stream, behind all that was given before, and again if the connection breaks.
    pub(super) fn add(
        &self,
        stream: Rc<str>,
        command: Cmd,
        size: usize,
        patience: Patience,
    ) -> Result<(), Unsent> {
        self.give(Kind::Entry, stream, command, size, patience)
    }

    /// Carries out a command behind all that was given before, unless Redis is away. `size` is that
    /// of what it carries.
    pub(super) fn carry_out(&self, key: Rc<str>, command: Cmd, size: usize) -> Result<(), Unsent> {
        self.give(Kind::Command, key, command, size, Patience::None)
    }

    fn give(
        &self,
        kind: Kind,
        key: Rc<str>,
        command: Cmd,
        size: usize,
        patience: Patience,
    ) -> Result<(), Unsent> {
        let publication = Publication { kind, key, command, size };
        self.0.0.push(Command::Publish(publication, Since::now()), patience)
    }

    /// Carries out a command; what each server says to it (one, or the masters of a cluster), or
    /// `None` if Redis does not answer. Without patience it does not wait for the other servers either.
    pub(super) fn ask(
        &self,
        command: Cmd,
        patience: Patience,
    ) -> impl Future<Output = Option<Vec<Value>>> + use<> {
        let (answer, answers) = oneshot::channel();
        let now = patience == Patience::None;
        let asked = self.0.0.push(Command::Ask { now, command, answer }, patience).is_ok();
        async move { if asked { answers.await.ok() } else { None } }
    }

    /// Carries out a command of one key, while others go on; `None` if there is no answer.
    pub(super) fn inquire(&self, command: Cmd) -> impl Future<Output = Option<Value>> + use<> {
        let (answer, answers) = oneshot::channel();
        let inquiry = Command::Inquire { command, answer };
        let asked = self.0.0.push(inquiry, Patience::None).is_ok();
        async move { if asked { answers.await.ok() } else { None } }
    }

    /// Done when all that was given before has been carried out, or was lost.
    pub(super) fn flush(&self) -> impl Future<Output = ()> + use<> {
        let (done, flushed) = oneshot::channel();
        let sent = self.0.0.push(Command::Flush(done), Patience::Kept).is_ok();
        async move {
            if sent {
                // It is only ever dropped.
                let _ = flushed.await;
            }
        }
    }
}
