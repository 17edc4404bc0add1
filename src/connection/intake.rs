//! How much of what a client sends is taken: bytes of one packet, time for its attachments, rates.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;
use tracing::debug;

use super::{Connection, Limits, inbound};
use crate::{config::RateLimit, engine::CloseReason};

/// What is counted of one client.
#[derive(Debug)]
pub(super) struct Intake {
    /// Bytes of a packet that has not come completely.
    gathered: usize,
    /// Which packet that is.
    number: u32,
    /// Somebody looks in time whether its attachments have come.
    watched: bool,
    /// Nothing is read because the client sent too fast.
    paused: bool,
    buckets: Buckets,
}

/// What may still come: packets and bytes.
#[derive(Debug)]
struct Buckets {
    packets: f64,
    bytes: f64,
    /// When they were last filled. As that is done only when one is empty, ordinary clients cost no
    /// look at the clock.
    filled: Instant,
}

impl Buckets {
    fn new(limit: &RateLimit) -> Self {
        let (packets, bytes) = limit.capacity();
        Self { packets, bytes, filled: Instant::now() }
    }

    /// Takes out what has come.
    fn take(&mut self, packets: f64, bytes: f64) {
        self.packets -= packets;
        self.bytes -= bytes;
    }

    fn are_overdrawn(&self) -> bool {
        self.packets < 0.0 || self.bytes < 0.0
    }

    /// Fills in what time has brought.
    fn fill(&mut self, limit: &RateLimit) {
        let now = Instant::now();
        let elapsed = (now - self.filled).as_secs_f64();
        self.filled = now;
        let (packets, bytes) = limit.capacity();
        self.packets = gained(self.packets, limit.events, elapsed).min(packets);
        self.bytes = gained(self.bytes, limit.bytes, elapsed).min(bytes);
    }

    /// When nothing will be missing any more.
    fn due(&self, limit: &RateLimit) -> Duration {
        let wait = (-self.packets / limit.events).max(-self.bytes / limit.bytes);
        // At least a tick of the timer; a time beyond all measure cannot come of a positive rate.
        Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX).max(Duration::from_millis(1))
    }
}

fn gained(level: f64, rate: f64, elapsed: f64) -> f64 {
    // Infinity times zero is no number.
    if rate.is_finite() { level + rate * elapsed } else { rate }
}

impl Intake {
    pub(super) fn new(limits: &Limits) -> Self {
        let buckets = Buckets::new(&limits.rate);
        Self { gathered: 0, number: 0, watched: false, paused: false, buckets }
    }

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
    let begins = intake.gathered == 0;
    intake.buckets.take(f64::from(u8::from(begins)), size as f64);
    intake.gathered += size;
    let too_large = intake.gathered > limits.max_packet_bytes;
    if intake.buckets.are_overdrawn() && !pace(link, ctx) {
        return false;
    }
    if too_large {
        link.upper.shared.metrics.packets_over_limit.increment();
        inbound::refuse(link, &"packet too large");
    }
    !too_large
}

/// A bucket seems to be empty: fills it, and if it stays empty the client has to wait, or to go.
/// Whether what has come may be taken.
#[cold]
fn pace(link: &mut Connection, ctx: &mut Context<Connection>) -> bool {
    let client = &mut link.upper;
    let (intake, limit) = (&mut client.intake, &client.shared.limits.rate);
    intake.buckets.fill(limit);
    if !intake.buckets.are_overdrawn() {
        return true;
    }
    if limit.close {
        debug!("client sends faster than its rate limit allows: closed");
        client.shared.metrics.rate_limited.increment();
        link.abort(CloseReason::RateLimit, ctx);
        return false;
    }
    if !intake.paused {
        debug!("client sends faster than its rate limit allows: not read for a while");
        client.shared.metrics.rate_limited.increment();
        pause(link, ctx);
    }
    true
}

/// Reads nothing until the buckets have what is missing now.
fn pause(link: &mut Connection, ctx: &mut Context<Connection>) {
    let client = &mut link.upper;
    client.intake.paused = true;
    let due = client.intake.buckets.due(&client.shared.limits.rate);
    ctx.run_later(due, |link, ctx| {
        let client = &mut link.upper;
        client.intake.paused = false;
        client.intake.buckets.fill(&client.shared.limits.rate);
        if client.intake.buckets.are_overdrawn() {
            // Of the portion that was under way more was taken.
            pause(link, ctx);
        } else {
            link.pipe().nudge();
        }
    });
}

/// A message came, and its packet is not complete.
pub(super) fn expect_more(link: &mut Connection, begins: bool, ctx: &mut Context<Connection>) {
    let intake = &mut link.upper.intake;
    if begins {
        intake.number = intake.number.wrapping_add(1);
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
    let number = intake.number;
    ctx.run_later(link.upper.shared.limits.attachment_timeout, move |link, ctx| {
        let is_over = !link.is_open();
        let intake = &mut link.upper.intake;
        intake.watched = false;
        if is_over || intake.gathered == 0 {
            return;
        }
        if intake.number != number {
            watch(link, ctx);
            return;
        }
        link.upper.shared.metrics.packets_over_limit.increment();
        inbound::refuse(link, &"attachments did not come in time");
    });
}
