//! Clients that come back after a broken connection.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::time::Duration;

use greenroom::{
    Recovery,
    prelude::*,
    testing::{TestServer, TestSocket},
};
use serde_json::{Value, json};

fn builder(namespace: Namespace) -> greenroom::SocketIoBuilder {
    SocketIo::builder().namespace(namespace).connection_state_recovery(Recovery::new())
}

/// The name and the first argument of the events that have come, in order.
async fn heard(client: &TestSocket, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    for _ in 0..count {
        let event = client.next_event().await;
        all.push(json!([event.name, event.args.to_json()[0]]));
    }
    client.expect_silence().await;
    all
}

#[actix_rt::test]
async fn a_client_has_its_socket_back_with_all_it_missed() {
    let lobby = Namespace::new("/").on_connect(|socket: Socket| async move {
        socket.data(|data| data.set("name", "ann")).unwrap();
        if !socket.recovered() {
            socket.join("lobby");
        }
    });
    let server = TestServer::start(builder(lobby));
    let ann = server.connect("/", ()).await.unwrap();
    let id = ann.id();
    assert!(!ann.recovered());
    server.io().to("lobby").emit("said", &1).unwrap();
    heard(&ann, 1).await;
    ann.drop_connection();
    server.settle().await;
    server.io().to("lobby").emit("said", &2).unwrap();
    server.io().to("elsewhere").emit("said", &3).unwrap();
    server.io().to(&id).emit("said", &4).unwrap();
    server.advance(Duration::from_secs(100)).await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(back.id(), id);
    assert_eq!(heard(&back, 2).await, [json!(["said", 2]), json!(["said", 4])]);
}
