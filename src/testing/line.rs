//! The client's end of one session: what a WebSocket and the official client do, in memory.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    future::poll_fn,
    panic::Location,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{At, Parting, Patience, Refused};
use crate::{
    engine::{
        CloseReason, Message,
        frame::Frame,
        packet::Packet as EnginePacket,
        pipe::{Inbound, Pipe},
        queue::Queue,
    },
    packet::{Args, Event, Outgoing, Packet, ParserLimits},
    socket::{Codec, Reader},
};

/// Frames a connection reads before others get their turn.
const FRAMES_PER_TURN: usize = 64;

/// Packets that a failure shows.
const SHOWN: usize = 8;

/// What the handles of one connection share. The connection breaks with the last of them.
pub(super) struct Line {
    pipe: Pipe,
    codec: Codec,
    pub(super) patience: Patience,
    pub(super) state: RefCell<State>,
    changed: Notify,
}

pub(super) struct State {
    decoder: Reader,
    /// What the session has not taken yet.
    pub(super) outgoing: VecDeque<Inbound>,
    pub(super) seats: Vec<Seat>,
    pub(super) transcript: Vec<String>,
    pump: Option<Waker>,
    pub(super) answers_pings: bool,
    pub(super) reads: bool,
    pub(super) end: Option<Parting>,
    broken: Option<String>,
}

/// One namespace of the client.
pub(super) struct Seat {
    pub(super) namespace: String,
    pub(super) phase: Phase,
    pub(super) events: VecDeque<(Event, Option<u64>)>,
    pub(super) acks: HashMap<u64, Args>,
    pub(super) last_ack: u64,
    pub(super) recovery: Recovery,
}

/// What the official client remembers for connection state recovery.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovery {
    pub(super) pid: Option<String>,
    pub(super) offset: Option<String>,
    pub(super) recovered: bool,
}

impl Recovery {
    /// What a client says that comes back.
    pub(super) fn of(auth: &Value) -> Self {
        let text = |name: &str| auth[name].as_str().map(str::to_owned);
        Self { pid: text("pid"), offset: text("offset"), recovered: false }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Asking,
    Joined(String),
    Refused(Refused),
    Parted(Parting),
}

pub(super) fn engine_packet(text: String) -> Inbound {
    // What a WebSocket does with a text frame.
    match EnginePacket::decode_text(ByteString::from(text)) {
        Ok(packet) => Inbound::Packet(packet),
        Err(_) => Inbound::Closed(CloseReason::ParseError),
    }
}

/// Carries packets both ways, as long as there is somebody to carry them for.
fn pump(line: &Weak<Line>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(line) = line.upgrade() else { return Poll::Ready(()) };
    line.state.borrow_mut().pump = Some(cx.waker().clone());
    line.push(cx);
    for _ in 0..FRAMES_PER_TURN {
        let state = line.state.borrow();
        if state.end.is_some() || !state.reads {
            return Poll::Pending;
        }
        drop(state);
        // One by one, as the test may stop reading at any of them.
        let mut frames = Queue::default();
        match line.pipe.poll_frames(0, cx, 0, &mut frames) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => frames.iter().for_each(|frame| line.take(frame)),
            Poll::Ready(Err(code)) => line.end(Parting::Closed(code)),
        }
        line.push(cx);
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl Line {
    /// Takes the client's end of a session that was just opened.
    pub(super) fn start(pipe: Pipe, codec: &Codec, patience: Patience) -> Rc<Self> {
        let line = Rc::new(Self {
            pipe,
            codec: codec.clone(),
            patience,
            state: RefCell::new(State {
                decoder: codec.reader(
                    ParserLimits::with_max_attachments(usize::MAX).with_max_depth(usize::MAX),
                ),
                outgoing: VecDeque::new(),
                seats: Vec::new(),
                transcript: Vec::new(),
                pump: None,
                answers_pings: true,
                reads: true,
                end: None,
                broken: None,
            }),
            changed: Notify::new(),
        });
        let weak = Rc::downgrade(&line);
        actix::spawn(poll_fn(move |cx| pump(&weak, cx)));
        line
    }

    pub(super) fn sit(&self, namespace: &str, recovery: Recovery) -> usize {
        let mut state = self.state.borrow_mut();
        let phase = state.end.map_or(Phase::Asking, Phase::Parted);
        state.seats.push(Seat {
            namespace: namespace.to_owned(),
            phase,
            events: VecDeque::new(),
            acks: HashMap::new(),
            last_ack: 0,
            recovery,
        });
        state.seats.len() - 1
    }

    pub(super) fn wake(&self) {
        if let Some(pump) = &self.state.borrow().pump {
            pump.wake_by_ref();
        }
    }

    // ---- toward the server ---------------------------------------------------------------------

    pub(super) fn write(&self, inbound: Inbound) {
        self.state.borrow_mut().outgoing.push_back(inbound);
        self.wake();
    }

    pub(super) fn write_text(&self, packet: String) {
        self.write(engine_packet(format!("4{packet}")));
    }

    pub(super) fn write_binary(&self, data: Bytes) {
        self.write(Inbound::Packet(EnginePacket::Message(Message::Binary(data))));
    }

    /// Sends a packet, as the server's parser writes it.
    pub(super) fn write_packet(&self, at: At, packet: &Outgoing<'_>) {
        let frames = self.codec.try_frames(packet, true);
        for frame in frames.unwrap_or_else(|error| panic!("{at}: {error}")) {
            let data = frame.packet();
            if frame.is_binary() {
                self.write_binary(Bytes::copy_from_slice(data));
            } else {
                let text = std::str::from_utf8(data).expect("packets are written as UTF-8");
                self.write(engine_packet(text.to_owned()));
            }
        }
    }

    /// Waits until the session has handled all that has been written, or has ended.
    pub(super) async fn settled(&self) {
        let (done, handled) = oneshot::channel();
        self.write(Inbound::Barrier(done));
        // An error is the end.
        let _ = handled.await;
    }

    /// Hands in what has been written, as far as the session takes it.
    fn push(&self, cx: &mut Context<'_>) {
        loop {
            if self.state.borrow().outgoing.is_empty() || self.pipe.poll_room(0, cx).is_pending() {
                return;
            }
            let next = self.state.borrow_mut().outgoing.pop_front();
            self.pipe.receive(0, next.into_iter());
        }
    }

    /// Tells the session what a WebSocket tells it when its network breaks.
    pub(super) fn break_off(&self) {
        self.pipe.receive(0, std::iter::once(Inbound::Closed(CloseReason::TransportClose)));
    }

    // ---- from the server -----------------------------------------------------------------------

    fn take(&self, frame: &Frame) {
        let mut state = self.state.borrow_mut();
        let data = frame.packet();
        let decoded = if frame.is_binary() {
            let message = Message::Binary(Bytes::copy_from_slice(data));
            let decoded = state.decoder.take(message);
            let shown = match &decoded {
                Ok(Some(packet)) if !matches!(self.codec, Codec::Default) => format!("{packet:?}"),
                _ => format!("<{} bytes>", data.len()),
            };
            state.transcript.push(shown);
            decoded
        } else {
            let text = String::from_utf8_lossy(data).into_owned();
            let Some(packet) = text.strip_prefix('4') else {
                drop(state);
                return self.take_engine(&text);
            };
            state.transcript.push(packet.to_owned());
            let packet = ByteString::from(packet);
            state.decoder.take(Message::Text(packet))
        };
        match decoded {
            Ok(Some(packet)) => state.route(packet),
            Ok(None) => {}
            Err(error) => state.broken = Some(error.to_string()),
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn take_engine(&self, packet: &str) {
        if packet == "2" && self.state.borrow().answers_pings {
            self.write(engine_packet("3".to_owned()));
        }
    }

    pub(super) fn end(&self, parting: Parting) {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() {
            return;
        }
        state.end = Some(parting);
        state.outgoing.clear();
        for seat in &mut state.seats {
            if matches!(seat.phase, Phase::Asking | Phase::Joined(_)) {
                seat.phase = Phase::Parted(parting);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The client leaves one namespace.
    pub(super) fn leave(&self, index: usize) {
        let mut state = self.state.borrow_mut();
        let seat = &mut state.seats[index];
        if !matches!(seat.phase, Phase::Joined(_)) {
            return;
        }
        seat.phase = Phase::Parted(Parting::ByClient);
        let namespace = seat.namespace.clone();
        drop(state);
        self.write_packet(Location::caller(), &Outgoing::Disconnect { namespace: &namespace });
        self.changed.notify_waiters();
    }

    // ---- waiting -------------------------------------------------------------------------------

    /// Waits until `look` finds something; its error fails the test, as does the limit.
    pub(super) async fn wait<T>(
        self: Rc<Self>,
        at: At,
        what: &'static str,
        mut look: impl FnMut(&mut State) -> Result<Option<T>, String>,
    ) -> T {
        let deadline = Instant::now() + self.patience.limit;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let found = look(&mut self.state.borrow_mut());
            match found {
                Ok(Some(found)) => return found,
                Ok(None) => {}
                Err(error) => self.fail(at, what, &error),
            }
            if let Some(error) = self.broken() {
                self.fail(at, what, &format!("the server sent what is no packet: {error}"));
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let limit = self.patience.limit;
                self.fail(at, what, &format!("nothing came in {limit:?} of the test's time"));
            }
        }
    }

    fn broken(&self) -> Option<String> {
        self.state.borrow().broken.clone()
    }

    pub(super) fn fail(&self, at: At, what: &str, why: &str) -> ! {
        let state = self.state.borrow();
        let skipped = state.transcript.len().saturating_sub(SHOWN);
        let last = state.transcript[skipped..].to_vec();
        drop(state);
        panic!("{at}: waiting for {what}: {why}; the last packets: {last:#?}");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.break_off();
        self.wake();
    }
}

impl State {
    fn seat(&mut self, namespace: &str) -> Option<&mut Seat> {
        let seats = self.seats.iter_mut().rev();
        seats
            .filter(|seat| matches!(seat.phase, Phase::Asking | Phase::Joined(_)))
            .find(|seat| seat.namespace == namespace)
    }

    /// Packets for a namespace that the client has left are passed over, as the official client
    /// does it.
    fn route(&mut self, packet: Packet) {
        let namespace = packet.namespace().clone();
        let Some(seat) = self.seat(&namespace) else { return };
        match packet {
            Packet::Connect { auth, .. } => {
                let auth: Value =
                    auth.and_then(|auth| serde_json::from_str(&auth).ok()).unwrap_or_default();
                seat.phase = Phase::Joined(auth["sid"].as_str().unwrap_or_default().to_owned());
                let pid = auth["pid"].as_str().map(str::to_owned);
                seat.recovery.recovered = pid.is_some() && seat.recovery.pid == pid;
                seat.recovery.pid = pid;
            }
            Packet::ConnectError { data, .. } => {
                let data: Value =
                    data.and_then(|data| serde_json::from_str(&data).ok()).unwrap_or_default();
                let message = data["message"].as_str().unwrap_or_default().to_owned();
                let refused = Refused { message, data: data.get("data").cloned() };
                seat.phase = Phase::Refused(refused);
            }
            Packet::Event { id, event, .. } => {
                seat.remember(&event, id);
                seat.events.push_back((event, id));
            }
            Packet::Ack { id, args, .. } => {
                if let Some(id) = id {
                    seat.acks.insert(id, args);
                }
            }
            Packet::Disconnect { .. } => seat.phase = Phase::Parted(Parting::ByServer),
        }
    }
}

impl Seat {
    /// The last text of an event that wants no answer is its offset, as the official client has it.
    fn remember(&mut self, event: &Event, id: Option<u64>) {
        let last = event.args.texts().last().map(serde_json::from_str);
        let last = last.unwrap_or_else(|| Ok(Value::from(&*event.name)));
        if let (None, Ok(Value::String(last))) = (id, last) {
            self.recovery.offset = Some(last);
        }
    }
}
