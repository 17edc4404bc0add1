//! Echo with ack: some connections keep a number of events in flight each, and every answer is checked.
use super::{Progress, Span};
use crate::{
    Result,
    codec::{Codec, Event, Message, Reader},
    payload,
    swarm::{Outgoing, Workload},
};
use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The connections that send; the others of the swarm are silent.
    pub clients: usize,
    pub in_flight: usize,
    pub size: usize,
    pub codec: Codec,
}

pub struct Echo {
    load: Load,
    span: Span,
    reader: Reader,
    /// The id of the next event of each connection.
    next: Vec<u64>,
    /// The ids that each connection waits for, and when they were sent.
    waiting: Vec<Vec<(u64, Instant)>>,
    outstanding: usize,
    pub progress: Progress,
    payload: Vec<u8>,
}

impl Echo {
    /// `connections` of the swarm, of which `load.clients` send.
    pub fn new(load: Load, connections: usize, span: Span) -> Self {
        Self {
            load,
            span,
            reader: Reader::new(load.codec, connections),
            next: vec![0; load.clients],
            waiting: vec![Vec::with_capacity(load.in_flight); load.clients],
            outstanding: 0,
            progress: Progress::default(),
            payload: Vec::new(),
        }
    }

    fn send(&mut self, who: usize, outgoing: &mut Outgoing) -> Result<()> {
        let id = self.next[who];
        self.next[who] += 1;
        self.waiting[who].push((id, outgoing.now));
        self.outstanding += 1;
        payload::write(&mut self.payload, who as u32, id, self.load.size);
        let event = Event { id, name: "echo", room: None, payload: Some(&self.payload) };
        outgoing.emit(who, self.load.codec, &event)
    }

    /// The answer must be to an event of this connection that has none yet, with its payload.
    fn check(&mut self, who: usize, message: &Message, now: Instant) -> Option<()> {
        let Message::Ack(id, Some(payload)) = *message else { return None };
        let waiting = self.waiting.get_mut(who)?;
        let place = waiting.iter().position(|&(waiting, _)| waiting == id)?;
        let (_, sent) = waiting.swap_remove(place);
        self.progress.latencies.add(now - sent);
        (payload::read(payload, self.load.size)? == (who as u32, id)).then_some(())
    }
}

impl Workload for Echo {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        for who in 0..self.next.len() {
            for _ in 0..self.load.in_flight {
                self.send(who, outgoing)?;
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
        let Some(message) = self.reader.read(who, opcode, frame)? else { return Ok(()) };
        self.check(who, &message, outgoing.now)
            .ok_or_else(|| format!("wrong answer: {}", String::from_utf8_lossy(frame)))?;
        self.outstanding -= 1;
        self.progress.operations += 1;
        if !self.done(outgoing.now) {
            self.send(who, outgoing)?;
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
