//! The bus of the first Redis adapter: ordinary pub/sub, one pattern and three channels for each
//! namespace.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use hashbrown::{HashMap, HashSet};
use tokio::sync::mpsc;

use super::{
    Links, RedisAdapter, census,
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
        message::{Answer, Envelope, Message, Rejected, Uid},
        wire::classic::{self, Channel},
    },
    engine::LocalFuture,
    room::Room,
};

/// See the module's description.
pub(super) struct Classic {
    key: Arc<str>,
    answers_to_one: bool,
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
    names: Named<Rc<str>, Place>,
}

/// The channels of one namespace.
struct Place {
    seat: Arc<Seat>,
    /// Those of broadcasts begin with it.
    broadcasts: Rc<str>,
    pattern: Rc<str>,
    requests: Rc<str>,
    responses: Rc<str>,
    own_responses: Rc<str>,
    rooms: RefCell<HashSet<Room>>,
    /// Where others have told this node to let sockets join. By the end of that time the namespace has
    /// done it, and said so.
    joining: RefCell<Recent>,
    roster: Rc<Roster>,
}

impl Classic {
    pub(super) fn new(adapter: &RedisAdapter, inbox: Inbox) -> Self {
        let server = adapter.endpoint.server();
        let Links { publisher, subscriber, heard, .. } =
            Links::start(&server, Publish::Ordinary, adapter.publish_within, &inbox);
        let places = Places::default();
        actix::spawn(listen(heard, subscriber.clone(), Rc::clone(&places), inbox.clone()));
        let (key, answers_to_one) = (Arc::clone(&adapter.key), adapter.answers_to_one);
        Self { key, answers_to_one, inbox, publisher, subscriber, places }
    }

    fn place(&self, seat: &Seat) -> Option<Rc<Place>> {
        self.places.borrow().seats.get(&seat.number).cloned()
    }

    fn channel(&self, place: &Place, channel: Channel, to: Option<&Uid>, value: bool) -> Rc<str> {
        match channel {
            Channel::Broadcast(None) => Rc::clone(&place.broadcasts),
            Channel::Broadcast(Some(room)) => format!("{}{room}#", place.broadcasts).into(),
            Channel::Request => Rc::clone(&place.requests),
            Channel::Response => match to {
                // Answers to server-side events go to all in every version.
                Some(to) if self.answers_to_one && !value => {
                    format!("{}{to}#", place.responses).into()
                }
                _ => Rc::clone(&place.responses),
            },
        }
    }
}

impl Place {
    fn new(key: &str, seat: &Arc<Seat>) -> Self {
        let namespace = &*seat.namespace;
        let requests: Rc<str> = format!("{key}-request#{namespace}#").into();
        let responses: Rc<str> = format!("{key}-response#{namespace}#").into();
        let broadcasts = format!("{key}#{namespace}#");
        Self {
            pattern: format!("{}*", census::escaped(&broadcasts)).into(),
            broadcasts: broadcasts.into(),
            own_responses: format!("{responses}{}#", seat.uid).into(),
            roster: Roster::new(Publish::Ordinary, &seat.uid, &requests, &responses),
            requests,
            responses,
            seat: Arc::clone(seat),
            rooms: RefCell::default(),
            joining: RefCell::default(),
        }
    }

    /// Broadcasts first: with the requests the node counts as one that hears them.
    fn subscriptions(&self) -> [Subscription; 4] {
        let channel = |name: &Rc<str>| Subscription::Channel(Rc::clone(name));
        [
            Subscription::Pattern(Rc::clone(&self.pattern)),
            channel(&self.requests),
            channel(&self.responses),
            channel(&self.own_responses),
        ]
    }

    /// What a message means here; `None` if it is of no interest.
    fn read(&self, heard: &Heard, max_bytes: usize) -> Option<Result<Envelope, Rejected>> {
        let namespace = &*self.seat.namespace;
        if heard.pattern.as_deref() == Some(&*self.pattern) {
            let room = heard.channel.strip_prefix(&*self.broadcasts)?;
            let room = room.strip_suffix('#').unwrap_or(room);
            if !self.is_served(room) || self.is_own(&heard.message) {
                return None;
            }
            return Some(classic::parse_broadcast(&heard.message, max_bytes));
        }
        if heard.pattern.is_some() {
            return None;
        }
        let channel = &*heard.channel;
        if channel == &*self.requests {
            let read = classic::parse_request(&heard.message, namespace, max_bytes);
            if let Ok(Envelope { message: Message::Join { rooms, .. }, .. }) = &read {
                self.joining.borrow_mut().add(rooms);
            }
            self.roster.hear(&read);
            Some(read)
        } else if channel == &*self.responses || channel == &*self.own_responses {
            let read = classic::parse_response(&heard.message, namespace, max_bytes);
            self.roster.hear(&read);
            Some(read)
        } else {
            None
        }
    }

    /// Whether what is sent to a room, or to all, may reach somebody here.
    fn is_served(&self, room: &str) -> bool {
        room.is_empty() || self.rooms.borrow().contains(room) || self.joining.borrow_mut().has(room)
    }

    /// Whether a broadcast is this node's, told by its first bytes: a list of three whose first is a
    /// text of six bytes.
    fn is_own(&self, message: &[u8]) -> bool {
        message
            .strip_prefix(b"\x93\xa6")
            .is_some_and(|rest| rest.starts_with(self.seat.uid.as_str().as_bytes()))
    }
}

impl Index {
    fn add(&mut self, place: Rc<Place>) {
        for subscription in place.subscriptions() {
            self.names.add(Rc::clone(subscription.name()), &place);
        }
        self.seats.insert(place.seat.number, place);
    }

    /// Returns what nobody wants any more.
    fn remove(&mut self, number: SeatNumber) -> Vec<Subscription> {
        let Some(place) = self.seats.remove(&number) else { return Vec::new() };
        let unwanted = |subscription: &Subscription| self.names.remove(subscription.name(), &place);
        place.subscriptions().into_iter().filter(unwanted).collect()
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
        let name = heard.pattern.as_ref().unwrap_or(&heard.channel);
        let places = places.borrow().names.get(&**name);
        for place in places {
            if let Some(read) = place.read(&heard, inbox.max_bytes) {
                inbox.receive(&place.seat, read).await;
            }
        }
        subscriber.handled(&heard);
    }
}

impl Bus for Classic {
    fn uid(&self) -> Uid {
        Uid::short()
    }

    fn wants_rooms(&self) -> bool {
        true
    }

    fn has_all_rooms(&self) -> bool {
        true
    }

    fn link(&mut self, seat: &Arc<Seat>) {
        let place = Rc::new(Place::new(&self.key, seat));
        for subscription in place.subscriptions() {
            self.subscriber.want(&subscription, true);
        }
        self.publisher.audience().watch(&place.requests);
        self.places.borrow_mut().add(place);
        super::say_when_linked(&self.subscriber, &self.inbox, seat);
    }

    fn unlink(&mut self, seat: &Arc<Seat>) {
        if let Some(place) = self.place(seat) {
            self.publisher.audience().unwatch(&place.requests);
        }
        let less = self.places.borrow_mut().remove(seat.number);
        for subscription in less {
            self.subscriber.want(&subscription, false);
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
        let written = classic::write(message, &seat.uid, &seat.namespace);
        let (channel, bytes) = written.ok_or(Unsent::Unknown)?;
        self.inbox.may_send(bytes.len())?;
        let value = matches!(message, Message::Answer { answer: Answer::Value(_), .. });
        self.publisher.publish(self.channel(&place, channel, to, value), &bytes, patience)
    }

    fn interest(&mut self, seat: &Arc<Seat>, room: &Room, wanted: bool) {
        let Some(place) = self.place(seat) else { return };
        if wanted {
            place.rooms.borrow_mut().insert(room.clone());
        } else {
            place.rooms.borrow_mut().remove(room);
        }
    }

    fn interests(&mut self, seat: &Arc<Seat>, rooms: HashSet<Room>) {
        if let Some(place) = self.place(seat) {
            *place.rooms.borrow_mut() = rooms;
        }
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

impl Drop for Classic {
    fn drop(&mut self) {
        self.subscriber.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::redis::recent::PERIOD;

    #[actix_rt::test]
    async fn a_room_that_others_were_told_to_join_is_served_for_a_while_also_if_nobody_comes() {
        tokio::time::pause();
        let seat = Seat { number: 1, namespace: "/".into(), uid: Uid::short() };
        let place = Place::new("key", &Arc::new(seat));
        let heard = |n: usize| Heard {
            channel: "key-request#/#".to_owned(),
            pattern: None,
            message: format!(
                r#"{{"type":2,"opts":{{"rooms":[],"except":[]}},"rooms":["room{n}"]}}"#
            )
            .into(),
            size: 0,
        };
        assert!(!place.is_served("room0"));
        assert!(matches!(place.read(&heard(0), 1000), Some(Ok(_))));
        assert!(place.is_served("room0") && !place.is_served("room1"));
        tokio::time::advance(PERIOD).await;
        assert!(!place.is_served("room0"), "without another join");
    }
}
