//! What a client that has agreed to compression is sent: frames in, bytes of the wire out.
//!
//! Small messages are compressed where they are handed out. One that would keep the worker for more
//! than about a millisecond is compressed on a thread for blocking work; the messages behind it wait.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::setup::Deflation;
use crate::engine::{
    frame::{Claim, Frame, Job, Underway},
    transport::deflate::{Deflater, Strength, Terms, deflate_alone},
};

/// The largest message that is compressed on the worker.
const LARGE: usize = 64 * 1024;

/// Bytes that are compressed for one client before others have their turn.
const TURN: usize = 256 * 1024;

/// The sending side of one WebSocket.
pub(super) struct Outgoing {
    terms: Terms,
    strength: Strength,
    deflation: Arc<Deflation>,
    /// Only with context takeover, from the first message on.
    deflater: Option<Deflater>,
    waiting: Option<Waiting>,
    /// Bytes that were compressed in this turn.
    spent: usize,
}

/// The frame that everything behind it waits for.
enum Waiting {
    /// Being compressed for another receiver.
    Other(Frame, Underway),
    /// Being compressed on another thread; the compressor comes back with it.
    Thread(Frame, JoinHandle<(Option<Deflater>, Option<Bytes>)>),
}

impl Outgoing {
    pub(super) fn new(terms: Terms, deflation: Arc<Deflation>) -> Self {
        let strength = deflation.options.strength(terms.window_bits);
        Self { terms, strength, deflation, deflater: None, waiting: None, spent: 0 }
    }

    /// The bytes of the next frame that `next` hands out, or the code to close with.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Result<Frame, u16>>,
    ) -> Poll<Result<Bytes, u16>> {
        loop {
            if self.waiting.is_some() {
                match ready!(self.poll_waiting(cx)) {
                    Some(bytes) => return Poll::Ready(Ok(bytes)),
                    None => continue,
                }
            }
            if self.spent >= TURN {
                self.spent = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Poll::Ready(frame) = next(cx) else {
                self.spent = 0;
                return Poll::Pending;
            };
            if let Some(bytes) = self.compress(frame?) {
                return Poll::Ready(Ok(bytes));
            }
        }
    }

    /// What was waited for; ready with nothing if it has to be waited for again.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
        let outcome = match waiting {
            Waiting::Other(_, underway) => {
                let bytes = ready!(Pin::new(underway).poll(cx));
                // Whoever was at it may have left: this receiver asks again.
                bytes.ok()
            }
            Waiting::Thread(_, thread) => {
                // A thread that failed has no compressor to give back: the next one starts anew, which
                // the client does not notice.
                let done = ready!(Pin::new(thread).poll(cx));
                let (deflater, bytes) = done.unwrap_or_default();
                self.deflater = deflater.filter(|_| bytes.is_some());
                bytes
            }
        };
        let waiting = self.waiting.take();
        Poll::Ready(match (outcome, waiting) {
            (Some(bytes), _) => Some(bytes),
            (None, Some(Waiting::Other(frame, _))) => self.compress(frame),
            (None, Some(Waiting::Thread(frame, _))) => Some(frame.websocket()),
            (None, None) => None,
        })
    }

    /// The bytes of a frame; `None` if they have to be waited for.
    fn compress(&mut self, frame: Frame) -> Option<Bytes> {
        let length = frame.packet().len();
        // An empty message is sent as it is: there is nothing to flush.
        let worth = length > 0 && length >= self.deflation.options.least();
        if !(frame.compress() && worth) {
            return Some(frame.websocket());
        }
        if self.terms.server_takeover {
            return self.compress_in_context(frame);
        }
        match &frame {
            Frame::Own(_) => self.compress_alone(frame, None),
            Frame::Shared(shared) => match shared.claim(self.terms.window_bits) {
                Claim::Done(bytes) => Some(bytes),
                Claim::Wait(underway) => {
                    self.waiting = Some(Waiting::Other(frame, underway));
                    None
                }
                Claim::Work(job) => self.compress_alone(frame, Some(job)),
            },
        }
    }

    /// Compresses a message that may refer to those before it.
    fn compress_in_context(&mut self, frame: Frame) -> Option<Bytes> {
        self.count(&frame);
        let strength = self.strength;
        let mut deflater = self.deflater.take().unwrap_or_else(|| Deflater::new(strength));
        if frame.packet().len() > LARGE {
            let work = frame.clone();
            let thread = spawn_blocking(move || {
                let bytes = deflater.frame(work.opcode(), work.packet());
                (Some(deflater), bytes)
            });
            self.waiting = Some(Waiting::Thread(frame, thread));
            return None;
        }
        let bytes = deflater.frame(frame.opcode(), frame.packet());
        self.deflater = Some(deflater).filter(|_| bytes.is_some());
        Some(bytes.unwrap_or_else(|| frame.websocket()))
    }

    /// Compresses a message that stands for itself, and hands it to those who wait for the job.
    fn compress_alone(&mut self, frame: Frame, job: Option<Job>) -> Option<Bytes> {
        self.count(&frame);
        let strength = self.strength;
        if frame.packet().len() > LARGE {
            let work = frame.clone();
            let thread = spawn_blocking(move || {
                let bytes = Deflater::new(strength).frame(work.opcode(), work.packet());
                tell(job, bytes.as_ref());
                (None, bytes)
            });
            self.waiting = Some(Waiting::Thread(frame, thread));
            return None;
        }
        let bytes = deflate_alone(strength, frame.opcode(), frame.packet());
        tell(job, bytes.as_ref());
        Some(bytes.unwrap_or_else(|| frame.websocket()))
    }

    fn count(&mut self, frame: &Frame) {
        let length = frame.packet().len();
        if length <= LARGE {
            self.spent += length;
        }
        self.deflation.metrics.messages_deflated.increment();
    }
}

fn tell(job: Option<Job>, bytes: Option<&Bytes>) {
    if let (Some(job), Some(bytes)) = (job, bytes) {
        job.finish(bytes.clone());
    }
}
