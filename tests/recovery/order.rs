//! Every message exactly once and in order, whoever is cut when.

use std::{sync::Arc, time::Duration};

use actix_rt::test;
use greenroom::{
    Recovery,
    prelude::*,
    testing::{TestServer, TestSocket},
};

use crate::{
    builder, rooms,
    stage::{Dice, STEPS, Stage, labels, performer},
    support::handle,
};

/// A client that is cut again and again.
struct Shaken {
    socket: TestSocket,
    /// The server's handle of its first connection, which never finds out.
    handle: Socket,
    sent: Vec<u64>,
    got: Vec<u64>,
}

/// Sends some numbers: to the room, to everybody, or to each client by itself.
fn publish(server: &TestServer, clients: &mut [Shaken], dice: &mut Dice, number: &mut u64) {
    for _ in 0..dice.roll(20) {
        *number += 1;
        let io = server.io();
        match dice.roll(4) {
            0 => io.to("lobby").emit("n", number).unwrap(),
            1 => io.to(["lobby", "elsewhere"]).except("empty").emit("n", number).unwrap(),
            2 => io.emit("n", number).unwrap(),
            _ => {
                for client in clients.iter() {
                    client.handle.emit("n", number).unwrap();
                }
            }
        }
        clients.iter_mut().for_each(|client| client.sent.push(*number));
    }
}

async fn nothing_is_lost_and_nothing_comes_twice(server: &TestServer, rounds: u64) {
    let mut clients = Vec::new();
    for _ in 0..4 {
        let auth = serde_json::json!({ "rooms": ["lobby"] });
        let socket = server.connect("/", auth).await.unwrap();
        let handle = handle(server, &socket).await;
        clients.push(Shaken { socket, handle, sent: Vec::new(), got: Vec::new() });
    }
    server.settle().await;
    let (mut dice, mut number) = (Dice(7), 0);
    for round in 0..rounds {
        let index = dice.roll(4) as usize;
        publish(server, &mut clients, &mut dice, &mut number);
        // How much of it arrives before the cut is a matter of chance.
        for _ in 0..dice.roll(6) {
            tokio::task::yield_now().await;
        }
        match dice.roll(2) {
            0 => clients[index].socket.drop_connection(),
            // The server does not notice before the client is back.
            _ => clients[index].socket.connection().stop_reading(),
        }
        publish(server, &mut clients, &mut dice, &mut number);
        if round % 8 == 0 {
            server.settle().await;
        }
        let socket = clients[index].socket.clone();
        let returning = server.reconnect(&socket, ());
        publish(server, &mut clients, &mut dice, &mut number);
        let back = returning.await.unwrap();
        assert!(back.recovered(), "round {round}");
        let client = &mut clients[index];
        client.got.append(&mut labels(client.socket.connection()));
        client.socket = back;
    }
    server.settle().await;
    assert!(number > rounds);
    for client in &mut clients {
        client.got.append(&mut labels(client.socket.connection()));
        assert!(client.got == client.sent, "{:?}", first_gap(&client.got, &client.sent));
    }
}

/// Where the two are not the same.
fn first_gap(got: &[u64], sent: &[u64]) -> (usize, Vec<u64>, Vec<u64>) {
    let at = got.iter().zip(sent).take_while(|(got, sent)| got == sent).count();
    let near = |list: &[u64]| {
        list[at.saturating_sub(3).min(list.len())..].iter().take(8).copied().collect()
    };
    (at, near(got), near(sent))
}

#[test]
async fn nothing_is_lost_and_nothing_comes_twice_however_often_clients_are_cut() {
    let server = TestServer::start(builder(rooms("/"), Recovery::new()));
    nothing_is_lost_and_nothing_comes_twice(&server, 400).await;
    assert_eq!(server.metrics().sockets_recovered, 400);
    server.close().await;
}

#[test]
async fn nothing_is_lost_and_nothing_comes_twice_on_several_workers() {
    let server = TestServer::workers(builder(rooms("/"), Recovery::new()), 2).await;
    nothing_is_lost_and_nothing_comes_twice(&server, 200).await;
    assert_eq!(server.metrics().sockets_recovered, 200);
    server.close().await;
}

// ---- the promises of tests/order.rs, with recovery ---------------------------------------------

async fn program_order(server: &TestServer, stage: &Stage, rounds: u64) {
    stage.io.set(server.io().clone()).unwrap();
    let client = performer(server, 0).await;
    server.settle().await;
    let acks: Vec<_> = (0..rounds).map(|round| client.emit_with_ack("round", round)).collect();
    for (ack, round) in acks.into_iter().zip(0..) {
        assert_eq!(ack.await.parse::<u64>(), Ok(round * STEPS + STEPS - 1));
    }
    let labels = labels(client.connection());
    assert!(labels.iter().copied().eq(0..rounds * STEPS), "out of order");
}

#[test]
async fn a_listeners_emits_broadcasts_and_ack_are_in_program_order_with_recovery_too() {
    let stage = Arc::new(Stage::default());
    let server = TestServer::start(stage.builder().connection_state_recovery(Recovery::new()));
    program_order(&server, &stage, 1000).await;
}

#[test]
async fn a_listeners_emits_broadcasts_and_ack_are_in_program_order_on_several_workers() {
    let stage = Arc::new(Stage::default());
    let builder = stage.builder().connection_state_recovery(Recovery::new());
    let server = TestServer::workers(builder, 3).await;
    program_order(&server, &stage, 500).await;
    server.close().await;
}

#[test]
async fn a_client_comes_back_in_the_middle_of_its_own_listener() {
    let namespace = Namespace::new("/").on("count", |socket: Socket, to: u64| async move {
        for n in 0..to {
            socket.emit("n", &n)?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, EmitError>(())
    });
    let server = TestServer::start(builder(namespace, Recovery::new()));
    let mut client = server.connect("/", ()).await.unwrap();
    client.emit("count", 200);
    let mut got = Vec::new();
    for _ in 0..15 {
        server.advance(Duration::from_millis(73)).await;
        client.drop_connection();
        server.advance(Duration::from_millis(31)).await;
        let back = server.reconnect(&client, ()).await.unwrap();
        assert!(back.recovered());
        got.append(&mut labels(client.connection()));
        client = back;
    }
    server.advance(Duration::from_secs(1)).await;
    got.append(&mut labels(client.connection()));
    assert!(got.iter().copied().eq(0..200), "{got:?}");
}
