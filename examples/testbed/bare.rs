//! `/ws-echo`: the WebSocket layer by itself, for conformance suites.

use std::{future::ready, sync::Arc};

use actix_web::{
    HttpRequest,
    dev::{AppService, HttpServiceFactory},
    web,
};
use greenroom::engine::{Config, bare_websocket};

/// Every message goes back as it came.
#[derive(Clone)]
pub(crate) struct Echo(Arc<Config>);

impl Echo {
    pub(crate) fn new(config: Config) -> Self {
        Self(Arc::new(config))
    }
}

impl HttpServiceFactory for Echo {
    fn register(self, app: &mut AppService) {
        let answer = move |req: HttpRequest, payload: web::Payload| {
            ready(bare_websocket(&req, payload.into_inner(), &self.0, Some))
        };
        web::resource("/ws-echo").route(web::get().to(answer)).register(app);
    }
}
