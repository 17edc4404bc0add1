//! TLS by the server itself, with rustls: `https://` and `wss://` without anything in front.
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
//!   -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem
//! CERT=cert.pem KEY=key.pem cargo run --example tls            # PORT=3443 takes another port
//! ```
//!
//! A client in Node.js, after `npm install socket.io-client`, trusts the certificate by its file:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! const socket = io("https://localhost:3443", { ca: require("fs").readFileSync("cert.pem") });
//! console.log(await socket.emitWithAck("secure?"));            // true
//! ```
use std::{env, io::Error};

use actix_web::{App, HttpServer};
use greenroom::prelude::*;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Certificate, with those between it and its authority, and key: files in PEM.
fn config() -> Result<ServerConfig, Error> {
    let path =
        |name| env::var_os(name).ok_or_else(|| Error::other(format!("{name} names no file")));
    let chain = CertificateDer::pem_file_iter(path("CERT")?).map_err(Error::other)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(Error::other)?;
    let key = PrivateKeyDer::from_pem_file(path("KEY")?).map_err(Error::other)?;
    // Named, as another crate may have brought a second one.
    let ring = rustls::crypto::ring::default_provider();
    ServerConfig::builder_with_provider(ring.into())
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(Error::other)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3443);
    let main = Namespace::new("/").on("secure?", |socket: Socket, (): ()| async move {
        Ack(socket.handshake().request.secure)
    });
    let io = SocketIo::new(main);
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || App::new().service(io.clone()))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_signal(drained)
        .shutdown_timeout(1)
        .bind_rustls_0_23(("127.0.0.1", port), config()?)?;
    for address in server.addrs() {
        println!("listening on https://{address}");
    }
    server.run().await
}
