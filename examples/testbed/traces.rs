//! The log, and with `TRACED` spans by OpenTelemetry that nobody keeps, so that trace contexts travel.
use std::io;

use greenroom::SocketIoBuilder;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

#[cfg(feature = "tracing")]
#[path = "../tracing/propagation.rs"]
mod propagation;

#[cfg(feature = "tracing")]
fn wanted() -> bool {
    std::env::var_os("TRACED").is_some()
}

pub(crate) fn subscribe(filter: EnvFilter) {
    let log = fmt::layer().with_writer(io::stderr).with_filter(filter);
    #[cfg(feature = "tracing")]
    if wanted() {
        use opentelemetry::trace::TracerProvider;
        use tracing_subscriber::filter::LevelFilter;
        let tracer = opentelemetry_sdk::trace::SdkTracerProvider::default().tracer("testbed");
        let spans = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing_subscriber::registry().with(log).with(spans.with_filter(LevelFilter::INFO)).init();
        return;
    }
    tracing_subscriber::registry().with(log).init();
}

#[cfg_attr(not(feature = "tracing"), allow(unused_mut))]
pub(crate) fn propagate(mut builder: SocketIoBuilder) -> SocketIoBuilder {
    #[cfg(feature = "tracing")]
    if wanted() {
        builder = builder.trace_propagation(propagation::W3c::new());
    }
    builder
}
