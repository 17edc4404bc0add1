//! A server that the official Admin UI connects to. Run it, open <https://admin.socket.io> (or the page in
//! `ui/dist` of npm's `@socket.io/admin-ui`) and say `http://localhost:3000`, `admin` and `changeit`.
//!
//! For programs there is a JSON API: `curl -u admin:changeit http://localhost:3000/admin/api/sockets`
//!
//! By environment variables: HOST and PORT; ADMIN_HASH, the bcrypt hash of another password, or `none` if
//! everybody may come in; READ_ONLY=1; PRODUCTION=1; SERVER_ID; UI_ORIGIN, where the page comes from.
use std::{env, error::Error};

use actix_web::{App, HttpServer};
use greenroom::{
    admin::{Admin, Mode},
    engine::Cors,
    prelude::*,
};

/// Of "changeit".
const HASH: &str = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Something to look at.
fn chat() -> Namespace {
    Namespace::new("/")
        .on("join", |socket: Socket, room: String| async move { socket.join(room) })
        .on("leave", |socket: Socket, room: String| async move { socket.leave(room) })
        .on("echo", |_: Socket, args: Args| async move { Ack(args) })
        .on(
            "tell",
            |socket: Socket, text: String| async move { socket.everyone().emit("told", &text) },
        )
        .on("name", |socket: Socket, name: String| async move {
            socket
                .data(|data| data.set("name", &name))
                .map_err(|error| EventError::new(error.to_string()))
        })
}

fn options() -> Admin {
    let admin = match setting("ADMIN_HASH", HASH).as_str() {
        "none" => Admin::new().without_authentication(),
        hash => Admin::new().basic_auth("admin", hash),
    };
    let admin = admin
        .read_only(setting("READ_ONLY", "0") == "1")
        .mode(if setting("PRODUCTION", "0") == "1" { Mode::Production } else { Mode::Development });
    match env::var("SERVER_ID") {
        Ok(id) => admin.server_id(id),
        Err(_) => admin,
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ui = setting("UI_ORIGIN", "https://admin.socket.io");
    let io = SocketIo::builder()
        .cors(Cors::origins([ui]).credentials(true))
        .namespace(chat())
        .namespace(Namespace::new("/news"))
        .start();
    let admin = io.admin(options())?;
    let (host, port) = (setting("HOST", "127.0.0.1"), setting("PORT", "3000").parse()?);
    let drained = io.drain_on_signal(Drain::new());
    HttpServer::new(move || App::new().service(io.clone()).service(admin.routes("/admin/api")))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_signal(drained)
        .shutdown_timeout(1)
        .bind((host, port))?
        .run()
        .await?;
    Ok(())
}
