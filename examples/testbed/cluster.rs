//! `/cluster`: what servers do together.

use std::sync::{Arc, Mutex, PoisonError};

use greenroom::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    World, control,
    operations::{self, Call, Failure, ShownHandshake},
    selection::Selection,
};

/// The server-side events that this server got, with their arguments.
type Log = Arc<Mutex<Vec<(String, Args)>>>;

fn note(log: &Log, event: &str, args: &Args) {
    log.lock().unwrap_or_else(PoisonError::into_inner).push((event.to_owned(), args.clone()));
}

pub(crate) fn namespace(node: &str, world: &Arc<World>) -> Namespace {
    let log = Log::default();
    let (told, asked, silent) = (log.clone(), log.clone(), log.clone());
    let node = node.to_owned();
    let namespace = Namespace::new("/cluster")
        .on_connect(|socket: Socket| async move {
            let auth = &socket.handshake().auth;
            if auth.get("data").is_some() {
                socket.data(|data| data.set("auth", &auth["data"]))?;
            }
            Ok::<_, EventError>(())
        })
        .on_server_side("sse", move |args: Args| {
            note(&told, "sse", &args);
            std::future::ready(())
        })
        .on_server_side("sse-ask", move |args: Args| {
            let x = args.take(1);
            note(&asked, "sse-ask", &x);
            let answer = json!({ "node": node, "x": x.get::<Value>(0).unwrap_or_default() });
            std::future::ready(Ack(answer))
        })
        .on_server_side("sse-silent", move |args: Args| {
            note(&silent, "sse-silent", &args.take(1));
            std::future::ready(())
        });
    let namespace = control::remote(namespace, world);
    namespace
        .on("serverCount", operations::answering(world, server_count))
        .on("serverSideEmit", operations::answering(world, server_side_emit))
        .on("serverSideEmitWithAck", operations::answering(world, server_side_emit_with_ack))
        .on("handshakes", operations::answering(world, handshakes))
        .on("sseLog", operations::answering(world, move |call| sse_log(call, log.clone())))
}

fn all(call: &Call) -> Result<greenroom::BroadcastOperator, Failure> {
    Ok(call.world.io.of("/cluster").ok_or("no such namespace")?)
}

async fn server_count(call: Call) -> Result<usize, Failure> {
    Ok(all(&call)?.server_count().await.ok_or("the engine does not say")?)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Emit {
    event: String,
    args: Args,
}

async fn server_side_emit(call: Call) -> Result<bool, Failure> {
    let Emit { event, args } = call.params()?;
    all(&call)?.server_side_emit(&event, &args)?;
    Ok(true)
}

#[derive(Serialize)]
struct Answers {
    err: Option<String>,
    responses: Args,
}

async fn server_side_emit_with_ack(call: Call) -> Result<Answers, Failure> {
    let Emit { event, args } = call.params()?;
    let answered = all(&call)?.server_side_emit_with_ack(&event, &args).await?;
    let (err, answers) = match answered {
        Ok(answers) => (None, answers),
        Err(incomplete) => (Some(incomplete.to_string()), incomplete.results),
    };
    let mut responses = Args::new();
    for answer in &answers {
        responses.append(&answer.take(1));
    }
    Ok(Answers { err, responses })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Clear {
    clear: bool,
}

async fn sse_log(call: Call, log: Log) -> Result<Vec<(String, Args)>, Failure> {
    let Clear { clear } = call.params()?;
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(if clear { std::mem::take(&mut *log) } else { log.clone() })
}

#[derive(Serialize)]
struct OfSocket {
    id: SocketId,
    handshake: ShownHandshake,
}

async fn handshakes(call: Call) -> Result<Vec<OfSocket>, Failure> {
    let operator = call.params::<Selection>()?.fetched(&call)?;
    let sockets =
        operator.try_fetch_sockets().await.map_err(|incomplete| incomplete.to_string())?;
    let of = |socket: &greenroom::RemoteSocket| OfSocket {
        id: socket.id().clone(),
        handshake: socket.handshake().into(),
    };
    Ok(sockets.iter().map(of).collect())
}
