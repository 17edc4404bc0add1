//! Sending declared events to whole namespaces.

use super::{ParentNamespace, SocketIo};
use crate::{
    packet::typed::{DataOf, ServerEvent},
    socket::EmitError,
};

impl SocketIo {
    /// Sends an event of a [`contract!`](crate::contract) to every socket of the main namespace.
    ///
    /// # Errors
    /// If the data has no JSON form.
    pub fn emit_typed<E: ServerEvent<Answer = ()>>(
        &self,
        event: E,
        data: &DataOf<E>,
    ) -> Result<(), EmitError> {
        self.sockets().emit_typed(event, data)
    }
}

impl ParentNamespace {
    /// Sends an event of a [`contract!`](crate::contract) to every socket of every child.
    ///
    /// # Errors
    /// If the data has no JSON form.
    pub fn emit_typed<E: ServerEvent<Answer = ()>>(
        &self,
        event: E,
        data: &DataOf<E>,
    ) -> Result<(), EmitError> {
        self.sockets().emit_typed(event, data)
    }
}
