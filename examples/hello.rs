//! The smallest server: `cargo run --example hello`, then connect any Socket.IO client to port 3000.
use actix_web::{App, HttpServer};
use greenroom::prelude::*;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let hello = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.emit("hello", "who is there?") })
        .on("double", |_: Socket, n: f64| async move { Ack(n * 2.0) })
        .on(
            "say",
            |socket: Socket, text: String| async move { socket.broadcast().emit("said", &text) },
        );
    let io = SocketIo::builder().namespace(hello).start();
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let drained = io.drain_on_signal(Drain::new());
    HttpServer::new(move || App::new().service(io.clone()))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_signal(drained)
        .shutdown_timeout(1)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
