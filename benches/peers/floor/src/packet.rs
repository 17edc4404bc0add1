//! The bytes: just what the load generator sends, and how it is answered.
use std::ops::Range;

pub const TEXT: u8 = 1;
pub const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// The key that this answers is the example of RFC 6455: the generator's.
const KEY: &[u8] = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
pub const OPEN: &[u8] = b"0{\"sid\":\"floor\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
pub const CONNECTED: &[u8] = b"40/bench,{\"sid\":\"floor\"}";
pub const ACK: &[u8] = b"43/bench,";
pub const MSG: &[u8] = b"42/bench,[\"msg\",";

/// The size of the head of the request, when all of it is there.
pub fn upgrade(received: &[u8]) -> Option<usize> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = &received[..end];
    assert!(head.windows(KEY.len()).any(|part| part == KEY), "not the load generator");
    Some(end + 4)
}

/// Unmasks the first frame in place; its opcode, and where its payload lies.
pub fn unmask(received: &mut [u8]) -> Option<(u8, Range<usize>)> {
    let (&head, &length) = (received.first()?, received.get(1)?);
    let (length, header) = match length & 0x7f {
        126 => (usize::from(u16::from_be_bytes(received.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(received.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let start = header + 4;
    let mask: [u8; 4] = received.get(header..start)?.try_into().ok()?;
    let payload = received.get_mut(start..start + length)?;
    for four in payload.chunks_mut(4) {
        for (byte, key) in four.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    Some((head & 0x0f, start..start + length))
}

/// Appends one text frame.
pub fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    out.push(0x80 | TEXT);
    match length {
        0..126 => out.push(length as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// What a client asks; names and payloads are JSON, rooms without their quotes.
pub enum Request<'a> {
    Connect,
    Echo(&'a [u8], &'a [u8]),
    Join(&'a [u8], &'a [u8]),
    Leave(&'a [u8], &'a [u8]),
    Publish(&'a [u8], &'a [u8], &'a [u8]),
    PublishAll(&'a [u8], &'a [u8]),
    Other,
}

pub fn parse(text: &[u8]) -> Request<'_> {
    if text == b"40/bench," {
        return Request::Connect;
    }
    event(text).unwrap_or(Request::Other)
}

fn event(text: &[u8]) -> Option<Request<'_>> {
    let text = text.strip_prefix(b"42/bench,")?;
    let (id, rest) = text.split_at(text.iter().position(|byte| !byte.is_ascii_digit())?);
    let rest = rest.strip_prefix(b"[\"")?.strip_suffix(b"]")?;
    let (name, rest) = rest.split_at(rest.iter().position(|&byte| byte == b'"')?);
    let args = rest.strip_prefix(b"\",")?;
    let room = |args: &'_ [u8]| -> Option<usize> {
        Some(1 + args.strip_prefix(b"\"")?.iter().position(|&byte| byte == b'"')?)
    };
    Some(match name {
        b"echo" => Request::Echo(id, args),
        b"join" => Request::Join(id, &args[1..room(args)?]),
        b"leave" => Request::Leave(id, &args[1..room(args)?]),
        b"publish" => {
            let end = room(args)?;
            Request::Publish(id, &args[1..end], args[end + 1..].strip_prefix(b",")?)
        }
        b"publish-all" => Request::PublishAll(id, args),
        _ => return None,
    })
}
