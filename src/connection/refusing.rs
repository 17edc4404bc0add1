//! What a client hears that is not let in.

use serde_json::Value;
use tracing::{debug, warn};

use super::Connection;
use crate::{engine::dialect::Revision, packet::Outgoing, socket::ConnectError};

/// The client wants more than it may have.
pub(super) fn refuse_excess(link: &Connection, namespace: &str, why: &str) {
    let metrics = &link.upper.shared.metrics;
    metrics.connects_refused.increment();
    metrics.connects_over_limit.increment();
    refuse(link, namespace, &ConnectError::new(why));
}

pub(super) fn refuse(link: &Connection, namespace: &str, error: &ConnectError) {
    if error.cause.is_some() {
        warn!(namespace, %error, "middleware failed");
    } else {
        debug!(namespace, %error, "connect refused");
    }
    let data = match link.revision() {
        Revision::Three => error.to_bare_json(),
        Revision::Four => error.to_json(),
    };
    send_refusal(link, namespace, &data);
}

/// The namespace does not exist. In this case old clients get an object too.
pub(super) fn refuse_unknown(link: &Connection, namespace: &str) {
    let error = ConnectError::new("Invalid namespace");
    debug!(namespace, %error, "connect refused");
    send_refusal(link, namespace, &error.to_json());
}

fn send_refusal(link: &Connection, namespace: &str, data: &Value) {
    let refusal = Outgoing::ConnectError { namespace, data };
    link.pipe().send_own(link.upper.shared.codec.frames(&refusal, true), false, 0);
}
