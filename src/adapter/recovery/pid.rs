//! The secret by which a client has its socket back.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hashbrown::Equivalent;
use subtle::ConstantTimeEq;

/// Random bytes of a secret: 144 bits.
const RANDOM_BYTES: usize = 18;

/// Bytes of the longest one that a server may give. Those of Node.js have 20.
const MAX_LENGTH: usize = 64;

/// The private id of a session of recovery. Unlike the socket's id, only its client knows it.
///
/// It is found by a hash with a random seed; what has the same hash is compared in constant
/// time.
#[derive(Clone)]
pub(crate) struct Pid(Box<str>);

impl Pid {
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()).into())
    }

    /// One that a client says it has; `None` if no server can have given it.
    pub(crate) fn given(text: &str) -> Option<Self> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let may_be = (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(known);
        may_be.then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Pid {
    fn eq(&self, other: &Self) -> bool {
        Claimed(&self.0).equivalent(other)
    }
}

impl Eq for Pid {}

impl Hash for Pid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Claimed(&self.0).hash(state);
    }
}

/// What a client says that its secret is.
#[derive(Hash)]
pub(super) struct Claimed<'a>(pub(super) &'a str);

impl Equivalent<Pid> for Claimed<'_> {
    fn equivalent(&self, pid: &Pid) -> bool {
        self.0.as_bytes().ct_eq(pid.0.as_bytes()).into()
    }
}

impl fmt::Debug for Pid {
    /// Logs must not carry it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pid(..)")
    }
}

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;

    use super::*;

    #[test]
    fn a_secret_has_144_bits_and_is_found_by_its_text_alone() {
        let pids: HashMap<Pid, usize> = (0..1000).map(|n| (Pid::random(), n)).collect();
        assert_eq!(pids.len(), 1000);
        for (pid, n) in &pids {
            assert_eq!(URL_SAFE_NO_PAD.decode(pid.as_str()).unwrap().len(), 18);
            assert_eq!(pids.get(&Claimed(pid.as_str())), Some(n));
            for other in ["", &pid.as_str()[1..], &format!("{}x", pid.as_str())] {
                assert_eq!(pids.get(&Claimed(other)), None);
            }
        }
        assert_eq!(format!("{:?}", Pid::random()), "Pid(..)");
    }
}
