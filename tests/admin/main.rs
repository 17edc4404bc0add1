//! The admin interface as the Admin UI sees it, by its events.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod api;
mod cluster;
mod crowd;
#[path = "../support/lines.rs"]
mod lines;

use std::time::Duration;

use greenroom::{
    SocketIoBuilder,
    admin::{Admin, AdminError, Mode},
    prelude::*,
    testing::{TestRequest, TestServer, TestSocket},
};
use serde_json::{Value, json};

/// Of "open sesame", at the lowest cost.
const HASH: &str = "$2a$04$MM.20lRG2K8Xu9NmeFMfzeFgQNlFIm2CFVdMw0FYPkTd7rCFrVzzC";

fn open() -> Admin {
    Admin::new().without_authentication().server_id("test")
}

fn chat() -> SocketIoBuilder {
    let namespace = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("lobby") })
        .on("echo", |_: Socket, args: Args| async move { Ack(args) })
        .on(
            "tell",
            |socket: Socket, text: String| async move { socket.everyone().emit("told", &text) },
        )
        .on("name", |socket: Socket, name: String| async move {
            socket.data(|data| data.set("name", &name)).unwrap();
        })
        .on("look", |socket: Socket, (): ()| async move {
            Ack(socket.data(|data| data.get::<String>("name")))
        });
    SocketIo::builder().namespace(namespace)
}

fn start(admin: Admin) -> TestServer {
    let server = TestServer::start(chat());
    server.io().admin(admin).unwrap();
    server
}

/// The next event of this name, past others.
async fn event(admin: &TestSocket, name: &str) -> Value {
    loop {
        let event = admin.next_event().await;
        if event.name == name {
            return event.args.to_json();
        }
    }
}

/// All that came, with its name first, as soon as nothing more comes.
async fn all(server: &TestServer, admin: &TestSocket) -> Vec<Value> {
    server.settle().await;
    let mut all = Vec::new();
    while admin.has_event() {
        let event = admin.next_event().await;
        let Value::Array(mut args) = event.args.to_json() else { panic!("not a list") };
        args.insert(0, event.name.into());
        all.push(Value::Array(args));
    }
    all
}

fn of<'a>(all: &'a [Value], name: &str) -> Vec<&'a Value> {
    all.iter().filter(|event| event[0] == name).collect()
}

// ---- who may -----------------------------------------------------------------------------------

#[actix_rt::test]
async fn who_may_use_it_has_to_be_said() {
    let server = TestServer::start(chat());
    let io = server.io();
    assert_eq!(io.admin(Admin::new()).unwrap_err(), AdminError::NoAuthentication);
    for hash in [
        "",
        "open sesame",
        "$2b$04$short",
        "$2b$31$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS",
    ] {
        let refused = io.admin(Admin::new().basic_auth("ann", hash)).unwrap_err();
        assert_eq!(refused, AdminError::InvalidHash, "{hash}");
    }
    let taken = io.admin(open().namespace_name("/")).unwrap_err();
    assert_eq!(taken, AdminError::NamespaceTaken("/".to_owned()));
    io.admin(open().namespace_name("desk")).unwrap();
    assert_eq!(io.admin(open()).unwrap_err(), AdminError::Twice);
    assert!(io.namespace("/admin").is_none());
    assert!(server.connect("/desk", ()).await.is_ok());
}

#[actix_rt::test]
async fn with_name_and_password_an_admin_gets_a_session_and_comes_back_by_it() {
    let server = start(Admin::new().basic_auth("ann", HASH));
    let auth = json!({ "username": "ann", "password": "open sesame" });
    let admin = server.connect("/admin", auth).await.unwrap();
    let Value::String(session) = event(&admin, "session").await[0].take() else {
        panic!("no text")
    };
    assert_eq!(session.len(), 32);
    let again = server.connect("/admin", json!({ "sessionId": session })).await.unwrap();
    let events = all(&server, &again).await;
    assert_eq!(of(&events, "session").len(), 0);
    assert_eq!(of(&events, "config").len(), 1);
}

#[actix_rt::test]
async fn nobody_else_gets_in() {
    let server = start(Admin::new().basic_auth("ann", HASH));
    for auth in [
        json!({}),
        json!({ "username": "ann", "password": "open sesam" }),
        json!({ "username": "ben", "password": "open sesame" }),
        json!({ "username": "ann", "password": { "$ne": 1 } }),
        json!({ "username": ["ann"], "password": "open sesame" }),
        json!({ "sessionId": "0123456789abcdef0123456789abcdef" }),
        json!({ "sessionId": true }),
    ] {
        let refused = server.connect("/admin", auth.clone()).await.unwrap_err();
        assert_eq!(refused.to_string(), "invalid credentials", "{auth}");
    }
    assert_eq!(server.metrics().admin_logins_refused, 7);
}

#[actix_rt::test]
async fn who_fails_too_often_is_refused_even_with_the_password_and_others_are_not() {
    let server = start(Admin::new().basic_auth("ann", HASH));
    let from = |address: &str| TestRequest::new().address(address.parse().unwrap());
    let wrong = json!({ "username": "ann", "password": "guess" });
    let right = json!({ "username": "ann", "password": "open sesame" });
    let mut texts = Vec::new();
    for _ in 0..11 {
        let connection = server.open_as(from("10.0.0.1:1")).await.unwrap();
        texts.push(connection.join("/admin", &wrong).await.unwrap_err().to_string());
    }
    assert_eq!(texts[9], "invalid credentials");
    assert_eq!(texts[10], "too many attempts, try again later");
    let late = server.open_as(from("10.0.0.1:2")).await.unwrap();
    let late = late.join("/admin", &right).await.unwrap_err();
    assert_eq!(late.to_string(), "too many attempts, try again later");
    let other = server.open_as(from("10.0.0.2:1")).await.unwrap();
    assert!(other.join("/admin", &right).await.is_ok());
}

// ---- what is shown -----------------------------------------------------------------------------

#[actix_rt::test]
async fn whoever_comes_is_told_what_may_be_done_how_the_server_is_and_who_is_there() {
    let server = start(open());
    let client = server.connect("/", ()).await.unwrap();
    client.emit("name", "ben");
    let admin = server.connect("/admin", ()).await.unwrap();
    let events = all(&server, &admin).await;
    let features = [
        "EMIT",
        "JOIN",
        "LEAVE",
        "DISCONNECT",
        "MJOIN",
        "MLEAVE",
        "MDISCONNECT",
        "AGGREGATED_EVENTS",
        "ALL_EVENTS",
    ];
    assert_eq!(of(&events, "config"), [&json!(["config", { "supportedFeatures": features }])]);
    let stats = &of(&events, "server_stats")[0][1];
    assert_eq!(stats["serverId"], "test");
    assert_eq!(stats["pid"], std::process::id());
    assert_eq!(stats["clientsCount"], 2);
    assert_eq!(stats["pollingClientsCount"], 0);
    assert!(stats["uptime"].as_f64().is_some_and(|uptime| uptime >= 0.0));
    let namespaces =
        json!([{ "name": "/", "socketsCount": 1 }, { "name": "/admin", "socketsCount": 1 }]);
    assert_eq!(stats["namespaces"], namespaces);
    let sockets = of(&events, "all_sockets");
    assert_eq!(sockets.len(), 1, "in one message");
    let sockets = sockets[0][1].as_array().unwrap();
    assert_eq!(sockets.len(), 2);
    let shown = &sockets[0];
    assert_eq!(shown["id"], json!(client.id()));
    assert_eq!((&shown["nsp"], &shown["transport"]), (&json!("/"), &json!("websocket")));
    assert_eq!(shown["rooms"], json!([client.id(), "lobby"]));
    assert_eq!(shown["data"], json!({ "name": "ben" }));
    assert_eq!(shown["handshake"]["query"]["EIO"], "4");
    assert!(shown["handshake"]["issued"].as_u64().is_some());
    assert!(shown["handshake"].get("auth").is_none());
    assert_eq!(shown["clientId"].as_str().map(str::len), Some(12));
    assert_ne!(shown["clientId"], sockets[1]["clientId"]);
}

#[actix_rt::test]
async fn what_happens_to_sockets_rooms_and_data_is_shown() {
    let server = start(open());
    let admin = server.connect("/admin", ()).await.unwrap();
    all(&server, &admin).await;
    let client = server.connect("/", ()).await.unwrap();
    let id = json!(client.id());
    let events = all(&server, &admin).await;
    let names: Vec<_> = events.iter().map(|event| event[0].as_str().unwrap()).collect();
    assert_eq!(names, ["room_joined", "socket_connected", "room_joined"]);
    assert_eq!(events[0].as_array().unwrap()[1..4], [json!("/"), id.clone(), id.clone()]);
    assert_eq!((&events[1][1]["id"], &events[1][1]["rooms"]), (&id, &json!([id])));
    assert_eq!(events[2].as_array().unwrap()[1..4], [json!("/"), json!("lobby"), id.clone()]);
    let time = events[2][4].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{time}");

    client.emit("name", "ben");
    client.emit("name", "ben");
    let answer = client.emit_with_ack("look", ()).await;
    assert_eq!(answer, json!(["ben"]));
    let events = all(&server, &admin).await;
    let updated = json!({ "id": id, "nsp": "/", "data": { "name": "ben" } });
    assert_eq!(of(&events, "socket_updated"), [&json!(["socket_updated", updated])], "once");

    client.disconnect().await;
    let mut events = all(&server, &admin).await;
    events.sort_by_key(|event| event[0].to_string() + &event[2].to_string());
    let left: Vec<_> = of(&events, "room_left").iter().map(|event| event[2].clone()).collect();
    assert!(left.contains(&id) && left.contains(&json!("lobby")) && left.len() == 2);
    let gone = of(&events, "socket_disconnected");
    let told = gone[0].as_array().unwrap();
    assert_eq!(told[1..4], [json!("/"), id, json!("client namespace disconnect")]);
}

#[actix_rt::test]
async fn events_are_shown_without_acks_and_binary_and_those_of_admins_are_not() {
    let server = start(open());
    let admin = server.connect("/admin", ()).await.unwrap();
    let client = server.connect("/", ()).await.unwrap();
    all(&server, &admin).await;
    let id = json!(client.id());
    client.emit("tell", "hello");
    client.emit_with_ack("echo", (1, json!({ "a": [null] }))).await;
    client.emit("raw", (bytes::Bytes::from_static(b"abc"), 7));
    admin.emit("nothing", ());
    let events = all(&server, &admin).await;
    let shown = |name: &str| -> Vec<Value> {
        of(&events, name).iter().map(|event| json!([event[1], event[2], event[3]])).collect()
    };
    assert_eq!(
        shown("event_received"),
        [
            json!(["/", id, ["tell", "hello"]]),
            json!(["/", id, ["echo", 1, { "a": [null] }]]),
            json!(["/", id, ["raw", { "_placeholder": true, "num": 0 }, 7]])
        ]
    );
    assert_eq!(shown("event_sent"), [json!(["/", id, ["told", "hello"]])]);
}

#[actix_rt::test]
async fn a_long_event_is_shown_by_its_length_and_too_many_are_counted() {
    let server = start(open().max_events_per_second(3));
    let admin = server.connect("/admin", ()).await.unwrap();
    let client = server.connect("/", ()).await.unwrap();
    all(&server, &admin).await;
    server.advance(Duration::from_secs(1)).await;
    all(&server, &admin).await;
    client.emit("long", "x".repeat(5000));
    for n in 0..9 {
        client.emit("short", n);
    }
    client.emit_with_ack("echo", ()).await;
    let events = all(&server, &admin).await;
    let shown: Vec<_> = of(&events, "event_received").iter().map(|event| &event[3]).collect();
    assert_eq!(
        shown,
        [&json!(["long", "(5002 bytes)"]), &json!(["short", 0]), &json!(["short", 1])]
    );
    assert_eq!(server.metrics().admin_sightings_dropped, 8);
}

#[actix_rt::test]
async fn credentials_of_clients_are_hidden_unless_they_are_wanted() {
    for (options, shown) in [(open(), "(hidden)"), (open().show_credentials(true), "secret")] {
        let server = start(options);
        let request = TestRequest::new()
            .header("cookie", "secret")
            .header("authorization", "secret")
            .header("x-forwarded-for", "1.2.3.4")
            .header("user-agent", "test");
        let _client =
            server.open_as(request.address("10.0.0.9:99".parse().unwrap())).await.unwrap();
        let _socket = _client.join("/", &json!({ "token": "secret" })).await.unwrap();
        let admin = server.connect("/admin", ()).await.unwrap();
        let listed = event(&admin, "all_sockets").await;
        let handshake = &listed[0][0]["handshake"];
        assert_eq!(handshake["headers"]["cookie"], shown);
        assert_eq!(handshake["headers"]["authorization"], shown);
        assert_eq!(handshake["headers"]["user-agent"], "test");
        assert_eq!(handshake["address"], "10.0.0.9", "no header is believed");
        assert!(handshake.get("auth").is_none());
    }
}

#[actix_rt::test]
async fn in_production_mode_only_counts_are_shown() {
    let server = start(open().mode(Mode::Production));
    let admin = server.connect("/admin", ()).await.unwrap();
    let client = server.connect("/", ()).await.unwrap();
    client.emit_with_ack("echo", ()).await;
    server.advance(Duration::from_secs(5)).await;
    let events = all(&server, &admin).await;
    let features = of(&events, "config")[0][1]["supportedFeatures"].as_array().unwrap().clone();
    assert!(features.contains(&json!("AGGREGATED_EVENTS")));
    assert!(!features.contains(&json!("ALL_EVENTS")));
    assert!(events.iter().all(|event| event[0] == "config" || event[0] == "server_stats"));
    let counted: Vec<_> = of(&events, "server_stats")
        .iter()
        .flat_map(|stats| stats[1]["aggregatedEvents"].as_array().unwrap().clone())
        .collect();
    let sum = |kind: &str| -> u64 {
        let of = counted.iter().filter(|event| event["type"] == kind);
        of.map(|event| event["count"].as_u64().unwrap()).sum()
    };
    // The connection of the client, its CONNECT, its event and its heartbeat's end; the admin's own
    // session was opened before anybody looked.
    assert_eq!(sum("rawConnection"), 1);
    assert_eq!(sum("packetsIn"), 2);
    assert!(sum("bytesIn") > 0 && sum("packetsOut") >= 2 && sum("bytesOut") > sum("packetsOut"));
    assert!(counted.iter().all(|event| event["timestamp"].as_u64().unwrap() % 1000 == 0));
}

#[actix_rt::test]
async fn stats_come_every_two_seconds_and_say_why_clients_went() {
    let server = start(open());
    let admin = server.connect("/admin", ()).await.unwrap();
    let client = server.connect("/", ()).await.unwrap();
    all(&server, &admin).await;
    client.drop_connection();
    server.advance(Duration::from_secs(10)).await;
    let events = all(&server, &admin).await;
    let stats = of(&events, "server_stats");
    assert_eq!(stats.len(), 5);
    let gone: Vec<_> = stats
        .iter()
        .flat_map(|stats| stats[1]["aggregatedEvents"].as_array().unwrap())
        .filter(|event| event["type"] == "rawDisconnection")
        .collect();
    assert_eq!(gone.len(), 1);
    assert_eq!((&gone[0]["subType"], &gone[0]["count"]), (&json!("transport close"), &json!(1)));
}

#[actix_rt::test]
async fn namespaces_that_come_later_are_shown_too() {
    let server = start(open());
    let admin = server.connect("/admin", ()).await.unwrap();
    server.io().spawn(Namespace::new("/late"));
    server.io().spawn_parent(Parent::matching("^/born-[0-9]+$"));
    all(&server, &admin).await;
    let _late = server.connect("/late", ()).await.unwrap();
    let born = server.connect("/born-1", ()).await.unwrap();
    born.emit("hi", 1);
    let events = all(&server, &admin).await;
    let connected = of(&events, "socket_connected");
    let namespaces: Vec<_> = connected.iter().map(|event| &event[1]["nsp"]).collect();
    assert_eq!(namespaces, ["/late", "/born-1"]);
    assert_eq!(of(&events, "event_received")[0][1], "/born-1");
}

#[actix_rt::test]
async fn nothing_is_watched_or_counted_while_nobody_looks() {
    let server = start(open().max_events_per_second(1));
    let client = server.connect("/", ()).await.unwrap();
    for _ in 0..50 {
        client.emit_with_ack("echo", ()).await;
    }
    let admin = server.connect("/admin", ()).await.unwrap();
    all(&server, &admin).await;
    assert_eq!(server.metrics().admin_sightings_dropped, 0);
    admin.disconnect().await;
    // Until it is noticed that nobody is there.
    server.advance(Duration::from_secs(2)).await;
    for _ in 0..50 {
        client.emit_with_ack("echo", ()).await;
    }
    assert_eq!(server.metrics().admin_sightings_dropped, 0);
    let admin = server.connect("/admin", ()).await.unwrap();
    server.advance(Duration::from_secs(2)).await;
    let events = all(&server, &admin).await;
    let counted: Vec<_> = of(&events, "server_stats")
        .iter()
        .flat_map(|stats| stats[1]["aggregatedEvents"].as_array().unwrap().clone())
        .filter(|event| event["type"] == "packetsIn")
        .collect();
    assert_eq!(counted, [] as [Value; 0], "what came before is no news");
}

// ---- what can be done --------------------------------------------------------------------------

#[actix_rt::test]
async fn an_admin_emits_moves_and_disconnects() {
    let server = start(open());
    let ann = server.connect("/", ()).await.unwrap();
    let ben = server.connect("/", ()).await.unwrap();
    let admin = server.connect("/admin", ()).await.unwrap();
    let rooms = async |socket: &TestSocket| {
        let namespace = server.io().namespace("/").unwrap();
        namespace.send(greenroom::RoomsOf(socket.id())).await.unwrap().unwrap().len()
    };

    admin.emit("emit", ("/", Value::Null, "hi", 1, json!({ "b": 2 })));
    assert_eq!(ann.next_event().await, ("hi".into(), json!([1, { "b": 2 }])));
    assert_eq!(ben.next_event().await, ("hi".into(), json!([1, { "b": 2 }])));
    admin.emit("emit", ("/", ann.id(), "you"));
    assert_eq!(ann.next_event().await, ("you".into(), json!([])));
    admin.emit("emit", ("/", "", "all"));
    assert_eq!(ben.next_event().await, ("all".into(), json!([])), "an empty filter is none");
    assert_eq!(ann.next_event().await, ("all".into(), json!([])));

    admin.emit("join", ("/", "vip", ben.id()));
    server.settle().await;
    assert_eq!((rooms(&ann).await, rooms(&ben).await), (2, 3));
    admin.emit("join", ("/", "all"));
    server.settle().await;
    assert_eq!((rooms(&ann).await, rooms(&ben).await), (3, 4));
    admin.emit("leave", ("/", "all", "vip"));
    admin.emit("leave", ("/", "lobby"));
    server.settle().await;
    assert_eq!((rooms(&ann).await, rooms(&ben).await), (2, 2));

    admin.emit("_disconnect", ("/", false, "vip"));
    let parting = ben.disconnected().await;
    assert_eq!(parting.as_str(), "io server disconnect");
    assert!(ann.is_connected());
    admin.emit("_disconnect", ("/", true));
    ann.disconnected().await;
}

#[actix_rt::test]
async fn commands_that_make_no_sense_do_nothing() {
    let server = start(open());
    let client = server.connect("/", ()).await.unwrap();
    let admin = server.connect("/admin", ()).await.unwrap();
    let before = server.io().namespaces();
    for (event, args) in [
        ("emit", json!(["/nowhere", null, "hi"])),
        ("emit", json!(["/", null, "connect"])),
        ("emit", json!(["/", null])),
        ("emit", json!([])),
        ("emit", json!([7, { "x": 1 }, ["y"]])),
        ("join", json!(["/"])),
        ("join", json!(["/", ""])),
        ("leave", json!(["/", { "room": 1 }])),
        ("_disconnect", json!(["/nowhere", true])),
        ("_disconnect", json!([null, true])),
        ("_disconnect", json!(["/", "yes"])),
        ("_disconnect", json!(["/", true, { "room": 1 }])),
        ("leave", json!(["/", "lobby", 7])),
        ("_disconnect", json!([])),
    ] {
        let mut packet = args.as_array().unwrap().clone();
        packet.insert(0, event.into());
        admin.connection().send_raw(&format!("2/admin,{}", Value::Array(packet)));
    }
    client.expect_silence().await;
    assert!(client.is_connected() && admin.is_connected());
    assert_eq!(server.io().namespaces(), before, "none was made");
}

#[actix_rt::test]
async fn in_read_only_mode_nothing_can_be_done() {
    let server = start(open().read_only(true));
    let client = server.connect("/", ()).await.unwrap();
    let admin = server.connect("/admin", ()).await.unwrap();
    let features = &event(&admin, "config").await[0]["supportedFeatures"];
    assert_eq!(*features, json!(["AGGREGATED_EVENTS", "ALL_EVENTS"]));
    admin.emit("emit", ("/", Value::Null, "hi"));
    admin.emit("join", ("/", "vip"));
    admin.emit("leave", ("/", "lobby"));
    admin.emit("_disconnect", ("/", true));
    client.expect_silence().await;
    assert!(client.is_connected());
    let namespace = server.io().namespace("/").unwrap();
    let rooms = namespace.send(greenroom::RoomsOf(client.id())).await.unwrap().unwrap();
    assert_eq!(rooms.len(), 2);
}

#[actix_rt::test]
async fn it_is_there_again_when_the_server_opens_again() {
    let server = start(open());
    let admin = server.connect("/admin", ()).await.unwrap();
    server.io().close().await;
    admin.disconnected().await;
    server.io().reopen().await;
    let client = server.connect("/", ()).await.unwrap();
    let admin = server.connect("/admin", ()).await.unwrap();
    let listed = event(&admin, "all_sockets").await;
    assert_eq!(listed[0][0]["id"], json!(client.id()));
}
