//! The connection for commands. They are carried out in the order they are given, many at a time.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use redis::{Cmd, ErrorKind, PushInfo, PushKind, Value, aio::SendError};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, warn};

use super::{
    Backoff, LONGEST_PAUSE,
    server::{Connection, Server},
    state::{Side, State},
};
use crate::{
    adapter::bus::Unsent,
    metrics::{Metrics, meters::Since},
};

/// Commands that may wait, and the bytes of their messages. Beyond it the engine counts as away.
const MAX_WAITING: usize = 16_384;
const MAX_BYTES: usize = 64 << 20;

/// Commands that go in one batch.
const BATCH: usize = 256;

/// By which command a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    Ordinary,
    Sharded,
}

impl Publish {
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Ordinary => "PUBLISH",
            Self::Sharded => "SPUBLISH",
        }
    }
}

/// Something to send.
pub(super) enum Publication {
    /// A message for a channel.
    Message { channel: Rc<str>, message: Vec<u8> },
    /// A command of one key whose answer says nothing more than whether it was carried out.
    Command { key: Rc<str>, command: Cmd, size: usize },
}

impl Publication {
    /// Of what it carries.
    fn size(&self) -> usize {
        match self {
            Self::Message { message, .. } => message.len(),
            Self::Command { size, .. } => *size,
        }
    }
}

enum Command {
    Publish(Publication, Since),
    /// Any command, and who waits for what each server answers.
    Ask {
        command: Cmd,
        answer: oneshot::Sender<Vec<Value>>,
    },
    /// Dropped when all before has been carried out.
    Flush(#[allow(dead_code, reason = "its drop is what it is for")] oneshot::Sender<()>),
}

/// See the module's description. The task ends when all of its clones are dropped.
#[derive(Clone)]
pub(super) struct Publisher {
    queue: mpsc::Sender<Command>,
    bytes: Arc<AtomicUsize>,
    state: State,
}

impl Publisher {
    pub(super) fn start(server: Server, how: Publish, state: State, metrics: Arc<Metrics>) -> Self {
        let (queue, commands) = mpsc::channel(MAX_WAITING);
        let bytes = Arc::<AtomicUsize>::default();
        let (counted, told) = (Arc::clone(&bytes), state.clone());
        let task = Task { server, how, commands, bytes: counted, state: told, metrics };
        actix::spawn(task.run());
        Self { queue, bytes, state }
    }

    /// Publishes a message behind all that was given before.
    pub(super) fn publish(&self, channel: Rc<str>, message: Vec<u8>) -> Result<(), Unsent> {
        self.queue(Publication::Message { channel, message })
    }

    /// Carries out a command behind all that was given before. `size` is that of what it carries.
    pub(super) fn carry_out(&self, key: Rc<str>, command: Cmd, size: usize) -> Result<(), Unsent> {
        self.queue(Publication::Command { key, command, size })
    }

    fn queue(&self, publication: Publication) -> Result<(), Unsent> {
        let size = publication.size();
        if !self.state.is_up(Side::Publisher)
            || self.bytes.fetch_add(size, Ordering::Relaxed) + size > MAX_BYTES
        {
            if self.state.is_up(Side::Publisher) {
                self.bytes.fetch_sub(size, Ordering::Relaxed);
            }
            return Err(Unsent::Away);
        }
        self.queue.try_send(Command::Publish(publication, Since::now())).map_err(|_| {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            Unsent::Away
        })
    }

    /// Carries out a command; what each server says to it (one, or the masters of a cluster), or
    /// `None` if Redis does not answer.
    pub(super) fn ask(&self, command: Cmd) -> impl Future<Output = Option<Vec<Value>>> + use<> {
        let (answer, answers) = oneshot::channel();
        let asked = self.state.is_up(Side::Publisher)
            && self.queue.try_send(Command::Ask { command, answer }).is_ok();
        async move { if asked { answers.await.ok() } else { None } }
    }

    /// Done when all that was given before has been carried out, or was lost.
    pub(super) fn flush(&self) -> impl Future<Output = ()> + use<> {
        let (done, flushed) = oneshot::channel();
        let sent = self.queue.try_send(Command::Flush(done)).is_ok();
        async move {
            if sent {
                // It is only ever dropped.
                let _ = flushed.await;
            }
        }
    }
}

/// What is given is dropped when a connection breaks.
fn watch(broken: oneshot::Sender<()>) -> impl Fn(PushInfo) -> Result<(), SendError> {
    let broken = std::sync::Mutex::new(Some(broken));
    move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        }
        Ok(())
    }
}

/// Why a connection is not used any more.
enum End {
    /// There will be no more commands.
    Closed,
    Broken,
    /// It does not reach all servers of a cluster.
    Partial,
}

/// Which servers of a cluster have been asked, of those that had to be.
enum Reached {
    All,
    Some,
}

struct Task {
    server: Server,
    how: Publish,
    commands: mpsc::Receiver<Command>,
    bytes: Arc<AtomicUsize>,
    state: State,
    metrics: Arc<Metrics>,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        while !self.commands.is_closed() {
            let (broken, mut breaks) = oneshot::channel();
            match self.server.connect(watch(broken)).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.state.up(Side::Publisher);
                    match self.serve(connection, &mut breaks).await {
                        End::Closed => return,
                        // Nothing is lost: what waits goes over the next one.
                        End::Partial => continue,
                        End::Broken => {}
                    }
                }
                Err(error) => debug!(%error, "no connection to Redis"),
            }
            self.state.down(Side::Publisher);
            self.drop_waiting();
            backoff.pause().await;
        }
    }

    /// What waited has not been sent, and is too old now.
    fn drop_waiting(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Publish(publication, _) = command {
                self.bytes.fetch_sub(publication.size(), Ordering::Relaxed);
                self.metrics.cluster_messages_dropped.increment();
            }
        }
    }

    /// Carries out commands as long as the connection lasts.
    async fn serve(
        &mut self,
        mut connection: Connection,
        breaks: &mut oneshot::Receiver<()>,
    ) -> End {
        let mut batch = Vec::with_capacity(BATCH);
        let begin = Instant::now();
        loop {
            batch.clear();
            let taken = tokio::select! {
                taken = self.commands.recv_many(&mut batch, BATCH) => taken,
                // Nothing may be given to a connection that is known to be broken.
                _ = &mut *breaks => return End::Broken,
            };
            if taken == 0 {
                return End::Closed;
            }
            match self.carry_out(&mut batch, &mut connection).await {
                Ok(Reached::All) => {}
                // The missing one is found by a new connection only, unless it is away.
                Ok(Reached::Some) if begin.elapsed() < LONGEST_PAUSE => {}
                Ok(Reached::Some) => return End::Partial,
                Err(error) => {
                    warn!(%error, "the connection to Redis broke");
                    return End::Broken;
                }
            }
        }
    }

    async fn carry_out(
        &self,
        batch: &mut Vec<Command>,
        connection: &mut Connection,
    ) -> redis::RedisResult<Reached> {
        let mut publications = Vec::new();
        let mut reached = Reached::All;
        for command in batch.drain(..) {
            match command {
                Command::Publish(publication, since) => publications.push((publication, since)),
                Command::Ask { command, answer } => {
                    // Behind what was published before it.
                    self.publish(&mut publications, connection).await?;
                    match connection.ask(command).await {
                        // Whoever asked may have given up.
                        Ok(values) => drop(answer.send(values)),
                        Err(error) if error.is_io_error() || error.is_timeout() => {
                            return Err(error);
                        }
                        Err(error) => {
                            // A user may not be allowed to ask.
                            warn!(%error, "Redis does not say who is there");
                            if error.kind() == ErrorKind::ClusterConnectionNotFound {
                                reached = Reached::Some;
                            }
                        }
                    }
                }
                Command::Flush(done) => {
                    self.publish(&mut publications, connection).await?;
                    drop(done);
                }
            }
        }
        self.publish(&mut publications, connection).await?;
        Ok(reached)
    }

    async fn publish(
        &self,
        publications: &mut Vec<(Publication, Since)>,
        connection: &mut Connection,
    ) -> redis::RedisResult<()> {
        let publications = std::mem::take(publications);
        if publications.is_empty() {
            return Ok(());
        }
        let count = publications.len() as u64;
        let bytes = publications.iter().map(|(publication, _)| publication.size()).sum();
        let given: Vec<Since> = publications.iter().map(|(_, since)| *since).collect();
        let publications = publications.into_iter().map(|(publication, _)| publication).collect();
        let refused = connection.publish(self.how, publications).await;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        given.into_iter().for_each(|since| self.metrics.meters.published(since));
        match refused {
            Ok(0) => Ok(()),
            Ok(refused) => {
                warn!(refused, "Redis refused to publish");
                self.metrics.cluster_messages_dropped.add(refused as u64);
                Ok(())
            }
            Err(error) => {
                // Perhaps some have been sent; nobody knows.
                self.metrics.cluster_messages_dropped.add(count);
                Err(error)
            }
        }
    }
}
