//! Echo with ack: every connection keeps a number of events in flight, and every answer is checked.
use crate::{
    Figure, NAMESPACE, Result,
    client::{Way, open_many},
    server::Command,
    swarm::{Outgoing, Swarm, Workload, Writes},
};
use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Connections, events in flight on each, and how they are written.
const LOADS: [(usize, usize, Writes); 3] =
    [(100, 8, Writes::Single), (100, 8, Writes::Joined), (4, 1, Writes::Single)];
const PAYLOAD: usize = 128;

/// CPU per echo under every load.
pub fn measure(command: &Command, time: Duration) -> Result<Vec<Figure>> {
    LOADS
        .iter()
        .map(|&(clients, in_flight, writes)| {
            let server = command.start()?;
            let mut swarm = Swarm::new(open_many(server.address, clients, Way::Direct)?, writes)?;
            swarm.run(&mut Echo::new(clients, in_flight, time / 5))?;
            let before = server.cpu()?;
            let mut echo = Echo::new(clients, in_flight, time);
            swarm.run(&mut echo)?;
            let used = server.cpu()? - before;
            let joined = if writes == Writes::Joined { ", joined writes" } else { "" };
            Ok(Figure {
                about: format!("{clients} × {in_flight} in flight{joined}"),
                value: used * 1e6 / echo.answered as f64,
            })
        })
        .collect()
}

pub struct Echo {
    in_flight: usize,
    until: Instant,
    /// The id of the next event of each connection.
    next: Vec<u64>,
    /// The ids that each connection waits for.
    waiting: Vec<Vec<u64>>,
    outstanding: usize,
    pub answered: u64,
    message: Vec<u8>,
}

impl Echo {
    pub fn new(clients: usize, in_flight: usize, time: Duration) -> Self {
        Self {
            in_flight,
            until: Instant::now() + time,
            next: vec![0; clients],
            waiting: vec![Vec::with_capacity(in_flight); clients],
            outstanding: 0,
            answered: 0,
            message: Vec::new(),
        }
    }

    fn send(&mut self, who: usize, outgoing: &mut Outgoing) -> Result<()> {
        let id = self.next[who];
        self.next[who] += 1;
        self.waiting[who].push(id);
        self.outstanding += 1;
        self.message.clear();
        let payload = Payload { who, id };
        write!(self.message, "42{NAMESPACE},{id}[\"echo\",\"{payload}\"]").expect("memory");
        outgoing.send(who, &self.message)
    }

    /// The answer must be to an event of this connection that has none yet, with its payload.
    fn check(&mut self, who: usize, answer: &[u8]) -> Option<()> {
        let rest = answer.strip_prefix(b"43")?.strip_prefix(NAMESPACE.as_bytes())?;
        let rest = rest.strip_prefix(b",")?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let id: u64 = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let place = self.waiting[who].iter().position(|&waiting| waiting == id)?;
        self.waiting[who].swap_remove(place);
        self.message.clear();
        write!(self.message, "[\"{}\"]", Payload { who, id }).ok()?;
        (rest[digits..] == self.message).then_some(())
    }
}

impl Workload for Echo {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        for who in 0..self.next.len() {
            for _ in 0..self.in_flight {
                self.send(who, outgoing)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, who: usize, message: &[u8], outgoing: &mut Outgoing) -> Result<()> {
        self.check(who, message)
            .ok_or_else(|| format!("wrong answer: {}", String::from_utf8_lossy(message)))?;
        self.outstanding -= 1;
        self.answered += 1;
        if !self.done() {
            self.send(who, outgoing)?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn done(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// A text that no other event has.
struct Payload {
    who: usize,
    id: u64,
}

impl std::fmt::Display for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08}{:0width$}", self.who, self.id, width = PAYLOAD - 8)
    }
}
