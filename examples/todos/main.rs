//! A list of things to do that many people change at the same time: every change is an event whose
//! answer says what became of it. Events and answers are declared in `contract.rs`, and the front end
//! in `web/` (React, TypeScript, built by Vite) imports the types that are made of them.
//!
//! ```sh
//! cd examples/todos/web && npm install && npm run build && cd -    # once
//! cargo run --example todos --features typescript                  # open http://127.0.0.1:3000
//! cargo run --example todos --features typescript -- --types examples/todos/web/src/contract.d.ts
//! ```
//!
//! While you work on the page, `npm run dev` in `web/` serves it and passes `/socket.io/` on to this
//! server. `PORT=3001` takes another port, `WEB` names another folder with the built page.

mod contract;
mod store;

use std::{path::PathBuf, time::Duration};

use actix::prelude::*;
use actix_web::{App, HttpServer};
use greenroom::{prelude::*, typed::Binary, typescript};

use self::{
    contract::{
        Attach, Changed, Changes, Create, Delete, Deleted, Filter, List, Picture, SomebodyWrites,
        Sure, Todo, Todos, Update, Writing,
    },
    store::{Change, Find, Get, Store},
};

/// Makes a change and tells the others of it; who made it has the answer.
async fn change(socket: Socket, change: Change) -> Result<Ack<Todo>, EventError> {
    let todo = store(&socket)?.send(change).await??;
    socket.broadcast().emit_typed(Changed, &todo)?;
    Ok(Ack(todo))
}

fn store(socket: &Socket) -> Result<Addr<Store>, EventError> {
    let store = socket.shared::<Addr<Store>>();
    store.map(|store| Addr::clone(&store)).ok_or_else(|| EventError::new("there is no store"))
}

async fn list(socket: Socket, filter: Option<Filter>) -> Result<Ack<Vec<Todo>>, EventError> {
    Ok(Ack(store(&socket)?.send(Find(filter)).await?))
}

async fn delete(socket: Socket, id: u32) -> Result<Ack<bool>, EventError> {
    let (todo, _) = store(&socket)?.send(Get(id)).await??;
    let sure = todo.done || {
        let asking = socket.timeout(Duration::from_secs(60));
        asking.emit_typed_with_ack(Sure, &todo.title).await?
    };
    if sure {
        store(&socket)?.send(Change::Delete(id)).await??;
        socket.broadcast().emit_typed(Deleted, &id)?;
    }
    Ok(Ack(sure))
}

async fn picture(socket: Socket, id: u32) -> Result<Ack<Binary>, EventError> {
    let (_, picture) = store(&socket)?.send(Get(id)).await??;
    picture.map(Ack).ok_or_else(|| EventError::new("it has no picture"))
}

fn todos(store: Addr<Store>) -> Namespace {
    Namespace::new("/")
        .share(store)
        .on_typed(List, list)
        .on_typed(Create, |socket: Socket, title: String| change(socket, Change::Create(title)))
        .on_typed(Update, |socket: Socket, (id, changes): (u32, Changes)| {
            change(socket, Change::Update(id, changes))
        })
        .on_typed(Attach, |socket: Socket, (id, name, content): (u32, String, Binary)| {
            change(socket, Change::Attach(id, name, content))
        })
        .on_typed(Delete, delete)
        .on_typed(Picture, picture)
        .on_typed(Writing, |socket: Socket, title: String| async move {
            socket.broadcast().volatile().emit_typed(SomebodyWrites, &title)
        })
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, path] = &arguments[..]
        && option == "--types"
    {
        return typescript::write::<Todos>(path).map(drop).map_err(std::io::Error::other);
    }
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let web =
        std::env::var_os("WEB").map_or_else(|| "examples/todos/web/dist".into(), PathBuf::from);
    let todos = todos(Store::default().start());
    debug_assert!(todos.unheard::<Todos>().is_empty(), "an event that nobody listens to");
    let io = SocketIo::new(todos);
    let drained = io.drain_on_signal(Drain::new());
    let server = HttpServer::new(move || {
        let page = actix_files::Files::new("/", &web).index_file("index.html");
        App::new().service(io.clone()).service(page)
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
