//! Files in pieces, with progress and a checksum: `cargo run --example upload`, then open
//! <http://127.0.0.1:3000> (`PORT=3001` takes another port, `FOLDER` says where files go; default is a
//! folder for temporary files).
//!
//! One large event would be refused (`max_payload`), and could not show how far it has come. So a file is
//! announced, sent in pieces of 64 kB, each of which is answered with how much is there, and finished.
//! The next piece is sent when the last one is answered: so a client cannot have more than one in memory
//! here. A client whose connection breaks asks where to go on.
mod files;

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use greenroom::prelude::*;

use self::files::{Files, Summary};

/// Runs what blocks on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EventError> + Send + 'static,
) -> Result<Ack<T>, EventError> {
    Ok(Ack(web::block(work).await??))
}

fn files(socket: &Socket) -> Result<Files, EventError> {
    let files = socket.shared::<Files>().map(|files| Files::clone(&files));
    files.ok_or_else(|| EventError::new("there is no place for files"))
}

/// Announces a file. The answer is the key of the upload: whoever knows it may go on with it.
async fn begin(socket: Socket, (name, size): (String, u64)) -> Result<Ack<String>, EventError> {
    let files = files(&socket)?;
    blocking(move || files.begin(&name, size)).await
}

/// Adds the piece that begins at `at`. The answer is how much is there.
async fn piece(
    socket: Socket,
    (key, at, bytes): (String, u64, Bytes),
) -> Result<Ack<u64>, EventError> {
    let files = files(&socket)?;
    blocking(move || files.write(&key, at, &bytes)).await
}

/// How much of an upload is there.
async fn progress(socket: Socket, key: String) -> Result<Ack<u64>, EventError> {
    let files = files(&socket)?;
    blocking(move || files.length(&key)).await
}

/// All has been sent. The others hear of the file.
async fn finish(socket: Socket, key: String) -> Result<Ack<Summary>, EventError> {
    let files = files(&socket)?;
    let Ack(summary) = blocking(move || files.finish(&key)).await?;
    socket.broadcast().emit("uploaded", &summary)?;
    Ok(Ack(summary))
}

/// Path, type and content of the page's files.
const PAGE: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/upload.css", "text/css; charset=utf-8", include_str!("upload.css")),
    ("/upload.js", "text/javascript; charset=utf-8", include_str!("upload.js")),
];

fn page(app: &mut web::ServiceConfig) {
    for (path, kind, content) in PAGE {
        let file = move || async move { HttpResponse::Ok().content_type(kind).body(content) };
        app.route(path, web::get().to(file));
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let folder = std::env::var_os("FOLDER")
        .map_or_else(|| std::env::temp_dir().join("greenroom-uploads"), Into::into);
    let uploads = Namespace::new("/")
        .share(Files::in_folder(folder)?)
        // Pieces in their order, also if a client does not wait for the answers.
        .serial(true)
        .on("begin", begin)
        .on("piece", piece)
        .on("progress", progress)
        .on("finish", finish);
    let io = SocketIo::new(uploads);
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || App::new().service(io.clone()).configure(page))
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
