//! A real server on a port of its own, and clients that speak bytes.
#![allow(dead_code, reason = "every file uses its own part")]

use std::{
    any::Any,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Extensions, Payload, ServerHandle},
    middleware::DefaultHeaders,
    web,
};
use greenroom::{SocketIo, engine::EngineIo};

/// How long a test waits for bytes that do not come.
const LIMIT: Duration = Duration::from_secs(10);

/// A server on a thread of its own; it ends with this value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server with one worker, which takes requests in the order they come.
    pub(crate) fn start(start: impl FnOnce() -> SocketIo + Send + 'static) -> Self {
        Self::with_workers(1, start)
    }

    /// A server whose workers take the connections in turn.
    pub(crate) fn with_workers(
        workers: usize,
        start: impl FnOnce() -> SocketIo + Send + 'static,
    ) -> Self {
        Self::run(move |sender| async move {
            let io = start();
            let server = HttpServer::new(move || App::new().service(io.clone())).workers(workers);
            serve!(server, sender)
        })
    }

    /// A server that waits so long for the headers of a request.
    pub(crate) fn impatient(
        patience: Duration,
        start: impl FnOnce() -> SocketIo + Send + 'static,
    ) -> Self {
        Self::run(move |sender| async move {
            let io = start();
            let server = HttpServer::new(move || App::new().service(io.clone())).workers(1);
            let server = server.client_request_timeout(patience);
            serve!(server, sender)
        })
    }

    /// A server whose actix-http waits for an hour before it closes a connection whose request is not
    /// read to its end: who sees an end owes it to greenroom.
    pub(crate) fn lingering(start: impl FnOnce() -> SocketIo + Send + 'static) -> Self {
        Self::run(move |sender| async move {
            let io = start();
            let server = HttpServer::new(move || App::new().service(io.clone())).workers(1);
            let server = server.client_disconnect_timeout(Duration::from_secs(3600));
            serve!(server, sender)
        })
    }

    /// A server that does so with every connection, and says when actix-http has let one go.
    pub(crate) fn with_connections(
        on_connect: impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static,
        start: impl FnOnce() -> SocketIo + Send + 'static,
    ) -> (Self, mpsc::Receiver<()>) {
        let (dropped, ended) = mpsc::channel();
        let on_connect = move |stream: &dyn Any, extensions: &mut Extensions| {
            extensions.insert(Held(dropped.clone()));
            on_connect(stream, extensions);
        };
        let server = Self::run(move |sender| async move {
            let io = start();
            let server = HttpServer::new(move || App::new().service(io.clone())).workers(1);
            let server = server.on_connect(on_connect);
            serve!(server, sender)
        });
        (server, ended)
    }

    /// A server of Engine.IO alone, under `/engine.io`.
    pub(crate) fn engine(start: impl FnOnce() -> EngineIo + Send + 'static) -> Self {
        Self::run(|sender| async move {
            let engine = start();
            let server = HttpServer::new(move || App::new().service(engine.clone())).workers(1);
            serve!(server, sender)
        })
    }

    /// A server whose path is `/` below `/socket.io`, with a middleware of actix-web around it, and
    /// another service behind it.
    pub(crate) fn wrapped(start: impl FnOnce() -> SocketIo + Send + 'static) -> Self {
        Self::run(|sender| async move {
            let io = start();
            let server = HttpServer::new(move || {
                let headers = DefaultHeaders::new().add(("x-wrapped", "yes"));
                let scope = web::scope("/socket.io").wrap(headers).service(io.clone());
                let other = web::to(|| async { "another service" });
                App::new().service(scope).default_service(other)
            });
            let server = server.workers(1);
            serve!(server, sender)
        })
    }

    /// A server that answers every request like this.
    pub(crate) fn bare(
        answer: impl Fn(&HttpRequest, Payload) -> HttpResponse + Clone + Send + 'static,
    ) -> Self {
        Self::run(|sender| async move {
            let server = HttpServer::new(move || {
                let answer = answer.clone();
                let service = move |req: HttpRequest, payload: web::Payload| {
                    std::future::ready(answer(&req, payload.into_inner()))
                };
                App::new().default_service(web::to(service))
            });
            let server = server.workers(1);
            serve!(server, sender)
        })
    }

    fn run<F: Future<Output = ()>>(
        serve: impl FnOnce(mpsc::Sender<(SocketAddr, ServerHandle)>) -> F + Send + 'static,
    ) -> Self {
        let (sender, started) = mpsc::channel();
        let thread = std::thread::spawn(|| actix_rt::System::new().block_on(serve(sender)));
        let (address, handle) = started.recv_timeout(LIMIT).unwrap();
        Self { address, handle, thread: Some(thread) }
    }

    /// A request on a connection of its own.
    pub(crate) fn request(&self, method: &str, url: &str, body: &[u8]) -> Response {
        self.request_with(method, url, &[], body)
    }

    pub(crate) fn request_with(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut stream = self.send(method, url, headers, body);
        Response::read(&mut stream)
    }

    /// A request whose answer is read later.
    pub(crate) fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut head = format!("{method} {url} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if method != "GET" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that has refused by the head alone need not read the body.
        let _ = stream.write_all(body);
        stream
    }

    /// A request whose body is announced, and does not come.
    pub(crate) fn begin(&self, method: &str, url: &str, length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let head =
            format!("{method} {url} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Opens a WebSocket; the server's refusal is a response.
    pub(crate) fn websocket(&self, url: &str) -> Result<WebSocket, Response> {
        self.websocket_with(url, &[]).map(|(socket, _)| socket)
    }

    /// The same with more headers; the answer too.
    pub(crate) fn websocket_with(
        &self,
        url: &str,
        more: &[(&str, &str)],
    ) -> Result<(WebSocket, Response), Response> {
        let own = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers = [&own, more].concat();
        let mut stream = self.send("GET", url, &headers, b"");
        let head = Response::head(&mut stream);
        if head.status != 101 {
            return Err(head.with_body(&mut stream));
        }
        assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok((WebSocket(stream), head))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.handle.stop(false);
        drop(stopped);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

macro_rules! serve {
    ($server:ident, $sender:ident) => {{
        let server = $server.bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        let server = server.disable_signals().run();
        $sender.send((address, server.handle())).unwrap();
        server.await.unwrap();
    }};
}
use serve;

/// Lives as long as its connection.
struct Held(mpsc::Sender<()>);

impl Drop for Held {
    fn drop(&mut self) {
        // The test may have seen enough.
        let _ = self.0.send(());
    }
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    /// The body as text, as far as it is one.
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

impl Response {
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        Self::head(stream).with_body(stream)
    }

    /// The id of the session that the answer opens.
    pub(crate) fn sid(&self) -> String {
        let open = self.body.split('\x1e').next().unwrap().strip_prefix('0').unwrap();
        let open: serde_json::Value = serde_json::from_str(open).unwrap();
        open["sid"].as_str().unwrap().to_owned()
    }

    fn head(stream: &mut TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: String::new(), bytes: Vec::new() }
    }

    fn with_body(mut self, stream: &mut TcpStream) -> Self {
        let length = self.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        self.body = String::from_utf8_lossy(&body).into_owned();
        self.bytes = body;
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// The values of all headers of that name.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The client's end of a WebSocket.
pub(crate) struct WebSocket(TcpStream);

impl WebSocket {
    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends a masked frame; the first byte is given whole.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) {
        self.raw(&masked(first, payload));
    }

    /// Sends several texts in one write.
    pub(crate) fn texts(&mut self, texts: &[&str]) {
        let frames: Vec<u8> = texts.iter().flat_map(|text| masked(0x81, text.as_bytes())).collect();
        self.raw(&frames);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    /// The next frame: its first byte and its payload.
    pub(crate) fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                u16::from_be_bytes(length).into()
            }
            127 => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length).unwrap();
                u64::from_be_bytes(length) as usize
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    pub(crate) fn next_text(&mut self) -> String {
        let (first, payload) = self.next();
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// Reads to the end of the stream, though the client answers no close frame.
    pub(crate) fn is_ended(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "{rest:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// The code of the close frame that comes next, 1005 for none; then the end of the stream.
    pub(crate) fn close_code(&mut self) -> u16 {
        let (first, payload) = self.next();
        assert_eq!(first, 0x88, "{payload:?}");
        payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
