//! The secret by which a client has its socket back.

use std::{borrow::Borrow, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Random bytes of a secret: 144 bits.
const RANDOM_BYTES: usize = 18;

/// The private id of a session of recovery. Unlike the socket's id, only its client knows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pid(Box<str>);

impl Pid {
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Pid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pid {
    /// Logs must not carry it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pid(..)")
    }
}
