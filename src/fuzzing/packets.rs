//! Layer 2: Socket.IO packets of both parsers.

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::value::RawValue;

use super::args::exercise;
use crate::{
    engine::Message,
    packet::{
        DecodeError, Decoder, DefaultParser, Event, MsgpackParser, Outgoing, Packet, Parser,
        ParserLimits, Payload,
    },
};

/// Messages of one connection with U+001E between them; a `b` begins a binary one.
pub fn decoder(data: &[u8]) {
    let limits = ParserLimits::default();
    let mut decoder = Decoder::new(limits.max_attachments).with_max_depth(limits.max_depth);
    for message in data.split(|byte| *byte == 0x1e) {
        let waiting = decoder.is_waiting();
        let (binary, result) = match message.strip_prefix(b"b") {
            Some(data) => (true, decoder.binary(Bytes::copy_from_slice(data))),
            None => {
                let text = ByteString::from(&*String::from_utf8_lossy(message));
                (false, decoder.text(text))
            }
        };
        match result {
            Ok(None) => assert!(decoder.is_waiting()),
            Ok(Some(packet)) => {
                assert!(!decoder.is_waiting() && waiting == binary);
                check(&packet, &DefaultParser, &MsgpackParser);
            }
            Err(_) => return,
        }
    }
}

/// One packet in msgpack.
pub fn msgpack(data: &[u8]) {
    let message = Message::Binary(Bytes::copy_from_slice(data));
    if let Ok(packet) = MsgpackParser::read(&message, ParserLimits::default().max_depth) {
        check(&packet, &MsgpackParser, &DefaultParser);
    }
}

/// The JSON of an event, with two attachments behind it for it to name.
pub fn json(data: &[u8]) {
    let json = String::from_utf8_lossy(data);
    let attachments = [&b"one"[..], b""];
    let depth = ParserLimits::default().max_depth;
    for named in 0..=attachments.len() {
        let mut decoder = Decoder::new(attachments.len()).with_max_depth(depth);
        let mut packet = decoder.text(format!("5{named}-[\"e\",{json}]").into());
        for data in &attachments[..named] {
            if matches!(packet, Ok(None)) {
                packet = decoder.binary(Bytes::from_static(data));
            }
        }
        if let Ok(Some(packet)) = packet {
            check(&packet, &DefaultParser, &MsgpackParser);
        }
    }
}

/// A decoded packet is used as a listener would, and is the same when it is sent on. The other
/// parser does not know all values (half a surrogate pair, `undefined`), but can write all.
fn check(packet: &Packet, own: &dyn Parser, other: &dyn Parser) {
    let payload = match packet {
        Packet::Event { event: Event { name, args }, .. } => {
            exercise(args);
            Payload::event(name, args).expect("a received event can be sent")
        }
        Packet::Ack { args, .. } => {
            exercise(args);
            Payload::ack(args).expect("a received ack can be sent")
        }
        Packet::Connect { auth, .. } | Packet::ConnectError { data: auth, .. } => {
            let raw = auth.as_ref().map(|auth| serde_json::from_str::<&RawValue>(auth));
            assert!(raw.is_none_or(|raw| raw.is_ok()), "its syntax was checked");
            return;
        }
        Packet::Disconnect { .. } => return,
    };
    let payload = &payload;
    let outgoing = match packet {
        Packet::Event { namespace, id, .. } => Outgoing::Event { namespace, id: *id, payload },
        Packet::Ack { namespace, id: Some(id), .. } => {
            Outgoing::Ack { namespace, id: *id, payload }
        }
        _ => return,
    };
    assert_eq!(read(own, &outgoing).as_ref(), Ok(packet));
    // Among msgpack any text is a namespace.
    let namespace = packet.namespace();
    if !namespace.starts_with('/') || namespace.contains(',') {
        return;
    }
    match (read(other, &outgoing), packet) {
        (Ok(Packet::Event { event, .. }), Packet::Event { event: sent, .. }) => {
            assert_eq!((event.name, event.args.len()), (sent.name.clone(), sent.args.len()));
        }
        (Ok(Packet::Ack { args, .. }), Packet::Ack { args: sent, .. }) => {
            assert_eq!(args.len(), sent.len());
        }
        // JSON may nest as deep as the message is long, msgpack may not.
        (Err(DecodeError::TooDeep), _) => {}
        (other, _) => panic!("{other:?} of {packet:?}"),
    }
}

/// What the other side makes of a packet.
pub(super) fn read(parser: &dyn Parser, packet: &Outgoing<'_>) -> Result<Packet, DecodeError> {
    let messages = parser.encode(packet).expect("it can be written");
    let mut decoder = parser.decoder(ParserLimits::with_max_attachments(usize::MAX));
    let mut read = Ok(None);
    for message in messages {
        assert_eq!(read, Ok(None), "a packet ends with its last message");
        read = decoder.decode(message);
    }
    read.map(|packet| packet.expect("a packet is complete with its last message"))
}
