//! What connects Greenroom's spans with OpenTelemetry over several servers: trace contexts as the W3C
//! writes them.
use std::collections::HashMap;

use greenroom::TracePropagation;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub(crate) struct W3c(TraceContextPropagator);

impl W3c {
    pub(crate) fn new() -> Self {
        Self(TraceContextPropagator::new())
    }
}

impl TracePropagation for W3c {
    fn traceparent(&self, span: &Span) -> Option<String> {
        let mut headers = HashMap::new();
        self.0.inject_context(&span.context(), &mut headers);
        headers.remove("traceparent")
    }

    fn set_parent(&self, span: &Span, traceparent: &str) {
        let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        // Without OpenTelemetry's layer there is nothing to set.
        let _ = span.set_parent(self.0.extract(&headers));
    }
}
