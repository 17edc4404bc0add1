//! One packet in msgpack.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    json,
    read::{Read, Reader, Token},
};
use crate::packet::{Args, DecodeError, Event, Packet, is_reserved, number};

/// The entries of the map that a packet is; what else it holds is passed over. Of a repeated key
/// the last one counts.
#[derive(Default)]
struct Fields {
    kind: Option<Token>,
    namespace: Option<Token>,
    id: Option<Token>,
    data: Option<Data>,
}

struct Data {
    /// Where it begins, and its first token.
    start: usize,
    token: Token,
    /// Read at once if the type was known already.
    body: Option<Body>,
}

/// The data of an event or an ack.
enum Body {
    Event(Event),
    Ack(Args),
}

const EVENT: u64 = 2;
const ACK: u64 = 3;

/// Reads a packet that nests no deeper than `most` levels. What is refused is what the reference refuses, in its words and its order, but
/// for the rows of `docs/deviations.md`.
pub(super) fn packet(message: &Bytes, most: usize) -> Result<Packet, DecodeError> {
    let Fields { kind, namespace, id, data } = fields(message, most)?;
    let kind = kind.as_ref().and_then(whole).filter(|kind| *kind <= 4);
    let kind = kind.ok_or(DecodeError::InvalidType)?;
    let Some(Token::Str(namespace)) = namespace else { return Err(DecodeError::InvalidNamespace) };
    let namespace = text(message.slice(namespace));
    let fits = match data.as_ref().map(|data| &data.token) {
        None => kind < 2,
        Some(Token::Map(_)) => matches!(kind, 0 | 4),
        Some(Token::Str(_)) => kind == 4,
        Some(Token::Array(_)) => matches!(kind, EVENT | ACK),
        Some(_) => false,
    };
    if !fits {
        return Err(DecodeError::InvalidPayload);
    }
    let id = match id {
        None | Some(Token::Undefined) => None,
        Some(id) => Some(whole(&id).ok_or(DecodeError::InvalidId)?),
    };
    let Some(Data { start, body, .. }) = data else {
        return Ok(match kind {
            0 => Packet::Connect { namespace, auth: None },
            _ => Packet::Disconnect { namespace },
        });
    };
    Ok(match (kind, body) {
        (EVENT, Some(Body::Event(event))) => Packet::Event { namespace, id, event },
        (ACK, Some(Body::Ack(args))) => Packet::Ack { namespace, id, args },
        (EVENT | ACK, _) => match body_at(message, &mut Reader::new(message, start), kind, most)? {
            Body::Event(event) => Packet::Event { namespace, id, event },
            Body::Ack(args) => Packet::Ack { namespace, id, args },
        },
        (0, _) => Packet::Connect { namespace, auth: Some(json::text(message, start, most)?) },
        _ => Packet::ConnectError { namespace, data: Some(json::text(message, start, most)?) },
    })
}

fn fields(message: &Bytes, most: usize) -> Result<Fields, DecodeError> {
    let mut reader = Reader::new(message, 0);
    let Token::Map(count) = reader.token()? else { return Err(DecodeError::InvalidType) };
    let mut fields = Fields::default();
    for _ in 0..count {
        let key = first_token(&mut reader)?;
        let Token::Str(key) = key else {
            first_token(&mut reader)?;
            continue;
        };
        match &message[key] {
            b"type" => fields.kind = Some(first_token(&mut reader)?),
            b"nsp" => fields.namespace = Some(first_token(&mut reader)?),
            b"id" => fields.id = Some(first_token(&mut reader)?),
            b"data" => fields.data = data(message, &mut reader, fields.kind.as_ref(), most)?,
            _ => {
                first_token(&mut reader)?;
            }
        }
    }
    match reader.rest() {
        0 => Ok(fields),
        rest => Err(DecodeError::TrailingBytes(rest)),
    }
}

/// Reads data, or passes over it if it is not known yet what it has to be.
fn data(
    message: &Bytes,
    reader: &mut Reader<'_>,
    kind: Option<&Token>,
    most: usize,
) -> Result<Option<Data>, DecodeError> {
    let start = reader.at;
    let token = reader.clone().token()?;
    let kind = kind.and_then(whole).filter(|kind| matches!(*kind, EVENT | ACK));
    let body = match kind {
        Some(kind) if matches!(token, Token::Array(_)) => {
            Some(body_at(message, reader, kind, most)?)
        }
        _ => {
            first_token(reader)?;
            None
        }
    };
    Ok((token != Token::Undefined).then_some(Data { start, token, body }))
}

/// Reads the list that an event or an ack has as data.
fn body_at(
    message: &Bytes,
    reader: &mut Reader<'_>,
    kind: u64,
    most: usize,
) -> Result<Body, DecodeError> {
    let Token::Array(count) = reader.token()? else { return Err(DecodeError::InvalidPayload) };
    let (body, end) = if kind == EVENT {
        let name = name(message, reader, count)?;
        let (args, end) = json::args(message, reader.at, count - 1, most)?;
        (Body::Event(Event { name, args }), end)
    } else {
        let (args, end) = json::args(message, reader.at, count, most)?;
        (Body::Ack(args), end)
    };
    reader.at = end;
    Ok(body)
}

/// Passes over one value; answers its first token.
fn first_token(reader: &mut Reader<'_>) -> Read<Token> {
    let start = reader.at;
    let token = reader.token()?;
    if matches!(token, Token::Array(_) | Token::Map(_)) {
        reader.at = start;
        reader.skip()?;
    }
    Ok(token)
}

/// A whole number from zero up. JavaScript has one type of numbers, so 2.0 is 2.
fn whole(token: &Token) -> Option<u64> {
    match *token {
        Token::Uint(value) => Some(value),
        Token::Float(value)
            if value.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&value) =>
        {
            Some(value as u64)
        }
        _ => None,
    }
}

/// A text, with U+FFFD for what is not UTF-8.
fn text(bytes: Bytes) -> ByteString {
    ByteString::try_from(bytes.clone())
        .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
}

/// The name of an event, the first of `count` elements.
fn name(message: &Bytes, reader: &mut Reader<'_>, count: usize) -> Result<ByteString, DecodeError> {
    if count == 0 {
        return Err(DecodeError::InvalidPayload);
    }
    let name = match reader.token()? {
        Token::Str(name) => text(message.slice(name)),
        Token::Uint(name) => number::to_javascript(name as f64).into(),
        Token::Int(name) => number::to_javascript(name as f64).into(),
        Token::Float(name) => number::to_javascript(name).into(),
        _ => return Err(DecodeError::InvalidPayload),
    };
    if is_reserved(&name) { Err(DecodeError::InvalidPayload) } else { Ok(name) }
}
