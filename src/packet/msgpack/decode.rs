//! One packet in msgpack.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    json,
    read::{Reader, Token},
};
use crate::packet::{Args, DecodeError, Event, Packet, is_reserved, number};

/// The entries of the map that a packet is; what else it holds is passed over. Of a repeated key
/// the last one counts.
#[derive(Default)]
struct Fields {
    kind: Option<Token>,
    namespace: Option<Token>,
    id: Option<Token>,
    /// Where it begins, and its first token.
    data: Option<(usize, Token)>,
}

/// Reads a packet. What is refused is what the reference refuses, in its words and its order, but
/// for the rows of `docs/deviations.md`.
pub(super) fn packet(message: &Bytes) -> Result<Packet, DecodeError> {
    let Fields { kind, namespace, id, data } = fields(message)?;
    let kind = kind.as_ref().and_then(whole).filter(|kind| *kind <= 4);
    let kind = kind.ok_or(DecodeError::InvalidType)?;
    let Some(Token::Str(namespace)) = namespace else { return Err(DecodeError::InvalidNamespace) };
    let namespace = text(message.slice(namespace));
    let fits = match &data {
        None => kind < 2,
        Some((_, Token::Map(_))) => matches!(kind, 0 | 4),
        Some((_, Token::Str(_))) => kind == 4,
        Some((_, Token::Array(_))) => matches!(kind, 2 | 3),
        Some(_) => false,
    };
    if !fits {
        return Err(DecodeError::InvalidPayload);
    }
    let id = match id {
        None | Some(Token::Undefined) => None,
        Some(id) => Some(whole(&id).ok_or(DecodeError::InvalidId)?),
    };
    Ok(match (kind, data) {
        (0, None) => Packet::Connect { namespace, auth: None },
        (0, Some((start, _))) => {
            Packet::Connect { namespace, auth: Some(json::text(message, start)?) }
        }
        (1, _) => Packet::Disconnect { namespace },
        (2, Some((start, Token::Array(count)))) => {
            Packet::Event { namespace, id, event: event(message, start, count)? }
        }
        (3, Some((start, Token::Array(count)))) => {
            let start = behind(message, start)?;
            Packet::Ack { namespace, id, args: json::args(message, start, count)? }
        }
        (4, Some((start, _))) => {
            Packet::ConnectError { namespace, data: Some(json::text(message, start)?) }
        }
        _ => return Err(DecodeError::InvalidPayload),
    })
}

fn fields(message: &Bytes) -> Result<Fields, DecodeError> {
    let mut reader = Reader::new(message, 0);
    let Token::Map(count) = reader.token()? else { return Err(DecodeError::InvalidType) };
    let mut fields = Fields::default();
    for _ in 0..count {
        let key = first_token(&mut reader)?;
        let start = reader.at;
        let value = first_token(&mut reader)?;
        let Token::Str(key) = key else { continue };
        match &message[key] {
            b"type" => fields.kind = Some(value),
            b"nsp" => fields.namespace = Some(value),
            b"id" => fields.id = Some(value),
            b"data" => fields.data = Some((start, value)).filter(|(_, v)| *v != Token::Undefined),
            _ => {}
        }
    }
    match reader.rest() {
        0 => Ok(fields),
        rest => Err(DecodeError::TrailingBytes(rest)),
    }
}

/// Passes over one value; answers its first token.
fn first_token(reader: &mut Reader<'_>) -> Result<Token, DecodeError> {
    let start = reader.at;
    let token = reader.token()?;
    if matches!(token, Token::Array(_) | Token::Map(_)) {
        reader.at = start;
        reader.skip()?;
    }
    Ok(token)
}

/// Where the token that begins at `start` ends.
fn behind(message: &Bytes, start: usize) -> Result<usize, DecodeError> {
    let mut reader = Reader::new(message, start);
    reader.token()?;
    Ok(reader.at)
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

fn event(message: &Bytes, start: usize, count: usize) -> Result<Event, DecodeError> {
    if count == 0 {
        return Err(DecodeError::InvalidPayload);
    }
    let mut reader = Reader::new(message, behind(message, start)?);
    let name = match reader.token()? {
        Token::Str(name) => text(message.slice(name)),
        Token::Uint(name) => number::to_javascript(name as f64).into(),
        Token::Int(name) => number::to_javascript(name as f64).into(),
        Token::Float(name) => number::to_javascript(name).into(),
        _ => return Err(DecodeError::InvalidPayload),
    };
    if is_reserved(&name) {
        return Err(DecodeError::InvalidPayload);
    }
    let args: Args = json::args(message, reader.at, count - 1)?;
    Ok(Event { name, args })
}
