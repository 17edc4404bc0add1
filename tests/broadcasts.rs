//! What a broadcast costs: it is written once, however many hear it.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use greenroom::{
    EncodeError, SocketIoBuilder,
    engine::Message,
    packet::{Decode, DefaultParser, Outgoing, Parser, ParserLimits},
    prelude::*,
    testing::{TestServer, TestSocket},
};
use serde::{Serialize, Serializer};
use serde_json::json;

const SOCKETS: usize = 50;

type Count = Arc<AtomicUsize>;

/// Data that counts how often it is turned into JSON.
struct Counted(Count);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        serializer.serialize_str("counted")
    }
}

/// The default parser, which counts the events it writes.
#[derive(Debug)]
struct Counting(Count);

impl Parser for Counting {
    fn decoder(&self, limits: ParserLimits) -> Box<dyn Decode> {
        DefaultParser.decoder(limits)
    }

    fn encode(&self, packet: &Outgoing<'_>) -> Result<Vec<Message>, EncodeError> {
        if matches!(packet, Outgoing::Event { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        DefaultParser.encode(packet)
    }
}

/// Clients on two workers.
async fn crowd(builder: SocketIoBuilder) -> (TestServer, Vec<TestSocket>) {
    let server = TestServer::workers(builder, 2).await;
    let clients = server.many("/", SOCKETS).await;
    (server, clients)
}

async fn all_hear(clients: &[TestSocket], event: &str) {
    for client in clients {
        assert_eq!(client.next_event().await, (event.into(), json!(["counted"])));
    }
}

#[actix_rt::test]
async fn the_data_of_a_broadcast_is_serialized_once() {
    let (server, clients) = crowd(SocketIo::builder()).await;
    let count = Count::default();
    server.io().emit("all", &Counted(Arc::clone(&count))).unwrap();
    all_hear(&clients, "all").await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let ids: Vec<_> = clients.iter().map(TestSocket::id).collect();
    server.io().to(ids).emit("each", &Counted(Arc::clone(&count))).unwrap();
    all_hear(&clients, "each").await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[actix_rt::test]
async fn the_parser_writes_a_broadcast_once() {
    let count = Count::default();
    let (server, clients) = crowd(SocketIo::builder().parser(Counting(Arc::clone(&count)))).await;
    for (n, event) in ["one", "two"].into_iter().enumerate() {
        server.io().emit(event, &"counted").unwrap();
        all_hear(&clients, event).await;
        assert_eq!(count.load(Ordering::SeqCst), n + 1);
    }
    let answers = server.io().sockets().emit_with_ack("asked", &"counted").unwrap();
    all_hear(&clients, "asked").await;
    drop(answers);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}
