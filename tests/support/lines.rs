//! What the crate logs, to be read by a test.
#![allow(dead_code, reason = "every file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::{Level, Subscriber};

/// The lines of a log, without colours. Cloning gives another handle of the same.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Those of all threads, and of whatever other test runs in this process: once in a process.
    pub(crate) fn of_all_threads(level: Level) -> Self {
        let lines = Self::default();
        tracing::subscriber::set_global_default(lines.subscriber(level)).unwrap();
        lines
    }

    /// Those of this thread, until the guard is dropped.
    pub(crate) fn of_this_thread(level: Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.subscriber(level));
        (lines, guard)
    }

    fn subscriber(&self, level: Level) -> impl Subscriber + use<> {
        let writer = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish()
    }

    /// All of them so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
