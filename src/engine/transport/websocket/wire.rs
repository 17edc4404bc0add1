//! The bytes of one WebSocket, whoever speaks on it: reading and inflating, answering pings, closing.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix_web::{body::BodySize, dev::Payload};
use bytes::Bytes;
use futures_util::Stream;
use tokio::task::yield_now;
use tracing::debug;

use super::{NO_CODE, Setup, ending::Ending, outgoing::Outgoing};
use crate::engine::{
    frame::Frame,
    packet::Message,
    transport::{
        deflate::Terms,
        frame::{self, Decoder, Partial},
    },
};

/// Bytes of an unfinished message from which on it is worth the trouble to keep it elsewhere.
const PARKED: usize = 16 * 1024;

/// The size of a WebSocket's response body. A body that ends where its size says goes on with a
/// request that is not read to its end, and then actix-http waits for the client; one that ends
/// before that is an I/O error, on which actix-http drops the connection, saying nothing. A status 101
/// has no `Content-Length`: no client sees this.
pub(super) const SIZE: BodySize = BodySize::Sized(u64::MAX);

/// Control frames that are taken before others have their turn. Neither they nor their answers wait
/// anywhere, so nothing else holds up who sends nothing but those.
const CONTROLS: u32 = 1024;

/// Bytes that are read before others have their turn. actix-http hands over hundreds of kilobytes at once when
/// it is behind, and a runtime looks for what has come for others only every 61 turns.
const PORTION: usize = 64 * 1024;

/// How many bytes a socket that the system has accepted takes at once, whatever its client reads.
const CERTAIN: u32 = 4096;

/// See the module's description.
pub(super) struct Wire {
    payload: Payload,
    decoder: Decoder,
    /// What the decoder has not taken yet.
    unread: Bytes,
    /// Nothing comes behind that.
    ended: bool,
    /// Only where compression was agreed on.
    outgoing: Option<Box<Outgoing>>,
    /// Pongs, which go before what waits, all in one.
    pongs: Vec<u8>,
    /// Control frames that came since others had their turn.
    controls: u32,
    drains: bool,
    /// What came of a message is elsewhere, or lost: what follows cannot be read without it.
    detached: bool,
    /// Whether something was handed out in this turn.
    wrote: bool,
    /// Bytes handed out since a turn without any.
    recent: u32,
    phase: Phase,
}

enum Phase {
    Open,
    /// Nothing more is read; the close frame goes out behind the control frames.
    Closing(Bytes, Ending),
    /// Both have said goodbye, or the client is waited for.
    Ending(Ending),
    Done,
}

/// Frames that complete no message: pings, pongs, all but the last of a message in several.
#[derive(Clone, Copy, Default)]
pub(super) struct Aside {
    pub(super) frames: u32,
    /// Of pings and pongs; those of messages come with the message.
    pub(super) bytes: u32,
}

impl Aside {
    fn control(&mut self, data: &Bytes) {
        self.frames += 1;
        self.bytes += data.len() as u32;
    }
}

/// What has come of a client.
pub(super) enum Read {
    /// Messages, which were handed over, and what is none. `pause` says that others should have their
    /// turn before more is read.
    Messages { pause: bool, aside: Aside },
    /// Messages, and then the client's close frame.
    Closed,
    /// Messages, and then something that no client may send.
    Refused,
    /// The connection has ended.
    End,
}

/// Wakes this when the runtime has looked what has come for others.
pub(super) fn after_others(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

impl Wire {
    pub(super) fn new(payload: Payload, setup: &Setup, terms: Option<Terms>) -> Self {
        let mut decoder = Decoder::new(setup.max_message);
        let mut outgoing = None;
        if let (Some(terms), Some(deflation)) = (terms, &setup.deflation) {
            decoder = decoder.inflating(terms.client_takeover);
            outgoing = Some(Box::new(Outgoing::new(terms, Arc::clone(deflation))));
        }
        Self {
            payload,
            decoder,
            unread: Bytes::new(),
            ended: false,
            outgoing,
            pongs: Vec::new(),
            controls: 0,
            drains: false,
            detached: false,
            wrote: false,
            recent: 0,
            phase: Phase::Open,
        }
    }

    /// Writes what waits before a close frame that answers the client's.
    pub(super) fn draining(mut self) -> Self {
        self.drains = true;
        self
    }

    /// Says nothing but goodbye, without a code.
    pub(super) fn closing(mut self) -> Self {
        self.phase = Phase::Closing(frame::close(NO_CODE, ""), Ending::unanswered());
        self
    }

    /// Whether more may be read.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether its pongs have to be written before more is read.
    pub(super) fn owes_pongs(&self) -> bool {
        !self.pongs.is_empty()
    }

    /// Pending, once, if others should have their turn before anything else is done, because of what
    /// came.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.controls < CONTROLS || !self.pongs.is_empty() {
            return Poll::Ready(());
        }
        self.controls = 0;
        after_others(cx);
        Poll::Pending
    }

    /// Ready when there is something to [read](Self::read).
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unread.is_empty() && !self.ended {
            // actix-http polls the body whenever it has given something to the payload of the request:
            // to be woken for that as well would make it look twice.
            let mut unheard = Context::from_waker(Waker::noop());
            let cx = match self.payload {
                Payload::H1 { .. } => &mut unheard,
                _ => &mut *cx,
            };
            match std::task::ready!(Pin::new(&mut self.payload).poll_next(cx)) {
                Some(Ok(chunk)) => self.unread = chunk,
                Some(Err(_)) | None => self.ended = true,
            }
        }
        Poll::Ready(())
    }

    /// Reads one portion and hands over the messages in it.
    pub(super) fn read(&mut self, take: impl FnMut(Message)) -> Read {
        if self.unread.is_empty() && self.ended {
            self.phase = Phase::Done;
            return Read::End;
        }
        self.decode(take)
    }

    /// Bytes that have come and were not read.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Takes out what has come of a large message that is not complete.
    pub(super) fn detach(&mut self) -> Option<Box<Partial>> {
        let partial = self.decoder.detach(PARKED);
        self.detached |= partial.is_some();
        partial
    }

    /// Puts that back before more is [read](Self::read).
    pub(super) fn attach(&mut self, partial: Box<Partial>) {
        self.detached = false;
        self.decoder.attach(partial);
    }

    /// Bytes of unfinished messages.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.decoder.held()
    }

    fn decode(&mut self, mut take: impl FnMut(Message)) -> Read {
        let chunk = std::mem::take(&mut self.unread);
        let mut closing = None;
        let mut aside = Aside::default();
        let (pongs, controls) = (&mut self.pongs, &mut self.controls);
        let portion = &chunk[..chunk.len().min(PORTION)];
        let fed = self.decoder.feed(portion, &mut |message| match message {
            frame::Message::Text(text) => take(Message::Text(text)),
            frame::Message::Binary(data) => take(Message::Binary(data)),
            frame::Message::Ping(data) => {
                *controls += 1;
                aside.control(&data);
                frame::pong(&data, pongs);
            }
            frame::Message::Pong(data) => {
                *controls += 1;
                aside.control(&data);
            }
            frame::Message::Close(close) => {
                closing = Some(frame::close(close.map_or(NO_CODE, |close| close.code), ""));
            }
        });
        aside.frames += self.decoder.take_fragments();
        match (fed, closing) {
            (Err(error), _) => {
                debug!(%error, "websocket refused");
                self.phase =
                    Phase::Closing(frame::close(error.close_code(), ""), Ending::refused());
                Read::Refused
            }
            (Ok(_), Some(close)) => {
                self.phase = Phase::Closing(close, Ending::answered());
                Read::Closed
            }
            (Ok(taken), None) => {
                // What is taken is let go: it is a part of actix-http's buffer.
                if taken < chunk.len() {
                    self.unread = chunk.slice(taken..);
                }
                Read::Messages { pause: !self.unread.is_empty(), aside }
            }
        }
    }

    /// The next bytes to write: control frames, then what `next` hands out, until that is the code to
    /// close with. Ready with nothing when the connection is to be closed: what is not written by then
    /// is lost.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut Context<'_>) -> Poll<Result<Frame, u16>>,
    ) -> Poll<Option<Bytes>> {
        let written = self.poll_bytes(cx, next);
        match &written {
            Poll::Ready(Some(bytes)) => {
                self.wrote = true;
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.recent = self.recent.saturating_add(length);
            }
            Poll::Pending if !std::mem::take(&mut self.wrote) => self.recent = 0,
            Poll::Pending | Poll::Ready(None) => {}
        }
        written
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Result<Frame, u16>>,
    ) -> Poll<Option<Bytes>> {
        if !self.pongs.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.pongs).into()));
        }
        match &mut self.phase {
            Phase::Done => return Poll::Ready(None),
            Phase::Ending(ending) => {
                let decoder = &mut self.decoder;
                let ended = ending.poll(cx, &mut self.payload, decoder, &mut self.unread);
                std::task::ready!(ended);
                self.phase = Phase::Done;
                return Poll::Ready(None);
            }
            Phase::Closing(..) if !self.drains => return Poll::Ready(self.close(1000)),
            Phase::Closing(..) | Phase::Open => {}
        }
        let written = match &mut self.outgoing {
            None => next(cx).map_ok(Frame::websocket),
            Some(outgoing) => outgoing.poll(cx, next),
        };
        written.map(|written| written.map_or_else(|code| self.close(code), Some))
    }

    /// The close frame: the one that was agreed on, or one with this code.
    fn close(&mut self, code: u16) -> Option<Bytes> {
        let (frame, mut ending) = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Closing(frame, ending) => (frame, ending),
            _ => {
                // An ordinary end carries no code, as `ws` does it.
                let code = if code == 1000 { NO_CODE } else { code };
                let unread = self.detached;
                let ending = if unread { Ending::refused() } else { Ending::unanswered() };
                (frame::close(code, ""), ending)
            }
        };
        ending.certain = self.recent <= CERTAIN;
        self.phase = Phase::Ending(ending);
        Some(frame)
    }
}
