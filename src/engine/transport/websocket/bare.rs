//! A WebSocket without Engine.IO.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    dev::Payload,
};
use bytes::Bytes;

use super::{
    Setup, agree,
    wire::{Read, SIZE, Wire, after_others},
};
use crate::{
    config::Config,
    engine::{frame::Frame, packet::Message},
};

/// Answers a request with a WebSocket that carries nothing but messages: no session, no heartbeat.
/// `answer` gets each message and says what is sent back. Nothing more is read until that is written.
///
/// It is the WebSocket layer of this crate by itself, so that conformance suites can be run against
/// it. Of `config` it takes `max_http_buffer_size` and `per_message_deflate`. A request that is no
/// WebSocket handshake is answered with status 400.
///
/// ```
/// use actix_web::{HttpRequest, HttpResponse, web};
/// use greenroom::engine::{Config, bare_websocket};
///
/// async fn echo(req: HttpRequest, payload: web::Payload) -> HttpResponse {
///     bare_websocket(&req, payload.into_inner(), &Config::default(), Some)
/// }
/// ```
pub fn bare_websocket(
    req: &HttpRequest,
    payload: Payload,
    config: &Config,
    answer: impl FnMut(Message) -> Option<Message> + 'static,
) -> HttpResponse {
    let setup = Setup::new(config, Arc::default());
    match agree(req, &setup) {
        Ok((mut response, terms)) => response.body(Bare {
            wire: Wire::new(payload, &setup, terms).draining(),
            answer: Box::new(answer),
            answers: VecDeque::new(),
        }),
        Err(error) => error.response().body(error.to_string()),
    }
}

struct Bare {
    wire: Wire,
    answer: Box<dyn FnMut(Message) -> Option<Message>>,
    /// Those to the messages of one portion, whose size actix-http bounds.
    answers: VecDeque<Frame>,
}

impl Bare {
    fn read(&mut self, cx: &mut Context<'_>) {
        let Self { wire, answer, answers } = self;
        while wire.is_open()
            && answers.is_empty()
            && !wire.owes_pongs()
            && wire.poll_input(cx).is_ready()
        {
            let take = |message| answers.extend(answer(message).as_ref().map(frame));
            if let Read::Messages { pause: true, .. } = wire.read(take) {
                after_others(cx);
                return;
            }
        }
    }
}

fn frame(message: &Message) -> Frame {
    match message {
        Message::Text(text) => Frame::text_packet(text),
        Message::Binary(data) => Frame::binary_message(data),
    }
}

impl MessageBody for Bare {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        SIZE
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = &mut *self;
        ready!(this.wire.poll_turn(cx));
        this.read(cx);
        let Self { wire, answers, .. } = this;
        let open = wire.is_open();
        let next = |_: &mut Context<'_>| match answers.pop_front() {
            Some(frame) => Poll::Ready(Ok(frame)),
            None if open => Poll::Pending,
            None => Poll::Ready(Err(1000)),
        };
        wire.poll_write(cx, next).map(|bytes| bytes.map(Ok))
    }
}
