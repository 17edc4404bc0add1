//! Joining rooms before a measurement, and joining and leaving one as a measurement.
use super::{Progress, Span, room_name};
use crate::{
    Result,
    codec::{Codec, Event, Message, Reader},
    swarm::{Outgoing, Workload},
};
use std::{collections::VecDeque, time::Instant};

/// Requests of one connection that are under way.
const WINDOW: usize = 64;

fn request(
    who: usize,
    id: u64,
    name: &str,
    room: &str,
    codec: Codec,
    outgoing: &mut Outgoing,
) -> Result<()> {
    outgoing.emit(who, codec, &Event { id, name, room: Some(room), payload: None })
}

/// Every connection joins its rooms.
pub struct Joins {
    codec: Codec,
    reader: Reader,
    /// The rooms that each connection has still to ask for.
    rooms: Vec<VecDeque<usize>>,
    asked: Vec<u64>,
    answered: Vec<u64>,
    outstanding: usize,
}

impl Joins {
    pub fn new(rooms: Vec<Vec<usize>>, codec: Codec) -> Self {
        Self {
            codec,
            reader: Reader::new(codec, rooms.len()),
            asked: vec![0; rooms.len()],
            answered: vec![0; rooms.len()],
            outstanding: rooms.iter().map(Vec::len).sum(),
            rooms: rooms.into_iter().map(VecDeque::from).collect(),
        }
    }

    fn ask(&mut self, who: usize, outgoing: &mut Outgoing) -> Result<()> {
        let Some(room) = self.rooms[who].pop_front() else { return Ok(()) };
        let id = self.asked[who];
        self.asked[who] += 1;
        request(who, id, "join", &room_name(room), self.codec, outgoing)
    }
}

impl Workload for Joins {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        for who in 0..self.rooms.len() {
            for _ in 0..WINDOW {
                self.ask(who, outgoing)?;
            }
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
        match self.reader.read(who, opcode, frame)? {
            Some(Message::Ack(id, None)) if id < self.asked[who] => {
                self.answered[who] += 1;
                self.outstanding -= 1;
                self.ask(who, outgoing)
            }
            other => Err(format!("joining rooms, connection {who} gets {other:?}").into()),
        }
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn done(&self, _: Instant) -> bool {
        self.answered == self.asked
    }
}

/// One connection joins a room and leaves it, again and again: an operation is both.
pub struct Pairs {
    who: usize,
    room: usize,
    in_flight: usize,
    span: Span,
    reader: Reader,
    asked: u64,
    answered: u64,
    pub progress: Progress,
}

impl Pairs {
    /// Of `connections`, this one; pairs in flight.
    pub fn new(who: usize, connections: usize, room: usize, in_flight: usize, span: Span) -> Self {
        let reader = Reader::new(Codec::Text, connections);
        let progress = Progress::default();
        Self { who, room, in_flight, span, reader, asked: 0, answered: 0, progress }
    }

    fn pair(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        for name in ["join", "leave"] {
            request(self.who, self.asked, name, &room_name(self.room), Codec::Text, outgoing)?;
            self.asked += 1;
        }
        Ok(())
    }
}

impl Workload for Pairs {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        (0..self.in_flight).try_for_each(|_| self.pair(outgoing))
    }

    fn receive(
        &mut self,
        who: usize,
        opcode: u8,
        frame: &[u8],
        outgoing: &mut Outgoing,
    ) -> Result<()> {
        match self.reader.read(who, opcode, frame)? {
            Some(Message::Ack(id, None)) if who == self.who && id == self.answered => {}
            other => return Err(format!("join or leave {} got {other:?}", self.answered).into()),
        }
        self.answered += 1;
        if self.answered.is_multiple_of(2) {
            self.progress.operations += 1;
            if !self.done(outgoing.now) {
                self.pair(outgoing)?;
            }
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        (self.asked - self.answered) as usize
    }

    fn done(&self, now: Instant) -> bool {
        self.span.is_over(now)
    }
}
