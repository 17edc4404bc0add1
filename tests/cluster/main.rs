//! Several servers that work as one. Every driver runs the same cases (`suite`); what can go wrong
//! on the way is tried with the bus in memory (`faults`), whose clock is paused.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "redis")]
#[path = "../support/lines.rs"]
mod lines;

#[cfg(feature = "redis")]
mod access;
#[cfg(feature = "redis")]
mod away;
#[cfg(feature = "redis")]
mod emitter;
mod faults;
#[cfg(feature = "redis")]
mod interleaved;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod secure;
#[cfg(feature = "redis")]
mod sharded;
#[cfg(feature = "redis")]
mod streams;
#[cfg(feature = "redis")]
mod streams_recovery;
mod suite;

use std::time::Duration;

use greenroom::{
    Parent, SocketIoBuilder,
    prelude::*,
    testing::{MemoryBus, TestServer, TestSocket},
};
use serde_json::json;

/// How the cases get their servers.
trait Driver {
    /// Starts so many servers, which know each other, with the namespaces of [`server`].
    async fn start(&self, count: usize) -> Vec<TestServer>;
}

/// A server with the namespaces that the cases use, but for its adapter.
fn server(name: String) -> SocketIoBuilder {
    let namespace = |path: &str| {
        let name = name.clone();
        Namespace::new(path)
            .on_connect(|socket: Socket| async move {
                let auth = socket.handshake().auth.clone();
                socket.join(
                    serde_json::from_value::<Vec<Room>>(auth["rooms"].clone()).unwrap_or_default(),
                );
                socket.set_data(&json!({ "name": auth["name"] }))
            })
            .on_server_side("ask", move |x: u64| {
                let name = name.clone();
                async move { Ack(json!({ "server": name, "x": x })) }
            })
            .on_server_side("silent", |_: Args| async move {})
            .on_server_side("panic", |_: Args| async move {
                if true {
                    panic!("a server-side listener");
                }
            })
    };
    SocketIo::builder()
        .namespace(namespace("/"))
        .namespace(namespace("/other"))
        .max_cluster_message(400_000)
        .parent(Parent::matching("^/born-[0-9]+$"))
        .cleanup_empty_child_namespaces(true)
}

/// A client that has a name and is in rooms.
async fn client(server: &TestServer, name: &str, rooms: &[&str]) -> TestSocket {
    server.connect("/", json!({ "name": name, "rooms": rooms })).await.unwrap()
}

/// A bus in memory that knows its nodes.
struct Memory(MemoryBus);

impl Driver for Memory {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let names = (0..count).map(|n| format!("node{n}"));
        let builder = |name: String| server(name.clone()).adapter(self.0.node(&name));
        let servers: Vec<_> = names.map(|name| TestServer::start(builder(name))).collect();
        for server in &servers {
            server.io().cluster_ready().await;
        }
        servers[0].settle().await;
        servers
    }
}

fn memory() -> Memory {
    Memory(MemoryBus::new())
}

/// One whose nodes find each other.
fn heartbeats() -> Memory {
    Memory(MemoryBus::new().heartbeats(Duration::from_secs(5), Duration::from_secs(10)))
}

/// One that carries broadcasts to a room only where it has members, and is slow to learn where.
fn rooms_on_demand() -> Memory {
    Memory(MemoryBus::new().rooms_on_demand(Duration::from_millis(20)))
}

/// One that takes its time.
fn slow() -> Memory {
    let bus = MemoryBus::new();
    bus.delay(Duration::from_millis(20));
    Memory(bus)
}

suite::for_driver!(in_memory, memory());
suite::for_driver!(with_heartbeats, heartbeats());
suite::for_driver!(with_rooms_on_demand, rooms_on_demand());
suite::for_driver!(over_a_slow_bus, slow());
