//! Cluster messages: `{"type", "data", "uid", "nsp"}`, in JSON, or in msgpack where there is binary
//! (or always, as the bus wants it).

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Writer,
    fields::{EVENT, Opts, WirePacket, Written, WrittenFlags, part, present, rooms},
    read,
    sockets::sockets,
};
use crate::{
    adapter::message::{Answer, Envelope, Message, Rejected, Rooms, Sending, Uid, Wanted},
    packet::{Args, Document},
    room::Target,
};

const INITIAL_HEARTBEAT: u64 = 1;
const HEARTBEAT: u64 = 2;
const BROADCAST: u64 = 3;
const JOIN: u64 = 4;
const LEAVE: u64 = 5;
const DISCONNECT: u64 = 6;
const FETCH: u64 = 7;
const FETCH_ANSWER: u64 = 8;
const SERVER_SIDE_EMIT: u64 = 9;
const SERVER_SIDE_EMIT_ANSWER: u64 = 10;
const CLIENT_COUNT: u64 = 11;
const ACK: u64 = 12;
const CLOSE: u64 = 13;

// ---- writing -----------------------------------------------------------------------------------

/// The number of a message's type; `None` for one that this form does not have.
pub(crate) fn kind(message: &Message) -> Option<u64> {
    Some(match message {
        Message::Heartbeat { first: true } => INITIAL_HEARTBEAT,
        Message::Heartbeat { first: false } => HEARTBEAT,
        Message::Close => CLOSE,
        Message::Broadcast { .. } => BROADCAST,
        Message::Join { .. } => JOIN,
        Message::Leave { .. } => LEAVE,
        Message::Disconnect { .. } => DISCONNECT,
        Message::Fetch { .. } => FETCH,
        Message::AllRooms { .. } => return None,
        Message::ServerSideEmit { .. } => SERVER_SIDE_EMIT,
        Message::Answer { answer, .. } => match answer {
            Answer::Sockets { .. } => FETCH_ANSWER,
            Answer::Rooms(_) => return None,
            Answer::Value(_) => SERVER_SIDE_EMIT_ANSWER,
            Answer::Clients(_) => CLIENT_COUNT,
            Answer::Ack(_) => ACK,
        },
    })
}

/// A whole message; `None` for one that this form does not have.
pub(crate) fn write(message: &Message, uid: &Uid, namespace: &str) -> Option<Document> {
    let mut writer = Writer::default();
    writer.raw("{\"type\":").value(&kind(message)?);
    if has_data(message) {
        writer.raw(",\"data\":");
        write_data(&mut writer, message, uid.is_emitter().then_some(namespace));
    }
    writer.raw(",\"uid\":").value(uid.as_str()).raw(",\"nsp\":").value(namespace).raw("}");
    Some(writer.finish())
}

/// The `data` of a message alone, where the bus keeps the rest in fields of its own.
pub(crate) fn write_data_only(message: &Message, uid: &Uid, namespace: &str) -> Option<Document> {
    if !has_data(message) {
        return None;
    }
    let mut writer = Writer::default();
    write_data(&mut writer, message, uid.is_emitter().then_some(namespace));
    Some(writer.finish())
}

fn has_data(message: &Message) -> bool {
    !matches!(message, Message::Heartbeat { .. } | Message::Close)
}

/// `emitter` is the namespace if it is an emitter that writes.
fn write_data(writer: &mut Writer, message: &Message, emitter: Option<&str>) {
    let opts = |target, flags| Written { target, flags: Some(flags), emitter: emitter.is_some() };
    // The parts of an emitter that have flags for no purpose have them at the end.
    let plain = |target| Written { target, flags: Some(WrittenFlags::default()), emitter: false };
    match message {
        Message::Heartbeat { .. } | Message::Close | Message::AllRooms { .. } => {}
        Message::Broadcast { payload, target, sending, request } => {
            writer.raw("{\"packet\":{\"type\":").value(&EVENT).raw(",\"data\":").payload(payload);
            if let Some(namespace) = emitter {
                writer.raw(",\"nsp\":").value(namespace);
            }
            writer.raw("}");
            if let Some(request) = request {
                writer.raw(",\"requestId\":").value(request.as_str());
            }
            writer.raw(",\"opts\":").value(&opts(target, (*sending).into())).raw("}");
        }
        Message::Join { target, rooms } | Message::Leave { target, rooms } => {
            writer.raw("{\"opts\":").value(&plain(target));
            writer.raw(",\"rooms\":").value(&**rooms).raw("}");
        }
        Message::Disconnect { target, close } => {
            writer.raw("{\"opts\":").value(&plain(target));
            writer.raw(",\"close\":").value(close).raw("}");
        }
        Message::Fetch { target, request, wanted } => {
            let count = *wanted == Wanted::Count;
            let flags = WrittenFlags { sending: Sending::default(), count };
            writer.raw("{\"opts\":").value(&opts(target, flags));
            writer.raw(",\"requestId\":").value(request.as_str()).raw("}");
        }
        Message::ServerSideEmit { payload, request } => {
            writer.raw("{");
            if let Some(request) = request {
                writer.raw("\"requestId\":").value(request.as_str()).raw(",");
            }
            writer.raw("\"packet\":").payload(payload).raw("}");
        }
        Message::Answer { request, answer } => {
            writer.raw("{\"requestId\":").value(request.as_str());
            write_answer(writer, answer);
            writer.raw("}");
        }
    }
}

fn write_answer(writer: &mut Writer, answer: &Answer) {
    match answer {
        Answer::Sockets { sockets, count } => {
            writer.raw(",\"sockets\":").value(sockets);
            if *count != sockets.len() {
                writer.raw(",\"count\":").value(count);
            }
        }
        Answer::Rooms(_) => {}
        Answer::Value(args) | Answer::Ack(args) if args.is_empty() => {}
        Answer::Value(args) | Answer::Ack(args) => {
            writer.raw(",\"packet\":").first(args);
        }
        Answer::Clients(count) => {
            writer.raw(",\"clientCount\":").value(count);
        }
    }
}

/// JSON, or msgpack if there is binary.
pub(crate) fn mixed(document: &Document) -> Vec<u8> {
    match document.attachments.is_empty() {
        true => document.to_json(),
        false => document.to_msgpack(),
    }
}

// ---- reading -----------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    nsp: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Reads a whole message.
///
/// # Errors
/// If it is no message, or of an unknown type.
pub(crate) fn parse(message: &Bytes, max_bytes: usize) -> Result<Envelope, Rejected> {
    let document = read(message, max_bytes)?;
    let outer: Outer<'_> = part(&document.text)?;
    if outer.kind == FETCH_ANSWER && !document.attachments.is_empty() {
        // Binary in the data of sockets becomes what it is in JSON, as in all other answers of this
        // kind.
        return parse(&document.to_json().into(), usize::MAX);
    }
    let data = outer.data.map_or("{}", RawValue::get);
    Ok(Envelope {
        uid: Some(Uid::from(&*outer.uid)),
        message: parse_data(outer.kind, &document, data)?,
        namespace: outer.nsp.into_owned(),
    })
}

/// Reads a message whose type and data the bus keeps apart.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_data_only(
    kind: u64,
    data: Option<&Bytes>,
    max_bytes: usize,
) -> Result<Message, Rejected> {
    let document = data.map(|data| read(data, max_bytes)).transpose()?.unwrap_or_default();
    let text = if document.text.is_empty() { "{}" } else { &document.text };
    parse_data(kind, &document, text)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data<'a> {
    #[serde(borrow, deserialize_with = "present")]
    packet: Option<&'a RawValue>,
    opts: Opts,
    #[serde(deserialize_with = "rooms")]
    rooms: Rooms,
    close: bool,
    #[serde(borrow, rename = "requestId")]
    request: Option<Cow<'a, str>>,
    #[serde(rename = "clientCount")]
    clients: Option<u64>,
    #[serde(deserialize_with = "sockets")]
    sockets: Option<Vec<Value>>,
    count: Option<u64>,
}

impl Data<'_> {
    fn request(&self) -> Option<Uid> {
        self.request.as_deref().map(Uid::from)
    }

    fn required(&self) -> Result<Uid, Rejected> {
        self.request().ok_or(Rejected::Malformed)
    }
}

fn parse_data(kind: u64, document: &Document, data: &str) -> Result<Message, Rejected> {
    if !(INITIAL_HEARTBEAT..=CLOSE).contains(&kind) {
        return Err(Rejected::UnknownType);
    }
    let mut data: Data<'_> = part(data)?;
    let mut target = || -> Target { data.opts.target() };
    Ok(match kind {
        INITIAL_HEARTBEAT => Message::Heartbeat { first: true },
        HEARTBEAT => Message::Heartbeat { first: false },
        CLOSE => Message::Close,
        BROADCAST => {
            let packet: WirePacket<'_> = part(data.packet.ok_or(Rejected::Malformed)?.get())?;
            if !packet.is_event() {
                return Err(Rejected::Malformed);
            }
            let payload = document.event(packet.data.get()).ok_or(Rejected::Malformed)?;
            let target = target();
            Message::Broadcast {
                payload,
                target,
                sending: data.opts.sending(),
                request: data.request(),
            }
        }
        JOIN => Message::Join { target: target(), rooms: data.rooms },
        LEAVE => Message::Leave { target: target(), rooms: data.rooms },
        DISCONNECT => Message::Disconnect { target: target(), close: data.close },
        FETCH => {
            let target = target();
            let wanted = if data.opts.counts() { Wanted::Count } else { Wanted::Details };
            Message::Fetch { target, request: data.required()?, wanted }
        }
        SERVER_SIDE_EMIT => {
            let packet = data.packet.ok_or(Rejected::Malformed)?;
            let payload = document.event(packet.get()).ok_or(Rejected::Malformed)?;
            Message::ServerSideEmit { payload, request: data.request() }
        }
        _ => Message::Answer {
            request: data.required()?,
            answer: parse_answer(kind, document, data)?,
        },
    })
}

fn parse_answer(kind: u64, document: &Document, data: Data<'_>) -> Result<Answer, Rejected> {
    let value = || match data.packet {
        Some(packet) => document.arg(packet.get()).ok_or(Rejected::Malformed),
        None => Ok(Args::new()),
    };
    Ok(match kind {
        FETCH_ANSWER => {
            let sockets = data.sockets.ok_or(Rejected::Malformed)?;
            let count = data.count.map_or(sockets.len(), |count| count as usize);
            Answer::Sockets { sockets, count }
        }
        SERVER_SIDE_EMIT_ANSWER => Answer::Value(value()?),
        CLIENT_COUNT => Answer::Clients(data.clients.ok_or(Rejected::Malformed)? as usize),
        _ => Answer::Ack(value()?),
    })
}
