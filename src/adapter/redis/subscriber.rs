//! The connection for subscriptions. What is wanted is told once; the task sees to it that Redis
//! knows it, again after each new connection, and that it has said so.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value, aio::SendError};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Duration,
};
use tracing::{debug, warn};

use super::{
    Backoff, Reason,
    server::{Connection, Server},
    state::{Side, State},
    wants::{Step, Subscription, Turn, Wants},
};
use crate::metrics::Metrics;

/// Bytes of messages that may wait to be read. Redis itself gives up a reader that is so slow.
const MAX_BYTES: usize = 64 << 20;

/// Changes that are sent at once.
const CHUNK: usize = 256;

/// From so many on, those who have given up waiting are looked for.
const MANY_WAITING: usize = 1024;

/// How often a quiet connection is tried.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A message as it came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) channel: String,
    /// Whether it came by a pattern.
    pub(super) pattern: Option<String>,
    pub(super) message: Bytes,
    pub(super) size: usize,
}

/// See the module's description. Cheap to clone; the task ends with [`Subscriber::close`].
#[derive(Clone)]
pub(super) struct Subscriber(Rc<Inner>);

struct Inner {
    wants: RefCell<Wants>,
    changed: Notify,
    closed: Cell<bool>,
    /// Told when everything up to a turn is in effect.
    waiting: RefCell<VecDeque<(Turn, oneshot::Sender<()>)>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Subscriber {
    /// Starts the task, and gives what it hears.
    pub(super) fn start(
        server: Server,
        state: State,
        metrics: Arc<Metrics>,
    ) -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let inner = Inner {
            wants: RefCell::default(),
            changed: Notify::new(),
            closed: Cell::new(false),
            waiting: RefCell::default(),
            waiting_bytes: Arc::default(),
        };
        let (heard, messages) = mpsc::unbounded_channel();
        let subscriber = Self(Rc::new(inner));
        let task = Task { subscriber: subscriber.clone(), server, state, metrics, heard };
        actix::spawn(task.run());
        (subscriber, messages)
    }

    /// Wants something, or no more.
    pub(super) fn want(&self, subscription: &Subscription, wanted: bool) {
        self.0.wants.borrow_mut().set(subscription, wanted);
        self.0.changed.notify_one();
    }

    /// Done when all that is wanted now is in effect; `None` if it is.
    pub(super) fn settled(&self) -> Option<oneshot::Receiver<()>> {
        let wants = self.0.wants.borrow();
        let turn = wants.turn();
        if wants.is_in_effect(turn) {
            return None;
        }
        let (sender, settled) = oneshot::channel();
        let mut waiting = self.0.waiting.borrow_mut();
        // While Redis is away nobody is told, and those who waited give up.
        if waiting.len() >= MANY_WAITING && waiting.len().is_power_of_two() {
            waiting.retain(|(_, waiting)| !waiting.is_closed());
        }
        waiting.push_back((turn, sender));
        Some(settled)
    }

    /// A message has been handled.
    pub(super) fn handled(&self, heard: &Heard) {
        self.0.waiting_bytes.fetch_sub(heard.size, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.0.closed.set(true);
        self.0.changed.notify_one();
    }

    fn tell_waiting(&self) {
        let wants = self.0.wants.borrow();
        let mut waiting = self.0.waiting.borrow_mut();
        while waiting.front().is_some_and(|(turn, _)| wants.is_in_effect(*turn))
            && let Some((_, waiting)) = waiting.pop_front()
        {
            // Whoever waited may have given up.
            let _ = waiting.send(());
        }
    }
}

/// What may end on one connection.
#[derive(Default)]
struct Ended {
    /// Subscriptions that Redis was told to end. If it ends another one, its channel has moved to
    /// another server.
    unsubscribing: AtomicI64,
    /// Everything.
    all: AtomicBool,
}

struct Task {
    subscriber: Subscriber,
    server: Server,
    state: State,
    metrics: Arc<Metrics>,
    heard: mpsc::UnboundedSender<Heard>,
}

impl Task {
    fn inner(&self) -> &Inner {
        &self.subscriber.0
    }

    async fn run(self) {
        let (mut backoff, mut reason) = (Backoff::new(), Reason::default());
        while !self.inner().closed.get() {
            let (broken, mut breaks) = oneshot::channel();
            let ended = Arc::<Ended>::default();
            match self.server.connect(self.ears(broken, Arc::clone(&ended))).await {
                Ok(connection) => {
                    reason = Reason::default();
                    self.inner().wants.borrow_mut().connect();
                    match self.serve(connection, &mut breaks, &ended, &mut backoff).await {
                        Ok(()) => debug!("the subscriptions to Redis ended"),
                        Err(error) => warn!(%error, "the subscriptions to Redis broke"),
                    }
                    ended.all.store(true, Ordering::Release);
                    self.inner().wants.borrow_mut().disconnect();
                }
                // The other connections would say the same.
                Err(error) => reason.tell(&error),
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
        ended: Arc<Ended>,
    ) -> impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static {
        let (heard, metrics) = (self.heard.clone(), Arc::clone(&self.metrics));
        let waiting = Arc::clone(&self.inner().waiting_bytes);
        let broken = std::sync::Mutex::new(Some(broken));
        move |push| {
            let moved = push.kind == PushKind::SUnsubscribe
                && ended.unsubscribing.fetch_sub(1, Ordering::AcqRel) <= 0;
            if moved || push.kind == PushKind::Disconnection {
                // Dropped, it says so.
                broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                return Ok(());
            }
            // What its successor hears too would come twice.
            if ended.all.load(Ordering::Acquire) {
                return Ok(());
            }
            let Some(message) = heard_of(push) else { return Ok(()) };
            if waiting.fetch_add(message.size, Ordering::Relaxed) > MAX_BYTES {
                waiting.fetch_sub(message.size, Ordering::Relaxed);
                metrics.cluster_messages_overrun.increment();
                return Ok(());
            }
            heard.send(message).map_err(|_| SendError)
        }
    }

    /// Keeps the subscriptions as they are wanted, as long as the connection lasts.
    async fn serve(
        &self,
        mut connection: Connection,
        breaks: &mut oneshot::Receiver<()>,
        ended: &Ended,
        backoff: &mut Backoff,
    ) -> redis::RedisResult<()> {
        let mut missing = connection.ping().await?;
        let mut restored = false;
        loop {
            loop {
                let steps = self.inner().wants.borrow_mut().next(CHUNK);
                if !restored && self.inner().wants.borrow().is_restored() {
                    restored = true;
                    *backoff = Backoff::new();
                    self.state.up(Side::Subscriber);
                }
                // What has been passed over may be what somebody waits for.
                self.subscriber.tell_waiting();
                if steps.is_empty() {
                    break;
                }
                let is_end =
                    |step: &&Step| !step.add && matches!(step.subscription, Subscription::Shard(_));
                let ends = steps.iter().filter(is_end).count();
                let ends = i64::try_from(ends).unwrap_or(i64::MAX);
                ended.unsubscribing.fetch_add(ends, Ordering::AcqRel);
                tokio::select! {
                    _ = &mut *breaks => return Ok(()),
                    told = connection.tell(&steps) => told?,
                }
                if missing > 0 {
                    // To a master that is missing each of several subscriptions makes a connection of its
                    // own. If it comes back meanwhile, all but one of these are given up, with what was
                    // subscribed to on them.
                    let still = connection.ping().await?;
                    if still < missing {
                        return Ok(());
                    }
                }
                self.inner().wants.borrow_mut().told(&steps);
            }
            let changed = self.inner().changed.notified();
            tokio::select! {
                _ = &mut *breaks => return Ok(()),
                () = changed => {}
                () = tokio::time::sleep(PING_INTERVAL) => {
                    missing = connection.ping().await?;
                }
            }
            if self.inner().closed.get() {
                return Ok(());
            }
        }
    }
}

/// A message that was pushed.
fn heard_of(push: PushInfo) -> Option<Heard> {
    let by_pattern = match push.kind {
        PushKind::PMessage => true,
        PushKind::Message | PushKind::SMessage => false,
        _ => return None,
    };
    let mut parts = push.data.into_iter().map(bytes_of);
    let pattern = if by_pattern { Some(text(parts.next()??)?) } else { None };
    let channel = text(parts.next()??)?;
    let message = parts.next()??;
    let size = channel.len() + message.len() + size_of::<Heard>();
    Some(Heard { channel, pattern, message: message.into(), size })
}

pub(super) fn bytes_of(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}
