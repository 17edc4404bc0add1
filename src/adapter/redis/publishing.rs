//! The task that carries out what a [`Publisher`](super::publisher::Publisher) is given.

use std::{collections::VecDeque, pin::pin, rc::Rc, sync::Arc, time::Duration};

use redis::{ErrorKind, PushInfo, PushKind, RedisResult, ServerErrorKind, Value, aio::SendError};
use tokio::{sync::oneshot, time::Instant};
use tracing::{debug, info, warn};

use super::{
    Backoff, LONGEST_PAUSE, PATIENCE,
    publisher::Shared,
    queue::{Command, Kind, Lost, Publication, Waiting},
    server::{Connection, Server},
    state::{Side, State},
    unanswered::{self, Last},
};
use crate::{adapter::bus::Patience, metrics::meters::Since};

/// Commands that go in one batch.
const BATCH: usize = 256;

/// How long after Redis was away what waits is kept back at most. The other servers try again every 2 s
/// or so, as the official clients do.
const SETTLING: Duration = PATIENCE;

/// How often it is looked whether they are there, and, later and then more and more seldom, how many
/// are.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

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

/// See the module's description.
pub(super) struct Task {
    shared: Rc<Shared>,
    server: Server,
    state: State,
    /// Whether there has ever been no connection since the start.
    was_away: bool,
    /// Whether the subscriptions were in effect when it was looked last.
    hears: bool,
    last: Last,
    /// Entries that were on their way when the connection broke, and what has to be sent again.
    unanswered: VecDeque<Waiting>,
}

impl Task {
    pub(super) fn new(shared: Rc<Shared>, server: Server, state: State) -> Self {
        let (last, unanswered) = (Last::default(), VecDeque::new());
        Self { shared, server, state, was_away: false, hears: false, last, unanswered }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        while !self.shared.closed.get() {
            let (broken, mut breaks) = oneshot::channel();
            match self.connect(broken).await {
                Ok(connection) => {
                    let begin = Instant::now();
                    match self.serve(connection, &mut breaks).await {
                        End::Closed => return,
                        // Nothing is lost: what waits goes over the next one.
                        End::Partial => continue,
                        // One that refuses everything is not asked again at once.
                        End::Broken if begin.elapsed() < LONGEST_PAUSE => {}
                        End::Broken => backoff = Backoff::new(),
                    }
                }
                Err(error) => debug!(%error, "no connection to Redis"),
            }
            self.leave();
            backoff.pause().await;
        }
        let left = self.shared.queue.borrow().messages() + self.unanswered.len();
        if left > 0 {
            self.shared.metrics().cluster_messages_dropped.add(left as u64);
            warn!(messages = left, "the server ended before Redis was back; they are not sent");
        }
    }

    /// Connects, and finds out what has become of what was on its way.
    async fn connect(&mut self, broken: oneshot::Sender<()>) -> RedisResult<Connection> {
        let mut connection = self.server.connect(watch(broken)).await?;
        if let Connection::Single(_) = &connection {
            // While it reads its data it answers to this as to entries: that they have to wait.
            connection.carry_out(redis::cmd("PING"), false).await?;
        }
        if !self.unanswered.is_empty() {
            let Self { last, unanswered, .. } = self;
            match unanswered::leave_missing(&mut connection, last, unanswered).await {
                Ok(()) => {}
                Err(error) if is_broken(&error) => return Err(error),
                // It is not allowed to look.
                Err(error) => warn!(%error, "entries may come twice"),
            }
            self.shared.queue.borrow_mut().put_back(&mut self.unanswered, Instant::now());
        }
        Ok(connection)
    }

    fn leave(&mut self) {
        self.was_away = true;
        self.state.down(Side::Publisher);
        let mut queue = self.shared.queue.borrow_mut();
        self.shared.count(queue.leave(Instant::now()));
        self.shared.inbox.waiting(queue.len() + self.unanswered.len());
    }

    /// Whether this server has just lost its subscriptions.
    fn is_deaf(&mut self) -> bool {
        let before = std::mem::replace(&mut self.hears, self.state.is_up(Side::Subscriber));
        before && !self.hears && self.shared.queue.borrow().is_open()
    }

    /// Others may have lost theirs in the same moment: what comes now would be lost for them.
    fn hold(&mut self) {
        self.leave();
        self.shared.count(self.shared.queue.borrow_mut().hold(Instant::now()));
    }

    fn open(&mut self) {
        let mut queue = self.shared.queue.borrow_mut();
        self.shared.count(queue.open(Instant::now()));
        if queue.len() > 0 && self.was_away {
            info!(messages = queue.len(), "what waited for Redis is sent");
        }
        let Lost { expired, volatile } = self.shared.lost.take();
        if expired + volatile > 0 {
            warn!(expired, volatile, "messages were dropped while Redis was away");
        }
        self.shared.inbox.waiting(0);
        drop(queue);
        self.state.up(Side::Publisher);
    }

    /// Carries out commands as long as the connection lasts.
    async fn serve(
        &mut self,
        mut connection: Connection,
        breaks: &mut oneshot::Receiver<()>,
    ) -> End {
        let shared = Rc::clone(&self.shared);
        let begin = Instant::now();
        let (mut held, mut pause) = (begin, LOOK_INTERVAL);
        let mut look = pin!(tokio::time::sleep(Duration::ZERO));
        if !shared.queue.borrow().is_open() {
            shared.count(shared.queue.borrow_mut().hold(begin));
            if !self.was_away {
                self.open();
            }
        }
        let mut batch = VecDeque::with_capacity(BATCH);
        loop {
            if self.is_deaf() {
                self.hold();
                held = Instant::now();
                look.as_mut().reset(held);
            }
            shared.queue.borrow_mut().take(BATCH, &mut batch);
            if batch.is_empty() && shared.closed.get() {
                if shared.queue.borrow().is_open() {
                    return End::Closed;
                }
                self.open();
                continue;
            }
            let served = tokio::select! {
                biased;
                // Nothing may be given to a connection that is known to be broken.
                _ = &mut *breaks => {
                    shared.queue.borrow_mut().put_back(&mut batch, Instant::now());
                    return End::Broken;
                }
                () = &mut look => {
                    let looked = self.look(&mut connection, held).await;
                    pause = match shared.queue.borrow().is_open() {
                        true => (pause * 2).min(COUNT_INTERVAL),
                        false => LOOK_INTERVAL,
                    };
                    look.as_mut().reset(Instant::now() + pause);
                    looked
                }
                () = std::future::ready(()), if !batch.is_empty() => {
                    self.carry_out(&mut batch, &mut connection).await
                }
                () = shared.changed.notified() => continue,
            };
            match served {
                Ok(Reached::All) => {}
                // The missing one is found by a new connection only, unless it is away.
                Ok(Reached::Some) if begin.elapsed() < LONGEST_PAUSE => {}
                Ok(Reached::Some) => {
                    shared.queue.borrow_mut().put_back(&mut batch, Instant::now());
                    return End::Partial;
                }
                Err(error) => {
                    shared.queue.borrow_mut().put_back(&mut batch, Instant::now());
                    warn!(%error, "the connection to Redis broke");
                    return End::Broken;
                }
            }
        }
    }

    /// Looks who is there: after Redis was away, until all are, and then from time to time.
    async fn look(&mut self, connection: &mut Connection, held: Instant) -> RedisResult<Reached> {
        let counted = match self.shared.audience.question(self.shared.how) {
            Some(question) => match connection.ask(question).await {
                Ok(counted) => Some(counted),
                Err(error) if is_broken(&error) => return Err(error),
                // A user may not be allowed to ask, or a master is missing.
                Err(error) => {
                    debug!(%error, "it is not known who is there");
                    None
                }
            },
            None => None,
        };
        if self.shared.queue.borrow().is_holding() {
            let is_back = counted.as_ref().is_some_and(|c| self.shared.audience.is_back(c));
            let settled = is_back
                && self.state.is_up(Side::Subscriber)
                && match connection.is_well().await {
                    Err(error) if is_broken(&error) => return Err(error),
                    // As above.
                    is_well => is_well.unwrap_or(false),
                };
            if !settled && held.elapsed() < SETTLING {
                return Ok(Reached::All);
            }
            self.open();
        }
        if let Some(counted) = counted {
            self.shared.audience.note(&counted);
        }
        Ok(Reached::All)
    }

    /// What is not carried out because of an error is left in the batch, or among the unanswered.
    async fn carry_out(
        &mut self,
        batch: &mut VecDeque<Waiting>,
        connection: &mut Connection,
    ) -> RedisResult<Reached> {
        let mut run = Run::default();
        let mut reached = Reached::All;
        while let Some(Waiting { command, patience, deadline }) = batch.pop_front() {
            match command {
                Command::Publish(publication, since) => {
                    run.publications.push(publication);
                    run.given.push((since, patience, deadline));
                }
                Command::Ask { command, answer, .. } => {
                    // Behind what was published before it.
                    self.publish(&mut run, connection).await?;
                    match connection.ask(command).await {
                        // Whoever asked may have given up.
                        Ok(values) => drop(answer.send(values)),
                        Err(error) if is_broken(&error) => return Err(error),
                        Err(error) => {
                            // A user may not be allowed to ask.
                            warn!(%error, "Redis does not say who is there");
                            if error.kind() == ErrorKind::ClusterConnectionNotFound {
                                reached = Reached::Some;
                            }
                        }
                    }
                }
                Command::Inquire { command, answer } => {
                    self.publish(&mut run, connection).await?;
                    let mut connection = connection.clone();
                    actix::spawn(async move {
                        match connection.carry_out(command, false).await {
                            // As above.
                            Ok(value) => drop(answer.send(value)),
                            Err(error) => warn!(%error, "Redis does not answer a question"),
                        }
                    });
                }
                Command::Flush(done) => {
                    self.publish(&mut run, connection).await?;
                    drop(done);
                }
            }
        }
        self.publish(&mut run, connection).await?;
        Ok(reached)
    }

    async fn publish(&mut self, run: &mut Run, connection: &mut Connection) -> RedisResult<()> {
        let Run { mut publications, given } = std::mem::take(run);
        if publications.is_empty() {
            return Ok(());
        }
        let (answers, result) = connection.publish(self.shared.how, &mut publications).await;
        let metrics = Arc::clone(self.shared.metrics());
        given.iter().for_each(|(since, ..)| metrics.meters.published(*since));
        let entries = publications.iter().zip(&answers).filter(|(p, _)| p.kind == Kind::Entry);
        unanswered::note(&mut self.last, entries.map(|(p, answer)| (&p.key, answer)));
        let (mut refused, mut unconfirmed, mut released, mut again) = (0, 0, 0, Ok(()));
        for ((publication, (since, patience, deadline)), answer) in
            publications.into_iter().zip(given).zip(&answers)
        {
            let later = refusal_for_now(answer);
            let unanswered = *answer == Value::Nil && publication.kind == Kind::Entry;
            let has_command = publication.command.args_iter().len() > 0;
            if (unanswered || later.is_some()) && has_command {
                let command = Command::Publish(publication, since);
                let mut waiting = Waiting { command, patience, deadline };
                waiting.stamp(Instant::now(), self.shared.keep);
                self.unanswered.push_back(waiting);
                again = later.map_or(again, Err);
                continue;
            }
            released += publication.size;
            match answer {
                Value::ServerError(_) => refused += 1,
                // Perhaps it has been sent; nobody knows.
                Value::Nil if publication.kind == Kind::Message => unconfirmed += 1,
                _ => {}
            }
        }
        self.shared.queue.borrow_mut().release(released);
        if refused > 0 {
            warn!(refused, "Redis refused to publish");
            metrics.cluster_messages_dropped.add(refused);
        }
        metrics.cluster_messages_unconfirmed.add(unconfirmed);
        result.and(again)
    }
}

/// Publications that go together, and when they were given, as they waited.
#[derive(Default)]
struct Run {
    publications: Vec<Publication>,
    given: Vec<(Since, Patience, Option<Instant>)>,
}

fn is_broken(error: &redis::RedisError) -> bool {
    error.is_io_error() || error.is_timeout()
}

/// The answer of a server that will take it later, or of one that is not the master any more.
fn refusal_for_now(answer: &Value) -> Option<redis::RedisError> {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    let Value::ServerError(error) = answer else { return None };
    matches!(error.kind()?, BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain)
        .then(|| error.clone().into())
}
