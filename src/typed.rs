//! Events declared once, with a [`contract!`](crate::contract): their names, arguments and answers.
//!
//! Listeners and emits that go by the declaration are checked by the compiler, and with the feature
//! `typescript` the same declaration becomes the types that clients in TypeScript import. So neither
//! side can drift from the other. `docs/typescript.md` in the repository is the guide.

pub use crate::{
    packet::typed::{
        Binary, ClientEvent, Contract, DataOf, EventNames, Parameters, ReadParameters, ServerEvent,
        TypedEvent, WriteParameters,
    },
    socket::{Returns, TypedAckSender, TypedListener},
};

#[doc(hidden)]
pub use crate::packet::typed::is_reserved_name;

/// Declares what the clients of a namespace and its server say to each other.
///
/// Each event becomes a type without fields, which is given in the place of a name: to
/// [`Namespace::on_typed`](crate::Namespace::on_typed), [`Socket::on_typed`](crate::Socket::on_typed)
/// and [`Socket::emit_typed`](crate::Socket::emit_typed) and its like. The contract is a type too,
/// a [`Contract`](crate::typed::Contract).
///
/// ```
/// use greenroom::{contract, prelude::*};
///
/// contract! {
///     /// What is said at `/chat`.
///     pub struct Chat;
///
///     client {
///         /// Everybody in the lobby hears it. The answer is how many lines there are.
///         "say" => Say(text: String) -> usize;
///         /// Nobody waits for an answer to this.
///         "typing" => Typing(draft: String, at: u32);
///         /// One may wait for the answer, or ask for none.
///         "leave" => Leave() -> bool | ();
///     }
///     server {
///         "said" => Said(by: SocketId, text: String);
///         /// The client answers this.
///         "still there?" => StillThere() -> bool;
///     }
/// }
///
/// let chat = Namespace::new("/chat")
///     .on_typed(Say, |socket: Socket, text: String| async move {
///         socket.to("lobby").emit_typed(Said, &(socket.id().clone(), text))?;
///         Ok::<_, EventError>(Ack(1))
///     })
///     .on_typed(Typing, |_: Socket, (draft, at): (String, u32)| async move {
///         println!("{draft} {at}");
///     })
///     .on_typed(Leave, |socket: Socket, (): ()| async move {
///         Ok::<_, AckError>(Ack(socket.emit_typed_with_ack(StillThere, &()).await?))
///     });
/// assert!(chat.unheard::<Chat>().is_empty());
/// ```
///
/// * `->` declares an answer. Listeners of clients' events must give it, wrapped in
///   [`Ack`](crate::Ack); of the server's events, clients must: they are sent by
///   [`emit_typed_with_ack`](crate::Socket::emit_typed_with_ack) only. `-> T | ()` says that a
///   client may send the event without asking for the answer.
/// * Each parameter is one argument on the wire, and so is the answer, also if its type is a tuple.
///   An [`Option`] at the end may be missing, [`Args`](crate::Args) there takes all that are left.
/// * Parameters have at most twelve, a direction about a hundred events
///   (`#![recursion_limit]` raises that).
///
/// A name that both sides keep for themselves (`connect`, `disconnect` ...) does not compile:
///
/// ```compile_fail
/// greenroom::contract! {
///     struct Wrong;
///     client { "disconnect" => Going(); }
///     server {}
/// }
/// ```
///
/// Nor does a listener that takes or answers something else:
///
/// ```compile_fail
/// use greenroom::{contract, prelude::*};
/// contract! {
///     struct Chat;
///     client { "say" => Say(text: String) -> usize; }
///     server {}
/// }
/// Namespace::new("/").on_typed(Say, |_: Socket, text: String| async move { Ack(text) });
/// ```
#[macro_export]
macro_rules! contract {
    (
        $(#[doc = $doc:literal])*
        $visible:vis struct $contract:ident;

        client { $(
            $(#[doc = $client_doc:literal])*
            $client_name:literal => $client:ident ( $($client_parameter:ident : $client_type:ty),* $(,)? )
            $(-> $client_answer:ty $(| $client_none:tt)?)? ;
        )* }

        server { $(
            $(#[doc = $server_doc:literal])*
            $server_name:literal => $server:ident ( $($server_parameter:ident : $server_type:ty),* $(,)? )
            $(-> $server_answer:ty)? ;
        )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default)]
        $visible struct $contract;

        impl $crate::typed::Contract for $contract {
            const NAME: &'static str = ::core::stringify!($contract);
            const DOCS: &'static [&'static str] = &[$($doc),*];
            type Client = $crate::__contract_list!($($client)*);
            type Server = $crate::__contract_list!($($server)*);
        }

        $(
            $crate::__contract_event! {
                [$($client_doc)*] [$visible] $client_name => $client
                ($($client_parameter: $client_type),*)
                [$($client_answer)?] [$($($client_none)?)?]
            }
            impl $crate::typed::ClientEvent for $client {}
        )*

        $(
            $crate::__contract_event! {
                [$($server_doc)*] [$visible] $server_name => $server
                ($($server_parameter: $server_type),*)
                [$($server_answer)?] []
            }
            impl $crate::typed::ServerEvent for $server {}
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __contract_list {
    () => { () };
    ($first:ident $($rest:ident)*) => { ($first, $crate::__contract_list!($($rest)*)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __contract_answer {
    () => { () };
    ($answer:ty) => { $crate::Ack<$answer> };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __contract_event {
    (
        [$($doc:literal)*] [$visible:vis] $name:literal => $event:ident
        ($($parameter:ident : $type:ty),*) [$($answer:ty)?] [$($none:tt)?]
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default)]
        $visible struct $event;

        const _: () = ::core::assert!(
            !$crate::typed::is_reserved_name($name),
            ::core::concat!("both sides keep the event name ", $name, " for themselves")
        );

        impl $crate::typed::TypedEvent for $event {
            const NAME: &'static str = $name;
            const DOCS: &'static [&'static str] = &[$($doc),*];
            const PARAMETERS: &'static [&'static str] = &[$(::core::stringify!($parameter)),*];
            const MAY_GO_UNANSWERED: bool = {
                let none: &[()] = &[$($none)?];
                !none.is_empty()
            };
            type Parameters = ($($type,)*);
            type Answer = $crate::__contract_answer!($($answer)?);
        }
    };
}
