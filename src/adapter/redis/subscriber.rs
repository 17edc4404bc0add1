//! The connection for subscriptions. What is wanted is told once; the task sees to it that Redis
//! knows it, again after each new connection, and that it has said so.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use hashbrown::HashSet;
use indexmap::IndexSet;
use redis::{Client, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Duration, timeout},
};
use tracing::{debug, warn};

use super::{
    Backoff, PATIENCE, patient,
    state::{Side, State},
};
use crate::metrics::Metrics;

/// Bytes of messages that may wait to be read. Redis itself gives up a reader that is so slow.
const MAX_BYTES: usize = 64 << 20;

/// Channels in one command.
const CHUNK: usize = 256;

/// How often a quiet connection is tried.
const PING_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subscription {
    Pattern(Rc<str>),
    Channel(Rc<str>),
}

impl Subscription {
    pub(super) fn name(&self) -> &Rc<str> {
        match self {
            Self::Pattern(name) | Self::Channel(name) => name,
        }
    }
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) channel: String,
    /// Whether it came by a pattern.
    pub(super) pattern: Option<String>,
    pub(super) message: Bytes,
    size: usize,
}

/// See the module's description. Cheap to clone; the task ends with [`Subscriber::close`].
#[derive(Clone)]
pub(super) struct Subscriber(Rc<Inner>);

struct Inner {
    wanted: RefCell<IndexSet<Subscription>>,
    /// What Redis has said that it knows.
    known: RefCell<HashSet<Subscription>>,
    changed: Notify,
    closed: Cell<bool>,
    /// Told when everything that is wanted is known.
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Subscriber {
    /// Starts the task, and gives what it hears.
    pub(super) fn start(
        client: Client,
        state: State,
        metrics: Arc<Metrics>,
    ) -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let inner = Inner {
            wanted: RefCell::default(),
            known: RefCell::default(),
            changed: Notify::new(),
            closed: Cell::new(false),
            waiting: RefCell::default(),
            waiting_bytes: Arc::default(),
        };
        let (heard, messages) = mpsc::unbounded_channel();
        let subscriber = Self(Rc::new(inner));
        let task = Task { subscriber: subscriber.clone(), client, state, metrics, heard };
        actix::spawn(task.run());
        (subscriber, messages)
    }

    /// Wants these too. Done when all that is wanted now is in effect.
    pub(super) fn want(
        &self,
        more: impl IntoIterator<Item = Subscription>,
    ) -> oneshot::Receiver<()> {
        self.0.wanted.borrow_mut().extend(more);
        let (sender, settled) = oneshot::channel();
        self.0.waiting.borrow_mut().push(sender);
        self.0.changed.notify_one();
        settled
    }

    /// Wants these no more.
    pub(super) fn unwant(&self, less: impl IntoIterator<Item = Subscription>) {
        let mut wanted = self.0.wanted.borrow_mut();
        for subscription in less {
            wanted.shift_remove(&subscription);
        }
        self.0.changed.notify_one();
    }

    /// A message has been handled.
    pub(super) fn handled(&self, heard: &Heard) {
        self.0.waiting_bytes.fetch_sub(heard.size, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.0.closed.set(true);
        self.0.changed.notify_one();
    }

    /// Up to [`CHUNK`] of what Redis has to be told: whether to subscribe, whether patterns, which.
    fn next_step(&self) -> Option<(bool, bool, Vec<Subscription>)> {
        let (wanted, known) = (self.0.wanted.borrow(), self.0.known.borrow());
        let is_pattern = |s: &Subscription| matches!(s, Subscription::Pattern(_));
        let alike = |all: &mut dyn Iterator<Item = &Subscription>| {
            let mut all = all.peekable();
            let patterns = is_pattern(all.peek()?);
            let alike = all.filter(|other| is_pattern(other) == patterns);
            Some((patterns, alike.take(CHUNK).cloned().collect()))
        };
        let missing = alike(&mut wanted.iter().filter(|s| !known.contains(*s)));
        if let Some((patterns, chunk)) = missing {
            return Some((true, patterns, chunk));
        }
        let surplus = alike(&mut known.iter().filter(|s| !wanted.contains(*s)));
        surplus.map(|(patterns, chunk)| (false, patterns, chunk))
    }
}

struct Task {
    subscriber: Subscriber,
    client: Client,
    state: State,
    metrics: Arc<Metrics>,
    heard: mpsc::UnboundedSender<Heard>,
}

impl Task {
    fn inner(&self) -> &Inner {
        &self.subscriber.0
    }

    async fn run(self) {
        let mut backoff = Backoff::new();
        while !self.inner().closed.get() {
            let (broken, mut breaks) = oneshot::channel();
            let config = patient().set_push_sender(self.ears(broken));
            match self.client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.inner().known.borrow_mut().clear();
                    if let Err(error) = self.serve(connection, &mut breaks).await {
                        warn!(%error, "the subscriptions to Redis broke");
                    }
                }
                Err(error) => debug!(%error, "no connection to Redis"),
            }
            if self.inner().closed.get() {
                return;
            }
            self.state.down(Side::Subscriber);
            backoff.pause().await;
        }
    }

    /// What is called with all that comes on a connection, on whatever thread.
    fn ears(
        &self,
        broken: oneshot::Sender<()>,
    ) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static {
        let (heard, metrics) = (self.heard.clone(), Arc::clone(&self.metrics));
        let waiting = Arc::clone(&self.inner().waiting_bytes);
        let broken = std::sync::Mutex::new(Some(broken));
        move |push| {
            if push.kind == PushKind::Disconnection {
                // Dropped, it says so.
                broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                return Ok(());
            }
            let Some(message) = heard_of(push) else { return Ok(()) };
            if waiting.fetch_add(message.size, Ordering::Relaxed) > MAX_BYTES {
                waiting.fetch_sub(message.size, Ordering::Relaxed);
                metrics.cluster_messages_overrun.increment();
                return Ok(());
            }
            heard.send(message).map_err(|_| redis::aio::SendError)
        }
    }

    /// Keeps the subscriptions as they are wanted, as long as the connection lasts.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        breaks: &mut oneshot::Receiver<()>,
    ) -> redis::RedisResult<()> {
        loop {
            while let Some((add, patterns, chunk)) = self.subscriber.next_step() {
                tell(&mut connection, add, patterns, &chunk).await?;
                let mut known = self.inner().known.borrow_mut();
                for subscription in chunk {
                    if add {
                        known.insert(subscription);
                    } else {
                        known.remove(&subscription);
                    }
                }
            }
            self.state.up(Side::Subscriber);
            for waiting in self.inner().waiting.borrow_mut().drain(..) {
                // Whoever waited may have given up.
                let _ = waiting.send(());
            }
            let changed = self.inner().changed.notified();
            tokio::select! {
                _ = &mut *breaks => return Ok(()),
                () = changed => {}
                () = tokio::time::sleep(PING_INTERVAL) => {
                    let ping = redis::cmd("PING");
                    match timeout(PATIENCE, connection.send_packed_command(&ping)).await {
                        Ok(answer) => { answer?; }
                        Err(_) => return Ok(()),
                    }
                }
            }
            if self.inner().closed.get() {
                return Ok(());
            }
        }
    }
}

async fn tell(
    connection: &mut MultiplexedConnection,
    add: bool,
    patterns: bool,
    chunk: &[Subscription],
) -> redis::RedisResult<()> {
    let names: Vec<&str> = chunk.iter().map(|subscription| &**subscription.name()).collect();
    match (add, patterns) {
        (true, true) => connection.psubscribe(names).await,
        (true, false) => connection.subscribe(names).await,
        (false, true) => connection.punsubscribe(names).await,
        (false, false) => connection.unsubscribe(names).await,
    }
}

/// A message that was pushed.
fn heard_of(push: PushInfo) -> Option<Heard> {
    let by_pattern = match push.kind {
        PushKind::PMessage => true,
        PushKind::Message => false,
        _ => return None,
    };
    let mut parts = push.data.into_iter().map(bytes_of);
    let pattern = if by_pattern { Some(text(parts.next()??)?) } else { None };
    let channel = text(parts.next()??)?;
    let message = parts.next()??;
    let size = channel.len() + message.len() + size_of::<Heard>();
    Some(Heard { channel, pattern, message: message.into(), size })
}

fn bytes_of(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}
