//! The bus of the streams adapter.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use redis::Cmd;
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    RedisStreamsAdapter, deposit,
    entry::{self, Entry},
    reader::{Reader, Way},
    recall::{Recaller, Where},
};
use crate::{
    adapter::{
        bus::{Bus, Census, Inbox, Patience, Seat, SeatNumber, Unsent},
        link::Question,
        message::{Message, Rejected, Uid},
        recovery::{Change, Offset, Pid, Recall, Recalled},
        redis::{
            Links, PATIENCE,
            named::Named,
            publisher::{Publish, Publisher},
            roster::Roster,
            server::Server,
            state::State,
            subscriber::{Heard, Subscriber},
            wants::Subscription,
        },
        wire::envelope,
    },
    engine::LocalFuture,
};

/// Entries that wait between a reader and those they are for.
const UNREAD: usize = 16;

/// See the module's description.
pub(super) struct Streams {
    adapter: RedisStreamsAdapter,
    server: Server,
    inbox: Inbox,
    publisher: Publisher,
    subscriber: Subscriber,
    state: State,
    places: Places,
    readers: HashMap<Rc<str>, Reading>,
    recaller: Recaller,
}

/// A stream that is read.
struct Reading {
    reader: Reader,
    /// The last entry that was handed on.
    handed: Rc<Cell<Option<Offset>>>,
}

type Places = Rc<RefCell<Index>>;

/// The namespaces, by their numbers, and by their names and channels.
#[derive(Default)]
struct Index {
    seats: HashMap<SeatNumber, Rc<Place>>,
    names: Named<Arc<str>, Place>,
    channels: Named<Rc<str>, Place>,
}

impl Index {
    fn add(&mut self, place: Rc<Place>) {
        self.names.add(Arc::clone(&place.seat.namespace), &place);
        for channel in place.channels() {
            self.channels.add(Rc::clone(channel), &place);
        }
        self.seats.insert(place.seat.number, place);
    }

    /// Takes out a namespace, and returns the channels that nobody listens to any more.
    fn remove(&mut self, number: SeatNumber) -> Vec<Rc<str>> {
        let Some(place) = self.seats.remove(&number) else { return Vec::new() };
        self.names.remove(&place.seat.namespace, &place);
        let channels = place.channels().into_iter().cloned();
        channels.filter(|channel| self.channels.remove(channel, &place)).collect()
    }
}

struct Place {
    seat: Arc<Seat>,
    stream: Rc<str>,
    /// For all, and what the names of those of one begin with.
    channel: Rc<str>,
    own: Rc<str>,
    roster: Rc<Roster>,
}

impl Place {
    fn channels(&self) -> [&Rc<str>; 2] {
        [&self.own, &self.channel]
    }
}

impl Streams {
    pub(super) fn new(adapter: &RedisStreamsAdapter, inbox: Inbox) -> Self {
        let adapter = adapter.clone();
        let server = adapter.endpoint.server();
        let links = Links::start(&server, adapter.publish(), adapter.publish_within, &inbox);
        let Links { state, publisher, subscriber, heard } = links;
        let places = Places::default();
        actix::spawn(listen(heard, subscriber.clone(), Rc::clone(&places), inbox.clone()));
        let recaller = Recaller::new(publisher.clone(), inbox.clone(), adapter.read_count);
        let readers = HashMap::new();
        Self { adapter, server, inbox, publisher, subscriber, state, places, readers, recaller }
    }

    /// Listens to a channel, or no more.
    fn listen_to(&self, channel: &Rc<str>, wanted: bool) {
        let channel = Rc::clone(channel);
        let subscription = match self.adapter.publish() {
            Publish::Ordinary => Subscription::Channel(channel),
            Publish::Sharded => Subscription::Shard(channel),
        };
        self.subscriber.want(&subscription, wanted);
    }

    fn place(&self, seat: &Seat) -> Option<Rc<Place>> {
        self.places.borrow().seats.get(&seat.number).cloned()
    }

    fn key(&self, pid: &Pid) -> String {
        format!("{}{}", self.adapter.session_key_prefix, pid.as_str())
    }

    /// Adds a message to the stream of its namespace.
    fn add(
        &self,
        seat: &Seat,
        number: Option<u64>,
        message: &Message,
        patience: Patience,
    ) -> Result<(), Unsent> {
        let place = self.place(seat).ok_or(Unsent::Away)?;
        let RedisStreamsAdapter { max_len, only_plaintext, .. } = self.adapter;
        let written = entry::write(only_plaintext, &seat.uid, &seat.namespace, message);
        let written = written.ok_or(Unsent::Unknown)?;
        let (command, size) = written.into_command(&place.stream, max_len, number);
        self.inbox.may_send(size)?;
        self.publisher.add(Rc::clone(&place.stream), command, size, patience)
    }

    /// Starts to read a stream, if nobody does.
    fn read(&mut self, stream: &Rc<str>) -> &Reading {
        let number = self.readers.len();
        self.readers.entry(Rc::clone(stream)).or_insert_with(|| {
            let way = Way {
                stream: Rc::clone(stream),
                number,
                count: self.adapter.read_count,
                block: self.adapter.block_time,
            };
            let (sender, entries) = mpsc::channel(UNREAD);
            let metrics = Arc::clone(self.inbox.metrics());
            let (places, handed) = (Rc::clone(&self.places), Rc::<Cell<_>>::default());
            actix::spawn(hand_on(entries, places, self.inbox.clone(), Rc::clone(&handed)));
            self.state.needs_more();
            let (server, state) = (self.server.clone(), self.state.clone());
            Reading { reader: Reader::start(server, way, state, metrics, sender), handed }
        })
    }
}

/// As Redis takes a time to live: not none.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

/// Whether a message goes into the stream. The rest is of no use to anybody later.
fn is_kept(message: &Message) -> bool {
    match message {
        Message::Broadcast { request, .. } => request.is_none(),
        Message::Join { .. } | Message::Leave { .. } | Message::Disconnect { .. } => true,
        // It has to come behind what was said before.
        Message::Fetch { target, request, .. } => Question::is_settled(target, request),
        _ => false,
    }
}

/// Hands on what comes in a stream, in its order.
async fn hand_on(
    mut entries: mpsc::Receiver<Entry>,
    places: Places,
    inbox: Inbox,
    handed: Rc<Cell<Option<Offset>>>,
) {
    while let Some(entry) = entries.recv().await {
        handed.set(Some(entry.id));
        let found = places.borrow().names.get(&*entry.namespace);
        for place in found {
            if !entry.is_of(&place.seat.uid) {
                let read = entry.read(inbox.max_bytes);
                inbox.receive_kept(&place.seat, read, Some(entry.id)).await;
            } else if let Some(number) = entry.number {
                inbox.kept(&place.seat, number, entry.id).await;
            }
        }
    }
}

/// Hands on what comes by pub/sub, in its order.
async fn listen(
    mut messages: mpsc::UnboundedReceiver<Heard>,
    subscriber: Subscriber,
    places: Places,
    inbox: Inbox,
) {
    while let Some(heard) = messages.recv().await {
        let found = places.borrow().channels.get(&*heard.channel);
        for place in found {
            let read = envelope::parse(&heard.message, inbox.max_bytes);
            place.roster.hear(&read);
            inbox.receive(&place.seat, read).await;
        }
        subscriber.handled(&heard);
    }
}

impl Bus for Streams {
    fn uid(&self) -> Uid {
        Uid::hex()
    }

    fn link(&mut self, seat: &Arc<Seat>) {
        let RedisStreamsAdapter { stream_name, stream_count, channel_prefix, .. } = &self.adapter;
        let namespace = &*seat.namespace;
        let stream: Rc<str> = entry::stream_of(stream_name, *stream_count, namespace).into();
        if entry::is_unread(&stream, stream_name) {
            warn!(namespace, stream = &*stream, "Node.js servers do not read this stream");
        }
        let channel: Rc<str> = format!("{channel_prefix}#{namespace}#").into();
        let place = Rc::new(Place {
            roster: Roster::new(self.adapter.publish(), &seat.uid, &channel, &channel),
            own: format!("{channel}{}#", seat.uid).into(),
            channel,
            stream: Rc::clone(&stream),
            seat: Arc::clone(seat),
        });
        for channel in place.channels() {
            self.listen_to(channel, true);
        }
        self.publisher.audience().watch(&place.channel);
        self.places.borrow_mut().add(place);
        let reading = self.read(&stream);
        let (ready, handed) = (reading.reader.ready(), reading.handed.get());
        let settled = self.subscriber.settled();
        let (inbox, seat) = (self.inbox.clone(), Arc::clone(seat));
        actix::spawn(async move {
            let heard = match settled {
                Some(settled) => settled.await.is_ok(),
                None => true,
            };
            if let Some(begin) = ready.await.filter(|_| heard) {
                inbox.linked_behind(&seat, handed.unwrap_or(begin));
            }
        });
    }

    fn unlink(&mut self, seat: &Arc<Seat>) {
        // Streams are few, and are read as long as the node is there.
        if let Some(place) = self.place(seat) {
            self.publisher.audience().unwatch(&place.channel);
        }
        let less = self.places.borrow_mut().remove(seat.number);
        for channel in less {
            self.listen_to(&channel, false);
        }
    }

    fn keeps(&self) -> bool {
        true
    }

    fn keep(&mut self, seat: &Arc<Seat>, number: u64, message: &Message) -> Result<(), Unsent> {
        self.add(seat, Some(number), message, Patience::Kept)
    }

    fn deposit(&mut self, seat: &Arc<Seat>, change: Change) -> Result<(), Unsent> {
        let carry_out = |pid: &Pid, command: &dyn Fn(&str) -> Cmd, size: usize| {
            let key = self.key(pid);
            let command = command(&key);
            self.publisher.carry_out(key.into(), command, size)
        };
        match change {
            Change::Put { deposit, over, time_to_live } => {
                let session = deposit::write(&seat.uid, &seat.namespace, &deposit);
                if session.len() / 2 > self.inbox.max_bytes {
                    // No server would take it.
                    self.inbox.reject(Rejected::TooLarge);
                    return Ok(());
                }
                let (size, time) = (session.len(), milliseconds(time_to_live));
                let put = |key: &str| deposit::put(key, &seat.uid, session.clone(), over, time);
                carry_out(&deposit.pid, &put, size)
            }
            Change::Renew { pids, time_to_live } => {
                let time = milliseconds(time_to_live);
                let renew = |key: &str| deposit::renew(key, &seat.uid, time);
                pids.iter().try_for_each(|pid| carry_out(pid, &renew, 0))
            }
            Change::Withdraw(pid) => carry_out(&pid, &|key| deposit::withdraw(key, &seat.uid), 0),
        }
    }

    fn recall(&mut self, seat: &Arc<Seat>, recall: Recall) -> LocalFuture<Option<Recalled>> {
        let Some(place) = self.place(seat) else { return Box::pin(std::future::ready(None)) };
        let key = self.key(&recall.pid);
        let place = Where { seat: Arc::clone(seat), key, stream: Rc::clone(&place.stream) };
        Box::pin(self.recaller.clone().recall(place, recall))
    }

    fn send(
        &mut self,
        seat: &Arc<Seat>,
        to: Option<&Uid>,
        message: &Message,
        patience: Patience,
    ) -> Result<(), Unsent> {
        if to.is_none() && is_kept(message) {
            return self.add(seat, None, message, patience);
        }
        let place = self.place(seat).ok_or(Unsent::Away)?;
        let written = envelope::write(message, &seat.uid, &seat.namespace);
        let bytes = written.ok_or(Unsent::Unknown)?.to_msgpack();
        self.inbox.may_send(bytes.len())?;
        let channel = match to {
            Some(to) => format!("{}{to}#", place.channel).into(),
            None => Rc::clone(&place.channel),
        };
        self.publisher.publish(channel, &bytes, patience)
    }

    fn census(&mut self, seat: &Arc<Seat>, patience: Patience) -> LocalFuture<Option<Census>> {
        let Some(place) = self.place(seat) else { return Box::pin(std::future::ready(None)) };
        Box::pin(Rc::clone(&place.roster).census(self.publisher.clone(), patience))
    }

    fn close(&mut self) -> LocalFuture<()> {
        self.readers.clear();
        self.subscriber.close();
        let flushed = self.publisher.flush();
        Box::pin(async move {
            // Redis may be away.
            let _ = tokio::time::timeout(PATIENCE, flushed).await;
        })
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.subscriber.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::redis::named::Found;

    fn place(number: SeatNumber, namespace: &str) -> Rc<Place> {
        let seat = Seat { number, namespace: namespace.into(), uid: Uid::hex() };
        let channel: Rc<str> = format!("p#{namespace}#").into();
        Rc::new(Place {
            stream: "s".into(),
            own: format!("{channel}{}#", seat.uid).into(),
            roster: Roster::new(Publish::Ordinary, &seat.uid, &channel, &channel),
            channel,
            seat: Arc::new(seat),
        })
    }

    #[test]
    fn a_namespace_is_found_by_its_name_and_its_channels_until_it_is_gone() {
        let mut index = Index::default();
        let (first, other, successor) = (place(1, "/a"), place(2, "/b"), place(3, "/a"));
        for place in [&first, &other, &successor] {
            index.add(Rc::clone(place));
        }
        let numbers = |found: Found<Place>| found.iter().map(|p| p.seat.number).collect::<Vec<_>>();
        assert_eq!(numbers(index.names.get("/a")), [1, 3]);
        assert_eq!(numbers(index.channels.get("p#/a#")), [1, 3]);
        assert_eq!(numbers(index.channels.get(&*first.own)), [1]);
        assert_eq!(index.remove(1), [Rc::clone(&first.own)], "its successor listens to the other");
        assert_eq!(numbers(index.names.get("/a")), [3]);
        assert_eq!(index.remove(3).len(), 2);
        assert!(index.names.get("/a").is_empty() && index.channels.get("p#/a#").is_empty());
        assert_eq!(numbers(index.names.get("/b")), [2]);
        assert!(index.remove(3).is_empty());
    }
}
