//! The namespace `/bench` of the testbed (tests/e2e/reference/reference.mjs) on socketioxide and axum.
//!
//! `PORT` (0 lets the system choose), `WORKERS` (1, the default, is tokio's current-thread runtime)
//! and `PARSER` as for the testbed; it prints `listening on HOST:PORT` as well. With
//! `PAYLOAD=binary` the listeners take their payload as bytes: a `serde_json::Value` holds none.
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use socketioxide::{
    ParserConfig, SocketIo,
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

fn is_set(name: &str, wanted: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == wanted)
}

async fn serve(port: u16) -> std::io::Result<()> {
    let msgpack = is_set("PARSER", "msgpack");
    let builder = SocketIo::builder().max_payload(1_000_000);
    let builder = if msgpack { builder.with_parser(ParserConfig::msgpack()) } else { builder };
    let (layer, io) = builder.build_layer();
    if is_set("PAYLOAD", "binary") {
        io.ns("/bench", bench::<Bytes>);
    } else if msgpack {
        io.ns("/bench", bench::<rmpv::Value>);
    } else {
        io.ns("/bench", bench::<serde_json::Value>);
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, axum::Router::new().layer(layer)).await
}

async fn bench<P: Serialize + DeserializeOwned + Send + Sync + 'static>(socket: SocketRef) {
    socket.on("echo", async |Data(payload): Data<P>, ack: AckSender| {
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
        async |socket: SocketRef, Data((room, payload)): Data<(String, P)>, ack: AckSender| {
            socket.within(room).emit("msg", &payload).await.ok();
            ack.send(&()).ok();
        },
    );
    socket.on("publish-all", async |io: SocketIo, Data(payload): Data<P>, ack: AckSender| {
        if let Some(everyone) = io.of("/bench") {
            everyone.emit("msg", &payload).await.ok();
        }
        ack.send(&()).ok();
    });
}
