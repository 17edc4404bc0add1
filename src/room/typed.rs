//! Declared events in broadcasts.

use super::{Broadcast, BroadcastTarget};
use crate::packet::{
    EncodeError,
    typed::{DataOf, ServerEvent, WriteParameters},
};

impl BroadcastTarget {
    /// Adds an event of a [`contract!`](crate::contract).
    ///
    /// # Errors
    /// If the data has no JSON form.
    pub fn typed<E: ServerEvent<Answer = ()>>(
        self,
        _: E,
        data: &DataOf<E>,
    ) -> Result<Broadcast, EncodeError> {
        self.event(E::NAME, &E::Parameters::written(data))
    }
}
