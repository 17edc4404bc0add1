//! A chat with three rooms and an admin page: `cargo run --example chat`, then open
//! <http://127.0.0.1:3000>. The admin page is at `/admin`; its key is `letmein`.
//!
//! `PORT` and `HOST` say where it listens.

mod rooms;

use std::{env, io, pin::pin};

use actix_web::{
    App, HttpResponse, HttpServer, Responder,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    rt::signal::unix::{SignalKind, signal},
    web,
};
use futures_util::future::select;
use greenroom::SocketIo;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file.
const FILES: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("index.html")),
    ("/chat.css", CSS, include_str!("chat.css")),
    ("/chat.js", SCRIPT, include_str!("chat.js")),
    ("/view.js", SCRIPT, include_str!("view.js")),
    ("/dom.js", SCRIPT, include_str!("dom.js")),
    ("/admin", HTML, include_str!("admin.html")),
    ("/admin.html", HTML, include_str!("admin.html")),
    ("/admin.css", CSS, include_str!("admin.css")),
    ("/admin.js", SCRIPT, include_str!("admin.js")),
    ("/socket.io.min.js", SCRIPT, include_str!("socket.io.min.js")),
];

fn files(app: &mut web::ServiceConfig) {
    for (path, content_type, content) in FILES {
        app.route(path, web::get().to(move || file(content_type, content)));
    }
}

async fn file(content_type: &'static str, content: &'static str) -> impl Responder {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(content)
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let port = env::var("PORT").unwrap_or_else(|_| "3000".into());
    let port: u16 = port.parse().map_err(|_| io::Error::other("PORT is not a port"))?;

    let io = SocketIo::builder().start();
    rooms::open(&io);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let service = io.clone();
    let server = HttpServer::new(move || App::new().service(service.clone()).configure(files))
        .h1_allow_half_closed(false)
        .shutdown_timeout(1)
        .shutdown_signal(async move {
            select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
            // The HTTP server waits for open connections: ours are closed first.
            io.close().await;
        })
        .bind((host.as_str(), port))?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    server.run().await
}
