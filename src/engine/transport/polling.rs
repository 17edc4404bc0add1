//! HTTP long-polling: one GET that waits, one POST that brings packets.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{Either, select},
};
use tokio::sync::oneshot;
use tracing::debug;

use crate::engine::{
    Transport,
    compression::Encoding,
    frame::Frame,
    pipe::{Generation, Inbound, Pipe, Refused, SLICE, Taken},
    session::CloseReason,
};
use crate::metrics::Metrics;

/// Largest body that is compressed on the worker itself, in bytes; it takes well under a
/// millisecond. Others are compressed by threads that no client waits for.
const INLINE_COMPRESSION: usize = 16 * 1024;

/// Answers with what the session has to say, as soon as it has something.
///
/// Bodies of `compression` bytes or more are compressed, if that is allowed and understood.
pub(crate) async fn receive(
    req: &HttpRequest,
    pipe: Pipe,
    compression: Option<usize>,
) -> HttpResponse {
    let generation = match pipe.begin_poll() {
        Ok(generation) => generation,
        Err(refused) => return refuse(&pipe, refused),
    };
    let mut waiting = Underway { pipe: &pipe, completed: false };
    let frames = poll_fn(|cx| pipe.poll_body(generation, cx)).await;
    let compression = compression.filter(|_| frames.iter().any(Frame::compress));
    let body = pipe.dialect().body(&frames);
    let content_type = body.content_type;
    let (body, encoding) = pack(req, body.bytes.into(), compression).await;
    waiting.completed = true;
    drop(waiting);
    pipe.metrics().meters.sent(Transport::Polling, body.len());
    let mut response = respond(req, StatusCode::OK);
    response.insert_header((header::CONTENT_TYPE, content_type));
    if let Some(encoding) = encoding {
        response.insert_header((header::CONTENT_ENCODING, encoding.as_str()));
    }
    if body.len() <= SLICE {
        return response.body(body);
    }
    let left = body.len();
    response.body(Answer { number: pipe.begin_answer(body), left, pipe })
}

/// A large answer to a poll: the pipe has it, so that it can go if its client does not read it.
struct Answer {
    pipe: Pipe,
    number: Generation,
    left: usize,
}

impl MessageBody for Answer {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some((bytes, _)) = self.pipe.next_slice(self.number) else {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        self.left -= bytes.len();
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pipe.end_answer(self.number);
    }
}

/// The bytes to send, and their coding if they were compressed.
async fn pack(
    req: &HttpRequest,
    plain: Bytes,
    threshold: Option<usize>,
) -> (Bytes, Option<Encoding>) {
    let large = threshold.is_some_and(|threshold| plain.len() >= threshold);
    let wanted = if large { wanted_encoding(req) } else { None };
    let Some(encoding) = wanted else { return (plain, None) };
    let packed = if plain.len() <= INLINE_COMPRESSION {
        encoding.encode(&plain)
    } else {
        let input = plain.clone();
        // It fails when the server is about to end.
        let packed = web::block(move || encoding.encode(&input)).await;
        packed.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
    };
    match packed {
        Ok(packed) => (packed.into(), Some(encoding)),
        Err(_) => (plain, None),
    }
}

fn wanted_encoding(req: &HttpRequest) -> Option<Encoding> {
    let accepted = req.headers().get_all(header::ACCEPT_ENCODING);
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    Encoding::choose(&accepted.join(","))
}

/// Takes the packets of a request body.
pub(crate) async fn send(
    req: &HttpRequest,
    body: Payload,
    pipe: Pipe,
    limit: usize,
    timeout: Duration,
    metrics: &Metrics,
) -> HttpResponse {
    let generation = match pipe.begin_post() {
        Ok(generation) => generation,
        Err(refused) => return refuse(&pipe, refused),
    };
    let content_type = req.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if pipe.dialect().refuses(content_type) {
        // Binary bodies are a thing of revision 3.
        return refuse(&pipe, Refused::Overlap);
    }
    let mut underway = Underway { pipe: &pipe, completed: false };
    let read = pin!(tokio::time::timeout(timeout, collect(req, body, limit)));
    let ended = pin!(poll_fn(|cx| pipe.poll_ended(cx)));
    let body = match select(read, ended).await {
        Either::Left((Ok(Ok(body)), _)) => body,
        Either::Left((Ok(Err(BodyError::TooLarge)), _)) => {
            underway.completed = true;
            pipe.end_post(generation);
            return HttpResponse::PayloadTooLarge().finish();
        }
        // The request is broken or too slow, and with it the session (see `Underway`), or the session
        // has ended meanwhile.
        other => {
            if matches!(other, Either::Left((Err(_), _))) {
                debug!("a request body took too long");
                metrics.body_timeouts.increment();
            }
            return HttpResponse::BadRequest().force_close().finish();
        }
    };
    metrics.meters.received(Transport::Polling, body.len());
    hand_in(&pipe, generation, body, content_type).await;
    underway.completed = true;
    pipe.end_post(generation);
    respond(req, StatusCode::OK).insert_header((header::CONTENT_TYPE, "text/html")).body("ok")
}

/// Gives the packets to the session, a portion at a time, and waits until it has taken them.
async fn hand_in(pipe: &Pipe, generation: Generation, body: Vec<u8>, content_type: Option<&[u8]>) {
    let Some(body) = pipe.dialect().open(body) else { return };
    let mut packets = pipe.dialect().packets(&body, content_type).map(Inbound::from);
    while poll_fn(|cx| pipe.poll_take(generation, &mut packets, cx)).await == Taken::Some {}
    let (done, taken) = oneshot::channel();
    pipe.receive(generation, std::iter::once(Inbound::Barrier(done)));
    // The session may end at one of the packets; the request is answered all the same.
    let _ = taken.await;
}

enum BodyError {
    TooLarge,
    Broken,
}

async fn collect(req: &HttpRequest, mut body: Payload, limit: usize) -> Result<Vec<u8>, BodyError> {
    let announced = req.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge);
    }
    // Nothing is set aside for a length that is only announced.
    let mut collected = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if collected.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge);
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(collected)
}

/// A request of the session that is not answered yet. If its client goes away, actix drops the
/// request's future: the packets of a poll would be lost, so the session ends.
struct Underway<'a> {
    pipe: &'a Pipe,
    completed: bool,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.completed {
            self.pipe.fail(CloseReason::TransportError);
        }
    }
}

fn refuse(pipe: &Pipe, refused: Refused) -> HttpResponse {
    if refused == Refused::Overlap {
        pipe.fail(CloseReason::TransportError);
    }
    HttpResponse::BadRequest().finish()
}

/// The headers that every answer of a polling session has.
fn respond(req: &HttpRequest, status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    let agent = req.headers().get(header::USER_AGENT).map(|value| value.as_bytes());
    let has =
        |needle: &[u8]| agent.is_some_and(|agent| memchr::memmem::find(agent, needle).is_some());
    if has(b";MSIE") || has(b"Trident/") {
        // XHR2 of these browsers guesses content types (as the reference does).
        response.insert_header((header::X_XSS_PROTECTION, "0"));
    }
    response
}
