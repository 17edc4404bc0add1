//! What all WebSockets of a server have in common.

use std::sync::Arc;

use actix_web::{HttpRequest, http::header};

use crate::{
    config::Config,
    engine::transport::deflate::{PerMessageDeflate, Terms, Unacceptable, negotiate},
    metrics::Metrics,
};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(super) max_message: usize,
    pub(super) deflation: Option<Arc<Deflation>>,
}

/// Compression, where the server offers it.
#[derive(Debug)]
pub(super) struct Deflation {
    pub(super) options: PerMessageDeflate,
    pub(super) metrics: Arc<Metrics>,
}

impl Setup {
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        let options = config.per_message_deflate.clone();
        let deflation = options.map(|options| Arc::new(Deflation { options, metrics }));
        Self { max_message: config.max_http_buffer_size, deflation }
    }

    /// What the server answers to the extensions that a client offers.
    pub(super) fn negotiate(
        &self,
        req: &HttpRequest,
    ) -> Result<Option<(Terms, String)>, Unacceptable> {
        let Some(deflation) = &self.deflation else { return Ok(None) };
        // Several lines are one list (RFC 9110 §5.3).
        let lines = req.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
        let lines: Vec<_> = lines.map(|line| line.as_bytes()).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        negotiate(&deflation.options, &lines.join(&b", "[..]))
    }
}
