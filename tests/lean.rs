//! `LeanHttp`: the same application as behind `HttpServer`, on real sockets.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpResponse, dev::Server, middleware::DefaultHeaders, web};
use greenroom::{engine::LeanHttp, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const HANDSHAKE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A server, and its port. Its connections break with the runtime of the test.
fn serve() -> u16 {
    let io = SocketIo::builder()
        .namespace(
            Namespace::new("/")
                .on("echo", |_: Socket, data: Args| async move { Ack(data) })
                .on("size", |_: Socket, count: usize| async move { Ack("x".repeat(count)) }),
        )
        .start();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::build()
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen("lean", listener, move || {
            LeanHttp::new()
                .tcp_nodelay(true)
                .client_disconnect_timeout(Duration::from_secs(1))
                .serve(
                    App::new()
                        .wrap(DefaultHeaders::new().add(("x-app", "yes")))
                        .route(
                            "/plain",
                            web::get().to(|| async { HttpResponse::Ok().body("hello") }),
                        )
                        .service(io.clone()),
                )
        })
        .unwrap();
    actix_rt::spawn(server.run());
    port
}

async fn open(port: u16, request: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(request).await.unwrap();
    socket
}

async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// A client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The opcode and payload of the next frame.
async fn read_frame(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let opcode = socket.read_u8().await.unwrap() & 15;
    let length = match socket.read_u8().await.unwrap() {
        126 => socket.read_u16().await.unwrap().into(),
        127 => socket.read_u64().await.unwrap(),
        length => length.into(),
    };
    let mut payload = vec![0; length as usize];
    socket.read_exact(&mut payload).await.unwrap();
    (opcode, payload)
}

async fn read_text(socket: &mut TcpStream) -> String {
    String::from_utf8(read_frame(socket).await.1).unwrap()
}

async fn joined(port: u16) -> TcpStream {
    let mut socket = open(port, HANDSHAKE.as_bytes()).await;
    head(&mut socket).await;
    socket.write_all(&frame(0x81, b"40")).await.unwrap();
    assert!(read_text(&mut socket).await.starts_with("0{"));
    assert!(read_text(&mut socket).await.starts_with("40{"));
    socket
}

#[actix_rt::test]
async fn requests_and_websockets_are_answered_by_the_same_application() {
    let port = serve();
    let mut plain = open(port, b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n").await;
    for again in [true, false] {
        let answer = head(&mut plain).await;
        assert!(answer.starts_with("http/1.1 200") && answer.contains("x-app: yes"), "{answer}");
        let mut body = [0; 5];
        plain.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"hello");
        if again {
            // On the same connection.
            plain.write_all(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        }
    }
    let mut socket = open(port, HANDSHAKE.as_bytes()).await;
    let answer = head(&mut socket).await;
    assert!(answer.starts_with("http/1.1 101") && answer.contains("x-app: yes"), "{answer}");
}

#[actix_rt::test]
async fn frames_that_come_with_the_request_are_read() {
    let early = [HANDSHAKE.as_bytes(), &frame(0x81, b"40")].concat();
    let mut socket = open(serve(), &early).await;
    head(&mut socket).await;
    assert!(read_text(&mut socket).await.starts_with("0{"));
    assert!(read_text(&mut socket).await.starts_with("40{"));
    socket.write_all(&frame(0x81, b"421[\"echo\",7]")).await.unwrap();
    assert_eq!(read_text(&mut socket).await, "431[7]");
}

#[actix_rt::test]
async fn a_request_behind_another_on_the_same_connection_becomes_a_websocket() {
    let mut both = b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    both.extend(HANDSHAKE.as_bytes());
    let mut socket = open(serve(), &both).await;
    assert!(head(&mut socket).await.starts_with("http/1.1 200"));
    socket.read_exact(&mut [0; 5]).await.unwrap();
    assert!(head(&mut socket).await.starts_with("http/1.1 101"));
    assert!(read_text(&mut socket).await.starts_with("0{"));
}

#[actix_rt::test]
async fn more_than_a_client_takes_at_once_arrives_whole_and_in_order() {
    let mut socket = joined(serve()).await;
    for id in 0..40 {
        let ask = format!("42{id}[\"size\",{}]", 100_000 * (id % 2) + 10);
        socket.write_all(&frame(0x81, ask.as_bytes())).await.unwrap();
    }
    for id in 0..40 {
        let text = read_text(&mut socket).await;
        let size = 100_000 * (id % 2) + 10;
        assert_eq!(text, format!("43{id}[\"{}\"]", "x".repeat(size)));
    }
}

#[actix_rt::test]
async fn a_request_that_cannot_become_a_websocket_is_answered_and_the_connection_ends() {
    let port = serve();
    let bad_version = HANDSHAKE.replace("Version: 13", "Version: 7");
    let unknown = HANDSHAKE.replace("/socket.io/", "/nothing/");
    for (request, status) in [(bad_version, "400"), (unknown, "404")] {
        let mut socket = open(port, request.as_bytes()).await;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
}

#[actix_rt::test]
async fn the_close_frame_reaches_a_client_that_goes_on_sending() {
    let mut socket = joined(serve()).await;
    // A reserved opcode, and much behind it that nobody reads.
    let mut bytes = frame(0x83, b"");
    bytes.resize(400_000, 0);
    socket.write_all(&bytes).await.unwrap();
    let (opcode, payload) = read_frame(&mut socket).await;
    assert_eq!((opcode, &payload[..2]), (8, &1002_u16.to_be_bytes()[..]));
    // Then the connection ends.
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
}
