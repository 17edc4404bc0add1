//! A WebSocket that is closed as soon as it is open.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::wire::{SIZE, Wire};

/// See the module's description.
pub(super) struct Goodbye(Wire);

impl Goodbye {
    pub(super) fn new(wire: Wire) -> Self {
        Self(wire.closing())
    }
}

impl MessageBody for Goodbye {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        SIZE
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.0.poll_write(cx, |_| Poll::Ready(Err(1000))).map(|bytes| bytes.map(Ok))
    }
}
