//! How much of what a client sends is taken: bytes of one packet, time for its attachments, rates.

use std::time::Duration;

use actix::prelude::*;
use tracing::debug;

use super::{Connection, Limits, inbound};
use crate::{
    config::{Capacity, RateLimit},
    engine::CloseReason,
};

/// What is counted of one client.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Bytes of a packet that has not come completely.
    gathered: usize,
    buckets: Buckets,
    /// Somebody looks in time whether its attachments have come.
    watched: bool,
    /// Another packet has begun since.
    renewed: bool,
    /// Nothing is read because the client sent too fast.
    paused: bool,
}

/// How much is missing to full buckets. They are filled only when one seems to be empty, so ordinary
/// clients cost no look at the clock.
#[derive(Debug, Default)]
struct Buckets {
    packets: u32,
    bytes: u32,
    /// Until when they have been filled, in milliseconds of the session's age.
    filled: u32,
}

impl Buckets {
    /// Takes out what has come.
    fn take(&mut self, packets: u32, bytes: usize) {
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    fn are_overdrawn(&self, burst: Capacity) -> bool {
        self.packets > burst.packets || self.bytes > burst.bytes
    }

    /// Fills in what time has brought, in whole packets; the rest of the time counts later.
    fn fill(&mut self, limit: &RateLimit, age: Duration) {
        let elapsed = (age.as_millis() as u32).wrapping_sub(self.filled);
        let mut seconds = f64::from(elapsed) / 1000.0;
        if limit.events.is_finite() {
            let packets = (limit.events * seconds).floor();
            seconds = packets / limit.events;
            self.packets = self.packets.saturating_sub(packets as u32);
        }
        let millis = ((seconds * 1000.0).ceil() as u32).min(elapsed);
        self.filled = self.filled.wrapping_add(millis);
        self.bytes = self.bytes.saturating_sub((limit.bytes * seconds) as u32);
    }

    /// When there will be something in them again.
    fn due(&self, limit: &RateLimit, burst: Capacity) -> Duration {
        let wait = |missing: u32, most: u32, rate: f64| {
            if missing > most { f64::from(missing - most) / rate } else { 0.0 }
        };
        let packets = wait(self.packets, burst.packets, limit.events);
        let bytes = wait(self.bytes, burst.bytes, limit.bytes);
        // Whole milliseconds, as they are filled.
        Duration::from_millis((packets.max(bytes) * 1000.0).ceil() as u64 + 1)
    }
}

impl Intake {
    /// Whether nothing may be read for now.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the next message begins a packet.
    pub(super) fn is_between(&self) -> bool {
        self.gathered == 0
    }

    /// The packet is complete, or refused.
    pub(super) fn completed(&mut self) {
        self.gathered = 0;
    }
}

/// Counts a message of `size` bytes; whether it may be taken. If not, the connection is closing.
pub(super) fn admit(link: &mut Connection, size: usize, ctx: &mut Context<Connection>) -> bool {
    let client = &mut link.upper;
    let (intake, limits) = (&mut client.intake, &client.shared.limits);
    intake.buckets.take(u32::from(intake.gathered == 0), size);
    intake.gathered += size;
    let too_large = intake.gathered > limits.max_packet_bytes;
    if intake.buckets.are_overdrawn(limits.burst) && !pace(link, ctx) {
        return false;
    }
    if too_large {
        inbound::refuse_excess(link, &"packet too large");
    }
    !too_large
}

/// Counts what came and is no message.
pub(super) fn count(
    link: &mut Connection,
    packets: u32,
    bytes: usize,
    ctx: &mut Context<Connection>,
) {
    let client = &mut link.upper;
    client.intake.buckets.take(packets, bytes);
    if client.intake.buckets.are_overdrawn(client.shared.limits.burst) {
        pace(link, ctx);
    }
}

/// A bucket seems to be empty: fills it, and if it stays empty the client has to wait, or to go.
/// Whether what has come may be taken.
#[cold]
fn pace(link: &mut Connection, ctx: &mut Context<Connection>) -> bool {
    let age = link.now();
    let client = &mut link.upper;
    let Limits { rate, burst, .. } = &client.shared.limits;
    if client.intake.paused {
        // Of the portion that was under way.
        return true;
    }
    client.intake.buckets.fill(rate, age);
    if !client.intake.buckets.are_overdrawn(*burst) {
        return true;
    }
    client.shared.metrics.rate_limited.increment();
    if rate.close {
        debug!("client sends faster than its rate limit allows: closed");
        link.abort(CloseReason::RateLimit, ctx);
        return false;
    }
    debug!("client sends faster than its rate limit allows: not read for a while");
    pause(link, ctx);
    true
}

/// Reads nothing until the buckets have what is missing now.
fn pause(link: &mut Connection, ctx: &mut Context<Connection>) {
    let client = &mut link.upper;
    let Limits { rate, burst, .. } = &client.shared.limits;
    client.intake.paused = true;
    ctx.run_later(client.intake.buckets.due(rate, *burst), |link, ctx| {
        let age = link.now();
        let client = &mut link.upper;
        let Limits { rate, burst, .. } = &client.shared.limits;
        client.intake.buckets.fill(rate, age);
        if client.intake.buckets.are_overdrawn(*burst) {
            pause(link, ctx);
        } else {
            client.intake.paused = false;
            link.pipe().nudge();
        }
    });
}

/// A message came, and its packet is not complete.
pub(super) fn expect_more(link: &mut Connection, begins: bool, ctx: &mut Context<Connection>) {
    let intake = &mut link.upper.intake;
    if begins {
        intake.renewed = true;
    }
    if !intake.watched {
        watch(link, ctx);
    }
}

/// Looks later whether this packet still waits. One timer for all packets of a client: that of the
/// next one begins when it has fired, so a packet may take twice the time.
fn watch(link: &mut Connection, ctx: &mut Context<Connection>) {
    let intake = &mut link.upper.intake;
    intake.watched = true;
    intake.renewed = false;
    ctx.run_later(link.upper.shared.limits.attachment_timeout, |link, ctx| {
        let is_over = !link.is_open();
        let intake = &mut link.upper.intake;
        intake.watched = false;
        if is_over || intake.gathered == 0 {
            return;
        }
        if intake.renewed {
            watch(link, ctx);
            return;
        }
        inbound::refuse_excess(link, &"attachments did not come in time");
    });
}
