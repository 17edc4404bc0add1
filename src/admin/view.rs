//! Sockets as the interface shows them.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use crate::{
    room::Room,
    socket::{Data, Handshake, Socket, SocketDetails},
};

/// Where the reference's interface keeps what other servers of a cluster have to know of a socket: a
/// name among its data.
pub(super) const OWN_DATA: &str = "_admin";
/// Bytes of a socket's data that are shown.
const SHOWN_DATA: usize = 16 * 1024;
/// Rooms of a socket that are shown.
const SHOWN_ROOMS: usize = 1000;
/// Headers whose values let others be the user.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
const HIDDEN: &str = "(hidden)";

/// How sockets are shown.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Headers that are credentials are shown too.
    pub(super) credentials: bool,
    key: RandomState,
}

impl View {
    pub(super) fn new(credentials: bool) -> Self {
        Self { credentials, key: RandomState::new() }
    }

    /// The same for all sockets of a client, and no part of its session's id, which is a secret.
    pub(super) fn client_id(&self, socket: &Socket) -> String {
        let request = &socket.handshake().request;
        let hash = self.key.hash_one((Arc::as_ptr(request).addr(), request.time));
        format!("{:012x}", hash >> 16)
    }

    /// A socket of this server.
    pub(super) fn socket(&self, socket: &Socket, rooms: &[Room]) -> Value {
        json!({
            "id": socket.id(),
            "clientId": self.client_id(socket),
            "transport": socket.transport().as_str(),
            "nsp": socket.namespace(),
            "data": socket.data(shown_data),
            "handshake": self.handshake(socket.handshake()),
            "rooms": shown_rooms(rooms),
        })
    }

    /// A socket of another server, which may be one of Node.js.
    pub(super) fn remote(&self, details: &SocketDetails, namespace: &str) -> Value {
        let mut data = details.data.clone();
        let own: Map<String, Value> = data.get(OWN_DATA).unwrap_or_default();
        json!({
            "id": details.id,
            "clientId": own.get("clientId"),
            "transport": own.get("transport"),
            "nsp": namespace,
            "data": shown_data(&mut data),
            "handshake": self.handshake(&details.handshake),
            "rooms": shown_rooms(&details.rooms),
        })
    }

    /// Without what the client gave to get in.
    fn handshake(&self, handshake: &Handshake) -> Value {
        let mut shown = serde_json::to_value(handshake).unwrap_or_default();
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("auth");
            if let Some(headers) = shown.get_mut("headers").filter(|_| !self.credentials) {
                for name in SECRET_HEADERS {
                    if let Some(value) = headers.get_mut(name) {
                        *value = HIDDEN.into();
                    }
                }
            }
        }
        shown
    }
}

fn shown_rooms(rooms: &[Room]) -> &[Room] {
    &rooms[..rooms.len().min(SHOWN_ROOMS)]
}

/// The application's data.
pub(super) fn shown_data(data: &mut Data) -> Value {
    let mut shown = data.as_map().clone();
    shown.shift_remove(OWN_DATA);
    match serde_json::to_string(&shown).map_or(0, |text| text.len()) {
        0..=SHOWN_DATA => Value::Object(shown),
        bytes => json!({ "_truncated": format!("{bytes} bytes") }),
    }
}

/// `2026-07-21T12:34:56.789Z`, as JavaScript writes a date.
pub(super) fn iso8601(time: SystemTime) -> String {
    let millis = milliseconds(time);
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    // Days since 0000-03-01, in eras of 400 years; the leap day is the last of a year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + years + u64::from(month <= 2);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_javascript_writes_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_784_637_296_001, "2026-07-21T12:34:56.001Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso8601(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn data_are_shown_without_the_interfaces_own_and_up_to_a_size() {
        let mut data = Data::default();
        data.set("name", "ann").unwrap();
        data.set(OWN_DATA, &json!({ "clientId": "x" })).unwrap();
        assert_eq!(shown_data(&mut data), json!({ "name": "ann" }));
        data.set("photo", &"x".repeat(SHOWN_DATA)).unwrap();
        assert_eq!(shown_data(&mut data), json!({ "_truncated": "16411 bytes" }));
    }
}
