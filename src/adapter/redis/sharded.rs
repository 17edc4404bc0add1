//! The bus over sharded pub/sub: two channels for each namespace, and, depending on the mode, one
//! for each room that has members.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use hashbrown::{HashMap, HashSet};
use tokio::sync::mpsc;

use super::{
    Links, ShardedRedisAdapter, SubscriptionMode,
    named::Named,
    publisher::{Publish, Publisher},
    recent::Recent,
    roster::Roster,
    subscriber::{Heard, Subscriber},
    wants::Subscription,
};
use crate::{
    adapter::{
        bus::{Bus, Census, Inbox, Patience, Seat, SeatNumber, Unsent},
        message::{Envelope, Message, Rejected, Uid},
        wire::envelope,
    },
    engine::LocalFuture,
    room::Room,
};

/// UTF-16 units of the ids of Node.js servers. A room of such a name counts as that of a socket.
const ID_LENGTH: usize = 20;

/// See the module's description.
pub(super) struct Sharded {
    prefix: Arc<str>,
    mode: SubscriptionMode,
    inbox: Inbox,
    publisher: Publisher,
    subscriber: Subscriber,
    places: Places,
}

/// The namespaces, by their numbers and by what their channels are called.
type Places = Rc<RefCell<Index>>;

#[derive(Default)]
struct Index {
    seats: HashMap<SeatNumber, Rc<Place>>,
    /// One for each, but for a namespace that has a successor already.
    names: Named<Rc<str>, Place>,
}

/// The channels of one namespace.
struct Place {
    seat: Arc<Seat>,
    /// Others begin with it.
    common: Rc<str>,
    /// All that it listens to.
    channels: RefCell<HashSet<Rc<str>>>,
    /// Where this node has had others join.
    recent: RefCell<Recent>,
    roster: Rc<Roster>,
}

impl Sharded {
    pub(super) fn new(adapter: &ShardedRedisAdapter, inbox: Inbox) -> Self {
        let server = adapter.endpoint.server();
        let Links { publisher, subscriber, heard, .. } =
            Links::start(&server, Publish::Sharded, adapter.publish_within, &inbox);
        let places = Places::default();
        actix::spawn(listen(heard, subscriber.clone(), Rc::clone(&places), inbox.clone()));
        let (prefix, mode) = (Arc::clone(&adapter.prefix), adapter.mode);
        Self { prefix, mode, inbox, publisher, subscriber, places }
    }

    fn place(&self, seat: &Seat) -> Option<Rc<Place>> {
        self.places.borrow().seats.get(&seat.number).cloned()
    }

    /// That of a room, if it has one, and nobody listens there anyway.
    fn channel_of(&self, place: &Place, room: &Room) -> Option<Rc<str>> {
        let own = **room == *place.seat.uid.as_str();
        (!own && has_channel(self.mode, room)).then(|| place.channel(room))
    }

    fn listen_to(&self, place: &Rc<Place>, channel: Rc<str>, wanted: bool) {
        let mut places = self.places.borrow_mut();
        let changes =
            if wanted { places.add(place, &channel) } else { places.remove(place, &channel) };
        if changes {
            self.subscriber.want(&Subscription::Shard(channel), wanted);
        }
    }

    /// Where a message goes.
    fn channel(&self, place: &Place, to: Option<&Uid>, message: &Message) -> Rc<str> {
        if let Some(to) = to {
            return place.channel(to.as_str());
        }
        let Message::Broadcast { target, request: None, .. } = message else {
            return Rc::clone(&place.common);
        };
        match &*target.rooms {
            // Those whom this node had join may not have subscribed yet. All hear the common
            // channel, and there what is said comes behind the join.
            [room] if has_channel(self.mode, room) && !place.recent.borrow_mut().has(room) => {
                place.channel(room)
            }
            _ => Rc::clone(&place.common),
        }
    }
}

/// Whether a room has a channel of its own.
fn has_channel(mode: SubscriptionMode, room: &str) -> bool {
    match mode {
        SubscriptionMode::Static => false,
        // Fewer bytes than that are fewer units.
        SubscriptionMode::Dynamic => {
            room.len() < ID_LENGTH || room.encode_utf16().count() != ID_LENGTH
        }
        SubscriptionMode::DynamicPrivate => true,
    }
}

impl Place {
    fn new(prefix: &str, seat: &Arc<Seat>) -> Self {
        let common = format!("{prefix}#{}#", seat.namespace).into();
        Self {
            roster: Roster::new(Publish::Sharded, &seat.uid, &common, &common),
            common,
            seat: Arc::clone(seat),
            channels: RefCell::default(),
            recent: RefCell::default(),
        }
    }

    /// Answers first: with the other one the node counts.
    fn own_channels(&self) -> [Rc<str>; 2] {
        [self.channel(self.seat.uid.as_str()), Rc::clone(&self.common)]
    }

    fn channel(&self, name: &str) -> Rc<str> {
        let mut channel = String::with_capacity(self.common.len() + name.len() + 1);
        channel.push_str(&self.common);
        channel.push_str(name);
        channel.push('#');
        channel.into()
    }

    fn read(&self, heard: &Heard, max_bytes: usize) -> Result<Envelope, Rejected> {
        let read = envelope::parse(&heard.message, max_bytes);
        self.roster.hear(&read);
        read
    }
}

impl Index {
    /// Whether nobody listened to it before.
    fn add(&mut self, place: &Rc<Place>, channel: &Rc<str>) -> bool {
        place.channels.borrow_mut().insert(Rc::clone(channel))
            && self.names.add(Rc::clone(channel), place)
    }

    /// Whether nobody listens to it any more.
    fn remove(&mut self, place: &Rc<Place>, channel: &Rc<str>) -> bool {
        place.channels.borrow_mut().remove(channel) && self.names.remove(channel, place)
    }
}

/// Hands on what comes, in its order.
async fn listen(
    mut messages: mpsc::UnboundedReceiver<Heard>,
    subscriber: Subscriber,
    places: Places,
    inbox: Inbox,
) {
    while let Some(heard) = messages.recv().await {
        let places = places.borrow().names.get(&*heard.channel);
        for place in places {
            inbox.receive(&place.seat, place.read(&heard, inbox.max_bytes)).await;
        }
        subscriber.handled(&heard);
    }
}

impl Bus for Sharded {
    fn uid(&self) -> Uid {
        Uid::hex()
    }

    fn wants_rooms(&self) -> bool {
        self.mode != SubscriptionMode::Static
    }

    fn link(&mut self, seat: &Arc<Seat>) {
        let place = Rc::new(Place::new(&self.prefix, seat));
        for channel in place.own_channels() {
            self.listen_to(&place, channel, true);
        }
        self.publisher.audience().watch(&place.common);
        self.places.borrow_mut().seats.insert(seat.number, place);
        super::say_when_linked(&self.subscriber, &self.inbox, seat);
    }

    fn unlink(&mut self, seat: &Arc<Seat>) {
        let place = self.places.borrow_mut().seats.remove(&seat.number);
        let Some(place) = place else { return };
        self.publisher.audience().unwatch(&place.common);
        let channels: Vec<_> = place.channels.borrow().iter().cloned().collect();
        for channel in channels {
            self.listen_to(&place, channel, false);
        }
    }

    fn send(
        &mut self,
        seat: &Arc<Seat>,
        to: Option<&Uid>,
        message: &Message,
        patience: Patience,
    ) -> Result<(), Unsent> {
        let place = self.place(seat).ok_or(Unsent::Away)?;
        let document =
            envelope::write(message, &seat.uid, &seat.namespace).ok_or(Unsent::Unknown)?;
        if let Message::Join { rooms, .. } = message
            && self.mode != SubscriptionMode::Static
        {
            place.recent.borrow_mut().add(rooms);
        }
        let bytes = envelope::mixed(&document);
        self.inbox.may_send(bytes.len())?;
        if !self.publisher.is_open() {
            // It comes later, behind joins that take effect still later: where all hear it.
            place.recent.borrow_mut().add_all();
        }
        let channel = self.channel(&place, to, message);
        self.publisher.publish(channel, &bytes, patience)
    }

    fn interest(&mut self, seat: &Arc<Seat>, room: &Room, wanted: bool) {
        let Some(place) = self.place(seat) else { return };
        if let Some(channel) = self.channel_of(&place, room) {
            self.listen_to(&place, channel, wanted);
        }
    }

    fn interests(&mut self, seat: &Arc<Seat>, rooms: HashSet<Room>) {
        let Some(place) = self.place(seat) else { return };
        let wanted = rooms.iter().filter_map(|room| self.channel_of(&place, room));
        let wanted: HashSet<_> = wanted.chain(place.own_channels()).collect();
        let gone: Vec<_> = place.channels.borrow().difference(&wanted).cloned().collect();
        for channel in gone {
            self.listen_to(&place, channel, false);
        }
        for channel in wanted {
            self.listen_to(&place, channel, true);
        }
    }

    fn settled(&mut self, _: &Arc<Seat>) -> Option<LocalFuture<()>> {
        let settled = self.subscriber.settled()?;
        Some(Box::pin(async move {
            if settled.await.is_err() {
                // The driver has ended, and with it what could be confirmed.
                std::future::pending::<()>().await;
            }
        }))
    }

    fn census(&mut self, seat: &Arc<Seat>, patience: Patience) -> LocalFuture<Option<Census>> {
        let Some(place) = self.place(seat) else { return Box::pin(std::future::ready(None)) };
        Box::pin(Rc::clone(&place.roster).census(self.publisher.clone(), patience))
    }

    fn close(&mut self) -> LocalFuture<()> {
        self.subscriber.close();
        let flushed = self.publisher.flush();
        Box::pin(async move {
            // Redis may be away.
            let _ = tokio::time::timeout(super::PATIENCE, flushed).await;
        })
    }
}

impl Drop for Sharded {
    fn drop(&mut self) {
        self.subscriber.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_channels_of_their_own_by_mode_and_length() {
        let (id, room) = ("x".repeat(20), "room");
        let emoji = "\u{1f600}".repeat(10);
        use SubscriptionMode::{Dynamic, DynamicPrivate, Static};
        for (mode, rooms) in [
            (Static, [false, false, false, false]),
            (Dynamic, [true, false, false, true]),
            (DynamicPrivate, [true, true, true, true]),
        ] {
            let given = [room, &id, &emoji, &"é".repeat(10)].map(|room| has_channel(mode, room));
            assert_eq!(given, rooms, "{mode:?}");
        }
    }
}
