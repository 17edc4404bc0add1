//! Many open connections in one thread. It must cost less than any server: one read and one write
//! for whatever a connection has to say.
use crate::{Result, frame};
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
    fn start(&mut self, outgoing: &mut Outgoing);
    /// A message for connection `who`, heartbeats excepted.
    fn receive(&mut self, who: usize, message: &[u8], outgoing: &mut Outgoing) -> Result<()>;
    /// How many messages must still come.
    fn outstanding(&self) -> usize;
    /// Whether it has ended, when nothing is outstanding.
    fn done(&self) -> bool;
}

pub struct Swarm {
    poll: Poll,
    sockets: Vec<TcpStream>,
    /// What is there of a frame whose rest has not come yet.
    partial: Vec<Vec<u8>>,
    outgoing: Outgoing,
    buffer: Vec<u8>,
}

/// Frames on their way to the server.
pub struct Outgoing {
    pending: Vec<Vec<u8>>,
    changed: Vec<usize>,
    mask: u32,
}

impl Outgoing {
    pub fn send(&mut self, who: usize, message: &[u8]) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        frame::push_text(&mut self.pending[who], message, self.mask.to_be_bytes());
        self.changed.push(who);
    }
}

impl Swarm {
    pub fn new(streams: Vec<std::net::TcpStream>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(streams.len());
        for (who, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(who), interest)?;
            sockets.push(socket);
        }
        let count = sockets.len();
        let outgoing =
            Outgoing { pending: vec![Vec::new(); count], changed: Vec::new(), mask: 2_463_534_242 };
        let partial = vec![Vec::new(); count];
        Ok(Self { poll, sockets, partial, outgoing, buffer: vec![0; 1 << 16] })
    }

    /// Until the workload is done and all its answers have come.
    pub fn run(&mut self, workload: &mut impl Workload) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut heard = Instant::now();
        workload.start(&mut self.outgoing);
        self.flush()?;
        while !(workload.outstanding() == 0 && workload.done()) {
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            if events.is_empty() && workload.outstanding() > 0 && heard.elapsed() > PATIENCE {
                return Err(format!("{} messages never came", workload.outstanding()).into());
            }
            for event in &events {
                heard = Instant::now();
                if event.is_writable() {
                    self.write(event.token().0)?;
                }
                if event.is_readable() {
                    self.read(event.token().0, workload)?;
                    self.flush()?;
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
            let size = match self.sockets[who].read(&mut self.buffer) {
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

    fn flush(&mut self) -> Result<()> {
        while let Some(who) = self.outgoing.changed.pop() {
            self.write(who)?;
        }
        Ok(())
    }

    fn write(&mut self, who: usize) -> Result<()> {
        let pending = &mut self.outgoing.pending[who];
        while !pending.is_empty() {
            match self.sockets[who].write(pending) {
                Ok(size) => drop(pending.drain(..size)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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
            (frame::TEXT, b"2") => outgoing.send(who, b"3"),
            // a noop, as a server may send after an upgrade
            (frame::TEXT, b"6") => {}
            (frame::TEXT, message) => workload.receive(who, message, outgoing)?,
            (opcode, _) => return Err(format!("a frame with opcode {opcode}").into()),
        }
    }
    Ok(taken)
}

struct Rest {
    until: Instant,
}

impl Workload for Rest {
    fn start(&mut self, _: &mut Outgoing) {}

    fn receive(&mut self, _: usize, message: &[u8], _: &mut Outgoing) -> Result<()> {
        Err(format!("unasked: {}", String::from_utf8_lossy(message)).into())
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn done(&self) -> bool {
        Instant::now() >= self.until
    }
}
