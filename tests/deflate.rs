//! permessage-deflate through the front door: a real server, and clients that compress.
//!
//! More of it, with `ws` and the official client, is in `tests/e2e`.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::sync::mpsc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use greenroom::{
    Recovery,
    engine::{Config, EngineIo, Opened, PerMessageDeflate, bare_websocket},
    prelude::*,
};
use http::{Response, Server, WebSocket};

const WS: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const OFFER: &str = "permessage-deflate";
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A client with the extension.
struct Client {
    socket: WebSocket,
    answer: String,
    deflate: Compress,
    inflate: Decompress,
}

fn open(server: &Server, url: &str, offer: &str) -> Result<(Option<String>, WebSocket), Response> {
    let (socket, head) = server.websocket_with(url, &[("Sec-WebSocket-Extensions", offer)])?;
    Ok((head.header("sec-websocket-extensions").map(str::to_owned), socket))
}

impl Client {
    fn open(server: &Server, url: &str, offer: &str) -> Self {
        let (answer, socket) = open(server, url, offer).unwrap();
        Self {
            socket,
            answer: answer.expect("the offer is accepted"),
            deflate: Compress::new(Compression::default(), false),
            inflate: Decompress::new(false),
        }
    }

    /// Opens a session and joins the main namespace.
    fn join(server: &Server, offer: &str) -> Self {
        let mut client = Self::open(server, WS, offer);
        assert!(client.next().1.starts_with("0{"));
        client.socket.text("40");
        assert!(client.next().1.starts_with("40{"));
        client
    }

    /// Sends a text, compressed.
    fn send(&mut self, text: &str) {
        let mut out = Vec::with_capacity(text.len() + 1024);
        self.deflate.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
        // Nothing is flushed twice: an empty message is an empty block.
        if text.is_empty() {
            out = [&[0][..], &TAIL].concat();
        }
        out.truncate(out.len() - TAIL.len());
        self.socket.frame(0xc1, &out);
        if self.answer.contains("client_no_context_takeover") {
            self.deflate.reset();
        }
    }

    /// The next text, and whether it was compressed.
    fn next(&mut self) -> (bool, String) {
        let (first, payload) = self.socket.next();
        match first {
            0x81 => (false, String::from_utf8(payload).unwrap()),
            0xc1 => (true, String::from_utf8(self.inflate(&payload)).unwrap()),
            first => panic!("{first:x} {payload:?}"),
        }
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        if self.answer.contains("server_no_context_takeover") {
            self.inflate.reset(false);
        }
        let input = [payload, &TAIL[..]].concat();
        let (start, mut out) = (self.inflate.total_in(), Vec::new());
        loop {
            out.reserve(1 << 20);
            let wrote = self.inflate.total_out();
            let rest = &input[(self.inflate.total_in() - start) as usize..];
            self.inflate.decompress_vec(rest, &mut out, FlushDecompress::Sync).unwrap();
            if self.inflate.total_out() == wrote {
                return out;
            }
        }
    }
}

fn text(size: usize) -> String {
    ["one ", "two ", "three "].into_iter().cycle().flat_map(str::chars).take(size).collect()
}

/// A server that sends an event to everybody when asked for one of that size, and its handle.
fn serve(workers: usize, options: Option<PerMessageDeflate>) -> (Server, SocketIo) {
    let (sender, handle) = mpsc::channel();
    let server = Server::with_workers(workers, move || {
        let namespace = Namespace::new("/")
            .on("echo", |socket: Socket, data: String| async move { socket.emit("echo", &data) })
            .on("plain", |socket: Socket, size: usize| async move {
                socket.everyone().compress(false).emit("all", &text(size))?;
                socket.compress(false).emit("own", &text(size))
            })
            .on("all", |socket: Socket, size: usize| async move {
                socket.everyone().emit("all", &text(size))
            });
        let mut builder = SocketIo::builder().namespace(namespace);
        if let Some(options) = options {
            builder = builder.per_message_deflate(options);
        }
        let io = builder.start();
        sender.send(io.clone()).unwrap();
        io
    });
    (server, handle.recv().unwrap())
}

fn event(name: &str, data: &str) -> String {
    format!("42[\"{name}\",\"{data}\"]")
}

// ---- one broadcast, many receivers -----------------------------------------------------------

#[test]
fn a_broadcast_is_compressed_once_for_all_whose_messages_stand_for_themselves() {
    let options = PerMessageDeflate::new().server_no_context_takeover(true);
    for (workers, size) in [(1, 2000), (3, 2000), (3, 300_000)] {
        let (server, io) = serve(workers, Some(options.clone()));
        let mut clients: Vec<_> = (0..12).map(|_| Client::join(&server, OFFER)).collect();
        for round in 1..=5 {
            clients[0].send(&format!("42[\"all\",{size}]"));
            for client in &mut clients {
                assert_eq!(client.next(), (true, event("all", &text(size))));
            }
            assert_eq!(io.metrics().messages_deflated, round, "{workers} workers, {size} bytes");
        }
    }
}

#[test]
fn each_window_costs_one_compression() {
    let (server, io) = serve(2, Some(PerMessageDeflate::new()));
    let offer =
        |bits| format!("{OFFER}; server_no_context_takeover; server_max_window_bits={bits}");
    let mut clients: Vec<_> =
        [15, 9, 12, 9, 15, 12, 12].map(|bits| Client::join(&server, &offer(bits))).into();
    // Without the extension nothing is compressed for a client.
    let mut plain = server.websocket(WS).unwrap();
    plain.next_text();
    plain.text("40");
    plain.next_text();

    clients[0].send("42[\"all\",5000]");
    for client in &mut clients {
        assert_eq!(client.next(), (true, event("all", &text(5000))));
    }
    assert_eq!(plain.next_text(), event("all", &text(5000)));
    assert_eq!(io.metrics().messages_deflated, 3);
}

#[test]
fn with_takeover_every_receiver_has_a_compression_of_its_own() {
    let (server, io) = serve(1, Some(PerMessageDeflate::new()));
    let mut clients: Vec<_> = (0..3).map(|_| Client::join(&server, OFFER)).collect();
    for _ in 0..4 {
        clients[0].send("42[\"all\",5000]");
        for client in &mut clients {
            assert_eq!(client.next(), (true, event("all", &text(5000))));
        }
    }
    assert_eq!(io.metrics().messages_deflated, 12);
}

/// The log counts the bytes of its events as they are: it must not hold what was made of them too.
#[test]
fn what_is_kept_for_recovery_is_not_what_the_receivers_have_compressed() {
    let (sender, handle) = mpsc::channel();
    let server = Server::start(move || {
        let namespace = Namespace::new("/").on("all", |socket: Socket, size: usize| async move {
            socket.everyone().emit("all", &text(size))
        });
        let builder =
            SocketIo::builder().namespace(namespace).connection_state_recovery(Recovery::new());
        let io = builder.per_message_deflate(PerMessageDeflate::new()).start();
        sender.send(io.clone()).unwrap();
        io
    });
    let io = handle.recv().unwrap();
    let offer = "permessage-deflate; server_no_context_takeover";
    let mut ann = Client::open(&server, WS, offer);
    ann.next();
    ann.socket.text("40");
    let (_, greeting) = ann.next();
    let mut bob = Client::join(&server, offer);
    bob.send("42[\"all\",5000]");
    let (_, heard) = bob.next();
    assert_eq!(ann.next(), (true, heard.clone()));
    assert_eq!(io.metrics().messages_deflated, 1, "both have the same window");

    // Without an offset it gets everything again.
    drop(ann);
    let session: serde_json::Value = serde_json::from_str(&greeting[2..]).unwrap();
    let mut ann = Client::open(&server, WS, offer);
    ann.next();
    ann.socket.text(&format!("40{}", serde_json::json!({ "pid": session["pid"] })));
    assert_eq!(ann.next(), (true, heard));
    assert_eq!(ann.next().1, greeting);
    assert_eq!(io.metrics().messages_deflated, 2, "the log had it uncompressed");
}

#[test]
fn neither_small_messages_nor_those_that_ask_for_it_are_compressed() {
    for offer in [OFFER, "permessage-deflate; server_no_context_takeover"] {
        let (server, io) = serve(1, Some(PerMessageDeflate::new()));
        let mut client = Client::join(&server, offer);
        // With what stands around it the event is one byte short of the threshold, then not.
        let around = event("all", "").len();
        client.send(&format!("42[\"all\",{}]", 1023 - around));
        assert!(!client.next().0);
        client.send(&format!("42[\"all\",{}]", 1024 - around));
        assert!(client.next().0);
        client.send("42[\"plain\",3000]");
        assert_eq!(client.next(), (false, event("all", &text(3000))));
        assert_eq!(client.next(), (false, event("own", &text(3000))));
        assert_eq!(io.metrics().messages_deflated, 1);
    }
}

// ---- one connection --------------------------------------------------------------------------

#[test]
fn messages_keep_their_order_whatever_their_size() {
    for offer in [OFFER, "permessage-deflate; server_no_context_takeover"] {
        let options = PerMessageDeflate::new().threshold(0);
        let (server, _) = serve(2, Some(options));
        let mut client = Client::join(&server, offer);
        let sizes = [10, 400_000, 3, 2000, 200_000, 100_000, 1, 1_000_000 - 20, 5];
        for size in sizes {
            client.send(&event("echo", &text(size)));
            client.socket.frame(0x89, b"between");
        }
        let mut echoes = Vec::new();
        while echoes.len() < sizes.len() {
            let (first, payload) = client.socket.next();
            // Pongs go before what waits.
            if first != 0x8a {
                assert_eq!(first, 0xc1);
                echoes.push(client.inflate(&payload).len());
            }
        }
        let expected = sizes.map(|size| event("echo", "").len() + size);
        assert_eq!(echoes, expected);
    }
}

#[test]
fn a_session_that_was_upgraded_is_compressed_both_ways() {
    let (server, io) = serve(2, Some(PerMessageDeflate::new()));
    let open = server.request("GET", POLLING, b"").body;
    let sid = open.split('"').nth(3).unwrap();
    let polling = format!("{POLLING}&sid={sid}");
    assert_eq!(server.request("POST", &polling, b"40").status, 200);
    assert!(server.request("GET", &polling, b"").body.starts_with("40{"));

    let mut client = Client::open(&server, &format!("{WS}&sid={sid}"), OFFER);
    client.send("2probe");
    assert_eq!(client.next(), (false, "3probe".into()));
    client.send("5");
    for _ in 0..2 {
        client.send(&event("echo", &text(2000)));
        assert_eq!(client.next(), (true, event("echo", &text(2000))));
    }
    assert_eq!(io.metrics().messages_deflated, 2);

    // Another WebSocket of the session is accepted with the extension too, and closed.
    let (answer, mut second) = self::open(&server, &format!("{WS}&sid={sid}"), OFFER).unwrap();
    assert_eq!(answer.as_deref(), Some(OFFER));
    assert_eq!(second.close_code(), 1005);
}

#[test]
fn engine_io_alone_compresses_too() {
    let server = Server::engine(|| {
        let mut config = Config::default();
        config.path = "/engine.io".into();
        config.per_message_deflate =
            Some(PerMessageDeflate::new().client_no_context_takeover(true));
        EngineIo::new(config, |socket| Opened::new(move |message| socket.send(message)))
    });
    let url = "/engine.io/?EIO=4&transport=websocket";
    let mut client = Client::open(&server, url, "permessage-deflate; client_max_window_bits");
    assert_eq!(client.answer, "permessage-deflate; client_no_context_takeover");
    client.next();
    for _ in 0..3 {
        let message = format!("4{}", text(5000));
        client.send(&message);
        assert_eq!(client.next(), (true, message));
    }
}

// ---- refusals --------------------------------------------------------------------------------

#[test]
fn nothing_is_negotiated_unless_the_server_wants_it() {
    let (server, _) = serve(1, None);
    for offer in [OFFER, "permessage-deflate; unknown", ";;"] {
        let (answer, mut socket) = open(&server, WS, offer).unwrap();
        assert_eq!(answer, None);
        socket.next_text();
        socket.frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        assert_eq!(socket.close_code(), 1002);
    }
    let (server, _) = serve(1, Some(PerMessageDeflate::new()));
    let (answer, mut socket) = open(&server, WS, "x-webkit-deflate-frame").unwrap();
    assert_eq!(answer, None);
    socket.next_text();
    socket.frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(socket.close_code(), 1002);
}

#[test]
fn an_offer_that_is_malformed_or_does_not_fit_is_refused_with_400() {
    let options = PerMessageDeflate::new().server_no_context_takeover(false);
    let (server, io) = serve(1, Some(options));
    for offer in [";", "permessage-deflate; x", "permessage-deflate; server_no_context_takeover"] {
        let refusal = open(&server, WS, offer).err().unwrap();
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.header("content-type"), Some("text/html"));
        assert_eq!(refusal.body, "Invalid or unacceptable Sec-WebSocket-Extensions header");
    }
    assert_eq!(io.clients_count(), 0);
    // Several lines are one list.
    let lines = [
        ("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover"),
    ];
    let (_socket, head) = server.websocket_with(WS, &lines).unwrap();
    let answer = head.header("sec-websocket-extensions");
    assert_eq!(answer, Some("permessage-deflate; client_no_context_takeover"));
}

#[test]
fn a_bomb_and_garbage_cost_only_their_client() {
    let (server, _) = serve(1, Some(PerMessageDeflate::new()));
    let mut bystander = Client::join(&server, OFFER);
    let mut bomb = Client::join(&server, OFFER);
    bomb.send(&text(5_000_000));
    assert_eq!(bomb.socket.close_code(), 1009);
    let mut garbage = Client::join(&server, OFFER);
    garbage.socket.frame(0xc1, &[0xff; 20]);
    assert_eq!(garbage.socket.close_code(), 1007);
    bystander.send(&event("echo", "here"));
    assert_eq!(bystander.next().1, event("echo", "here"));
}

// ---- without Engine.IO -----------------------------------------------------------------------

#[test]
fn a_bare_websocket_answers_everything_before_it_closes() {
    let server = Server::bare(|req, payload| {
        let mut config = Config::default();
        config.max_http_buffer_size = 200_000;
        config.per_message_deflate = Some(PerMessageDeflate::new());
        bare_websocket(req, payload, &config, Some)
    });
    let mut client = Client::open(&server, "/", OFFER);
    let large = text(150_000);
    for message in [&large, "small", "", &large] {
        client.send(message);
    }
    client.socket.frame(0x82, &[1, 2, 3]);
    client.socket.frame(0x88, &[3, 0xe8]);
    assert_eq!(client.next(), (true, large.clone()));
    assert_eq!(client.next(), (false, "small".into()));
    assert_eq!(client.next(), (false, String::new()));
    assert_eq!(client.next(), (true, large));
    assert_eq!(client.socket.next(), (0x82, vec![1, 2, 3]));
    assert_eq!(client.socket.close_code(), 1000);

    let mut client = Client::open(&server, "/", OFFER);
    client.send(&text(200_001));
    assert_eq!(client.socket.close_code(), 1009);
    assert_eq!(server.request("GET", "/", b"").status, 400);
}
