//! Events whose name, arguments and answer are declared: what [`contract!`](crate::contract) makes.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Args, ArgsError, RESERVED_EVENTS};

/// An event that a [`contract!`](crate::contract) declares.
pub trait TypedEvent: 'static {
    /// Its name on the wire.
    const NAME: &'static str;
    /// The lines of its documentation.
    const DOCS: &'static [&'static str];
    /// The names of its parameters.
    const PARAMETERS: &'static [&'static str];
    /// Whether the sender may do without the answer, if there is one.
    const MAY_GO_UNANSWERED: bool;
    /// The types of its parameters, as a tuple.
    type Parameters: Parameters;
    /// What a listener gives back: [`Ack`](crate::Ack) of the answer, or `()`.
    type Answer;
}

/// An event that clients send.
pub trait ClientEvent: TypedEvent<Parameters: ReadParameters> {}

/// An event that the server sends.
pub trait ServerEvent: TypedEvent<Parameters: WriteParameters> {}

/// What the clients of a namespace and its server say to each other, made by
/// [`contract!`](crate::contract).
pub trait Contract: 'static {
    /// Its name.
    const NAME: &'static str;
    /// The lines of its documentation.
    const DOCS: &'static [&'static str];
    /// The events of clients: `(First, (Second, ()))`.
    type Client: EventNames;
    /// The events of the server, likewise.
    type Server: EventNames;
}

/// The events of one direction, in the order of their declaration.
pub trait EventNames {
    /// Their names.
    fn names() -> Vec<&'static str>;
}

impl EventNames for () {
    fn names() -> Vec<&'static str> {
        Vec::new()
    }
}

impl<E: TypedEvent, Rest: EventNames> EventNames for (E, Rest) {
    fn names() -> Vec<&'static str> {
        let mut names = vec![E::NAME];
        names.extend(Rest::names());
        names
    }
}

/// The parameters of an event: a tuple of up to twelve.
///
/// Each is one argument on the wire, also when it is a tuple itself: a lone `(f64, f64)` is a list
/// of two numbers here and not two arguments.
pub trait Parameters: 'static {
    /// What a listener takes, and what an emit gives: `()` for none, the type itself for one, a
    /// tuple for several.
    type Data;
}

/// Parameters that can be read.
pub trait ReadParameters: Parameters {
    #[doc(hidden)]
    fn read(args: &Args) -> Result<Self::Data, ArgsError>;
}

/// Parameters that can be written.
pub trait WriteParameters: Parameters {
    #[doc(hidden)]
    fn written(data: &Self::Data) -> impl Serialize;
}

/// What a listener of an event takes, and what an emit of it gives: `()` if it has no parameters,
/// the type of a single one, a tuple of several.
pub type DataOf<E> = <<E as TypedEvent>::Parameters as Parameters>::Data;

impl Parameters for () {
    type Data = ();
}

impl ReadParameters for () {
    fn read(_: &Args) -> Result<(), ArgsError> {
        Ok(())
    }
}

impl WriteParameters for () {
    fn written((): &()) -> impl Serialize {}
}

impl<T: 'static> Parameters for (T,) {
    type Data = T;
}

impl<T: DeserializeOwned + 'static> ReadParameters for (T,) {
    fn read(args: &Args) -> Result<T, ArgsError> {
        args.parse().map(|(only,)| only)
    }
}

impl<T: Serialize + 'static> WriteParameters for (T,) {
    fn written(only: &T) -> impl Serialize {
        (only,)
    }
}

macro_rules! several {
    ($($name:ident)+) => {
        impl<$($name: 'static),+> Parameters for ($($name,)+) {
            type Data = Self;
        }

        impl<$($name: DeserializeOwned + 'static),+> ReadParameters for ($($name,)+) {
            fn read(args: &Args) -> Result<Self, ArgsError> {
                args.parse()
            }
        }

        impl<$($name: Serialize + 'static),+> WriteParameters for ($($name,)+) {
            fn written(all: &Self) -> impl Serialize {
                all
            }
        }
    };
}

several!(A B);
several!(A B C);
several!(A B C D);
several!(A B C D E);
several!(A B C D E F);
several!(A B C D E F G);
several!(A B C D E F G H);
several!(A B C D E F G H I);
several!(A B C D E F G H I J);
several!(A B C D E F G H I J K);
several!(A B C D E F G H I J K L);

/// Bytes in a [`contract!`](crate::contract), or anywhere in its types: an attachment on the wire,
/// an `ArrayBuffer` or a `Uint8Array` in TypeScript (browsers receive the one, Node.js a kind of the
/// other, both may be sent).
///
/// It is read as [`Bytes`] are: a JSON string passes too.
///
/// ```
/// use greenroom::{contract, prelude::*, typed::Binary};
///
/// contract! {
///     struct Files;
///     client { "upload" => Upload(name: String, content: Binary) -> usize; }
///     server {}
/// }
///
/// Namespace::new("/files").on_typed(Upload, |_: Socket, (name, content): (String, Binary)| async move {
///     println!("{name} begins with {:?}", content.first());
///     Ack(content.len())
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Binary(pub Bytes);

impl std::ops::Deref for Binary {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

/// Whether no event of an application may have this name; for the compiler.
#[doc(hidden)]
#[must_use]
pub const fn is_reserved_name(name: &str) -> bool {
    let mut at = 0;
    while at < RESERVED_EVENTS.len() {
        if same(name.as_bytes(), RESERVED_EVENTS[at].as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}
