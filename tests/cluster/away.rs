//! What is sent while Redis is away, with every adapter: it waits, and arrives in its order, once.

use std::time::Duration;

use greenroom::{
    ClusterState, RedisAdapter,
    testing::{TestServer, TestSocket},
};

use crate::{
    Driver, client,
    redis::{Classic, Redis, classic, until},
    server,
    sharded::{Sharded, dynamic},
    streams::{Streams, recovering, streams},
    support::handle,
};

/// A driver whose Redis can be stopped.
trait Mortal: Driver {
    fn redis(&mut self) -> &mut Redis;
}

impl Mortal for Classic {
    fn redis(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

impl Mortal for Sharded {
    fn redis(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

impl Mortal for Streams {
    fn redis(&mut self) -> &mut Redis {
        &mut self.redis
    }
}

async fn all_are(servers: &[TestServer], state: ClusterState) {
    until("all are so", async || {
        servers.iter().all(|server| server.io().cluster_state() == Some(state))
    })
    .await;
}

async fn numbers(client: &TestSocket, range: std::ops::Range<u64>) {
    for n in range {
        let event = client.next_event().await;
        assert_eq!((&*event.name, event.args.get::<u64>(0).unwrap()), ("n", n));
    }
}

/// Starts two servers, each of which knows that there are two.
async fn two(driver: &mut impl Mortal) -> Vec<TestServer> {
    let servers = driver.start(2).await;
    let counts = |redis: &Redis| {
        let stats = redis.command(&["INFO", "commandstats"]);
        let counts = stats.split_once("numsub:calls=").map_or("", |(_, rest)| rest);
        counts.split(',').next().and_then(|calls| calls.parse().ok()).unwrap_or(0_u32)
    };
    let before = counts(driver.redis());
    // They count once a second, and one that is new a few times more.
    until("both have counted", async || counts(driver.redis()) >= before + 8).await;
    servers
}

macro_rules! for_driver {
    ($name:ident, $driver:expr) => {
        mod $name {
            use super::*;

            #[actix_rt::test]
            async fn what_is_sent_meanwhile_arrives_afterwards_in_its_order_once() {
                super::what_is_sent_meanwhile_arrives_afterwards_in_its_order_once($driver).await;
            }

            #[actix_rt::test]
            async fn what_nobody_awaits_any_more_is_not_sent() {
                super::what_nobody_awaits_any_more_is_not_sent($driver).await;
            }

            #[actix_rt::test]
            async fn what_is_sent_while_all_subscriptions_are_broken_waits_for_them() {
                super::what_is_sent_while_all_subscriptions_are_broken_waits_for_them($driver)
                    .await;
            }

            #[actix_rt::test]
            async fn a_join_from_elsewhere_comes_before_what_is_sent_to_the_room() {
                super::a_join_from_elsewhere_comes_before_what_is_sent_to_the_room($driver).await;
            }
        }
    };
}

for_driver!(over_classic, classic());
for_driver!(over_sharded, dynamic());
for_driver!(over_streams, streams());
for_driver!(over_streams_with_recovery, recovering());

async fn what_is_sent_meanwhile_arrives_afterwards_in_its_order_once(mut driver: impl Mortal) {
    let servers = two(&mut driver).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r", "far"]).await;
    handle(&servers[1], &b).await.join_confirmed("r").await.unwrap();
    let io = servers[0].io();
    let send = |range: std::ops::Range<u64>| {
        for n in range {
            match n % 3 {
                0 => io.emit("n", &n).unwrap(),
                1 => io.to("r").emit("n", &n).unwrap(),
                _ => io.to("r").emit("n", &(n, bytes::Bytes::from_static(b"binary"))).unwrap(),
            }
        }
    };
    send(0..30);
    numbers(&b, 0..30).await;
    for round in 1..3 {
        let begin = round * 100;
        driver.redis().kill();
        all_are(&servers, ClusterState::Away).await;
        send(begin..begin + 50);
        io.to("far").volatile().emit("volatile", &()).unwrap();
        until("all of it waits", async || {
            io.cluster_messages_waiting() >= 50
                && servers[0].metrics().cluster_messages_volatile == round
        })
        .await;
        assert!(driver.redis().resume());
        send(begin + 50..begin + 60);
        numbers(&b, begin..begin + 60).await;
        all_are(&servers, ClusterState::Linked).await;
        assert_eq!(io.cluster_messages_waiting(), 0);
        send(begin + 60..begin + 70);
        numbers(&b, begin + 60..begin + 70).await;
    }
    // One's own clients have had all of it when it was sent.
    numbers(&a, 0..30).await;
    for round in 1..3 {
        numbers(&a, round * 100..round * 100 + 70).await;
    }
    let metrics = servers[0].metrics();
    assert_eq!(metrics.cluster_messages_expired, 0);
    assert_eq!(metrics.cluster_messages_dropped, 0);
    a.expect_silence().await;
    b.expect_silence().await;
}

async fn what_nobody_awaits_any_more_is_not_sent(mut driver: impl Mortal) {
    let servers = two(&mut driver).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io();
    driver.redis().kill();
    all_are(&servers, ClusterState::Away).await;
    let short = Duration::from_millis(50);
    let fetched = io.sockets().timeout(short).try_fetch_sockets().await;
    assert_eq!(fetched.unwrap_err().missing.count, None);
    let answers = io.to("r").timeout(short).emit_with_ack("short", &()).unwrap();
    assert!(answers.all().await.is_err());
    let patient = io.sockets().timeout(Duration::from_secs(60));
    let (long, question) = (patient.clone(), patient.to("r").emit_with_ack("long", &()).unwrap());
    let fetched = actix_rt::spawn(async move { long.try_fetch_sockets().await });
    until("they wait", async || io.cluster_messages_waiting() >= 4).await;
    assert!(driver.redis().resume());
    b.next_event().await.answer(7);
    let answers = question.all().await.unwrap();
    assert_eq!(answers.len(), 1, "of the other server too");
    assert_eq!(fetched.await.unwrap().unwrap().len(), 1);
    b.expect_silence().await;
    assert_eq!(servers[0].metrics().cluster_messages_expired, 2);
}

async fn what_is_sent_while_all_subscriptions_are_broken_waits_for_them(mut driver: impl Mortal) {
    let servers = two(&mut driver).await;
    let b = client(&servers[1], "b", &["r"]).await;
    handle(&servers[1], &b).await.join_confirmed("r").await.unwrap();
    for round in 0..3 {
        driver.redis().command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        until("both have noticed", async || {
            servers.iter().all(|server| server.metrics().cluster_disconnections > round)
        })
        .await;
        for n in round * 20..round * 20 + 20 {
            servers[0].io().to("r").emit("n", &n).unwrap();
        }
        numbers(&b, round * 20..round * 20 + 20).await;
        all_are(&servers, ClusterState::Linked).await;
    }
    b.expect_silence().await;
}

async fn a_join_from_elsewhere_comes_before_what_is_sent_to_the_room(mut driver: impl Mortal) {
    let servers = two(&mut driver).await;
    let b = client(&servers[1], "b", &["r"]).await;
    handle(&servers[1], &b).await.join_confirmed("r").await.unwrap();
    let io = servers[0].io();
    driver.redis().kill();
    all_are(&servers, ClusterState::Away).await;
    for n in 0..20 {
        io.to("r").join(format!("x{n}"));
        io.to(format!("x{n}")).emit("n", &n).unwrap();
    }
    io.to("r").leave("x7");
    io.to("x7").emit("left", &()).unwrap();
    assert!(driver.redis().resume());
    numbers(&b, 0..20).await;
    all_are(&servers, ClusterState::Linked).await;
    io.to("x19").emit("n", &20).unwrap();
    numbers(&b, 20..21).await;
    b.expect_silence().await;
}

#[actix_rt::test]
async fn what_is_too_old_is_dropped_and_counted() {
    let mut redis = Redis::start();
    let mut servers = Vec::new();
    for (n, time) in [Duration::ZERO, Duration::from_millis(1)].into_iter().enumerate() {
        let adapter = RedisAdapter::new(&redis.url()).unwrap().publish_within(time);
        servers.push(TestServer::workers(server(format!("node{n}")).adapter(adapter), 1).await);
        servers[n].io().cluster_ready().await;
    }
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    redis.kill();
    all_are(&servers, ClusterState::Away).await;
    for server in &servers {
        server.io().to("r").emit("old", &()).unwrap();
    }
    assert_eq!(a.next_event().await.name, "old");
    assert_eq!(b.next_event().await.name, "old");
    let nothing = async || servers[0].metrics().cluster_messages_dropped == 1;
    until("nothing waits at all", nothing).await;
    assert!(redis.resume());
    all_are(&servers, ClusterState::Linked).await;
    assert_eq!(servers[1].metrics().cluster_messages_expired, 1);
    servers[0].io().to("r").emit("new", &()).unwrap();
    assert_eq!(b.next_event().await.name, "new");
    assert_eq!(a.next_event().await.name, "new");
    servers[1].io().to("r").emit("newer", &()).unwrap();
    assert_eq!(a.next_event().await.name, "newer");
}

#[actix_rt::test]
async fn entries_that_were_on_their_way_are_neither_lost_nor_doubled() {
    let driver = streams();
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io().clone();
    for round in 0..20 {
        let begin = round * 300;
        let kill = driver.redis.connection(&["CLIENT KILL TYPE normal SKIPME yes"]);
        for n in begin..begin + 300 {
            io.to("r").emit("n", &n).unwrap();
            if n % 50 == 0 {
                actix_rt::task::yield_now().await;
            }
        }
        numbers(&b, begin..begin + 300).await;
        drop(kill);
    }
    let metrics = servers[0].metrics();
    assert!(metrics.cluster_disconnections >= 10, "they were killed: {metrics:?}");
    assert_eq!(metrics.cluster_messages_dropped + metrics.cluster_messages_expired, 0);
    b.expect_silence().await;
}

#[actix_rt::test]
async fn of_a_redis_that_keeps_its_data_a_stream_loses_nothing_at_all() {
    let directory = std::env::temp_dir().join(format!("greenroom-away-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut driver = streams();
    let keeps = ["--appendonly", "yes", "--appendfsync", "always", "--dir"];
    driver.redis = Redis::start_with(&[&keeps[..], &[directory.to_str().unwrap()]].concat());
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io().clone();
    for round in 0..3 {
        let begin = round * 1000;
        for n in begin..begin + 1000 {
            io.to("r").emit("n", &n).unwrap();
            if n % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if n == begin + 400 {
                driver.redis.kill();
            }
            if n == begin + 600 {
                assert!(driver.redis.resume());
            }
        }
        numbers(&b, begin..begin + 1000).await;
    }
    b.expect_silence().await;
    drop(driver);
    let _ = std::fs::remove_dir_all(directory);
}
