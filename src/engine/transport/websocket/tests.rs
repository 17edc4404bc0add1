use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, mpsc},
    task::Waker,
};

use actix_web::error::PayloadError;
use futures_util::{StreamExt, stream::poll_fn};
use smallvec::smallvec;

use super::*;
use crate::engine::{
    Config, Transport,
    dialect::Dialect,
    outbox::Bounds,
    packet::Packet,
    pipe::Farewell,
    transport::frame::{self, OpCode, header},
};

/// What the client has sent.
#[derive(Clone, Default)]
struct Input(Rc<RefCell<VecDeque<Option<Bytes>>>>);

impl Input {
    fn send(&self, bytes: &[u8]) {
        self.0.borrow_mut().push_back(Some(Bytes::copy_from_slice(bytes)));
    }

    fn end(&self) {
        self.0.borrow_mut().push_back(None);
    }

    fn stream(&self) -> Payload {
        let queue = Rc::clone(&self.0);
        let next = poll_fn(move |_| match queue.borrow_mut().pop_front() {
            Some(bytes) => Poll::Ready(bytes.map(Ok::<_, PayloadError>)),
            None => Poll::Pending,
        });
        Payload::Stream { payload: next.boxed_local() }
    }
}

/// A WebSocket of a session, and what its client sends.
fn socket() -> (Pin<Box<Socket>>, Pipe, Input) {
    let bounds = Bounds { bytes: 10_000, packets: 100 };
    let dialect = Dialect::new(|_| Some("4"));
    let pipe = Pipe::new(0, Transport::WebSocket, dialect, bounds, Arc::default());
    let input = Input::default();
    let setup = Setup::new(&Config::default(), Arc::default());
    pipe.begin_body();
    let socket = Socket {
        wire: Wire::new(input.stream(), &setup, None),
        base64: false,
        pipe: pipe.clone(),
        session: None,
        ready: Queue::default(),
        parked: Parked::Nothing,
        slicing: false,
        lingered: 0,
        generation: 0,
    };
    (Box::pin(socket), pipe, input)
}

fn poll(socket: &mut Pin<Box<Socket>>) -> Poll<Option<Bytes>> {
    let polled = socket.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
    polled.map(|bytes| bytes.map(|Ok(bytes)| bytes))
}

/// A masked frame of a client; the mask is zero.
fn frame(payload: &[u8]) -> Vec<u8> {
    let (mut head, length) = header(OpCode::Binary, true, payload.len());
    head[1] |= 0x80;
    [&head[..length], &[0; 4], payload].concat()
}

fn taken(pipe: &Pipe) -> Vec<Inbound> {
    let mut taken = SmallVec::new();
    let _ = pipe.poll_inbox(&mut Context::from_waker(Waker::noop()), 8, &mut taken);
    taken.into_iter().map(|(_, inbound)| inbound).collect()
}

#[test]
fn a_large_message_in_portions_is_one_message() {
    let (mut socket, pipe, input) = socket();
    let payload: Vec<u8> = (0..500_000_u32).map(|n| n as u8).collect();
    for portion in frame(&payload).chunks(30_000) {
        input.send(portion);
        assert!(poll(&mut socket).is_pending());
    }
    let first = taken(&pipe);
    input.send(&frame(b"next"));
    assert!(poll(&mut socket).is_pending());
    let next = taken(&pipe);
    assert!(
        matches!(&first[..], [Inbound::Packet(Packet::Message(Message::Binary(data)))] if *data == payload)
    );
    assert!(
        matches!(&next[..], [Inbound::Packet(Packet::Message(Message::Binary(data)))] if **data == *b"next")
    );
}

#[test]
fn what_came_of_a_message_goes_with_the_session_though_nobody_polls_its_websocket() {
    let (mut socket, pipe, input) = socket();
    let bytes = frame(&[0; 500_000]);
    input.send(&bytes[..400_000]);
    assert!(poll(&mut socket).is_pending());
    assert_eq!(socket.wire.held(), 0, "the pipe has it");
    pipe.close_now(Farewell::Close(1000), true);
    assert!(pipe.unpark(0).is_none());
    // What comes behind that is not read as if it were a frame.
    input.send(&bytes[400_000..]);
    input.end();
    assert_eq!(poll(&mut socket), Poll::Ready(Some(frame::close(NO_CODE, ""))));
    assert_eq!(poll(&mut socket), Poll::Ready(None));
}

#[test]
fn a_large_frame_is_handed_out_in_slices_with_nothing_between() {
    let (mut socket, pipe, input) = socket();
    let text = "x".repeat(2 * SLICE);
    pipe.send(SmallVec::from_elem(Frame::text_packet(&text), 1), false);
    let mut whole = Vec::new();
    for length in [SLICE, SLICE, 10] {
        let Poll::Ready(Some(slice)) = poll(&mut socket) else { panic!("there is more") };
        assert_eq!(slice.len(), length);
        whole.extend(slice);
        input.send(&[0x89, 0x80, 0, 0, 0, 0]);
    }
    assert_eq!(&whole[10..], text.as_bytes());
    assert_eq!(poll(&mut socket), Poll::Ready(Some(Bytes::from_static(&[0x8a, 0]))));
}

#[cfg(feature = "testing")]
#[actix_rt::test]
async fn the_rest_of_a_large_frame_can_be_given_up_though_nobody_polls_its_websocket() {
    let (mut socket, pipe, _input) = socket();
    pipe.send(SmallVec::from_elem(Frame::text_packet(&"x".repeat(2 * SLICE)), 1), false);
    assert!(poll(&mut socket).is_ready());
    pipe.close_now(Farewell::Close(1000), true);
    pipe.clone().see_off(std::time::Duration::ZERO).await;
    assert_eq!(poll(&mut socket), Poll::Ready(None));
}

#[test]
fn what_comes_at_once_is_read_a_portion_at_a_time() {
    let (mut socket, _pipe, input) = socket();
    input.send(&[0x89, 0x80, 0, 0, 0, 0].repeat(30_000));
    let mut answered = Vec::new();
    while answered.iter().sum::<usize>() < 30_000 {
        // Between two portions it is the turn of others.
        if let Poll::Ready(pongs) = poll(&mut socket) {
            answered.push(pongs.unwrap().len() / 2);
        }
    }
    assert_eq!(answered, [10_922, 10_923, 8_155]);
}

#[test]
fn who_sends_nothing_but_pings_gives_others_their_turn() {
    let (mut socket, _pipe, input) = socket();
    let pings: Vec<u8> = [0x89, 0x80, 0, 0, 0, 0].repeat(3000);
    let pongs = [0x8a, 0x80, 0, 0, 0, 0].repeat(3000);
    for portion in [&pings, &pings, &pongs, &pings] {
        input.send(portion);
    }
    let mut turns = Vec::new();
    for _ in 0..4 {
        let mut written = 0;
        while let Poll::Ready(bytes) = poll(&mut socket) {
            let bytes = bytes.unwrap();
            assert!(bytes.chunks(2).all(|pong| *pong == [0x8a, 0]));
            written += bytes.len() / 2;
        }
        turns.push(written);
    }
    // One portion is answered before the next is read, and then it is the turn of others.
    assert_eq!(turns, [3000, 3000, 3000, 0]);
}

/// A session that has nothing to do.
#[derive(Debug)]
struct Idle;

impl Turn for Idle {
    fn take(&self) -> bool {
        true
    }

    fn has_begun(&self) -> bool {
        true
    }
}

/// A WebSocket for which an answer waits, and another one behind an operation that is in flight.
fn expecting() -> (Pin<Box<Socket>>, Pipe, u64) {
    let (mut socket, pipe, _) = socket();
    socket.session = Some(Rc::new(Idle));
    pipe.send_own(smallvec![Frame::text_packet("4first")], false, 0);
    let (begun, sequence) = mpsc::channel();
    pipe.begin(7, move |sequence| begun.send(sequence).unwrap());
    pipe.send_own(smallvec![Frame::text_packet("4second")], false, 0);
    (socket, pipe, sequence.recv().unwrap())
}

fn texts(socket: &mut Pin<Box<Socket>>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Poll::Ready(Some(frame)) = poll(socket) {
        texts.push(String::from_utf8_lossy(&frame[2..]).into_owned());
    }
    texts
}

#[test]
fn answers_leave_together_with_what_their_operations_let_go() {
    let (mut socket, pipe, sequence) = expecting();
    assert_eq!(poll(&mut socket), Poll::Pending);
    pipe.confirm(sequence);
    assert_eq!(texts(&mut socket), ["4first", "4second"]);
}

#[test]
fn an_answer_does_not_wait_long_for_an_operation_that_takes_long() {
    let (mut socket, pipe, sequence) = expecting();
    for _ in 0..LINGERING {
        assert_eq!(poll(&mut socket), Poll::Pending);
    }
    assert_eq!(texts(&mut socket), ["4first"]);
    assert_eq!(socket.lingered, 0, "with nothing to write it sleeps");
    pipe.confirm(sequence);
    assert_eq!(texts(&mut socket), ["4second"]);
}
