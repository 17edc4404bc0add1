//! Options of what is told to those who watch (features `metrics` and `tracing`).

use std::sync::Arc;

use super::SocketIoBuilder;
#[cfg(feature = "metrics")]
use crate::metrics::sink::Sink;
#[cfg(feature = "tracing")]
use crate::trace::{Propagation, TracePropagation};

#[cfg(feature = "tracing")]
impl SocketIoBuilder {
    /// Has the trace context of broadcasts travel to the other servers of the cluster, so that their
    /// spans belong to the same trace. Servers of Node.js, and those without it, take no notice.
    /// Default: it does not travel.
    pub fn trace_propagation(mut self, propagation: impl TracePropagation) -> Self {
        self.propagation = Propagation(Some(Arc::new(propagation)));
        self
    }
}

#[cfg(feature = "metrics")]
impl SocketIoBuilder {
    /// Where the server's metrics go. Default: the recorder that is installed for the process
    /// (`metrics::set_global_recorder`) when the server is started; installed later, it gets
    /// nothing. `docs/metrics.md` lists all metrics.
    ///
    /// Several servers that have the same recorder count together.
    pub fn metrics_recorder(
        mut self,
        recorder: impl metrics::Recorder + Send + Sync + 'static,
    ) -> Self {
        self.sink = Sink::Own(Arc::new(recorder));
        self
    }

    /// Namespaces that metrics tell apart by their label `namespace`. All children of a
    /// [`Parent`](crate::Parent) have the name of their parent. What would be one more namespace is
    /// counted in with the label `(others)`: each makes some dozens of time series, which an exporter
    /// keeps for ever. Default 200.
    pub fn max_metric_namespaces(mut self, count: usize) -> Self {
        self.max_metric_namespaces = count;
        self
    }
}
