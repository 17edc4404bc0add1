//! The time that a client has for the head of a request: actix-http limits it for the first request of
//! a connection, this for all that follow.
//!
//! The socket knows when bytes come, the service when a request is complete and when it is answered. Both
//! keep a [`Watch`] of their connection. What comes while a request is being answered may be the rest of
//! its body or the begin of the next head; hence the time between two requests is limited too, by as much
//! as an idle connection is kept.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use actix_web::{http::KeepAlive, rt::net::TcpStream};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

/// How long a connection may wait for a complete head.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// From the first bytes of a head on.
    head: Option<Duration>,
    /// From the end of an answer on; `None` if idle connections are kept as long as they last.
    between: Option<Duration>,
}

impl Limits {
    /// `head` may be zero, for no limits.
    pub(super) fn new(head: Duration, keep_alive: KeepAlive) -> Self {
        let head = (!head.is_zero()).then_some(head);
        let between = head.and_then(|head| match keep_alive {
            KeepAlive::Timeout(idle) => Some(head.max(idle)),
            KeepAlive::Disabled => Some(head),
            KeepAlive::Os => None,
        });
        Self { head, between }
    }
}

/// See the module's description.
pub(super) struct Watch {
    limits: Limits,
    phase: Cell<Phase>,
    /// Whom to tell that an answer has ended, if no timer does.
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Of the first head actix-http takes care.
    First,
    Answering,
    /// Between two requests.
    Idle {
        until: Option<Instant>,
    },
    /// Something of a head has come.
    Head {
        until: Option<Instant>,
    },
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self { limits, phase: Cell::new(Phase::First), waker: RefCell::default() })
    }

    /// Bytes have come.
    fn heard(&self) {
        if matches!(self.phase.get(), Phase::Idle { .. }) {
            self.phase.set(Phase::Head { until: after(self.limits.head) });
        }
    }

    /// A head was complete; what is returned is dropped when its answer is written.
    pub(super) fn answering(self: Rc<Self>) -> Answering {
        self.phase.set(Phase::Answering);
        Answering(self)
    }

    fn until(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::First | Phase::Answering => None,
            Phase::Idle { until } | Phase::Head { until } => until,
        }
    }

    fn notify(&self, cx: &Context<'_>) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *kept = Some(cx.waker().clone());
        }
    }
}

fn after(limit: Option<Duration>) -> Option<Instant> {
    limit.map(|limit| Instant::now() + limit)
}

/// A request that is being answered.
pub(super) struct Answering(Rc<Watch>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.phase.set(Phase::Idle { until: after(self.0.limits.between) });
        // Nothing else makes the dispatcher read, and so begin to wait, before something comes.
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

/// The socket of a connection that speaks HTTP. Out of time it ends as if the client had closed it.
pub(super) struct Timed {
    socket: TcpStream,
    watch: Rc<Watch>,
    /// Made when it is first needed, and left to run when the time changes to a later one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(super) fn new(socket: TcpStream, limits: Limits) -> Self {
        Self { socket, watch: Watch::new(limits), timer: None }
    }

    pub(super) fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }

    /// From now on it is no connection for requests.
    pub(super) fn into_inner(self) -> TcpStream {
        self.socket
    }

    /// Ready when the time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(timer) = &mut self.timer else {
                let Some(until) = self.watch.until() else {
                    self.watch.notify(cx);
                    return Poll::Pending;
                };
                self.timer = Some(Box::pin(sleep_until(until)));
                continue;
            };
            match self.watch.until() {
                // It has begun anew, or will: a timer that wakes too early is set once more then.
                Some(until) if timer.deadline() > until => timer.as_mut().reset(until),
                _ => {}
            }
            ready!(timer.as_mut().poll(cx));
            match self.watch.until() {
                Some(until) if until <= timer.deadline() => return Poll::Ready(()),
                Some(until) => timer.as_mut().reset(until),
                None => self.timer = None,
            }
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(cx, buffer) {
            Poll::Pending if this.watch.limits.head.is_some() => {
                ready!(this.poll_over(cx));
                debug!(phase = ?this.watch.phase.get(), "no complete request came in time");
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                this.watch.heard();
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
