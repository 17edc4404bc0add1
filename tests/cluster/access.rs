//! What a server may do on a Redis that others use too: the rules that `docs/cluster.md` names.

use std::time::Duration;

use greenroom::{
    Adapter, ClusterState, RedisAdapter, RedisEmitter, RedisStreamsAdapter, ShardedRedisAdapter,
    SocketIo, prelude::*, testing::TestServer,
};

use tracing::Level;

use crate::{
    lines::Lines,
    redis::{Redis, until},
    streams_recovery,
};

/// A Redis where a user has the rules of the documentation, and its address for that user.
fn redis_with(user: &str) -> (Redis, String) {
    let page = include_str!("../../docs/cluster.md");
    let start = format!("ACL SETUSER {user} ");
    let lines = page.lines().filter_map(|line| line.trim().strip_prefix(&start));
    let rules: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    assert!(rules.contains(&"+pubsub"), "{rules:?}");
    let redis = Redis::start();
    redis.command(&[&["ACL", "SETUSER", user, "reset"], &rules[..]].concat());
    let url = redis.url().replace("redis://", &format!("redis://{user}:secret@"));
    (redis, url)
}

#[actix_rt::test]
async fn a_user_of_redis_with_the_documented_rules_is_enough() {
    let (redis, url) = redis_with("chat");
    let adapter = RedisAdapter::new(&url).unwrap();
    nothing_is_refused(&redis, adapter.clone(), adapter.into()).await;
    assert!(redis.command(&["--user", "chat", "--pass", "secret", "GET", "x"]).contains("NOPERM"));
}

#[actix_rt::test]
async fn so_is_one_of_sharded_pub_sub() {
    let (redis, url) = redis_with("sharded");
    let adapter = ShardedRedisAdapter::new(&url).unwrap();
    nothing_is_refused(&redis, adapter.clone(), adapter.into()).await;
}

#[actix_rt::test]
async fn so_is_one_of_streams() {
    let (redis, url) = redis_with("streams");
    let adapter = RedisStreamsAdapter::new(&url).unwrap();
    nothing_is_refused(&redis, adapter.clone(), adapter.clone().into()).await;
    // Recovery needs more.
    streams_recovery::recovers(&adapter).await;
    let log = redis.command(&["ACL", "LOG"]);
    assert!(log.trim().is_empty(), "{log}");
}

#[actix_rt::test]
async fn why_redis_is_not_reached_is_in_the_log_once() {
    let mut redis = Redis::start();
    redis.command(&["CONFIG", "SET", "requirepass", "right"]);
    let url = redis.url().replace("redis://", "redis://:wrong@");
    let (log, _guard) = Lines::of_this_thread(Level::DEBUG);
    let builder = SocketIo::builder().namespace(Namespace::new("/"));
    let server = TestServer::workers(builder.adapter(RedisAdapter::new(&url).unwrap()), 1).await;
    let said = |level: &str, what: &str| {
        let is = |line: &&str| {
            let subscriber = line.contains("greenroom::adapter::redis: no connection to Redis");
            subscriber && line.contains(level) && line.contains(what)
        };
        log.text().lines().filter(is).count()
    };
    until("it is tried again", async || said("DEBUG", "WRONGPASS") >= 2).await;
    assert_eq!(said("WARN", "WRONGPASS"), 1, "{}", log.text());
    redis.kill();
    until("another reason is said", async || said("WARN", "refused") == 1).await;
    server.close().await;
}

async fn nothing_is_refused(redis: &Redis, adapter: impl Adapter + Clone, emitter: RedisEmitter) {
    let mut servers = Vec::new();
    for _ in 0..2 {
        let builder = SocketIo::builder().namespace(Namespace::new("/"));
        servers.push(TestServer::workers(builder.adapter(adapter.clone()), 1).await);
    }
    for server in &servers {
        let ready = tokio::time::timeout(Duration::from_secs(30), server.io().cluster_ready());
        ready.await.expect("all subscriptions are allowed");
        assert_eq!(server.io().cluster_state(), Some(ClusterState::Linked));
    }
    let all = servers[0].io().sockets();
    assert_eq!(all.server_count().await, Some(2));
    let client = servers[1].connect("/", serde_json::json!({})).await.unwrap();
    assert_eq!(all.try_fetch_sockets().await.unwrap().len(), 1);
    all.to(client.id()).join_confirmed("room").await.unwrap();
    servers[0].io().to("room").emit("e", &1).unwrap();
    assert_eq!(client.next_event().await.name, "e");
    emitter.to("room").emit("emitted", &1).await.unwrap();
    assert_eq!(client.next_event().await.name, "emitted");
    servers[1].io().to("room").leave_confirmed("room").await.unwrap();
    let log = redis.command(&["ACL", "LOG"]);
    assert!(log.trim().is_empty(), "{log}");
}
