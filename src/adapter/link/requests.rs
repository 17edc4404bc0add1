//! One request under way, and where its answers go.

use tokio::sync::mpsc;

use super::expectation::Expectation;
use crate::{
    adapter::{
        bus::{Census, SeatNumber},
        message::{Answer, Uid},
    },
    metrics::meters::Held,
    room::{Missing, messages},
};

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// One node has answered.
    Answer(Answer),
    /// The last one has, or the time is up.
    End(Missing),
}

/// Where answers go.
pub(crate) enum Sink {
    /// One of each node, then the end.
    Gather(mpsc::UnboundedSender<Gathered>),
    /// Those of clients to a broadcast.
    Acks(mpsc::UnboundedSender<messages::Answer>),
}

pub(super) struct Request {
    pub(super) seat: SeatNumber,
    sink: Sink,
    expectation: Expectation,
    /// Of a broadcast: the clients of the nodes that have answered, and how many answers came.
    clients: usize,
    acks: usize,
    /// Whether all counts were there, and the sum has been told.
    told: bool,
    _took: Held,
}

impl Request {
    pub(super) fn new(seat: SeatNumber, sink: Sink, took: Held) -> Self {
        let expectation = Expectation::default();
        Self { seat, sink, expectation, clients: 0, acks: 0, told: false, _took: took }
    }

    /// These are there. Whether nothing more is to come, as everywhere here.
    pub(super) fn expect(&mut self, census: Census) -> bool {
        self.expectation.expect(census);
        self.progress()
    }

    /// An answer has come.
    pub(super) fn answer(&mut self, from: Option<&Uid>, answer: Answer) -> bool {
        match (&self.sink, answer) {
            (Sink::Acks(sink), Answer::Ack(args)) => {
                self.acks += 1;
                // Whoever asked may have given up, here and below.
                let _ = sink.send(messages::Answer::FromElsewhere(args));
                return self.is_finished();
            }
            (Sink::Acks(_), Answer::Clients(count)) => {
                if self.expectation.answer(from) {
                    self.clients = self.clients.saturating_add(count);
                }
            }
            (Sink::Gather(sink), answer) if !matches!(answer, Answer::Ack(_)) => {
                if self.expectation.answer(from) {
                    let _ = sink.send(Gathered::Answer(answer));
                }
            }
            // Of another kind than was asked for.
            _ => return false,
        }
        self.progress()
    }

    /// A node is gone.
    pub(super) fn forget(&mut self, uid: &Uid) -> bool {
        self.expectation.forget(uid);
        self.progress()
    }

    fn progress(&mut self) -> bool {
        let missing = self.expectation.missing();
        let complete = missing.is_nobody();
        match &self.sink {
            Sink::Gather(sink) if complete => {
                let _ = sink.send(Gathered::End(missing));
            }
            Sink::Gather(_) => {}
            Sink::Acks(sink) if complete && !self.told => {
                self.told = true;
                let _ = sink.send(messages::Answer::ReceiversElsewhere(self.clients));
            }
            Sink::Acks(_) if complete => {}
            Sink::Acks(sink) => {
                let _ = sink.send(messages::Answer::Awaited(missing));
            }
        }
        self.is_finished()
    }

    fn is_finished(&self) -> bool {
        match &self.sink {
            Sink::Gather(sink) => sink.is_closed() || self.expectation.is_complete(),
            Sink::Acks(sink) => sink.is_closed() || (self.told && self.acks >= self.clients),
        }
    }

    /// The time is up. Who has not answered.
    pub(super) fn end(self) -> Missing {
        let missing = self.expectation.missing();
        if let Sink::Gather(sink) = &self.sink {
            let _ = sink.send(Gathered::End(missing.clone()));
        }
        missing
    }
}
