//! Messages from one user to another, by the ids of their sockets. A socket's id is also a room, so
//! `to(id)` reaches exactly one, from anywhere in the server.
//!
//! ```js
//! const socket = io({ auth: { name: "Ann" } });
//! socket.on("users", (users) => ...);                       // [{ id, name }], at every change
//! socket.on("private message", ({ from, name, text }) => ...);
//! const answer = await socket.emitWithAck("private message", { to: users[1].id, text: "hi" });
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
    HttpServer::new(move || App::new().service(io.clone()))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
