//! Options of what is told to exporters (feature `metrics`).

use std::sync::Arc;

use metrics::Recorder;

use super::SocketIoBuilder;
use crate::metrics::sink::Sink;

impl SocketIoBuilder {
    /// Where the server's metrics go. Default: the recorder that is installed for the process
    /// (`metrics::set_global_recorder`) when the server is started; installed later, it gets
    /// nothing. `docs/metrics.md` lists all metrics.
    ///
    /// Several servers that have the same recorder count together.
    pub fn metrics_recorder(mut self, recorder: impl Recorder + Send + Sync + 'static) -> Self {
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
