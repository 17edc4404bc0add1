//! Broadcast: one connection publishes to all, itself included; all must get everything, in order.
use super::{Progress, Span};
use crate::{
    Result,
    codec::{Codec, Event, Message, Reader},
    payload,
    swarm::{Outgoing, Workload},
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: usize,
    pub pace: Pace,
    pub size: usize,
    pub codec: Codec,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many at a time: the next one starts when the oldest has reached everybody.
    InFlight(usize),
    /// So many per second, whatever has arrived.
    PerSecond(u32),
}

/// A publication on its way.
struct Published {
    at: Instant,
    /// The connections that it has still to reach.
    missing: usize,
}

pub struct Broadcast {
    load: Load,
    span: Span,
    reader: Reader,
    published: u64,
    /// The acks that have not come.
    acks: Vec<u64>,
    /// The publication that each connection must get next.
    expected: Vec<u64>,
    /// The first is number `oldest`.
    under_way: VecDeque<Published>,
    oldest: u64,
    outstanding: usize,
    due: Option<Instant>,
    pub progress: Progress,
    payload: Vec<u8>,
}

impl Broadcast {
    pub fn new(load: Load, span: Span) -> Self {
        Self {
            load,
            span,
            reader: Reader::new(load.codec, load.clients),
            published: 0,
            acks: Vec::new(),
            expected: vec![0; load.clients],
            under_way: VecDeque::new(),
            oldest: 0,
            outstanding: 0,
            due: None,
            progress: Progress::default(),
            payload: Vec::new(),
        }
    }

    fn publish(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        let id = self.published;
        self.published += 1;
        self.acks.push(id);
        self.under_way.push_back(Published { at: outgoing.now, missing: self.load.clients });
        self.outstanding += self.load.clients + 1;
        payload::write(&mut self.payload, 0, id, self.load.size);
        let event = Event { id, name: "publish-all", room: None, payload: Some(&self.payload) };
        outgoing.emit(0, self.load.codec, &event)
    }

    /// The event must be the next one of this connection.
    fn event(&mut self, who: usize, payload: &[u8], now: Instant) -> Option<()> {
        let number = self.expected[who];
        if payload::read(payload, self.load.size)? != (0, number) || number >= self.published {
            return None;
        }
        self.expected[who] += 1;
        self.outstanding -= 1;
        self.progress.operations += 1;
        let published = &mut self.under_way[(number - self.oldest) as usize];
        published.missing -= 1;
        self.progress.latencies.add(now - published.at);
        Some(())
    }

    fn ack(&mut self, who: usize, id: u64) -> Option<()> {
        let place = self.acks.iter().position(|&waiting| waiting == id)?;
        self.acks.swap_remove(place);
        self.outstanding -= 1;
        (who == 0).then_some(())
    }

    /// Publishes anew for whatever has reached everybody.
    fn go_on(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        while self.under_way.front().is_some_and(|published| published.missing == 0) {
            self.under_way.pop_front();
            self.oldest += 1;
            if matches!(self.load.pace, Pace::InFlight(_)) && !self.done(outgoing.now) {
                self.publish(outgoing)?;
            }
        }
        Ok(())
    }
}

impl Workload for Broadcast {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        match self.load.pace {
            Pace::InFlight(count) => (0..count).try_for_each(|_| self.publish(outgoing)),
            Pace::PerSecond(_) => {
                self.due = Some(outgoing.now);
                Ok(())
            }
        }
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
            Some(Message::Event(payload)) => self.event(who, payload, outgoing.now),
            Some(Message::Ack(id, None)) => self.ack(who, id),
            Some(Message::Ack(_, Some(_))) => None,
        };
        if right.is_none() {
            let (expected, frame) = (self.expected[who], String::from_utf8_lossy(frame));
            let error = format!("connection {who} expects message {expected} and gets {frame}");
            return Err(error.into());
        }
        self.go_on(outgoing)
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn done(&self, now: Instant) -> bool {
        self.span.is_over(now)
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn tick(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        let (Pace::PerSecond(rate), Some(due)) = (self.load.pace, self.due) else { return Ok(()) };
        if self.done(outgoing.now) {
            self.due = None;
            return Ok(());
        }
        self.due = Some(due + Duration::from_secs(1) / rate);
        self.publish(outgoing)
    }
}
