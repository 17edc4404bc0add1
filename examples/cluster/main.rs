//! The chat on several nodes over one Redis: `cargo run --example cluster --features redis`, then open
//! two of the addresses that it prints. Whoever is on one node talks to those on the others.
//!
//! ```sh
//! cargo run --example cluster --features redis -- --nodes 4 --port 4000 redis://redis.example:6379
//! ```
//!
//! Without arguments three nodes by the names of `a`, `b` and `c`, on the ports from 3001 on, over
//! `redis://127.0.0.1:6379`; with `--port 0` the system chooses the ports. A node serves its own clients
//! also without Redis; it says why it does not reach it, and when it hears the others. With
//! `--nodes 1 --first b` each is a process of its own. `nginx.conf` and `haproxy.cfg` beside this file
//! balance the load of three, with sticky sessions: `docs/cluster.md`. Each node is a server of its own
//! and knows of the others by Redis alone, as if it were on another machine. The admin page is that of
//! one node.

// The chat's own files.
#[path = "../chat/files.rs"]
mod files;
#[path = "../chat/rooms/mod.rs"]
mod rooms;

use std::{convert::Infallible, env, error::Error, future::ready, process::ExitCode};

use actix_web::{App, HttpServer, dev::Server};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::try_join_all;
use greenroom::{Drain, RedisAdapter, SocketIo};
use tracing_subscriber::filter::LevelFilter;

const USAGE: &str = "cluster [--nodes <number>] [--first <letter>] [--port <number>] [redis://...]";

struct Options {
    nodes: u16,
    port: u16,
    first: char,
    redis: String,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let redis = "redis://127.0.0.1:6379".to_owned();
    let mut options = Options { nodes: 3, port: 3001, first: 'a', redis };
    while let Some(argument) = arguments.next() {
        let mut number = |most: u16| {
            let number = arguments.next().and_then(|text| text.parse::<u16>().ok());
            number.filter(|n| *n <= most).ok_or(format!("{argument}: a number up to {most}"))
        };
        match &*argument {
            "--nodes" => options.nodes = number(26)?.max(1),
            "--first" => {
                let name = arguments.next().and_then(|name| name.chars().next());
                let name = name.filter(char::is_ascii_lowercase);
                options.first = name.ok_or("--first: a letter from a to z")?;
            }
            "--port" => options.port = number(u16::MAX - 26)?,
            unknown if unknown.starts_with('-') => {
                return Err(format!("{unknown} is unknown\nusage: {USAGE}"));
            }
            _ => options.redis = argument,
        }
    }
    Ok(options)
}

/// A node by the name of `a`, `b` and so on.
fn node(name: char, port: u16, adapter: RedisAdapter) -> std::io::Result<Server> {
    let io = SocketIo::builder()
        .adapter(adapter)
        // By its name the load balancer finds the node that has the session.
        .generate_id(move |_| {
            let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
            ready(Ok::<_, Infallible>(format!("{name}-{secret}")))
        })
        .start();
    rooms::open(&io, true);
    let drained = io.drain_on_signal(Drain::new());
    let service = io.clone();
    let app = move || {
        let service = service.clone();
        App::new().service(service.readiness("/readyz")).service(service).configure(files::serve)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_timeout(1)
        .shutdown_signal(drained)
        .bind(("127.0.0.1", port))?;
    actix_web::rt::spawn(async move {
        io.cluster_ready().await;
        println!("node {name} hears the others");
    });
    for address in server.addrs() {
        println!("node {name} listening on http://{address}");
    }
    Ok(server.run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Options { nodes, port, first, redis } = options(env::args().skip(1))?;
    let adapter = RedisAdapter::new(&redis)?;
    let ports = (0..nodes).map(|n| if port == 0 { 0 } else { port + n });
    let servers = (first..='z').zip(ports).map(|(name, port)| node(name, port, adapter.clone()));
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    try_join_all(servers).await?;
    Ok(())
}

#[actix_web::main]
async fn main() -> ExitCode {
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN);
    log.with_writer(std::io::stderr).init();
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}
