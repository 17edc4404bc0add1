//! Redis as it is run for real: a cluster of several, users who may do only what is needed, TLS.

use std::{path::PathBuf, process::Command};

use greenroom::{
    ClusterState, RedisAdapter, RedisEmitError, RedisEmitter, RedisStreamsAdapter,
    ShardedRedisAdapter, testing::TestServer,
};

use crate::{
    Driver, client, emitter,
    redis::{Redis, until},
    server, sharded, suite,
    support::handle,
};

// ---- Redis Cluster -----------------------------------------------------------------------------

/// Three masters.
pub(crate) struct Masters(Vec<Redis>);

impl Masters {
    pub(crate) async fn start() -> Self {
        let masters: Vec<_> =
            (0..3).map(|_| Redis::start_with(&["--cluster-enabled", "yes"])).collect();
        for (n, master) in masters.iter().enumerate() {
            let (from, to) = (n * 16384 / 3, (n + 1) * 16384 / 3 - 1);
            let range = [from, to].map(|slot| slot.to_string());
            let added = master.command(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            assert!(added.contains("OK"), "{added}");
            master.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        for master in &masters[1..] {
            let port = masters[0].port.to_string();
            master.command(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        until("the masters know each other", async || {
            masters.iter().all(|master| {
                let info = master.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        })
        .await;
        Self(masters)
    }

    fn urls(&self) -> Vec<String> {
        self.0.iter().map(Redis::url).collect()
    }
}

/// Sharded, over a cluster of Redis servers, which is started with the first case's servers.
pub(crate) struct ShardedCluster(tokio::sync::OnceCell<Masters>);

impl Driver for ShardedCluster {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let urls = self.0.get_or_init(Masters::start).await.urls();
        let adapter = || {
            let adapter = ShardedRedisAdapter::cluster(urls.iter().map(|url| &**url)).unwrap();
            // In one place, so that all keeps its order.
            adapter.channel_prefix("{app}")
        };
        sharded::start(count, adapter).await
    }
}

/// Ordinary pub/sub over one.
struct ClassicCluster(tokio::sync::OnceCell<Masters>);

impl Driver for ClassicCluster {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let urls = self.0.get_or_init(Masters::start).await.urls();
        let mut servers = Vec::new();
        for n in 0..count {
            let adapter = RedisAdapter::cluster(urls.iter().map(|url| &**url)).unwrap();
            let builder = server(format!("node{n}")).adapter(adapter);
            servers.push(TestServer::workers(builder, 1).await);
        }
        for server in &servers {
            server.io().cluster_ready().await;
        }
        servers
    }
}

/// Streams on one, several of them on its servers, and sharded pub/sub.
struct StreamsCluster(tokio::sync::OnceCell<Masters>);

impl Driver for StreamsCluster {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let urls = self.0.get_or_init(Masters::start).await.urls();
        let mut servers = Vec::new();
        for n in 0..count {
            let adapter = RedisStreamsAdapter::cluster(urls.iter().map(|url| &**url)).unwrap();
            let adapter = adapter.stream_count(3).use_sharded_pub_sub(true);
            let builder = server(format!("node{n}")).adapter(adapter);
            servers.push(TestServer::workers(builder, 1).await);
        }
        for server in &servers {
            server.io().cluster_ready().await;
        }
        servers
    }
}

suite::for_driver!(redis_streams_cluster, StreamsCluster(tokio::sync::OnceCell::new()));
pub(crate) fn sharded_cluster() -> ShardedCluster {
    ShardedCluster(tokio::sync::OnceCell::new())
}

suite::for_driver!(sharded_redis_cluster, sharded_cluster());
suite::for_driver!(classic_redis_cluster, ClassicCluster(tokio::sync::OnceCell::new()));

#[actix_rt::test]
async fn an_emitter_sends_over_a_redis_cluster_in_its_order() {
    let driver = ClassicCluster(Masters::start().await.into());
    let servers = driver.start(2).await;
    let urls = driver.0.get().unwrap().urls();
    let adapter = RedisAdapter::cluster(urls.iter().map(|url| &**url)).unwrap();
    emitter::does_what_it_says(&servers, adapter.into()).await;
}

#[actix_rt::test]
async fn rooms_on_all_servers_of_a_redis_cluster_are_heard_also_after_connections_broke() {
    let masters = Masters::start().await;
    let urls = masters.urls();
    let adapter = || ShardedRedisAdapter::cluster(urls.iter().map(|url| &**url)).unwrap();
    let servers = sharded::start(2, adapter).await;
    let emitter = RedisEmitter::from(adapter());
    let b = client(&servers[1], "b", &[]).await;
    let socket = handle(&servers[1], &b).await;
    let rooms: Vec<String> = (0..60).map(|n| format!("room {n}")).collect();
    socket.join_confirmed(rooms.clone()).await.unwrap();
    for round in 0..2 {
        for room in &rooms {
            servers[0].io().to(room).emit("n", room).unwrap();
            assert_eq!(b.next_event().await.data::<String>(), *room);
        }
        // Its channel is on one of the servers only.
        emitter.to("room 7").emit("n", &round).await.unwrap();
        assert_eq!(b.next_event().await.data::<u64>(), round);
        assert_eq!(servers[0].io().sockets().server_count().await, Some(2));
        for master in &masters.0 {
            master.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        until("both are back", async || {
            servers.iter().all(|server| {
                server.metrics().cluster_disconnections > round
                    && server.io().cluster_state() == Some(ClusterState::Linked)
            })
        })
        .await;
    }
}

#[actix_rt::test]
async fn servers_are_counted_on_all_servers_of_a_redis_cluster_also_when_one_was_away() {
    let driver = ClassicCluster(Masters::start().await.into());
    let servers = driver.start(2).await;
    let mut driver = driver;
    let masters = &mut driver.0.get_mut().unwrap().0;
    let slot = masters[0].command(&["CLUSTER", "KEYSLOT", "socket.io-request#/#"]);
    let master = slot.trim().parse::<usize>().unwrap() * 3 / 16384;
    // Both connect to the others alone.
    masters[master].kill();
    let are_back = async || {
        servers.iter().all(|server| {
            server.metrics().cluster_disconnections > 0
                && server.io().cluster_state() == Some(ClusterState::Linked)
        })
    };
    until("they are back", are_back).await;
    assert!(masters[master].resume());
    let is_well = async || masters[0].command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    until("the cluster is well", is_well).await;
    // The third one listens there.
    let third = driver.start(1).await;
    for server in servers.iter().chain(&third) {
        let count = async || server.io().sockets().server_count().await == Some(3);
        until("all are counted", count).await;
    }
}

// ---- users and TLS -----------------------------------------------------------------------------

#[actix_rt::test]
async fn a_user_needs_no_more_than_its_channels() {
    let redis = Redis::start();
    let rules = ["on", ">p%40ss word", "resetchannels", "&app#*", "&app-*", "-@all"];
    let commands = [
        "+hello",
        "+client",
        "+ping",
        "+publish",
        "+subscribe",
        "+unsubscribe",
        "+psubscribe",
        "+punsubscribe",
        "+spublish",
        "+ssubscribe",
        "+sunsubscribe",
        "+pubsub",
    ];
    let created = redis.command(&[&["ACL", "SETUSER", "node"], &rules[..], &commands[..]].concat());
    assert!(created.contains("OK"), "{created}");
    let url = format!("redis://node:p%2540ss%20word@127.0.0.1:{}", redis.port);
    let adapter = || ShardedRedisAdapter::new(&url).unwrap().channel_prefix("app");
    both_hear(&sharded::start(2, adapter).await, adapter().into()).await;
    let mut servers = Vec::new();
    for n in 0..2 {
        // Patterns are allowed by their own text.
        redis.command(&["ACL", "SETUSER", "node", "&app#/*", "&app#/other#*"]);
        let adapter = RedisAdapter::new(&url).unwrap().key("app");
        servers.push(TestServer::workers(server(format!("n{n}")).adapter(adapter), 1).await);
    }
    // The pattern of `/` is `app#/#*`, which has to be among the user's, letter by letter.
    redis.command(&["ACL", "SETUSER", "node", "&app#/#*"]);
    for server in &servers {
        server.io().cluster_ready().await;
    }
    both_hear(&servers, RedisAdapter::new(&url).unwrap().key("app").into()).await;
}

async fn both_hear(servers: &[TestServer], emitter: RedisEmitter) {
    let b = client(&servers[1], "b", &[]).await;
    handle(&servers[1], &b).await.join_confirmed("r").await.unwrap();
    servers[0].io().to("r").emit("hello", &1).unwrap();
    assert_eq!(b.next_event().await.name, "hello");
    emitter.to("r").emit("emitted", &2).await.unwrap();
    assert_eq!(b.next_event().await.name, "emitted");
    assert_eq!(servers[0].io().sockets().server_count().await, Some(2));
    assert_eq!(servers[0].io().sockets().try_fetch_sockets().await.unwrap().len(), 1);
}

#[cfg(feature = "redis-tls")]
#[actix_rt::test]
async fn over_tls_only_a_server_that_is_trusted_is_talked_to() {
    let files = Certificate::new("redis-tls");
    let redis = Redis::start_tls(&files.path("key.pem"), &files.path("cert.pem"));
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let pem = std::fs::read(files.path("cert.pem")).unwrap();
    let adapter = || ShardedRedisAdapter::new(&url).unwrap().root_certificate(&*pem).unwrap();
    both_hear(&sharded::start(2, adapter).await, adapter().into()).await;
    let mut servers = Vec::new();
    let adapter = || RedisAdapter::new(&url).unwrap().root_certificate(&*pem).unwrap();
    for n in 0..2 {
        servers.push(TestServer::workers(server(format!("n{n}")).adapter(adapter()), 1).await);
        servers[n].io().cluster_ready().await;
    }
    both_hear(&servers, adapter().into()).await;
    let adapter = || RedisStreamsAdapter::new(&url).unwrap().root_certificate(&*pem).unwrap();
    let mut servers = Vec::new();
    for n in 0..2 {
        servers.push(TestServer::workers(server(format!("n{n}")).adapter(adapter()), 1).await);
        servers[n].io().cluster_ready().await;
    }
    both_hear(&servers, adapter().into()).await;
    // Nobody vouches for it.
    let untold = RedisEmitter::new(&url).unwrap().emit("e", &1).await.unwrap_err();
    assert!(matches!(untold, RedisEmitError::Unreachable(_)), "{untold:?}");
    let stranger = RedisAdapter::new(&url).unwrap();
    let stranger = TestServer::workers(server("stranger".into()).adapter(stranger), 1).await;
    let is_away = async || stranger.io().cluster_state() == Some(ClusterState::Away);
    until("it is refused", is_away).await;
    assert!(RedisAdapter::new(&url).unwrap().root_certificate(*b"no certificate").is_err());
}

/// A key and a certificate of 127.0.0.1, signed by itself, in a directory of their own.
#[cfg(feature = "redis-tls")]
struct Certificate(PathBuf);

#[cfg(feature = "redis-tls")]
impl Certificate {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("greenroom-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let this = Self(directory);
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
        openssl.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
        // It may vouch for itself, but is no authority.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.args(["-keyout".as_ref(), this.path("key.pem").as_os_str()]);
        openssl.args(["-out".as_ref(), this.path("cert.pem").as_os_str()]);
        let done = openssl.output().expect("openssl: apt-get install openssl");
        assert!(done.status.success(), "{done:?}");
        this
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

#[cfg(feature = "redis-tls")]
impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
