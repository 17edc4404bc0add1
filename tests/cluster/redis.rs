//! Over a real Redis: what every driver does, and what becomes of it when Redis goes away.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[cfg(feature = "redis-tls")]
use std::path::Path;

use greenroom::{ClusterState, RedisAdapter, SocketIo, testing::TestServer};

use crate::{Driver, client, server, suite};

/// How long anything may take that has to happen.
const DEADLINE: Duration = Duration::from_secs(15);

/// A Redis of one's own, stopped when it is dropped.
pub(crate) struct Redis {
    process: Option<Child>,
    pub(crate) port: u16,
    arguments: Vec<String>,
    /// Whom redis-cli trusts, if it has to talk over TLS.
    certificate: Option<PathBuf>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        Self::start_on(None, |port| {
            let more = more.iter().map(|argument| (*argument).to_owned());
            let file = cluster_file(port);
            let _ = std::fs::remove_file(&file);
            let file = ["--cluster-config-file".to_owned(), file.display().to_string()];
            ["--port".to_owned(), port.to_string()].into_iter().chain(file).chain(more).collect()
        })
    }

    /// One that talks over TLS only.
    #[cfg(feature = "redis-tls")]
    pub(crate) fn start_tls(key: &Path, certificate: &Path) -> Self {
        let (key, file) = (key.display().to_string(), certificate.display().to_string());
        Self::start_on(Some(certificate.to_owned()), |port| {
            let tls = ["--port", "0", "--tls-port", port, "--tls-auth-clients", "no"];
            let files = ["--tls-key-file", &key, "--tls-cert-file", &file];
            let all = tls.into_iter().chain(files).chain(["--tls-ca-cert-file", &file]);
            all.map(str::to_owned).collect()
        })
    }

    fn start_on(certificate: Option<PathBuf>, arguments: impl Fn(&str) -> Vec<String>) -> Self {
        // Another process may take the port in between: then the next one is tried.
        (0..10)
            .find_map(|_| {
                let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
                let arguments = arguments(&port.to_string());
                let certificate = certificate.clone();
                let mut redis = Self { process: None, port, arguments, certificate };
                redis.resume().then_some(redis)
            })
            .expect("redis-server starts: apt-get install redis-server")
    }

    /// Starts the process again; whether it answers.
    pub(crate) fn resume(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().expect("redis-server: apt-get install redis-server");
        self.process = Some(process);
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            if self.command(&["PING"]).contains("PONG") {
                return true;
            }
            if self.process.as_mut().is_some_and(|p| matches!(p.try_wait(), Ok(Some(_)))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops the process as it is (`-STOP`), or lets it go on (`-CONT`).
    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// What redis-cli says to a command.
    pub(crate) fn command(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &port]);
        if let Some(certificate) = &self.certificate {
            cli.arg("--tls").arg("--cacert").arg(certificate);
        }
        let output = cli.args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A connection that has said this.
    pub(crate) fn connection(&self, commands: &[&str]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        for command in commands {
            write!(stream, "{command}\r\n").unwrap();
        }
        stream
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// What each server of a Redis Cluster keeps.
fn cluster_file(port: &str) -> PathBuf {
    std::env::temp_dir().join(format!("greenroom-nodes-{port}.conf"))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        // Most have none.
        let _ = std::fs::remove_file(cluster_file(&self.port.to_string()));
    }
}

/// Ordinary pub/sub.
pub(crate) struct Classic {
    pub(crate) redis: Redis,
    specific: bool,
}

impl Driver for Classic {
    async fn start(&self, count: usize) -> Vec<TestServer> {
        let mut servers = Vec::new();
        for n in 0..count {
            let adapter = RedisAdapter::new(&self.redis.url()).unwrap();
            let adapter = adapter.publish_on_specific_response_channel(self.specific);
            let builder = server(format!("node{n}")).adapter(adapter);
            servers.push(TestServer::workers(builder, 1).await);
        }
        for server in &servers {
            server.io().cluster_ready().await;
            assert_eq!(server.io().cluster_state(), Some(ClusterState::Linked));
        }
        servers
    }
}

pub(crate) fn classic() -> Classic {
    Classic { redis: Redis::start(), specific: false }
}

fn specific() -> Classic {
    Classic { redis: Redis::start(), specific: true }
}

suite::for_driver!(classic_redis, classic());
suite::for_driver!(classic_redis_with_specific_channels, specific());

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is().await {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_rt::test]
async fn without_redis_local_clients_are_served_and_afterwards_all_are() {
    let mut driver = classic();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io();
    driver.redis.kill();
    until("it is noticed", async || io.cluster_state() == Some(ClusterState::Away)).await;
    io.to("r").emit("here", &()).unwrap();
    assert_eq!(a.next_event().await.name, "here");
    let missing = io.sockets().timeout(Duration::from_millis(200)).try_fetch_sockets().await;
    assert_eq!(missing.unwrap_err().results.len(), 1);
    assert_eq!(io.sockets().server_count().await, None);
    assert!(driver.redis.resume());
    for server in &servers {
        let linked = async || server.io().cluster_state() == Some(ClusterState::Linked);
        until("it takes part again", linked).await;
        assert_eq!(server.metrics().cluster_disconnections, 1);
    }
    io.to("r").emit("again", &()).unwrap();
    // What was said meanwhile waits for those who were known to be there, see `away`.
    let mut event = b.next_event().await;
    if event.name == "here" {
        event = b.next_event().await;
    }
    assert_eq!(event.name, "again");
    assert_eq!(a.next_event().await.name, "again");
    assert_eq!(io.sockets().server_count().await, Some(2));
    assert_eq!(io.sockets().try_fetch_sockets().await.unwrap().len(), 2);
}

#[actix_rt::test]
async fn connections_that_are_killed_come_back_with_their_subscriptions() {
    let driver = classic();
    let servers = driver.start(2).await;
    let b = client(&servers[1], "b", &["r"]).await;
    for n in 0..5 {
        driver.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        until("both are back", async || {
            servers.iter().all(|server| {
                server.metrics().cluster_disconnections > n
                    && server.io().cluster_state() == Some(ClusterState::Linked)
            })
        })
        .await;
        servers[0].io().to("r").emit("n", &n).unwrap();
        assert_eq!(b.next_event().await.data::<u64>(), n);
        assert_eq!(servers[0].io().sockets().server_count().await, Some(2));
    }
}

#[actix_rt::test]
async fn a_redis_that_falls_silent_is_noticed_by_who_sends() {
    let driver = classic();
    let servers = driver.start(2).await;
    let a = client(&servers[0], "a", &[]).await;
    let b = client(&servers[1], "b", &[]).await;
    let io = servers[0].io();
    driver.redis.signal("-STOP");
    io.emit("lost", &()).unwrap();
    assert_eq!(a.next_event().await.name, "lost");
    until("it is noticed", async || io.cluster_state() == Some(ClusterState::Away)).await;
    driver.redis.signal("-CONT");
    for server in &servers {
        let linked = async || server.io().cluster_state() == Some(ClusterState::Linked);
        until("it takes part again", linked).await;
    }
    io.emit("again", &()).unwrap();
    // What was on its way may come, or not.
    while b.next_event().await.name != "again" {}
}

#[actix_rt::test]
async fn a_server_that_hangs_is_named_and_one_that_comes_to_nothing_is_not_waited_for() {
    let driver = classic();
    let servers = driver.start(2).await;
    let _b = client(&servers[1], "b", &[]).await;
    // Somebody who listens to the requests and answers none.
    let client = driver.redis.connection(&["SUBSCRIBE socket.io-request#/#"]);
    until("it counts", async || servers[0].io().sockets().server_count().await == Some(3)).await;
    let main = servers[0].io().sockets().timeout(Duration::from_millis(300));
    let incomplete = main.try_fetch_sockets().await.unwrap_err();
    assert_eq!(incomplete.results.len(), 1, "what the others answered");
    assert_eq!(incomplete.missing.count, Some(1));
    drop(client);
    until("it is gone", async || servers[0].io().sockets().server_count().await == Some(2)).await;
    assert_eq!(main.try_fetch_sockets().await.unwrap().len(), 1);
}

/// Redis looks through the channels of everybody for that, and does nothing else meanwhile.
pub(crate) async fn names_are_not_looked_for_at_each_request(redis: &Redis, io: &SocketIo) {
    for _ in 0..50 {
        assert_eq!(io.sockets().count_sockets().await.unwrap(), 1);
    }
    let stats = redis.command(&["INFO", "commandstats"]);
    let searches = stats.lines().find_map(|line| {
        let calls = line.split_once("channels:calls=").filter(|(name, _)| name.contains("pubsub"));
        calls?.1.split(',').next()?.parse::<u32>().ok()
    });
    assert!(searches.is_some_and(|calls| calls <= 2), "{stats}");
}

#[actix_rt::test]
async fn who_is_there_is_not_looked_for_at_each_request() {
    let driver = classic();
    let servers = driver.start(2).await;
    let _b = client(&servers[1], "b", &[]).await;
    names_are_not_looked_for_at_each_request(&driver.redis, servers[0].io()).await;
}

#[actix_rt::test]
async fn what_nobody_should_publish_is_counted_and_dropped() {
    let driver = classic();
    let servers = driver.start(1).await;
    let a = client(&servers[0], "a", &[]).await;
    for (channel, message) in [
        ("socket.io#/#", "no msgpack"),
        ("socket.io#/#room#", "not read: nobody is there"),
        ("socket.io-request#/#", "{\"type\":5,\"requestId\":7}"),
        ("socket.io-request#/#", "{\"type\":77}"),
        ("socket.io-response#/#", "{\"requestId\":\"nobody's\",\"sockets\":[]}"),
        ("socket.io-response#/#", "{"),
    ] {
        driver.redis.command(&["PUBLISH", channel, message]);
    }
    until("all have come", async || {
        let metrics = servers[0].metrics();
        (metrics.cluster_messages_malformed, metrics.cluster_messages_unknown) == (3, 1)
    })
    .await;
    servers[0].io().emit("still", &()).unwrap();
    assert_eq!(a.next_event().await.name, "still");
}

#[actix_rt::test]
async fn a_server_starts_without_redis_and_takes_part_when_it_is_there() {
    let mut redis = Redis::start();
    redis.kill();
    let adapter = RedisAdapter::new(&redis.url()).unwrap();
    let server = TestServer::workers(server("node".into()).adapter(adapter), 1).await;
    let a = client(&server, "a", &[]).await;
    server.io().emit("here", &()).unwrap();
    assert_eq!(a.next_event().await.name, "here");
    until("it is noticed", async || server.io().cluster_state() == Some(ClusterState::Away)).await;
    assert!(redis.resume());
    server.io().cluster_ready().await;
    until("it counts", async || server.io().sockets().server_count().await == Some(1)).await;
    let error = RedisAdapter::new("localhost:6379").unwrap_err().to_string();
    assert!(error.contains("redis://localhost:6379"), "{error}");
}
