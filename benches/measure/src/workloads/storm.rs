//! Joins and leaves with broadcasts in between. Every connection has two rooms for good, and again
//! and again joins another one, publishes there and leaves it, all three sent at once.
//!
//! It must get its own publication once, after the ack of the join and before that of the
//! publication; those who are in the room for good must get it once, and see what is published
//! there in the same order; who is there for a while may get what others publish meanwhile, in
//! order, and nothing once its leave is acked.
use super::{Progress, Random, Span, membership::Joins, room_name, rooms::Orders};
use crate::{
    Result,
    codec::{Codec, Event, Message, Reader},
    payload,
    swarm::{Outgoing, Swarm, Workload},
};
use std::time::Instant;

pub const CLIENTS: usize = 100;
const ROOMS: usize = CLIENTS;
const SIZE: usize = 128;
/// Join, publish, leave.
const STEPS: u64 = 3;

fn homes() -> Vec<Vec<usize>> {
    (0..CLIENTS).map(|who| vec![who, (who + 1) % ROOMS]).collect()
}

/// Everybody joins the rooms that are for good.
pub fn join(swarm: &mut Swarm) -> Result<()> {
    swarm.run(&mut Joins::new(homes(), Codec::Text))
}

/// Where a connection is in its cycle.
#[derive(Clone, Copy)]
struct Visit {
    room: usize,
    cycle: u64,
    acks: u64,
    /// It has seen its own publication.
    seen: bool,
    began: Instant,
}

pub struct Storm {
    span: Span,
    reader: Reader,
    random: Random,
    homes: Vec<Vec<usize>>,
    visits: Vec<Visit>,
    /// The room of every publication, for each connection by cycle.
    rooms: Vec<Vec<usize>>,
    /// The first cycle of each connection that each other may still hear of.
    expected: Vec<Vec<u64>>,
    order: Orders,
    outstanding: usize,
    pub progress: Progress,
    payload: Vec<u8>,
}

impl Storm {
    pub fn new(span: Span) -> Self {
        let homes = homes();
        let began = Instant::now();
        let visit = Visit { room: 0, cycle: 0, acks: STEPS, seen: true, began };
        Self {
            span,
            reader: Reader::new(Codec::Text, CLIENTS),
            random: Random::new(3),
            visits: vec![visit; CLIENTS],
            rooms: vec![Vec::new(); CLIENTS],
            expected: vec![vec![0; CLIENTS]; CLIENTS],
            order: Orders::new(&homes, ROOMS),
            homes,
            outstanding: 0,
            progress: Progress::default(),
            payload: Vec::new(),
        }
    }

    fn visit(&mut self, who: usize, outgoing: &mut Outgoing) -> Result<()> {
        let room = loop {
            let room = self.random.below(ROOMS);
            if !self.homes[who].contains(&room) {
                break room;
            }
        };
        let cycle = self.rooms[who].len() as u64;
        self.rooms[who].push(room);
        self.visits[who] = Visit { room, cycle, acks: 0, seen: false, began: outgoing.now };
        // the acks, its own copy, and those of the two that are there for good
        self.outstanding += STEPS as usize + 3;
        payload::write(&mut self.payload, who as u32, cycle, SIZE);
        let name = room_name(room);
        let (room, id) = (Some(&*name), cycle * STEPS);
        let join = Event { id, name: "join", room, payload: None };
        let publish = Event { id: id + 1, name: "publish", room, payload: Some(&self.payload) };
        let leave = Event { id: id + 2, name: "leave", room, payload: None };
        [join, publish, leave].iter().try_for_each(|event| outgoing.emit(who, Codec::Text, event))
    }

    fn event(&mut self, who: usize, payload: &[u8]) -> Option<()> {
        let (publisher, cycle) = payload::read(payload, SIZE)?;
        let publisher = publisher as usize;
        let room = *self.rooms.get(publisher)?.get(cycle as usize)?;
        let expected = &mut self.expected[who][publisher];
        if cycle < *expected {
            return None;
        }
        *expected = cycle + 1;
        let visit = &mut self.visits[who];
        if publisher == who {
            let right = cycle == visit.cycle && !visit.seen && visit.acks == 1;
            visit.seen = true;
            self.outstanding -= 1;
            return right.then_some(());
        }
        if self.homes[who].contains(&room) {
            self.outstanding -= 1;
            return self.order.see(who, room, (publisher, cycle));
        }
        (visit.room == room && visit.acks < STEPS).then_some(())
    }

    fn ack(&mut self, who: usize, id: u64, now: Instant) -> Option<()> {
        let visit = &mut self.visits[who];
        if id != visit.cycle * STEPS + visit.acks || visit.acks == STEPS {
            return None;
        }
        visit.acks += 1;
        self.outstanding -= 1;
        if visit.acks == STEPS {
            self.progress.latencies.add(now - visit.began);
        }
        // the publication was acked: its own copy must have come
        (visit.acks < 2 || visit.seen).then_some(())
    }
}

impl Workload for Storm {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        (0..CLIENTS).try_for_each(|who| self.visit(who, outgoing))
    }

    fn receive(
        &mut self,
        who: usize,
        opcode: u8,
        frame: &[u8],
        outgoing: &mut Outgoing,
    ) -> Result<()> {
        let right = match self.reader.read(who, opcode, frame)? {
            None => return Ok(()),
            Some(Message::Event(payload)) => self.event(who, payload),
            Some(Message::Ack(id, None)) => self.ack(who, id, outgoing.now),
            Some(Message::Ack(_, Some(_))) => None,
        };
        right.ok_or_else(|| {
            let (frame, Visit { room, cycle, acks, .. }) =
                (String::from_utf8_lossy(frame), self.visits[who]);
            format!(
                "out of order, doubled or astray: connection {who}, {acks} of the acks of its \
                 visit {cycle} to room {room} received, gets {frame}"
            )
        })?;
        self.progress.operations += 1;
        if self.visits[who].acks == STEPS && !self.done(outgoing.now) {
            self.visit(who, outgoing)?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn done(&self, now: Instant) -> bool {
        self.span.is_over(now)
    }
}
