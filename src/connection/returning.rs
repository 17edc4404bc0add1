//! Clients that come back after a broken connection: asking the namespace for their socket.

use actix::prelude::*;
use bytestring::ByteString;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    Connection,
    joining::{Petition, Seeking, settle},
};
use crate::{
    engine::dialect::Revision,
    namespace::{
        messages::{Arrival, Entrance},
        returning::Restore,
    },
    socket::Handshake,
};

/// What a client says that was here before.
pub(super) struct Wish {
    pid: String,
    offset: Option<String>,
}

impl Wish {
    pub(super) fn of(
        link: &Connection,
        entrance: &Entrance,
        handshake: &Handshake,
    ) -> Option<Self> {
        if link.revision() == Revision::Three {
            return None;
        }
        entrance.home.description.recovery.as_ref()?;
        let pid = handshake.auth["pid"].as_str()?.to_owned();
        let offset = match &handshake.auth["offset"] {
            Value::Null => None,
            // What is no text was never an offset, and is refused as one that is unknown.
            offset => Some(offset.as_str().unwrap_or_default().to_owned()),
        };
        Some(Self { pid, offset })
    }
}

/// Asks the namespace for the client's socket; without it, the client gets a new one.
pub(super) fn ask(
    link: &mut Connection,
    arrival: Arrival,
    petition: Petition,
    Wish { pid, offset }: Wish,
    ctx: &mut Context<Connection>,
) {
    let entrance = arrival.entrance();
    let name = ByteString::from(&*entrance.home.name);
    link.upper.sought.push(Seeking {
        name: name.clone(),
        auth_bytes: petition.auth_bytes,
        _task: None,
    });
    let (answer, answered) = oneshot::channel();
    let pipe = link.pipe().clone();
    entrance.addr.do_send(Restore { pid, offset, pipe, answer });
    ctx.spawn(answered.into_actor(link).map(move |claim, link, ctx| {
        let span = link.span().clone();
        let _entered = span.enter();
        // Not there any more if the client has left: then the claim gives the socket back.
        let Some(index) = link.upper.sought.iter().position(|sought| sought.name == name) else {
            return;
        };
        link.upper.sought.swap_remove(index);
        if link.is_open() && !link.upper.closing {
            // A namespace that has ended does not answer; it says so to whoever settles.
            settle(link, arrival, petition, claim.ok().flatten(), ctx);
        }
    }));
}
