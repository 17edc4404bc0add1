//! A server that is replaced by a new version without its clients noticing much: `cargo run --example
//! deploy`, then `kill -TERM` it while another one runs behind the same load balancer.
//!
//! The load balancer asks `/readyz`. Environment: `PORT` (3000), `NAME` of this version, `DEADLINE_MS`
//! (20,000) and `RATE` (1,000 clients per second) of the end, `PROXY`, the address of the load balancer, which
//! may say whom a request comes from. docs/deployment.md has load balancers for it.
//!
//! ```js
//! const socket = io(balancer);
//! socket.on("version", (name) => console.log(`served by ${name}`));
//! socket.on("restart", (name) => console.log(`${name} is about to end`));
//! console.log(await socket.emitWithAck("work", 2000)); // comes, also when the server is told to end
//! ```
use std::time::Duration;

use actix_web::{App, HttpServer};
use greenroom::{TrustedProxies, prelude::*};

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Takes its time; the answer says when it was done.
async fn work(_: Socket, millis: u64) -> Ack<u64> {
    actix_web::rt::time::sleep(Duration::from_millis(millis.min(60_000))).await;
    Ack(millis)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let name = std::env::var("NAME").unwrap_or_else(|_| "one".to_owned());
    let greeting = name.clone();
    let main = Namespace::new("/")
        .on_connect(move |socket: Socket| {
            let greeted = socket.emit("version", &greeting);
            async move { greeted }
        })
        .on("work", work)
        .on("address", |socket: Socket, (): ()| async move {
            Ack(socket.handshake().request.address.map(|address| address.ip().to_string()))
        })
        .on("fill", |socket: Socket, bytes: usize| async move {
            // For a client that does not read it.
            let text = "x".repeat(10_000);
            (0..bytes.min(900_000) / text.len()).try_for_each(|_| socket.emit("filling", &text))
        });
    let mut builder = SocketIo::builder().namespace(main);
    if let Ok(proxy) = std::env::var("PROXY") {
        builder = builder.trusted_proxies(TrustedProxies::x_forwarded_for([proxy]));
    }
    let io = builder.start();
    let drain = Drain::new()
        .deadline(Duration::from_millis(number("DEADLINE_MS", 20_000).into()))
        .rate(number("RATE", 1000))
        .announce("restart", &name)
        .map_err(std::io::Error::other)?;
    let drained = io.drain_on_signal(drain);
    let server =
        HttpServer::new(move || App::new().service(io.readiness("/readyz")).service(io.clone()))
            .h1_allow_half_closed(false)
            .tcp_nodelay(true)
            .on_connect(greenroom::close_unread_after(Duration::from_secs(30)))
            .shutdown_signal(drained)
            .shutdown_timeout(1)
            .bind(("127.0.0.1", u16::try_from(number("PORT", 3000)).unwrap_or(3000)))?;
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    server.run().await
}
