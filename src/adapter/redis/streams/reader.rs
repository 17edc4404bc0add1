//! Reads one stream, entry by entry, over a connection of its own: it waits for the next ones there.
//! What came while the connection was away is read afterwards, as far as the stream still has it.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use redis::{RedisError, RedisResult};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{debug, warn};

use super::entry::{self, Entry};
use crate::{
    adapter::{
        recovery::Offset,
        redis::{
            Backoff, PATIENCE,
            server::{Connection, Server},
            state::{Side, State},
        },
    },
    metrics::Metrics,
};

/// How a stream is read.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) stream: Rc<str>,
    /// Which of the node's readers it is.
    pub(super) number: usize,
    /// Entries in one answer.
    pub(super) count: usize,
    /// How long Redis waits for the next one before it answers that there is none.
    pub(super) block: Duration,
}

/// See the module's description. It ends when this is dropped.
pub(super) struct Reader {
    ready: watch::Receiver<Option<Offset>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Starts to read. Entries are handed on one by one: what nobody takes is not read.
    pub(super) fn start(
        server: Server,
        way: Way,
        state: State,
        metrics: Arc<Metrics>,
        entries: mpsc::Sender<Entry>,
    ) -> Self {
        let (told, ready) = watch::channel(None);
        let position = Cell::new(None);
        let task = Task { server, way, state, metrics, entries, told, position };
        Self { ready, task: actix::spawn(Rc::new(task).run()) }
    }

    /// Done when everything that is added from now on will be read: the entry behind which it was
    /// begun; `None` if that never happens.
    pub(super) fn ready(&self) -> impl Future<Output = Option<Offset>> + use<> {
        let mut ready = self.ready.clone();
        async move { *ready.wait_for(Option::is_some).await.ok()? }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_no_such_key(error: &RedisError) -> bool {
    error.detail().is_some_and(|details| details.contains("no such key"))
}

struct Task {
    server: Server,
    way: Way,
    state: State,
    metrics: Arc<Metrics>,
    entries: mpsc::Sender<Entry>,
    told: watch::Sender<Option<Offset>>,
    /// The last entry that was read, or was there when reading began.
    position: Cell<Option<Offset>>,
}

impl Task {
    async fn run(self: Rc<Self>) {
        let side = Side::Reader(self.way.number);
        let mut backoff = Backoff::new();
        // It answers late when there is nothing to say.
        let patience = self.way.block.saturating_add(PATIENCE);
        while !self.entries.is_closed() {
            match self.server.connect_patiently(patience, |_| Ok(())).await {
                Ok(mut connection) => {
                    let error = match self.begin(&mut connection).await {
                        Ok(()) => {
                            backoff = Backoff::new();
                            self.state.up(side);
                            self.read(connection).await
                        }
                        Err(error) => Err(error),
                    };
                    if let Err(error) = error {
                        warn!(stream = &*self.way.stream, %error, "reading from Redis broke");
                    }
                }
                Err(error) => debug!(%error, "no connection to Redis"),
            }
            self.state.down(side);
            backoff.pause().await;
        }
    }

    /// Finds the place to go on from.
    async fn begin(&self, connection: &mut Connection) -> RedisResult<()> {
        let stream = &*self.way.stream;
        let mut info = redis::cmd("XINFO");
        info.arg("STREAM").arg(stream);
        let last = match connection.carry_out(info, false).await {
            Ok(answer) => entry::last_of_info(answer).unwrap_or_default(),
            // Without a stream there is nothing before what comes.
            Err(error) if is_no_such_key(&error) => Offset::default(),
            Err(error) => return Err(error),
        };
        match self.position.get() {
            None => {
                self.position.set(Some(last));
                self.told.send_replace(Some(last));
            }
            // Redis has forgotten the stream: all that is there is new, whatever its clock says.
            Some(position) if last < position => {
                self.position.set(Some(Offset::default()));
            }
            Some(position) if position < last && position != Offset::default() => {
                self.check(connection, position).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// If the last entry that was read is not there any more, those behind it may be gone too.
    async fn check(&self, connection: &mut Connection, position: Offset) -> RedisResult<()> {
        let id = position.to_string();
        let mut range = redis::cmd("XRANGE");
        range.arg(&*self.way.stream).arg(&id).arg(&id);
        let found = entry::of_range(connection.carry_out(range, false).await?);
        if found.is_empty() {
            let stream = &*self.way.stream;
            warn!(stream, after = id, "entries may have been trimmed before they were read");
            self.metrics.cluster_messages_overrun.increment();
        }
        Ok(())
    }

    async fn read(&self, mut connection: Connection) -> RedisResult<()> {
        let Way { stream, count, block, .. } = &self.way;
        let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        while !self.entries.is_closed() {
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(*count).arg("BLOCK").arg(block);
            let position = self.position.get().unwrap_or_default();
            command.arg("STREAMS").arg(&**stream).arg(position.to_string());
            let answer = connection.carry_out(command, false).await?;
            for entry in entry::of_read(answer) {
                self.position.set(Some(entry.id));
                if self.entries.send(entry).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
