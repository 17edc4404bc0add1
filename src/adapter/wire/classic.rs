//! The form of the first Redis adapter: broadcasts are a list in msgpack on channels of their own,
//! requests and responses are objects with other types than those of cluster messages.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Writer,
    fields::{COUNT, EVENT, Opts, WirePacket, Written, part, present, rooms},
    read,
    sockets::sockets,
    usual,
};
use crate::{
    adapter::message::{Answer, Envelope, Message, Rejected, Rooms, Uid, Wanted},
    packet::{Args, Document},
    room::{Room, Target},
};

const SOCKETS: u64 = 0;
const ALL_ROOMS: u64 = 1;
const JOIN: u64 = 2;
const LEAVE: u64 = 3;
const DISCONNECT: u64 = 4;
const FETCH: u64 = 5;
const SERVER_SIDE_EMIT: u64 = 6;
const BROADCAST: u64 = 7;
const CLIENT_COUNT: u64 = 8;
const ACK: u64 = 9;

/// The channel that a message goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// That of broadcasts, or of those to one room.
    Broadcast(Option<Room>),
    Request,
    Response,
}

// ---- writing -----------------------------------------------------------------------------------

/// A message as bytes, and where it goes; `None` for one that this form does not have.
pub(crate) fn write(message: &Message, uid: &Uid, namespace: &str) -> Option<(Channel, Vec<u8>)> {
    let emitter = uid.is_emitter();
    let mut writer = Writer::default();
    let packet = |writer: &mut Writer, payload: &_| {
        writer.raw("{\"type\":").value(&EVENT).raw(",\"data\":").payload(payload);
        writer.raw(",\"nsp\":").value(namespace).raw("}");
    };
    match message {
        Message::Broadcast { payload, target, sending, request: None } => {
            writer.raw("[").value(uid.as_str()).raw(",");
            packet(&mut writer, payload);
            let opts = Written { target, flags: Some((*sending).into()), emitter };
            writer.raw(",").value(&opts).raw("]");
            let room = match &*target.rooms {
                [room] => Some(room.clone()),
                _ => None,
            };
            Some((Channel::Broadcast(room), writer.finish().to_msgpack()))
        }
        Message::Broadcast { payload, target, sending, request: Some(request) } => {
            begin(&mut writer, Some(uid), Some(request), BROADCAST);
            writer.raw(",\"packet\":");
            packet(&mut writer, payload);
            let opts = Written { target, flags: Some((*sending).into()), emitter };
            writer.raw(",\"opts\":").value(&opts).raw("}");
            Some((Channel::Request, writer.finish().to_msgpack()))
        }
        Message::Answer { request, answer } => write_answer(request, uid, answer),
        other => {
            write_request(&mut writer, other, uid)?;
            Some((Channel::Request, writer.finish().to_json()))
        }
    }
}

/// Begins an object with the fields that most of them begin with.
fn begin(writer: &mut Writer, uid: Option<&Uid>, request: Option<&Uid>, kind: u64) {
    writer.raw("{");
    if let Some(uid) = uid {
        writer.raw("\"uid\":").value(uid.as_str()).raw(",");
    }
    if let Some(request) = request {
        writer.raw("\"requestId\":").value(request.as_str()).raw(",");
    }
    writer.raw("\"type\":").value(&kind);
}

fn write_request(writer: &mut Writer, message: &Message, uid: &Uid) -> Option<()> {
    let opts = |target| Written { target, flags: None, emitter: false };
    // Emitters do not name themselves in these.
    let sender = (!uid.is_emitter()).then_some(uid);
    match message {
        Message::Join { target, rooms } => {
            begin(writer, sender, None, JOIN);
            writer.raw(",\"opts\":").value(&opts(target)).raw(",\"rooms\":").value(&**rooms);
        }
        Message::Leave { target, rooms } => {
            begin(writer, sender, None, LEAVE);
            writer.raw(",\"opts\":").value(&opts(target)).raw(",\"rooms\":").value(&**rooms);
        }
        Message::Disconnect { target, close } => {
            begin(writer, sender, None, DISCONNECT);
            writer.raw(",\"opts\":").value(&opts(target)).raw(",\"close\":").value(close);
        }
        Message::Fetch { target, request, wanted: Wanted::Details } => {
            begin(writer, Some(uid), Some(request), FETCH);
            writer.raw(",\"opts\":").value(&opts(target));
        }
        Message::Fetch { target, request, wanted } => {
            // The request of old versions: other servers answer with ids and without details.
            match target.except.is_empty() {
                true => {
                    begin(writer, Some(uid), Some(request), SOCKETS);
                    writer.raw(",\"rooms\":").value(&*target.rooms);
                }
                false => {
                    begin(writer, Some(uid), Some(request), FETCH);
                    writer.raw(",\"opts\":").value(&opts(target));
                }
            }
            if *wanted == Wanted::Count {
                writer.raw(",").value(COUNT).raw(":true");
            }
        }
        Message::AllRooms { request } => begin(writer, Some(uid), Some(request), ALL_ROOMS),
        Message::ServerSideEmit { payload, request } => {
            begin(writer, Some(uid), request.as_ref(), SERVER_SIDE_EMIT);
            writer.raw(",\"data\":").payload(payload);
        }
        _ => return None,
    }
    writer.raw("}");
    Some(())
}

/// Answers say who answers, which others neither write nor read.
fn write_answer(request: &Uid, uid: &Uid, answer: &Answer) -> Option<(Channel, Vec<u8>)> {
    let mut writer = Writer::default();
    let id = request.as_str();
    let document = |mut writer: Writer| {
        if !uid.as_str().is_empty() {
            writer.raw(",\"uid\":").value(uid.as_str());
        }
        writer.raw("}");
        writer.finish()
    };
    let bytes = match answer {
        Answer::Sockets { sockets, count } => {
            writer.raw("{\"requestId\":").value(id).raw(",\"sockets\":").value(sockets);
            if *count != sockets.len() {
                writer.raw(",\"count\":").value(count);
            }
            document(writer).to_json()
        }
        Answer::Rooms(rooms) => {
            writer.raw("{\"requestId\":").value(id).raw(",\"rooms\":").value(rooms);
            document(writer).to_json()
        }
        Answer::Value(args) => {
            writer.raw("{\"type\":").value(&SERVER_SIDE_EMIT).raw(",\"requestId\":").value(id);
            if !args.is_empty() {
                writer.raw(",\"data\":").first(args);
            }
            document(writer).to_json()
        }
        Answer::Clients(count) => {
            writer.raw("{\"type\":").value(&CLIENT_COUNT).raw(",\"requestId\":").value(id);
            writer.raw(",\"clientCount\":").value(count);
            document(writer).to_json()
        }
        Answer::Ack(args) => {
            writer.raw("{\"type\":").value(&ACK).raw(",\"requestId\":").value(id);
            if !args.is_empty() {
                writer.raw(",\"packet\":").first(args);
            }
            document(writer).to_msgpack()
        }
    };
    Some((Channel::Response, bytes))
}

// ---- reading -----------------------------------------------------------------------------------

#[derive(Deserialize)]
struct WireBroadcast<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] WirePacket<'a>, Opts);

/// Reads what came on a channel of broadcasts.
///
/// # Errors
/// If it is no broadcast.
pub(crate) fn parse_broadcast(message: &Bytes, max_bytes: usize) -> Result<Envelope, Rejected> {
    if message.len() > max_bytes {
        return Err(Rejected::TooLarge);
    }
    match usual::broadcast(message) {
        Some(envelope) => Ok(envelope),
        None => parse_unusual_broadcast(message, max_bytes),
    }
}

/// The same, in whatever order and with whatever else there is in it.
pub(super) fn parse_unusual_broadcast(
    message: &Bytes,
    max_bytes: usize,
) -> Result<Envelope, Rejected> {
    let document = read(message, max_bytes)?;
    let WireBroadcast(uid, packet, mut opts) = part(&document.text)?;
    Ok(Envelope {
        uid: Some(Uid::from(&*uid)),
        namespace: packet.nsp.as_deref().unwrap_or("/").to_owned(),
        message: broadcast(&document, &packet, &mut opts, None)?,
    })
}

fn broadcast(
    document: &Document,
    packet: &WirePacket<'_>,
    opts: &mut Opts,
    request: Option<Uid>,
) -> Result<Message, Rejected> {
    if !packet.is_event() {
        return Err(Rejected::Malformed);
    }
    let payload = document.event(packet.data.get()).ok_or(Rejected::Malformed)?;
    Ok(Message::Broadcast { payload, target: opts.target(), sending: opts.sending(), request })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "requestId")]
    request: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "present")]
    packet: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    opts: Option<Opts>,
    #[serde(deserialize_with = "rooms")]
    rooms: Rooms,
    #[serde(borrow)]
    sid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    close: bool,
    #[serde(rename = "clientCount")]
    clients: Option<u64>,
    #[serde(deserialize_with = "sockets")]
    sockets: Option<Vec<Value>>,
    count: Option<u64>,
    #[serde(rename = "countOnly")]
    count_only: bool,
}

impl Fields<'_> {
    fn uid(&self) -> Option<Uid> {
        self.uid.as_deref().map(Uid::from)
    }

    fn request(&self) -> Option<Uid> {
        self.request.as_deref().map(Uid::from)
    }

    fn required(&self) -> Result<Uid, Rejected> {
        self.request().ok_or(Rejected::Malformed)
    }

    /// Whom it concerns. Servers of older versions name one socket.
    fn target(&mut self) -> Result<Target, Rejected> {
        match (&mut self.opts, &self.sid) {
            (Some(opts), _) => Ok(opts.target()),
            (None, Some(sid)) => Ok(Target::room(&**sid)),
            (None, None) => Err(Rejected::Malformed),
        }
    }

    /// The rooms that are joined or left.
    fn moved(&mut self) -> Rooms {
        match &self.room {
            Some(room) => Rooms::from_iter([Room::from(&**room)]),
            None => std::mem::take(&mut self.rooms),
        }
    }
}

/// Reads what came on the channel of requests.
///
/// # Errors
/// If it is no request, or one of an unknown type.
pub(crate) fn parse_request(
    message: &Bytes,
    namespace: &str,
    max_bytes: usize,
) -> Result<Envelope, Rejected> {
    let document = read(message, max_bytes)?;
    let mut fields: Fields<'_> = part(&document.text)?;
    let message = match fields.kind.ok_or(Rejected::Malformed)? {
        SOCKETS => {
            let target = Target { rooms: std::mem::take(&mut fields.rooms), except: Rooms::new() };
            let wanted = if fields.count_only { Wanted::Count } else { Wanted::Ids };
            Message::Fetch { target, request: fields.required()?, wanted }
        }
        ALL_ROOMS => Message::AllRooms { request: fields.required()? },
        JOIN => Message::Join { target: fields.target()?, rooms: fields.moved() },
        LEAVE => Message::Leave { target: fields.target()?, rooms: fields.moved() },
        DISCONNECT => Message::Disconnect { target: fields.target()?, close: fields.close },
        FETCH => Message::Fetch {
            target: fields.target()?,
            request: fields.required()?,
            wanted: if fields.count_only { Wanted::Count } else { Wanted::Details },
        },
        SERVER_SIDE_EMIT => {
            let data = fields.data.ok_or(Rejected::Malformed)?;
            let payload = document.event(data.get()).ok_or(Rejected::Malformed)?;
            Message::ServerSideEmit { payload, request: fields.request() }
        }
        BROADCAST => {
            let packet: WirePacket<'_> = part(fields.packet.ok_or(Rejected::Malformed)?.get())?;
            let mut opts = fields.opts.take().ok_or(Rejected::Malformed)?;
            broadcast(&document, &packet, &mut opts, Some(fields.required()?))?
        }
        _ => return Err(Rejected::UnknownType),
    };
    Ok(Envelope { uid: fields.uid(), namespace: namespace.to_owned(), message })
}

/// Reads what came on a channel of responses.
///
/// # Errors
/// If it is no response.
pub(crate) fn parse_response(
    message: &Bytes,
    namespace: &str,
    max_bytes: usize,
) -> Result<Envelope, Rejected> {
    let document = read(message, max_bytes)?;
    let fields: Fields<'_> = part(&document.text)?;
    let value = |raw: Option<&RawValue>| match raw {
        Some(raw) => document.arg(raw.get()).ok_or(Rejected::Malformed),
        None => Ok(Args::new()),
    };
    let request = fields.required()?;
    let uid = fields.uid();
    let answer = match fields.kind {
        Some(CLIENT_COUNT) => Answer::Clients(fields.clients.ok_or(Rejected::Malformed)? as usize),
        Some(ACK) => Answer::Ack(value(fields.packet)?),
        Some(SERVER_SIDE_EMIT) => Answer::Value(value(fields.data)?),
        Some(_) => return Err(Rejected::UnknownType),
        None => match (fields.sockets, part::<HasRooms>(&document.text)) {
            (Some(sockets), _) => {
                let count = fields.count.map_or(sockets.len(), |count| count as usize);
                Answer::Sockets { sockets, count }
            }
            (None, Ok(_)) => Answer::Rooms(fields.rooms.into_vec()),
            // One of an old version says only that it has done something.
            (None, Err(_)) => Answer::Value(Args::new()),
        },
    };
    Ok(Envelope {
        uid,
        namespace: namespace.to_owned(),
        message: Message::Answer { request, answer },
    })
}

#[derive(Deserialize)]
struct HasRooms {
    #[allow(dead_code, reason = "that it is there is what counts")]
    rooms: serde::de::IgnoredAny,
}
