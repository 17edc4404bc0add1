//! Sockets whose credentials expire: one alarm for all of a client, and none where nothing expires.

use actix::prelude::*;
use tokio::time::Instant;
use tracing::debug;

use super::{Connection, Phase, leaving, running};
use crate::socket::{DisconnectReason, Socket, Verdict};

/// When the connection looks next.
#[derive(Debug)]
pub(super) struct Alarm {
    at: Instant,
    handle: SpawnHandle,
}

/// Does what is due, and sets the alarm for what comes next.
pub(super) fn look(link: &mut Connection, ctx: &mut Context<Connection>) {
    let now = Instant::now();
    let mut next: Option<Instant> = None;
    for socket in link.upper.sockets() {
        let later = match socket.judge_expiry(now) {
            Verdict::Wait(later) => later,
            Verdict::Warn(end) => {
                warn(link, &socket, ctx);
                // A listener may have given it more time already.
                Some(end)
            }
            Verdict::Expired => {
                expel(link, socket, ctx);
                None
            }
        };
        next = [next, later].into_iter().flatten().min();
    }
    if let Some(at) = next {
        set_alarm(link, at, ctx);
    }
}

fn set_alarm(link: &mut Connection, at: Instant, ctx: &mut Context<Connection>) {
    if let Some(alarm) = link.upper.alarm.take() {
        if alarm.at <= at {
            link.upper.alarm = Some(alarm);
            return;
        }
        ctx.cancel_future(alarm.handle);
    }
    let wait = at.saturating_duration_since(Instant::now());
    let handle = ctx.run_later(wait, |link, ctx| {
        let span = link.span().clone();
        let _entered = span.enter();
        link.upper.alarm = None;
        look(link, ctx);
    });
    link.upper.alarm = Some(Box::new(Alarm { at, handle }));
}

/// Tells the application that the end is near.
fn warn(link: &Connection, socket: &Socket, ctx: &mut Context<Connection>) {
    for listener in &socket.home().description.listeners.expiring {
        let called = socket.clone();
        running::run_hook(&link.upper, socket, "expiring", || listener(called), ctx);
    }
}

/// The time of a socket is over: nothing of its client is taken any more, and its goodbye goes the
/// way of its broadcasts.
fn expel(link: &mut Connection, socket: Socket, ctx: &mut Context<Connection>) {
    let Some(index) = link.upper.position(&socket) else { return };
    debug!(namespace = socket.namespace(), id = %socket.shown_id(), "credentials expired");
    link.upper.shared.metrics.credentials_expired.increment();
    link.upper.joined[index].phase = Phase::Expired;
    running::drop_waiting(&mut link.upper, index);
    leaving::remember(&mut link.upper, &socket);
    let put_out = socket.disconnect(false);
    ctx.spawn(put_out.into_actor(link).map(move |(), link, ctx| {
        let span = link.span().clone();
        let _entered = span.enter();
        // Still there if the namespace has died: then there is nobody who could put it out.
        let index = link.upper.position(&socket);
        let left = index.filter(|index| link.upper.joined[*index].phase == Phase::Expired);
        if let Some(index) = left {
            leaving::leave(link, index, DisconnectReason::CredentialsExpired, ctx);
        }
    }));
}

/// The reason of a socket that leaves: one that has expired leaves for that, whatever comes first.
pub(super) fn reason(phase: Phase, reason: DisconnectReason) -> DisconnectReason {
    if phase == Phase::Expired { DisconnectReason::CredentialsExpired } else { reason }
}
