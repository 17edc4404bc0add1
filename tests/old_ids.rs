//! The ids of clients of Socket.IO 2, which are those of their sessions: secret, and perhaps used
//! more than once.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;
#[path = "support/lines.rs"]
mod lines;

use std::{sync::mpsc, time::Duration};

use greenroom::prelude::*;
use http::Server;
use lines::Lines;
use tokio::sync::watch;

const WS: &str = "/socket.io/?EIO=3&transport=websocket";
const LIMIT: Duration = Duration::from_secs(10);

/// Sessions that all have one id. Their sockets leave when the gate is open.
fn namesakes(
    gate: watch::Receiver<bool>,
    middleware: bool,
    log: mpsc::Sender<&'static str>,
) -> SocketIo {
    let mut main = Namespace::new("/")
        .on("rooms", |socket: Socket, (): ()| async move { Ack(socket.rooms().await) });
    if middleware {
        main = main.before_connect(async |socket: Socket| {
            tokio::task::yield_now().await;
            socket.join("lobby");
            Ok::<_, ConnectError>(())
        });
    }
    let ended = log.clone();
    let main = main
        .on_disconnecting(move |_: Socket, _: DisconnectReason| {
            log.send("leaving").unwrap();
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.unwrap();
            }
        })
        .on_disconnect(move |_: Socket, _: DisconnectReason| {
            ended.send("left").unwrap();
            async {}
        });
    let id = |_| async { Ok::<_, String>("ann".to_owned()) };
    SocketIo::builder().allow_eio3(true).generate_id(id).namespace(main).start()
}

#[test]
fn who_has_the_id_of_a_socket_that_is_leaving_is_sent_away_until_it_has_left() {
    for middleware in [false, true] {
        let (open, gate) = watch::channel(false);
        let (log, logged) = mpsc::channel();
        let (sender, ios) = mpsc::channel();
        let server = Server::start(move || {
            let io = namesakes(gate, middleware, log);
            sender.send(io.clone()).unwrap();
            io
        });
        let io = ios.recv_timeout(LIMIT).unwrap();
        let mut first = server.websocket(WS).ok().unwrap();
        first.next_text();
        assert_eq!(first.next_text(), "40");
        drop(first);
        assert_eq!(logged.recv_timeout(LIMIT), Ok("leaving"));
        let mut early = server.websocket(WS).ok().unwrap();
        assert!(early.next_text().starts_with("0{"));
        // Closed, so it comes again; it was never let in.
        early.close_code();
        open.send(true).unwrap();
        assert_eq!(logged.recv_timeout(LIMIT), Ok("left"));
        let mut late = server.websocket(WS).ok().unwrap();
        late.next_text();
        assert_eq!(late.next_text(), "40");
        late.text(r#"420["rooms"]"#);
        let rooms = if middleware { r#"430[["AAann","lobby"]]"# } else { r#"430[["AAann"]]"# };
        assert_eq!(late.next_text(), rooms);
        // Nothing is left behind that the server would wait for.
        let closed = actix_rt::System::new()
            .block_on(async { tokio::time::timeout(LIMIT, io.close()).await });
        assert!(closed.is_ok());
        assert_eq!(logged.try_iter().collect::<Vec<_>>(), ["leaving", "left"]);
        assert_eq!(io.clients_count(), 0);
    }
}

#[test]
fn the_id_of_an_old_client_is_in_no_log_line() {
    let lines = Lines::of_all_threads(tracing::Level::TRACE);
    let (sender, ended) = mpsc::channel();
    let server = Server::start(move || {
        let main = Namespace::new("/")
            .on("number", |_: Socket, _: u64| async {})
            .on("fail", |_: Socket, (): ()| async { "none".parse::<u64>().map(drop) })
            .on_disconnect(move |_: Socket, _: DisconnectReason| {
                sender.send(()).unwrap();
                async {}
            });
        let id = |_| async { Ok::<_, String>("secret-session".to_owned()) };
        SocketIo::builder().allow_eio3(true).generate_id(id).namespace(main).start()
    });
    let mut socket = server.websocket(WS).ok().unwrap();
    assert!(socket.next_text().contains("secret-session"));
    assert_eq!(socket.next_text(), "40");
    socket.texts(&[r#"42["number","none"]"#, r#"421["fail"]"#]);
    assert!(socket.next_text().starts_with("431"));
    drop(socket);
    ended.recv_timeout(LIMIT).unwrap();
    let log = lines.text();
    for line in ["socket connected", "event refused", "event failed", "socket disconnects"] {
        assert!(log.contains(line), "{log}");
    }
    assert!(!log.contains("secret-session"), "{log}");
}
