//! Frames ↔ packets: a session on a WebSocket. The one file that names actix_web_actors.
//!
//! The response body is the socket: each time actix-http polls it, it reads what has come and
//! hands out what waits. While the client does not read, actix-http does not poll the body, and
//! then nothing more is read from that client either.

mod outgoing;
mod setup;

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
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
use futures_util::Stream;
use smallvec::SmallVec;
use tracing::debug;

use self::outgoing::Outgoing;
pub(crate) use self::setup::Setup;
use super::{
    deflate::{Terms, Unacceptable},
    frame::{self, Decoder, Message},
};
use crate::engine::{
    frame::Frame,
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
    let mut decoder = Decoder::new(setup.max_message);
    let mut outgoing = None;
    if let (Some(terms), Some(deflation)) = (terms, &setup.deflation) {
        decoder = decoder.inflating(terms.client_takeover);
        outgoing = Some(Box::new(Outgoing::new(terms, Arc::clone(deflation))));
    }
    Ok(response.body(Socket {
        pipe,
        generation,
        payload,
        decoder,
        unread: Bytes::new(),
        outgoing,
        control: VecDeque::new(),
        phase: Phase::Open,
    }))
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

#[derive(Debug, PartialEq)]
enum Phase {
    Open,
    /// Nothing more is read; the close frame goes out behind the control frames.
    Closing(Bytes),
    Done,
}

struct Socket {
    pipe: Pipe,
    generation: Generation,
    payload: Payload,
    decoder: Decoder,
    /// What the decoder has not taken yet.
    unread: Bytes,
    /// Only where compression was agreed on.
    outgoing: Option<Box<Outgoing>>,
    /// Pongs, which go before what waits.
    control: VecDeque<Bytes>,
    phase: Phase,
}

impl Socket {
    /// Reads what has come, as far as the session takes it.
    fn read(&mut self, cx: &mut Context<'_>) {
        while self.phase == Phase::Open && self.pipe.poll_room(self.generation, cx).is_ready() {
            if self.unread.is_empty() {
                match Pin::new(&mut self.payload).poll_next(cx) {
                    Poll::Pending => return,
                    Poll::Ready(Some(Ok(chunk))) => self.unread = chunk,
                    Poll::Ready(Some(Err(_)) | None) => {
                        self.report(CloseReason::TransportClose);
                        self.phase = Phase::Done;
                        return;
                    }
                }
            }
            self.decode();
            if !self.unread.is_empty() {
                // Much was inflated: others first.
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    fn decode(&mut self) {
        let chunk = std::mem::take(&mut self.unread);
        let mut inbound = SmallVec::<[Inbound; 4]>::new();
        let mut closing = None;
        let control = &mut self.control;
        let fed = self.decoder.feed(&chunk, &mut |message| match message {
            Message::Text(text) => inbound.push(match Packet::decode_text(text) {
                Ok(packet) => Inbound::Packet(packet),
                Err(_) => Inbound::Closed(CloseReason::ParseError),
            }),
            Message::Binary(data) => {
                inbound.push(Inbound::Packet(Packet::Message(packet::Message::Binary(data))));
            }
            Message::Ping(data) => control.push_back(frame::pong(&data)),
            Message::Pong(_) => {}
            Message::Close(close) => {
                inbound.push(Inbound::Closed(CloseReason::TransportClose));
                closing = Some(frame::close(close.map_or(NO_CODE, |close| close.code), ""));
            }
        });
        match fed {
            // What is taken is let go: it is a part of actix-http's buffer.
            Ok(taken) if taken == chunk.len() => {}
            Ok(taken) => self.unread = chunk.slice(taken..),
            Err(error) => {
                debug!(%error, "websocket refused");
                inbound.push(Inbound::Closed(CloseReason::TransportError));
                closing = Some(frame::close(error.close_code(), ""));
            }
        }
        self.pipe.receive(self.generation, inbound.into_iter());
        if let Some(frame) = closing {
            self.phase = Phase::Closing(frame);
        }
    }

    /// The next frame that the session sends, as it goes on the wire, or the code to close with.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, u16>> {
        let Self { pipe, generation, outgoing, .. } = self;
        match outgoing {
            None => pipe.poll_frame(*generation, cx).map_ok(Frame::websocket),
            Some(outgoing) => outgoing.poll(cx, |cx| pipe.poll_frame(*generation, cx)),
        }
    }

    fn report(&self, reason: CloseReason) {
        self.pipe.receive(self.generation, std::iter::once(Inbound::Closed(reason)));
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
        if let Some(pong) = this.control.pop_front() {
            return Poll::Ready(Some(Ok(pong)));
        }
        match std::mem::replace(&mut this.phase, Phase::Done) {
            Phase::Done => return Poll::Ready(None),
            Phase::Closing(frame) => return Poll::Ready(Some(Ok(frame))),
            Phase::Open => {}
        }
        match this.poll_frame(cx) {
            Poll::Pending => {
                this.phase = Phase::Open;
                Poll::Pending
            }
            Poll::Ready(Ok(frame)) => {
                this.phase = Phase::Open;
                Poll::Ready(Some(Ok(frame)))
            }
            // An ordinary end carries no code, as `ws` does it.
            Poll::Ready(Err(1000)) => Poll::Ready(Some(Ok(frame::close(NO_CODE, "")))),
            Poll::Ready(Err(code)) => Poll::Ready(Some(Ok(frame::close(code, "")))),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Says nothing new if the end was reported before.
        self.report(CloseReason::TransportClose);
    }
}
