//! Whether a node's connections are there.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::adapter::bus::Inbox;

/// One of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Publisher,
    Subscriber,
    /// Of a stream, by its number.
    Reader(usize),
}

/// What the link is told of: all are there, or not.
#[derive(Clone)]
pub(super) struct State(Rc<Inner>);

struct Inner {
    inbox: Inbox,
    up: RefCell<Vec<Side>>,
    needed: Cell<usize>,
    away: Cell<bool>,
}

impl State {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self(Rc::new(Inner {
            inbox,
            up: RefCell::default(),
            needed: Cell::new(2),
            away: Cell::new(false),
        }))
    }

    /// Besides publisher and subscriber there is one more.
    pub(super) fn needs_more(&self) {
        self.0.needed.set(self.0.needed.get() + 1);
    }

    pub(super) fn is_up(&self, side: Side) -> bool {
        self.0.up.borrow().contains(&side)
    }

    /// A connection is there, with all that it needs.
    pub(super) fn up(&self, side: Side) {
        let mut up = self.0.up.borrow_mut();
        if !up.contains(&side) {
            up.push(side);
        }
        if up.len() == self.0.needed.get() && self.0.away.replace(false) {
            self.0.inbox.back();
        }
    }

    /// A connection is broken, or could not be made.
    pub(super) fn down(&self, side: Side) {
        self.0.up.borrow_mut().retain(|other| *other != side);
        if !self.0.away.replace(true) {
            self.0.inbox.away();
        }
    }
}
