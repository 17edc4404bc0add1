//! What Prometheus is told: `cargo run --example metrics --features metrics`, connect some clients to
//! port 3000, then `curl localhost:3000/metrics`. `PORT` says where it listens.
//!
//! ```js
//! const socket = io("http://localhost:3000");
//! console.log(await socket.emitWithAck("work", 50));
//! ```
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use greenroom::prelude::*;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds: from what an ordinary listener takes to what nobody waits for.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

async fn scrape(scraped: web::Data<PrometheusHandle>) -> String {
    scraped.render()
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    // Before the server is started, which looks for it then.
    let scraped = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(std::io::Error::other)?;
    let upkept = scraped.clone();
    actix_web::rt::spawn(async move {
        loop {
            actix_web::rt::time::sleep(Duration::from_secs(5)).await;
            upkept.run_upkeep();
        }
    });

    let main = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on(
            "say",
            |socket: Socket, text: String| async move { socket.to("lobby").emit("said", &text) },
        )
        .on("work", |_: Socket, millis: u64| async move {
            actix_web::rt::time::sleep(Duration::from_millis(millis.min(10_000))).await;
            Ack(millis)
        });
    let io = SocketIo::builder().namespace(main).start();
    let drained = io.drain_on_signal(Drain::new());
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(scraped.clone()))
            .route("/metrics", web::get().to(scrape))
            .service(io.clone())
    })
    .h1_allow_half_closed(false)
    .tcp_nodelay(true)
    .shutdown_signal(drained)
    .shutdown_timeout(1)
    .bind(("127.0.0.1", port))?
    .run()
    .await
}
