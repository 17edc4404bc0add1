//! What a server may do on a Redis that others use too: the rules that `docs/cluster.md` names.

use std::time::Duration;

use greenroom::{
    ClusterState, RedisAdapter, RedisEmitter, SocketIo, prelude::*, testing::TestServer,
};

use crate::redis::Redis;

/// The rules of the documentation, one after the other.
fn rules() -> Vec<&'static str> {
    let page = include_str!("../../docs/cluster.md");
    let lines = page.lines().filter_map(|line| line.trim().strip_prefix("ACL SETUSER chat "));
    lines.flat_map(str::split_whitespace).collect()
}

#[actix_rt::test]
async fn a_user_of_redis_with_the_documented_rules_is_enough() {
    let redis = Redis::start();
    let rules = rules();
    assert!(rules.contains(&"+subscribe"), "{rules:?}");
    redis.command(&[&["ACL", "SETUSER", "chat", "reset"], &rules[..]].concat());
    let url = redis.url().replace("redis://", "redis://chat:secret@");
    let mut servers = Vec::new();
    for _ in 0..2 {
        let builder = SocketIo::builder().namespace(Namespace::new("/"));
        let builder = builder.adapter(RedisAdapter::new(&url).unwrap());
        servers.push(TestServer::workers(builder, 1).await);
    }
    for server in &servers {
        let ready = tokio::time::timeout(Duration::from_secs(10), server.io().cluster_ready());
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
    RedisEmitter::new(&url).unwrap().to("room").emit("emitted", &1).await.unwrap();
    assert_eq!(client.next_event().await.name, "emitted");
    let log = redis.command(&["ACL", "LOG"]);
    assert!(log.trim().is_empty(), "{log}");
    assert!(redis.command(&["--user", "chat", "--pass", "secret", "GET", "x"]).contains("NOPERM"));
}
