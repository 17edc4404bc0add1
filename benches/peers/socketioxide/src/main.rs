//! The namespace `/bench` of the testbed (tests/e2e/reference/reference.mjs) on socketioxide and axum.
//!
//! `PORT` (0 lets the system choose) and `WORKERS` (1, the default, is tokio's current-thread
//! runtime) as for the testbed; it prints `listening on HOST:PORT` as well.
use axum::serve::ListenerExt;
use serde_json::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::{net::TcpListener, runtime::Builder};

fn main() -> std::io::Result<()> {
    let mut runtime = match number("WORKERS", 1) {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if number("WORKERS", 1) > 1 {
        runtime.worker_threads(number("WORKERS", 1));
    }
    runtime.enable_all().build()?.block_on(serve(number("PORT", 3000)))
}

fn number<N: std::str::FromStr>(name: &str, fallback: N) -> N {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(fallback)
}

async fn serve(port: u16) -> std::io::Result<()> {
    let (layer, io) = SocketIo::builder().max_payload(1_000_000).build_layer();
    io.ns("/bench", bench);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, axum::Router::new().layer(layer)).await
}

async fn bench(socket: SocketRef) {
    socket.on("echo", async |Data(payload): Data<Value>, ack: AckSender| {
        ack.send(&payload).ok();
    });
    socket.on("join", async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
        socket.join(room);
        ack.send(&()).ok();
    });
    socket.on("leave", async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
        socket.leave(room);
        ack.send(&()).ok();
    });
    socket.on(
        "publish",
        async |socket: SocketRef, Data((room, payload)): Data<(String, Value)>, ack: AckSender| {
            socket.within(room).emit("msg", &payload).await.ok();
            ack.send(&()).ok();
        },
    );
    socket.on("publish-all", async |io: SocketIo, Data(payload): Data<Value>, ack: AckSender| {
        if let Some(everyone) = io.of("/bench") {
            everyone.emit("msg", &payload).await.ok();
        }
        ack.send(&()).ok();
    });
}
