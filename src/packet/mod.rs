//! Layer 2: the Socket.IO codec, protocol revision 5. A [`Parser`] says what packets look like; this
//! is the default one, JSON:
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]        2/admin,12["hello",1]
//! ```
//!
//! The layer is pure: text and bytes in, [`Packet`]s out, and back. Nothing here knows actix, a
//! clock or a transport.
//!
//! * [`Decoder`] reads what a client sent. It checks the whole packet, JSON included, but builds no
//!   tree: [`Args`] keeps a slice of the text that came, and is parsed when a listener asks for its
//!   type.
//! * [`Payload`] is the body of an event or an ack, encoded once; [`Outgoing`] is a packet to be
//!   sent, which puts the few bytes of a header before it, so that a broadcast to a thousand sockets
//!   encodes once.
//! * [`Args`] is both: what an event brought, and a list to build by hand.
//!
//! **Binary** travels as attachments behind the text, which holds a placeholder for each. Whatever
//! a user type reads by `deserialize_bytes` or writes by `serialize_bytes`, at any depth, is such
//! an attachment ([`bytes::Bytes`] does both).
//!
//! **Data and arguments** are converted by one rule in both directions: a tuple is as many
//! arguments as it has elements, `()` and unit structs are none, [`Args`] is all (inside a tuple:
//! all that are left), and any other type is one argument. Arrays `[T; N]` are tuples to serde, so
//! they are spread too; `Vec<T>` is one argument.

mod args;
mod attachments;
mod body;
mod decode;
mod document;
mod encode;
mod extract;
mod gather;
mod handoff;
mod msgpack;
mod number;
mod original;
mod parser;
mod scan;
mod splice;
mod spread;
pub(crate) mod typed;

#[cfg(test)]
mod tests;

pub use self::args::{Args, ArgsError};
pub use self::decode::{DecodeError, Decoder};
pub(crate) use self::document::Document;
pub use self::encode::{EncodeError, Outgoing, Payload};
pub use self::msgpack::MsgpackParser;
pub(crate) use self::msgpack::Walk;
pub use self::parser::{Decode, DefaultParser, Parser, ParserLimits};

use bytestring::ByteString;

/// Event names that both sides keep for themselves; a packet that carries one is refused, in either
/// direction.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Says whether `name` is one of [`RESERVED_EVENTS`].
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name)
}

/// One decoded Socket.IO packet.
///
/// `namespace` is `/` when the packet names none, and otherwise verbatim: revision 5 gives no
/// meaning to a query in it.
///
/// ```
/// use greenroom::packet::Packet;
///
/// fn describe(packet: &Packet) -> String {
///     match packet {
///         Packet::Connect { namespace, .. } => format!("somebody wants into {namespace}"),
///         Packet::Event { event, id: Some(id), .. } => format!("{} wants answer {id}", event.name),
///         Packet::Event { event, .. } => format!("{} {}", event.name, event.args.to_json()),
///         other => format!("something else for {}", other.namespace()),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// A client asks to join a namespace.
    Connect {
        /// The namespace.
        namespace: ByteString,
        /// The text of a JSON object, when the client sent one; its syntax has been checked.
        auth: Option<ByteString>,
    },
    /// One side leaves a namespace.
    Disconnect {
        /// The namespace.
        namespace: ByteString,
    },
    /// An event; with an `id` when the sender waits for an ack.
    Event {
        /// The namespace.
        namespace: ByteString,
        /// What the ack has to carry.
        id: Option<u64>,
        /// The name and its arguments.
        event: Event,
    },
    /// The answer to an event.
    Ack {
        /// The namespace.
        namespace: ByteString,
        /// The id of the event that is answered; without one it answers nothing.
        id: Option<u64>,
        /// The answer.
        args: Args,
    },
    /// A refused CONNECT. Only servers send it.
    ConnectError {
        /// The namespace.
        namespace: ByteString,
        /// The text of a JSON object or string; its syntax has been checked.
        data: Option<ByteString>,
    },
}

impl Packet {
    /// The namespace that the packet is for.
    #[must_use]
    pub fn namespace(&self) -> &ByteString {
        match self {
            Self::Connect { namespace, .. }
            | Self::Disconnect { namespace }
            | Self::Event { namespace, .. }
            | Self::Ack { namespace, .. }
            | Self::ConnectError { namespace, .. } => namespace,
        }
    }
}

/// A name and its arguments: what users send.
///
/// ```
/// use greenroom::prelude::*;
///
/// Namespace::new("/").on_fallback(|socket: Socket, event: Event| async move {
///     println!("{}: nobody listens to {} {}", socket.id(), event.name, event.args.to_json());
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// The name. A number, which the protocol allows, is the string that JavaScript makes of it:
    /// `7`, `1e+21`.
    pub name: ByteString,
    /// The arguments.
    pub args: Args,
}
