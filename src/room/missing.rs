//! Who has not answered.

use std::fmt;

/// The nodes of a cluster that have not answered in time.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// async fn seats(io: &SocketIo) -> Result<usize, String> {
///     io.to("seated").count_sockets().await.map_err(|incomplete| match incomplete.missing.count {
///         Some(1) => format!("not heard of: {:?}", incomplete.missing.nodes),
///         _ => "the cluster is in trouble".into(),
///     })
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// How many; `None` if not even that became known.
    pub count: Option<usize>,
    /// The names of those that may be meant, sorted. As many as `count` says if it is certain; more
    /// where some answers did not say whose they were; fewer or none where the nodes are not known
    /// by name.
    pub nodes: Vec<String>,
}

impl Missing {
    /// Whether all have answered.
    pub fn is_nobody(&self) -> bool {
        self.count == Some(0)
    }

    /// Nobody.
    pub(crate) fn nobody() -> Self {
        Self { count: Some(0), nodes: Vec::new() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(1) => f.write_str("1 server has not answered")?,
            Some(count) => write!(f, "{count} servers have not answered")?,
            None => f.write_str("other servers have not answered")?,
        }
        if !self.nodes.is_empty() {
            write!(f, ": {}", self.nodes.join(", "))?;
        }
        Ok(())
    }
}

/// Not all nodes of the cluster have answered: what the others answered, and who has not.
///
/// ```no_run
/// use greenroom::prelude::*;
///
/// async fn count(io: &SocketIo) -> usize {
///     match io.to("lobby").count_sockets().await {
///         Ok(count) => count,
///         Err(incomplete) => {
///             eprintln!("{}", incomplete.missing);     // "1 server has not answered: ..."
///             incomplete.results                       // those of the servers that have
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("{missing}")]
#[non_exhaustive]
pub struct Incomplete<T: fmt::Debug> {
    /// What is known nevertheless.
    pub results: T,
    /// Who has not answered.
    pub missing: Missing,
}

impl<T: fmt::Debug> Incomplete<T> {
    pub(crate) fn unless_complete(results: T, missing: Missing) -> Result<T, Self> {
        if missing.is_nobody() { Ok(results) } else { Err(Self { results, missing }) }
    }
}
