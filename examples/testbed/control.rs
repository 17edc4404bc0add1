//! The remote control: `/rc` and `/rc2`. What the operations do is in `operations`.

use std::{future::Ready, sync::Arc, time::Duration};

use greenroom::{Handshake, Parent, prelude::*};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    World,
    journal::{DisconnectEntry, ErrorEntry},
    operations::{self, by_utf16},
};

/// The names of the parents.
pub(crate) const DYN: &str = r"^/dyn-[0-9]+$";
pub(crate) const FN: &str = "fn";

/// A namespace with middlewares and the remote control.
pub(crate) fn namespace(name: &'static str, world: &Arc<World>) -> Namespace {
    let namespace = Namespace::new(name)
        .before_connect(first_middleware)
        .before_connect(second_middleware)
        .on_connect(welcome);
    remote(namespace, world)
}

/// The parents of the dynamic namespaces: by regular expression, and by function.
pub(crate) fn parents(world: &Arc<World>) -> [Parent; 2] {
    let accepts = |name: String, handshake: Handshake| async move {
        if name.starts_with("/fn-err") {
            return Err("fn failed");
        }
        if name.starts_with("/fn-slow") {
            sleep(50.0).await;
        }
        Ok(name.starts_with("/fn-") && handshake.auth["ok"] == true)
    };
    [Parent::matching(DYN), Parent::accepting(FN, accepts)].map(|parent| {
        parent.children(|child| {
            let child =
                child.before_connect(dynamic_middleware).on_connect(|socket: Socket| async move {
                    socket.emit("welcome", &json!({ "nsp": socket.namespace() }))
                });
            remote(child, world)
        })
    })
}

/// Adds the remote control.
pub(crate) fn remote(namespace: Namespace, world: &Arc<World>) -> Namespace {
    let (own, leaving, gone, errors) =
        (Arc::clone(world), Arc::clone(world), Arc::clone(world), Arc::clone(world));
    let namespace = namespace
        .before_event(forbid)
        .before_event(hold)
        .on_connect(move |socket: Socket| {
            operations::install(&socket, &own);
            std::future::ready(())
        })
        .on_disconnecting(move |socket: Socket, reason: DisconnectReason| {
            let journal = leaving.logs.journal(socket.namespace());
            async move {
                let rooms = rooms_of(&socket).await.1;
                let (id, reason) = (socket.id().clone(), reason.as_str());
                journal.do_send(DisconnectEntry { id, event: "disconnecting", reason, rooms });
            }
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            // It has left its rooms.
            let (id, reason, rooms) = (socket.id().clone(), reason.as_str(), Vec::new());
            let journal = gone.logs.journal(socket.namespace());
            journal.do_send(DisconnectEntry { id, event: "disconnect", reason, rooms });
            async {}
        })
        .on_error(move |socket, _, error| {
            errors.logs.journal(socket.namespace()).do_send(ErrorEntry::new(socket, error));
            reject(socket, error);
        });
    operations::add(plain_events(namespace), world)
}

// ---- connecting --------------------------------------------------------------------------------

fn pass(socket: &Socket, middleware: &str) {
    socket.data(|data| {
        let list = data.as_map().entry("mw").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(middleware.into());
        }
    });
}

async fn first_middleware(socket: Socket) -> Result<(), ConnectError> {
    pass(&socket, "a");
    let auth = &socket.handshake().auth;
    if let Some(room) = auth["room"].as_str() {
        socket.join(room);
    }
    match auth["token"].as_str() {
        Some("bad") => Err(ConnectError::new("not authorized").data(&json!({ "code": 401 }))),
        Some("bad-nodata") => Err(ConnectError::new("nope")),
        Some("bad-string") => Err(ConnectError::new("text data").data("just text")),
        _ => Ok(()),
    }
}

async fn second_middleware(socket: Socket) -> Result<(), ConnectError> {
    let auth = &socket.handshake().auth;
    if let Some(delay) = auth["delay"].as_f64() {
        sleep(delay).await;
    }
    pass(&socket, "b");
    if auth["token"] == "bad-late" {
        let passed: Option<Value> = socket.data(|data| data.get("mw"));
        return Err(ConnectError::new("late").data(&json!({ "mw": passed })));
    }
    Ok(())
}

async fn dynamic_middleware(socket: Socket) -> Result<(), ConnectError> {
    let auth = &socket.handshake().auth;
    if let Some(delay) = auth["delay"].as_f64() {
        sleep(delay).await;
    }
    if auth["token"] == "bad" {
        return Err(ConnectError::new("dyn refused").data(&json!({ "nsp": socket.namespace() })));
    }
    Ok(())
}

async fn welcome(socket: Socket) -> Result<(), EventError> {
    #[derive(Serialize)]
    struct Hello<'a> {
        nsp: &'a str,
        recovered: bool,
    }
    let auth = &socket.handshake().auth;
    if let Some(data) = auth.get("data") {
        socket.data(|own| own.set("auth", data))?;
    }
    if auth["hello"] == true {
        socket.emit("hello", &Hello { nsp: socket.namespace(), recovered: socket.recovered() })?;
    }
    Ok(())
}

// ---- before events -----------------------------------------------------------------------------

/// What a refused event is refused with.
const FORBIDDEN: &str = "forbidden event";

async fn forbid(_: Socket, event: Event) -> Result<(), EventError> {
    if event.name.starts_with("forbidden") {
        return Err(EventError::new(FORBIDDEN).data(&json!({ "event": &*event.name })));
    }
    Ok(())
}

async fn hold(_: Socket, event: Event) -> Result<(), EventError> {
    if event.name == "slow" {
        sleep(50.0).await;
    }
    Ok(())
}

fn reject(socket: &Socket, error: &EventError) {
    if error.message() == FORBIDDEN {
        let rejected = json!({ "message": error.message(), "data": error.details() });
        // The client may have left meanwhile.
        let _ = socket.emit("rejected", &rejected);
    }
}

// ---- plain events ------------------------------------------------------------------------------

fn plain_events(namespace: Namespace) -> Namespace {
    namespace
        .on("echo", |socket: Socket, args: Args, ack: AckSender| async move {
            if ack.is_wanted() { ack.send(&args) } else { socket.emit("echo-back", &args) }
        })
        .on("slow", |socket: Socket, x: Args| done(socket, "slow", x))
        .on("fast", |socket: Socket, x: Args| done(socket, "fast", x))
        .on("no-ack", |_: Socket, (): ()| async {})
        .on("ack-twice", |_: Socket, x: Args, ack: AckSender| async move {
            ack.send(&first(&x)?)?;
            ack.send("again")
        })
        .on("ack-later", |_: Socket, (ms, x): (f64, Args)| async move {
            sleep(ms).await;
            first(&x).map(Ack)
        })
        .on("bye", |socket: Socket, args: Args| async move {
            socket.emit("bye", &first(&args)?)?;
            drop(socket.disconnect(args.get(1).unwrap_or(false)));
            Ok::<_, EmitError>(())
        })
        .on("7", |socket: Socket, x: Args| async move { socket.emit("seven", &first(&x)?) })
        .on("panic", panics)
        .on("panic-async", panics_later)
}

async fn done(socket: Socket, which: &'static str, x: Args) -> Result<(), EmitError> {
    socket.emit("done", &(which, first(&x)?))
}

fn panics(_: Socket, (): ()) -> Ready<()> {
    panic!("the event panic panics");
}

async fn panics_later(_: Socket, (): ()) {
    tokio::task::yield_now().await;
    panic!("the event panic-async panics");
}

// ---- what others use too -----------------------------------------------------------------------

/// Exactly one argument, `null` for one that is missing or `undefined`.
pub(crate) fn first(args: &Args) -> Result<Args, EmitError> {
    if args.is_undefined(0) {
        let mut null = Args::new();
        null.push(&())?;
        return Ok(null);
    }
    Ok(args.take(1))
}

/// Whether the socket is in its own room, and its other rooms, sorted.
pub(crate) async fn rooms_of(socket: &Socket) -> (bool, Vec<Room>) {
    let mut rooms = socket.rooms().await;
    let all = rooms.len();
    rooms.retain(|room| **room != **socket.id());
    rooms.sort_by(by_utf16);
    (rooms.len() != all, rooms)
}

/// Waits for some milliseconds, as a client gave them.
async fn sleep(ms: f64) {
    tokio::time::sleep(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()).await;
}
