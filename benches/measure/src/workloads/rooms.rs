//! Many rooms with a few members each: some connections publish to rooms at random. Every member
//! must get every publication once, those of one publisher in order, and all members of a room
//! must see them in the same order.
use super::{Progress, Random, Span, membership::Joins, room_name};
use crate::{
    Result,
    codec::{Codec, Event, Message, Reader},
    payload,
    swarm::{Outgoing, Swarm, Workload},
};
use std::time::Instant;

pub const CLIENTS: usize = 1000;
const ROOMS: usize = 500;
const ROOMS_OF_A_CLIENT: usize = 5;
const PUBLISHERS: usize = 8;
/// Publications of each publisher that are under way.
const IN_FLIGHT: usize = 4;
const SIZE: usize = 128;

/// Who is in which room.
pub struct Plan {
    rooms_of: Vec<Vec<usize>>,
    members: Vec<usize>,
}

impl Plan {
    pub fn new() -> Self {
        let mut random = Random::new(1);
        let mut members = vec![0; ROOMS];
        let mut some_rooms = || {
            let mut rooms = Vec::new();
            while rooms.len() < ROOMS_OF_A_CLIENT {
                let room = random.below(ROOMS);
                if !rooms.contains(&room) {
                    rooms.push(room);
                    members[room] += 1;
                }
            }
            rooms
        };
        let rooms_of = (0..CLIENTS).map(|_| some_rooms()).collect();
        Self { rooms_of, members }
    }

    /// Makes it so.
    pub fn join(&self, swarm: &mut Swarm) -> Result<()> {
        swarm.run(&mut Joins::new(self.rooms_of.clone(), Codec::Text))
    }
}

struct Published {
    id: u64,
    room: usize,
    at: Instant,
    missing: usize,
    acked: bool,
}

pub struct Rooms<'a> {
    plan: &'a Plan,
    span: Span,
    reader: Reader,
    random: Random,
    under_way: Vec<Vec<Published>>,
    next: Vec<u64>,
    /// The first publication that each connection may still get from each publisher.
    expected: Vec<[u64; PUBLISHERS]>,
    order: Orders,
    outstanding: usize,
    pub progress: Progress,
    payload: Vec<u8>,
}

impl<'a> Rooms<'a> {
    pub fn new(plan: &'a Plan, span: Span) -> Self {
        Self {
            plan,
            span,
            reader: Reader::new(Codec::Text, CLIENTS),
            random: Random::new(2),
            under_way: (0..PUBLISHERS).map(|_| Vec::new()).collect(),
            next: vec![0; PUBLISHERS],
            expected: vec![[0; PUBLISHERS]; CLIENTS],
            order: Orders::new(&plan.rooms_of, ROOMS),
            outstanding: 0,
            progress: Progress::default(),
            payload: Vec::new(),
        }
    }

    fn publish(&mut self, who: usize, outgoing: &mut Outgoing) -> Result<()> {
        let (id, room) = (self.next[who], self.random.below(ROOMS));
        self.next[who] += 1;
        let missing = self.plan.members[room];
        self.under_way[who].push(Published { id, room, at: outgoing.now, missing, acked: false });
        self.outstanding += missing + 1;
        payload::write(&mut self.payload, who as u32, id, SIZE);
        let name = room_name(room);
        let event = Event { id, name: "publish", room: Some(&name), payload: Some(&self.payload) };
        outgoing.emit(who, Codec::Text, &event)
    }

    /// Returns the publisher.
    fn event(&mut self, who: usize, payload: &[u8], now: Instant) -> Option<usize> {
        let (publisher, id) = payload::read(payload, SIZE)?;
        let publisher = publisher as usize;
        let published = self.under_way.get_mut(publisher)?;
        let published = published.iter_mut().find(|published| published.id == id)?;
        // once, and none before an earlier one
        if id < self.expected[who][publisher] {
            return None;
        }
        self.expected[who][publisher] = id + 1;
        self.order.see(who, published.room, (publisher, id))?;
        published.missing = published.missing.checked_sub(1)?;
        self.outstanding -= 1;
        self.progress.operations += 1;
        self.progress.latencies.add(now - published.at);
        Some(publisher)
    }

    fn ack(&mut self, who: usize, id: u64) -> Option<usize> {
        let published = self.under_way.get_mut(who)?;
        let published = published.iter_mut().find(|published| published.id == id)?;
        self.outstanding -= 1;
        (!std::mem::replace(&mut published.acked, true)).then_some(who)
    }
}

impl Workload for Rooms<'_> {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        for who in 0..PUBLISHERS {
            (0..IN_FLIGHT).try_for_each(|_| self.publish(who, outgoing))?;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        who: usize,
        opcode: u8,
        frame: &[u8],
        outgoing: &mut Outgoing,
    ) -> Result<()> {
        let publisher = match self.reader.read(who, opcode, frame)? {
            None => return Ok(()),
            Some(Message::Event(payload)) => self.event(who, payload, outgoing.now),
            Some(Message::Ack(id, None)) => self.ack(who, id),
            Some(Message::Ack(_, Some(_))) => None,
        };
        let publisher = publisher.ok_or_else(|| {
            let frame = String::from_utf8_lossy(frame);
            format!("out of order, doubled or astray: connection {who} gets {frame}")
        })?;
        let published = &mut self.under_way[publisher];
        let before = published.len();
        published.retain(|published| published.missing > 0 || !published.acked);
        let finished = before - published.len();
        if self.done(outgoing.now) {
            return Ok(());
        }
        (0..finished).try_for_each(|_| self.publish(publisher, outgoing))
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn done(&self, now: Instant) -> bool {
        self.span.is_over(now)
    }
}

/// The order in which the members of rooms see what is published there.
pub struct Orders {
    /// What the member that is ahead has seen.
    seen: Vec<Vec<(usize, u64)>>,
    /// For every connection, its rooms and how much of each it has seen.
    places: Vec<Vec<(usize, usize)>>,
}

impl Orders {
    pub fn new(rooms_of: &[Vec<usize>], rooms: usize) -> Self {
        let places = |rooms: &Vec<usize>| rooms.iter().map(|&room| (room, 0)).collect();
        Self { seen: vec![Vec::new(); rooms], places: rooms_of.iter().map(places).collect() }
    }

    /// Nothing if it is no member, or if another one saw something else in that place.
    pub fn see(&mut self, who: usize, room: usize, message: (usize, u64)) -> Option<()> {
        let (_, place) = self.places[who].iter_mut().find(|(own, _)| *own == room)?;
        let seen = &mut self.seen[room];
        if *place == seen.len() {
            seen.push(message);
        }
        *place += 1;
        (seen[*place - 1] == message).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_must_agree_about_the_order() {
        let mut orders = Orders::new(&[vec![0, 1], vec![1]], 2);
        assert_eq!(orders.see(0, 1, (3, 7)), Some(()));
        assert_eq!(orders.see(0, 1, (4, 2)), Some(()));
        assert_eq!(orders.see(1, 1, (3, 7)), Some(()));
        assert_eq!(orders.see(1, 0, (3, 8)), None, "no member");
        assert_eq!(orders.see(1, 1, (3, 7)), None, "the other saw (4, 2) here");
    }

    #[test]
    fn the_plan_is_the_same_in_every_run() {
        let (one, other) = (Plan::new(), Plan::new());
        assert_eq!(one.rooms_of, other.rooms_of);
        assert_eq!(one.members.iter().sum::<usize>(), CLIENTS * ROOMS_OF_A_CLIENT);
    }
}
