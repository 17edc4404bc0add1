//! Clients that come back after a broken connection.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "../support/http.rs"]
mod http;
#[path = "../support/lines.rs"]
mod lines;
#[path = "../support/stage.rs"]
mod stage;
#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod emits;
mod order;
mod races;
mod returning;
mod wire;

use greenroom::{
    Recovery, SocketIoBuilder,
    prelude::*,
    testing::{TestServer, TestSocket},
};
use serde_json::Value;

/// A server with recovery and this namespace.
fn server(namespace: Namespace) -> TestServer {
    TestServer::start(builder(namespace, Recovery::new()))
}

fn builder(namespace: Namespace, recovery: Recovery) -> SocketIoBuilder {
    SocketIo::builder().namespace(namespace).connection_state_recovery(recovery)
}

/// A namespace whose clients name their rooms in `auth.rooms`, when they come for the first time.
fn rooms(name: &str) -> Namespace {
    Namespace::new(name).on_connect(|socket: Socket| async move {
        for room in socket.handshake().auth["rooms"].as_array().into_iter().flatten() {
            if !socket.recovered() {
                socket.join(room.as_str().unwrap_or_default());
            }
        }
    })
}

/// The first arguments of the next events, which are all.
async fn heard<const N: usize>(client: &TestSocket) -> [Value; N] {
    let mut all = [const { Value::Null }; N];
    for slot in &mut all {
        *slot = client.next_event().await.args.to_json()[0].clone();
    }
    client.expect_silence().await;
    all
}

/// The packets of a connection, without offsets and ids.
fn packets(client: &TestSocket) -> Vec<String> {
    let plain = |packet: String| match (packet.find('['), packet.find("{\"sid\"")) {
        (Some(start), _) => {
            let mut list: Vec<Value> = serde_json::from_str(&packet[start..]).unwrap();
            list.pop_if(|last| list_offset(last));
            format!("{}{}", &packet[..start], Value::Array(list))
        }
        (None, Some(start)) => packet[..start].to_owned(),
        (None, None) => packet,
    };
    client.connection().transcript().into_iter().map(plain).collect()
}

/// Whether an argument is an offset.
fn list_offset(value: &Value) -> bool {
    let parts = value.as_str().and_then(|text| text.split_once('-'));
    parts.is_some_and(|(epoch, number)| {
        epoch.len() == 8 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Comes back on a connection of its own, while the test goes on.
async fn returning_meanwhile(server: &TestServer, client: &TestSocket) -> Returning {
    let (connection, client) = (server.open().await.unwrap(), client.clone());
    actix_rt::spawn(async move { connection.rejoin(&client, ()).await })
}

type Returning = actix_rt::task::JoinHandle<Result<TestSocket, greenroom::testing::Refused>>;

/// Breaks the connection; done when the server has noticed.
async fn cut(server: &TestServer, client: &TestSocket) {
    client.drop_connection();
    server.settle().await;
}
