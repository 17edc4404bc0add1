//! Engine.IO by itself, without the protocol of Socket.IO on it: every message goes back.
use std::time::Duration;

use actix_web::{App, HttpServer};
use greenroom::engine::{Config, EngineIo, Opened};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut config = Config::default();
    config.path = "/engine.io".into();
    let engine = EngineIo::new(config, |socket| {
        println!("opened over {}", socket.transport());
        Opened::new(move |message| socket.send(message))
            .on_close(|reason| println!("closed: {reason}"))
    });
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let drained = engine.drain_on_signal(Duration::from_secs(20), 1000);
    HttpServer::new(move || App::new().service(engine.clone()))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_signal(drained)
        .shutdown_timeout(1)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
