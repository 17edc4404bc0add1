//! Spans from an event to its ack, through broadcasts and to other servers. Without the feature
//! `tracing` every span is none: nothing is asked, and nothing recorded.

use std::{fmt, sync::Arc};

use tracing::Span;

/// How trace contexts get into messages between servers and out of them: what connects the spans of
/// this crate with OpenTelemetry, of whatever version. `examples/tracing/propagation.rs` in the
/// repository is one of 20 lines.
///
/// Both methods are called on the server's own threads and have to be quick. They are told
/// [`traceparent`](https://www.w3.org/TR/trace-context/#traceparent-header) as the W3C writes it,
/// in version 00: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
///
/// ```
/// # #[cfg(feature = "tracing")]
/// # mod example {
/// use greenroom::TracePropagation;
/// use opentelemetry::propagation::TextMapPropagator;
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
/// use tracing_opentelemetry::OpenTelemetrySpanExt;
///
/// struct W3c(TraceContextPropagator);
///
/// impl TracePropagation for W3c {
///     fn traceparent(&self, span: &tracing::Span) -> Option<String> {
///         let mut headers = std::collections::HashMap::new();
///         self.0.inject_context(&span.context(), &mut headers);
///         headers.remove("traceparent")
///     }
///
///     fn set_parent(&self, span: &tracing::Span, traceparent: &str) {
///         let headers = [("traceparent".to_owned(), traceparent.to_owned())];
///         let _ = span.set_parent(self.0.extract(&std::collections::HashMap::from(headers)));
///     }
/// }
/// # }
/// ```
#[cfg_attr(not(feature = "tracing"), allow(unreachable_pub, reason = "nobody implements it then"))]
pub trait TracePropagation: Send + Sync + 'static {
    /// The trace and the id of a span; `None` if it is not recorded.
    fn traceparent(&self, span: &Span) -> Option<String>;

    /// A span of another server is the parent of one that has just been made and not entered.
    fn set_parent(&self, span: &Span, traceparent: &str);
}

/// The server's [`TracePropagation`], if it has one.
#[derive(Clone, Default)]
pub(crate) struct Propagation(pub(crate) Option<Arc<dyn TracePropagation>>);

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Propagation").field(&self.0.is_some()).finish()
    }
}

impl Propagation {
    /// What other servers are told of a span.
    pub(crate) fn of(&self, span: &Span) -> Option<TraceParent> {
        let propagation = self.0.as_ref().filter(|_| !span.is_none())?;
        TraceParent::parse(&propagation.traceparent(span)?)
    }

    /// What another server has told of its span.
    pub(crate) fn adopt(&self, span: &Span, parent: Option<TraceParent>) {
        if let (Some(propagation), Some(parent), false) = (&self.0, parent, span.is_none()) {
            propagation.set_parent(span, &parent.to_string());
        }
    }
}

/// A W3C `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// `None` if it is malformed, or of a later version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |digits: usize| {
            let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            parts.next().filter(|part| part.len() == digits && part.bytes().all(lower))
        };
        let version = part(2)?;
        let trace = u128::from_str_radix(part(32)?, 16).ok()?;
        let span = u64::from_str_radix(part(16)?, 16).ok()?;
        let flags = u8::from_str_radix(part(2)?, 16).ok()?;
        let known = version == "00" && parts.next().is_none() && trace != 0 && span != 0;
        known.then_some(Self { trace, span, flags })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// From the turn of a client's event until its listeners have finished and it has been answered.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn event(namespace: &str, event: &str, id: &dyn fmt::Display, asks: bool) -> Span {
    #[cfg(feature = "tracing")]
    return tracing::info_span!(
        "event",
        otel.kind = "server",
        namespace,
        event,
        %id,
        asks,
        answered = tracing::field::Empty,
    );
    #[cfg(not(feature = "tracing"))]
    Span::none()
}

/// From an emit to many until it is in the outboxes of this server. Within what runs now.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn broadcast<'a>(event: impl FnOnce() -> &'a str) -> Span {
    #[cfg(feature = "tracing")]
    return tracing::info_span!(
        "broadcast",
        otel.kind = "producer",
        event = event(),
        namespace = tracing::field::Empty,
    );
    #[cfg(not(feature = "tracing"))]
    Span::none()
}

/// The same for one of another server, whose span is its parent.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn relayed<'a>(event: impl FnOnce() -> &'a str) -> Span {
    #[cfg(feature = "tracing")]
    return tracing::info_span!(
        parent: None,
        "broadcast",
        otel.kind = "consumer",
        event = event(),
        namespace = tracing::field::Empty,
    );
    #[cfg(not(feature = "tracing"))]
    Span::none()
}

/// The part of a broadcast that one worker has.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn delivery(broadcast: &Span, worker: usize) -> Span {
    #[cfg(feature = "tracing")]
    return tracing::info_span!(
        parent: broadcast,
        "deliver",
        worker,
        receivers = tracing::field::Empty,
    );
    #[cfg(not(feature = "tracing"))]
    Span::none()
}

/// The span in which something goes on later.
pub(crate) fn current() -> Span {
    #[cfg(feature = "tracing")]
    return Span::current();
    #[cfg(not(feature = "tracing"))]
    Span::none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_written_as_it_was_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        assert_eq!(
            TraceParent::parse(text).map(|parent| parent.to_string()).as_deref(),
            Some(text)
        );
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "01-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
