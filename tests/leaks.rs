//! A server that has been closed, and whose HTTP server has been stopped, leaves nothing behind: no
//! thread, no file descriptor, no actor, no task. Alone in its process, as it counts all of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support {
    pub(crate) mod http;
}

use std::{
    fs,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use actix_web::HttpResponse;
use greenroom::{CountSockets, Drain, DrainReport, SocketIo, prelude::*};
use support::http::{Server, WebSocket};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WS: &str = "/socket.io/?EIO=4&transport=websocket";

/// Whatever a listener may hold: as long as it lives, something of the server does.
struct Token;

fn count(path: &str) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// What a process has: file descriptors and threads.
fn belongings() -> (usize, usize) {
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Waits until as much is left as there was before; threads take a moment to vanish.
fn expect_nothing_left(before: (usize, usize)) {
    let start = Instant::now();
    while belongings() != before {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?} of {before:?}", belongings());
        std::thread::yield_now();
    }
}

fn namespace(name: &str, token: &Arc<Token>) -> Namespace {
    let (held, slow, never) = (Arc::clone(token), Arc::clone(token), Arc::clone(token));
    Namespace::new(name)
        .before_connect(move |_: Socket| {
            let token = Arc::clone(&held);
            async move {
                tokio::task::yield_now().await;
                drop(token);
                Ok::<_, ConnectError>(())
            }
        })
        .on_connect(|socket: Socket| async move { socket.join("all") })
        .on("slow", move |_: Socket, n: u64| {
            let token = Arc::clone(&slow);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(token);
                Ack(n)
            }
        })
        .on_disconnect(move |_: Socket, _: DisconnectReason| {
            let token = Arc::clone(&never);
            async move { drop(token) }
        })
}

/// A client that was let into the main namespace, and has asked for something that takes a while.
fn websocket(server: &Server) -> WebSocket {
    let mut socket = server.websocket(WS).unwrap();
    assert!(socket.next_text().starts_with('0'));
    socket.text("40");
    assert!(socket.next_text().starts_with("40"));
    socket.text(r#"420["slow",1]"#);
    socket
}

/// Many clients in every state that there is; then the server is ended by `end`.
fn round(end: impl AsyncFnOnce(SocketIo) + Send + 'static) {
    let before = belongings();
    let token = Arc::new(Token);
    let left: Weak<Token> = Arc::downgrade(&token);
    let (hand_over, handed_over) = std::sync::mpsc::channel();
    let server = Server::with_workers(2, move || {
        let parent = greenroom::Parent::matching("^/child-").children(|child| child);
        let builder = SocketIo::builder().namespace(namespace("/", &token)).parent(parent);
        let io = builder.namespace(namespace("/other", &token)).start();
        hand_over.send(io.clone()).unwrap();
        io
    });
    let io = handed_over.recv().unwrap();
    let sockets: Vec<_> = (0..10).map(|_| websocket(&server)).collect();
    // One in several namespaces, one that has not joined any, one that drops its connection.
    let mut several = websocket(&server);
    several.texts(&["40/other,", "40/child-1,"]);
    let unjoined = server.websocket(WS).unwrap();
    drop(websocket(&server));
    // Polling: one that waits, one that does not, one that was left behind, an upgrade under way.
    let sids: Vec<_> = (0..4).map(|_| server.request("GET", POLLING, b"").sid()).collect();
    let urls: Vec<_> = sids.iter().map(|sid| format!("{POLLING}&sid={sid}")).collect();
    for url in &urls {
        assert_eq!(server.request("POST", url, b"40").body, "ok");
        assert!(server.request("GET", url, b"").body.starts_with("40"));
    }
    let mut waiting = server.send("GET", &urls[0], &[], b"");
    let mut probing = server.websocket(&format!("{WS}&sid={}", sids[3])).unwrap();
    probing.text("2probe");
    assert_eq!(probing.next_text(), "3probe");
    actix_rt::System::new().block_on(end(io));
    let answer = support::http::Response::read(&mut waiting);
    assert_eq!((answer.status, &*answer.body), (200, "1"), "every waiting poll gets an answer");
    drop((sockets, several, unjoined, probing, waiting));
    drop(server);
    expect_nothing_left(before);
    assert_eq!(left.strong_count(), 0, "something of the server lives on");
}

#[test]
fn nothing_is_left_of_a_server_that_has_ended() {
    // What the runtime makes once and keeps, whoever uses it.
    let threads = belongings().1;
    drop(Server::bare(|_, _| HttpResponse::Ok().finish()));
    // Its last thread takes its file descriptors along.
    while belongings().1 > threads {
        std::thread::yield_now();
    }
    round(async |io| {
        io.close().await;
        assert_eq!((io.clients_count(), io.namespaces().len()), (0, 0));
    });
    round(async |io| {
        let DrainReport { cut, complete, .. } =
            io.drain(Drain::new().deadline(Duration::from_secs(1))).await;
        // The polling clients that do not poll cannot be told.
        assert_eq!((cut, complete), (3, true));
    });
    // Cut off, with everything in flight.
    round(async |io| {
        let main = io.namespace("/").unwrap();
        assert!(main.send(CountSockets).await.unwrap() > 10);
        let report = io.drain(Drain::new().deadline(Duration::ZERO)).await;
        assert!(report.cut > 10 && report.complete, "{report:?}");
        assert!(!main.connected());
    });
}
