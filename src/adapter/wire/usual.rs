//! Broadcasts as nearly all servers write them, read without a detour through JSON: it takes a
//! third of the time. Whatever is not quite as usual is left to the general way, which says the
//! same of what is usual.

use bytes::Bytes;

use super::fields::{EVENT, Flags, Opts, TRACE};
use crate::{
    adapter::message::{Envelope, Message, Rooms, Uid},
    packet::Walk,
    room::Room,
    trace::TraceParent,
};

/// `[uid, packet, opts]`, as the first Redis adapter sends it.
pub(super) fn broadcast(message: &Bytes) -> Option<Envelope> {
    let mut walk = Walk::new(message);
    if walk.array()? != 3 {
        return None;
    }
    let uid = Uid::from(walk.text()?);
    let (mut kind, mut data, mut namespace) = (None, None, None);
    for _ in 0..walk.map()? {
        let known = match walk.text()? {
            "type" => kind.replace(walk.uint()?).is_some(),
            "data" => data.replace(walk.value()?).is_some(),
            "nsp" => namespace.replace(walk.text()?).is_some(),
            _ => return None,
        };
        if known {
            return None;
        }
    }
    let mut opts = opts(&mut walk)?;
    if !walk.is_done() || kind? != EVENT {
        return None;
    }
    Some(Envelope {
        uid: Some(uid),
        namespace: namespace.unwrap_or("/").to_owned(),
        message: Message::Broadcast {
            payload: data?.into_event()?,
            target: opts.target(),
            sending: opts.sending(),
            request: None,
        },
    })
}

fn opts(walk: &mut Walk<'_>) -> Option<Opts> {
    let (mut to, mut except, mut set, mut trace) = (None, None, None, None);
    for _ in 0..walk.map()? {
        let known = match walk.text()? {
            "rooms" => to.replace(rooms(walk)?).is_some(),
            "except" => except.replace(rooms(walk)?).is_some(),
            "flags" => set.replace(flags(walk)?).is_some(),
            TRACE => trace.replace(TraceParent::parse(walk.text()?)).is_some(),
            _ => return None,
        };
        if known {
            return None;
        }
    }
    Some(Opts {
        rooms: to.unwrap_or_default(),
        except: except.unwrap_or_default(),
        flags: set.unwrap_or_default(),
        trace: trace.flatten(),
    })
}

fn rooms(walk: &mut Walk<'_>) -> Option<Rooms> {
    (0..walk.array()?).map(|_| walk.text().map(Room::from)).collect()
}

fn flags(walk: &mut Walk<'_>) -> Option<Flags> {
    let mut flags = Flags::default();
    for _ in 0..walk.map()? {
        match walk.text()? {
            "volatile" => flags.volatile = Some(walk.bool()?),
            "compress" => flags.compress = Some(walk.bool()?),
            "timeout" => flags.timeout = Some(walk.uint()? as f64),
            "broadcast" | "local" => {
                walk.bool()?;
            }
            _ => return None,
        }
    }
    Some(flags)
}
