//! What a contract says of its events, with the TypeScript names of their types.

use ts_rs::TS;

use super::types::Types;
use crate::{Ack, typed::TypedEvent};

/// An event as its declaration in TypeScript needs it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) docs: &'static [&'static str],
    /// Name and type.
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) answer: Option<String>,
    pub(super) may_go_unanswered: bool,
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Description<'a> {
    pub(super) types: Types<'a>,
    events: Vec<Event>,
}

impl<'a> Description<'a> {
    pub(super) fn new(types: Types<'a>) -> Self {
        Self { types, events: Vec::new() }
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// Events whose parameters and answers all have TypeScript types.
#[diagnostic::on_unimplemented(
    message = "the events `{Self}` have no TypeScript types",
    note = "every parameter and answer derives `TS` of `ts-rs`; bytes are `greenroom::typed::Binary`"
)]
pub trait Describe {
    #[doc(hidden)]
    fn describe(into: &mut Description<'_>);
}

impl Describe for () {
    fn describe(_: &mut Description<'_>) {}
}

impl<E, Rest> Describe for (E, Rest)
where
    E: TypedEvent<Parameters: DescribeParameters, Answer: Answer>,
    Rest: Describe,
{
    fn describe(into: &mut Description<'_>) {
        let types = E::Parameters::names(&mut into.types);
        let event = Event {
            name: E::NAME,
            docs: E::DOCS,
            parameters: E::PARAMETERS.iter().copied().zip(types).collect(),
            answer: E::Answer::name(&mut into.types),
            may_go_unanswered: E::MAY_GO_UNANSWERED,
        };
        into.events.push(event);
        Rest::describe(into);
    }
}

/// The answer of an event: [`Ack`] of a type, or `()` for none.
pub trait Answer {
    #[doc(hidden)]
    fn name(types: &mut Types<'_>) -> Option<String>;
}

impl Answer for () {
    fn name(_: &mut Types<'_>) -> Option<String> {
        None
    }
}

impl<T: TS + 'static> Answer for Ack<T> {
    fn name(types: &mut Types<'_>) -> Option<String> {
        Some(types.name::<T>())
    }
}

/// Parameters that all have TypeScript types.
pub trait DescribeParameters {
    #[doc(hidden)]
    fn names(types: &mut Types<'_>) -> Vec<String>;
}

macro_rules! parameters {
    ($($name:ident)*) => {
        impl<$($name: TS + 'static),*> DescribeParameters for ($($name,)*) {
            fn names(_types: &mut Types<'_>) -> Vec<String> {
                vec![$(_types.name::<$name>()),*]
            }
        }
    };
}

parameters!();
parameters!(A);
parameters!(A B);
parameters!(A B C);
parameters!(A B C D);
parameters!(A B C D E);
parameters!(A B C D E F);
parameters!(A B C D E F G);
parameters!(A B C D E F G H);
parameters!(A B C D E F G H I);
parameters!(A B C D E F G H I J);
parameters!(A B C D E F G H I J K);
parameters!(A B C D E F G H I J K L);
