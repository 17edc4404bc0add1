//! A chat with three rooms and an admin page: `cargo run --example chat`, then open
//! <http://127.0.0.1:3000>. The admin page is at `/admin`; its key is `letmein`.
//!
//! `PORT` and `HOST` say where it listens; with `PORT=0` the system chooses the port.

mod files;
mod rooms;

use std::{
    env, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use actix_web::{App, HttpServer};
use greenroom::{Drain, SocketIo};

#[actix_web::main]
async fn main() -> ExitCode {
    let Err(error) = serve().await else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn serve() -> io::Result<()> {
    let (host, port) = (setting("HOST", "127.0.0.1"), setting("PORT", "3000"));
    let port: u16 = port.parse().map_err(|_| {
        io::Error::other(format!("PORT={port} is not a port: give a number from 0 to 65535"))
    })?;

    let io = SocketIo::builder().start();
    rooms::open(&io, false);
    // The HTTP server waits for open connections: ours are closed first, at the next deploy.
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || App::new().service(io.clone()).configure(files::serve))
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        // Time for the headers of a request; that of its body is `body_timeout` of the server.
        .client_request_timeout(Duration::from_secs(10))
        // A client that reads nothing for so long loses its connection, whatever its system answers.
        .on_connect(greenroom::close_unread_after(Duration::from_secs(30)))
        .shutdown_timeout(1)
        .shutdown_signal(drained)
        .bind((host.as_str(), port))
        .map_err(|error| not_bound(&host, port, &error))?;
    for address in server.addrs() {
        println!("listening on {address}");
        println!("open http://{}", reachable(address));
    }
    server.run().await
}

fn setting(name: &str, default: &str) -> String {
    env::var_os(name).map_or_else(|| default.into(), |value| value.to_string_lossy().into_owned())
}

fn not_bound(host: &str, port: u16, error: &io::Error) -> io::Error {
    let host = if host.contains(':') { format!("[{host}]") } else { host.into() };
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => {
            "set PORT to another port, or to 0 for any free one"
        }
        _ => "HOST and PORT say where to listen",
    };
    io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}; {hint}"))
}

/// What a browser on this machine takes for the address.
fn reachable(address: SocketAddr) -> String {
    let ip = address.ip();
    if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST {
        return format!("localhost:{}", address.port());
    }
    address.to_string()
}
