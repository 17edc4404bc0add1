//! The requests that were refused, in order: an actor that the engine tells and an operation asks.

use actix::prelude::*;
use greenroom::engine::ConnectionError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::operations::{Call, Failure};

/// The log. It keeps what it is told for as long as the testbed runs.
#[derive(Default)]
pub(crate) struct RefusedRequests(Vec<ErrorEntry>);

#[derive(Clone, Serialize)]
pub(crate) struct ErrorEntry {
    code: u8,
    message: &'static str,
    context: Map<String, Value>,
}

/// What was reported? With `clear`, that is forgotten then.
#[derive(Default, Deserialize, Message)]
#[serde(default)]
#[rtype(result = "Vec<ErrorEntry>")]
pub(crate) struct ConnectionErrors {
    clear: bool,
}

impl Actor for RefusedRequests {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // A burst of bad requests is to be seen whole.
        ctx.set_mailbox_capacity(4096);
    }
}

impl Handler<ConnectionError> for RefusedRequests {
    type Result = ();

    fn handle(&mut self, error: ConnectionError, _: &mut Context<Self>) {
        let mut context = error.context.as_object().cloned().unwrap_or_default();
        context.retain(|_, value| value.is_string() || value.is_number());
        self.0.push(ErrorEntry { code: error.code, message: error.message, context });
    }
}

impl Handler<ConnectionErrors> for RefusedRequests {
    type Result = Vec<ErrorEntry>;

    fn handle(&mut self, asked: ConnectionErrors, _: &mut Context<Self>) -> Self::Result {
        if asked.clear { std::mem::take(&mut self.0) } else { self.0.clone() }
    }
}

/// The operation of that name.
pub(crate) async fn connection_errors(call: Call) -> Result<Vec<ErrorEntry>, Failure> {
    Ok(call.world.refused.send(call.params::<ConnectionErrors>()?).await?)
}
