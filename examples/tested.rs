//! An application and its tests, at the level of actors: no network, no port, and time that passes when the
//! test says so. `cargo test --example tested --features testing` runs them; in a crate of yours they are
//! ordinary tests, with `greenroom = { .., features = ["testing"] }` among the `dev-dependencies`.
//!
//! The application is an auction: bids must rise, and ten seconds after the last one it is over.
use std::time::Duration;

use actix::prelude::*;
use actix_web::{App, HttpServer};
use greenroom::prelude::*;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Auction {
    best: Option<(SocketId, u64)>,
    ends: Option<SpawnHandle>,
    over: bool,
}

impl Actor for Auction {
    type Context = Context<Self>;
}

type Bid = FromSocket<u64, Ack<bool>>;

impl Handler<Bid> for Auction {
    type Result = Result<Ack<bool>, EventError>;

    fn handle(&mut self, bid: Bid, ctx: &mut Context<Self>) -> Self::Result {
        if self.over {
            return Err(EventError::new("it is over"));
        }
        if self.best.as_ref().is_some_and(|(_, best)| bid.data <= *best) {
            return Ok(Ack(false));
        }
        self.best = Some((bid.socket.id().clone(), bid.data));
        bid.socket.broadcast().emit("bid", &bid.data)?;
        if let Some(earlier) = self.ends.take() {
            ctx.cancel_future(earlier);
        }
        let everyone = bid.socket.everyone();
        self.ends = Some(ctx.run_later(PATIENCE, move |auction, _| {
            auction.over = true;
            if let Err(error) = everyone.emit("sold", &auction.best) {
                eprintln!("nobody was told: {error}");
            }
        }));
        Ok(Ack(true))
    }
}

async fn require_name(socket: Socket) -> Result<(), ConnectError> {
    match socket.handshake().auth["name"].as_str() {
        Some(_) => Ok(()),
        None => Err(ConnectError::new("who are you?")),
    }
}

/// All that the tests need: what is around it is actix-web's.
fn auction() -> Namespace {
    let auction = Auction::default().start();
    Namespace::new("/auction").before_connect(require_name).on("bid", auction.recipient::<Bid>())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let io = SocketIo::new(auction());
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || App::new().service(io.clone()))
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

#[cfg(all(test, feature = "testing"))]
mod tests {
    use greenroom::testing::{TestServer, TestSocket};
    use serde_json::json;

    use super::*;

    async fn enter(server: &TestServer, name: &str) -> TestSocket {
        server.connect("/auction", json!({ "name": name })).await.expect("a name is enough")
    }

    fn server() -> TestServer {
        TestServer::start(SocketIo::builder().namespace(auction()))
    }

    #[actix_rt::test]
    async fn nobody_bids_without_a_name() {
        let refused = server().connect("/auction", ()).await.expect_err("there is no name");
        assert_eq!(refused.to_string(), "who are you?");
    }

    #[actix_rt::test]
    async fn a_higher_bid_counts_and_the_others_hear_of_it() {
        let server = server();
        let (ann, ben) = (enter(&server, "Ann").await, enter(&server, "Ben").await);
        assert_eq!(ann.emit_with_ack("bid", 10).await, json!([true]));
        assert_eq!(ben.next_event().await, ("bid".into(), json!([10])));
        assert_eq!(ben.emit_with_ack("bid", 10).await, json!([false]));
        assert_eq!(ben.emit_with_ack("bid", 11).await, json!([true]));
        assert_eq!(ann.next_event().await, ("bid".into(), json!([11])));
    }

    #[actix_rt::test]
    async fn ten_seconds_after_the_last_bid_it_is_over() {
        let server = server();
        let ann = enter(&server, "Ann").await;
        ann.emit_with_ack("bid", 10).await;
        server.advance(Duration::from_secs(9)).await;
        ann.emit_with_ack("bid", 12).await;
        server.advance(Duration::from_secs(9)).await;
        ann.expect_silence().await;
        server.advance(Duration::from_secs(1)).await;
        assert_eq!(ann.next_event().await, ("sold".into(), json!([[ann.id(), 12]])));
        assert_eq!(ann.emit_with_ack("bid", 13).await, json!([{ "error": "it is over" }]));
    }

    #[actix_rt::test]
    async fn what_is_no_number_is_answered_with_an_error() {
        let server = server();
        let ann = enter(&server, "Ann").await;
        let answer = ann.emit_with_ack("bid", "much").await.to_json();
        assert!(
            answer[0]["error"].as_str().is_some_and(|error| error.starts_with("invalid payload"))
        );
    }
}
