//! What happened, in the words that the Admin UI understands.

use serde_json::{Value, json};

use super::{
    desk::{Desk, tell},
    view::{OWN_DATA, iso8601, shown_data},
};
use crate::socket::{
    BroadcastOperator, Socket,
    tap::{Sight, Sighting},
};

/// Tells it to all users.
pub(super) fn show(desk: &Desk, admins: &BroadcastOperator, Sighting { what, at }: Sighting) {
    let at = iso8601(at);
    match what {
        Sight::Connected { socket, rooms } => {
            if desk.clustered {
                tell_other_servers(desk, &socket);
            }
            tell(admins, "socket_connected", &(desk.view.socket(&socket, &rooms), at));
        }
        Sight::Disconnected { socket, reason } => {
            let told = (socket.namespace(), socket.id(), reason.as_str(), at);
            tell(admins, "socket_disconnected", &told);
        }
        Sight::Joined { namespace, room, id } => {
            tell(admins, "room_joined", &(&*namespace, room, id, at));
        }
        Sight::Left { namespace, room, id } => {
            tell(admins, "room_left", &(&*namespace, room, id, at));
        }
        Sight::Received { socket, event } => {
            let told = (socket.namespace(), socket.id(), parsed(&event), at);
            tell(admins, "event_received", &told);
        }
        Sight::Sent { socket, event } => {
            let told = (socket.namespace(), socket.id(), parsed(&event), at);
            tell(admins, "event_sent", &told);
        }
        Sight::Data(socket) => {
            let data = socket.data(shown_data);
            let told = json!({ "id": socket.id(), "nsp": socket.namespace(), "data": data });
            tell(admins, "socket_updated", &told);
        }
        Sight::Upgraded(socket) => {
            if desk.clustered {
                tell_other_servers(desk, &socket);
            }
            let transport = socket.transport().as_str();
            let told =
                json!({ "id": socket.id(), "nsp": socket.namespace(), "transport": transport });
            tell(admins, "socket_updated", &told);
        }
    }
}

/// The text was JSON when it came or went.
fn parsed(event: &str) -> Value {
    serde_json::from_str(event).unwrap_or_default()
}

/// Other servers know of a socket what is in its data; the reference's interface looks there.
fn tell_other_servers(desk: &Desk, socket: &Socket) {
    let own = json!({
        "clientId": desk.view.client_id(socket),
        "transport": socket.transport().as_str(),
    });
    socket.data(|data| {
        data.as_map().insert(OWN_DATA.to_owned(), own);
    });
}
