//! Layer 4: the other servers of a cluster, and what is kept of events and sockets beyond the
//! moment.
//!
//! A server without an adapter is alone: nothing of this exists for it. With one, each namespace
//! has a [`LinkHandle`](link::LinkHandle), by which it says to the [`Link`](link::Link), an actor,
//! what the other nodes have to know, and never waits for it; what other nodes say comes to it as
//! [`Incoming`](link::Incoming). The link knows who waits for whose answers. What carries messages
//! is a [`Bus`](bus::Bus): the seam that each driver implements. The [`wire`] formats are pure.
//! Why it is cut so: `docs/decisions/0013-adapter-seam.md`.
//!
//! [`recovery`] is connection state recovery on one server.

// Each driver uses its part; with all of them nothing is left over.
#![cfg_attr(not(all(feature = "redis", feature = "testing")), allow(dead_code))]

pub(crate) mod bus;
pub(crate) mod link;
#[cfg(feature = "testing")]
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod node;
pub(crate) mod recovery;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod wire;

use std::{fmt, sync::Arc};

use self::bus::Connect;
#[cfg(feature = "redis")]
pub use self::redis::{
    RedisAdapter, RedisEmitError, RedisEmitter, RedisError, RedisStreamsAdapter,
    ShardedRedisAdapter, SubscriptionMode,
};
pub use self::{node::ClusterState, recovery::Recovery};

/// What connects the servers of a cluster, for
/// [`SocketIoBuilder::adapter`](crate::SocketIoBuilder::adapter).
///
/// The drivers of this crate implement it: [`Local`], which connects nothing, and with the feature
/// `redis` `RedisAdapter`, `ShardedRedisAdapter` and `RedisStreamsAdapter`.
///
/// ```
/// use greenroom::{Adapter, Local, Namespace, SocketIo, SocketIoBuilder};
///
/// /// The same application, alone or in a cluster.
/// fn application(adapter: impl Adapter) -> SocketIoBuilder {
///     SocketIo::builder().adapter(adapter).namespace(Namespace::new("/chat"))
/// }
/// let on_my_machine = application(Local);
/// ```
pub trait Adapter: fmt::Debug {
    #[doc(hidden)]
    fn into_boxed(self) -> BoxedAdapter;
}

/// An adapter made ready for a server. Opaque.
pub struct BoxedAdapter(pub(crate) Option<Arc<dyn Connect>>);

impl fmt::Debug for BoxedAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxedAdapter").field(&self.0).finish()
    }
}

/// The default: a server that is alone. There are no other nodes, so nothing is sent to them and
/// nobody's answer is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Adapter for Local {
    fn into_boxed(self) -> BoxedAdapter {
        BoxedAdapter(None)
    }
}
