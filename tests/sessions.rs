//! What time, an upgrade and the server's end do to a session, through real requests.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::{
    io::Write,
    sync::mpsc,
    time::{Duration, Instant},
};

use greenroom::{SocketIoBuilder, Transport, engine::ConnectionEvent, prelude::*};
use http::{Response, Server};

const URL: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";
/// How long a test waits for what does not come.
const LIMIT: Duration = Duration::from_secs(10);
/// What the options are set to; far from their defaults, which are longer than `LIMIT`.
const SHORT: Duration = Duration::from_millis(300);

/// A server of which the test has a handle too, and is told why sockets have left.
fn server(
    workers: usize,
    build: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder + Send + 'static,
) -> (Server, SocketIo, mpsc::Receiver<DisconnectReason>) {
    let ((sender, handed_out), (ended, reasons)) = (mpsc::channel(), mpsc::channel());
    let server = Server::with_workers(workers, move || {
        let main = Namespace::new("/")
            .on("echo", |socket: Socket, data: Args| async move { socket.emit("echo", &data) })
            .on("close me", |socket: Socket, (): ()| async move { socket.close_connection() })
            .on_disconnect(move |_: Socket, reason: DisconnectReason| {
                ended.send(reason).unwrap();
                std::future::ready(())
            });
        let io = build(SocketIo::builder().namespace(main)).start();
        sender.send(io.clone()).unwrap();
        io
    });
    let io = handed_out.recv_timeout(LIMIT).unwrap();
    (server, io, reasons)
}

/// Opens a polling session and joins the main namespace.
fn join(server: &Server) -> String {
    let url = format!("{URL}&sid={}", server.request("GET", URL, b"").sid());
    assert_eq!(server.request("POST", &url, b"40").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40{\"sid\":\""));
    url
}

fn is_unknown(server: &Server, url: &str) {
    let response = server.request("GET", url, b"");
    let body = r#"{"code":1,"message":"Session ID unknown"}"#;
    assert_eq!((response.status, &*response.body), (400, body));
}

// ---- time ------------------------------------------------------------------------------------

#[test]
fn a_closed_session_that_nobody_polls_is_kept_for_the_close_timeout_and_then_gone() {
    let (server, io, reasons) = server(1, |builder| builder.close_timeout(SHORT));
    let url = join(&server);
    let before = Instant::now();
    server.request("POST", &url, br#"42["close me"]"#);
    let reason = reasons.recv_timeout(LIMIT).unwrap();
    assert!(before.elapsed() >= SHORT, "{:?}", before.elapsed());
    assert_eq!(reason.to_string(), "forced close");
    assert_eq!(io.clients_count(), 0);
    is_unknown(&server, &url);
}

#[test]
fn a_closed_session_is_there_for_a_client_that_polls_in_time() {
    let (server, io, reasons) = server(1, |builder| builder.close_timeout(3600 * LIMIT));
    let url = join(&server);
    server.request("POST", &url, br#"42["close me"]"#);
    assert_eq!(io.clients_count(), 1);
    assert!(reasons.try_recv().is_err());
    assert_eq!(server.request("GET", &url, b"").body, "1");
    assert_eq!(reasons.recv_timeout(LIMIT).unwrap().to_string(), "forced close");
    is_unknown(&server, &url);
}

#[test]
fn a_body_that_comes_byte_by_byte_is_cut_off_and_ends_the_session() {
    let (server, _, reasons) = server(1, |builder| builder.body_timeout(SHORT));
    let url = join(&server);
    let before = Instant::now();
    let mut stream = server.begin("POST", &url, 900_000);
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // Every byte is another reason to go on reading.
    while stream.peek(&mut [0]).is_err() {
        assert!(before.elapsed() < LIMIT, "the body is still being read");
        let _ = stream.write_all(b"4");
    }
    assert!(before.elapsed() >= SHORT, "{:?}", before.elapsed());
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(Response::read(&mut stream).status, 400);
    assert_eq!(reasons.recv_timeout(LIMIT).unwrap().to_string(), "transport error");
    is_unknown(&server, &url);
}

// ---- upgrade ---------------------------------------------------------------------------------

#[test]
fn a_socket_is_told_once_that_its_session_has_moved_to_a_websocket() {
    let (told, events) = mpsc::channel();
    let (server, ..) = server(2, move |builder| {
        builder.namespace(Namespace::new("/watched").on_connect(move |socket: Socket| {
            let told = told.clone();
            socket.on_connection_event(move |socket: Socket, event: ConnectionEvent| {
                if let ConnectionEvent::Upgraded(_) = event {
                    told.send((event, socket.transport())).unwrap();
                }
                std::future::ready(())
            });
            std::future::ready(())
        }))
    });
    let url = join(&server);
    assert_eq!(server.request("POST", &url, b"40/watched,").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40/watched,{"));
    let mut socket = server.websocket(&url.replace("polling", "websocket")).ok().unwrap();
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    // Not before the client says so.
    assert!(events.try_recv().is_err());
    socket.text("5");
    socket.text(r#"42["echo",1]"#);
    assert_eq!(socket.next_text(), r#"42["echo",1]"#);
    let moved = (ConnectionEvent::Upgraded(Transport::WebSocket), Transport::WebSocket);
    assert_eq!(events.recv_timeout(LIMIT).unwrap(), moved);
    socket.text(r#"42["echo",2]"#);
    assert_eq!(socket.next_text(), r#"42["echo",2]"#);
    assert!(events.try_recv().is_err());
}

// ---- the server's end ------------------------------------------------------------------------

/// A server whose sockets in `/held` are handed to the test.
fn holding(workers: usize) -> (Server, SocketIo, mpsc::Receiver<Socket>) {
    let (handed_out, handles) = mpsc::channel();
    let (server, io, _) = server(workers, move |builder| {
        builder.namespace(Namespace::new("/held").on_connect(move |socket: Socket| {
            handed_out.send(socket).unwrap();
            std::future::ready(())
        }))
    });
    (server, io, handles)
}

fn emit_and_close(io: &SocketIo, socket: &Socket) {
    for n in 1..=3 {
        socket.emit("last", &n).unwrap();
    }
    actix_rt::System::new().block_on(io.close());
    assert!(!socket.connected());
    assert_eq!(io.clients_count(), 0);
}

#[test]
fn what_was_emitted_right_before_the_server_closes_reaches_a_websocket() {
    let (server, io, handles) = holding(2);
    let mut client = server.websocket(WS).ok().unwrap();
    client.next_text();
    client.text("40/held,");
    assert!(client.next_text().starts_with("40/held,{"));
    emit_and_close(&io, &handles.recv_timeout(LIMIT).unwrap());
    for n in 1..=3 {
        assert_eq!(client.next_text(), format!(r#"42/held,["last",{n}]"#));
    }
    assert_eq!(client.close_code(), 1001);
}

#[test]
fn what_was_emitted_right_before_the_server_closes_reaches_a_poll_that_waits() {
    // One worker: then the poll is waiting for sure when a later request has been answered.
    let (server, io, handles) = holding(1);
    let url = join(&server);
    assert_eq!(server.request("POST", &url, b"40/held,").status, 200);
    assert!(server.request("GET", &url, b"").body.starts_with("40/held,{"));
    let socket = handles.recv_timeout(LIMIT).unwrap();
    let mut poll = server.send("GET", &url, &[], b"");
    server.request("POST", &url, b"3");
    emit_and_close(&io, &socket);
    let response = Response::read(&mut poll);
    assert!(response.body.starts_with(r#"42/held,["last",1]"#), "{response:?}");
}

#[test]
fn what_was_broadcast_right_before_the_server_closes_reaches_clients_of_all_workers() {
    let (server, io, _reasons) = server(4, |builder| builder);
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.websocket(WS).ok().unwrap();
            client.next_text();
            client.text("40");
            assert!(client.next_text().starts_with("40{"));
            client
        })
        .collect();
    io.emit("last", &1).unwrap();
    actix_rt::System::new().block_on(io.close());
    for client in &mut clients {
        assert_eq!(client.next_text(), r#"42["last",1]"#);
    }
}
