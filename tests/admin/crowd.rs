//! With many sockets: what is shown comes in pieces, and nothing grows.

use std::time::Duration;

use greenroom::{admin::Admin, prelude::*, testing::TestServer};
use serde_json::{Value, json};

use crate::{all, event, of, open};

const CROWD: usize = 10_000;

fn start(admin: Admin) -> TestServer {
    let builder = SocketIo::builder()
        .namespace(Namespace::new("/").on("noise", |_: Socket, _: Args| async move {}));
    let server = TestServer::start(builder);
    server.io().admin(admin).unwrap();
    server
}

#[actix_rt::test]
async fn ten_thousand_sockets_are_shown_in_pieces_and_each_once() {
    let server = start(open());
    let clients = server.many("/", CROWD).await;
    let admin = server.connect("/admin", ()).await.unwrap();
    let mut shown = Vec::new();
    let mut largest = 0;
    while shown.len() < CROWD {
        let event = admin.next_event().await;
        largest = largest.max(event.args.raw_json().len());
        let args = event.args.to_json();
        match event.name.as_str() {
            "all_sockets" => {
                assert!(shown.is_empty(), "it replaces what was shown before");
                shown.extend(args[0].as_array().unwrap().iter().cloned());
                assert_eq!(shown.len(), 200);
            }
            "socket_connected" => shown.push(args[0].clone()),
            _ => {}
        }
    }
    assert!(largest < 512 * 1024, "{largest} bytes in one message");
    let mut ids: Vec<_> = shown.iter().map(|socket| socket["id"].to_string()).collect();
    let mut expected: Vec<_> =
        clients.iter().map(|client| json!(client.id()).to_string()).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

#[actix_rt::test]
async fn an_admin_who_does_not_read_has_bounded_messages_waiting_and_goes_on_where_it_was() {
    let server = start(open().max_listed(2_000));
    let _clients = server.many("/", 3_000).await;
    let admin = server.connect("/admin", ()).await.unwrap();
    event(&admin, "config").await;
    admin.connection().stop_reading();
    server.advance(Duration::from_secs(3)).await;
    let waiting = server.io().of("/admin").unwrap();
    let waiting = waiting.members().await.len();
    assert_eq!(waiting, 1, "it was not closed for being slow");
    let backlog = backlog(&server).await;
    assert!(backlog < 768 * 1024, "{backlog} bytes wait");
    admin.connection().resume_reading();
    let events = {
        let mut events = all(&server, &admin).await;
        server.advance(Duration::from_secs(3)).await;
        events.extend(all(&server, &admin).await);
        events
    };
    let listed = of(&events, "all_sockets")[0][1].as_array().unwrap().len();
    assert_eq!(listed + of(&events, "socket_connected").len(), 2_000, "as many as are listed");
}

async fn backlog(server: &TestServer) -> usize {
    let namespace = server.io().namespace("/admin").unwrap();
    let sockets = namespace.send(greenroom::Sockets(Target::everyone())).await.unwrap();
    sockets[0].backlog().1
}

#[actix_rt::test]
async fn what_does_not_fit_is_counted_and_the_picture_is_sent_again() {
    let server = start(open());
    let admin = server.connect("/admin", ()).await.unwrap();
    let clients = server.many("/", 1_000).await;
    all(&server, &admin).await;
    // In one turn of the namespace: more than the queue holds.
    let rooms: Vec<String> = (0..20).map(|n| format!("room {n}")).collect();
    server.io().sockets().join(rooms);
    server.settle().await;
    let dropped = server.metrics().admin_sightings_dropped;
    assert_eq!(dropped, 20_000 - 8_192);
    server.advance(Duration::from_secs(6)).await;
    let mut rooms = std::collections::HashMap::new();
    for event in all(&server, &admin).await {
        match event[0].as_str().unwrap() {
            "all_sockets" => {
                rooms.clear();
                for socket in event[1].as_array().unwrap() {
                    rooms.insert(
                        socket["id"].to_string(),
                        socket["rooms"].as_array().unwrap().len(),
                    );
                }
            }
            "socket_connected" => {
                let socket = &event[1];
                rooms.insert(socket["id"].to_string(), socket["rooms"].as_array().unwrap().len());
            }
            _ => {}
        }
    }
    let right = |client: &Value| rooms.get(&client.to_string()) == Some(&21);
    assert!(clients.iter().all(|client| right(&json!(client.id()))));
}
