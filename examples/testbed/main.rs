//! The server that the end-to-end tests and the measurements drive. What it does is fixed by the
//! page SPEC.md of the test bed, event by event; how to use the library shows better in the other
//! examples.

mod bare;
#[path = "../chat/rooms/mod.rs"]
mod chat;
mod cluster;
mod control;
mod emitting;
mod fetched;
mod fixture;
mod journal;
mod logs;
mod operations;
mod plain;
mod recording;
mod requests;
mod selection;
mod settings;

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use actix_web::{
    App, HttpServer,
    dev::Server,
    rt::signal::unix::{SignalKind, signal},
};
use futures_util::future::{join, select};
use greenroom::{
    Drain, SocketIo,
    engine::{EngineIo, Hooks, LeanHttp, Opened},
};
use tracing_subscriber::EnvFilter;

use self::{logs::Logs, requests::RefusedRequests, settings::Settings};

/// What the remote control can reach.
struct World {
    io: SocketIo,
    logs: Arc<Logs>,
    refused: Addr<RefusedRequests>,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    #[cfg(feature = "metrics")]
    if std::env::var_os("METRICS").is_some() {
        export();
    }
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("testbed: {error}");
            return ExitCode::from(2);
        }
    };
    match serve(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has metrics kept as for Prometheus, though nobody scrapes them: to measure what that costs.
#[cfg(feature = "metrics")]
fn export() {
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let buckets = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
    let kept = PrometheusBuilder::new().set_buckets_for_metric(seconds, &buckets);
    let kept = kept.and_then(PrometheusBuilder::install_recorder).expect("nobody else has one");
    actix_web::rt::spawn(async move {
        loop {
            actix_web::rt::time::sleep(Duration::from_secs(5)).await;
            kept.run_upkeep();
        }
    });
}

fn socket_io(settings: &Settings) -> SocketIo {
    let logs = Arc::<Logs>::default();
    let announced = Arc::clone(&logs);
    let refused = RefusedRequests::default().start();
    let io = settings
        .socket_io()
        .on_new_namespace(move |name, namespace| announced.announce(name, namespace))
        .on_connection_error(refused.clone().recipient())
        .namespace(plain::echoing("/"))
        .start();
    if let Some(main) = io.namespace("/") {
        logs.watch("/", &main);
    }
    let world = Arc::new(World { io: io.clone(), logs, refused });
    io.spawn(plain::echoing("/custom"));
    io.spawn(plain::bench(settings.when_full));
    for name in ["/rc", "/rc2"] {
        io.spawn(control::namespace(name, &world));
    }
    for parent in control::parents(&world) {
        io.spawn_parent(parent);
    }
    if let Some(node) = &settings.node {
        io.spawn(cluster::namespace(node, &world));
    }
    chat::open(&io, false);
    io
}

/// Engine.IO by itself: every message goes back as it came.
fn engine_io(settings: &Settings) -> EngineIo {
    let hooks = Hooks::new().allow_request(settings::allow_request);
    EngineIo::with_hooks(settings.engine_io(), hooks, |socket| {
        Opened::new(move |message| socket.send(message))
    })
}

type Services = (SocketIo, EngineIo, bare::Echo);

/// Behind actix-web's own server, as most applications are.
fn http(settings: &Settings, services: Services) -> io::Result<(Server, Vec<SocketAddr>)> {
    let server = HttpServer::new(move || {
        let (io, engine, echo) = services.clone();
        // Elsewhere: 404 with an empty body, as actix-web does by itself.
        // The more specific path first: that of the other may be `/`.
        App::new().service(engine).service(io).service(echo)
    })
    .workers(settings.workers)
    .tcp_nodelay(true)
    // A poll whose client went away is noticed at once.
    .h1_allow_half_closed(false)
    .keep_alive(Duration::from_secs(30))
    .client_request_timeout(Duration::from_secs(10))
    // A client that reads nothing for so long loses its connection, whatever its system answers.
    .on_connect(greenroom::close_unread_after(Duration::from_secs(30)))
    .max_connections(100_000)
    .backlog(4096)
    .disable_signals()
    .shutdown_timeout(1)
    .bind((settings.host.as_str(), settings.port))?;
    let addresses = server.addrs();
    Ok((server.run(), addresses))
}

/// The same with lean WebSockets.
fn lean(settings: &Settings, services: Services) -> io::Result<(Server, Vec<SocketAddr>)> {
    let listener = TcpListener::bind((settings.host.as_str(), settings.port))?;
    socket2::SockRef::from(&listener).listen(4096)?;
    let addresses = vec![listener.local_addr()?];
    let server = Server::build()
        .workers(settings.workers)
        .max_concurrent_connections(100_000)
        .disable_signals()
        .shutdown_timeout(1)
        .listen("testbed", listener, move || {
            let (io, engine, echo) = services.clone();
            LeanHttp::new()
                .tcp_nodelay(true)
                .h1_allow_half_closed(false)
                .keep_alive(Duration::from_secs(30))
                .client_request_timeout(Duration::from_secs(10))
                .serve(App::new().service(engine).service(io).service(echo))
        })?;
    Ok((server.run(), addresses))
}

async fn serve(settings: &Settings) -> io::Result<()> {
    let (io, engine) = (socket_io(settings), engine_io(settings));
    let services = (io.clone(), engine.clone(), bare::Echo::new(settings.bare()));
    // What other servers send is heard before the first client comes, unless the engine is away.
    if tokio::time::timeout(Duration::from_secs(3), io.cluster_ready()).await.is_err() {
        eprintln!("testbed: the cluster's engine cannot be reached yet");
    }
    let (server, addresses) =
        if settings.lean { lean(settings, services)? } else { http(settings, services)? };
    // From here on a signal is heard: whoever reads that the server listens may send one.
    let stop = asked_to_stop()?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    writeln!(io::stdout(), "{}", settings.announce(&addresses))?;

    stop.await;
    // The HTTP server waits for open connections: ours are closed first. Those who measure and test
    // wait for the end, so all at once, and not for long.
    let deadline = Duration::from_millis(500);
    let drained = io.drain(Drain::new().deadline(deadline).rate(u32::MAX));
    let (report, ()) = join(drained, engine.drain(deadline, u32::MAX)).await;
    if report.cut > 0 || !report.complete {
        eprintln!("testbed: not every client could be closed in time");
    }
    let stopped = handle.stop(true);
    // What still hangs is cut off by the end of the process.
    let _ = tokio::time::timeout(Duration::from_millis(800), stopped).await;
    Ok(())
}

fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
    })
}
