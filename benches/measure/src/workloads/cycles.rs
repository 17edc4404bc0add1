//! Connections that come and go: open, join the namespace, leave it, close.
use super::{Progress, Span};
use crate::{
    Result,
    client::{Way, open},
    codec::Codec,
};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

/// Connections at a time. An upgrade may take a tenth of a second however idle the server is: a
/// waiting poll is answered by a timer.
fn at_a_time(way: Way) -> usize {
    match way {
        Way::Direct => 8,
        Way::Upgraded => 256,
    }
}

/// When it is enough.
#[derive(Clone, Copy)]
pub enum Enough {
    After(Span),
    Count(usize),
}

/// Opens and closes connections. The latency is that from nothing to a joined namespace.
pub fn run(address: SocketAddr, way: Way, enough: Enough) -> Result<Progress> {
    let begun = AtomicUsize::new(0);
    let another = || match enough {
        Enough::After(span) => !span.is_over(Instant::now()),
        Enough::Count(count) => begun.fetch_add(1, Ordering::Relaxed) < count,
    };
    let some = || -> Result<Progress> {
        let mut progress = Progress::default();
        while another() {
            let start = Instant::now();
            let socket = open(address, way, Codec::Text)?;
            progress.latencies.add(start.elapsed());
            socket.close()?;
            progress.operations += 1;
        }
        Ok(progress)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..at_a_time(way)).map(|_| scope.spawn(some)).collect();
        let mut all = Progress::default();
        for thread in threads {
            let progress = thread.join().map_err(|_| "a thread panicked")??;
            all.operations += progress.operations;
            all.latencies.merge(&progress.latencies);
        }
        Ok(all)
    })
}
