//! Listeners of declared events.

use actix::prelude::*;

use super::{Namespace, On};
use crate::{
    packet::typed::{ClientEvent, Contract, DataOf, EventNames},
    socket::{FromSocket, TypedListener},
};

impl Namespace {
    /// Adds a listener for an event of a [`contract!`](crate::contract): it takes what the event
    /// declares and answers what it declares, or it does not compile.
    #[must_use]
    pub fn on_typed<E: ClientEvent, M>(self, _: E, listener: impl TypedListener<E, M>) -> Self {
        self.on(E::NAME, listener.into_typed())
    }

    /// The events of a contract that clients may send and that no listener of this namespace waits
    /// for. Where a namespace should keep the whole contract, a test says
    /// `assert!(namespace.unheard::<Chat>().is_empty())`.
    #[must_use]
    pub fn unheard<C: Contract>(&self) -> Vec<&'static str> {
        let heard = &self.description.listeners.events;
        C::Client::names().into_iter().filter(|name| !heard.contains_key(*name)).collect()
    }
}

impl<A: Actor<Context = Context<A>>> On<A> {
    /// An event of a [`contract!`](crate::contract) becomes a message: a [`FromSocket`] of what it
    /// declares.
    pub fn typed<E>(&mut self, _: E)
    where
        E: ClientEvent,
        DataOf<E>: Send,
        E::Answer: Send,
        A: Handler<FromSocket<DataOf<E>, E::Answer>>,
        Recipient<FromSocket<DataOf<E>, E::Answer>>:
            TypedListener<E, FromSocket<DataOf<E>, E::Answer>>,
    {
        let recipient = self.actor.clone().recipient::<FromSocket<DataOf<E>, E::Answer>>();
        self.change(|namespace| namespace.on(E::NAME, recipient.into_typed()));
    }
}
