//! What holds with every driver.

use std::time::Duration;

use bytes::Bytes;
use greenroom::{NoAnswer, prelude::*, testing::TestServer};
use serde_json::{Value, json};

use crate::{Driver, client, support::handle};

macro_rules! for_driver {
    ($name:ident, $driver:expr) => {
        $crate::suite::for_driver!($name, $driver;
            a_broadcast_reaches_every_socket_that_it_means_once,
            what_is_local_stays_on_its_server,
            a_namespace_hears_nothing_of_others,
            binary_and_numbers_arrive_as_they_were,
            what_one_sends_arrives_elsewhere_in_its_order,
            answers_come_from_everywhere,
            what_is_too_large_for_the_cluster_stays_here,
            an_answer_that_does_not_come_is_missed_when_the_time_is_up,
            sockets_are_fetched_from_everywhere_with_all_that_is_known_of_them,
            sockets_rooms_and_servers_are_counted_everywhere,
            sockets_are_moved_and_disconnected_wherever_they_are,
            a_join_that_was_confirmed_is_seen_by_the_next_emit_from_anywhere,
            a_join_of_a_socket_itself_is_seen_once_it_is_confirmed,
            a_socket_of_another_server_is_at_hand,
            servers_tell_each_other,
            servers_ask_each_other,
            a_closed_server_is_not_missed,
            a_namespace_that_is_born_takes_part_until_it_ends,
        );
    };
    ($name:ident, $driver:expr; $($case:ident,)*) => {
        mod $name {
            #[allow(unused_imports, reason = "what drivers are made of")]
            use super::*;
            $(
                #[actix_rt::test]
                async fn $case() {
                    crate::suite::$case(&$driver).await;
                }
            )*
        }
    };
}
pub(crate) use for_driver;

const SECOND: Duration = Duration::from_secs(1);

/// Waits until what was sent to other servers has been heard there.
async fn passed(servers: &[TestServer]) {
    for server in servers {
        let confirmed = server.io().to("nobody is here").leave_confirmed("nothing").await;
        confirmed.unwrap();
    }
}

pub(crate) async fn a_broadcast_reaches_every_socket_that_it_means_once(driver: &impl Driver) {
    let servers = driver.start(3).await;
    let a = client(&servers[0], "a", &["red", "blue"]).await;
    let b = client(&servers[1], "b", &["red", "blue"]).await;
    let c = client(&servers[2], "c", &["blue", "mute"]).await;
    passed(&servers).await;
    servers[0].settle().await;
    passed(&servers).await;
    servers[0].io().emit("all", &1).unwrap();
    servers[0].io().to(["red", "blue"]).emit("both", &2).unwrap();
    servers[0].io().to("blue").except("mute").emit("blue", &3).unwrap();
    servers[0].io().to("mute").emit("mute", &4).unwrap();
    handle(&servers[0], &a).await.broadcast().emit("others", &5).unwrap();
    let on_c = c.id();
    servers[0].io().to(&on_c).emit("one", &6).unwrap();
    passed(&servers).await;
    for (client, expected) in [
        (&a, vec!["all", "both", "blue"]),
        (&b, vec!["all", "both", "blue", "others"]),
        (&c, vec!["all", "both", "mute", "others", "one"]),
    ] {
        let mut heard = Vec::new();
        for _ in &expected {
            heard.push(client.next_event().await.name);
        }
        // What goes to one room may go its own way, but with the bus in memory nothing does.
        assert_eq!(heard, expected);
        client.expect_silence().await;
    }
}

pub(crate) async fn what_is_local_stays_on_its_server(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let local = servers[0].io().sockets().local();
    local.emit("here", &()).unwrap();
    local.join("x");
    assert_eq!(local.fetch_sockets().await.len(), 1);
    assert_eq!(local.count_sockets().await.unwrap(), 1);
    local.to("r").leave("r");
    assert_eq!(a.next_event().await.name, "here");
    passed(&servers).await;
    b.expect_silence().await;
    assert_eq!(servers[1].io().to("x").local().members().await, [] as [SocketId; 0]);
    assert_eq!(servers[1].io().to("r").local().members().await, [b.id()]);
    assert_eq!(local.disconnect(false).await, 1);
    passed(&servers).await;
    assert!(b.is_connected());
}

pub(crate) async fn a_namespace_hears_nothing_of_others(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let main = client(&servers[1], "a", &[]).await;
    let other = servers[1].connect("/other", json!({})).await.unwrap();
    servers[0].io().of("/other").unwrap().emit("other", &()).unwrap();
    servers[0].io().emit("main", &()).unwrap();
    assert_eq!(main.next_event().await.name, "main");
    assert_eq!(other.next_event().await.name, "other");
    main.expect_silence().await;
    other.expect_silence().await;
}

pub(crate) async fn binary_and_numbers_arrive_as_they_were(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &[]).await;
    let data = (Bytes::from_static(&[0, 255, 7]), json!({ "f": 1.5, "n": 1u64 << 53, "t": "é✓" }));
    servers[0].io().emit("data", &data).unwrap();
    let event = b.next_event().await;
    assert_eq!(event.args.get::<Bytes>(0).unwrap(), data.0);
    assert_eq!(event.args.get::<Value>(1).unwrap(), data.1);
    servers[0].io().emit("plain", &json!({ "_placeholder": true, "num": 0 })).unwrap();
    assert_eq!(b.next_event().await.args.get::<Value>(0).unwrap()["num"], 0);
}

pub(crate) async fn what_one_sends_arrives_elsewhere_in_its_order(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io();
    passed(&servers).await;
    for n in 0..300 {
        match n % 3 {
            0 => io.emit("n", &n).unwrap(),
            1 => io.to(["r", "s"]).emit("n", &n).unwrap(),
            _ => io.except("s").emit("n", &(n, Bytes::from_static(b"binary"))).unwrap(),
        }
    }
    for n in 0..300 {
        assert_eq!(b.next_event().await.args.get::<u32>(0).unwrap(), n);
    }
    // A leave comes behind what was sent before, and before what is sent after it.
    io.to("r").emit("n", &300).unwrap();
    io.to("r").leave("r");
    io.to("r").emit("n", &301).unwrap();
    io.emit("n", &302).unwrap();
    assert_eq!(b.next_event().await.args.get::<u32>(0).unwrap(), 300);
    assert_eq!(b.next_event().await.args.get::<u32>(0).unwrap(), 302);
}

pub(crate) async fn answers_come_from_everywhere(driver: &impl Driver) {
    let servers = driver.start(3).await;
    let a = client(&servers[0], "a", &[]).await;
    let b = client(&servers[1], "b", &[]).await;
    let c = client(&servers[1], "c", &[]).await;
    let answers = servers[0].io().sockets().emit_with_ack("ask", &1).unwrap();
    a.next_event().await.answer("a");
    b.next_event().await.answer(Bytes::from_static(b"b"));
    c.next_event().await.answer(("c", "ignored"));
    let answers = answers.all().await.unwrap();
    let by = |id| answers.iter().find(|answered| answered.socket == id).unwrap();
    assert_eq!(by(Some(a.id())).answer, json!(["a"]));
    assert_eq!(answers.iter().filter(|answered| answered.socket.is_none()).count(), 2);
    let binary = |answer: &&greenroom::Answered| answer.answer.attachments() == ["b"];
    assert_eq!(answers.iter().filter(binary).count(), 1);
    assert!(answers.iter().any(|answered| answered.answer == json!(["c"])));
    // To say null is to say something.
    for says_null in [true, false] {
        let asked = servers[0].io().sockets().except([a.id(), c.id()]);
        let answers = asked.emit_with_ack("ask", &1).unwrap();
        match (b.next_event().await, says_null) {
            (event, true) => event.answer((json!(null),)),
            (event, false) => event.answer(()),
        }
        let expected = if says_null { json!([null]) } else { json!([]) };
        assert_eq!(answers.all().await.unwrap()[0].answer, expected);
    }
    // Nobody is asked.
    let answers = servers[0].io().to("empty").emit_with_ack("ask", &1).unwrap();
    assert_eq!(answers.all().await.unwrap(), []);
}

pub(crate) async fn what_is_too_large_for_the_cluster_stays_here(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &[]).await;
    let b = client(&servers[1], "b", &[]).await;
    let large = "x".repeat(500_000);
    let dropped = |n: usize| servers[n].metrics().cluster_messages_dropped;
    servers[0].io().emit("large", &large).unwrap();
    servers[0].io().emit("small", &()).unwrap();
    assert_eq!(a.next_event().await.name, "large");
    assert_eq!(a.next_event().await.name, "small");
    assert_eq!(b.next_event().await.name, "small");
    assert_eq!((dropped(0), dropped(1)), (1, 0));
    let asked = servers[0].io().to(b.id()).timeout(SECOND).emit_with_ack("ask", &()).unwrap();
    b.next_event().await.answer(&large);
    assert_eq!(asked.all().await.unwrap_err().missing, Some(1));
    assert_eq!((dropped(0), dropped(1)), (1, 1));
    let silent = servers.iter().map(|server| server.metrics().cluster_disconnections);
    assert_eq!(silent.sum::<u64>(), 0);
}

pub(crate) async fn an_answer_that_does_not_come_is_missed_when_the_time_is_up(
    driver: &impl Driver,
) {
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &[]).await;
    let c = client(&servers[1], "c", &[]).await;
    let answers = servers[0].io().sockets().timeout(SECOND).emit_with_ack("ask", &()).unwrap();
    b.next_event().await.answer(1);
    c.next_event().await;
    let NoAnswer { answers, missing, servers, .. } = answers.all().await.unwrap_err();
    assert_eq!((answers.len(), missing), (1, Some(1)));
    assert!(servers.is_nobody(), "the servers have all said to how many it went: {servers}");
}

pub(crate) async fn sockets_are_fetched_from_everywhere_with_all_that_is_known_of_them(
    driver: &impl Driver,
) {
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r", "s"]).await;
    let mut sockets = servers[0].io().to("r").try_fetch_sockets().await.unwrap();
    sockets.sort_by_key(|socket| socket.data().get::<String>("name"));
    let ids: Vec<_> = sockets.iter().map(|socket| socket.id().clone()).collect();
    assert_eq!(ids, [a.id(), b.id()]);
    assert_eq!(sockets[1].rooms(), [Room::from(b.id()), "r".into(), "s".into()]);
    assert_eq!(sockets[1].handshake().auth["name"], "b");
    assert_eq!(sockets[1].data().get::<String>("name").unwrap(), "b");
    let without = servers[0].io().except("s").fetch_sockets().await;
    assert_eq!(without.len(), 1);
    assert!(servers[0].io().to("empty").fetch_sockets().await.is_empty());
    // As deep as a client may nest what it says.
    let deep: serde_json::Value =
        serde_json::from_str(&format!("{}{}", "[".repeat(126), "]".repeat(126))).unwrap();
    let deep = json!({ "name": "deep", "rooms": ["deep"], "x": deep });
    let _deep = servers[1].connect("/", deep.clone()).await.unwrap();
    let sockets = servers[0].io().to("deep").try_fetch_sockets().await.unwrap();
    assert_eq!(sockets[0].handshake().auth, deep);
}

pub(crate) async fn sockets_rooms_and_servers_are_counted_everywhere(driver: &impl Driver) {
    let servers = driver.start(3).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r", "s"]).await;
    let io = servers[0].io();
    assert_eq!(io.sockets().count_sockets().await.unwrap(), 2);
    assert_eq!(io.to("s").count_sockets().await.unwrap(), 1);
    assert_eq!(io.except("s").count_sockets().await.unwrap(), 1);
    assert_eq!(io.sockets().server_count().await, Some(3));
    let mut expected = vec![Room::from(a.id()), b.id().into(), "r".into(), "s".into()];
    expected.sort();
    assert_eq!(io.sockets().all_rooms().await.unwrap(), expected);
}

pub(crate) async fn sockets_are_moved_and_disconnected_wherever_they_are(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let c = client(&servers[1], "c", &["s"]).await;
    let io = servers[0].io();
    io.to("r").join(["x", "y"]);
    io.sockets().leave("r");
    passed(&servers).await;
    assert_eq!(servers[1].io().to("x").local().members().await, [b.id()]);
    assert_eq!(servers[1].io().to("r").local().members().await, [] as [SocketId; 0]);
    assert_eq!(io.to("y").members().await, [a.id()]);
    drop(io.to("y").disconnect(false));
    assert_eq!(b.disconnected().await.as_str(), "io server disconnect");
    assert_eq!(a.disconnected().await.as_str(), "io server disconnect");
    assert!(c.is_connected());
    drop(io.sockets().disconnect(true));
    c.connection().closed().await;
}

pub(crate) async fn a_join_that_was_confirmed_is_seen_by_the_next_emit_from_anywhere(
    driver: &impl Driver,
) {
    let servers = driver.start(3).await;
    let b = client(&servers[1], "b", &["r"]).await;
    for n in 0..20 {
        let room = format!("room {n}");
        servers[0].io().to("r").join_confirmed(&room).await.unwrap();
        servers[2].io().to(&room).emit("seen", &n).unwrap();
        assert_eq!(b.next_event().await.args.get::<u64>(0).unwrap(), n);
        servers[0].io().to("r").leave_confirmed(&room).await.unwrap();
        servers[2].io().to(&room).emit("unseen", &n).unwrap();
    }
    passed(&servers).await;
    b.expect_silence().await;
}

pub(crate) async fn a_join_of_a_socket_itself_is_seen_once_it_is_confirmed(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &[]).await;
    let socket = handle(&servers[1], &b).await;
    // Left and joined again: what is on its way must not undo what comes after it.
    for n in 0..20 {
        socket.join_confirmed("r").await.unwrap();
        servers[0].io().to("r").emit("seen", &n).unwrap();
        assert_eq!(b.next_event().await.args.get::<u64>(0).unwrap(), n);
        socket.leave("r");
    }
}

pub(crate) async fn a_socket_of_another_server_is_at_hand(driver: &impl Driver) {
    let servers = driver.start(3).await;
    let b = client(&servers[1], "b", &[]).await;
    let c = client(&servers[1], "c", &[]).await;
    let sockets = servers[0].io().fetch_sockets().await;
    let there = sockets.iter().find(|socket| *socket.id() == b.id()).unwrap();
    there.emit("hello", &1).unwrap();
    assert_eq!(b.next_event().await.name, "hello");
    let answer = there.emit_with_ack::<u64>("ask", &());
    b.next_event().await.answer(7);
    assert_eq!(answer.await.unwrap(), 7);
    there.join_confirmed("r").await.unwrap();
    servers[2].io().to("r").emit("joined", &()).unwrap();
    assert_eq!(b.next_event().await.name, "joined");
    there.leave("r");
    passed(&servers).await;
    assert_eq!(servers[1].io().to("r").local().members().await, [] as [SocketId; 0]);
    drop(there.disconnect(false));
    assert_eq!(b.disconnected().await.as_str(), "io server disconnect");
    c.expect_silence().await;
    // It is gone: nobody answers, and nobody is missing.
    let gone = there.timeout(SECOND).emit_with_ack::<u64>("ask", &()).await;
    assert!(matches!(gone, Err(AckError::Disconnected)), "{gone:?}");
}

pub(crate) async fn servers_tell_each_other(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let main = servers[0].io().sockets();
    main.server_side_emit("silent", &1).unwrap();
    // One that panics costs its event.
    main.server_side_emit("panic", &()).unwrap();
    main.server_side_emit("nobody listens", &Bytes::from_static(b"1")).unwrap();
    passed(&servers).await;
    servers[1].settle().await;
    assert_eq!(servers[1].metrics().panics, 1);
    assert_eq!(servers[0].metrics().panics, 0, "it goes to the others only");
    for name in ["connect", "connection", "new_namespace", "disconnect"] {
        assert!(main.server_side_emit(name, &()).is_err(), "{name}");
    }
}

pub(crate) async fn servers_ask_each_other(driver: &impl Driver) {
    let servers = driver.start(3).await;
    let main = servers[0].io().sockets();
    let answers = main.server_side_emit_with_ack("ask", &5).await.unwrap().unwrap();
    let mut from: Vec<Value> = answers.iter().map(|answer| answer.get(0).unwrap()).collect();
    from.sort_by_key(|answer| answer["server"].to_string());
    assert_eq!(from[0]["x"], 5);
    assert_eq!(from.len(), 2);
    assert_ne!(from[0]["server"], from[1]["server"]);
    let silent = main.timeout(SECOND).server_side_emit_with_ack("silent", &1).await.unwrap();
    let incomplete = silent.unwrap_err();
    assert_eq!((incomplete.results.len(), incomplete.missing.count), (0, Some(2)));
}

pub(crate) async fn a_closed_server_is_not_missed(driver: &impl Driver) {
    let mut servers = driver.start(3).await;
    servers.pop().unwrap().close().await;
    passed(&servers).await;
    let main = servers[0].io().sockets();
    assert_eq!(main.server_count().await, Some(2));
    assert!(main.try_fetch_sockets().await.unwrap().is_empty());
}

pub(crate) async fn a_namespace_that_is_born_takes_part_until_it_ends(driver: &impl Driver) {
    let servers = driver.start(2).await;
    let a = servers[0].connect("/born-1", ()).await.unwrap();
    let b = servers[1].connect("/born-1", ()).await.unwrap();
    for server in &servers {
        server.io().cluster_ready().await;
        // It has told the others by then, however it does so.
        server.settle().await;
    }
    let born = servers[0].io().of("/born-1").unwrap();
    while born.server_count().await != Some(2) {
        servers[0].settle().await;
    }
    born.emit("hello", &()).unwrap();
    assert_eq!(a.next_event().await.name, "hello");
    assert_eq!(b.next_event().await.name, "hello");
    b.disconnect().await;
    while born.server_count().await != Some(1) {
        servers[0].settle().await;
    }
    assert_eq!(born.try_fetch_sockets().await.unwrap().len(), 1);
}
