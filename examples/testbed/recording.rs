//! The operations that record what catch-all listeners see.

use std::sync::{Arc, Mutex, PoisonError};

use greenroom::{ListenerId, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    World,
    operations::{Call, Failure, answering},
};

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Dir {
    In,
    #[default]
    Out,
}

/// `[dir, tag, event, args]`.
#[derive(Clone, Serialize)]
struct Entry(Dir, Value, String, Args);

/// What one socket has recorded, and by which listeners.
#[derive(Default)]
struct Recorder(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    record: Vec<Entry>,
    recorders: Vec<(Dir, Value, ListenerId)>,
}

impl Recorder {
    fn with<R>(&self, f: impl FnOnce(&mut Kept) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, dir: Dir, tag: &Value, event: &Event, wants_ack: bool) {
        let mut args = event.args.clone();
        if wants_ack && args.push("[ack]").is_err() {
            return;
        }
        let entry = Entry(dir, tag.clone(), event.name.to_string(), args);
        self.with(|kept| kept.record.push(entry));
    }
}

/// Adds the operations to one socket.
pub(crate) fn install(socket: &Socket, world: &Arc<World>) {
    let recorder = Arc::<Recorder>::default();
    let own = Arc::clone(&recorder);
    socket.on("record", answering(world, move |call| record(call, Arc::clone(&own))));
    let own = Arc::clone(&recorder);
    socket.on("recordStop", answering(world, move |call| stop(call, Arc::clone(&own))));
    socket.on("recorded", answering(world, move |_| recorded(Arc::clone(&recorder))));
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Recording {
    dir: Dir,
    tag: Option<Value>,
    prepend: bool,
}

async fn record(call: Call, recorder: Arc<Recorder>) -> Result<bool, Failure> {
    let Recording { dir, tag, prepend } = call.params()?;
    let tag = tag.unwrap_or_default();
    let (socket, own, label) = (&call.socket, Arc::clone(&recorder), tag.clone());
    let incoming = {
        let (own, label) = (Arc::clone(&own), label.clone());
        move |_: &Socket, event: &Event, ack: &AckSender| {
            own.note(Dir::In, &label, event, ack.is_wanted());
        }
    };
    let outgoing = move |_: &Socket, event: &Event| own.note(Dir::Out, &label, event, false);
    let id = match (dir, prepend) {
        (Dir::In, false) => socket.on_any(incoming),
        (Dir::In, true) => socket.prepend_any(incoming),
        (Dir::Out, false) => socket.on_any_outgoing(outgoing),
        (Dir::Out, true) => socket.prepend_any_outgoing(outgoing),
    };
    recorder.with(|kept| kept.recorders.push((dir, tag, id)));
    Ok(true)
}

async fn stop(call: Call, recorder: Arc<Recorder>) -> Result<usize, Failure> {
    let Recording { dir, tag, .. } = call.params()?;
    let socket = &call.socket;
    let off = |id: Option<ListenerId>| match dir {
        Dir::In => socket.off_any(id),
        Dir::Out => socket.off_any_outgoing(id),
    };
    let stopped = |kept: &mut Kept| {
        let asked = |(own, label, _): &mut (Dir, Value, ListenerId)| {
            *own == dir && tag.as_ref().is_none_or(|tag| tag == label)
        };
        kept.recorders.extract_if(.., asked).map(|(_, _, id)| id).collect::<Vec<_>>()
    };
    let stopped = recorder.with(stopped);
    match tag {
        None => {
            off(None);
        }
        Some(_) => stopped.into_iter().for_each(|id| {
            off(Some(id));
        }),
    }
    Ok(match dir {
        Dir::In => socket.listeners_any().len(),
        Dir::Out => socket.listeners_any_outgoing().len(),
    })
}

async fn recorded(recorder: Arc<Recorder>) -> Result<Vec<Entry>, Failure> {
    Ok(recorder.with(|kept| kept.record.clone()))
}
