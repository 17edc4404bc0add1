//! Layer 4: what is kept of broadcasts and of sockets beyond the moment. For now that is
//! connection state recovery on one server; adapters that carry broadcasts to other servers belong
//! here too.

pub(crate) mod message;
pub(crate) mod recovery;
#[allow(dead_code)]
pub(crate) mod wire;

pub use self::recovery::Recovery;
