//! Sessions of clients as Redis has them: what the adapter for Node.js writes, and a little more.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use redis::Cmd;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    adapter::{
        message::{Rejected, Uid},
        recovery::{Deposit, Over, Pid},
        wire,
    },
    packet::Document,
    room::{Room, SocketId},
};

/// Whose a session is stands at its beginning: these bytes, and behind them the name of the node.
/// With it they are 24, which are 32 characters in base64.
const OWNER: [u8; 8] = [0x88, 0xa5, b'o', b'w', b'n', b'e', b'r', 0xb0];

/// Leaves a session there (2) for so long (3), unless what is there has another owner (1). Nothing
/// may be there if this is said (4).
const PUT: &str = "\
local owner = redis.call('GETRANGE', KEYS[1], 0, 31) \
if owner == ARGV[1] or owner == ARGV[4] then \
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end";

const RENEW: &str = "\
if redis.call('GETRANGE', KEYS[1], 0, 31) == ARGV[1] then \
redis.call('PEXPIRE', KEYS[1], ARGV[2]) end";

const WITHDRAW: &str = "\
if redis.call('GETRANGE', KEYS[1], 0, 31) == ARGV[1] then \
redis.call('DEL', KEYS[1]) end";

const TAKE: &str = "\
local session = redis.call('GET', KEYS[1]) \
if session then redis.call('DEL', KEYS[1]) end \
return session";

/// What a session of a node begins with.
fn beginning(owner: &Uid) -> String {
    STANDARD.encode([&OWNER, owner.as_str().as_bytes()].concat())
}

/// The text of a session.
pub(super) fn write(owner: &Uid, namespace: &str, deposit: &Deposit) -> Vec<u8> {
    let Deposit { id, pid, rooms, data, expires, since } = deposit;
    let mut text = format!("{{\"owner\":{},", Value::from(owner.as_str()));
    let rooms: Vec<&str> = rooms.iter().map(Room::as_str).collect();
    let mut field = |name: &str, value: Value| {
        text.push_str(&format!("\"{name}\":{value},"));
    };
    field("sid", id.as_str().into());
    field("pid", pid.as_str().into());
    field("rooms", rooms.into());
    field("data", data.clone().into());
    field("expires", (*expires).into());
    field("since", since.map(|since| since.to_string()).into());
    field("nsp", namespace.into());
    text.pop();
    text.push('}');
    let document = Document { text: text.into(), attachments: Vec::new() };
    STANDARD.encode(document.to_msgpack()).into_bytes()
}

#[derive(Deserialize)]
struct Written<'a> {
    sid: String,
    pid: String,
    rooms: Vec<Value>,
    #[serde(borrow)]
    data: &'a RawValue,
    // Node.js servers write none of these.
    #[serde(default)]
    expires: bool,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    nsp: Option<String>,
}

/// Reads a session of a namespace. One that does not say of which it is may be of another, where
/// its client was let in: here it has to be asked again, as if its credentials had an end.
pub(super) fn read(text: &[u8], namespace: &str, max_bytes: usize) -> Result<Deposit, Rejected> {
    if text.len() / 2 > max_bytes {
        return Err(Rejected::TooLarge);
    }
    let malformed = |_| Rejected::Malformed;
    let bytes: Bytes = STANDARD.decode(text).map_err(malformed)?.into();
    let document = Document::from_msgpack(&bytes).map_err(|_| Rejected::Malformed)?;
    // Binary in the data becomes what it is in JSON.
    let json = document.to_json();
    let written: Written<'_> = serde_json::from_slice(&json).map_err(|_| Rejected::Malformed)?;
    let room = |room| match room {
        Value::String(name) => Some(Room::from(name)),
        Value::Number(number) => Some(Room::from(number.to_string())),
        _ => None,
    };
    if written.sid.is_empty() || written.nsp.as_deref().is_some_and(|other| other != namespace) {
        return Err(Rejected::Malformed);
    }
    Ok(Deposit {
        id: SocketId::from(written.sid),
        pid: Pid::given(&written.pid).ok_or(Rejected::Malformed)?,
        rooms: written
            .rooms
            .into_iter()
            .map(room)
            .collect::<Option<_>>()
            .ok_or(Rejected::Malformed)?,
        data: match wire::object(written.data) {
            Value::Object(data) => data,
            _ => Map::new(),
        },
        expires: written.expires || written.nsp.is_none(),
        since: written.since.and_then(|since| since.parse().ok()),
    })
}

/// Whether a session is what a node has left there.
pub(super) fn is_of(text: &[u8], owner: &Uid) -> bool {
    text.starts_with(beginning(owner).as_bytes())
}

fn script(script: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg(key);
    command
}

pub(super) fn put(key: &str, owner: &Uid, session: Vec<u8>, over: Over, milliseconds: u64) -> Cmd {
    if over == Over::Anything {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(session).arg("PX").arg(milliseconds);
        return command;
    }
    let owner = beginning(owner);
    // What is not there has no beginning.
    let other = if over == Over::OwnOrNothing { "" } else { &*owner };
    let mut command = script(PUT, key);
    command.arg(&*owner).arg(session).arg(milliseconds).arg(other);
    command
}

pub(super) fn renew(key: &str, owner: &Uid, milliseconds: u64) -> Cmd {
    let mut command = script(RENEW, key);
    command.arg(beginning(owner)).arg(milliseconds);
    command
}

pub(super) fn withdraw(key: &str, owner: &Uid) -> Cmd {
    let mut command = script(WITHDRAW, key);
    command.arg(beginning(owner));
    command
}

pub(super) fn take(key: &str) -> Cmd {
    script(TAKE, key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deposit() -> Deposit {
        Deposit {
            id: "the socket".into(),
            pid: Pid::random(),
            rooms: vec!["the socket".into(), "r".into()],
            data: Map::from_iter([("user".to_owned(), json!({ "n": 1.5 }))]),
            expires: true,
            since: "5-1".parse().ok(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_says_whose_it_is() {
        let (uid, other) = (Uid::hex(), Uid::hex());
        for since in [None, "5-1".parse().ok()] {
            let deposit = Deposit { since, ..deposit() };
            let text = write(&uid, "/", &deposit);
            assert_eq!(read(&text, "/", 1000), Ok(deposit));
            assert_eq!(read(&text, "/other", 1000), Err(Rejected::Malformed));
            assert!(is_of(&text, &uid) && !is_of(&text, &other));
            assert_eq!(beginning(&uid).len(), 32, "as many characters as the scripts compare");
        }
    }

    #[test]
    fn data_is_read_as_deep_as_a_server_has_taken_it_from_a_client() {
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        let data = Map::from_iter([("x".to_owned(), serde_json::from_str(&deep).unwrap())]);
        let deposit = Deposit { data, ..deposit() };
        assert_eq!(read(&write(&Uid::hex(), "/", &deposit), "/", 1000), Ok(deposit));
    }

    #[test]
    fn a_session_of_a_node_js_server_is_read() {
        // {sid: "gjIaNg3D0yui_F6ZAAAM", pid: "N3ECn9JfmzhKcnheAAAN", rooms: ["gjIaNg3D0yui_F6ZAAAM",
        // "room1", 42], data: {user: "u1", b: <00ff>}}
        let document = Document {
            text: r#"{"sid":"gjIaNg3D0yui_F6ZAAAM","pid":"N3ECn9JfmzhKcnheAAAN","rooms":["gjIaNg3D0yui_F6ZAAAM","room1",42],"data":{"user":"u1"}}"#.into(),
            attachments: Vec::new(),
        };
        let read = read(STANDARD.encode(document.to_msgpack()).as_bytes(), "/any", 1000).unwrap();
        assert_eq!(read.id.as_str(), "gjIaNg3D0yui_F6ZAAAM");
        assert_eq!(read.pid.as_str(), "N3ECn9JfmzhKcnheAAAN");
        assert_eq!(read.rooms, ["gjIaNg3D0yui_F6ZAAAM", "room1", "42"].map(Room::from));
        assert_eq!(read.data, *json!({ "user": "u1" }).as_object().unwrap());
        assert_eq!((read.expires, read.since), (true, None));
    }

    #[test]
    fn what_is_no_session_is_rejected() {
        let text = |value: Value| {
            let document = Document { text: value.to_string().into(), attachments: Vec::new() };
            STANDARD.encode(document.to_msgpack()).into_bytes()
        };
        for wrong in [
            b"no base64!".to_vec(),
            STANDARD.encode([0xc1, 0xff]).into_bytes(),
            text(json!([])),
            text(json!({ "sid": "", "pid": "p", "rooms": [], "data": {} })),
            text(json!({ "sid": "s", "pid": "not a pid", "rooms": [], "data": {} })),
            text(json!({ "sid": "s", "pid": "p", "rooms": [[]], "data": {} })),
        ] {
            assert_eq!(read(&wrong, "/", 1000), Err(Rejected::Malformed));
        }
        let session = write(&Uid::hex(), "/", &deposit());
        assert_eq!(read(&session, "/", 50), Err(Rejected::TooLarge));
    }
}
