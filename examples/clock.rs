//! A job outside the listeners: an actor that tells every client the time, every few seconds. Any
//! code that has a clone of `io` can send, on any thread.
//!
//! Run it with `cargo run --example clock` (`PORT=3001` takes another port, `EVERY_MS=1000` is once
//! a second). A client in Node.js, after `npm install socket.io-client`:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! io("http://127.0.0.1:3000").on("time", (now) => console.log(new Date(now)));
//! ```
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::prelude::*;
use actix_web::{App, HttpServer};
use greenroom::prelude::*;

struct Clock {
    io: SocketIo,
    every: Duration,
}

impl Actor for Clock {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.every, |clock, _| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Milliseconds, as `new Date(..)` takes them. Nobody has to listen.
            if let Err(error) = clock.io.emit("time", &now.as_millis()) {
                eprintln!("the time was not told: {error}");
            }
        });
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let number = |name, default| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let io = SocketIo::builder().start();
    Clock { io: io.clone(), every: Duration::from_millis(number("EVERY_MS", 5000)) }.start();
    let port = u16::try_from(number("PORT", 3000)).unwrap_or(3000);
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || App::new().service(io.clone()))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_signal(drained)
        .shutdown_timeout(1)
        .bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    server.run().await
}
