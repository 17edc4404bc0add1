//! Opening connections: blocking, in several threads; what follows is the swarm's.
use crate::{
    Result,
    codec::Codec,
    frame::{self, CLOSE, TEXT},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// Connections that are being opened at the same time.
const OPENERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];

/// How a connection comes to its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Direct,
    /// The official client's default: polling first, then an upgrade.
    Upgraded,
}

/// An open connection, and the bytes it has received since it joined.
pub type Opened = (TcpStream, Vec<u8>);

/// Opens `count` connections which have joined the namespace and use WebSocket.
pub fn open_many(address: SocketAddr, count: usize, way: Way, codec: Codec) -> Result<Vec<Opened>> {
    let begun = AtomicUsize::new(0);
    let open_some = || {
        let mut opened = Vec::new();
        while begun.fetch_add(1, Ordering::Relaxed) < count {
            opened.push(open(address, way, codec)?.into_opened());
        }
        Ok(opened)
    };
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS).map(|_| scope.spawn(open_some)).collect();
        let opened: Result<Vec<_>> = openers
            .into_iter()
            .map(|opener| opener.join().map_err(|_| "an opener panicked")?)
            .collect();
        Ok(opened?.into_iter().flatten().collect())
    })
}

/// A connection which has joined the namespace and uses WebSocket.
pub fn open(address: SocketAddr, way: Way, codec: Codec) -> Result<WebSocket> {
    match way {
        Way::Direct => {
            let mut socket = WebSocket::open(address, "")?;
            socket.expect("0{")?;
            let (opcode, connect) = codec.connect();
            socket.send(opcode, &connect)?;
            let answer = socket.receive()?;
            check(codec.is_connected(&answer), &answer)?;
            Ok(socket)
        }
        Way::Upgraded => {
            let (_, connect) = Codec::Text.connect();
            let connect = String::from_utf8(connect)?;
            let mut polling = Polling::open(address)?;
            polling.post(&connect)?;
            polling.send("GET", "")?;
            polling.expect(&format!("{}{{", connect))?;
            polling.send("GET", "")?;
            let mut socket = WebSocket::open(address, &polling.session)?;
            socket.send(TEXT, b"2probe")?;
            socket.expect("3probe")?;
            polling.expect("6")?;
            socket.send(TEXT, b"5")?;
            Ok(socket)
        }
    }
}

/// A condition of the protocol.
fn check(holds: bool, what: &[u8]) -> Result<()> {
    let what = String::from_utf8_lossy(what);
    if holds { Ok(()) } else { Err(format!("not what was expected: {what}").into()) }
}

/// A TCP connection, and what it has received and nobody has taken.
struct Tcp {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Tcp {
    /// From an address of its own, of a thousand: one has 28,000 ports, and a port of a connection
    /// that was closed rests for a minute.
    fn connect(address: SocketAddr) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % 1000;
        let source = Ipv4Addr::new(127, 0, 1 + (next / 250) as u8, 1 + (next % 250) as u8);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&address.into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new() })
    }

    fn read_more(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk)? {
            0 => Err("closed by the server".into()),
            size => {
                self.received.extend_from_slice(&chunk[..size]);
                Ok(())
            }
        }
    }

    /// The head of an HTTP response.
    fn head(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return Ok(String::from_utf8(head)?.to_ascii_lowercase());
            }
            self.read_more()?;
        }
    }
}

pub struct WebSocket {
    tcp: Tcp,
}

impl WebSocket {
    /// `session` is that of a polling connection, or empty.
    fn open(address: SocketAddr, session: &str) -> Result<Self> {
        let mut tcp = Tcp::connect(address)?;
        let session = if session.is_empty() { String::new() } else { format!("&sid={session}") };
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket{session} HTTP/1.1\r\nHost: {address}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.stream.write_all(request.as_bytes())?;
        let head = tcp.head()?;
        check(head.starts_with("http/1.1 101 "), head.as_bytes())?;
        Ok(Self { tcp })
    }

    fn into_opened(self) -> Opened {
        (self.tcp.stream, self.tcp.received)
    }

    /// Leaves the namespace and closes; over when the server has said so too, or hung up.
    pub fn close(mut self) -> Result<()> {
        let mut out = Vec::new();
        let (namespace, normal) = (crate::NAMESPACE, 1000_u16.to_be_bytes());
        frame::push(&mut out, TEXT, format!("41{namespace},").as_bytes(), MASK);
        frame::push(&mut out, CLOSE, &normal, MASK);
        self.tcp.stream.write_all(&out)?;
        loop {
            match frame::first(&self.tcp.received)? {
                Some(frame) if frame.opcode == CLOSE => return Ok(()),
                Some(frame) => drop(self.tcp.received.drain(..frame.size)),
                None => {
                    let mut chunk = [0; 512];
                    match self.tcp.stream.read(&mut chunk)? {
                        0 => return Ok(()),
                        size => self.tcp.received.extend_from_slice(&chunk[..size]),
                    }
                }
            }
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        let mut out = Vec::new();
        frame::push(&mut out, opcode, payload, MASK);
        Ok(self.tcp.stream.write_all(&out)?)
    }

    /// The next message must start with `text`.
    fn expect(&mut self, text: &str) -> Result<()> {
        let message = self.receive()?;
        check(message.starts_with(text.as_bytes()), &message)
    }

    /// The next message that is no heartbeat.
    fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(frame) = frame::first(&self.tcp.received)? {
                let (message, size) = (frame.payload.to_vec(), frame.size);
                self.tcp.received.drain(..size);
                if message != b"2" {
                    return Ok(message);
                }
                self.send(TEXT, b"3")?;
            } else {
                self.tcp.read_more()?;
            }
        }
    }
}

struct Polling {
    tcp: Tcp,
    address: SocketAddr,
    session: String,
}

impl Polling {
    fn open(address: SocketAddr) -> Result<Self> {
        let mut polling = Self { tcp: Tcp::connect(address)?, address, session: String::new() };
        polling.send("GET", "")?;
        let open = polling.receive()?;
        let session = open.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
        polling.session = session.ok_or("no session id")?.to_owned();
        Ok(polling)
    }

    fn post(&mut self, body: &str) -> Result<()> {
        self.send("POST", body)?;
        let answer = self.receive()?;
        check(answer == "ok", answer.as_bytes())
    }

    /// The poll that waits must bring a packet that starts with `text`; a heartbeat may come before.
    fn expect(&mut self, text: &str) -> Result<()> {
        loop {
            let body = self.receive()?;
            let rest = match body.strip_prefix('2') {
                Some(rest) => {
                    self.post("3")?;
                    rest.trim_start_matches('\x1e')
                }
                None => &body,
            };
            if !rest.is_empty() {
                return check(rest.starts_with(text), body.as_bytes());
            }
            self.send("GET", "")?;
        }
    }

    fn send(&mut self, method: &str, body: &str) -> Result<()> {
        let session =
            if self.session.is_empty() { String::new() } else { format!("&sid={}", self.session) };
        let (address, length) = (self.address, body.len());
        let request = format!(
            "{method} /socket.io/?EIO=4&transport=polling{session} HTTP/1.1\r\nHost: {address}\r\n\
             Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Ok(self.tcp.stream.write_all(request.as_bytes())?)
    }

    /// The body of the next response.
    fn receive(&mut self) -> Result<String> {
        let head = self.tcp.head()?;
        check(head.starts_with("http/1.1 200 "), head.as_bytes())?;
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.ok_or("no content-length")?.parse()?;
        while self.tcp.received.len() < length {
            self.tcp.read_more()?;
        }
        Ok(String::from_utf8(self.tcp.received.drain(..length).collect())?)
    }
}
