//! Many open connections in one thread, which must cost less than any server.
use crate::{
    Result,
    client::Opened,
    codec::{Codec, Event},
    frame::{self, BINARY, TEXT},
};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

/// A server that answers nothing for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the connections do.
pub trait Workload {
    /// Sends what is sent unasked.
    fn start(&mut self, outgoing: &mut Outgoing) -> Result<()>;
    /// A frame for connection `who`, heartbeats excepted.
    fn receive(
        &mut self,
        who: usize,
        opcode: u8,
        payload: &[u8],
        outgoing: &mut Outgoing,
    ) -> Result<()>;
    /// How many messages must still come.
    fn outstanding(&self) -> usize;
    /// Whether it has ended, when nothing is outstanding.
    fn done(&self, now: Instant) -> bool;
    /// When it wants to send something unasked, if it does.
    fn due(&self) -> Option<Instant> {
        None
    }
    /// That moment has come.
    fn tick(&mut self, _: &mut Outgoing) -> Result<()> {
        Ok(())
    }
}

/// How messages that could go together are written: a server that gets several in one read, and
/// may answer with one write, has much less to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Writes {
    /// All answers to what one read brought in one write.
    Joined,
    /// Every message on its own.
    Single,
}

pub struct Swarm {
    poll: Poll,
    /// What is there of a frame whose rest has not come yet.
    partial: Vec<Vec<u8>>,
    outgoing: Outgoing,
    buffer: Vec<u8>,
}

/// The side of the connections that is written to.
pub struct Outgoing {
    sockets: Vec<TcpStream>,
    writes: Writes,
    /// What could not be written yet.
    pending: Vec<Vec<u8>>,
    changed: Vec<usize>,
    mask: u32,
    packet: Vec<u8>,
    /// When what is being handled now was read.
    pub now: Instant,
}

impl Outgoing {
    /// Sends an event.
    pub fn emit(&mut self, who: usize, codec: Codec, event: &Event) -> Result<()> {
        let mut packet = std::mem::take(&mut self.packet);
        let (opcode, attached) = codec.encode(event, &mut packet);
        self.push(who, opcode, &packet);
        if let Some(payload) = event.payload.filter(|_| attached) {
            self.push(who, BINARY, payload);
        }
        self.packet = packet;
        match self.writes {
            Writes::Single => self.write(who),
            Writes::Joined => {
                self.changed.push(who);
                Ok(())
            }
        }
    }

    fn push(&mut self, who: usize, opcode: u8, payload: &[u8]) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        frame::push(&mut self.pending[who], opcode, payload, self.mask.to_be_bytes());
    }

    fn flush(&mut self) -> Result<()> {
        while let Some(who) = self.changed.pop() {
            self.write(who)?;
        }
        Ok(())
    }

    fn write(&mut self, who: usize) -> Result<()> {
        let pending = &mut self.pending[who];
        let mut written = 0;
        while written < pending.len() {
            match self.sockets[who].write(&pending[written..]) {
                Ok(size) => written += size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        pending.drain(..written);
        Ok(())
    }
}

impl Swarm {
    pub fn new(opened: Vec<Opened>, writes: Writes) -> Result<Self> {
        let poll = Poll::new()?;
        let (mut sockets, mut partial) = (Vec::new(), Vec::new());
        for (who, (stream, received)) in opened.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(who), interest)?;
            sockets.push(socket);
            partial.push(received);
        }
        let outgoing = Outgoing {
            pending: vec![Vec::new(); sockets.len()],
            sockets,
            writes,
            changed: Vec::new(),
            mask: 0x9e37_79b9,
            packet: Vec::new(),
            now: Instant::now(),
        };
        let mut swarm = Self { poll, partial, outgoing, buffer: vec![0; 1 << 16] };
        swarm.answer_early_heartbeats()?;
        Ok(swarm)
    }

    /// Some servers send their first one at once.
    fn answer_early_heartbeats(&mut self) -> Result<()> {
        let mut nothing = Rest { until: Instant::now() };
        for (who, received) in self.partial.iter_mut().enumerate() {
            let taken = take(who, received, &mut nothing, &mut self.outgoing)?;
            received.drain(..taken);
        }
        self.outgoing.flush()
    }

    /// Until the workload is done and all its answers have come.
    pub fn run(&mut self, workload: &mut impl Workload) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        self.outgoing.now = Instant::now();
        let mut heard = self.outgoing.now;
        workload.start(&mut self.outgoing)?;
        self.outgoing.flush()?;
        while !(workload.outstanding() == 0 && workload.done(self.outgoing.now)) {
            let patience = Duration::from_millis(100);
            let due = workload.due().map(|due| due.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut events, Some(due.unwrap_or(patience).min(patience)))?;
            self.outgoing.now = Instant::now();
            if workload.due().is_some_and(|due| due <= self.outgoing.now) {
                workload.tick(&mut self.outgoing)?;
                self.outgoing.flush()?;
            }
            if workload.outstanding() > 0 && self.outgoing.now - heard > PATIENCE {
                return Err(format!("{} messages never came", workload.outstanding()).into());
            }
            for event in &events {
                if event.is_writable() {
                    self.outgoing.write(event.token().0)?;
                }
                if event.is_readable() {
                    self.outgoing.now = Instant::now();
                    heard = self.outgoing.now;
                    self.read(event.token().0, workload)?;
                    self.outgoing.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Answers heartbeats for a while; nothing else may come.
    pub fn rest(&mut self, time: Duration) -> Result<()> {
        self.run(&mut Rest { until: Instant::now() + time })
    }

    /// Takes all that connection `who` has received.
    fn read(&mut self, who: usize, workload: &mut impl Workload) -> Result<()> {
        loop {
            let size = match self.outgoing.sockets[who].read(&mut self.buffer) {
                Ok(0) => return Err("a connection was closed by the server".into()),
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let chunk = &self.buffer[..size];
            let partial = &mut self.partial[who];
            if partial.is_empty() {
                let taken = take(who, chunk, workload, &mut self.outgoing)?;
                partial.extend_from_slice(&chunk[taken..]);
            } else {
                partial.extend_from_slice(chunk);
                let taken = take(who, partial, workload, &mut self.outgoing)?;
                partial.drain(..taken);
            }
            // a short read has emptied the socket; the next bytes make another event
            if size < self.buffer.len() {
                return Ok(());
            }
        }
    }
}

/// Hands every complete message of `bytes` to the workload; returns the bytes they took.
fn take(
    who: usize,
    bytes: &[u8],
    workload: &mut impl Workload,
    outgoing: &mut Outgoing,
) -> Result<usize> {
    let mut taken = 0;
    while let Some(frame) = frame::first(&bytes[taken..])? {
        taken += frame.size;
        match (frame.opcode, frame.payload) {
            (TEXT, b"2") => {
                outgoing.push(who, TEXT, b"3");
                outgoing.write(who)?;
            }
            // a noop, as a server may send after an upgrade
            (TEXT, b"6") => {}
            (opcode @ (TEXT | BINARY), payload) => {
                workload.receive(who, opcode, payload, outgoing)?;
            }
            (opcode, _) => return Err(format!("a frame with opcode {opcode}").into()),
        }
    }
    Ok(taken)
}

struct Rest {
    until: Instant,
}

impl Workload for Rest {
    fn start(&mut self, _: &mut Outgoing) -> Result<()> {
        Ok(())
    }

    fn receive(&mut self, _: usize, _: u8, payload: &[u8], _: &mut Outgoing) -> Result<()> {
        Err(format!("unasked: {}", String::from_utf8_lossy(payload)).into())
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn done(&self, now: Instant) -> bool {
        now >= self.until
    }

    fn due(&self) -> Option<Instant> {
        Some(self.until)
    }
}
