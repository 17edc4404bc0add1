//! Showing somebody who has come all sockets, so many at a time.
//!
//! The UI takes `all_sockets` as all there are, so only the first batch goes by that name; each of
//! the others is announced as if it connected now, with the time when it did. A small server is
//! shown as the reference does it: in one message.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::oneshot;
use tracing::info;

use super::view::{View, iso8601};
use crate::{
    engine::WhenFull,
    namespace::messages::{Leaf, Page},
    room::{Key, SocketId},
    server::SocketIo,
    socket::{EmitError, RemoteSocket, Socket},
};

/// Sockets of one batch.
const BATCH_SOCKETS: usize = 200;
/// Sockets that are asked for at a time.
const PAGE_SOCKETS: usize = 32;
/// About as many bytes of them.
const BATCH_BYTES: usize = 256 * 1024;
/// What may wait for the client before it gets another batch.
const BACKLOG_BYTES: usize = 128 * 1024;

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to show.
    More,
    /// The client has to read first, or other servers to answer.
    Later,
    Done,
}

/// Where the sockets come from.
enum Source {
    /// The namespaces of this server that are still to be shown, the next one last.
    Here {
        names: Vec<String>,
        after: Key,
    },
    /// All sockets of the cluster have been asked for.
    Asked(oneshot::Receiver<Vec<RemoteSocket>>),
    /// Those of other servers.
    Elsewhere(std::vec::IntoIter<RemoteSocket>),
    Nowhere,
}

/// One socket to show: when it came, and what is known of it.
struct Shown {
    since: String,
    view: Value,
}

/// See the module's description.
pub(super) struct Listing {
    pub(super) admin: Socket,
    source: Source,
    /// Those of this server that were shown, where there are others.
    seen: Option<HashSet<SocketId>>,
    first: bool,
    /// How many more are shown.
    left: usize,
}

impl Listing {
    pub(super) fn new(io: &SocketIo, admin: Socket, clustered: bool, most: usize) -> Self {
        let mut names = io.namespaces();
        names.reverse();
        Self {
            admin,
            source: Source::Here { names, after: 0 },
            seen: clustered.then(HashSet::new),
            first: true,
            left: most,
        }
    }

    /// Shows another batch, if the client has read the ones before.
    pub(super) async fn step(&mut self, io: &SocketIo, view: &View) -> Step {
        if !self.admin.connected() {
            return Step::Done;
        }
        if self.admin.backlog().1 > BACKLOG_BYTES {
            return Step::Later;
        }
        let batch = match &mut self.source {
            Source::Here { .. } => self.local_batch(io, view).await,
            Source::Asked(answer) => {
                match answer.try_recv() {
                    Ok(sockets) => self.source = Source::Elsewhere(sockets.into_iter()),
                    Err(oneshot::error::TryRecvError::Empty) => return Step::Later,
                    Err(oneshot::error::TryRecvError::Closed) => self.source = Source::Nowhere,
                }
                return Step::More;
            }
            Source::Elsewhere(_) => self.remote_batch(view),
            Source::Nowhere => return Step::Done,
        };
        if self.show(batch).is_err() {
            return Step::Done;
        }
        if self.left == 0 && !matches!(self.source, Source::Nowhere) {
            info!("there are more sockets than the admin UI is shown; the JSON API has them all");
            return Step::Done;
        }
        Step::More
    }

    /// Sockets of as many namespaces as have room in one message.
    async fn local_batch(&mut self, io: &SocketIo, view: &View) -> Vec<Shown> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let most = BATCH_SOCKETS.min(self.left);
        let Source::Here { names, after } = &mut self.source else { return batch };
        while batch.len() < most && bytes < BATCH_BYTES {
            let Some(name) = names.last() else { break };
            let limit = PAGE_SOCKETS.min(most - batch.len());
            let leaf = match io.namespace(name) {
                Some(addr) => addr.send(Page { after: *after, limit, room: None }).await.ok(),
                None => None,
            };
            // One that has ended meanwhile has no sockets.
            let Leaf { sockets, next } = leaf.unwrap_or(Leaf { sockets: Vec::new(), next: None });
            if next.is_none() {
                names.pop();
            }
            *after = next.unwrap_or(0);
            for found in sockets {
                let value = view.socket(&found.socket, &found.rooms);
                bytes += size(&value);
                if let Some(seen) = &mut self.seen {
                    seen.insert(found.socket.id().clone());
                }
                let since = iso8601(found.socket.handshake().request.time);
                batch.push(Shown { since, view: value });
            }
        }
        if names.is_empty() {
            self.source = match self.seen {
                Some(_) => Source::Asked(ask_all(io)),
                None => Source::Nowhere,
            };
        }
        self.left -= batch.len();
        batch
    }

    fn remote_batch(&mut self, view: &View) -> Vec<Shown> {
        let Source::Elsewhere(sockets) = &mut self.source else { return Vec::new() };
        let seen = self.seen.get_or_insert_default();
        let unseen = sockets.by_ref().filter(|socket| !seen.contains(socket.id()));
        let batch: Vec<_> = unseen
            .take(BATCH_SOCKETS.min(self.left))
            .map(|socket| Shown {
                since: iso8601(socket.handshake().request.time),
                view: view.remote(socket.details(), socket.namespace()),
            })
            .collect();
        self.left -= batch.len();
        if sockets.len() == 0 {
            self.source = Source::Nowhere;
        }
        batch
    }

    fn show(&mut self, batch: Vec<Shown>) -> Result<(), EmitError> {
        let admin = || self.admin.when_full(WhenFull::Close);
        if self.first {
            self.first = false;
            let views: Vec<_> = batch.into_iter().map(|shown| shown.view).collect();
            return admin().emit("all_sockets", &(views,));
        }
        for Shown { since, view } in batch {
            admin().emit("socket_connected", &(view, since))?;
        }
        Ok(())
    }
}

/// Bytes of JSON.
fn size(value: &Value) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

/// Asks all servers for the sockets of the namespaces that this one has.
fn ask_all(io: &SocketIo) -> oneshot::Receiver<Vec<RemoteSocket>> {
    let (sender, answer) = oneshot::channel();
    let io = io.clone();
    actix::spawn(async move {
        let operators: Vec<_> = io.namespaces().iter().filter_map(|name| io.of(name)).collect();
        let asked = operators.iter().map(|operator| operator.fetch_sockets());
        let sockets = join_all(asked).await.into_iter().flatten().collect();
        // The client may have left.
        let _ = sender.send(sockets);
    });
    answer
}
