//! Socket.IO packets of the namespace, in the three ways that are measured: JSON text, JSON with
//! the payload as attachment, and msgpack.
use crate::{
    NAMESPACE, Result,
    frame::{BINARY, TEXT},
    msgpack,
};
use std::io::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Text,
    /// The payload is binary, everything else as in `Text`.
    Binary,
    Msgpack,
}

/// An event to be sent.
pub struct Event<'a> {
    /// Of the ack that is asked for.
    pub id: u64,
    pub name: &'a str,
    pub room: Option<&'a str>,
    pub payload: Option<&'a [u8]>,
}

/// What came from the server.
#[derive(Debug, PartialEq)]
pub enum Message<'a> {
    /// `msg` with its payload.
    Event(&'a [u8]),
    /// With the payload, if it has one.
    Ack(u64, Option<&'a [u8]>),
}

const PLACEHOLDER: &[u8] = b"{\"_placeholder\":true,\"num\":0}";

impl Codec {
    /// The frame that asks to join the namespace.
    pub fn connect(self) -> (u8, Vec<u8>) {
        match self {
            Self::Msgpack => (BINARY, msgpack::connect(NAMESPACE)),
            _ => (TEXT, format!("40{NAMESPACE},").into_bytes()),
        }
    }

    /// Whether this frame says that the client is in.
    pub fn is_connected(self, payload: &[u8]) -> bool {
        match self {
            Self::Msgpack => msgpack::read(payload).is_some_and(|packet| packet.kind == 0),
            _ => payload.starts_with(format!("40{NAMESPACE},{{").as_bytes()),
        }
    }

    /// The packet in `out`, and whether the payload follows in a binary frame.
    pub fn encode(self, event: &Event, out: &mut Vec<u8>) -> (u8, bool) {
        let Event { id, name, room, payload } = *event;
        out.clear();
        if self == Self::Msgpack {
            msgpack::event(out, NAMESPACE, event);
            return (BINARY, false);
        }
        let attached = self == Self::Binary && payload.is_some();
        let head = if attached { "451-" } else { "42" };
        write!(out, "{head}{NAMESPACE},{id}[\"{name}\"").expect("memory");
        if let Some(room) = room {
            write!(out, ",\"{room}\"").expect("memory");
        }
        match payload {
            Some(_) if attached => {
                out.push(b',');
                out.extend_from_slice(PLACEHOLDER);
            }
            Some(text) => {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(text);
                out.push(b'"');
            }
            None => {}
        }
        out.push(b']');
        (TEXT, attached)
    }
}

/// What one connection has received of a packet whose attachment has not come.
type Begun = Option<Option<u64>>;

/// Reads what the connections get.
pub struct Reader {
    codec: Codec,
    begun: Vec<Begun>,
}

impl Reader {
    pub fn new(codec: Codec, connections: usize) -> Self {
        Self { codec, begun: vec![None; connections] }
    }

    /// The message that this frame completes.
    pub fn read<'a>(
        &mut self,
        who: usize,
        opcode: u8,
        payload: &'a [u8],
    ) -> Result<Option<Message<'a>>> {
        let begun = self.begun[who].take();
        let message = match (self.codec, opcode, begun) {
            (Codec::Binary, BINARY, Some(ack)) => Some(match ack {
                Some(id) => Message::Ack(id, Some(payload)),
                None => Message::Event(payload),
            }),
            (Codec::Binary, TEXT, None) if matches!(payload, [b'4', b'5' | b'6', ..]) => {
                let ack = announced(payload).ok_or_else(|| wrong(payload))?;
                self.begun[who] = Some(ack);
                return Ok(None);
            }
            (Codec::Text | Codec::Binary, TEXT, None) => text(payload),
            (Codec::Msgpack, BINARY, None) => msgpacked(payload),
            _ => None,
        };
        message.map(Some).ok_or_else(|| wrong(payload))
    }
}

fn wrong(payload: &[u8]) -> crate::Error {
    let start = &payload[..payload.len().min(200)];
    format!("not a message of this workload: {}", String::from_utf8_lossy(start)).into()
}

/// What comes behind the type and the namespace.
fn body<'a>(packet: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    packet.strip_prefix(kind.as_bytes())?.strip_prefix(NAMESPACE.as_bytes())?.strip_prefix(b",")
}

fn ack_id(body: &[u8]) -> Option<(u64, &[u8])> {
    let digits = body.iter().position(|byte| !byte.is_ascii_digit())?;
    Some((str::from_utf8(&body[..digits]).ok()?.parse().ok()?, &body[digits..]))
}

fn text(packet: &[u8]) -> Option<Message<'_>> {
    if let Some(event) = body(packet, "42") {
        return Some(Message::Event(event.strip_prefix(b"[\"msg\",\"")?.strip_suffix(b"\"]")?));
    }
    let (id, args) = ack_id(body(packet, "43")?)?;
    match args {
        // a server that has nothing to say may say `null`
        b"[]" | b"[null]" => Some(Message::Ack(id, None)),
        _ => Some(Message::Ack(id, Some(args.strip_prefix(b"[\"")?.strip_suffix(b"\"]")?))),
    }
}

/// The packet before an attachment: of an ack or not.
fn announced(packet: &[u8]) -> Option<Option<u64>> {
    let args = |args: &[u8], before: &[u8]| {
        let object = args.strip_prefix(before)?.strip_suffix(b"]")?;
        // the order of the keys is the server's
        (object == PLACEHOLDER || object == b"{\"num\":0,\"_placeholder\":true}").then_some(())
    };
    if let Some(event) = body(packet, "451-") {
        return args(event, b"[\"msg\",").map(|()| None);
    }
    let (id, rest) = ack_id(body(packet, "461-")?)?;
    args(rest, b"[").map(|()| Some(id))
}

fn msgpacked(packet: &[u8]) -> Option<Message<'_>> {
    let packet = msgpack::read(packet)?;
    match (packet.kind, packet.id, &packet.data[..]) {
        (2, None, [b"msg", payload]) => Some(Message::Event(payload)),
        (3, Some(id), [payload]) => Some(Message::Ack(id, Some(payload))),
        (3, Some(id), []) => Some(Message::Ack(id, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(codec: Codec, frames: &[(u8, &[u8])]) -> String {
        let mut reader = Reader::new(codec, 1);
        let read = frames.iter().map(|&(opcode, frame)| reader.read(0, opcode, frame));
        format!("{:?}", read.map(|result| result.map_err(|_| ())).collect::<Vec<_>>())
    }

    #[test]
    fn text_is_read_whole_or_refused() {
        let good = read_all(
            Codec::Text,
            &[
                (TEXT, b"42/bench,[\"msg\",\"a\"]"),
                (TEXT, b"43/bench,7[]"),
                (TEXT, b"43/bench,8[\"b\"]"),
            ],
        );
        let expected = [
            Ok::<_, ()>(Some(Message::Event(b"a"))),
            Ok(Some(Message::Ack(7, None))),
            Ok(Some(Message::Ack(8, Some(b"b")))),
        ];
        assert_eq!(good, format!("{expected:?}"));
        for bad in ["42/bench,[\"other\",\"a\"]", "42/other,[\"msg\",\"a\"]", "43/bench,[]", ""] {
            assert_eq!(read_all(Codec::Text, &[(TEXT, bad.as_bytes())]), "[Err(())]");
        }
        assert_eq!(read_all(Codec::Text, &[(BINARY, b"a")]), "[Err(())]");
    }

    #[test]
    fn an_attachment_completes_its_packet_and_nothing_comes_between() {
        let head: (u8, &[u8]) = (TEXT, b"461-/bench,9[{\"_placeholder\":true,\"num\":0}]");
        let read = read_all(Codec::Binary, &[head, (BINARY, b"x"), (TEXT, b"43/bench,1[]")]);
        let expected = [
            Ok::<_, ()>(None),
            Ok(Some(Message::Ack(9, Some(b"x")))),
            Ok(Some(Message::Ack(1, None))),
        ];
        assert_eq!(read, format!("{expected:?}"));
        assert_eq!(read_all(Codec::Binary, &[head, head]), "[Ok(None), Err(())]");
        assert_eq!(read_all(Codec::Binary, &[(BINARY, b"x")]), "[Err(())]");
    }
}
