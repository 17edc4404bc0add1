//! Clients that come back, when the events are in a stream: to their own server, and to another one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use greenroom::{
    ClusterState, Recovery, RedisStreamsAdapter,
    testing::{TestServer, TestSocket},
};
use serde_json::json;

use crate::{
    Driver, client,
    redis::until,
    server,
    streams::{Streams, recovering},
    support::handle,
};

/// The next events of a client, which all have a number, and the offset of the last one.
async fn numbers(client: &TestSocket, count: usize) -> (Vec<u64>, String) {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let event = client.next_event().await;
        numbers.push(event.args.to_json()[0].as_u64().unwrap());
    }
    (numbers, client.session()["offset"].as_str().unwrap_or_default().to_owned())
}

#[actix_rt::test]
async fn with_recovery_all_servers_have_one_order_and_the_offsets_of_the_stream() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    for n in 0..200 {
        servers[n % 2].io().to("r").emit("n", &n).unwrap();
    }
    let (on_a, on_b) = (numbers(&a, 200).await, numbers(&b, 200).await);
    assert_eq!(on_a, on_b);
    for parity in 0..2 {
        let of_one: Vec<u64> = on_a.0.iter().copied().filter(|n| n % 2 == parity).collect();
        assert!(of_one.is_sorted(), "what one sends stays in its order");
    }
    let offset = on_a.1;
    let entry = driver.redis.command(&["XRANGE", "socket.io", &offset, &offset]);
    assert!(entry.contains("\"n\""), "{offset} is an entry of the stream: {entry}");
    // What is for one socket has an offset too, and the others do not get it.
    handle(&servers[0], &a).await.emit("n", &1).unwrap();
    let (_, own) = numbers(&a, 1).await;
    assert!(driver.redis.command(&["XRANGE", "socket.io", &own, &own]).contains(&*a.id()));
    b.expect_silence().await;
}

#[actix_rt::test]
async fn what_a_client_missed_is_what_any_server_sent() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    servers[1].io().to("r").emit("n", &0).unwrap();
    assert_eq!(numbers(&a, 1).await.0, [0]);
    a.drop_connection();
    servers[0].settle().await;
    for n in 1..=20 {
        servers[n % 2].io().to("r").emit("n", &n).unwrap();
        servers[n % 2].io().to("other").emit("n", &(n + 100)).unwrap();
    }
    assert_eq!(numbers(&b, 21).await.0.len(), 21);
    let missed = numbers(&b, 0).await.1;
    let back = servers[0].reconnect(&a, ()).await.unwrap();
    assert!(back.recovered());
    let (mut heard, offset) = numbers(&back, 20).await;
    assert_eq!(offset, missed, "both have got the same last");
    heard.sort_unstable();
    assert_eq!(heard, (1..=20).collect::<Vec<_>>());
    servers[1].io().to("r").emit("n", &21).unwrap();
    assert_eq!(numbers(&back, 1).await.0, [21]);
}

#[actix_rt::test]
async fn without_redis_clients_are_recovered_by_their_own_server() {
    let mut driver = recovering();
    let servers = driver.start(1).await;
    let io = servers[0].io();
    let a = client(&servers[0], "a", &["r"]).await;
    io.to("r").emit("n", &1).unwrap();
    assert_eq!(numbers(&a, 1).await.0, [1]);
    driver.redis.kill();
    until("it is noticed", async || io.cluster_state() == Some(ClusterState::Away)).await;
    io.to("r").emit("n", &2).unwrap();
    io.to("r").emit("n", &3).unwrap();
    assert_eq!(numbers(&a, 2).await.0, [2, 3]);
    a.drop_connection();
    servers[0].settle().await;
    io.to("r").emit("n", &4).unwrap();
    let back = servers[0].reconnect(&a, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(numbers(&back, 1).await.0, [4]);
    assert!(driver.redis.resume());
    until("it takes part", async || io.cluster_state() == Some(ClusterState::Linked)).await;
    io.to("r").emit("n", &5).unwrap();
    assert_eq!(numbers(&back, 1).await.0, [5]);
}

#[actix_rt::test]
async fn events_with_and_without_offset_stay_in_their_order() {
    let driver = recovering();
    let servers = driver.start(1).await;
    let a = client(&servers[0], "a", &["r"]).await;
    for n in 0..90 {
        let to = servers[0].io().to("r");
        let to = match n % 2 {
            0 => to,
            _ => to.local(),
        };
        to.emit("n", &n).unwrap();
    }
    assert_eq!(numbers(&a, 90).await.0, (0..90).collect::<Vec<_>>());
    // What waits for its name is not overtaken by the end.
    servers[0].io().to("r").emit("n", &90).unwrap();
    let _ = servers[0].io().to("r").disconnect(false).await;
    assert_eq!(numbers(&a, 1).await.0, [90]);
}

// ---- on another server -------------------------------------------------------------------------

/// Waits until other servers find the session of a client, with all of these in it.
async fn deposited(driver: &Streams, client: &TestSocket, texts: &[&str]) {
    let key = key(client);
    let found = async || {
        let session = driver.redis.command(&["GET", &key]);
        let session = STANDARD.decode(session.trim()).unwrap();
        texts.iter().all(|text| {
            // As msgpack has them.
            let text = [&[0xa0 | text.len() as u8], text.as_bytes()].concat();
            session.windows(text.len()).any(|part| part == text)
        })
    };
    until("the session is deposited", found).await;
}

/// A client comes to one of two servers, misses something, and comes back to the other one.
pub(crate) async fn recovers(adapter: &RedisStreamsAdapter) {
    let mut servers = Vec::new();
    for n in 0..2 {
        let builder = server(format!("node{n}")).adapter(adapter.clone());
        let builder = builder.connection_state_recovery(Recovery::new());
        servers.push(TestServer::workers(builder, 1).await);
    }
    for server in &servers {
        server.io().cluster_ready().await;
    }
    for namespace in ["/", "/other"] {
        let auth = json!({ "name": "a", "rooms": ["r"] });
        let mut a = servers[0].connect(namespace, auth).await.unwrap();
        let b = servers[1].connect(namespace, json!({ "rooms": ["r"] })).await.unwrap();
        let all = servers[0].io().of(namespace).unwrap();
        let there = async || all.to("r").fetch_sockets().await.len() == 2;
        until("both are in the room", there).await;
        all.to("r").emit("n", &0).unwrap();
        for client in [&a, &b] {
            assert_eq!(numbers(client, 1).await.0, [0]);
        }
        for round in 0..4 {
            a.drop_connection();
            servers[round % 2].settle().await;
            all.to("r").emit("n", &round).unwrap();
            assert_eq!(numbers(&b, 1).await.0, [round as u64]);
            a = servers[(round + 1) % 2].reconnect(&a, ()).await.unwrap();
            assert!(a.recovered(), "{namespace} {round}");
            assert_eq!(numbers(&a, 1).await.0, [round as u64]);
        }
        // What is over is withdrawn.
        handle(&servers[0], &a).await.disconnect(false).await;
    }
}

fn key(client: &TestSocket) -> String {
    format!("sio:session:{}", client.session()["pid"].as_str().unwrap())
}

async fn rooms(server: &TestServer, client: &TestSocket) -> Vec<String> {
    let mut rooms: Vec<String> =
        handle(server, client).await.rooms().await.iter().map(|room| room.to_string()).collect();
    rooms.sort();
    rooms.retain(|room| *room != *client.id());
    rooms
}

#[actix_rt::test]
async fn a_client_comes_back_to_another_server_and_to_its_first_one_again() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let observers =
        [client(&servers[0], "0", &["all"]).await, client(&servers[1], "1", &["all"]).await];
    let mut client = client(&servers[0], "ann", &["r", "s"]).await;
    let id = client.id().to_string();
    handle(&servers[0], &client).await.data(|data| data.set("kept", &1)).unwrap();
    deposited(&driver, &client, &["r", "s", "kept"]).await;
    servers[1].io().to("r").emit("n", &0).unwrap();
    assert_eq!(numbers(&client, 1).await.0, [0]);
    let mut sent = 0;
    for round in 0..6 {
        let (from, to) = (&servers[round % 2], &servers[(round + 1) % 2]);
        client.drop_connection();
        from.settle().await;
        for _ in 0..5 {
            sent += 1;
            servers[sent % 2].io().to("r").emit("n", &sent).unwrap();
            servers[sent % 2].io().to("other").emit("n", &1000).unwrap();
            servers[sent % 2].io().to("r").except("s").emit("n", &1001).unwrap();
            servers[sent % 2].io().to("r").volatile().emit("n", &1002).unwrap();
        }
        for server in &servers {
            server.io().to("all").emit("n", &0).unwrap();
        }
        for observer in &observers {
            numbers(observer, 2).await;
        }
        client = to.reconnect(&client, ()).await.unwrap();
        assert!(client.recovered(), "round {round}");
        assert_eq!(*client.id(), *id);
        let mut heard = numbers(&client, 5).await.0;
        heard.sort_unstable();
        assert_eq!(heard, (sent as u64 - 4..=sent as u64).collect::<Vec<_>>());
        assert_eq!(rooms(to, &client).await, ["r", "s"]);
        let socket = handle(to, &client).await;
        assert_eq!(socket.data(|data| data.get("kept")), Some(1));
        // It takes part as before.
        sent += 1;
        from.io().to("s").emit("n", &sent).unwrap();
        assert_eq!(numbers(&client, 1).await.0, [sent as u64]);
        client.expect_silence().await;
    }
}

#[actix_rt::test]
async fn a_session_is_found_before_its_server_knows_that_the_client_has_gone_and_only_once() {
    let driver = recovering();
    let servers = driver.start(3).await;
    let a = client(&servers[0], "ann", &["r"]).await;
    deposited(&driver, &a, &["r"]).await;
    servers[1].io().to("r").emit("n", &1).unwrap();
    assert_eq!(numbers(&a, 1).await.0, [1]);
    // What changes is deposited too.
    let socket = handle(&servers[0], &a).await;
    socket.join("s");
    socket.data(|data| data.set("score", &7)).unwrap();
    deposited(&driver, &a, &["r", "s", "score"]).await;
    a.stop_answering_pings();
    servers[2].io().to("s").emit("n", &2).unwrap();
    servers[0].io().to("r").emit("n", &3).unwrap();
    let (one, other) = tokio::join!(servers[1].reconnect(&a, ()), servers[2].reconnect(&a, ()));
    let both = [(1, one.unwrap()), (2, other.unwrap())];
    let recovered: Vec<_> = both.iter().filter(|(_, client)| client.recovered()).collect();
    let [(server, back)] = recovered[..] else { panic!("one of them gets it") };
    let mut heard = numbers(back, 2).await.0;
    heard.sort_unstable();
    assert_eq!(heard, [2, 3]);
    assert_eq!(rooms(&servers[*server], back).await, ["r", "s"]);
    let socket = handle(&servers[*server], back).await;
    assert_eq!(socket.data(|data| data.get("score")), Some(7));
    assert_eq!(
        servers[1].metrics().recoveries_unknown + servers[2].metrics().recoveries_unknown,
        1
    );
    // The first server has it no more, although it does not know.
    deposited(&driver, back, &["s"]).await;
    servers[0].settle().await;
    let stale = servers[0].reconnect(&a, ()).await.unwrap();
    assert!(stale.recovered(), "its newest deposit is that of the other server");
    assert_eq!(rooms(&servers[0], &stale).await, ["r", "s"]);
}

#[actix_rt::test]
async fn a_client_that_has_got_nothing_yet_is_recovered_too() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let early = client(&servers[0], "early", &["r"]).await;
    deposited(&driver, &early, &["r"]).await;
    servers[1].io().to("r").emit("n", &1).unwrap();
    assert_eq!(numbers(&early, 1).await.0, [1]);
    let a = client(&servers[0], "a", &["r"]).await;
    deposited(&driver, &a, &["r"]).await;
    assert!(a.session()["offset"].is_null());
    a.stop_answering_pings();
    early.drop_connection();
    servers[1].io().to("r").emit("n", &2).unwrap();
    let back = servers[1].reconnect(&a, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(numbers(&back, 1).await.0, [2]);
    back.expect_silence().await;
}

#[actix_rt::test]
async fn what_is_over_is_found_no_more() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    deposited(&driver, &a, &["r"]).await;
    servers[0].io().to("r").emit("n", &1).unwrap();
    assert_eq!(numbers(&a, 1).await.0, [1]);
    handle(&servers[0], &a).await.disconnect(false).await;
    a.disconnected().await;
    let gone = async || driver.redis.command(&["GET", &key(&a)]).trim().is_empty();
    until("it is withdrawn", gone).await;
    assert!(!servers[1].reconnect(&a, ()).await.unwrap().recovered());
    // What is too long ago.
    let b = client(&servers[0], "b", &["r"]).await;
    deposited(&driver, &b, &["r"]).await;
    servers[0].io().to("r").emit("n", &2).unwrap();
    numbers(&b, 1).await;
    driver.redis.command(&["XTRIM", "socket.io", "MAXLEN", "0"]);
    assert!(!servers[1].reconnect(&b, ()).await.unwrap().recovered());
    assert_eq!(servers[1].metrics().recoveries_evicted, 1);
    // What is none.
    let c = client(&servers[0], "c", &["r"]).await;
    deposited(&driver, &c, &["r"]).await;
    servers[0].io().to("r").emit("n", &3).unwrap();
    numbers(&c, 1).await;
    for wrong in ["", "x", "gqNzaWQ="] {
        driver.redis.command(&["SET", &key(&c), wrong]);
        assert!(!servers[1].reconnect(&c, ()).await.unwrap().recovered());
    }
    assert_eq!(servers[1].metrics().cluster_messages_malformed, 3);
    let pid = "x".repeat(65);
    for (pid, offset) in [(&*pid, "1-1"), ("p:q", "1-1"), ("p", "x"), ("p", "1-1")] {
        let auth = json!({ "pid": pid, "offset": offset });
        assert!(!servers[1].connect("/", auth).await.unwrap().recovered());
    }
}

#[actix_rt::test]
async fn a_secret_of_one_namespace_is_of_no_use_in_another() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let other = servers[0].connect("/other", json!({ "rooms": ["r"] })).await.unwrap();
    let a = client(&servers[0], "a", &["r"]).await;
    deposited(&driver, &a, &["r"]).await;
    servers[0].io().of("/other").unwrap().emit("n", &0).unwrap();
    servers[0].io().emit("n", &1).unwrap();
    let (of_other, of_a) = (numbers(&other, 1).await.1, numbers(&a, 1).await.1);
    let session = driver.redis.command(&["GET", &key(&a)]).trim().to_owned();
    // As a Node.js server leaves it: it does not say of which namespace it is.
    let node = {
        let pid = a.session()["pid"].as_str().unwrap().to_owned();
        let text = |text: &str| [&[0xd9, text.len() as u8], text.as_bytes()].concat();
        let fields = [text("sid"), text(&a.id()), text("pid"), text(&pid)].concat();
        let rest = [text("rooms"), vec![0x91], text("r"), text("data"), vec![0x80]].concat();
        STANDARD.encode([&[0x84][..], &fields, &rest].concat())
    };
    a.stop_answering_pings();
    let pid = a.session()["pid"].clone();
    for (session, offset, namespace, recovered) in [
        (&session, &of_a, "/other", false),
        (&session, &of_other, "/other", false),
        (&node, &of_a, "/other", false),
        (&node, &of_other, "/", false),
        (&node, &of_a, "/", true),
    ] {
        driver.redis.command(&["SET", &key(&a), session]);
        let auth = json!({ "pid": pid, "offset": offset, "name": "b" });
        let client = servers[1].connect(namespace, auth).await.unwrap();
        assert_eq!(client.recovered(), recovered, "{namespace} {offset}");
    }
}

#[actix_rt::test]
async fn sessions_stay_deposited_and_are_deposited_again_when_redis_has_lost_them() {
    let mut driver = recovering();
    driver.duration = std::time::Duration::from_secs(2);
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    deposited(&driver, &a, &["r"]).await;
    let ttl = |driver: &Streams| -> i64 {
        driver.redis.command(&["PTTL", &key(&a)]).trim().parse().unwrap()
    };
    for _ in 0..3 {
        until("it runs", async || ttl(&driver) < 3500).await;
        until("it is renewed", async || ttl(&driver) > 3500).await;
    }
    driver.redis.kill();
    for server in &servers {
        let away = async || server.io().cluster_state() == Some(ClusterState::Away);
        until("it is noticed", away).await;
    }
    assert!(driver.redis.resume());
    deposited(&driver, &a, &["r"]).await;
    for server in &servers {
        let linked = async || server.io().cluster_state() == Some(ClusterState::Linked);
        until("it takes part again", linked).await;
    }
    servers[1].io().to("r").emit("n", &1).unwrap();
    assert_eq!(numbers(&a, 1).await.0, [1]);
    a.stop_answering_pings();
    servers[1].io().to("r").emit("n", &2).unwrap();
    let back = servers[1].reconnect(&a, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(numbers(&back, 1).await.0, [2]);
}

#[actix_rt::test]
async fn who_missed_too_much_or_turns_away_is_not_given_half() {
    let driver = recovering();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    deposited(&driver, &a, &["r"]).await;
    servers[0].io().to("r").emit("n", &0).unwrap();
    numbers(&a, 1).await;
    a.stop_answering_pings();
    let text = "x".repeat(100_000);
    for _ in 0..40 {
        servers[0].io().to("r").emit("n", &text).unwrap();
    }
    let full = async || driver.redis.command(&["XLEN", "socket.io"]).trim() == "41";
    until("all is in the stream", full).await;
    let back = servers[1].reconnect(&a, ()).await.unwrap();
    assert!(!back.recovered(), "more than may wait for a client");
    assert_eq!(servers[1].metrics().recoveries_evicted, 1);
}
