//! Packet → namespace, listener or waiting ack.

use std::fmt::Display;

use actix::prelude::*;
use bytestring::ByteString;
use tracing::debug;

use super::{Connection, Phase, intake, joining, leaving, revision3, running};
use crate::{
    engine::{Message, dialect::Revision},
    metrics::meters::Rare,
    packet::{Args, DecodeError, Packet},
    socket::EventError,
};

/// A message of the session: a packet, or part of one.
pub(super) fn message(link: &mut Connection, message: Message, ctx: &mut Context<Connection>) {
    let begins = link.upper.intake.is_between();
    if !intake::admit(link, message.len(), ctx) {
        return;
    }
    #[cfg(feature = "admin")]
    link.upper.shared.metrics.traffic.received(link.upper.place.worker, message.len());
    let taken = link.upper.decoder.take(message);
    if !matches!(taken, Ok(None)) {
        link.upper.intake.completed();
    }
    match taken {
        Ok(Some(packet)) if link.revision() == Revision::Three => {
            match revision3::translate(packet) {
                Some(packet) => take(link, packet, ctx),
                None => refuse(link, &"Invalid URL"),
            }
        }
        Ok(Some(packet)) => take(link, packet, ctx),
        Ok(None) => intake::expect_more(link, begins, ctx),
        Err(error) if matches!(error, DecodeError::TooDeep | DecodeError::TooManyAttachments) => {
            refuse_excess(link, &error);
        }
        Err(error) => refuse(link, &error),
    }
}

/// The packet cannot be decoded: every socket is told, and the connection closes.
fn refuse(link: &mut Connection, error: &dyn Display) {
    link.upper.shared.metrics.meters.count(Rare::PacketRefused, "malformed");
    turn_down(link, error);
}

/// The same for one that is more than a packet may be.
pub(super) fn refuse_excess(link: &mut Connection, error: &dyn Display) {
    link.upper.shared.metrics.packets_over_limit.increment();
    link.upper.shared.metrics.meters.count(Rare::PacketRefused, "over_limit");
    turn_down(link, error);
}

fn turn_down(link: &mut Connection, error: &dyn Display) {
    debug!(%error, "packet refused");
    link.upper.shared.metrics.bad_packets.increment();
    for joined in link.upper.joined.iter().filter(|joined| joined.phase == Phase::Joined) {
        let error = EventError::packet(error.to_string());
        running::report(&link.upper.shared.metrics, &joined.socket, "", &error);
    }
    link.close();
}

fn take(link: &mut Connection, packet: Packet, ctx: &mut Context<Connection>) {
    let namespace = packet.namespace().clone();
    let active = link.upper.active(&namespace);
    let joined = active.filter(|index| link.upper.joined[*index].phase == Phase::Joined);
    match (packet, active, joined) {
        (Packet::Connect { .. }, None, _) if link.upper.is_sought(&namespace) => {
            debug!(namespace = &*namespace, "second connect while the first is looked at");
        }
        (Packet::Connect { auth, .. }, None, _) => {
            joining::connect(link, namespace, auth, ctx);
        }
        (Packet::Connect { .. }, Some(_), None) => {
            // The first one is being answered; the reference makes two sockets of it.
            debug!(namespace = &*namespace, "second connect while the first is pending");
        }
        (Packet::Event { id, event, .. }, _, Some(index)) => {
            link.upper.shared.metrics.events_received.increment();
            link.upper.joined[index].entrance.home.description.meters.received.add(1);
            if id.is_some() && link.upper.joined[index].socket.is_owed_too_much() {
                running::turn_away(link, index, &event, id);
            } else {
                running::take(link, index, event, id, ctx);
            }
        }
        (Packet::Ack { id, args, .. }, _, Some(index)) => answered(link, index, id, args),
        (Packet::Disconnect { .. }, _, Some(index)) => {
            let reason = crate::socket::DisconnectReason::ClientNamespaceDisconnect;
            leaving::leave(link, index, reason, ctx);
        }
        (Packet::Connect { .. } | Packet::ConnectError { .. }, ..) => {
            debug!(namespace = &*namespace, "packet at the wrong time");
            link.upper.shared.metrics.bad_packets.increment();
            link.upper.shared.metrics.meters.count(Rare::PacketRefused, "out_of_place");
            leaving::force_close(link, ctx);
        }
        (_, _, None) => out_of_place(link, &namespace, ctx),
    }
}

/// A packet for a namespace that the client is not in.
fn out_of_place(link: &mut Connection, namespace: &ByteString, ctx: &mut Context<Connection>) {
    let metrics = &link.upper.shared.metrics;
    if link.upper.tombstones.iter().any(|name| **name == **namespace) {
        // It was on its way when the server put the socket out: no fault of the client's.
        metrics.events_after_disconnect.increment();
        return;
    }
    debug!(namespace = &**namespace, "packet for a namespace that was not joined");
    metrics.bad_packets.increment();
    metrics.meters.count(Rare::PacketRefused, "out_of_place");
    leaving::force_close(link, ctx);
}

fn answered(link: &mut Connection, index: usize, id: Option<u64>, args: Args) {
    let joined = &mut link.upper.joined[index];
    match id.and_then(|id| joined.socket.questions().take(id)) {
        Some((waiting, since)) => {
            joined.entrance.home.description.meters.client_ack.record(since);
            waiting.answer(joined.socket.id(), args);
        }
        None => debug!(id, "answer that nobody waits for"),
    }
}
