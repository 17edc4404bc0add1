//! Frames ↔ packets: a session on a WebSocket. The one file that names actix_web_actors.
//!
//! The response body is the socket: each time actix-http polls it, it reads what has come and
//! hands out what waits. While the client does not read, actix-http does not poll the body, and
//! then nothing more is read from that client either.

use std::{
    collections::VecDeque,
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
use futures_util::Stream;
use smallvec::SmallVec;
use tracing::debug;

use super::frame::{self, Decoder, Message};
use crate::engine::{
    dialect::{Revision, asks_for_base64},
    frame::Frame,
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
    max_message: usize,
) -> Result<HttpResponse, HandshakeError> {
    let mut response = shake_hands(req)?;
    let query = form_urlencoded::parse(req.query_string().as_bytes());
    let base64 = query.filter(|(name, _)| name == "b64").last().map(|(_, value)| value);
    Ok(response.body(Socket {
        base64: asks_for_base64(base64.as_deref()),
        pipe,
        generation,
        payload,
        decoder: Decoder::new(max_message),
        control: VecDeque::new(),
        phase: Phase::Open,
    }))
}

/// Accepts the request and closes the WebSocket at once, as the reference answers an upgrade that
/// comes too late.
pub(crate) fn accept_and_close(req: &HttpRequest) -> Result<HttpResponse, HandshakeError> {
    let mut response = shake_hands(req)?;
    Ok(response.body(frame::close(NO_CODE, "")))
}

/// Whether the request can become a WebSocket at all.
pub(crate) fn check(req: &HttpRequest) -> Result<(), HandshakeError> {
    shake_hands(req).map(drop)
}

/// The answer to the handshake. Of the subprotocols that a client offers the first is chosen: the
/// protocol above does not depend on it, and a browser fails if none is.
fn shake_hands(req: &HttpRequest) -> Result<HttpResponseBuilder, HandshakeError> {
    if req.headers().get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "7") {
        // A draft that nothing speaks any more.
        return Err(HandshakeError::UnsupportedVersion);
    }
    if req.headers().get(header::SEC_WEBSOCKET_KEY).is_some_and(|key| !is_key(key.as_bytes())) {
        return Err(HandshakeError::BadWebsocketKey);
    }
    let offered = req.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = offered.split(',').next().unwrap_or_default().trim();
    ws::handshake_with_protocols(
        req,
        if first.is_empty() { &[] } else { std::slice::from_ref(&first) },
    )
}

/// 16 bytes in base64 (RFC 6455, 4.1); which ones, nobody looks.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|key| key.len() == 22 && key.iter().all(digit))
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
    /// In revision 3: its own request asks for binary data as text.
    base64: bool,
    generation: Generation,
    payload: Payload,
    decoder: Decoder,
    /// Pongs, which go before what waits.
    control: VecDeque<Bytes>,
    phase: Phase,
}

impl Socket {
    /// Reads what has come, as far as the session takes it.
    fn read(&mut self, cx: &mut Context<'_>) {
        while self.phase == Phase::Open && self.pipe.poll_room(self.generation, cx).is_ready() {
            match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(chunk))) => self.decode(&chunk),
                Poll::Ready(Some(Err(_)) | None) => {
                    self.report(CloseReason::TransportClose);
                    self.phase = Phase::Done;
                }
            }
        }
    }

    fn decode(&mut self, chunk: &[u8]) {
        let mut inbound = SmallVec::<[Inbound; 4]>::new();
        let mut closing = None;
        let revision = self.pipe.dialect().revision;
        let control = &mut self.control;
        let fed = self.decoder.feed(chunk, &mut |message| match message {
            Message::Text(text) => inbound.push(revision.text(text).into()),
            Message::Binary(data) => inbound.push(Inbound::Packet(revision.binary(data))),
            Message::Ping(data) => control.push_back(frame::pong(&data)),
            Message::Pong(_) => {}
            Message::Close(close) => {
                inbound.push(Inbound::Closed(CloseReason::TransportClose));
                closing = Some(frame::close(close.map_or(NO_CODE, |close| close.code), ""));
            }
        });
        if let Err(error) = fed {
            debug!(%error, "websocket refused");
            inbound.push(Inbound::Closed(CloseReason::TransportError));
            closing = Some(frame::close(error.close_code(), ""));
        }
        self.pipe.receive(self.generation, inbound.into_iter());
        if let Some(frame) = closing {
            self.phase = Phase::Closing(frame);
        }
    }

    fn encode(&self, frame: Frame) -> Bytes {
        match self.pipe.dialect().revision {
            Revision::Three => frame.websocket_revision3(self.base64),
            Revision::Four => frame.websocket(),
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
        match this.pipe.poll_frame(this.generation, cx) {
            Poll::Pending => {
                this.phase = Phase::Open;
                Poll::Pending
            }
            Poll::Ready(Ok(frame)) => {
                this.phase = Phase::Open;
                Poll::Ready(Some(Ok(this.encode(frame))))
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
