//! What can be read, a page at a time. Of a cluster it is what this server has.

use actix::Addr;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use super::{
    Answer,
    caller::authenticate,
    error::{ApiError, prepared},
    json, server,
};
use crate::{
    admin::{desk::Desk, stats},
    namespace::{
        FindSocket, Namespace,
        messages::{Leaf, Page},
    },
    room::{Room, RoomSizes, RoomsOf, SocketId},
};

/// Entries of a page, if nothing else is said, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// Sockets that are asked for at a time, and bytes after which a page is full.
const PART: usize = 32;
const PAGE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    limit: Option<usize>,
    #[serde(default)]
    cursor: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNamespace {
    #[serde(default = "main")]
    namespace: String,
    room: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    cursor: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    #[serde(default = "main")]
    namespace: String,
    id: String,
}

fn main() -> String {
    "/".to_owned()
}

fn query<T: DeserializeOwned>(req: &HttpRequest) -> Result<T, ApiError> {
    let query = web::Query::<T>::from_query(req.query_string());
    Ok(query.map_err(|error| ApiError::Bad(error.to_string()))?.into_inner())
}

fn bounded(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit.unwrap_or(LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ApiError::Bad(format!("limit must be from 1 to {MAX_LIMIT}"))),
    }
}

fn found(desk: &Desk, name: &str) -> Result<Addr<Namespace>, ApiError> {
    server(desk)?.namespace(name).ok_or(ApiError::NotFound("there is no such namespace"))
}

/// The first so many behind the cursor, in the order of their names, and the cursor of the next page.
fn cut<T>(
    mut entries: Vec<T>,
    cursor: &str,
    limit: usize,
    name: impl Fn(&T) -> &str,
) -> (Vec<T>, Option<String>) {
    entries.retain(|entry| name(entry) > cursor);
    let more = entries.len() > limit;
    if more {
        entries.select_nth_unstable_by(limit, |a, b| name(a).cmp(name(b)));
        entries.truncate(limit);
    }
    entries.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    let next = entries.last().filter(|_| more).map(|last| name(last).to_owned());
    (entries, next)
}

/// `GET server`
pub(super) async fn state(req: HttpRequest, desk: web::Data<Desk>) -> Answer {
    authenticate(&req, &desk).await?;
    let io = server(&desk)?;
    Ok(json(&json!({
        "serverId": desk.server_id,
        "clients": io.clients_count(),
        "pollingClients": desk.metrics.traffic.polling(),
        "namespaces": io.namespaces().len(),
        "readOnly": desk.read_only,
        "dropped": desk.metrics.snapshot().admin_sightings_dropped,
    })))
}

/// `GET namespaces`
pub(super) async fn namespaces(req: HttpRequest, desk: web::Data<Desk>) -> Answer {
    authenticate(&req, &desk).await?;
    let Names { limit, cursor } = query(&req)?;
    let (limit, io) = (bounded(limit)?, server(&desk)?);
    let (names, next) = cut(io.namespaces(), &cursor, limit, String::as_str);
    let counted = stats::count(&io, names).await;
    let entries = counted.iter().map(|(name, count)| json!({ "name": name, "sockets": count }));
    Ok(json(&json!({ "namespaces": entries.collect::<Vec<_>>(), "next": next })))
}

/// `GET rooms`: without the rooms of sockets' ids.
pub(super) async fn rooms(req: HttpRequest, desk: web::Data<Desk>) -> Answer {
    authenticate(&req, &desk).await?;
    let OfNamespace { namespace, room, limit, cursor } = query(&req)?;
    if room.is_some() {
        return Err(ApiError::Bad("rooms are not in rooms".to_owned()));
    }
    let limit = bounded(limit)?;
    let sizes = found(&desk, &namespace)?.send(RoomSizes).await.unwrap_or_default();
    let (sizes, next) = cut(sizes, &cursor, limit, |(room, _)| room);
    let entries = sizes.iter().map(|(room, size)| json!({ "name": room, "sockets": size }));
    Ok(json(&json!({ "rooms": entries.collect::<Vec<_>>(), "next": next })))
}

/// Texts that are written as they are.
#[derive(Serialize)]
struct Shown {
    sockets: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// `GET sockets`: in the order in which they came.
pub(super) async fn sockets(req: HttpRequest, desk: web::Data<Desk>) -> Answer {
    authenticate(&req, &desk).await?;
    let OfNamespace { namespace, room, limit, cursor } = query(&req)?;
    let limit = bounded(limit)?;
    let bad = |_| ApiError::Bad("this is no cursor of a page".to_owned());
    let start = if cursor.is_empty() { 0 } else { cursor.parse().map_err(bad)? };
    let addr = found(&desk, &namespace)?;
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0, Some(start));
    while let Some(after) = next
        && entries.len() < limit
        && bytes < PAGE_BYTES
    {
        let limit = PART.min(limit - entries.len());
        let page = Page { after, limit, room: room.as_deref().map(Room::from) };
        let Ok(Leaf { sockets, next: following }) = addr.send(page).await else { break };
        next = following;
        for found in sockets {
            let view = desk.view.socket(&found.socket, &found.rooms).to_string();
            bytes += view.len();
            entries.push(RawValue::from_string(view));
        }
    }
    let entries: Vec<_> = entries.into_iter().flatten().collect();
    let answer = Shown { sockets: entries, next: next.map(|key| key.to_string()) };
    Ok(prepared(HttpResponse::Ok()).json(answer))
}

/// `GET socket`
pub(super) async fn socket(req: HttpRequest, desk: web::Data<Desk>) -> Answer {
    authenticate(&req, &desk).await?;
    let One { namespace, id } = query(&req)?;
    let (addr, id) = (found(&desk, &namespace)?, SocketId::from(id));
    let socket = addr.send(FindSocket(id.clone())).await.ok().flatten();
    let rooms = addr.send(RoomsOf(id)).await.ok().flatten();
    match socket.zip(rooms) {
        Some((socket, rooms)) => Ok(json(&desk.view.socket(&socket, &rooms))),
        None => Err(ApiError::NotFound("there is no such socket")),
    }
}
