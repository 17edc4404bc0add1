//! A socket as its room actor sees it.

use std::sync::{Arc, atomic::Ordering};

use super::{CONNECTING, Errand, GONE, Inner, Socket, Waiting};
use crate::{
    engine::pipe::Pipe,
    room::{Port, Sent, messages::AckRequest},
};

impl Port for Inner {
    fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    fn greeted(&self) -> bool {
        self.state.load(Ordering::Acquire) != CONNECTING
    }

    fn listens(&self) -> bool {
        // Nor does one that has left since: its end may be known here before its room actor has it.
        self.state.load(Ordering::Acquire) < GONE
    }

    fn admitted(self: Arc<Self>) {
        let socket = Socket(self);
        socket.set_connected();
        socket.errand(Errand::Admitted(socket.clone()));
    }

    fn dismissed(self: Arc<Self>, close: bool) {
        let socket = Socket(self);
        socket.set_leaving();
        socket.pipe().drop_held(socket.owner());
        socket.errand(Errand::Dismissed { socket: socket.clone(), close });
    }

    fn hears(&self) -> bool {
        self.watched.hears(&self.home)
    }

    fn hear(self: Arc<Self>, sent: &Sent) {
        Socket(self).note(sent.clone());
    }

    fn expect_answer(&self, request: &AckRequest) {
        self.expect(request.id, Waiting::Broadcast(request.answers.clone()));
    }
}
