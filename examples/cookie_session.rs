//! Authentication with a cookie: an HTTP handler checks the password and starts a session, the browser
//! sends its cookie with the request that opens the connection, a middleware looks the session up. Who
//! logs out, in whatever tab, is disconnected everywhere at once.
//!
//! Run it with `cargo run --example cookie_session` (`PORT=3001` takes another port), then
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/login -H 'content-type: application/json' \
//!   -d '{"name":"ali","password":"open sesame"}'
//! ```
//!
//! gives the cookie. In a page of this server the client is `io()` alone. In Node.js, after
//! `npm install socket.io-client`:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! const socket = io("http://127.0.0.1:3000", { extraHeaders: { cookie: "session=…" } });
//! socket.on("connect", async () => console.log(await socket.emitWithAck("whoami"))); // ali
//! ```
//!
//! A page of another site can open a connection too, and the browser sends its cookies along:
//! `SameSite=Lax` prevents that, and for pages of your own on other origins `cors` says which.
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, Responder,
    cookie::{Cookie, SameSite, time},
    web,
};
use greenroom::prelude::*;
use serde::Deserialize;
use serde_json::json;

const COOKIE: &str = "session";
const LIFETIME: time::Duration = time::Duration::days(7);
const MOST_SESSIONS: usize = 10_000;

/// Whose session it is, by the secret in the cookie. A real application keeps it in its database.
#[derive(Clone, Default)]
struct Sessions(Arc<RwLock<HashMap<String, String>>>);

impl Sessions {
    fn start(&self, name: &str) -> Option<String> {
        let secret = format!("{:032x}", rand::random::<u128>());
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST_SESSIONS {
            return None;
        }
        sessions.insert(secret.clone(), name.to_owned());
        Some(secret)
    }

    fn find(&self, secret: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(secret).cloned()
    }

    fn end(&self, secret: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(secret);
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

fn cookie(secret: String, secure: bool) -> Cookie<'static> {
    Cookie::build(COOKIE, secret)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(LIFETIME)
        .finish()
}

/// A real application compares with the hash of the password, as Argon2 makes it.
async fn login(
    request: HttpRequest,
    sessions: web::Data<Sessions>,
    login: web::Json<Login>,
) -> impl Responder {
    if login.name.is_empty() || login.password != "open sesame" {
        return HttpResponse::Unauthorized().json(json!({ "error": "wrong name or password" }));
    }
    let Some(secret) = sessions.start(&login.name) else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    let secure = request.connection_info().scheme() == "https";
    HttpResponse::Ok().cookie(cookie(secret, secure)).json(json!({ "name": login.name }))
}

async fn logout(
    request: HttpRequest,
    sessions: web::Data<Sessions>,
    io: web::Data<SocketIo>,
) -> impl Responder {
    let mut answer = HttpResponse::NoContent();
    if let Some(cookie) = request.cookie(COOKIE) {
        sessions.end(cookie.value());
        io.to(room(cookie.value())).disconnect(true).await;
        let mut gone = Cookie::build(COOKIE, "").path("/").finish();
        gone.make_removal();
        answer.cookie(gone);
    }
    answer.finish()
}

/// The sockets of one session, in all tabs.
fn room(secret: &str) -> String {
    format!("session {secret}")
}

/// The value of the cookie in the request that opened the connection.
fn secret(socket: &Socket) -> Option<String> {
    let header = socket.handshake().request.headers.get("cookie")?.clone();
    let mut cookies = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    cookies.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

async fn require_session(socket: Socket) -> Result<(), ConnectError> {
    let refused = || ConnectError::new("not logged in").data(&json!({ "login": "/login" }));
    let sessions = socket.shared::<Sessions>().ok_or_else(refused)?;
    let secret = secret(&socket).ok_or_else(refused)?;
    // Before the session is looked up: a logout after that finds the socket in its room.
    socket.join(room(&secret));
    let name = sessions.find(&secret).ok_or_else(refused)?;
    socket.data(|data| data.set("name", &name))?;
    Ok(())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let sessions = Sessions::default();
    let main = Namespace::new("/")
        .share(sessions.clone())
        .before_connect(require_session)
        .on("whoami", |socket: Socket, (): ()| async move {
            Ack(socket.data(|data| data.get::<String>("name")))
        });
    let io = SocketIo::new(main);
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(sessions.clone()))
            .app_data(web::Data::new(io.clone()))
            .route("/login", web::post().to(login))
            .route("/logout", web::post().to(logout))
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
