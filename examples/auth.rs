//! A middleware decides who may join. The client gives what it has as `auth`:
//! `io("/vault", { auth: { token: "open sesame" } })`; a refusal reaches it as `connect_error`.
use actix_web::{App, HttpServer};
use greenroom::prelude::*;
use serde_json::json;

async fn require_token(socket: Socket) -> Result<(), ConnectError> {
    match socket.handshake().auth["token"].as_str() {
        Some("open sesame") => {
            let stored = socket.data(|data| data.set("user", "ali baba"));
            stored.map_err(|_| ConnectError::new("internal error"))
        }
        Some(_) => Err(ConnectError::new("not authorized").data(&json!({ "code": 401 }))),
        None => Err(ConnectError::new("token missing").data(&json!({ "code": 400 }))),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let vault = Namespace::new("/vault").before_connect(require_token).on(
        "whoami",
        |socket: Socket, (): ()| async move {
            let user: Option<String> = socket.data(|data| data.get("user"));
            Ack(user)
        },
    );
    let io = SocketIo::builder().namespace(vault).start();
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
