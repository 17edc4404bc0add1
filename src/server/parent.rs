//! All children of one parent, operated together.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::parents::ListedParent;
use crate::{
    room::IntoRooms,
    socket::{BroadcastOperator, EmitError, OperatorBase, Scope},
};

/// The namespaces born of one [`Parent`](crate::Parent): what is done here is done in each that
/// exists at that moment. A cheap handle.
///
/// ```no_run
/// use greenroom::{Parent, prelude::*};
///
/// async fn close_down(io: &SocketIo) -> Result<(), EmitError> {
///     let games = io.spawn_parent(Parent::matching(r"^/game-[0-9]+$"));
///     // Some time later, in every game that clients have asked for:
///     games.to("players").emit("closing", &())?;
///     games.sockets().disconnect(false);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ParentNamespace(Arc<ListedParent>);

impl fmt::Debug for ParentNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParentNamespace").field(&self.0.name).finish()
    }
}

impl ParentNamespace {
    pub(super) fn new(parent: Arc<ListedParent>) -> Self {
        Self(parent)
    }

    /// The name of the parent, see [`Parent::name`](crate::Parent::name).
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The names of the children that run, sorted.
    pub fn children(&self) -> Vec<String> {
        self.0.homes().iter().map(|home| home.name.to_string()).collect()
    }

    /// The operator of all sockets of all children: emit with flags and with acks, move,
    /// disconnect, list.
    pub fn sockets(&self) -> BroadcastOperator {
        (Arc::clone(&self.0) as Arc<dyn Scope>).operator()
    }

    /// Sends an event to every socket of every child.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.sockets().emit(event, data)
    }

    /// The sockets of one room or several, in every child.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.sockets().to(rooms)
    }

    /// The same as [`ParentNamespace::to`].
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// The sockets of every child without those of one room or several.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.sockets().except(rooms)
    }
}
