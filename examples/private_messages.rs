//! Messages from one user to another, by the ids of their sockets. A socket's id is also a room, so
//! `to(id)` reaches exactly one, from anywhere in the server.
//!
//! Run it with `cargo run --example private_messages` (`PORT=3001` takes another port). Clients in
//! Node.js, after `npm install socket.io-client`; start this twice:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! const socket = io("http://127.0.0.1:3000", { auth: { name: "Ann" } });
//! socket.on("private message", ({ name, text }) => console.log(`${name}: ${text}`));
//! socket.on("users", async (users) => {         // [{ id, name }], at every change
//!   const other = users.find(({ id }) => id !== socket.id);
//!   if (!other) return console.log("nobody else is there");
//!   console.log(await socket.emitWithAck("private message", { to: other.id, text: "hi" }));
//! });
//! ```
use actix_web::{App, HttpServer};
use greenroom::{Handshake, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize)]
struct User {
    id: SocketId,
    name: String,
}

#[derive(Deserialize)]
struct Private {
    to: SocketId,
    text: String,
}

fn name(handshake: &Handshake) -> String {
    handshake.auth["name"].as_str().unwrap_or("anonymous").to_owned()
}

/// Tells everybody who is there.
async fn tell_users(socket: Socket) -> Result<(), EmitError> {
    let all = socket.everyone();
    let users: Vec<User> = all
        .fetch_sockets()
        .await
        .iter()
        .map(|socket| User { id: socket.id().clone(), name: name(socket.handshake()) })
        .collect();
    all.emit("users", &json!(users))
}

async fn private_message(
    socket: Socket,
    Private { to, text }: Private,
) -> Result<Ack<&'static str>, EventError> {
    if text.trim().is_empty() {
        return Err(EventError::new("there is nothing to say"));
    }
    let receiver = socket.to(&to);
    if receiver.members().await.is_empty() {
        return Err(EventError::new("nobody of that id is there"));
    }
    let message = json!({ "from": socket.id(), "name": name(socket.handshake()), "text": text });
    receiver.emit("private message", &message)?;
    Ok(Ack("sent"))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let people = Namespace::new("/")
        .on_connect(tell_users)
        .on_disconnect(|socket: Socket, _: DisconnectReason| tell_users(socket))
        .on("private message", private_message);
    let io = SocketIo::new(people);
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
