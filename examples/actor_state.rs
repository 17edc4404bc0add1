//! State that needs one owner lives in an ordinary actor, and the actor's address is the listener.
//! Events of all clients reach it one after the other, so nothing is locked.
use actix::prelude::*;
use actix_web::{App, HttpServer};
use greenroom::prelude::*;

/// The event `say` as a message. What the actor makes of it is the ack.
type Say = FromSocket<String, Ack<usize>>;
/// The event `history`.
type Recall = FromSocket<(), Ack<Vec<String>>>;

#[derive(Default)]
struct History {
    lines: Vec<String>,
}

impl Actor for History {
    type Context = Context<Self>;
}

impl Handler<Say> for History {
    type Result = Result<Ack<usize>, EventError>;

    fn handle(&mut self, say: Say, _: &mut Context<Self>) -> Self::Result {
        say.socket.to("lobby").emit("said", &say.data)?;
        self.lines.push(say.data);
        Ok(Ack(self.lines.len()))
    }
}

impl Handler<Recall> for History {
    type Result = Result<Ack<Vec<String>>, EventError>;

    fn handle(&mut self, _: Recall, _: &mut Context<Self>) -> Self::Result {
        Ok(Ack(self.lines.clone()))
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let history = History::default().start();
    let chat = Namespace::new("/chat")
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on("say", history.clone().recipient::<Say>())
        .on("history", history.recipient::<Recall>());
    let io = SocketIo::builder().namespace(chat).start();
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
