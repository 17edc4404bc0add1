//! One session: whatever its client and the network do, and whenever, it moves to another transport
//! once and in time, and ends when its client is dead, not before.

use std::{
    hash::{DefaultHasher, Hash},
    time::Duration,
};

use super::{Explored, Model, explore, hash_debug};
use crate::engine::{
    CloseReason,
    dialect::Revision,
    packet::{Message, Packet},
    pipe::Generation,
    session::{Action, Session, Timing},
};

/// The shortest time in the model: that between two releases of a poll.
const UNIT: Duration = Duration::from_millis(100);
const PING_INTERVAL: u32 = 5;
const PING_TIMEOUT: u32 = 3;
const UPGRADE_TIMEOUT: u32 = 4;
const HORIZON: u32 = 18;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    /// As `engine::link` does it.
    Real,
    /// Calls `tick` once when something is due, not until nothing is.
    TicksOnce,
}

#[derive(Clone, Copy, Debug, Hash)]
enum Sent {
    Message,
    Ping,
    Probe,
    Pong,
    Upgrade,
    Noop,
    Close,
}

impl Sent {
    const ALL: [Self; 7] = [
        Self::Message,
        Self::Ping,
        Self::Probe,
        Self::Pong,
        Self::Upgrade,
        Self::Noop,
        Self::Close,
    ];

    fn packet(self) -> Packet {
        match self {
            Self::Message => Packet::Message(Message::Text("x".into())),
            Self::Ping => Packet::Ping("".into()),
            Self::Probe => Packet::Ping("probe".into()),
            Self::Pong => Packet::Pong("".into()),
            Self::Upgrade => Packet::Upgrade,
            Self::Noop => Packet::Noop,
            Self::Close => Packet::Close,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time passes up to what is due next, at most one unit.
    Wait,
    /// On the session's own transport.
    Own(Sent),
    /// On the transport under test.
    Probe(Sent),
    ProbeOpened,
    ProbeLost,
}

struct Life {
    owner: Owner,
    session: Session,
    now: Duration,
    /// The number of the transport that carries the session.
    current: Generation,
    /// That of the one under test, when it came, and whether its probe was answered.
    probe: Option<(Generation, Duration, bool)>,
    /// When a ping was sent that nobody has answered.
    pinged: Option<Duration>,
    /// When the client's last sign of life was asked for or given.
    heard: Duration,
    switches: usize,
    over: Option<CloseReason>,
    fault: Option<String>,
}

impl Life {
    fn new(owner: Owner) -> Self {
        let timing = Timing {
            ping_interval: PING_INTERVAL * UNIT,
            ping_timeout: PING_TIMEOUT * UNIT,
            upgrade_timeout: UPGRADE_TIMEOUT * UNIT,
            first_release: UNIT,
        };
        Self {
            owner,
            session: Session::new(timing, Revision::Four),
            now: Duration::ZERO,
            current: 0,
            probe: None,
            pinged: None,
            heard: Duration::ZERO,
            switches: 0,
            over: None,
            fault: None,
        }
    }

    fn must(&mut self, holds: bool, what: &str) {
        if !holds {
            self.fault.get_or_insert_with(|| what.to_owned());
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Nothing | Action::Deliver(_) => {}
            Action::SendPing => {
                self.must(self.pinged.is_none(), "a ping although one is unanswered");
                self.pinged = Some(self.now);
            }
            Action::AnswerPing => self.must(false, "an answer to a ping in revision 4"),
            Action::AnswerProbe => match &mut self.probe {
                Some((.., answered)) => *answered = true,
                None => self.must(false, "an answer to no probe"),
            },
            Action::Switch => match self.probe.take() {
                Some((number, ..)) => {
                    self.current = number;
                    self.switches += 1;
                    // The client gets its whole time again.
                    self.pinged = self.pinged.map(|_| self.now);
                    self.heard = self.now;
                }
                None => self.must(false, "a switch to nothing"),
            },
            Action::DropProbe => {
                self.must(self.probe.is_some(), "nothing to drop");
                self.probe = None;
            }
            Action::ReleasePoll => {
                let answered = self.probe.is_some_and(|(.., answered)| answered);
                self.must(answered, "a release without an answered probe");
            }
            Action::Close(reason) => {
                if reason == CloseReason::PingTimeout {
                    let since = self.pinged.map(|sent| self.now - sent);
                    let late = since.is_some_and(|since| since >= PING_TIMEOUT * UNIT);
                    self.must(late, "closed although the client had time left");
                }
                self.over = Some(reason);
            }
            Action::CloseByClient => self.over = Some(CloseReason::TransportClose),
        }
        self.must(
            self.over.is_some() || self.session.is_upgrading() == self.probe.is_some(),
            "session and owner disagree about the upgrade",
        );
    }

    fn tick(&mut self) {
        loop {
            let action = self.session.tick(self.now);
            let nothing = action == Action::Nothing;
            self.act(action);
            if nothing || self.over.is_some() || self.owner == Owner::TicksOnce {
                return;
            }
        }
    }

    fn packet(&mut self, from: Generation, sent: Sent) {
        if from == self.current && matches!(sent, Sent::Pong) {
            self.pinged = None;
            self.heard = self.now;
        }
        let action = self.session.packet(|| self.now, from, sent.packet());
        self.act(action);
    }
}

impl Model for Life {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        if self.over.is_some() || self.now >= HORIZON * UNIT {
            return Vec::new();
        }
        let mut steps = vec![Step::Wait];
        steps.extend(Sent::ALL.map(Step::Own));
        match self.probe {
            Some(_) => {
                steps.extend(Sent::ALL.map(Step::Probe));
                steps.push(Step::ProbeLost);
            }
            // The pipe refuses another one on a WebSocket.
            None if self.switches == 0 => steps.push(Step::ProbeOpened),
            None => {}
        }
        steps
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait => {
                let due = self.session.deadline();
                self.must(due > self.now, "what was due has not been done");
                self.now = due.max(self.now).min(self.now + UNIT);
                if due <= self.now {
                    self.tick();
                }
            }
            Step::Own(sent) => self.packet(self.current, sent),
            Step::Probe(sent) => {
                if let Some((number, ..)) = self.probe {
                    self.packet(number, sent);
                }
            }
            Step::ProbeOpened => {
                let number = self.current + 1;
                self.session.probe_started(self.now, number);
                self.probe = Some((number, self.now, false));
            }
            Step::ProbeLost => {
                let action = self.session.probe_closed();
                self.act(action);
            }
        }
    }

    fn state(&self, hasher: &mut DefaultHasher) {
        hash_debug(&self.session, hasher);
        hash_debug(&(self.now, self.pinged, self.heard, &self.over, &self.fault), hasher);
        (self.current, self.probe, self.switches).hash(hasher);
    }

    fn check(&self, _: bool) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if let Some((_, opened, _)) = self.probe
            && self.now > opened + UPGRADE_TIMEOUT * UNIT
        {
            return Err("an upgrade without end".to_owned());
        }
        // Other traffic extends the wait for a pong once, and a switch begins it again.
        let patience = (PING_INTERVAL + 2 * PING_TIMEOUT) * UNIT;
        if self.over.is_none() && self.now > self.heard + patience {
            return Err("a dead client lives on".to_owned());
        }
        if self.switches > 1 {
            return Err("two switches".to_owned());
        }
        Ok(())
    }
}

fn run(owner: Owner) -> Result<Explored, String> {
    let explored = explore(|| Life::new(owner));
    println!("{owner:?}: {explored:?}");
    explored
}

#[test]
fn a_session_upgrades_in_time_and_ends_only_with_its_client() {
    assert!(run(Owner::Real).unwrap().states > 1_000);
}

#[test]
fn an_owner_that_ticks_once_leaves_something_undone() {
    let fault = run(Owner::TicksOnce).unwrap_err();
    assert!(fault.starts_with("what was due has not been done"), "{fault}");
}
