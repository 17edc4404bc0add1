//! Opening connections: blocking, in several threads; what follows is the swarm's.
use crate::{NAMESPACE, Result, frame};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// Connections that are being opened at the same time.
const OPENERS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);

/// How a connection comes to its WebSocket.
#[derive(Clone, Copy)]
pub enum Way {
    Direct,
    /// The official client's default: polling first, then an upgrade.
    Upgraded,
}

/// An open connection, and the bytes it has received since it joined.
pub type Opened = (TcpStream, Vec<u8>);

/// Opens `count` connections which have joined the namespace and use WebSocket.
pub fn open_many(address: SocketAddr, count: usize, way: Way) -> Result<Vec<Opened>> {
    let begun = AtomicUsize::new(0);
    let open_some = || {
        let mut opened = Vec::new();
        while begun.fetch_add(1, Ordering::Relaxed) < count {
            opened.push(open(address, way)?);
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

fn open(address: SocketAddr, way: Way) -> Result<Opened> {
    let socket = match way {
        Way::Direct => {
            let mut socket = WebSocket::open(address, "")?;
            socket.expect("0{")?;
            socket.send(&format!("40{NAMESPACE},"))?;
            socket.expect(&format!("40{NAMESPACE},{{"))?;
            socket
        }
        Way::Upgraded => {
            let mut polling = Polling::open(address)?;
            polling.post(&format!("40{NAMESPACE},"))?;
            polling.send("GET", "")?;
            polling.expect(&format!("40{NAMESPACE},{{"))?;
            polling.send("GET", "")?;
            let mut socket = WebSocket::open(address, &polling.session)?;
            socket.send("2probe")?;
            socket.expect("3probe")?;
            polling.expect("6")?;
            socket.send("5")?;
            socket
        }
    };
    Ok((socket.tcp.stream, socket.tcp.received))
}

/// A condition of the protocol.
fn check(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("not what was expected: {what}").into()) }
}

/// A TCP connection, and what it has received and nobody has taken.
struct Tcp {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Tcp {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
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

struct WebSocket {
    tcp: Tcp,
}

impl WebSocket {
    /// `session` is that of a polling connection, or empty.
    fn open(address: SocketAddr, session: &str) -> Result<Self> {
        let mut tcp = Tcp::connect(address)?;
        let session = if session.is_empty() { String::new() } else { format!("&sid={session}") };
        write!(
            tcp.stream,
            "GET /socket.io/?EIO=4&transport=websocket{session} HTTP/1.1\r\nHost: {address}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let head = tcp.head()?;
        check(head.starts_with("http/1.1 101 "), &head)?;
        Ok(Self { tcp })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let mut out = Vec::new();
        frame::push_text(&mut out, text.as_bytes(), [0x5a, 0x17, 0xc3, 0x88]);
        Ok(self.tcp.stream.write_all(&out)?)
    }

    /// The next message must start with `text`; a heartbeat may come before.
    fn expect(&mut self, text: &str) -> Result<()> {
        loop {
            match self.receive()? {
                ping if ping == "2" => self.send("3")?,
                message => return check(message.starts_with(text), &message),
            }
        }
    }

    fn receive(&mut self) -> Result<String> {
        loop {
            if let Some(frame) = frame::first(&self.tcp.received)? {
                let (message, size) = (String::from_utf8(frame.payload.to_vec())?, frame.size);
                self.tcp.received.drain(..size);
                return Ok(message);
            }
            self.tcp.read_more()?;
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
        check(answer == "ok", &answer)
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
                return check(rest.starts_with(text), &body);
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
        check(head.starts_with("http/1.1 200 "), &head)?;
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.ok_or("no content-length")?.parse()?;
        while self.tcp.received.len() < length {
            self.tcp.read_more()?;
        }
        Ok(String::from_utf8(self.tcp.received.drain(..length).collect())?)
    }
}
