//! Frames ↔ packets: a session on a WebSocket. The one file that names actix_web_actors.
//!
//! The response body is the socket: each time actix-http polls it, it reads what has come and
//! hands out what waits. While the client does not read, actix-http does not poll the body, and
//! then nothing more is read from that client either.

mod bare;
mod ending;
mod goodbye;
mod outgoing;
mod setup;
mod wire;

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    dev::Payload,
    http::{Method, header},
};
use actix_web_actors::ws::{self, HandshakeError};
use bytes::Bytes;
use smallvec::SmallVec;

pub use self::bare::bare_websocket;
pub(crate) use self::setup::Setup;
use self::{
    goodbye::Goodbye,
    wire::{Aside, Read, SIZE, Wire, after_others},
};
use super::deflate::{Terms, Unacceptable};
use crate::engine::{
    Transport,
    dialect::{Revision, asks_for_base64},
    frame::Frame,
    link::Turn,
    packet::Message,
    pipe::{Generation, Inbound, Pipe, SLICE},
    queue::Queue,
    session::CloseReason,
};

/// Says that a close frame carries no code (RFC 6455, 7.4.1).
const NO_CODE: u16 = 1005;

/// Bytes that a WebSocket takes out of the outbox at once. As actix-http writes them about as much at a
/// time, no more than that much is out of the outbox and not on its way.
const BURST: usize = 32 * 1024;

/// Times that others have their turn before answers are written behind which more is expected: an operation
/// of a listener passes its namespace and its room actor, who [gather](crate::engine::supervision) as well.
const LINGERING: u8 = 4;

/// Accepts the request as a WebSocket that carries the session's bytes. `session` is that session if
/// it lives on this thread.
pub(crate) fn accept(
    req: &HttpRequest,
    payload: Payload,
    pipe: Pipe,
    generation: Generation,
    session: Option<Rc<dyn Turn>>,
    setup: &Setup,
) -> Result<HttpResponse, Rejected> {
    let (mut response, terms) = agree(req, setup)?;
    pipe.begin_body();
    Ok(response.body(Socket {
        wire: Wire::new(payload, setup, terms),
        base64: pipe.dialect().revision == Revision::Three && wants_base64(req),
        pipe,
        session,
        ready: Queue::default(),
        parked: Parked::Nothing,
        slicing: false,
        lingered: 0,
        generation,
    }))
}

/// Accepts the request and closes the WebSocket at once, as the reference answers an upgrade that
/// comes too late.
pub(crate) fn accept_and_close(
    req: &HttpRequest,
    payload: Payload,
    setup: &Setup,
) -> Result<HttpResponse, Rejected> {
    let (mut response, terms) = agree(req, setup)?;
    Ok(response.body(Goodbye::new(Wire::new(payload, setup, terms))))
}

/// Whether the request can become a WebSocket at all.
pub(crate) fn check(req: &HttpRequest, setup: &Setup) -> Result<(), Rejected> {
    verify(req)?;
    setup.negotiate(req)?;
    Ok(())
}

/// In revision 3: the request asks for binary data as text.
fn wants_base64(req: &HttpRequest) -> bool {
    let query = form_urlencoded::parse(req.query_string().as_bytes());
    let base64 = query.filter(|(name, _)| name == "b64").last().map(|(_, value)| value);
    asks_for_base64(base64.as_deref())
}

/// Why a request cannot become a WebSocket: status 400.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Extensions(#[from] Unacceptable),
}

impl Rejected {
    /// The response to the request, without a body.
    pub(crate) fn response(&self) -> HttpResponseBuilder {
        use HandshakeError::{NoVersionHeader, UnsupportedVersion};
        let mut response = HttpResponse::BadRequest();
        response.force_close();
        if matches!(self, Self::Handshake(NoVersionHeader | UnsupportedVersion)) {
            // RFC 6455, 4.4: the client may try again with one of these.
            response.insert_header((header::SEC_WEBSOCKET_VERSION, "13, 8"));
        }
        response
    }
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
    verify(req)?;
    let offered = req.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = offered.split(',').next().unwrap_or_default().trim();
    ws::handshake_with_protocols(
        req,
        if first.is_empty() { &[] } else { std::slice::from_ref(&first) },
    )
}

/// RFC 6455, 4.2.1, with the versions that speak the same frames.
fn verify(req: &HttpRequest) -> Result<(), HandshakeError> {
    // As in the reference. With a list of protocols actix-http takes the request for an ordinary one,
    // and nothing that comes after it would be read.
    let upgrade = req.headers().get(header::UPGRADE).map(|value| value.as_bytes().trim_ascii());
    if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeError::NoWebsocketUpgrade);
    }
    if *req.method() != Method::GET {
        return Err(HandshakeError::GetMethodRequired);
    }
    if !req.head().upgrade() {
        return Err(HandshakeError::NoConnectionUpgrade);
    }
    let version = req.headers().get(header::SEC_WEBSOCKET_VERSION);
    // 7 is a draft that nothing speaks any more.
    if !matches!(version.ok_or(HandshakeError::NoVersionHeader)?.as_bytes(), b"13" | b"8") {
        return Err(HandshakeError::UnsupportedVersion);
    }
    if !req.headers().get(header::SEC_WEBSOCKET_KEY).is_some_and(|key| is_key(key.as_bytes())) {
        return Err(HandshakeError::BadWebsocketKey);
    }
    Ok(())
}

/// 16 bytes in base64 (RFC 6455, 4.1); which ones, nobody looks.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|key| key.len() == 22 && key.iter().all(digit))
}

struct Socket {
    wire: Wire,
    pipe: Pipe,
    /// If it lives on this thread.
    session: Option<Rc<dyn Turn>>,
    /// Taken out of the outbox, and sent next.
    ready: Queue<Frame>,
    /// In revision 3: its own request asks for binary data as text.
    base64: bool,
    parked: Parked,
    /// The pipe has the rest of the frame that was handed out last.
    slicing: bool,
    /// Times it let others have their turn since it wrote.
    lingered: u8,
    generation: Generation,
}

/// What has come of a large message, between two times that this is polled: the pipe keeps it, so that
/// it goes with the session even if the client reads nothing and this is never polled again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Parked {
    Nothing,
    Message,
    /// It was forgotten: nothing more can be read.
    Lost,
}

impl Socket {
    /// Reads what has come, as far as the session takes it, and lets the session work.
    fn read(&mut self, cx: &mut Context<'_>) {
        let revision = self.pipe.dialect().revision;
        let mut handed_in = false;
        while self.parked != Parked::Lost
            && self.wire.is_open()
            && !self.wire.owes_pongs()
            && self.wire.poll_input(cx).is_ready()
            && self.pipe.poll_room(self.generation, cx).is_ready()
        {
            if self.parked == Parked::Message {
                let Some(partial) = self.pipe.unpark(self.generation) else {
                    self.parked = Parked::Lost;
                    break;
                };
                self.parked = Parked::Nothing;
                self.wire.attach(partial);
            }
            let mut inbound = SmallVec::<[Inbound; 4]>::new();
            let unread = self.wire.unread();
            let read = self.wire.read(|message| {
                inbound.push(match message {
                    Message::Text(text) => revision.text(text).into(),
                    Message::Binary(data) => Inbound::Packet(revision.binary(data)),
                });
            });
            let taken = unread - self.wire.unread();
            self.pipe.metrics().meters.received(Transport::WebSocket, taken);
            if let Some(partial) = self.wire.detach() {
                self.parked = Parked::Message;
                self.pipe.park(self.generation, partial);
            }
            match read {
                Read::Messages { aside: Aside { frames: 0, .. }, .. } => {}
                Read::Messages { aside: Aside { frames, bytes }, .. } => {
                    inbound.push(Inbound::Aside { frames, bytes });
                }
                Read::Closed | Read::End => {
                    inbound.push(Inbound::Closed(CloseReason::TransportClose));
                }
                Read::Refused => inbound.push(Inbound::Closed(CloseReason::TransportError)),
            }
            if self.session.is_some() {
                handed_in |= self.pipe.hand_in(self.generation, inbound.into_iter());
            } else {
                self.pipe.receive(self.generation, inbound.into_iter());
            }
            if let Read::Messages { pause: true, .. } = read {
                after_others(cx);
                break;
            }
        }
        if handed_in && !self.session.as_ref().is_some_and(|session| session.take()) {
            self.pipe.nudge();
        }
    }

    /// Whether it may put off writing, for what a listener has sent to be joined with what comes of its
    /// operations.
    fn may_linger(&self) -> bool {
        self.lingered < LINGERING
            && self.ready.is_empty()
            && self.session.is_some()
            && self.wire.is_open()
            && !self.wire.owes_pongs()
    }

    /// More of a large frame. Nothing if the rest was given up: the connection cannot go on.
    fn next_slice(&mut self) -> Option<Bytes> {
        let (bytes, more) = self.pipe.next_slice(self.generation)?;
        self.slicing = more;
        self.pipe.metrics().meters.sent(Transport::WebSocket, bytes.len());
        Some(bytes)
    }
}

impl MessageBody for Socket {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        SIZE
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = &mut *self;
        if this.slicing {
            return Poll::Ready(this.next_slice().map(Ok));
        }
        ready!(this.wire.poll_turn(cx));
        if this.ready.is_empty() {
            this.read(cx);
        }
        if this.may_linger() && this.pipe.expects_more(this.generation) {
            this.lingered += 1;
            after_others(cx);
            return Poll::Pending;
        }
        this.lingered = 0;
        let Self { wire, pipe, base64, generation, ready, slicing, .. } = this;
        let revision = pipe.dialect().revision;
        let next = |cx: &mut Context<'_>| {
            if ready.is_empty() {
                match pipe.poll_frames(*generation, cx, BURST, ready) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => ready.trim(),
                }
            }
            let Some(frame) = ready.pop() else { return Poll::Pending };
            Poll::Ready(Ok(match revision {
                Revision::Three => frame.into_revision3(*base64),
                Revision::Four => frame,
            }))
        };
        let mut written = wire.poll_write(cx, next);
        if let Poll::Ready(Some(bytes)) = &mut written {
            if bytes.len() > SLICE {
                pipe.keep_rest(*generation, bytes.split_off(SLICE));
                *slicing = true;
            }
            pipe.metrics().meters.sent(Transport::WebSocket, bytes.len());
        }
        written.map(|bytes| bytes.map(Ok))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Says nothing new if the end was reported before.
        let closed = std::iter::once(Inbound::Closed(CloseReason::TransportClose));
        self.pipe.receive(self.generation, closed);
        self.pipe.end_body();
    }
}

#[cfg(test)]
mod tests;
