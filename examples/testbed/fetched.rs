//! The operations on sockets that were fetched first.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use greenroom::{RemoteSocket, prelude::*};
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};
use serde_json::Value;

use super::{
    operations::{Call, Failure, by_utf16},
    selection::Selection,
};

#[derive(Serialize)]
pub(crate) struct Fetched {
    id: SocketId,
    rooms: Vec<Room>,
    data: Value,
    auth: Value,
}

impl From<RemoteSocket> for Fetched {
    fn from(socket: RemoteSocket) -> Self {
        let id = socket.id();
        let mut rooms: Vec<Room> =
            socket.rooms().iter().filter(|r| ***r != **id).cloned().collect();
        rooms.sort_by(by_utf16);
        let auth = socket.handshake().auth.clone();
        Self { id: id.clone(), rooms, data: socket.data().to_json(), auth }
    }
}

async fn fetch(call: &Call) -> Result<Vec<RemoteSocket>, Failure> {
    let operator = call.params::<Selection>()?.fetched(call)?;
    let fetched = operator.try_fetch_sockets().await;
    Ok(fetched.map_err(|incomplete| incomplete.to_string())?)
}

pub(crate) async fn fetch_sockets(call: Call) -> Result<Vec<Fetched>, Failure> {
    Ok(fetch(&call).await?.into_iter().map(Fetched::from).collect())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Emit {
    event: String,
    args: Args,
    flags: Flags,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    timeout: Option<f64>,
}

pub(crate) async fn emit_fetched(call: Call) -> Result<usize, Failure> {
    let Emit { event, args, .. } = call.params()?;
    let sockets = fetch(&call).await?;
    for socket in &sockets {
        socket.emit(&event, &args)?;
    }
    Ok(sockets.len())
}

#[derive(Serialize)]
pub(crate) struct Answer {
    err: Option<String>,
    response: Option<Whatever>,
}

/// One value of any kind, with binary at any depth.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Whatever {
    Binary(Binary),
    List(Vec<Whatever>),
    Object(BTreeMap<String, Whatever>),
    Plain(Value),
}

/// Binary and nothing else, not even text.
#[derive(Serialize)]
struct Binary(Bytes);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BinaryVisitor)
    }
}

struct BinaryVisitor;

impl Visitor<'_> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(Binary(Bytes::copy_from_slice(bytes)))
    }
}

pub(crate) async fn ack_fetched(call: Call) -> Result<Vec<Answer>, Failure> {
    let Emit { event, args, flags } = call.params()?;
    let timeout = Duration::try_from_secs_f64(flags.timeout.unwrap_or(1000.0) / 1000.0)?;
    let sockets = fetch(&call).await?;
    let asked = sockets.iter().map(|socket| socket.timeout(timeout).emit_with_ack(&event, &args));
    // Asked all at once, then waited for.
    let asked: Vec<_> = asked.collect();
    Ok(join_all(asked).await.into_iter().map(answer).collect())
}

fn answer(answer: Result<Args, AckError>) -> Answer {
    match answer {
        Ok(args) => Answer { err: None, response: args.get(0).ok() },
        Err(error) => Answer { err: Some(error.to_string()), response: None },
    }
}
