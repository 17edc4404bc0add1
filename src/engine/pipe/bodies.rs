//! WebSockets that hold what belongs to the session: its seat, and what came of an unfinished message.
//!
//! actix-http polls the body of a response only while there is room for what it writes. A client that
//! reads nothing keeps the body of its WebSocket, and its TCP connection, when its session has ended.

use super::{Generation, Phase, Pipe, State};
use crate::engine::{admission::Seat, transport::Partial};

/// WebSockets of one session at a time, those included that it has left and that are not closed yet.
pub(super) const MAX_BODIES: u8 = 4;

impl Pipe {
    /// Gives the session its seat, and notes that it is open.
    pub(crate) fn seat(&self, mut seat: Seat) {
        seat.open(self);
        self.lock().seat = Some(seat);
    }

    /// Changes the seat, if the session still has one.
    pub(crate) fn with_seat(&self, change: impl FnOnce(&mut Seat)) {
        self.lock().seat.as_mut().map(change);
    }

    /// A WebSocket carries the session from now on, or tries to.
    pub(crate) fn begin_body(&self) {
        let mut state = self.lock();
        state.bodies = state.bodies.saturating_add(1);
    }

    /// It has gone, and its connection with it.
    pub(crate) fn end_body(&self) {
        let mut state = self.lock();
        state.bodies = state.bodies.saturating_sub(1);
        let seat = state.free_seat();
        drop(state);
        drop(seat);
    }

    /// Keeps what has come of a message. It is forgotten with the session, or when that leaves this
    /// transport, whether or not anybody polls the transport.
    pub(crate) fn park(&self, generation: Generation, partial: Box<Partial>) {
        let mut state = self.lock();
        if state.attached(generation) && !matches!(state.phase, Phase::Closed(_)) {
            state.parked = Some(partial);
        }
    }

    /// Takes it back, unless it was forgotten.
    pub(crate) fn unpark(&self, generation: Generation) -> Option<Box<Partial>> {
        let mut state = self.lock();
        if state.attached(generation) { state.parked.take() } else { None }
    }
}

impl State {
    /// The seat, if nothing needs it any more. To be dropped when the lock is not held.
    pub(super) fn free_seat(&mut self) -> Option<Seat> {
        let ended = matches!(self.phase, Phase::Closed(_)) && self.bodies == 0;
        if ended { self.seat.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{
        CloseReason, Config, RequestError, Transport,
        admission::Admission,
        dialect::Dialect,
        outbox::Bounds,
        pipe::{Farewell, Refused},
    };

    fn seated(transport: Transport) -> (Pipe, Arc<Admission>) {
        let config = Config { max_connections: 1, ..Config::default() };
        let admission = Arc::new(Admission::new(&config, Arc::default()));
        let bounds = Bounds { bytes: 1000, packets: 10 };
        let pipe = Pipe::new(0, transport, Dialect::new(|_| Some("4")), bounds, Arc::default());
        let mut seat = admission.admit(None).unwrap();
        seat.settle();
        pipe.seat(seat);
        (pipe, admission)
    }

    fn end(pipe: &Pipe) {
        pipe.close_now(Farewell::Close(CloseReason::PingTimeout.close_code()), true);
    }

    fn is_full(admission: &Arc<Admission>) -> bool {
        matches!(admission.admit(None), Err(RequestError::TooManyConnections))
    }

    #[test]
    fn a_seat_is_free_when_the_session_has_ended_and_its_websocket_has_gone() {
        let (pipe, admission) = seated(Transport::WebSocket);
        pipe.begin_body();
        end(&pipe);
        assert!(is_full(&admission));
        pipe.end_body();
        assert!(!is_full(&admission), "though somebody keeps the pipe");

        let (pipe, admission) = seated(Transport::WebSocket);
        pipe.begin_body();
        pipe.end_body();
        assert!(is_full(&admission), "the session has not ended yet");
        end(&pipe);
        assert!(!is_full(&admission));
    }

    #[test]
    fn what_came_of_a_message_is_forgotten_when_the_session_ends() {
        let (pipe, _) = seated(Transport::WebSocket);
        pipe.park(0, Box::default());
        assert!(pipe.unpark(0).is_some());
        assert!(pipe.unpark(0).is_none());
        pipe.park(0, Box::default());
        end(&pipe);
        assert!(pipe.lock().parked.is_none());
        pipe.park(0, Box::default());
        assert!(pipe.unpark(0).is_none());
    }

    #[test]
    fn what_came_of_a_message_is_forgotten_when_its_probe_ends() {
        let (pipe, _) = seated(Transport::Polling);
        let first = pipe.begin_probe().unwrap();
        pipe.park(first, Box::default());
        pipe.drop_probe();
        assert!(pipe.lock().parked.is_none());
        let second = pipe.begin_probe().unwrap();
        pipe.park(second, Box::default());
        assert!(pipe.unpark(first).is_none(), "it is another's");
        assert!(pipe.unpark(second).is_some());
    }

    #[test]
    fn a_session_has_no_more_websockets_than_it_may_have() {
        let (pipe, _) = seated(Transport::Polling);
        for _ in 0..MAX_BODIES {
            pipe.begin_probe().unwrap();
            pipe.begin_body();
            pipe.drop_probe();
        }
        assert_eq!(pipe.begin_probe(), Err(Refused::Overlap));
        pipe.end_body();
        assert!(pipe.begin_probe().is_ok());
    }
}
