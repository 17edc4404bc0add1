#![doc = include_str!("../../docs/testing.md")]

mod connection;
mod line;
mod opening;
mod server;
mod socket;

use std::{fmt, panic::Location, time::Duration};

use actix::System;
use serde_json::Value;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::Instant,
};

pub use self::{
    connection::TestConnection,
    opening::{TestRequest, TestTarget},
    server::TestServer,
    socket::{TestEvent, TestSocket},
};
pub use crate::{
    adapter::memory::{MemoryBus, MemoryNode},
    namespace::{BreakRooms, KillNamespace, KillRooms},
};

/// Where a test called one of the methods that may fail it.
type At = &'static Location<'static>;

/// A client was not let in: by a middleware, because there is no such namespace, or because its
/// request was refused.
///
/// ```
/// use greenroom::{prelude::*, testing::TestSocket};
///
/// # actix_rt::System::new().block_on(async {
/// let vault = Namespace::new("/vault")
///     .before_connect(|_: Socket| async { Err::<(), _>(ConnectError::new("closed on Sundays")) });
/// let refused = TestSocket::connect(&actix::Actor::start(vault), ()).await.unwrap_err();
/// assert_eq!(refused.message, "closed on Sundays");
/// # });
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// What the client reads.
    pub message: String,
    /// What came with it.
    pub data: Option<Value>,
}

impl Refused {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

/// How a socket ended, as its client sees it.
///
/// ```
/// use greenroom::{prelude::*, testing::{Parting, TestServer}};
///
/// # actix_rt::System::new().block_on(async {
/// let server = TestServer::start(SocketIo::builder());
/// let (ann, bob) = (server.connect("/", ()).await.unwrap(), server.connect("/", ()).await.unwrap());
/// ann.leave();
/// server.settle().await;
/// server.io().sockets().disconnect(false).await;
/// assert_eq!(ann.disconnected().await, Parting::ByClient);
/// assert_eq!(bob.disconnected().await, Parting::ByServer);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The server put it out of the namespace: "io server disconnect".
    ByServer,
    /// The client left, or dropped the connection: "io client disconnect".
    ByClient,
    /// The connection was closed by the server, with this code of a WebSocket's close frame:
    /// "transport close".
    Closed(u16),
}

impl Parting {
    /// The reason in the words of the official client.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByServer => "io server disconnect",
            Self::ByClient => "io client disconnect",
            Self::Closed(_) => "transport close",
        }
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long a test waits for what does not come.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For something.
    limit: Duration,
    /// For nothing.
    silence: Duration,
}

impl Patience {
    /// With the clock paused: time passes only when nothing is left to do.
    fn paused(heartbeat: Duration) -> Self {
        Self { limit: heartbeat + Duration::from_secs(60), silence: Duration::from_millis(1) }
    }

    /// With several threads, whose work no clock knows of.
    fn real() -> Self {
        Self { limit: Duration::from_secs(20), silence: Duration::from_millis(100) }
    }
}

/// What to say where [`has_system`] fails.
const NO_SYSTEM: &str =
    "a test of sockets needs an actix system on one thread: use #[actix_rt::test]";

/// Whether there is what actors and a paused clock need.
fn has_system() -> bool {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    flavor.is_ok_and(|flavor| flavor == RuntimeFlavor::CurrentThread)
        && System::try_current().is_some()
}

/// Pauses tokio's clock, unless it is paused already.
fn pause() {
    let (before, start) = (Instant::now(), std::time::Instant::now());
    while start.elapsed().is_zero() {
        std::hint::spin_loop();
    }
    if Instant::now() != before {
        tokio::time::pause();
    }
}
