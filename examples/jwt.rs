//! Authentication with a JSON Web Token: an HTTP handler checks the password and gives a token, the client
//! shows it as `auth`, a middleware checks it. The socket leaves when its token ends, unless the client
//! has shown a new one.
//!
//! Run it with `SECRET=$(openssl rand -hex 32) cargo run --example jwt` (`PORT=3001` takes another port,
//! `SECONDS=5` makes tokens end sooner). A client in Node.js, after `npm install socket.io-client`:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! const url = "http://127.0.0.1:3000";
//! const login = async () => {
//!   const body = JSON.stringify({ name: "ali", password: "open sesame" });
//!   const answer = await fetch(`${url}/login`, { method: "POST", headers: { "content-type": "application/json" }, body });
//!   return (await answer.json()).token;
//! };
//! // Asked for a token at every connection, so that it is not an old one.
//! const socket = io(url, { auth: (give) => login().then((token) => give({ token })) });
//! socket.on("new token", async (answer) => answer(await login()));
//! socket.on("connect_error", (error) => console.log(error.message, error.data));
//! console.log(await socket.emitWithAck("whoami")); // { name: "ali", admin: false }
//! ```
use std::time::{Duration, SystemTime};

use actix_web::{App, HttpResponse, HttpServer, Responder, web};
use greenroom::prelude::*;
use jwt_compact::{
    AlgorithmExt, Claims, CreationError, Header, TimeOptions, UntrustedToken,
    alg::{Hs256, Hs256Key},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a token says, beside when it ends.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    /// Its name.
    sub: String,
    admin: bool,
}

#[derive(Clone)]
struct Tokens {
    key: Hs256Key,
    lifetime: Duration,
}

impl Tokens {
    fn give(&self, name: &str) -> Result<String, CreationError> {
        let mut claims = Claims::new(User { sub: name.to_owned(), admin: name == "admin" });
        claims.expiration = Some((SystemTime::now() + self.lifetime).into());
        Hs256.token(&Header::empty(), &claims, &self.key)
    }

    /// Whose token it is, and for how long it is good.
    fn check(&self, token: &str) -> Result<(User, Duration), ConnectError> {
        // Why a token is wrong concerns nobody; that it has ended, who has to renew it.
        let refused = |expired: bool| {
            ConnectError::new("not authorized").data(&json!({ "expired": expired }))
        };
        let token = UntrustedToken::new(token).map_err(|_| refused(false))?;
        // The algorithm is ours and not the token's: one that says `none` is refused.
        let token =
            Hs256.validator::<User>(&self.key).validate(&token).map_err(|_| refused(false))?;
        let claims = token.claims();
        let exactly = TimeOptions::from_leeway(Default::default());
        claims.validate_expiration(&exactly).map_err(|_| refused(claims.expiration.is_some()))?;
        let end = claims.expiration.map_or_else(SystemTime::now, SystemTime::from);
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        Ok((claims.custom.clone(), left))
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// A real application compares with the hash of the password, as Argon2 makes it.
async fn login(
    tokens: web::Data<Tokens>,
    login: web::Json<Login>,
) -> actix_web::Result<impl Responder> {
    if login.name.is_empty() || login.password != "open sesame" {
        return Ok(HttpResponse::Unauthorized().json(json!({ "error": "wrong name or password" })));
    }
    let token = tokens.give(&login.name).map_err(actix_web::error::ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().json(json!({ "token": token })))
}

fn tokens(socket: &Socket) -> Result<Tokens, ConnectError> {
    let tokens = socket.shared::<Tokens>().map(|tokens| Tokens::clone(&tokens));
    tokens.ok_or_else(|| ConnectError::new("internal error"))
}

async fn require_token(socket: Socket) -> Result<(), ConnectError> {
    let token = socket.handshake().auth["token"].as_str().unwrap_or_default();
    let (user, left) = tokens(&socket)?.check(token)?;
    socket.set_data(&json!({ "name": user.sub, "admin": user.admin }))?;
    socket.expire_in(left);
    Ok(())
}

/// The client is asked in time; a token of somebody else does not count.
async fn renew(socket: Socket) -> Result<(), EventError> {
    let asking = socket.timeout(Duration::from_secs(20));
    let token: String = asking.emit_with_ack("new token", &()).await?;
    let refused = |error: ConnectError| EventError::new(error.message());
    let (user, left) = tokens(&socket).and_then(|tokens| tokens.check(&token)).map_err(refused)?;
    let name = socket.data(|data| data.get::<String>("name"));
    if name.as_ref() != Some(&user.sub) {
        return Err(EventError::new("the token is of somebody else"));
    }
    socket.expire_in(left);
    Ok(())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let secret = std::env::var("SECRET").unwrap_or_default();
    if secret.len() < 32 {
        return Err(std::io::Error::other("SECRET is missing, or shorter than 32 characters"));
    }
    let number = |name, default| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let lifetime = Duration::from_secs(number("SECONDS", 900));
    let tokens = Tokens { key: Hs256Key::new(secret), lifetime };
    let main = Namespace::new("/")
        .share(tokens.clone())
        .before_connect(require_token)
        .expiry_warning(Duration::from_secs(30))
        .on_expiring(renew)
        .on("whoami", |socket: Socket, (): ()| async move {
            Ok::<_, EventError>(Ack(socket.data_as::<serde_json::Value>()?))
        });
    let io = SocketIo::new(main);
    let port = u16::try_from(number("PORT", 3000)).unwrap_or(3000);
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || {
        let tokens = web::Data::new(tokens.clone());
        App::new().app_data(tokens).route("/login", web::post().to(login)).service(io.clone())
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
