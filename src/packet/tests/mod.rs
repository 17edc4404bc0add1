//! What the codec promises, with the strings that socket.io-parser 4.2.7 writes and takes.

#![allow(clippy::unwrap_used)]

mod args;
mod decode;
mod encode;
mod hostile;

use bytes::Bytes;

use super::{Args, DecodeError, Decoder, Event, Packet};

/// Decodes one packet from its text and its attachments.
fn decode(text: &str, attachments: &[&[u8]]) -> Result<Option<Packet>, DecodeError> {
    let mut decoder = Decoder::new(10);
    let mut packet = decoder.text(text.into())?;
    for bytes in attachments {
        assert_eq!(packet, None);
        packet = decoder.binary(Bytes::copy_from_slice(bytes))?;
    }
    assert_eq!(decoder.is_waiting(), packet.is_none());
    Ok(packet)
}

/// The event that `text` is.
fn event(text: &str, attachments: &[&[u8]]) -> Event {
    match decode(text, attachments) {
        Ok(Some(Packet::Event { event, .. })) => event,
        other => panic!("{text}: {other:?}"),
    }
}

/// The arguments of the event that `text` is.
fn args(text: &str, attachments: &[&[u8]]) -> Args {
    event(text, attachments).args
}
