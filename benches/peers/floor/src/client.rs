//! One connection.
use mio::net::TcpStream;
use std::{
    io::{ErrorKind, Write},
    rc::Rc,
};

pub struct Client {
    pub stream: TcpStream,
    /// It is a WebSocket by now.
    pub is_open: bool,
    /// The beginning of a frame.
    pub received: Vec<u8>,
    /// What is not written yet.
    pub waiting: Vec<u8>,
    pub rooms: Vec<Rc<[u8]>>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        let (received, waiting) = (Vec::new(), Vec::new());
        Self { stream, is_open: false, received, waiting, rooms: Vec::new() }
    }

    /// At once, if nothing waits.
    pub fn write(&mut self, frame: &[u8]) {
        if self.waiting.is_empty() {
            let written = write(&mut self.stream, frame);
            self.waiting.extend_from_slice(&frame[written..]);
        } else {
            self.waiting.extend_from_slice(frame);
        }
    }

    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = write(&mut self.stream, &self.waiting);
        if written == self.waiting.len() {
            // the memory is given back: that of an idle connection is measured
            self.waiting = Vec::new();
        } else {
            self.waiting.drain(..written);
        }
    }
}

/// How much the system took; all of it from a connection that is gone.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(size) => written += size,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return bytes.len(),
        }
    }
    written
}
