//! Games of several players, each an actor that moves everything twenty times a second and tells its
//! players. Who is fastest to the apple gets it.
//!
//! Run it with `cargo run --example game` (`PORT=3001` takes another port, `TICK_MS=1000` is slower). A
//! player in Node.js, after `npm install socket.io-client`:
//!
//! ```js
//! const { io } = require("socket.io-client");
//! const socket = io("http://127.0.0.1:3000/game");
//! socket.on("world", ({ apple, players }) => {              // twenty times a second
//!   const me = players.find(({ id }) => id === socket.id);
//!   socket.volatile.emit("steer", Math.sign(apple[0] - me.at[0]), Math.sign(apple[1] - me.at[1]));
//! });
//! socket.on("apple", (winner, score) => console.log(winner === socket.id ? "mine" : "theirs", score));
//! console.log(await socket.emitWithAck("play", "garden"));  // { size: 20, players: 1 }
//! ```
use std::{collections::HashMap, time::Duration};

use actix::prelude::*;
use actix_web::{App, HttpServer};
use greenroom::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

/// The length of a side; everything is on whole numbers from 0 up to here.
const SIZE: i32 = 20;
const MOST_PLAYERS: usize = 8;
const MOST_GAMES: usize = 1000;

// ---- one game ----------------------------------------------------------------------------------

struct Game {
    name: String,
    tick: Duration,
    players: HashMap<SocketId, Player>,
    apple: [i32; 2],
    arena: Addr<Arena>,
}

struct Player {
    socket: Socket,
    at: [i32; 2],
    heading: [i32; 2],
    score: u32,
}

#[derive(Serialize)]
struct Seen<'a> {
    id: &'a SocketId,
    at: [i32; 2],
    score: u32,
}

#[derive(Message)]
#[rtype(result = "Result<usize, EventError>")]
struct Enter(Socket);

#[derive(Message)]
#[rtype(result = "()")]
struct Steer(SocketId, [i32; 2]);

#[derive(Message)]
#[rtype(result = "()")]
struct Leave(SocketId);

impl Actor for Game {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.tick, |game, _| game.step());
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.arena.do_send(Over(self.name.clone()));
    }
}

fn anywhere() -> [i32; 2] {
    [rand::random_range(0..SIZE), rand::random_range(0..SIZE)]
}

impl Game {
    fn step(&mut self) {
        let mut eaten = Vec::new();
        for player in self.players.values_mut() {
            for (at, heading) in player.at.iter_mut().zip(player.heading) {
                *at = (*at + heading).clamp(0, SIZE - 1);
            }
            if player.at == self.apple {
                player.score += 1;
                eaten.push((player.socket.id().clone(), player.score));
                self.apple = anywhere();
            }
        }
        let seen = |(id, player)| {
            let Player { at, score, .. }: &Player = player;
            Seen { id, at: *at, score: *score }
        };
        let players: Vec<Seen<'_>> = self.players.iter().map(seen).collect();
        let Some(anyone) = self.players.values().next() else { return };
        let room = anyone.socket.everyone().to(self.room());
        // That a player got the apple must arrive; of the world only the latest is of interest.
        let told = eaten.iter().try_for_each(|eaten| room.emit("apple", eaten)).and_then(|()| {
            room.volatile().emit("world", &json!({ "apple": self.apple, "players": players }))
        });
        if let Err(error) = told {
            eprintln!("{} was not told: {error}", self.name);
        }
    }

    fn room(&self) -> String {
        format!("game {}", self.name)
    }
}

impl Handler<Enter> for Game {
    type Result = Result<usize, EventError>;

    fn handle(&mut self, Enter(socket): Enter, _: &mut Context<Self>) -> Self::Result {
        if self.players.len() >= MOST_PLAYERS {
            return Err(EventError::new("the game is full"));
        }
        socket.join(self.room());
        let id = socket.id().clone();
        let player = Player { socket, at: anywhere(), heading: [0, 0], score: 0 };
        self.players.entry(id).or_insert(player);
        Ok(self.players.len())
    }
}

impl Handler<Steer> for Game {
    type Result = ();

    fn handle(&mut self, Steer(id, heading): Steer, _: &mut Context<Self>) {
        if let Some(player) = self.players.get_mut(&id) {
            player.heading = heading.map(i32::signum);
        }
    }
}

impl Handler<Leave> for Game {
    type Result = ();

    fn handle(&mut self, Leave(id): Leave, ctx: &mut Context<Self>) {
        if let Some(player) = self.players.remove(&id) {
            player.socket.leave(self.room());
        }
        if self.players.is_empty() {
            ctx.stop();
        }
    }
}

// ---- all games ---------------------------------------------------------------------------------

/// Which games there are, and who plays where: the one place that starts them.
struct Arena {
    tick: Duration,
    games: HashMap<String, Addr<Game>>,
}

#[derive(Message)]
#[rtype(result = "Result<Addr<Game>, EventError>")]
struct Find(String);

/// A game has ended. Another of its name may have begun.
#[derive(Message)]
#[rtype(result = "()")]
struct Over(String);

impl Actor for Arena {
    type Context = Context<Self>;
}

impl Handler<Find> for Arena {
    type Result = Result<Addr<Game>, EventError>;

    fn handle(&mut self, Find(name): Find, ctx: &mut Context<Self>) -> Self::Result {
        if name.is_empty() || name.len() > 40 {
            return Err(EventError::new("a game has a name of 1 to 40 bytes"));
        }
        if let Some(game) = self.games.get(&name).filter(|game| game.connected()) {
            return Ok(game.clone());
        }
        if self.games.len() >= MOST_GAMES {
            return Err(EventError::new("there are games enough"));
        }
        let (tick, arena) = (self.tick, ctx.address());
        let players = HashMap::new();
        let game = Game { name: name.clone(), tick, players, apple: anywhere(), arena }.start();
        self.games.insert(name, game.clone());
        Ok(game)
    }
}

impl Handler<Over> for Arena {
    type Result = ();

    fn handle(&mut self, Over(name): Over, _: &mut Context<Self>) {
        if self.games.get(&name).is_some_and(|game| !game.connected()) {
            self.games.remove(&name);
        }
    }
}

// ---- the namespace -----------------------------------------------------------------------------

/// Puts the socket into a game. What it does from then on goes to the game's actor.
async fn play(arena: Addr<Arena>, socket: Socket, name: String) -> Result<Ack<Value>, EventError> {
    let game = arena.send(Find(name)).await??;
    let plays = socket.data(|data| data.get::<bool>("plays").unwrap_or_default());
    if plays || !socket.connected() {
        return Err(EventError::new("one game at a time"));
    }
    socket.data(|data| data.set("plays", &true))?;
    let steering = socket.on("steer", {
        let game = game.clone();
        move |socket: Socket, (x, y): (i32, i32)| {
            game.do_send(Steer(socket.id().clone(), [x, y]));
            std::future::ready(())
        }
    });
    socket.on_disconnect({
        let game = game.clone();
        move |socket: Socket, _: DisconnectReason| {
            game.do_send(Leave(socket.id().clone()));
            std::future::ready(())
        }
    });
    let entered = game.send(Enter(socket.clone())).await;
    match entered.unwrap_or_else(|_| Err(EventError::new("the game has just ended"))) {
        Ok(players) => Ok(Ack(json!({ "size": SIZE, "players": players }))),
        Err(error) => {
            socket.data(|data| data.set("plays", &false))?;
            socket.off(steering);
            Err(error)
        }
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let number = |name, default| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let tick = Duration::from_millis(number("TICK_MS", 50).max(1));
    let arena = Arena { tick, games: HashMap::new() }.start();
    let games = Namespace::new("/game")
        .on("play", move |socket: Socket, name: String| play(arena.clone(), socket, name));
    let io = SocketIo::new(games);
    let port = u16::try_from(number("PORT", 3000)).unwrap_or(3000);
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
