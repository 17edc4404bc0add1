//! The bus of the streams adapter.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use hashbrown::{HashMap, HashSet};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    RedisStreamsAdapter,
    entry::{self, Entry},
    reader::{Reader, Reading},
};
use crate::{
    adapter::{
        bus::{Bus, Census, Inbox, Seat, SeatNumber, Unsent},
        link::Question,
        message::{Message, Uid},
        redis::{
            PATIENCE,
            classic::{escaped, number, texts},
            publisher::Publisher,
            state::State,
            subscriber::{Heard, Subscriber, Subscription},
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
    inbox: Inbox,
    publisher: Publisher,
    subscriber: Subscriber,
    state: State,
    places: Places,
    readers: HashMap<Arc<str>, Reader>,
}

/// The namespaces, in the order they were linked: a name may have a successor already.
type Places = Rc<RefCell<HashMap<SeatNumber, Rc<Place>>>>;

struct Place {
    seat: Arc<Seat>,
    stream: Arc<str>,
    /// For all, and what the names of those of one begin with.
    channel: Rc<str>,
    own: Rc<str>,
}

impl Place {
    fn subscriptions(&self) -> [Subscription; 2] {
        [&self.channel, &self.own].map(|name| Subscription::Channel(Rc::clone(name)))
    }

    fn hears(&self, channel: &str) -> bool {
        *self.channel == *channel || *self.own == *channel
    }
}

impl Streams {
    pub(super) fn new(adapter: &RedisStreamsAdapter, inbox: Inbox) -> Self {
        let adapter = adapter.clone();
        let state = State::new(inbox.clone());
        let metrics = inbox.metrics();
        let publisher =
            Publisher::start(adapter.client.clone(), state.clone(), Arc::clone(metrics));
        let (subscriber, messages) =
            Subscriber::start(adapter.client.clone(), state.clone(), Arc::clone(metrics));
        let places = Places::default();
        actix::spawn(listen(messages, subscriber.clone(), Rc::clone(&places), inbox.clone()));
        Self { adapter, inbox, publisher, subscriber, state, places, readers: HashMap::new() }
    }

    fn place(&self, seat: &Seat) -> Option<Rc<Place>> {
        self.places.borrow().get(&seat.number).cloned()
    }

    /// Adds a message to the stream of its namespace.
    fn add(&self, seat: &Seat, number: Option<u64>, message: &Message) -> Result<(), Unsent> {
        let place = self.place(seat).ok_or(Unsent::Away)?;
        let RedisStreamsAdapter { max_len, only_plaintext, .. } = self.adapter;
        let written = entry::write(only_plaintext, seat, message).ok_or(Unsent::Unknown)?;
        let (command, size) = written.into_command(&place.stream, max_len, number);
        self.publisher.carry_out(command, size)
    }

    /// Starts to read a stream, if nobody does.
    fn read(&mut self, stream: &Arc<str>) -> &Reader {
        let number = self.readers.len();
        self.readers.entry(Arc::clone(stream)).or_insert_with(|| {
            let reading = Reading {
                stream: Arc::clone(stream),
                number,
                count: self.adapter.read_count,
                block: self.adapter.block_time,
            };
            let (sender, entries) = mpsc::channel(UNREAD);
            let metrics = Arc::clone(self.inbox.metrics());
            actix::spawn(hand_on(entries, Rc::clone(&self.places), self.inbox.clone()));
            self.state.needs_more();
            let (client, state) = (self.adapter.client.clone(), self.state.clone());
            Reader::start(client, reading, state, metrics, sender)
        })
    }
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
async fn hand_on(mut entries: mpsc::Receiver<Entry>, places: Places, inbox: Inbox) {
    while let Some(entry) = entries.recv().await {
        for place in found(&places, |place| *place.seat.namespace == *entry.namespace) {
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
        for place in found(&places, |place| place.hears(&heard.channel)) {
            let read = envelope::parse(&heard.message, inbox.max_bytes);
            inbox.receive(&place.seat, read).await;
        }
        subscriber.handled(&heard);
    }
}

fn found(places: &Places, wanted: impl Fn(&Place) -> bool) -> Vec<Rc<Place>> {
    places.borrow().values().filter(|place| wanted(place)).cloned().collect()
}

impl Bus for Streams {
    fn uid(&self) -> Uid {
        Uid::hex()
    }

    fn link(&mut self, seat: &Arc<Seat>) {
        let RedisStreamsAdapter { stream_name, stream_count, channel_prefix, .. } = &self.adapter;
        let namespace = &*seat.namespace;
        let stream: Arc<str> = entry::stream_of(stream_name, *stream_count, namespace).into();
        if entry::is_unread(&stream, stream_name) {
            warn!(namespace, stream = &*stream, "Node.js servers do not read this stream");
        }
        let channel = format!("{channel_prefix}#{namespace}#");
        let place = Rc::new(Place {
            own: format!("{channel}{}#", seat.uid).into(),
            channel: channel.into(),
            stream: Arc::clone(&stream),
            seat: Arc::clone(seat),
        });
        let settled = self.subscriber.want(place.subscriptions());
        self.places.borrow_mut().insert(seat.number, place);
        let ready = self.read(&stream).ready();
        let (inbox, seat) = (self.inbox.clone(), Arc::clone(seat));
        actix::spawn(async move {
            if ready.await && settled.await.is_ok() {
                inbox.linked(&seat);
            }
        });
    }

    fn unlink(&mut self, seat: &Arc<Seat>) {
        // Streams are few, and are read as long as the node is there.
        let Some(place) = self.places.borrow_mut().remove(&seat.number) else { return };
        let successor = !found(&self.places, |other| other.channel == place.channel).is_empty();
        let [channel, own] = place.subscriptions();
        self.subscriber.unwant([own].into_iter().chain((!successor).then_some(channel)));
    }

    fn keeps(&self) -> bool {
        true
    }

    fn keep(&mut self, seat: &Arc<Seat>, number: u64, message: &Message) -> Result<(), Unsent> {
        self.add(seat, Some(number), message)
    }

    fn send(
        &mut self,
        seat: &Arc<Seat>,
        to: Option<&Uid>,
        message: &Message,
    ) -> Result<(), Unsent> {
        if to.is_none() && is_kept(message) {
            return self.add(seat, None, message);
        }
        let place = self.place(seat).ok_or(Unsent::Away)?;
        let written = envelope::write(message, &seat.uid, &seat.namespace);
        let bytes = written.ok_or(Unsent::Unknown)?.to_msgpack();
        let channel = match to {
            Some(to) => format!("{}{to}#", place.channel).into(),
            None => Rc::clone(&place.channel),
        };
        self.publisher.publish(channel, bytes)
    }

    fn census(&mut self, seat: &Arc<Seat>) -> LocalFuture<Option<Census>> {
        let Some(place) = self.place(seat) else { return Box::pin(std::future::ready(None)) };
        let mut pipeline = redis::pipe();
        pipeline.cmd("PUBSUB").arg("NUMSUB").arg(&*place.channel);
        // Every node listens to a channel of its own name.
        pipeline.cmd("PUBSUB").arg("CHANNELS").arg(format!("{}*#", escaped(&place.channel)));
        let answers = self.publisher.ask(pipeline, 2);
        Box::pin(async move {
            let mut answers = answers.await?.into_iter();
            let others = number(answers.next()?)?.saturating_sub(1);
            let names: Option<HashSet<Uid>> = answers.next().map(|names| {
                let name = |channel: String| {
                    let name = channel.strip_prefix(&*place.channel)?.strip_suffix('#')?;
                    Some(Uid::from(name))
                };
                let names = texts(names).into_iter().filter_map(name);
                names.filter(|name| *name != place.seat.uid).collect()
            });
            let names = names.filter(|names| names.len() == others);
            Some(Census { others, names })
        })
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
