//! The namespaces without remote control: `/`, `/custom` and `/bench`.

use greenroom::{WhenFull, prelude::*};

/// `/` and `/custom`: everything comes back.
pub(crate) fn echoing(name: &str) -> Namespace {
    Namespace::new(name)
        .on_connect(|socket: Socket| async move { socket.emit("auth", &socket.handshake().auth) })
        .on(
            "message",
            |socket: Socket, args: Args| async move { socket.emit("message-back", &args) },
        )
        .on("message-with-ack", |_: Socket, args: Args| async move { Ack(args) })
}

/// `/bench`: the paths that are measured. Payloads are passed on as they came, never parsed.
pub(crate) fn bench(when_full: WhenFull) -> Namespace {
    Namespace::new("/bench")
        .when_full(when_full)
        .on("echo", |_: Socket, payload: Args| async move { Ack(payload.take(1)) })
        .on("join", |socket: Socket, room: Room| async move {
            socket.join(room);
            Ack(())
        })
        .on("leave", |socket: Socket, room: Room| async move {
            socket.leave(room);
            Ack(())
        })
        .on("publish", |socket: Socket, (room, payload): (Room, Args)| async move {
            socket.everyone().to(room).emit("msg", &payload.take(1)).map(Ack)
        })
        .on("publish-all", |socket: Socket, payload: Args| async move {
            socket.everyone().emit("msg", &payload.take(1)).map(Ack)
        })
}
