//! The connection for commands. They are carried out in the order they are given, many at a time.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, Value,
    aio::MultiplexedConnection,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::{
    Backoff, patient,
    state::{Side, State},
};
use crate::{adapter::bus::Unsent, metrics::Metrics};

/// Commands that may wait, and the bytes of their messages. Beyond it the engine counts as away.
const MAX_WAITING: usize = 16_384;
const MAX_BYTES: usize = 64 << 20;

/// Commands that go in one batch.
const BATCH: usize = 256;

enum Command {
    Publish {
        channel: Rc<str>,
        message: Vec<u8>,
    },
    /// Any command whose answer says nothing more than whether it was carried out.
    Other {
        command: Cmd,
        size: usize,
    },
    /// Any commands, and who waits for their answers.
    Ask {
        pipeline: Pipeline,
        count: usize,
        answer: oneshot::Sender<Vec<Value>>,
    },
    /// Dropped when all before has been carried out.
    Flush(#[allow(dead_code, reason = "its drop is what it is for")] oneshot::Sender<()>),
}

/// See the module's description. The task ends when this is dropped.
pub(super) struct Publisher {
    queue: mpsc::Sender<Command>,
    bytes: Arc<AtomicUsize>,
    state: State,
}

impl Publisher {
    pub(super) fn start(client: Client, state: State, metrics: Arc<Metrics>) -> Self {
        let (queue, commands) = mpsc::channel(MAX_WAITING);
        let bytes = Arc::<AtomicUsize>::default();
        let task =
            Task { client, commands, bytes: Arc::clone(&bytes), state: state.clone(), metrics };
        actix::spawn(task.run());
        Self { queue, bytes, state }
    }

    /// Publishes a message behind all that was given before.
    pub(super) fn publish(&self, channel: Rc<str>, message: Vec<u8>) -> Result<(), Unsent> {
        let size = message.len();
        self.queue(Command::Publish { channel, message }, size)
    }

    /// Carries out a command behind all that was given before. `size` is that of its message.
    pub(super) fn carry_out(&self, command: Cmd, size: usize) -> Result<(), Unsent> {
        self.queue(Command::Other { command, size }, size)
    }

    fn queue(&self, command: Command, size: usize) -> Result<(), Unsent> {
        if !self.state.is_up(Side::Publisher)
            || self.bytes.fetch_add(size, Ordering::Relaxed) + size > MAX_BYTES
        {
            if self.state.is_up(Side::Publisher) {
                self.bytes.fetch_sub(size, Ordering::Relaxed);
            }
            return Err(Unsent::Away);
        }
        self.queue.try_send(command).map_err(|_| {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            Unsent::Away
        })
    }

    /// Carries out `count` commands; `None` if Redis does not answer.
    pub(super) fn ask(
        &self,
        pipeline: Pipeline,
        count: usize,
    ) -> impl Future<Output = Option<Vec<Value>>> + use<> {
        let (answer, answers) = oneshot::channel();
        let asked = self.state.is_up(Side::Publisher)
            && self.queue.try_send(Command::Ask { pipeline, count, answer }).is_ok();
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

/// How to connect so that one is told when the connection breaks: what is given is dropped then.
fn watched() -> (AsyncConnectionConfig, oneshot::Receiver<()>) {
    let (broken, breaks) = oneshot::channel();
    let broken = std::sync::Mutex::new(Some(broken));
    let config = patient().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        }
        Ok::<(), redis::aio::SendError>(())
    });
    (config, breaks)
}

struct Task {
    client: Client,
    commands: mpsc::Receiver<Command>,
    bytes: Arc<AtomicUsize>,
    state: State,
    metrics: Arc<Metrics>,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        while !self.commands.is_closed() {
            let (config, mut breaks) = watched();
            match self.client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.state.up(Side::Publisher);
                    if self.serve(connection, &mut breaks).await {
                        return;
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
            let size = match command {
                Command::Publish { message, .. } => message.len(),
                Command::Other { size, .. } => size,
                Command::Ask { .. } | Command::Flush(_) => continue,
            };
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            self.metrics.cluster_messages_dropped.increment();
        }
    }

    /// Carries out commands as long as the connection lasts; whether there will be no more.
    async fn serve(
        &mut self,
        mut connection: MultiplexedConnection,
        breaks: &mut oneshot::Receiver<()>,
    ) -> bool {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            let taken = tokio::select! {
                taken = self.commands.recv_many(&mut batch, BATCH) => taken,
                // Nothing may be given to a connection that is known to be broken.
                _ = &mut *breaks => return false,
            };
            if taken == 0 {
                return true;
            }
            if let Err(error) = self.carry_out(&mut batch, &mut connection).await {
                warn!(%error, "the connection to Redis broke");
                return false;
            }
        }
    }

    async fn carry_out(
        &self,
        batch: &mut Vec<Command>,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<()> {
        let (mut pipeline, mut published, mut size) = (redis::pipe(), 0, 0);
        for command in batch.drain(..) {
            match command {
                Command::Publish { channel, message } => {
                    size += message.len();
                    published += 1;
                    pipeline.cmd("PUBLISH").arg(&*channel).arg(message);
                }
                Command::Other { command, size: bytes } => {
                    size += bytes;
                    published += 1;
                    pipeline.add_command(command);
                }
                Command::Ask { pipeline: asked, count, answer } => {
                    // Behind what was published before it.
                    self.publish(&mut pipeline, &mut published, &mut size, connection).await?;
                    let values = connection.send_packed_commands(&asked, 0, count).await?;
                    // Whoever asked may have given up.
                    let _ = answer.send(values);
                }
                Command::Flush(done) => {
                    self.publish(&mut pipeline, &mut published, &mut size, connection).await?;
                    drop(done);
                }
            }
        }
        self.publish(&mut pipeline, &mut published, &mut size, connection).await
    }

    async fn publish(
        &self,
        pipeline: &mut Pipeline,
        published: &mut usize,
        size: &mut usize,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<()> {
        let (count, bytes) = (std::mem::take(published), std::mem::take(size));
        if count == 0 {
            return Ok(());
        }
        let sent = connection.send_packed_commands(pipeline, 0, count).await;
        *pipeline = redis::pipe();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        match sent {
            Ok(answers) => {
                let refused = answers.iter().filter(|a| matches!(a, Value::ServerError(_))).count();
                if refused > 0 {
                    warn!(refused, "Redis refused to publish");
                    self.metrics.cluster_messages_dropped.add(refused as u64);
                }
                Ok(())
            }
            Err(error) => {
                // Perhaps some have been sent; nobody knows.
                self.metrics.cluster_messages_dropped.add(count as u64);
                Err(error)
            }
        }
    }
}
