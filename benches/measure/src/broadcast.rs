//! Broadcast: one connection publishes to all, itself included; all must get everything, in order.
use crate::{
    Figure, NAMESPACE, Result,
    client::{Way, open_many},
    server::Command,
    swarm::{Outgoing, Swarm, Workload, Writes},
};
use std::{
    collections::VecDeque,
    io::Write,
    time::{Duration, Instant},
};

const CLIENTS: usize = 1000;
/// Publications in flight: the next one starts when the oldest has reached everybody.
const IN_FLIGHT: [usize; 2] = [1, 16];
const PAYLOAD: usize = 128;

/// CPU per delivery under every load.
pub fn measure(command: &Command, time: Duration) -> Result<Vec<Figure>> {
    IN_FLIGHT
        .iter()
        .map(|&in_flight| {
            let server = command.start()?;
            let mut swarm =
                Swarm::new(open_many(server.address, CLIENTS, Way::Direct)?, Writes::Single)?;
            swarm.run(&mut Broadcast::new(in_flight, time / 5))?;
            let before = server.cpu()?;
            let mut broadcast = Broadcast::new(in_flight, time);
            swarm.run(&mut broadcast)?;
            let used = server.cpu()? - before;
            Ok(Figure {
                about: format!("{in_flight} in flight"),
                value: used * 1e6 / broadcast.delivered as f64,
            })
        })
        .collect()
}

pub struct Broadcast {
    in_flight: usize,
    until: Instant,
    published: u64,
    /// The acks that have not come.
    acks: Vec<u64>,
    /// The publication that each connection must get next.
    expected: Vec<u64>,
    /// How many connections each publication has still to reach; the first is number `oldest`.
    missing: VecDeque<usize>,
    oldest: u64,
    outstanding: usize,
    pub delivered: u64,
    message: Vec<u8>,
}

impl Broadcast {
    pub fn new(in_flight: usize, time: Duration) -> Self {
        Self {
            in_flight,
            until: Instant::now() + time,
            published: 0,
            acks: Vec::new(),
            expected: vec![0; CLIENTS],
            missing: VecDeque::new(),
            oldest: 0,
            outstanding: 0,
            delivered: 0,
            message: Vec::new(),
        }
    }

    fn publish(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        let number = self.published;
        self.published += 1;
        self.acks.push(number);
        self.missing.push_back(CLIENTS);
        self.outstanding += CLIENTS + 1;
        self.message.clear();
        write!(self.message, "42{NAMESPACE},{number}[\"publish-all\",\"{number:0PAYLOAD$}\"]")
            .expect("memory");
        outgoing.send(0, &self.message)
    }

    /// The event must be the next one of this connection.
    fn event(&mut self, who: usize, event: &[u8]) -> Option<()> {
        let number = self.expected[who];
        self.message.clear();
        write!(self.message, "[\"msg\",\"{number:0PAYLOAD$}\"]").ok()?;
        if event != self.message || number >= self.published {
            return None;
        }
        self.expected[who] += 1;
        self.outstanding -= 1;
        self.delivered += 1;
        self.missing[(number - self.oldest) as usize] -= 1;
        Some(())
    }

    /// Publishes anew for whatever has reached everybody.
    fn go_on(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        while self.missing.front() == Some(&0) {
            self.missing.pop_front();
            self.oldest += 1;
            if !self.done() {
                self.publish(outgoing)?;
            }
        }
        Ok(())
    }

    fn ack(&mut self, who: usize, ack: &[u8]) -> Option<()> {
        let digits = ack.iter().position(|byte| !byte.is_ascii_digit())?;
        let number: u64 = str::from_utf8(&ack[..digits]).ok()?.parse().ok()?;
        let place = self.acks.iter().position(|&waiting| waiting == number)?;
        self.acks.swap_remove(place);
        self.outstanding -= 1;
        (who == 0).then_some(())
    }
}

impl Workload for Broadcast {
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        for _ in 0..self.in_flight {
            self.publish(outgoing)?;
        }
        Ok(())
    }

    fn receive(&mut self, who: usize, message: &[u8], outgoing: &mut Outgoing) -> Result<()> {
        let header = NAMESPACE.len() + 3;
        let body = message.get(header..).unwrap_or_default();
        let right = match message.get(..2) {
            Some(b"42") => self.event(who, body),
            Some(b"43") => self.ack(who, body),
            _ => None,
        };
        if right.is_none() {
            let (expected, message) = (self.expected[who], String::from_utf8_lossy(message));
            let error = format!("connection {who} expects message {expected} and gets {message}");
            return Err(error.into());
        }
        self.go_on(outgoing)
    }

    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn done(&self) -> bool {
        Instant::now() >= self.until
    }
}
