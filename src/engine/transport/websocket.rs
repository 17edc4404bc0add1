//! Frames ↔ packets: a session on a WebSocket. The one file that names actix_web_actors.
//!
//! The response body is the socket: each time actix-http polls it, it reads what has come and
//! hands out what waits. While the client does not read, actix-http does not poll the body, and
//! then nothing more is read from that client either.

mod bare;
mod outgoing;
mod setup;
mod wire;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    dev::Payload,
    http::header,
};
use actix_web_actors::ws::{self, HandshakeError};
use bytes::Bytes;
use smallvec::SmallVec;

pub use self::bare::bare_websocket;
pub(crate) use self::setup::Setup;
use self::wire::{Read, Wire};
use super::{
    deflate::{Terms, Unacceptable},
    frame,
};
use crate::engine::{
    packet::{self, Packet},
    pipe::{Generation, Inbound, Pipe},
    session::CloseReason,
};

/// Says that a close frame carries no code (RFC 6455, 7.4.1).
const NO_CODE: u16 = 1005;

/// Accepts the request as a WebSocket that carries the session's bytes.
pub(crate) fn accept(
    req: &HttpRequest,
    payload: Payload,
    pipe: Pipe,
    generation: Generation,
    setup: &Setup,
) -> Result<HttpResponse, Rejected> {
    let (mut response, terms) = agree(req, setup)?;
    let wire = Wire::new(payload, setup, terms);
    Ok(response.body(Socket { wire, pipe, generation }))
}

/// Accepts the request and closes the WebSocket at once, as the reference answers an upgrade that
/// comes too late.
pub(crate) fn accept_and_close(req: &HttpRequest, setup: &Setup) -> Result<HttpResponse, Rejected> {
    let (mut response, _) = agree(req, setup)?;
    Ok(response.body(frame::close(NO_CODE, "")))
}

/// Whether the request can become a WebSocket at all.
pub(crate) fn check(req: &HttpRequest, setup: &Setup) -> Result<(), Rejected> {
    agree(req, setup).map(drop)
}

/// Why a request cannot become a WebSocket: status 400.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Extensions(#[from] Unacceptable),
}

/// The answer to the handshake, and what it says about compression.
fn agree(
    req: &HttpRequest,
    setup: &Setup,
) -> Result<(HttpResponseBuilder, Option<Terms>), Rejected> {
    let mut response = shake_hands(req)?;
    let Some((terms, extensions)) = setup.negotiate(req)? else { return Ok((response, None)) };
    response.insert_header((header::SEC_WEBSOCKET_EXTENSIONS, extensions));
    Ok((response, Some(terms)))
}

/// The answer to the handshake. Of the subprotocols that a client offers the first is chosen: the
/// protocol above does not depend on it, and a browser fails if none is.
fn shake_hands(req: &HttpRequest) -> Result<HttpResponseBuilder, HandshakeError> {
    if req.headers().get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "7") {
        // A draft that nothing speaks any more.
        return Err(HandshakeError::UnsupportedVersion);
    }
    let offered = req.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = offered.split(',').next().unwrap_or_default().trim();
    ws::handshake_with_protocols(
        req,
        if first.is_empty() { &[] } else { std::slice::from_ref(&first) },
    )
}

struct Socket {
    wire: Wire,
    pipe: Pipe,
    generation: Generation,
}

impl Socket {
    /// Reads what has come, as far as the session takes it.
    fn read(&mut self, cx: &mut Context<'_>) {
        while self.wire.is_open() && self.pipe.poll_room(self.generation, cx).is_ready() {
            let mut inbound = SmallVec::<[Inbound; 4]>::new();
            let read = self.wire.poll_read(cx, |message| {
                inbound.push(match message {
                    packet::Message::Text(text) => match Packet::decode_text(text) {
                        Ok(packet) => Inbound::Packet(packet),
                        Err(_) => Inbound::Closed(CloseReason::ParseError),
                    },
                    binary => Inbound::Packet(Packet::Message(binary)),
                });
            });
            let Poll::Ready(read) = read else { return };
            match read {
                Read::Messages { .. } => {}
                Read::Closed | Read::End => {
                    inbound.push(Inbound::Closed(CloseReason::TransportClose));
                }
                Read::Refused => inbound.push(Inbound::Closed(CloseReason::TransportError)),
            }
            self.pipe.receive(self.generation, inbound.into_iter());
            if let Read::Messages { pause: true } = read {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }
}

impl MessageBody for Socket {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = &mut *self;
        this.read(cx);
        let Self { wire, pipe, generation } = this;
        let next = |cx: &mut Context<'_>| pipe.poll_frame(*generation, cx);
        wire.poll_write(cx, next).map(|bytes| bytes.map(Ok))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Says nothing new if the end was reported before.
        let closed = std::iter::once(Inbound::Closed(CloseReason::TransportClose));
        self.pipe.receive(self.generation, closed);
    }
}
