//! A bare server: what the namespace `/bench` of the testbed costs when there is nothing around it.
//!
//! It understands the load generator and nobody else: no checks, no heartbeats, no polling, no
//! limits. A broadcast is one ready frame, written to every recipient by a system call of its own;
//! with `JOINED=1` all that waits for a recipient when a turn of the loop ends goes into one.
//!
//! `PORT` as for the testbed; it prints `listening on HOST:PORT` as well.
mod client;
mod packet;

use client::Client;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use packet::Request;
use std::{
    collections::HashMap,
    env,
    io::{ErrorKind, Read, Result, Write, stdout},
    net::SocketAddr,
    rc::Rc,
};

const LISTENER: Token = Token(usize::MAX);

fn main() -> Result<()> {
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let joined = env::var("JOINED").is_ok_and(|value| value == "1");
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    writeln!(stdout(), "listening on {}", listener.local_addr()?)?;
    Floor::new(listener, joined)?.serve()
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    rooms: HashMap<Rc<[u8]>, Vec<usize>>,
    joined: bool,
    /// Those that something waits for.
    waiting: Vec<usize>,
    buffer: Vec<u8>,
    frame: Vec<u8>,
}

impl Floor {
    fn new(mut listener: TcpListener, joined: bool) -> Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            clients: Vec::new(),
            free: Vec::new(),
            rooms: HashMap::new(),
            joined,
            waiting: Vec::new(),
            buffer: vec![0; 1 << 16],
            frame: Vec::new(),
        })
    }

    fn serve(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let who = event.token().0;
                if event.is_writable()
                    && let Some(client) = &mut self.clients[who]
                {
                    client.flush();
                }
                if event.is_readable() && !self.read(who) {
                    self.drop_client(who);
                }
            }
            for who in std::mem::take(&mut self.waiting) {
                if let Some(client) = &mut self.clients[who] {
                    client.flush();
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // the client was quicker
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let who = self.free.pop().unwrap_or(self.clients.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(who), interest)?;
            self.admit(who, stream);
        }
    }

    fn admit(&mut self, who: usize, stream: TcpStream) {
        let client = Some(Client::new(stream));
        if who == self.clients.len() {
            self.clients.push(client);
        } else {
            self.clients[who] = client;
        }
    }

    fn drop_client(&mut self, who: usize) {
        let Some(client) = self.clients[who].take() else { return };
        for room in client.rooms {
            self.leave(who, &room);
        }
        self.free.push(who);
    }

    fn leave(&mut self, who: usize, room: &[u8]) {
        if let Some(members) = self.rooms.get_mut(room) {
            members.retain(|&member| member != who);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    /// Whether the connection goes on.
    fn read(&mut self, who: usize) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let goes_on = loop {
            let Some(client) = &mut self.clients[who] else { break true };
            let size = match client.stream.read(&mut buffer) {
                Ok(0) => break false,
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break false,
            };
            client.received.extend_from_slice(&buffer[..size]);
            let mut received = std::mem::take(&mut client.received);
            let goes_on = self.take_all(who, &mut received);
            if let Some(client) = &mut self.clients[who] {
                if received.is_empty() {
                    received = Vec::new();
                }
                client.received = received;
            }
            if !goes_on || size < buffer.len() {
                break goes_on;
            }
        };
        self.buffer = buffer;
        goes_on
    }

    fn take_all(&mut self, who: usize, received: &mut Vec<u8>) -> bool {
        let mut start = 0;
        loop {
            let Some(client) = &self.clients[who] else { return true };
            if !client.is_open {
                let Some(size) = packet::upgrade(&received[start..]) else { break };
                start += size;
                self.open(who);
                continue;
            }
            let Some((opcode, payload)) = packet::unmask(&mut received[start..]) else { break };
            let (from, to) = (start + payload.start, start + payload.end);
            start = to;
            match opcode {
                packet::TEXT => self.handle(who, &received[from..to]),
                // whatever else: the generator closes
                _ => return false,
            }
        }
        received.drain(..start);
        true
    }

    fn open(&mut self, who: usize) {
        if let Some(client) = &mut self.clients[who] {
            client.is_open = true;
            client.waiting.extend_from_slice(packet::SWITCHING);
            packet::push(&mut client.waiting, &[packet::OPEN]);
            client.flush();
        }
    }

    fn handle(&mut self, who: usize, text: &[u8]) {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        match packet::parse(text) {
            Request::Connect => {
                packet::push(&mut frame, &[packet::CONNECTED]);
                self.send(who, &frame);
            }
            Request::Echo(id, payload) => {
                packet::push(&mut frame, &[packet::ACK, id, b"[", payload, b"]"]);
                self.send(who, &frame);
            }
            Request::Join(id, room) => {
                self.join(who, room);
                self.acknowledge(who, id, &mut frame);
            }
            Request::Leave(id, room) => {
                self.leave(who, room);
                if let Some(client) = &mut self.clients[who] {
                    client.rooms.retain(|own| &**own != room);
                }
                self.acknowledge(who, id, &mut frame);
            }
            Request::Publish(id, room, payload) => {
                packet::push(&mut frame, &[packet::MSG, payload, b"]"]);
                let members = self.rooms.get_mut(room).map(std::mem::take).unwrap_or_default();
                for &member in &members {
                    self.send(member, &frame);
                }
                if let Some(place) = self.rooms.get_mut(room) {
                    *place = members;
                }
                self.acknowledge(who, id, &mut frame);
            }
            Request::PublishAll(id, payload) => {
                packet::push(&mut frame, &[packet::MSG, payload, b"]"]);
                for member in 0..self.clients.len() {
                    self.send(member, &frame);
                }
                self.acknowledge(who, id, &mut frame);
            }
            // leaving the namespace; the connection is closed next
            Request::Other => {}
        }
        self.frame = frame;
    }

    fn join(&mut self, who: usize, room: &[u8]) {
        let Some(client) = &mut self.clients[who] else { return };
        if client.rooms.iter().any(|own| &**own == room) {
            return;
        }
        let name =
            self.rooms.get_key_value(room).map_or_else(|| room.into(), |(name, _)| name.clone());
        client.rooms.push(Rc::clone(&name));
        self.rooms.entry(name).or_default().push(who);
    }

    fn acknowledge(&mut self, who: usize, id: &[u8], frame: &mut Vec<u8>) {
        frame.clear();
        packet::push(frame, &[packet::ACK, id, b"[]"]);
        self.send(who, frame);
    }

    fn send(&mut self, who: usize, frame: &[u8]) {
        let Some(client) = &mut self.clients[who] else { return };
        if !self.joined {
            client.write(frame);
            return;
        }
        if client.waiting.is_empty() {
            self.waiting.push(who);
        }
        client.waiting.extend_from_slice(frame);
    }
}
