//! The operations of the remote control: one object of parameters, one object as answer.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering as Atomic},
    },
};

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use greenroom::{CountSockets, FindSocket, Handshake, RoomSizes, prelude::*};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use super::{
    World,
    control::rooms_of,
    emitting, fetched,
    fixture::{self, Blob, FIXTURE},
    journal::{DisconnectEntry, DisconnectLog, ErrorEntry, ErrorLog, Journal, RoomEntry, RoomLog},
    recording,
    selection::{Rooms, Selection},
};

pub(crate) type Failure = Box<dyn Error>;

/// One call of an operation.
pub(crate) struct Call {
    pub(crate) socket: Socket,
    pub(crate) world: Arc<World>,
    args: Args,
    ack: AckSender,
}

impl Call {
    /// The parameters: anything but an object counts as an empty one.
    pub(crate) fn params<T: Default + DeserializeOwned>(&self) -> Result<T, Failure> {
        let is_object = self.args.texts().next().is_some_and(|text| text.starts_with('{'));
        Ok(if is_object { self.args.get(0)? } else { T::default() })
    }
}

/// What an operation acks.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply<R> {
    Ok(R),
    Error(String),
}

/// A listener that runs an operation and acks what comes of it.
pub(crate) fn answering<F, Fut, R>(
    world: &Arc<World>,
    run: F,
) -> impl Fn(Socket, Args, AckSender) -> LocalBoxFuture<'static, Ack<Reply<R>>> + Send + Sync + 'static
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, Failure>> + 'static,
    R: Serialize + 'static,
{
    let world = Arc::clone(world);
    move |socket, args, ack| {
        let done = run(Call { socket, world: Arc::clone(&world), args, ack });
        Box::pin(async move {
            Ack(match done.await {
                Ok(result) => Reply::Ok(result),
                Err(error) => Reply::Error(error.to_string()),
            })
        })
    }
}

/// Adds the operations to a namespace.
pub(crate) fn add(namespace: Namespace, world: &Arc<World>) -> Namespace {
    macro_rules! add {
        ($($name:literal: $run:expr),* $(,)?) => {
            namespace$(.on($name, answering(world, $run)))*
        };
    }
    add! {
        "info": info, "handshake": handshake, "data": data,
        "join": join, "leave": leave, "rooms": rooms,
        "emit": emitting::emit, "emitWithAck": emitting::emit_with_ack,
        "volatileBurst": emitting::volatile_burst, "burst": emitting::burst,
        "socketsJoin": sockets_join, "socketsLeave": sockets_leave,
        "disconnectSockets": disconnect_sockets, "disconnectOther": disconnect_other,
        "close": close, "connClose": close_connection,
        "unlisten": unlisten,
        "fetchSockets": fetched::fetch_sockets,
        "emitFetched": fetched::emit_fetched, "ackFetched": fetched::ack_fetched,
        "roomLog": room_log, "disconnectLog": disconnect_log, "errorLog": error_log,
        "counts": counts, "roomSizes": room_sizes, "namespaces": namespaces,
        "newNamespaces": new_namespaces, "of": of,
        "blob": blob, "fixture": fixed, "connectionErrors": super::requests::connection_errors,
    }
}

/// Adds those that keep something for each socket.
pub(crate) fn install(socket: &Socket, world: &Arc<World>) {
    let listens = Arc::new(AtomicU32::new(0));
    socket.on("listen", answering(world, move |call| listen(call, Arc::clone(&listens))));
    recording::install(socket, world);
}

// ---- the socket --------------------------------------------------------------------------------

#[derive(Serialize)]
struct Info {
    id: SocketId,
    nsp: String,
    connected: bool,
    recovered: bool,
    transport: &'static str,
    protocol: u8,
}

async fn info(call: Call) -> Result<Info, Failure> {
    let Call { socket, .. } = call;
    Ok(Info {
        id: socket.id().clone(),
        nsp: socket.namespace().to_owned(),
        connected: socket.connected(),
        recovered: socket.recovered(),
        transport: socket.transport().as_str(),
        protocol: socket.protocol(),
    })
}

#[derive(Serialize)]
pub(crate) struct ShownHandshake {
    query: BTreeMap<String, String>,
    auth: Value,
    url: String,
    secure: bool,
    xdomain: bool,
    address: bool,
    issued: bool,
    time: bool,
    headers: BTreeMap<&'static str, String>,
}

impl From<&Handshake> for ShownHandshake {
    fn from(handshake: &Handshake) -> Self {
        let request = &handshake.request;
        let shown = ["x-testbed", "origin", "cookie", "user-agent"].into_iter();
        Self {
            query: request.query.iter().cloned().collect(),
            auth: handshake.auth.clone(),
            url: request.url.clone(),
            secure: request.secure,
            xdomain: request.cross_origin(),
            address: request.address.is_some(),
            issued: request.issued() > 0,
            time: request.time.elapsed().is_ok(),
            headers: shown
                .filter_map(|name| Some((name, request.headers.get(name)?.into_owned())))
                .collect(),
        }
    }
}

async fn handshake(call: Call) -> Result<ShownHandshake, Failure> {
    Ok(call.socket.handshake().into())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SetData {
    set: Map<String, Value>,
}

async fn data(call: Call) -> Result<Value, Failure> {
    let SetData { mut set } = call.params()?;
    Ok(call.socket.data(|data| {
        data.as_map().append(&mut set);
        data.to_json()
    }))
}

#[derive(Serialize)]
struct OwnRooms {
    #[serde(rename = "self")]
    own: bool,
    rooms: Vec<Room>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Joining {
    rooms: Rooms,
    room: Rooms,
}

async fn rooms(call: Call) -> Result<OwnRooms, Failure> {
    let (own, rooms) = rooms_of(&call.socket).await;
    Ok(OwnRooms { own, rooms })
}

async fn join(call: Call) -> Result<OwnRooms, Failure> {
    let joined = call.socket.join_confirmed(call.params::<Joining>()?.rooms);
    // If the engine of the cluster is away, it is in the rooms of this server.
    let _ = joined.await;
    rooms(call).await
}

async fn leave(call: Call) -> Result<OwnRooms, Failure> {
    call.socket.leave(call.params::<Joining>()?.room);
    rooms(call).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Closing {
    id: String,
    close: bool,
}

async fn close(call: Call) -> Result<(), Failure> {
    let Closing { close, .. } = call.params()?;
    call.ack.send(&Reply::Ok(true))?;
    drop(call.socket.disconnect(close));
    Ok(())
}

async fn close_connection(call: Call) -> Result<(), Failure> {
    call.ack.send(&Reply::Ok(true))?;
    call.socket.close_connection();
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listening {
    event: String,
    once: bool,
}

async fn listen(call: Call, listens: Arc<AtomicU32>) -> Result<u32, Failure> {
    let Listening { event, once } = call.params()?;
    let n = listens.fetch_add(1, Atomic::Relaxed) + 1;
    let name = event.clone();
    let listener = move |socket: Socket, args: Args| {
        let heard = Args::of(&(&name, n)).and_then(|mut heard| {
            heard.push(&args)?;
            Ok(heard)
        });
        async move {
            socket.emit("heard", &heard?)?;
            Ok::<_, EventError>(Ack(n))
        }
    };
    if once {
        call.socket.once(&event, listener)
    } else {
        call.socket.on(&event, listener)
    };
    Ok(n)
}

async fn unlisten(call: Call) -> Result<usize, Failure> {
    Ok(call.socket.off_all(&call.params::<Listening>()?.event))
}

// ---- many sockets ------------------------------------------------------------------------------

async fn sockets_join(call: Call) -> Result<bool, Failure> {
    let rooms = call.params::<Joining>()?.rooms;
    call.params::<Selection>()?.many(&call)?.join(rooms);
    Ok(true)
}

async fn sockets_leave(call: Call) -> Result<bool, Failure> {
    let rooms = call.params::<Joining>()?.rooms;
    call.params::<Selection>()?.many(&call)?.leave(rooms);
    Ok(true)
}

async fn disconnect_sockets(call: Call) -> Result<bool, Failure> {
    let Closing { close, .. } = call.params()?;
    call.params::<Selection>()?.many(&call)?.disconnect(close).await;
    Ok(true)
}

async fn disconnect_other(call: Call) -> Result<bool, Failure> {
    let Closing { id, close } = call.params()?;
    let namespace = call.world.io.namespace(call.socket.namespace()).ok_or("no such namespace")?;
    let other = namespace.send(FindSocket(id.into())).await?;
    if let Some(other) = &other {
        other.disconnect(close).await;
    }
    Ok(other.is_some())
}

// ---- what was and what is ----------------------------------------------------------------------

#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    nsp: Option<String>,
    id: Option<SocketId>,
    clear: bool,
}

impl About {
    fn namespace<'a>(&'a self, call: &'a Call) -> &'a str {
        self.nsp.as_deref().unwrap_or(call.socket.namespace())
    }

    /// Who keeps the logs of the namespace.
    fn journal(&self, call: &Call) -> Addr<Journal> {
        call.world.logs.journal(self.namespace(call))
    }

    /// Waits until the namespace has done what was asked of it before.
    async fn settled(&self, call: &Call) {
        if let Some(namespace) = call.world.io.of(self.namespace(call)) {
            namespace.to(call.socket.id()).members().await;
        }
    }
}

async fn room_log(call: Call) -> Result<Vec<RoomEntry>, Failure> {
    let about: About = call.params()?;
    about.settled(&call).await;
    let journal = about.journal(&call);
    Ok(journal.send(RoomLog { clear: about.clear }).await?)
}

async fn disconnect_log(call: Call) -> Result<Vec<DisconnectEntry>, Failure> {
    let about: About = call.params()?;
    let journal = about.journal(&call);
    Ok(journal.send(DisconnectLog(about.id)).await?)
}

async fn error_log(call: Call) -> Result<Vec<ErrorEntry>, Failure> {
    let about = About { nsp: None, ..call.params()? };
    let journal = about.journal(&call);
    Ok(journal.send(ErrorLog(about.id)).await?)
}

#[derive(Serialize)]
struct Counts {
    nsp: usize,
    engine: usize,
}

async fn counts(call: Call) -> Result<Counts, Failure> {
    let about: About = call.params()?;
    let nsp = match call.world.io.namespace(about.namespace(&call)) {
        Some(namespace) => namespace.send(CountSockets).await?,
        None => 0,
    };
    Ok(Counts { nsp, engine: call.world.io.clients_count() })
}

async fn room_sizes(call: Call) -> Result<BTreeMap<Room, usize>, Failure> {
    let about: About = call.params()?;
    about.settled(&call).await;
    let Some(namespace) = call.world.io.namespace(about.namespace(&call)) else {
        return Ok(BTreeMap::new());
    };
    Ok(namespace.send(RoomSizes).await?.into_iter().collect())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

async fn of(call: Call) -> Result<String, Failure> {
    let name = call.params::<Named>()?.name;
    call.world.io.namespace_or_new(&name);
    Ok(if name.starts_with('/') { name } else { format!("/{name}") })
}

async fn new_namespaces(call: Call) -> Result<Vec<String>, Failure> {
    Ok(call.world.logs.new_namespaces(call.params::<About>()?.clear))
}

async fn namespaces(call: Call) -> Result<Vec<Room>, Failure> {
    let mut names: Vec<Room> = call.world.io.namespaces().into_iter().map(Room::from).collect();
    names.sort_by(by_utf16);
    Ok(names)
}

/// The order of JavaScript's `sort()`: by UTF-16 code units.
pub(crate) fn by_utf16(a: &Room, b: &Room) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

// ---- values ------------------------------------------------------------------------------------

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    size: usize,
    binary: bool,
}

async fn blob(call: Call) -> Result<Blob, Failure> {
    let Wanted { size, binary } = call.params()?;
    Ok(fixture::blob(size, binary))
}

async fn fixed(_: Call) -> Result<&'static RawValue, Failure> {
    Ok(serde_json::from_str(FIXTURE)?)
}
