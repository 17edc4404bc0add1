//! Over Redis Streams: what every driver does, what the stream is good for when a connection breaks,
//! and the events that clients missed.

use std::time::Duration;

use greenroom::{ClusterState, Recovery, RedisEmitter, RedisStreamsAdapter, testing::TestServer};
use serde_json::json;

use crate::{
    Driver, client,
    redis::{Redis, names_are_not_looked_for_at_each_request, until},
    server, suite,
};

/// Streams; several of them, so that some namespaces have one that Node.js does not read.
pub(crate) struct Streams {
    pub(crate) redis: Redis,
    count: usize,
    sharded: bool,
    recovery: bool,
    /// How long after their connections broke clients may come back.
    pub(crate) duration: Duration,
}

impl Streams {
    pub(crate) fn adapter(&self) -> RedisStreamsAdapter {
        let adapter = RedisStreamsAdapter::new(&self.redis.url()).unwrap();
        let adapter = adapter.stream_count(self.count).max_len(1000).read_count(7);
        adapter.use_sharded_pub_sub(self.sharded)
    }

    async fn one(&self, name: String) -> TestServer {
        let adapter = self.adapter();
        let mut builder = server(name).adapter(adapter);
        if self.recovery {
            builder = builder.connection_state_recovery(
                Recovery::new().max_disconnection_duration(self.duration),
            );
        }
        TestServer::workers(builder, 1).await
    }
}

impl Driver for Streams {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let mut servers = Vec::new();
        for n in 0..count {
            servers.push(self.one(format!("node{n}")).await);
        }
        for server in &servers {
            server.io().cluster_ready().await;
            assert_eq!(server.io().cluster_state(), Some(ClusterState::Linked));
        }
        servers
    }
}

const TWO_MINUTES: Duration = Duration::from_secs(120);

pub(crate) fn streams() -> Streams {
    Streams {
        redis: Redis::start(),
        count: 1,
        sharded: false,
        recovery: false,
        duration: TWO_MINUTES,
    }
}

fn several_streams() -> Streams {
    Streams {
        redis: Redis::start(),
        count: 4,
        sharded: true,
        recovery: false,
        duration: TWO_MINUTES,
    }
}

pub(crate) fn recovering() -> Streams {
    Streams {
        redis: Redis::start(),
        count: 1,
        sharded: false,
        recovery: true,
        duration: TWO_MINUTES,
    }
}

suite::for_driver!(redis_streams_with_recovery, recovering());
suite::for_driver!(redis_streams, streams());
suite::for_driver!(several_redis_streams, several_streams());

#[actix_rt::test]
async fn a_stream_is_read_on_where_it_was_when_the_connection_broke() {
    let driver = streams();
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &["r"]).await;
    for round in 0..5 {
        for n in 0..40 {
            servers[0].io().to("r").emit("n", &(round * 40 + n)).unwrap();
            if n == 20 {
                // Those that wait for entries, of both servers.
                let waiting = driver.redis.command(&["CLIENT", "LIST"]);
                let reads = |line: &&str| line.contains("cmd=xread");
                for line in waiting.lines().filter(reads) {
                    let id = line.split([' ', '=']).nth(1).unwrap();
                    driver.redis.command(&["CLIENT", "KILL", "ID", id]);
                }
            }
        }
        for n in 0..40 {
            assert_eq!(b.next_event().await.data::<u64>(), round * 40 + n);
        }
    }
    let noticed = servers[1].metrics().cluster_disconnections;
    assert!(noticed >= 5, "they were killed: {noticed}");
}

#[actix_rt::test]
async fn without_redis_local_clients_are_served_and_streams_go_on_afterwards() {
    let mut driver = streams();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io();
    for round in 0..2 {
        driver.redis.kill();
        until("it is noticed", async || io.cluster_state() == Some(ClusterState::Away)).await;
        io.to("r").emit("here", &()).unwrap();
        assert_eq!(a.next_event().await.name, "here");
        assert!(driver.redis.resume());
        for server in &servers {
            let linked = async || server.io().cluster_state() == Some(ClusterState::Linked);
            until("it takes part again", linked).await;
        }
        // The stream is another one: it was kept nowhere. What was sent meanwhile has waited.
        assert_eq!(b.next_event().await.name, "here");
        io.to("r").emit("again", &round).unwrap();
        assert_eq!(b.next_event().await.data::<u64>(), round);
        assert_eq!(a.next_event().await.name, "again");
        assert_eq!(io.sockets().server_count().await, Some(2));
    }
    assert_eq!(servers[0].metrics().cluster_messages_dropped, 0);
}

#[actix_rt::test]
async fn entries_that_nobody_should_add_are_counted_and_passed_over() {
    let driver = streams();
    let servers = driver.start(1).await;
    let a = client(&servers[0], "a", &[]).await;
    let add = |fields: &[&str]| {
        driver.redis.command(&[&["XADD", "socket.io", "*"], fields].concat());
    };
    add(&["something", "else"]);
    add(&["uid", "x", "nsp", "/nowhere", "type", "3", "data", "{"]);
    add(&["uid", "x", "nsp", "/", "type", "3", "data", "{"]);
    add(&["uid", "x", "nsp", "/", "type", "3", "data", "no base64"]);
    add(&["uid", "x", "nsp", "/", "type", "3"]);
    add(&["uid", "x", "nsp", "/", "data", "{}"]);
    add(&["uid", "x", "nsp", "/", "type", "77"]);
    let data = r#"{"packet":["tell",1]}"#;
    add(&["uid", "emitter", "nsp", "/", "type", "9", "data", data]);
    let data = r#"{"packet":{"type":2,"data":["still"],"nsp":"/"},"opts":{"rooms":[],"flags":{},"except":[]}}"#;
    add(&["uid", "emitter", "nsp", "/", "type", "3", "data", data]);
    assert_eq!(a.next_event().await.name, "still");
    let metrics = servers[0].metrics();
    assert_eq!((metrics.cluster_messages_malformed, metrics.cluster_messages_unknown), (3, 2));
    // What an official emitter adds is as long as Redis keeps it: about as much as was asked for.
    for _ in 0..3000 {
        servers[0].io().emit("n", &()).unwrap();
    }
    until("the stream has been cut", async || {
        let len: u64 = driver.redis.command(&["XLEN", "socket.io"]).trim().parse().unwrap();
        (900..1500).contains(&len) && servers[0].metrics().cluster_messages_sent >= 3000
    })
    .await;
    assert_eq!(servers[0].metrics().cluster_messages_dropped, 0);
}

#[actix_rt::test]
async fn a_server_hears_nothing_that_was_added_before_it_came() {
    let driver = streams();
    let first = driver.start(1).await;
    first[0].io().emit("before", &()).unwrap();
    let sent = async || driver.redis.command(&["XLEN", "socket.io"]).trim() == "1";
    until("it has been added", sent).await;
    let second = driver.start(1).await;
    let b = client(&second[0], "b", &[]).await;
    first[0].io().emit("after", &()).unwrap();
    assert_eq!(b.next_event().await.name, "after");
}

#[actix_rt::test]
async fn who_is_there_is_not_looked_for_at_each_request() {
    let driver = streams();
    let servers = driver.start(2).await;
    let _b = client(&servers[1], "b", &[]).await;
    names_are_not_looked_for_at_each_request(&driver.redis, servers[0].io()).await;
}

#[actix_rt::test]
async fn an_emitter_knows_the_stream_of_a_namespace() {
    let driver = several_streams();
    let servers = driver.start(1).await;
    let emitter = RedisEmitter::from(driver.adapter());
    for namespace in ["/", "/other"] {
        let a = servers[0].connect(namespace, json!({})).await.unwrap();
        emitter.of(namespace).emit("hello", namespace).await.unwrap();
        assert_eq!(a.next_event().await.data::<String>(), namespace);
    }
}
