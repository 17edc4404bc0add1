//! When both have said goodbye on a WebSocket, the server closes the connection (RFC 6455, 7.1.1).
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/http.rs"]
mod http;

use std::time::Duration;

use greenroom::{engine::Config, engine::bare_websocket, prelude::*};
use http::{Server, WebSocket};

const CLOSE: u8 = 0x88;

/// A client in the main namespace, and the server.
fn joined(namespace: Namespace) -> (Server, WebSocket) {
    let server = Server::lingering(|| SocketIo::builder().namespace(namespace).start());
    let mut client = server.websocket("/socket.io/?EIO=4&transport=websocket").unwrap();
    assert!(client.next_text().starts_with('0'));
    client.text("40");
    assert!(client.next_text().starts_with("40"));
    (server, client)
}

#[test]
fn when_the_client_closes_the_connection_ends() {
    let (_server, mut client) = joined(Namespace::new("/"));
    client.frame(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.close_code(), 1000);
    client.is_ended();
}

#[test]
fn when_the_client_closes_while_much_is_written_the_connection_ends() {
    let namespace = Namespace::new("/").on("much", |socket: Socket, (): ()| async move {
        socket.emit("much", &"x".repeat(100_000)).unwrap();
    });
    let (_server, mut client) = joined(namespace);
    client.text(r#"42["much"]"#);
    assert_eq!(client.next_text().len(), 100_013);
    client.frame(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.close_code(), 1000);
    client.is_ended();
}

#[test]
fn when_the_client_answers_the_close_of_the_server_the_connection_ends() {
    let namespace = Namespace::new("/").on("leave", |socket: Socket, (): ()| async move {
        socket.disconnect(true).await;
    });
    let (_server, mut client) = joined(namespace);
    client.text(r#"42["leave"]"#);
    while client.next().0 != CLOSE {}
    // What was on its way is no answer.
    client.text("3");
    client.frame(CLOSE, b"");
    client.is_ended();
}

#[test]
fn a_websocket_that_comes_too_late_for_an_upgrade_ends_with_its_answer() {
    let (server, _client) = joined(Namespace::new("/"));
    let opened = server.request("GET", "/socket.io/?EIO=4&transport=polling", b"");
    let url = format!("/socket.io/?EIO=4&transport=websocket&sid={}", opened.sid());
    let mut first = server.websocket(&url).unwrap();
    first.text("2probe");
    assert_eq!(first.next_text(), "3probe");
    let mut second = server.websocket(&url).unwrap();
    assert_eq!(second.close_code(), 1005);
    second.frame(CLOSE, b"");
    second.is_ended();
}

#[test]
fn what_waits_is_written_before_the_close() {
    let server = Server::bare(|req, payload| {
        let mut config = Config::default();
        config.max_http_buffer_size = 20_000_000;
        bare_websocket(req, payload, &config, Some)
    });
    let mut client = server.websocket("/").unwrap();
    client.frame(0x82, &vec![7; 16_000_000]);
    client.frame(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.next().1.len(), 16_000_000);
    assert_eq!(client.close_code(), 1000);
    client.is_ended();
}

/// A client that was closed because it does not read, and goes on like that.
#[cfg(target_os = "linux")]
#[test]
fn who_reads_nothing_any_more_loses_the_connection() {
    let limit = Duration::from_millis(300);
    let (server, ended) = Server::with_connections(greenroom::close_unread_after(limit), || {
        let flood = Namespace::new("/").on("flood", |socket: Socket, (): ()| async move {
            let event = "x".repeat(1_000_000);
            while socket.emit("flood", &event).is_ok() && socket.connected() {
                actix_rt::task::yield_now().await;
            }
        });
        SocketIo::builder().namespace(flood).start()
    });
    let mut client = server.websocket("/socket.io/?EIO=4&transport=websocket").unwrap();
    assert!(client.next_text().starts_with('0'));
    client.text("40");
    assert!(client.next_text().starts_with("40"));
    client.text(r#"42["flood"]"#);
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(()));
}
