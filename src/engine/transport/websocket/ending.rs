//! The end of a WebSocket whose close frame has been handed out: when the connection is dropped.
//!
//! A server closes the connection as soon as both close frames are sent (RFC 6455, 7.1.1). A body
//! is not told whether actix-http has written what it got, so it takes the signs there are: one turn
//! of actix-http's loop writes what the system takes, and a client that answers has read.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::dev::Payload;
use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};

use crate::engine::transport::frame::{Decoder, Message};

/// How long a client is waited for that does not answer the server's close frame.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to read what is left, if nothing else is waited for: what the system has room
/// for is written long before. Clients that have closed give a server a second to end the connection.
pub(super) const REST_TIMEOUT: Duration = Duration::from_millis(800);

/// How long all of it may take: either time starts anew when the client may have read something.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// See the module's description.
pub(super) struct Ending {
    /// Whether the client's close frame has come.
    answered: bool,
    /// Whether what comes is no sequence of frames any more.
    garbled: bool,
    /// Whether all that was handed out is written in one turn.
    pub(super) certain: bool,
    /// Whether something has come in this turn.
    heard: bool,
    /// From the first poll on: before that there is more to be written than actix-http keeps ready.
    timeout: Option<Pin<Box<Sleep>>>,
    /// When it is over in any case, once there is a timeout.
    last: Instant,
}

impl Ending {
    /// The server closes.
    pub(super) fn unanswered() -> Self {
        let last = Instant::now();
        Self { answered: false, garbled: false, certain: false, heard: false, timeout: None, last }
    }

    /// The client has closed.
    pub(super) fn answered() -> Self {
        Self { answered: true, ..Self::unanswered() }
    }

    /// The client has sent what it may not, and may be about to send more. Were that left unread, the
    /// system would reset the connection, and the client might not see why.
    pub(super) fn refused() -> Self {
        Self { garbled: true, ..Self::unanswered() }
    }

    /// Ready when the connection is to be dropped.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        payload: &mut Payload,
        decoder: &mut Decoder,
        unread: &mut Bytes,
    ) -> Poll<()> {
        self.heard = false;
        if self.poll_read(cx, payload, decoder, unread).is_ready() {
            return Poll::Ready(());
        }
        let finished = self.answered && self.certain;
        let waits_for_answer = !self.answered && !self.garbled;
        let patience = if waits_for_answer { ANSWER_TIMEOUT } else { REST_TIMEOUT };
        let Some(timeout) = &mut self.timeout else {
            if finished {
                cx.waker().wake_by_ref();
            }
            self.last = Instant::now() + LONGEST;
            let mut timeout = Box::pin(sleep(patience));
            // It has not begun long ago enough to have ended.
            let _ = timeout.as_mut().poll(cx);
            self.timeout = Some(timeout);
            return Poll::Pending;
        };
        if finished || timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.heard {
            // Nothing has come, so perhaps the client has read something, and actix-http has written more.
            timeout.as_mut().reset((Instant::now() + patience).min(self.last));
            let _ = timeout.as_mut().poll(cx);
        }
        Poll::Pending
    }

    /// Looks for the client's close frame; all else goes unheard. Ready at the end of the stream.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        payload: &mut Payload,
        decoder: &mut Decoder,
        unread: &mut Bytes,
    ) -> Poll<()> {
        loop {
            if unread.is_empty() {
                match std::task::ready!(Pin::new(&mut *payload).poll_next(cx)) {
                    Some(Ok(chunk)) => *unread = chunk,
                    Some(Err(_)) | None => return Poll::Ready(()),
                }
            }
            self.heard = true;
            if self.answered || self.garbled {
                *unread = Bytes::new();
                continue;
            }
            let answered = &mut self.answered;
            let fed = decoder.feed(unread, &mut |message| {
                *answered |= matches!(message, Message::Close(_));
            });
            match fed {
                Ok(taken) if taken < unread.len() => {
                    // Others have their turn before more is inflated.
                    unread.advance(taken);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(_) => {
                    *unread = Bytes::new();
                    // It was read, unless it crossed the server's.
                    self.certain |= self.answered && self.timeout.is_some();
                }
                Err(_) => self.garbled = true,
            }
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests;
