//! One trace over two servers, by OpenTelemetry: start it twice, with a Redis beside it.
//!
//! ```sh
//! NODE=a PORT=3001 cargo run --example tracing --features redis,tracing
//! NODE=b PORT=3002 cargo run --example tracing --features redis,tracing
//! ```
//!
//! ```js
//! io("http://localhost:3002").on("said", console.log);
//! console.log(await io("http://localhost:3001").emitWithAck("say", "hello"));
//! ```
//!
//! Each prints its spans as they end, a line of JSON each: `event`, `save` and `broadcast` at the first,
//! `broadcast` and `deliver` at the second, all of one trace. An application gives `opentelemetry-otlp` to
//! the provider instead of [`Lines`]. `REDIS_URL` is `redis://127.0.0.1:6379` by default.
mod propagation;

use std::{env, io};

use actix_web::{App, HttpServer};
use greenroom::{RedisAdapter, prelude::*};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use serde_json::json;
use tracing::{info, info_span};
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

use self::propagation::W3c;

/// Prints spans.
#[derive(Debug)]
struct Lines {
    node: String,
}

impl SpanExporter for Lines {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let line = json!({
                "node": self.node,
                "name": span.name,
                "trace": span.span_context.trace_id().to_string(),
                "span": span.span_context.span_id().to_string(),
                "parent": span.parent_span_id.to_string(),
                "remote": span.parent_span_is_remote,
                "events": span.events.iter().map(|event| event.name.as_ref()).collect::<Vec<_>>(),
            });
            println!("{line}");
        }
        Ok(())
    }
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let variable = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let exporter = Lines { node: variable("NODE", "a") };
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    // Without the spans of level `debug`, of which one is that of the connection: each event is a
    // trace of its own.
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("greenroom")))
        .init();

    let main = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on("say", |socket: Socket, text: String| async move {
            // Belongs to the span of the event, as all that a listener does.
            info!("somebody speaks");
            let saved = info_span!("save").in_scope(|| text.len());
            socket.to("lobby").emit("said", &text)?;
            Ok::<_, EventError>(Ack(saved))
        });
    let redis = RedisAdapter::new(&variable("REDIS_URL", "redis://127.0.0.1:6379"));
    let io = SocketIo::builder()
        .namespace(main)
        .adapter(redis.map_err(io::Error::other)?)
        .trace_propagation(W3c::new())
        .start();
    let drained = io.drain_on_signal(Drain::new());
    let port = variable("PORT", "3001").parse().map_err(io::Error::other)?;
    HttpServer::new(move || App::new().service(io.readiness("/readyz")).service(io.clone()))
        .workers(1)
        .h1_allow_half_closed(false)
        .tcp_nodelay(true)
        .shutdown_signal(drained)
        .shutdown_timeout(1)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
