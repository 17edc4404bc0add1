//! The JSON API.

use actix_web::{
    App,
    body::to_bytes,
    dev::{Payload, Service, ServiceResponse},
    http::StatusCode,
    test,
};
use futures_util::stream;
use greenroom::{
    admin::{Admin, AdminInterface},
    prelude::*,
    testing::TestServer,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Level;

use crate::{HASH, chat, lines::Lines, open};

/// A server with its interface; the API is below `/api`.
struct Desk {
    server: TestServer,
    admin: AdminInterface,
}

fn start(admin: Admin) -> Desk {
    let server = TestServer::start(chat());
    let admin = server.io().admin(admin).unwrap();
    Desk { server, admin }
}

const JSON: (&str, &str) = ("content-type", "application/json");

impl Desk {
    async fn call(&self, request: test::TestRequest) -> ServiceResponse {
        let app = App::new().service(self.admin.routes("/api"));
        let app = test::init_service(app).await;
        match app.call(request.to_request()).await {
            Ok(response) => response,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let uri = format!("/api/{path}");
        parts(self.call(test::TestRequest::get().uri(&uri)).await).await
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = test::TestRequest::post().uri(&format!("/api/{path}"));
        let request = request.insert_header(JSON).set_payload(body.to_string());
        parts(self.call(request).await).await
    }
}

async fn parts(response: ServiceResponse) -> (StatusCode, Value) {
    let status = response.status();
    let headers = response.headers();
    assert_eq!(headers.get("cache-control").unwrap(), "no-store");
    assert!(headers.get("set-cookie").is_none());
    assert!(headers.get("access-control-allow-origin").is_none());
    let body = to_bytes(response.into_body()).await.unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap())
}

fn error(status: StatusCode, text: &str) -> (StatusCode, Value) {
    (status, json!({ "error": text }))
}

const READING: [&str; 5] = ["server", "namespaces", "rooms", "sockets", "socket?id=x"];
const WRITING: [&str; 4] = ["emit", "join", "leave", "disconnect"];

#[actix_rt::test]
async fn nobody_gets_anything_without_authentication() {
    let desk = start(Admin::new().basic_auth("ann", HASH));
    let refused = error(StatusCode::UNAUTHORIZED, "invalid credentials");
    for path in READING {
        assert_eq!(desk.get(path).await, refused, "{path}");
    }
    for path in WRITING {
        assert_eq!(desk.post(path, &json!({})).await, refused, "{path}");
    }
    for said in
        ["", "Basic", "Basic !", "Basic YW5u", "Basic YW5uOng=", "Bearer ", "Bearer x", "Digest x"]
    {
        let request = test::TestRequest::get().uri("/api/server");
        let response = desk.call(request.insert_header(("authorization", said))).await;
        assert_eq!(response.headers().get("www-authenticate").unwrap(), "Bearer realm=\"admin\"");
        assert_eq!(parts(response).await, refused, "{said}");
    }
    let query = test::TestRequest::get().uri("/api/server?sessionId=x&username=ann");
    let cookie = query.insert_header(("cookie", "session=x"));
    assert_eq!(parts(desk.call(cookie).await).await, refused);
}

#[actix_rt::test]
async fn name_and_password_or_a_session_let_in() {
    let desk = start(Admin::new().basic_auth("ann", HASH));
    // ann:open sesame
    let basic = ("authorization", "Basic YW5uOm9wZW4gc2VzYW1l");
    let request = test::TestRequest::get().uri("/api/server").insert_header(basic);
    assert_eq!(parts(desk.call(request).await).await.0, StatusCode::OK);

    let wrong = json!({ "username": "ann", "password": "x" });
    assert_eq!(desk.post("session", &wrong).await.0, StatusCode::UNAUTHORIZED);
    let right = json!({ "username": "ann", "password": "open sesame" });
    let (status, answer) = desk.post("session", &right).await;
    assert_eq!(status, StatusCode::OK);
    let session = answer["session"].as_str().unwrap();
    let bearer = ("authorization", format!("Bearer {session}"));
    let request = test::TestRequest::get().uri("/api/server").insert_header(bearer);
    let (status, state) = parts(desk.call(request).await).await;
    assert_eq!((status, &state["readOnly"]), (StatusCode::OK, &json!(false)));
    let back = desk.server.connect("/admin", json!({ "sessionId": session })).await;
    assert!(back.is_ok(), "it is a session of the UI as well");
}

#[actix_rt::test]
async fn who_guesses_is_told_to_wait() {
    let desk = start(Admin::new().basic_auth("ann", HASH));
    let wrong = json!({ "username": "ann", "password": "x" });
    for _ in 0..10 {
        assert_eq!(desk.post("session", &wrong).await.0, StatusCode::UNAUTHORIZED);
    }
    let request = test::TestRequest::post().uri("/api/session").insert_header(JSON);
    let response = desk.call(request.set_payload(wrong.to_string())).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 =
        response.headers().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=11).contains(&wait), "{wait}");
}

#[actix_rt::test]
async fn another_page_can_write_nothing_and_read_only_refuses() {
    let desk = start(open());
    let client = desk.server.connect("/", ()).await.unwrap();
    let body = json!({ "to": null, "event": "hi" }).to_string();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        let request = test::TestRequest::post().uri("/api/emit");
        let request = request.insert_header(("content-type", kind)).set_payload(body.clone());
        let (status, _) = parts(desk.call(request).await).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let bare = test::TestRequest::post().uri("/api/emit").set_payload(body.clone());
    assert_eq!(desk.call(bare).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let get = test::TestRequest::get().uri("/api/emit?to=&event=hi");
    assert_eq!(desk.call(get).await.status(), StatusCode::NOT_FOUND);
    client.expect_silence().await;

    let desk = start(open().read_only(true));
    let client = desk.server.connect("/", ()).await.unwrap();
    let refused = error(StatusCode::FORBIDDEN, "the admin interface is read-only");
    for path in WRITING {
        assert_eq!(desk.post(path, &json!({ "to": null })).await, refused, "{path}");
    }
    for path in &READING[..4] {
        assert_eq!(desk.get(path).await.0, StatusCode::OK, "{path}");
    }
    client.expect_silence().await;
}

#[actix_rt::test]
async fn namespaces_rooms_and_sockets_come_in_pages() {
    let desk = start(open());
    for name in ["/c", "/a", "/b"] {
        desk.server.io().spawn(Namespace::new(name));
    }
    let (_, first) = desk.get("namespaces?limit=3").await;
    let names = |page: &Value| -> Vec<String> {
        let entries = page["namespaces"].as_array().unwrap().iter();
        entries.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&first), &first["next"]),
        (vec!["/".into(), "/a".into(), "/admin".into()], &json!("/admin"))
    );
    let (_, second) = desk.get("namespaces?limit=3&cursor=/admin").await;
    assert_eq!((names(&second), &second["next"]), (vec!["/b".into(), "/c".into()], &Value::Null));

    let clients = desk.server.many("/", 70).await;
    for (n, client) in clients.iter().enumerate() {
        client.emit("name", n.to_string());
    }
    desk.server.io().to("lobby").join(["odd", "even"]);
    desk.server.settle().await;
    let (_, rooms) = desk.get("rooms?namespace=/&limit=2").await;
    let expected = json!([{ "name": "even", "sockets": 70 }, { "name": "lobby", "sockets": 70 }]);
    assert_eq!(rooms, json!({ "rooms": expected, "next": "lobby" }));
    let (_, rooms) = desk.get("rooms?limit=2&cursor=lobby").await;
    assert_eq!(rooms, json!({ "rooms": [{ "name": "odd", "sockets": 70 }], "next": null }));

    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (status, page) = desk.get(&format!("sockets?room=odd&limit=40&cursor={cursor}")).await;
        assert_eq!(status, StatusCode::OK);
        let sockets = page["sockets"].as_array().unwrap().iter();
        seen.extend(sockets.map(|socket| socket["data"]["name"].as_str().unwrap().to_owned()));
        pages += 1;
        match &page["next"] {
            Value::Null => break,
            next => cursor = next.as_str().unwrap().to_owned(),
        }
    }
    let expected: Vec<_> = (0..70).map(|n| n.to_string()).collect();
    assert_eq!((seen, pages), (expected, 2), "each once, in the order in which they came");

    let id = clients[7].id();
    let (status, one) = desk.get(&format!("socket?namespace=/&id={id}")).await;
    assert_eq!((status, &one["data"]), (StatusCode::OK, &json!({ "name": "7" })));
    assert_eq!(one["rooms"].as_array().unwrap().len(), 4);
}

#[actix_rt::test]
async fn emits_moves_and_disconnects_do_what_they_say() {
    let desk = start(open());
    let ann = desk.server.connect("/", ()).await.unwrap();
    let ben = desk.server.connect("/", ()).await.unwrap();
    let ok = (StatusCode::OK, json!({}));
    let body = json!({ "to": "lobby", "except": [ben.id()], "event": "hi", "args": [1, [2]] });
    assert_eq!(desk.post("emit", &body).await, ok);
    assert_eq!(ann.next_event().await, ("hi".into(), json!([1, [2]])));
    ben.expect_silence().await;
    let body = json!({ "to": [ann.id()], "rooms": ["vip", "red"] });
    assert_eq!(desk.post("join", &body).await, ok);
    let (_, rooms) = desk.get("rooms").await;
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 3);
    assert_eq!(desk.post("leave", &json!({ "to": null, "rooms": "red" })).await, ok);
    let (_, rooms) = desk.get("rooms").await;
    assert_eq!(rooms["rooms"].as_array().unwrap().len(), 2);
    let gone = desk.post("disconnect", &json!({ "to": "vip", "close": true })).await;
    assert_eq!(gone, (StatusCode::OK, json!({ "disconnected": 1 })));
    ann.disconnected().await;
    assert!(ben.is_connected());
}

#[actix_rt::test]
async fn what_is_done_is_logged_with_whom_it_concerned() {
    let (log, _logging) = Lines::of_this_thread(Level::INFO);
    let desk = start(open());
    let body = json!({ "to": ["red", "blue"], "except": "vip", "event": "hi" });
    desk.post("emit", &body).await;
    desk.post("leave", &json!({ "to": "red", "rooms": "red" })).await;
    desk.post("disconnect", &json!({ "to": null, "except": ["vip"] })).await;
    let text = log.text();
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(": admin: ")).collect();
    let expected = [
        r#"emit namespace="/" whom=["red", "blue"] except=["vip"] event="hi""#,
        r#"leave namespace="/" whom=["red"] except=[] rooms=["red"]"#,
        r#"disconnect namespace="/" whom=[] except=["vip"] close=false"#,
    ];
    assert_eq!(lines.iter().map(|(_, line)| *line).collect::<Vec<_>>(), expected);
}

#[actix_rt::test]
async fn mistakes_are_named_and_change_nothing() {
    let desk = start(open());
    let client = desk.server.connect("/", ()).await.unwrap();
    let (bad, missing) = (StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND);
    for (path, status) in [
        ("sockets?limit=0", bad),
        ("sockets?limit=1001", bad),
        ("sockets?limit=x", bad),
        ("sockets?cursor=x", bad),
        ("sockets?cursor=-1", bad),
        ("sockets?sort=id", bad),
        ("rooms?room=x", bad),
        ("rooms?namespace=/nowhere", missing),
        ("socket?id=x", missing),
        ("nothing", missing),
    ] {
        let (answered, body) = desk.get(path).await;
        assert_eq!(answered, status, "{path}");
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
    }
    for (path, body, status) in [
        ("emit", json!({ "event": "hi" }), bad),
        ("emit", json!({ "to": null, "event": "hi", "room": "vip" }), bad),
        ("emit", json!({ "to": 7, "event": "hi" }), bad),
        ("emit", json!({ "to": null, "event": "connect" }), bad),
        ("emit", json!({ "to": null, "event": "hi", "namespace": "/nowhere" }), missing),
        ("join", json!({ "to": null, "rooms": [] }), bad),
        ("leave", json!({ "to": null }), bad),
        ("disconnect", json!({}), bad),
        ("disconnect", json!({ "room": "lobby" }), bad),
        ("disconnect", json!([]), bad),
        // What a search gives that has found nobody is not everybody.
        ("emit", json!({ "to": [], "event": "hi" }), bad),
        ("emit", json!({ "to": "", "event": "hi" }), bad),
        ("join", json!({ "to": [""], "rooms": "vip" }), bad),
        ("leave", json!({ "to": [], "rooms": "lobby" }), bad),
        ("disconnect", json!({ "to": [] }), bad),
    ] {
        let (answered, answer) = desk.post(path, &body).await;
        assert_eq!(answered, status, "{path} {body} {answer}");
    }
    let long = json!({ "to": null, "event": "hi", "args": ["x".repeat(1 << 20)] });
    assert_eq!(desk.post("emit", &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    client.expect_silence().await;
    assert!(client.is_connected());
    let (_, rooms) = desk.get("rooms").await;
    assert_eq!(rooms["rooms"], json!([{ "name": "lobby", "sockets": 1 }]));
}

#[actix_rt::test]
async fn who_has_not_logged_in_keeps_no_request_open_and_sends_little() {
    let desk = start(Admin::new().basic_auth("ann", HASH));
    let request = test::TestRequest::post().uri("/api/session").insert_header(JSON);
    let never: Payload = Payload::Stream { payload: Box::pin(stream::pending()) };
    let (request, _) = request.to_request().replace_payload(never);
    let app = test::init_service(App::new().service(desk.admin.routes("/api"))).await;
    let begun = Instant::now();
    let response = app.call(request).await.unwrap();
    let late = error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    assert_eq!(parts(response).await, late);
    assert_eq!(begun.elapsed().as_secs(), 30);

    let long = json!({ "username": "ann", "password": "x".repeat(16 << 10) });
    assert_eq!(desk.post("session", &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}
