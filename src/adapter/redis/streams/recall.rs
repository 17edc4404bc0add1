//! Finds the session of a client that has come back, and what it has missed in the stream.

use std::{rc::Rc, sync::Arc};

use redis::{Cmd, Value};
use tokio::sync::Semaphore;

use super::{
    deposit,
    entry::{self, Entry},
};
use crate::{
    adapter::{
        bus::{Inbox, Seat},
        message::{Message, Rejected, Uid},
        recovery::{Deposit, Failure, Missed, Offset, Recall, Recalled},
        redis::{PATIENCE, publisher::Publisher},
    },
    packet::Payload,
    room::Room,
};

/// Sessions that are sought at a time.
const AT_A_TIME: usize = 8;

/// Entries that are read at a time, at least.
const COUNT: usize = 100;

/// Redis cannot be asked.
struct Away;

/// Seeks sessions, a few at a time. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recaller {
    pub(super) publisher: Publisher,
    pub(super) inbox: Inbox,
    count: usize,
    turns: Arc<Semaphore>,
}

/// Where it is sought.
pub(super) struct Where {
    pub(super) seat: Arc<Seat>,
    pub(super) key: String,
    pub(super) stream: Rc<str>,
}

impl Recaller {
    pub(super) fn new(publisher: Publisher, inbox: Inbox, count: usize) -> Self {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        Self { publisher, inbox, count: count.max(COUNT), turns }
    }

    /// See [`Bus::recall`](crate::adapter::bus::Bus::recall).
    pub(super) async fn recall(self, place: Where, recall: Recall) -> Option<Recalled> {
        let found = async {
            // The semaphore is never closed.
            let _turn = self.turns.acquire().await.ok()?;
            self.find(&place, recall).await.ok()
        };
        tokio::time::timeout(PATIENCE, found).await.ok()?
    }

    async fn ask(&self, command: Cmd) -> Result<Value, Away> {
        self.publisher.inquire(command).await.ok_or(Away)
    }

    async fn find(&self, place: &Where, recall: Recall) -> Result<Recalled, Away> {
        let Value::BulkString(text) = self.ask(deposit::take(&place.key)).await? else {
            return Ok(Recalled::Nothing);
        };
        if recall.is_here && deposit::is_of(&text, &place.seat.uid) {
            return Ok(Recalled::Own);
        }
        let deposit = match deposit::read(&text, &place.seat.namespace, self.inbox.max_bytes) {
            Ok(deposit) if deposit.pid == recall.pid => deposit,
            read => {
                self.inbox.reject(read.err().unwrap_or(Rejected::Malformed));
                return Ok(Recalled::Nothing);
            }
        };
        let missed = match recall.offset.or(deposit.since) {
            Some(offset) => {
                let is_owner = |uid: &Uid| deposit::is_of(&text, uid);
                self.missed(place, &deposit, &recall, offset, is_owner).await?
            }
            None => Err(Failure::Offset),
        };
        Ok(Recalled::Found { deposit: Box::new(deposit), missed })
    }

    /// What a session missed behind an event.
    async fn missed(
        &self,
        place: &Where,
        deposit: &Deposit,
        recall: &Recall,
        offset: Offset,
        is_owner: impl Fn(&Uid) -> bool,
    ) -> Result<Result<Missed, Failure>, Away> {
        let mut missed = Missed { events: Vec::new(), end: offset };
        let (mut bytes, mut begin) = (0, offset);
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(&*place.stream).arg(begin.to_string()).arg("+");
            range.arg("COUNT").arg(self.count);
            let Value::Array(found) = self.ask(range).await? else { return Err(Away) };
            let is_last = found.len() < self.count;
            let mut entries = entry::of_range(Value::Array(found)).into_iter();
            if begin == offset {
                // If the last one that it got is there, all behind it are.
                let Some(first) = entries.next().filter(|first| first.id == offset) else {
                    return Ok(Err(Failure::Evicted));
                };
                // It has got none of another namespace.
                if recall.offset.is_some() && first.namespace != *place.seat.namespace {
                    return Ok(Err(Failure::Offset));
                }
            }
            for entry in entries {
                missed.end = entry.id;
                if entry.is_late_of(&is_owner) {
                    continue;
                }
                let Some(payload) = self.event(&entry, &place.seat.namespace, &deposit.rooms)
                else {
                    continue;
                };
                let payload = payload.with_text(&entry.id.to_string());
                bytes += payload.json().len();
                bytes += payload.attachments().iter().map(|bytes| bytes.len()).sum::<usize>();
                missed.events.push((entry.id, payload));
                if missed.events.len() > recall.bounds.packets || bytes > recall.bounds.bytes {
                    return Ok(Err(Failure::Evicted));
                }
            }
            if is_last {
                return Ok(Ok(missed));
            }
            begin = missed.end.next();
        }
    }

    /// The event of an entry, if it was for who is in these rooms.
    fn event(&self, entry: &Entry, namespace: &str, rooms: &[Room]) -> Option<Payload> {
        if entry.namespace != namespace || !entry.is_broadcast() {
            return None;
        }
        // Whoever read the stream has counted what cannot be read.
        let envelope = entry.read(self.inbox.max_bytes).ok()?;
        match envelope.message {
            Message::Broadcast { payload, target, sending, request: None } => {
                let is_in = |room: &Room| rooms.contains(room);
                let is_meant = (target.rooms.is_empty() || target.rooms.iter().any(is_in))
                    && !target.except.iter().any(is_in);
                (is_meant && !sending.volatile).then_some(payload)
            }
            _ => None,
        }
    }
}
