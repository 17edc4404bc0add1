//! Layer 4: messages between the servers of a cluster, in every form that a bus carries.

use bytes::Bytes;

use super::{args::exercise, packets::read};
use crate::{
    adapter::{
        message::{Answer, Envelope, Message, Rejected, Uid},
        wire::{classic, envelope},
    },
    packet::{
        DecodeError, DefaultParser, Document, MsgpackParser, Outgoing, Packet, Parser, Payload,
    },
};

const MAX: usize = 1 << 20;

/// What is read is at most so many times as long as what came: an empty binary of two bytes becomes
/// a placeholder.
const GROWTH: usize = 24;

/// Where a message comes from, by the first byte of the input: the channel of broadcasts, requests
/// or responses of the classic form, that of cluster messages, or an entry of a stream, whose type
/// is in a field of its own.
#[derive(Clone, Copy)]
enum Form {
    Broadcast,
    Request,
    Response,
    Cluster,
    Entry(u64),
}

impl Form {
    fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'b' => Self::Broadcast,
            b'q' => Self::Request,
            b'r' => Self::Response,
            b'c' => Self::Cluster,
            b'@'..=b'O' => Self::Entry(u64::from(letter - b'@')),
            _ => return None,
        })
    }

    fn read(self, bytes: &Bytes, max_bytes: usize) -> Result<Envelope, Rejected> {
        match self {
            Self::Broadcast => classic::parse_broadcast(bytes, max_bytes),
            Self::Request => classic::parse_request(bytes, "/", max_bytes),
            Self::Response => classic::parse_response(bytes, "/", max_bytes),
            Self::Cluster => envelope::parse(bytes, max_bytes),
            Self::Entry(kind) => {
                let data = Some(bytes).filter(|bytes| !bytes.is_empty());
                let message = envelope::parse_data_only(kind, data, max_bytes)?;
                assert_eq!(envelope::kind(&message), Some(kind));
                Ok(Envelope { uid: None, namespace: "/".to_owned(), message })
            }
        }
    }

    fn write(self, envelope: &Envelope) -> Bytes {
        let Envelope { uid, namespace, message } = envelope;
        let uid = uid.clone().unwrap_or_else(|| Uid::from(""));
        let written = match self {
            Self::Broadcast | Self::Request | Self::Response => {
                classic::write(message, &uid, namespace).map(|(_, bytes)| bytes)
            }
            Self::Cluster => {
                envelope::write(message, &uid, namespace).map(|document| envelope::mixed(&document))
            }
            Self::Entry(_) => Some(
                envelope::write_data_only(message, &uid, namespace)
                    .map(|document| envelope::mixed(&document))
                    .unwrap_or_default(),
            ),
        };
        written.expect("what a form has brought it can carry").into()
    }
}

/// A message between servers: a letter that says of what form, and the message.
pub fn bus(data: &[u8]) {
    let Some((letter, message)) = data.split_first() else { return };
    let Some(form) = Form::of(*letter) else { return };
    let message = Bytes::copy_from_slice(message);
    if let Ok(document) = Document::read(&message) {
        assert!(document.text.len() <= GROWTH * message.len(), "{}", document.text.len());
        let attached: usize = document.attachments.iter().map(Bytes::len).sum();
        assert!(attached + document.attachments.len() <= message.len());
    }
    let Ok(first) = form.read(&message, MAX) else { return };
    if !message.is_empty() {
        assert_eq!(form.read(&message, message.len() - 1), Err(Rejected::TooLarge));
    }
    used(&first);
    // The other form need not have such a message, but takes or refuses any.
    let uid = Uid::hex();
    let _ = classic::write(&first.message, &uid, &first.namespace);
    let _ = envelope::write(&first.message, &uid, &first.namespace);

    // What is said on is the same from then on. The first time, binary that the form has only in
    // JSON becomes an object, and a time loses what is below a millisecond.
    let written = form.write(&first);
    let second = form.read(&written, usize::MAX).expect("what was written can be read");
    assert_eq!(form.write(&second), written);
    assert_eq!(second.namespace, first.namespace);
    assert!(second.uid == first.uid || second.uid.is_none() || first.uid.is_none());
    if !in_json(form, &first.message) {
        assert_eq!(second.message, whole_milliseconds(first.message));
    }
}

/// Whether binary of the message is lost on the way.
fn in_json(form: Form, message: &Message) -> bool {
    let (Form::Request | Form::Response, true) = (form, true) else { return false };
    match message {
        Message::ServerSideEmit { payload, .. } => !payload.attachments().is_empty(),
        Message::Answer { answer: Answer::Value(args), .. } => !args.attachments().is_empty(),
        _ => false,
    }
}

fn whole_milliseconds(mut message: Message) -> Message {
    if let Message::Broadcast { sending, .. } = &mut message
        && let Some(timeout) = &mut sending.timeout
    {
        *timeout = std::time::Duration::from_millis(timeout.as_millis() as u64);
    }
    message
}

/// What came is used as a node would: broadcasts go to clients of either parser, answers to whoever
/// asked.
fn used(envelope: &Envelope) {
    match &envelope.message {
        Message::Broadcast { payload, .. } => {
            reaches_clients(payload, &DefaultParser);
            reaches_clients(payload, &MsgpackParser);
        }
        Message::ServerSideEmit { payload, .. } => reaches_clients(payload, &DefaultParser),
        Message::Answer { answer: Answer::Value(args) | Answer::Ack(args), .. } => exercise(args),
        _ => {}
    }
}

fn reaches_clients(payload: &Payload, parser: &dyn Parser) {
    let packet = Outgoing::Event { namespace: "/", id: None, payload };
    match read(parser, &packet) {
        Ok(Packet::Event { event, .. }) => exercise(&event.args),
        Err(DecodeError::TooDeep) => {}
        other => panic!("{other:?} of {payload:?}"),
    }
}
