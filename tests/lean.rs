//! `LeanHttp`: the same application as behind `HttpServer`, on real sockets.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpResponse, dev::Server, middleware::DefaultHeaders, web};
use futures_util::future::join;
use greenroom::{engine::LeanHttp, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
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

// ---- time --------------------------------------------------------------------------------------

/// A server with little time for heads, whose `/slow` answers when `release` is told to.
fn serve_hurried(head: Duration, idle: Duration) -> (u16, Arc<Notify>) {
    let (release, listener) = (Arc::new(Notify::new()), TcpListener::bind(("127.0.0.1", 0)));
    let (told, listener) = (Arc::clone(&release), listener.unwrap());
    let port = listener.local_addr().unwrap().port();
    let server = Server::build()
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen("lean", listener, move || {
            let told = Arc::clone(&told);
            let slow = move || {
                let told = Arc::clone(&told);
                async move {
                    told.notified().await;
                    HttpResponse::Ok().body("hello")
                }
            };
            LeanHttp::new().keep_alive(idle).client_request_timeout(head).serve(
                App::new()
                    .route("/plain", web::get().to(|| async { HttpResponse::Ok().body("hello") }))
                    .route("/slow", web::get().to(slow)),
            )
        })
        .unwrap();
    actix_rt::spawn(server.run());
    (port, release)
}

const PLAIN: &str = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n";

async fn hello(socket: &mut TcpStream) {
    let answer = head(socket).await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let mut body = [0; 5];
    socket.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hello");
}

/// A connection whose first request was complete in time, for which actix-http takes a coarse clock.
async fn begun(port: u16, requests: &str) -> TcpStream {
    loop {
        let mut socket = open(port, requests.as_bytes()).await;
        let mut status = [0; 12];
        socket.read_exact(&mut status).await.unwrap();
        if &status != b"HTTP/1.1 408" {
            assert_eq!(&status, b"HTTP/1.1 200");
            head(&mut socket).await;
            socket.read_exact(&mut [0; 5]).await.unwrap();
            return socket;
        }
    }
}

async fn is_cut(mut socket: TcpStream) {
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
}

#[actix_rt::test]
async fn the_head_of_a_later_request_has_a_time_limit_and_nothing_else_has() {
    let long = Duration::from_secs(600);
    let (port, release) = serve_hurried(Duration::from_millis(600), long);
    let mut waiting = begun(port, PLAIN).await;
    waiting.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut idle = begun(port, PLAIN).await;

    let mut second = begun(port, PLAIN).await;
    let mut fourth = begun(port, PLAIN).await;
    for _ in 0..2 {
        fourth.write_all(PLAIN.as_bytes()).await.unwrap();
        hello(&mut fourth).await;
    }
    second.write_all(b"G").await.unwrap();
    fourth.write_all(b"GET /plain HTTP/1.1\r\nHost:").await.unwrap();
    join(is_cut(second), is_cut(fourth)).await;

    // They have waited for longer.
    idle.write_all(PLAIN.as_bytes()).await.unwrap();
    hello(&mut idle).await;
    release.notify_one();
    hello(&mut waiting).await;
    for socket in [&mut idle, &mut waiting] {
        socket.write_all(b"GET /pla").await.unwrap();
    }
    join(is_cut(idle), is_cut(waiting)).await;
}

#[actix_rt::test]
async fn what_comes_during_an_answer_gives_no_more_time_than_an_idle_connection_has() {
    let (port, _release) = serve_hurried(Duration::from_millis(600), Duration::from_millis(700));
    // Whole requests, and the begin of the next: nothing comes any more after the answers.
    let mut socket = begun(port, &[PLAIN, PLAIN, "GET /pl"].concat()).await;
    hello(&mut socket).await;
    is_cut(socket).await;
}

/// What the system says of an option of a connection that the server has accepted.
#[cfg(target_os = "linux")]
#[actix_rt::test]
async fn a_connection_has_a_limit_for_what_is_not_read() {
    use actix_service::{Service, ServiceFactory};
    for (options, expected) in [
        (LeanHttp::new(), Duration::from_secs(30)),
        (LeanHttp::new().unread_timeout(Duration::from_secs(7)), Duration::from_secs(7)),
    ] {
        let app = App::new().route("/", web::get().to(|| async { HttpResponse::Ok().finish() }));
        let service = options.serve(app).new_service(()).await.unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let accepted = accepted.into_std().unwrap();
        let again = socket2::Socket::from(accepted.try_clone().unwrap());
        let ended = service.call(TcpStream::from_std(accepted).unwrap());
        drop(client);
        let _ = ended.await;
        assert_eq!(again.tcp_user_timeout().unwrap(), Some(expected));
    }
}
