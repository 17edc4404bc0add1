//! Over the sharded pub/sub of a real Redis.

use std::time::Duration;

use greenroom::{
    ClusterState, ShardedRedisAdapter, SubscriptionMode,
    testing::{KillNamespace, TestServer},
};
use serde_json::json;

use crate::{
    Driver, client,
    redis::{Redis, until},
    server, suite,
    support::handle,
};

pub(crate) struct Sharded {
    pub(crate) redis: Redis,
    mode: SubscriptionMode,
}

impl Driver for Sharded {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let adapter = || {
            let adapter = ShardedRedisAdapter::new(&self.redis.url()).unwrap();
            adapter.subscription_mode(self.mode)
        };
        start(count, adapter).await
    }
}

/// Servers with an adapter each.
pub(crate) async fn start(
    count: usize,
    adapter: impl Fn() -> ShardedRedisAdapter,
) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for n in 0..count {
        let builder = server(format!("node{n}")).adapter(adapter());
        servers.push(TestServer::workers(builder, 1).await);
    }
    for server in &servers {
        server.io().cluster_ready().await;
        assert_eq!(server.io().cluster_state(), Some(ClusterState::Linked));
    }
    servers
}

pub(crate) fn with(mode: SubscriptionMode) -> Sharded {
    Sharded { redis: Redis::start(), mode }
}

pub(crate) fn dynamic() -> Sharded {
    with(SubscriptionMode::Dynamic)
}

suite::for_driver!(sharded_redis, dynamic());
suite::for_driver!(sharded_redis_static, with(SubscriptionMode::Static));
suite::for_driver!(sharded_redis_dynamic_private, with(SubscriptionMode::DynamicPrivate));

impl Sharded {
    /// The channels that anybody listens to.
    fn channels(&self) -> Vec<String> {
        let listed = self.redis.command(&["PUBSUB", "SHARDCHANNELS", "socket.io#/#*"]);
        listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

#[actix_rt::test]
async fn a_server_hears_of_rooms_with_members_only() {
    let driver = dynamic();
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &["here"]).await;
    let twenty = "twenty characters...";
    handle(&servers[1], &b).await.join_confirmed(twenty).await.unwrap();
    let channels = driver.channels();
    assert_eq!(channels.len(), 4, "one of all, two of single servers, one room's: {channels:?}");
    let received = || servers[1].metrics().cluster_messages_received;
    let before = received();
    for _ in 0..10 {
        servers[0].io().to("elsewhere").emit("nobody", &()).unwrap();
    }
    servers[0].io().to("here").emit("one", &()).unwrap();
    servers[0].io().to(twenty).emit("two", &()).unwrap();
    servers[0].io().to(b.id()).emit("three", &()).unwrap();
    for name in ["one", "two", "three"] {
        assert_eq!(b.next_event().await.name, name);
    }
    assert_eq!(received() - before, 3);
    b.disconnect().await;
    until("nobody listens", async || driver.channels().len() == 3).await;
}

#[actix_rt::test]
async fn a_namespace_that_is_rebuilt_hears_its_rooms_and_no_others() {
    let driver = dynamic();
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &[]).await;
    let socket = handle(&servers[1], &b).await;
    socket.join_confirmed(["kept", "left"]).await.unwrap();
    let before = driver.channels();
    let rebuilt = async |times| {
        let count = || servers[1].metrics().namespaces_rebuilt;
        until("it is rebuilt", async || count() == times).await;
    };
    // It dies before it has said that there is a room, and that there is none.
    let namespace = servers[1].io().namespace("/").unwrap();
    namespace.do_send(KillNamespace::BeforeTelling);
    socket.join("joined");
    rebuilt(1).await;
    namespace.do_send(KillNamespace::BeforeTelling);
    socket.leave("left");
    rebuilt(2).await;
    socket.join_confirmed("last").await.unwrap();
    for room in ["kept", "joined", "last"] {
        servers[0].io().to(room).emit("n", &room).unwrap();
        assert_eq!(b.next_event().await.data::<String>(), room);
    }
    let channels = driver.channels();
    assert_eq!(channels.len(), before.len() + 1, "{channels:?}");
    assert!(!channels.contains(&"socket.io#/#left#".to_owned()));
}

#[actix_rt::test]
async fn connections_that_are_killed_come_back_with_all_rooms() {
    let driver = dynamic();
    let servers = driver.start(2).await;
    let rooms: Vec<String> = (0..600).map(|n| format!("room {n}")).collect();
    let b = client(&servers[1], "b", &[]).await;
    let socket = handle(&servers[1], &b).await;
    socket.join_confirmed(rooms.clone()).await.unwrap();
    for round in 0..3 {
        driver.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        until("both are back", async || {
            servers.iter().all(|server| {
                server.metrics().cluster_disconnections > round
                    && server.io().cluster_state() == Some(ClusterState::Linked)
            })
        })
        .await;
        for (n, room) in rooms.iter().enumerate() {
            servers[0].io().to(room).emit("n", &n).unwrap();
            assert_eq!(b.next_event().await.data::<usize>(), n);
        }
        assert_eq!(servers[0].io().sockets().server_count().await, Some(2));
    }
}

#[actix_rt::test]
async fn without_redis_local_clients_are_served_and_no_join_counts_as_confirmed() {
    let mut driver = dynamic();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io();
    driver.redis.kill();
    until("it is noticed", async || {
        servers.iter().all(|server| server.io().cluster_state() == Some(ClusterState::Away))
    })
    .await;
    io.to("r").emit("here", &()).unwrap();
    assert_eq!(a.next_event().await.name, "here");
    let socket = handle(&servers[1], &b).await;
    let join = tokio::time::timeout(Duration::from_millis(300), socket.join_confirmed("later"));
    assert!(join.await.is_err(), "nobody has confirmed it");
    assert!(driver.redis.resume());
    until("both take part again", async || {
        servers.iter().all(|server| server.io().cluster_state() == Some(ClusterState::Linked))
    })
    .await;
    for room in ["r", "later"] {
        io.to(room).emit("again", &room).unwrap();
        // What was said meanwhile waits for those who were known to be there, see `away`.
        let mut event = b.next_event().await;
        if event.name == "here" {
            event = b.next_event().await;
        }
        assert_eq!(event.data::<String>(), room);
    }
}

#[actix_rt::test]
async fn a_server_that_is_silent_is_named() {
    let driver = dynamic();
    let servers = driver.start(2).await;
    let _b = client(&servers[1], "b", &[]).await;
    // A node that listens as one does, and answers nothing.
    let _silent = driver
        .redis
        .connection(&["SSUBSCRIBE socket.io#/#0123456789abcdef#", "SSUBSCRIBE socket.io#/#"]);
    let main = servers[0].io().sockets().timeout(Duration::from_millis(300));
    until("it counts", async || main.server_count().await == Some(3)).await;
    let incomplete = main.try_fetch_sockets().await.unwrap_err();
    assert_eq!(incomplete.results.len(), 1, "what the others answered");
    assert_eq!(incomplete.missing.nodes, ["0123456789abcdef"]);
}

#[actix_rt::test]
async fn what_nobody_should_publish_is_counted_and_dropped() {
    let driver = dynamic();
    let servers = driver.start(1).await;
    let a = client(&servers[0], "a", &["r"]).await;
    handle(&servers[0], &a).await.join_confirmed("r").await.unwrap();
    for (channel, message) in [
        ("socket.io#/#", "no msgpack"),
        ("socket.io#/#r#", "{"),
        ("socket.io#/#", "{\"type\":77,\"uid\":\"x\",\"nsp\":\"/\"}"),
        ("socket.io#/#", "{\"type\":2,\"uid\":\"x\",\"nsp\":\"/other\"}"),
    ] {
        driver.redis.command(&["SPUBLISH", channel, message]);
    }
    until("all have come", async || {
        let metrics = servers[0].metrics();
        (metrics.cluster_messages_malformed, metrics.cluster_messages_unknown) == (2, 1)
    })
    .await;
    servers[0].io().emit("still", &json!(1)).unwrap();
    assert_eq!(a.next_event().await.name, "still");
    assert!(ShardedRedisAdapter::new("no address").is_err());
}
