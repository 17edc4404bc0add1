//! What the codec promises, with the bytes that notepack.io 2.2 writes and takes.

#![allow(clippy::unwrap_used)]

mod hostile;
mod originals;
mod packets;
mod random;
mod values;

use bytes::Bytes;

use super::{MsgpackParser, write};
use crate::{
    engine::Message,
    packet::{Args, DecodeError, Event, Outgoing, Packet, Payload},
};

/// The bytes of a text like `a1 61`.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(bytes: impl Into<Bytes>) -> Result<Packet, DecodeError> {
    MsgpackParser::read(&Message::Binary(bytes.into()), usize::MAX)
}

fn written(packet: &Outgoing<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    MsgpackParser::write(packet, &mut out);
    out
}

/// An event `x` whose `count` arguments are these bytes.
fn event_of(count: usize, args: &[u8]) -> Vec<u8> {
    let mut packet = hex("83 a474797065 02 a36e7370 a12f a464617461 dd");
    packet.extend_from_slice(&(count as u32 + 1).to_be_bytes());
    packet.extend_from_slice(b"\xa1x");
    packet.extend_from_slice(args);
    packet
}

/// The arguments that these bytes are.
fn try_args(count: usize, bytes: &[u8]) -> Result<Args, DecodeError> {
    match read(event_of(count, bytes))? {
        Packet::Event { event: Event { args, .. }, .. } => Ok(args),
        other => panic!("{other:?}"),
    }
}

fn args(count: usize, bytes: &str) -> Args {
    try_args(count, &hex(bytes)).unwrap_or_else(|error| panic!("{bytes}: {error}"))
}

/// The arguments of an ack with this data, in msgpack and without the array around them.
fn sent(data: &(impl serde::Serialize + ?Sized)) -> Vec<u8> {
    let payload = Payload::ack(data).unwrap();
    let packet = written(&Outgoing::Ack { namespace: "/", id: 0, payload: &payload });
    let head =
        written(&Outgoing::Ack { namespace: "/", id: 0, payload: &Payload::ack(&()).unwrap() });
    let array = &packet[head.len() - 1..];
    match array[0] {
        0x90..=0x9f => array[1..].to_vec(),
        0xdc => array[3..].to_vec(),
        _ => array[5..].to_vec(),
    }
}
