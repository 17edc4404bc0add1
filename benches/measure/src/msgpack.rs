//! As much msgpack as the packets of the workloads need.
use crate::codec::Event;

pub struct Packet<'a> {
    pub kind: u64,
    pub id: Option<u64>,
    /// The strings and binaries of the data, if it is a list.
    pub data: Vec<&'a [u8]>,
}

pub fn connect(namespace: &str) -> Vec<u8> {
    let mut out = vec![0x82];
    string(&mut out, b"type");
    out.push(0);
    string(&mut out, b"nsp");
    string(&mut out, namespace.as_bytes());
    out
}

pub fn event(out: &mut Vec<u8>, namespace: &str, event: &Event) {
    out.push(0x84);
    string(out, b"type");
    out.push(2);
    string(out, b"data");
    out.push(0x91 + u8::from(event.room.is_some()) + u8::from(event.payload.is_some()));
    string(out, event.name.as_bytes());
    for text in event.room.map(str::as_bytes).into_iter().chain(event.payload) {
        string(out, text);
    }
    string(out, b"id");
    integer(out, event.id);
    string(out, b"nsp");
    string(out, namespace.as_bytes());
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..32 => out.push(0xa0 | short as u8),
        middle @ 32..256 => out.extend([0xd9, middle as u8]),
        long => {
            out.push(0xdb);
            out.extend((long as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

fn integer(out: &mut Vec<u8>, number: u64) {
    match number {
        0..128 => out.push(number as u8),
        128..0x1_0000_0000 => {
            out.push(0xce);
            out.extend((number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend(number.to_be_bytes());
        }
    }
}

/// A packet, if it is one and nothing follows it.
pub fn read(bytes: &[u8]) -> Option<Packet<'_>> {
    let mut rest = bytes;
    let mut packet = Packet { kind: u64::MAX, id: None, data: Vec::new() };
    let Value::Map(entries) = value(&mut rest)? else { return None };
    for _ in 0..entries {
        let Value::Bytes(key) = value(&mut rest)? else { return None };
        match (key, value(&mut rest)?) {
            (b"type", Value::Integer(kind)) => packet.kind = kind,
            (b"id", Value::Integer(id)) => packet.id = Some(id),
            (b"data", Value::List(length)) => {
                for _ in 0..length {
                    match value(&mut rest)? {
                        Value::Bytes(bytes) => packet.data.push(bytes),
                        Value::Other => {}
                        _ => return None,
                    }
                }
            }
            (_, Value::Map(entries)) => {
                for _ in 0..entries * 2 {
                    value(&mut rest)?;
                }
            }
            _ => {}
        }
    }
    rest.is_empty().then_some(packet)
}

enum Value<'a> {
    Integer(u64),
    /// A string or binary.
    Bytes(&'a [u8]),
    /// The length of a list whose elements follow.
    List(usize),
    Map(usize),
    /// Nothing, a boolean, an extension of one byte (what JavaScript's `undefined` becomes).
    Other,
}

fn value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let (&head, after) = rest.split_first()?;
    *rest = after;
    Some(match head {
        0..0x80 => Value::Integer(head.into()),
        0x80..0x90 => Value::Map(usize::from(head & 0x0f)),
        0x90..0xa0 => Value::List(usize::from(head & 0x0f)),
        0xa0..0xc0 => Value::Bytes(take(rest, u64::from(head & 0x1f))?),
        0xc0 | 0xc2 | 0xc3 => Value::Other,
        0xcc => Value::Integer(number(rest, 1)?),
        0xcd => Value::Integer(number(rest, 2)?),
        0xce => Value::Integer(number(rest, 4)?),
        0xcf => Value::Integer(number(rest, 8)?),
        0xc4 | 0xd9 => sized(rest, 1)?,
        0xc5 | 0xda => sized(rest, 2)?,
        0xc6 | 0xdb => sized(rest, 4)?,
        0xd4 => take(rest, 2).map(|_| Value::Other)?,
        0xde => Value::Map(number(rest, 2)? as usize),
        _ => return None,
    })
}

fn sized<'a>(rest: &mut &'a [u8], width: u64) -> Option<Value<'a>> {
    let length = number(rest, width)?;
    Some(Value::Bytes(take(rest, length)?))
}

fn number(rest: &mut &[u8], width: u64) -> Option<u64> {
    Some(take(rest, width)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let payload = [b'7'; 128];
        for id in [0, 127, 128, 70_000, 1 << 40] {
            let mut out = Vec::new();
            let sent = Event { id, name: "echo", room: None, payload: Some(&payload) };
            event(&mut out, "/bench", &sent);
            let packet = read(&out).unwrap();
            assert_eq!((packet.kind, packet.id), (2, Some(id)));
            assert_eq!(packet.data, [b"echo", &payload[..]]);
            for end in 0..out.len() {
                assert!(read(&out[..end]).is_none());
            }
        }
    }
}
