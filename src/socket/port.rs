//! A socket as its room actor sees it.

use std::sync::{Arc, atomic::Ordering};

use super::{Errand, GONE, Inner, Socket, Waiting};
use crate::{
    engine::pipe::Pipe,
    room::{Port, messages::AckRequest},
};

impl Port for Inner {
    fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    fn listens(&self) -> bool {
        self.state.load(Ordering::Acquire) != GONE
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

    fn expect_answer(&self, request: &AckRequest) {
        self.questions.ask(request.id, Waiting::Broadcast(request.answers.clone()));
    }
}
