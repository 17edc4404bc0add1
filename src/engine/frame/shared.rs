//! A frame for many receivers, and what has been compressed of it: once per window, whoever of them
//! comes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{FutureExt, future};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Ready;

/// Completes with the frame, or fails if whoever was at it has given up.
pub(crate) type Underway = future::Shared<oneshot::Receiver<Bytes>>;

#[derive(Debug)]
pub(crate) struct Shared {
    ready: Ready,
    /// One per window that receivers have agreed on: nearly always one.
    compressed: Mutex<SmallVec<[(u8, Compressed); 1]>>,
    key: Option<Box<str>>,
}

#[derive(Debug)]
enum Compressed {
    Underway(Underway),
    Done(Bytes),
}

/// What a receiver that wants the frame compressed has to do.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Send this.
    Done(Bytes),
    /// Wait for another receiver.
    Wait(Underway),
    /// Compress it, and tell the others.
    Work(Job),
}

/// The duty to compress a frame. If it is dropped the next receiver gets it.
#[derive(Debug)]
pub(crate) struct Job {
    shared: Arc<Shared>,
    window_bits: u8,
    result: Option<oneshot::Sender<Bytes>>,
}

impl Shared {
    pub(super) fn new(ready: Ready) -> Self {
        Self { ready, compressed: Mutex::default(), key: None }
    }

    pub(super) fn keyed(ready: Ready, key: &str) -> Self {
        Self { key: Some(key.into()), ..Self::new(ready) }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Asks for the frame as it is compressed with this window.
    pub(crate) fn claim(self: &Arc<Self>, window_bits: u8) -> Claim {
        let mut compressed = self.lock();
        let known = compressed.iter().find(|(bits, _)| *bits == window_bits);
        match known.map(|(_, compressed)| compressed) {
            Some(Compressed::Done(bytes)) => Claim::Done(bytes.clone()),
            Some(Compressed::Underway(underway)) => Claim::Wait(underway.clone()),
            None => {
                let (result, underway) = oneshot::channel();
                compressed.push((window_bits, Compressed::Underway(underway.shared())));
                Claim::Work(Job { shared: Arc::clone(self), window_bits, result: Some(result) })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, SmallVec<[(u8, Compressed); 1]>> {
        // A panic while the lock is held would be a bug of this file; the list stays usable.
        self.compressed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Hands the compressed frame to all who wait, and to those who come.
    pub(crate) fn finish(mut self, frame: Bytes) {
        if let Some(result) = self.result.take() {
            self.replace(Some(frame.clone()));
            // Perhaps nobody waits.
            let _ = result.send(frame);
        }
    }

    fn replace(&self, frame: Option<Bytes>) {
        let mut compressed = self.shared.lock();
        compressed.retain(|(bits, _)| *bits != self.window_bits);
        compressed.extend(frame.map(|frame| (self.window_bits, Compressed::Done(frame))));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Not finished: the next one who asks gets the job, and those who wait ask again when `result`
        // is dropped behind this.
        if self.result.is_some() {
            self.replace(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::frame::Frame;

    fn shared() -> Arc<Shared> {
        let Frame::Shared(shared) = Frame::text_packet("4hello").share() else { unreachable!() };
        shared
    }

    #[test]
    fn a_frame_takes_no_more_room_than_before_it_could_be_shared() {
        assert_eq!(size_of::<Frame>(), size_of::<Bytes>() + size_of::<usize>());
    }

    #[test]
    fn the_first_receiver_of_each_window_works_and_the_others_get_what_it_made() {
        let frame = shared();
        let Claim::Work(job) = frame.claim(15) else { panic!("nobody was here before") };
        let Claim::Wait(underway) = frame.claim(15) else { panic!("somebody is at it") };
        assert!(matches!(frame.claim(12), Claim::Work(_)), "another window is another frame");

        job.finish(Bytes::from_static(b"compressed"));
        assert_eq!(underway.now_or_never().unwrap().unwrap(), "compressed");
        let Claim::Done(bytes) = frame.claim(15) else { panic!("it is done") };
        assert_eq!(bytes, "compressed");
    }

    #[test]
    fn a_job_that_is_given_up_goes_to_the_next() {
        let frame = shared();
        let Claim::Work(job) = frame.claim(15) else { panic!("nobody was here before") };
        let Claim::Wait(underway) = frame.claim(15) else { panic!("somebody is at it") };
        drop(job);
        assert!(underway.now_or_never().unwrap().is_err());
        assert!(matches!(frame.claim(15), Claim::Work(_)));
    }
}
