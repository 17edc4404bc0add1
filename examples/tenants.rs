//! A namespace for each tenant, born of a pattern when its first client comes.
//!
//! Run it with `cargo run --example tenants` (`PORT=3001` takes another port). A client in Node.js,
//! after `npm install socket.io-client`:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! const acme = io("http://127.0.0.1:3000/tenant-acme", { auth: { key: "key of acme" } });
//! acme.onAny((event, ...args) => console.log(event, ...args));
//! acme.on("connect_error", (error) => console.log(error.message, error.data));
//! acme.emit("say", "hi");                       // said hi
//! ```
//!
//! While it runs, `/announce` reaches every tenant, and `/tenants` says how many are there:
//!
//! ```sh
//! curl http://127.0.0.1:3000/announce -d 'closing time'
//! curl http://127.0.0.1:3000/tenants            # {"/tenant-acme":1}
//! ```
use actix_web::{App, HttpResponse, HttpServer, Responder, error::ErrorInternalServerError, web};
use greenroom::{CountSockets, ParentNamespace, prelude::*};
use serde_json::{Map, json};

/// The part of the namespace's name that says whose it is.
fn tenant(socket: &Socket) -> &str {
    socket.namespace().trim_start_matches("/tenant-")
}

async fn require_key(socket: Socket) -> Result<(), ConnectError> {
    if socket.handshake().auth["key"] == format!("key of {}", tenant(&socket)) {
        return Ok(());
    }
    Err(ConnectError::new("wrong key").data(&json!({ "tenant": tenant(&socket) })))
}

fn tenants() -> Parent {
    Parent::matching("^/tenant-[a-z]+$").children(|tenant| {
        tenant.before_connect(require_key).on("say", |socket: Socket, text: String| async move {
            // Only those of the same tenant hear it.
            socket.everyone().emit("said", &text).map(Ack)
        })
    })
}

async fn announce(
    all: web::Data<ParentNamespace>,
    text: String,
) -> Result<&'static str, EmitError> {
    all.emit("announcement", &text)?;
    Ok("announced")
}

async fn list(
    all: web::Data<ParentNamespace>,
    io: web::Data<SocketIo>,
) -> actix_web::Result<impl Responder> {
    let mut counts = Map::new();
    for name in all.children() {
        let Some(namespace) = io.namespace(&name) else { continue };
        let count = namespace.send(CountSockets).await.map_err(ErrorInternalServerError)?;
        counts.insert(name, count.into());
    }
    Ok(HttpResponse::Ok().json(counts))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let io = SocketIo::builder().cleanup_empty_child_namespaces(true).start();
    let all = io.spawn_parent(tenants());
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(all.clone()))
            .app_data(web::Data::new(io.clone()))
            .route("/announce", web::post().to(announce))
            .route("/tenants", web::get().to(list))
            .service(io.clone())
    })
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
