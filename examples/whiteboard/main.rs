//! A board that many draw on: `cargo run --example whiteboard`, then open <http://127.0.0.1:3000> in two
//! windows (`PORT=3001` takes another port).
//!
//! Two kinds of events, for two kinds of data. Lines must arrive: they are sent as binary, two bytes for
//! each coordinate, are answered, and the board keeps them for those who come later. Where the others'
//! pointers are is of interest only now: it is volatile, so a slow client gets the latest it can take
//! and never a queue of old positions.
use actix::prelude::*;
use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use greenroom::prelude::*;

/// The colour, as a number of the page's palette, and the points: x and y as two bytes each, the low
/// byte first.
type Line = (u8, Bytes);

const COLOURS: u8 = 6;
/// Of one event: the page sends what was drawn in a sixtieth of a second.
const MOST_POINTS: usize = 4096;
/// What a line takes in the answer to `lines`, besides its points.
const HEAD: usize = 4;
/// Of the board, which is one answer: a client for which more than 1 MiB waits (`max_outbox_bytes`)
/// counts as slow, and is closed if it does not read fast. The oldest line makes room for a new one.
const MOST_BYTES: usize = 768 << 10;

/// The lines: an actor, so that they have one order for everybody.
#[derive(Default)]
struct Board {
    lines: Vec<Line>,
    bytes: usize,
}

impl Actor for Board {
    type Context = Context<Self>;
}

type Draw = FromSocket<Line, Ack<()>>;
type Clear = FromSocket<(), Ack<()>>;
type Lines = FromSocket<(), Ack<Bytes>>;

impl Handler<Draw> for Board {
    type Result = Result<Ack<()>, EventError>;

    fn handle(&mut self, draw: Draw, _: &mut Context<Self>) -> Self::Result {
        let (colour, points) = draw.data;
        let whole =
            points.len().is_multiple_of(4) && (1..=MOST_POINTS).contains(&(points.len() / 4));
        if colour >= COLOURS || !whole {
            return Err(EventError::new("that is no line"));
        }
        draw.socket.to("drawing").emit("line", &(colour, &points))?;
        self.bytes += HEAD + points.len();
        // A slice of what came would keep all of it.
        self.lines.push((colour, Bytes::copy_from_slice(&points)));
        let mut old = 0;
        while self.bytes > MOST_BYTES {
            self.bytes -= HEAD + self.lines[old].1.len();
            old += 1;
        }
        self.lines.drain(..old);
        Ok(Ack(()))
    }
}

impl Handler<Clear> for Board {
    type Result = Result<Ack<()>, EventError>;

    fn handle(&mut self, clear: Clear, _: &mut Context<Self>) -> Self::Result {
        *self = Self::default();
        clear.socket.to("drawing").emit("clear", &())?;
        Ok(Ack(()))
    }
}

impl Handler<Lines> for Board {
    type Result = Result<Ack<Bytes>, EventError>;

    /// All lines in one piece, as clients take no more than ten in one packet: for each the colour and
    /// the number of its points, as two bytes each, and the points.
    fn handle(&mut self, lines: Lines, _: &mut Context<Self>) -> Self::Result {
        // In the same turn: whatever is drawn afterwards is sent to this socket too.
        lines.socket.join("drawing");
        let mut all = Vec::with_capacity(self.bytes);
        for (colour, points) in &self.lines {
            let count = u16::try_from(points.len() / 4).map_err(EventError::from)?;
            all.extend(u16::from(*colour).to_le_bytes());
            all.extend(count.to_le_bytes());
            all.extend_from_slice(points);
        }
        Ok(Ack(all.into()))
    }
}

fn board(board: Addr<Board>) -> Namespace {
    Namespace::new("/")
        .on("lines", board.clone().recipient::<Lines>())
        .on("line", board.clone().recipient::<Draw>())
        .on("clear", board.recipient::<Clear>())
        .on("pointer", |socket: Socket, at: Option<(u16, u16)>| async move {
            socket.broadcast().volatile().emit("pointer", &(socket.id(), at))
        })
        .on_disconnect(|socket: Socket, _: DisconnectReason| async move {
            socket.broadcast().emit("pointer", &(socket.id(), ()))
        })
}

/// Path, type and content of the page's files.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/whiteboard.css", "text/css; charset=utf-8", include_str!("whiteboard.css")),
    ("/whiteboard.js", "text/javascript; charset=utf-8", include_str!("whiteboard.js")),
];

fn files(app: &mut web::ServiceConfig) {
    for (path, kind, content) in FILES {
        let file = move || async move { HttpResponse::Ok().content_type(kind).body(content) };
        app.route(path, web::get().to(file));
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let io = SocketIo::new(board(Board::default().start()));
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || App::new().service(io.clone()).configure(files))
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
