//! Who runs the actor of a session: a task of its own, and whoever brings packets to its thread.
//!
//! A WebSocket that has read a message lets the session handle it on the spot, and finds the answer
//! in the outbox: one turn of one task, where a wake-up of the session and one of the transport would
//! cost three. The actor's future is the same; its wakers are always those of its own task.

use std::{
    cell::{OnceCell, RefCell},
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context as Task, Poll, Waker},
};

use actix::{Context, dev::ContextFut};

use super::{Link, Protocol};

/// Lets a session of this thread handle what has been handed in.
pub(crate) trait Turn: fmt::Debug {
    /// Handles it now, as much as fits into one turn. `false` if the session has to be woken instead.
    fn take(&self) -> bool;

    /// Whether it has had its first turn.
    fn has_begun(&self) -> bool;
}

/// The future of the actor.
type Life<P> = ContextFut<Link<P>, Context<Link<P>>>;

struct Runner<P: Protocol> {
    actor: RefCell<Option<Life<P>>>,
    /// The task's own, from its first turn on.
    waker: OnceCell<Waker>,
}

/// Starts the actor of a session on the current thread.
pub(crate) fn start<P: Protocol>(link: Link<P>) -> Rc<dyn Turn> {
    let actor = Context::new().into_future(link);
    let runner = Rc::new(Runner { actor: RefCell::new(Some(actor)), waker: OnceCell::new() });
    let own = Rc::clone(&runner);
    actix::spawn(poll_fn(move |task| {
        let waker = own.waker.get_or_init(|| task.waker().clone());
        own.poll(&mut Task::from_waker(waker))
    }));
    runner
}

impl<P: Protocol> Runner<P> {
    fn poll(&self, task: &mut Task<'_>) -> Poll<()> {
        let Ok(mut slot) = self.actor.try_borrow_mut() else {
            // It is at work further up this stack, and will look again.
            task.waker().wake_by_ref();
            return Poll::Pending;
        };
        let Some(actor) = slot.as_mut() else { return Poll::Ready(()) };
        // A panic ends the actor, as it would end a task, and not the transport that brought it.
        if let Ok(Poll::Pending) = catch_unwind(AssertUnwindSafe(|| Pin::new(actor).poll(task))) {
            return Poll::Pending;
        }
        let ended = slot.take();
        drop(slot);
        // What is left of a panicked actor is stopped here; the hook has told of the panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(ended)));
        Poll::Ready(())
    }
}

impl<P: Protocol> Turn for Runner<P> {
    fn take(&self) -> bool {
        let Some(waker) = self.waker.get() else { return false };
        if self.poll(&mut Task::from_waker(waker)).is_ready() {
            // The task has to end too.
            waker.wake_by_ref();
        }
        true
    }

    fn has_begun(&self) -> bool {
        self.waker.get().is_some()
    }
}

impl<P: Protocol> fmt::Debug for Runner<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runner")
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc, time::SystemTime};

    use super::*;
    use crate::engine::{
        CloseReason, Config, ConnectionEvent, Message, Request, Transport,
        dialect::Dialect,
        handshake::SessionId,
        link::Opening,
        outbox::Bounds,
        packet::Packet,
        pipe::{Inbound, Pipe},
        registry::Workers,
    };

    /// Counts what it hears.
    struct Counting(Rc<Cell<usize>>);

    impl Protocol for Counting {
        fn opened(_: &mut Link<Self>, _: &mut Context<Link<Self>>) {}
        fn message(link: &mut Link<Self>, _: Message, _: &mut Context<Link<Self>>) {
            link.upper.0.set(link.upper.0.get() + 1);
        }
        fn noticed(_: &mut Link<Self>, _: ConnectionEvent, _: &mut Context<Link<Self>>) {}
        fn closed(link: &mut Link<Self>, _: CloseReason, ctx: &mut Context<Link<Self>>) {
            link.finish(ctx);
        }
        fn turn(_: &mut Link<Self>, _: &mut Context<Link<Self>>) {}
        fn ready(&self) -> bool {
            true
        }
        fn in_flight(_: &Link<Self>) -> usize {
            0
        }
        fn draining(_: &mut Link<Self>) {}
    }

    fn opening() -> Opening {
        let bounds = Bounds { bytes: 10_000, packets: 100 };
        let dialect = Dialect::new(|_| Some("4"));
        Opening {
            sid: SessionId::random(0),
            request: Arc::new(Request {
                headers: crate::engine::Headers::default(),
                url: String::new(),
                query: vec![("EIO".into(), "4".into())],
                address: None,
                secure: false,
                time: SystemTime::now(),
                transport: Transport::WebSocket,
            }),
            pipe: Pipe::new(0, Transport::WebSocket, dialect, bounds, Arc::default()),
            config: Arc::new(Config::default()),
            sessions: Workers::new(Arc::default()).join(),
        }
    }

    #[test]
    fn a_client_has_so_many_packets_handled_before_others_get_their_turn() {
        actix::System::new().block_on(async {
            let (opening, heard) = (opening(), Rc::new(Cell::new(0)));
            let pipe = opening.pipe.clone();
            assert!(opening.sessions.insert(opening.sid.clone(), pipe.clone()));
            let turn = start(Link::new(opening, Counting(Rc::clone(&heard))));
            // The task's first turn.
            while !turn.take() {
                tokio::task::yield_now().await;
            }
            let packet = || Inbound::Packet(Packet::Message(Message::Text("x".into())));
            assert!(pipe.hand_in(0, (0..80).map(|_| packet())));
            let mut turns = Vec::new();
            for _ in 0..3 {
                assert!(turn.take());
                turns.push(heard.get());
            }
            assert_eq!(turns, [32, 64, 80]);
        });
    }
}
