//! The promises about order, thousands of rounds each.
//!
//! Every packet of a test carries a label that says when it was sent. A path that were shorter for
//! one kind of packet than for another would let it overtake, and the labels would not rise.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/stage.rs"]
mod stage;

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use greenroom::{
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use stage::{Dice, STEPS, Stage, label, labels, performer};

async fn play(socket: &TestSocket, event: &str, rounds: std::ops::Range<u64>) {
    let acks: Vec<_> = rounds.clone().map(|round| socket.emit_with_ack(event, round)).collect();
    for (ack, round) in acks.into_iter().zip(rounds) {
        assert_eq!(ack.await.parse::<u64>(), Ok(round * STEPS + STEPS - 1));
    }
}

#[actix_rt::test]
async fn what_a_listener_does_reaches_its_client_in_program_order_its_ack_last() {
    const ROUNDS: u64 = 2000;
    let stage = Arc::new(Stage::default());
    let server = TestServer::start(stage.builder());
    stage.io.set(server.io().clone()).unwrap();
    let client = performer(&server, 0).await;
    server.settle().await;
    play(&client, "round", 0..ROUNDS).await;
    let labels = labels(client.connection());
    assert!(labels.iter().copied().eq(0..ROUNDS * STEPS), "{:?}", first_gap(&labels));
}

#[actix_rt::test]
async fn program_order_holds_across_awaits() {
    const ROUNDS: u64 = 1000;
    let stage = Arc::new(Stage::default());
    let server = TestServer::start(stage.builder());
    stage.io.set(server.io().clone()).unwrap();
    let client = performer(&server, 0).await;
    server.settle().await;
    play(&client, "yielding round", 0..ROUNDS).await;
    let labels = labels(client.connection());
    assert_eq!(labels.len() as u64, ROUNDS * STEPS);
    let mut expected = vec![0; ROUNDS as usize];
    for label in labels {
        let (round, step) = ((label / STEPS) as usize, label % STEPS);
        assert_eq!(step, expected[round], "round {round}");
        expected[round] += 1;
    }
}

#[actix_rt::test]
async fn program_order_holds_on_several_workers() {
    const ROUNDS: u64 = 1000;
    let stage = Arc::new(Stage::default());
    let server = TestServer::workers(stage.builder(), 3).await;
    stage.io.set(server.io().clone()).unwrap();
    let mut clients = Vec::new();
    for name in 0..4 {
        clients.push(performer(&server, name).await);
    }
    server.settle().await;
    for window in 0..ROUNDS / 100 {
        let rounds = window * 100..(window + 1) * 100;
        futures_util::future::join_all(clients.iter().map(|c| play(c, "round", rounds.clone())))
            .await;
    }
    for client in &clients {
        let labels = labels(client.connection());
        assert!(labels.iter().copied().eq(0..ROUNDS * STEPS), "{:?}", first_gap(&labels));
    }
    server.close().await;
}

/// Where labels do not rise by one.
fn first_gap(labels: &[u64]) -> Option<(usize, Vec<u64>)> {
    let at = labels.iter().zip(0..).position(|(label, expected)| *label != expected)?;
    Some((at, labels[at.saturating_sub(3)..labels.len().min(at + 5)].to_vec()))
}

// ---- promise 1 -------------------------------------------------------------------------------

/// Clients that publish to a room they are all in, and what they hear there.
async fn one_order_for_all(server: &TestServer, clients: &[TestSocket], rounds: u64) {
    let acks: Vec<_> = (0..rounds)
        .flat_map(|n| {
            clients.iter().enumerate().map(move |(c, s)| s.emit_with_ack("publish", (c, n)))
        })
        .collect();
    for ack in acks {
        ack.await;
    }
    server.settle().await;
    let heard = |client: &TestSocket| {
        let transcript = client.connection().transcript();
        transcript.into_iter().filter(|p| p.starts_with("2[\"published\"")).collect::<Vec<_>>()
    };
    let first = heard(&clients[0]);
    assert_eq!(first.len() as u64, rounds * clients.len() as u64);
    for client in clients {
        assert!(heard(client) == first, "two clients heard two orders");
    }
    for sender in 0..clients.len() {
        let own = first.iter().filter(|p| label(p) == Some(sender as u64));
        let numbers = own.map(|p| p.rsplit([',', ']']).nth(1).unwrap().parse::<u64>().unwrap());
        assert!(numbers.eq(0..rounds), "the broadcasts of one client changed places");
    }
}

/// Alternates between a room that all are in, two that together are all, and everybody.
fn publishing() -> (Arc<OnceLock<SocketIo>>, Namespace) {
    let cell = Arc::new(OnceLock::<SocketIo>::new());
    let io = Arc::clone(&cell);
    let parity = AtomicU64::new(0);
    let namespace = Namespace::new("/")
        .on_connect(move |socket: Socket| {
            let half = parity.fetch_add(1, Ordering::Relaxed) % 2;
            socket.join(["all", ["even", "odd"][half as usize]]);
            std::future::ready(())
        })
        .on("publish", move |_: Socket, (client, n): (u64, u64)| {
            let io = io.get().unwrap();
            let operator = match n % 3 {
                0 => io.to("all"),
                1 => io.to(["odd", "even"]),
                _ => io.sockets(),
            };
            let sent = operator.emit("published", &(client, n));
            async move { sent.map(|()| Ack(())) }
        });
    (cell, namespace)
}

#[actix_rt::test]
async fn all_members_hear_the_broadcasts_in_one_order() {
    let (cell, namespace) = publishing();
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    cell.set(server.io().clone()).unwrap();
    let clients = server.many("/", 4).await;
    server.settle().await;
    one_order_for_all(&server, &clients, 1000).await;
}

#[actix_rt::test]
async fn all_members_hear_one_order_on_several_workers() {
    let (cell, namespace) = publishing();
    let server = TestServer::workers(SocketIo::builder().namespace(namespace), 3).await;
    cell.set(server.io().clone()).unwrap();
    let clients = server.many("/", 4).await;
    server.settle().await;
    one_order_for_all(&server, &clients, 1000).await;
    server.close().await;
}

// ---- the beginning and the end ---------------------------------------------------------------

#[actix_rt::test]
async fn the_greeting_comes_before_whatever_a_connect_listener_sends() {
    let cell = Arc::new(OnceLock::<SocketIo>::new());
    let io = Arc::clone(&cell);
    let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
        let io = Arc::clone(&io);
        async move {
            let io = io.get().unwrap();
            socket.join("fresh");
            io.to("fresh").emit("first", &1)?;
            socket.emit("second", &2)?;
            io.to(socket.id()).emit("third", &3)?;
            socket.leave("fresh");
            io.to("fresh").emit("never", &0)?;
            socket.emit("fourth", &4)
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    cell.set(server.io().clone()).unwrap();
    for _ in 0..500 {
        let connection = server.open().await.unwrap();
        connection.send_raw("0");
        server.settle().await;
        let transcript = connection.transcript();
        assert!(transcript[0].starts_with("0{\"sid\":"), "{transcript:?}");
        let expected = ["2[\"first\",1]", "2[\"second\",2]", "2[\"third\",3]", "2[\"fourth\",4]"];
        assert_eq!(transcript[1..], expected);
        connection.drop_connection();
        server.settle().await;
    }
}

#[actix_rt::test]
async fn a_disconnection_comes_behind_what_was_sent_and_before_nothing() {
    let cell = Arc::new(OnceLock::<SocketIo>::new());
    let io = Arc::clone(&cell);
    let namespace = Namespace::new("/a").on("end", move |socket: Socket, n: u64| {
        let io = Arc::clone(&io);
        async move {
            let everyone = io.get().unwrap().of("/a").unwrap();
            let mut dice = Dice(n);
            for label in 0..4 {
                match dice.roll(2) {
                    0 => everyone.emit("e", &label)?,
                    _ => socket.emit("e", &(label, Bytes::from_static(b"x")))?,
                }
            }
            match dice.roll(3) {
                0 => drop(socket.disconnect(false)),
                1 => drop(everyone.clone().to(socket.id()).disconnect(false)),
                _ => drop(everyone.disconnect(false)),
            }
            everyone.emit("never", &9)?;
            // A late one is an error or comes to nothing.
            let _ = socket.emit("never", &9);
            Ok::<_, EmitError>(Ack("never"))
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    cell.set(server.io().clone()).unwrap();
    let main = server.connect("/", ()).await.unwrap();
    let mut seen = main.connection().transcript().len();
    for n in 0..1000 {
        let a = main.join("/a", ()).await.unwrap();
        drop(a.emit_with_ack("end", n));
        assert_eq!(a.disconnected().await, Parting::ByServer, "round {n}");
        server.settle().await;
        let transcript = main.connection().transcript().split_off(seen);
        seen += transcript.len();
        let packets: Vec<_> = transcript.iter().filter(|p| !p.starts_with('<')).collect();
        assert_eq!(packets.len(), 6, "round {n}: {transcript:?}");
        assert!(
            (0..4).eq(packets[1..5].iter().filter_map(|p| label(p))),
            "round {n}: {transcript:?}"
        );
        assert_eq!(packets[5], "1/a,", "round {n}");
    }
}

#[actix_rt::test]
async fn a_goodbye_in_one_namespace_comes_before_what_follows_in_another() {
    let (cell, other) =
        (Arc::new(OnceLock::<SocketIo>::new()), Arc::new(Mutex::new(None::<Socket>)));
    let (io, kept) = (Arc::clone(&cell), Arc::clone(&other));
    let main = Namespace::new("/").on("kick", move |socket: Socket, n: u64| {
        let (other, io) = (other.lock().unwrap().take().unwrap(), io.get().unwrap().clone());
        async move {
            match n % 3 {
                0 => drop(other.disconnect(false)),
                1 => drop(io.of("/a").unwrap().to(other.id()).disconnect(false)),
                _ => drop(io.of("/a").unwrap().disconnect(false)),
            }
            if n.is_multiple_of(2) {
                socket.emit("kicked", &n)?;
            }
            Ok::<_, EmitError>(Ack(n))
        }
    });
    let a = Namespace::new("/a").on_connect(move |socket: Socket| {
        *kept.lock().unwrap() = Some(socket);
        std::future::ready(())
    });
    let server = TestServer::start(SocketIo::builder().namespace(main).namespace(a));
    cell.set(server.io().clone()).unwrap();
    let client = server.connect("/", ()).await.unwrap();
    for n in 0..500_u64 {
        let a = client.join("/a", ()).await.unwrap();
        server.settle().await;
        let seen = client.connection().transcript().len();
        client.emit_with_ack("kick", n).await;
        let mut expected = vec!["1/a,".to_owned(), format!("3{}[{n}]", n + 1)];
        if n.is_multiple_of(2) {
            expected.insert(1, format!("2[\"kicked\",{n}]"));
        }
        assert_eq!(client.connection().transcript()[seen..], expected);
        assert!(!a.is_connected());
    }
}

#[actix_rt::test]
async fn membership_changes_with_the_broadcasts_around_it() {
    let (io, joined) = (Arc::new(OnceLock::<SocketIo>::new()), "joined");
    let cell = Arc::clone(&io);
    let namespace = Namespace::new("/").on("flicker", move |socket: Socket, n: u64| {
        let io = io.get().unwrap().clone();
        async move {
            let room = io.to("flicker");
            room.emit("out", &n)?;
            socket.join("flicker");
            room.emit(joined, &n)?;
            socket.leave("flicker");
            room.emit("out", &n)?;
            Ok::<_, EmitError>(Ack(n))
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    cell.set(server.io().clone()).unwrap();
    let client = server.connect("/", ()).await.unwrap();
    let acks: Vec<_> = (0..2000_u64).map(|n| client.emit_with_ack("flicker", n)).collect();
    for ack in acks {
        ack.await;
    }
    let expected =
        (0..2000).flat_map(|n| [format!("2[\"joined\",{n}]"), format!("3{}[{n}]", n + 1)]);
    assert!(client.connection().transcript().into_iter().skip(1).eq(expected));
}

// ---- promises 3 and 4 ------------------------------------------------------------------------

#[actix_rt::test]
async fn attachments_follow_their_packet_whoever_else_sends() {
    let namespace = Namespace::new("/").on("both", |socket: Socket, data: Bytes| async move {
        socket.to("r").emit("binary", &(&data, &data))?;
        socket.emit("binary", &(&data, 1, &data))?;
        Ok::<_, EmitError>(Ack((data.clone(), data)))
    });
    let server = TestServer::workers(SocketIo::builder().namespace(namespace), 2).await;
    let clients = server.many("/", 3).await;
    server.io().sockets().join("r");
    server.settle().await;
    for _ in 0..10 {
        let acks: Vec<_> = (0..300)
            .map(|n| clients[n % 3].emit_with_ack("both", Bytes::from(n.to_string())))
            .collect();
        server.io().emit("text", &"between").unwrap();
        for (n, ack) in acks.into_iter().enumerate() {
            let (a, b): (Bytes, Bytes) = ack.await.parse().unwrap();
            assert_eq!((&*a, &*b), (n.to_string().as_bytes(), n.to_string().as_bytes()));
        }
    }
    // A packet between a packet and its attachments would have broken the client's decoder.
    for client in &clients {
        let transcript = client.connection().transcript();
        for (at, _) in transcript.iter().enumerate().filter(|(_, p)| p.starts_with(['5', '6'])) {
            // The last of them may still be on their way.
            assert!(transcript[at + 1..].iter().take(2).all(|p| p.starts_with('<')));
        }
    }
    server.close().await;
}

#[actix_rt::test]
async fn listeners_start_in_the_order_of_the_events() {
    let started = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&started);
    let listener = move |_: Socket, n: u64| {
        log.lock().unwrap().push(n);
        async move {
            for _ in 0..Dice(n).roll(4) {
                tokio::task::yield_now().await;
            }
            Ack(n)
        }
    };
    let namespace = Namespace::new("/").on("a", listener.clone()).on("b", listener);
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let acks: Vec<_> =
        (0..5000_u64).map(|n| client.emit_with_ack(["a", "b"][n as usize % 2], n)).collect();
    for ack in acks {
        ack.await;
    }
    assert!(started.lock().unwrap().iter().copied().eq(0..5000));
}
