//! The bounds of what clients may send, as options; `docs/security.md` has a table of them all.

use std::time::Duration;

use super::SocketIoBuilder;
use crate::config::RateLimit;

impl SocketIoBuilder {
    /// Bytes of one packet, text and attachments together. A client that sends a larger one is
    /// closed. Default: 11 times [`max_http_buffer_size`](Self::max_http_buffer_size), a packet with
    /// 10 attachments of the largest size.
    pub fn max_packet_bytes(mut self, bytes: usize) -> Self {
        self.max_packet_bytes = Some(bytes);
        self
    }

    /// Time until all attachments of a packet have come; a client that needs longer is closed.
    /// Default 60 s. It is looked at by one timer for all packets of a client, so a packet that
    /// follows another one may take up to twice as long.
    pub fn attachment_timeout(mut self, timeout: Duration) -> Self {
        self.limits.attachment_timeout = timeout;
        self
    }

    /// Levels that the arguments of a packet may nest; a client that sends more is closed. Default
    /// 2,048, which is also the most that msgpack may have. What a listener reads as a type of its own
    /// or as a JSON value may nest 128 levels.
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.limits.parser.max_depth = levels;
        self
    }

    /// How fast one client may send. Default: 200,000 packets and 256 MiB per second; a client that
    /// sends more is not read for a while. See [`RateLimit`].
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.limits.burst = limit.capacity();
        self.limits.rate = limit;
        self
    }

    /// Bytes of the events whose listeners are under way; beyond it further events wait as with
    /// [`max_running_listeners`](Self::max_running_listeners). Default 16 MiB. One event is always
    /// taken.
    pub fn max_running_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_running_bytes = bytes;
        self
    }

    /// Bytes of JSON that a client may have in the auths of all its sockets together; a CONNECT with
    /// more is refused with "Too much auth". Default 128 KiB. Auths of up to 1 KiB do not count.
    pub fn max_auth_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_auth_bytes = bytes;
        self
    }

    /// Rooms one socket may be in, besides its own; it does not join others. Default 16,384.
    pub fn max_rooms(mut self, count: usize) -> Self {
        self.socket_limits.rooms = count;
        self
    }

    /// Bytes of a room's name; nobody joins a room with a longer one. Default 8,192.
    pub fn max_room_name(mut self, bytes: usize) -> Self {
        self.socket_limits.room_name = bytes;
        self
    }

    /// Answers that may be awaited of one socket. Beyond it, who asks gets
    /// [`EmitError::TooManyQuestions`](crate::EmitError::TooManyQuestions), and a broadcast counts the
    /// socket as one that left. Default 16,384.
    pub fn max_pending_acks(mut self, count: usize) -> Self {
        self.socket_limits.asked = count;
        self
    }

    /// Answers that the application may owe to one socket: [`AckSender`](crate::AckSender)s that were
    /// kept when their listeners had ended. Beyond it, events that want an answer get the error "too
    /// many events without answer". Default 16,384.
    pub fn max_owed_acks(mut self, count: usize) -> Self {
        self.socket_limits.owed = count;
        self
    }

    /// Refuses what no client could live with.
    #[track_caller]
    pub(super) fn check(&self) {
        self.config.check();
        let limits = &self.limits;
        let times = [
            ("connect_timeout", limits.connect_timeout),
            ("attachment_timeout", limits.attachment_timeout),
        ];
        for (name, time) in times {
            assert!(!time.is_zero(), "`{name}` is zero: it has to be longer");
        }
        let bounds = [
            ("max_namespaces", limits.max_namespaces),
            ("max_running_listeners", limits.max_running),
            ("max_running_bytes", limits.max_running_bytes),
            ("max_packet_bytes", self.max_packet_bytes.unwrap_or(1)),
        ];
        for (name, bound) in bounds {
            assert!(bound > 0, "`{name}` is zero: no client could do anything");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{SocketIo, engine::supervision::panic_text};

    #[test]
    fn bounds_under_which_no_client_could_do_anything_are_refused() {
        let zero = Duration::ZERO;
        let refused = [
            ("connect_timeout", SocketIo::builder().connect_timeout(zero)),
            ("attachment_timeout", SocketIo::builder().attachment_timeout(zero)),
            ("max_namespaces", SocketIo::builder().max_namespaces(0)),
            ("max_running_listeners", SocketIo::builder().max_running_listeners(0)),
            ("max_running_bytes", SocketIo::builder().max_running_bytes(0)),
            ("max_packet_bytes", SocketIo::builder().max_packet_bytes(0)),
            ("ping_timeout", SocketIo::builder().ping_timeout(zero)),
        ];
        for (name, builder) in refused {
            let check = AssertUnwindSafe(|| builder.check());
            let text = panic_text(&*catch_unwind(check).expect_err("the check has to fail"));
            assert!(text.starts_with(&format!("`{name}` is zero: ")), "{text}");
        }
        SocketIo::builder().check();
        SocketIo::builder().max_attachments(0).max_rooms(0).slow_timeout(zero).check();
    }
}
