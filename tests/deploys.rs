//! The end of a server on real sockets: what load balancers and newcomers are told, and how it goes
//! together with actix-web's own graceful shutdown.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle};
use greenroom::{Cors, Drain, SocketIo, engine::EngineIo};

/// Less than the 30 seconds that actix-web waits for open connections by default.
const LIMIT: Duration = Duration::from_secs(15);

/// An HTTP server with its own default of 30 seconds for a graceful shutdown.
fn serve(io: &SocketIo, engine: &EngineIo) -> (ServerHandle, u16) {
    let (io, engine) = (io.clone(), engine.clone());
    let services = move || {
        App::new().service(io.readiness("/readyz")).service(engine.clone()).service(io.clone())
    };
    let server =
        HttpServer::new(services).workers(2).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let port = server.addrs()[0].port();
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    (handle, port)
}

fn engine() -> EngineIo {
    let mut config = greenroom::engine::Config::default();
    config.path = "/engine.io".into();
    EngineIo::new(config, |socket| {
        greenroom::engine::Opened::new(move |message| socket.send(message))
    })
}

/// Sends a request, and reads until `until` has come, or the end. On a thread of its own, as the
/// server may be on this one.
async fn exchange(port: u16, request: String, until: Option<&'static str>) -> (TcpStream, String) {
    let exchange = move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while until.is_none_or(|until| !answer.ends_with(until.as_bytes())) {
            if stream.read(&mut byte).unwrap() == 0 {
                break;
            }
            answer.push(byte[0]);
        }
        (stream, String::from_utf8_lossy(&answer).into_owned())
    };
    actix_rt::task::spawn_blocking(exchange).await.unwrap()
}

async fn get(port: u16, path: &str) -> String {
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nConnection: close\r\n\r\n");
    exchange(port, head, None).await.1
}

/// A WebSocket, open and idle.
async fn websocket(port: u16, path: &str) -> TcpStream {
    let head = format!(
        "GET {path}/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (stream, answer) = exchange(port, head, Some("\"maxPayload\":1000000}")).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream
}

/// What still comes until the end.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let read = move || {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut rest);
        rest
    };
    actix_rt::task::spawn_blocking(read).await.unwrap()
}

/// A close frame with 1001, "going away".
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

#[actix_rt::test]
async fn open_websockets_do_not_hold_up_the_graceful_shutdown_of_the_http_server() {
    let (io, engine) = (SocketIo::builder().start(), engine());
    let (server, port) = serve(&io, &engine);
    let sockets = [websocket(port, "/socket.io").await, websocket(port, "/engine.io").await];
    let report = io.drain(Drain::new()).await;
    assert_eq!((report.closed, report.cut, report.complete), (1, 0, true));
    engine.drain(Duration::from_secs(20), 1000).await;
    assert_eq!(engine.clients_count(), 0);
    for socket in sockets {
        assert_eq!(rest(socket).await, GOING_AWAY);
    }
    tokio::time::timeout(LIMIT, server.stop(true)).await.unwrap();
}

#[actix_rt::test]
async fn a_graceful_shutdown_that_is_under_way_already_ends_with_the_drain() {
    let (io, engine) = (SocketIo::builder().start(), engine());
    let (server, port) = serve(&io, &engine);
    let socket = websocket(port, "/socket.io").await;
    // As when actix-web has heard the signal by itself.
    let stopped = actix_rt::spawn(server.stop(true));
    let (report, stopped) =
        tokio::join!(io.drain(Drain::new()), tokio::time::timeout(LIMIT, stopped));
    assert_eq!((report.closed, report.cut), (1, 0));
    stopped.unwrap().unwrap();
    assert_eq!(rest(socket).await, GOING_AWAY);
}

#[actix_rt::test]
async fn a_load_balancer_and_newcomers_are_told_that_the_server_ends() {
    let io = SocketIo::builder().cors(Cors::origin("http://a")).start();
    let (server, port) = serve(&io, &engine());
    let ready = get(port, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nready"), "{ready}");
    assert!(ready.contains("cache-control: no-store"), "{ready}");
    let handshake = "/socket.io/?EIO=4&transport=polling";
    assert!(get(port, handshake).await.starts_with("HTTP/1.1 200 "));
    io.drain(Drain::new().deadline(Duration::ZERO)).await;
    for path in ["/readyz", handshake] {
        let refused = get(port, path).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("retry-after: 5\r\n"), "{refused}");
    }
    // A page may read why.
    let refused = get(port, handshake).await;
    assert!(refused.contains("access-control-allow-origin: http://a\r\n"), "{refused}");
    assert!(refused.ends_with("Server is closed"), "{refused}");
    io.reopen().await;
    assert!(get(port, "/readyz").await.starts_with("HTTP/1.1 200 "));
    server.stop(false).await;
}
