//! Servers that work as one: whoever is logged in to one of them sees all.

use greenroom::testing::{MemoryBus, TestServer};
use serde_json::{Value, json};

use crate::{all, chat, of, open};

async fn two() -> [TestServer; 2] {
    let bus = MemoryBus::new();
    let start = |name: &str| {
        let server = TestServer::start(chat().adapter(bus.node(name)));
        server.io().admin(open().server_id(name)).unwrap();
        server
    };
    let servers = [start("a"), start("b")];
    for server in &servers {
        server.io().cluster_ready().await;
    }
    servers
}

#[actix_rt::test]
async fn an_admin_sees_the_servers_sockets_and_events_of_the_whole_cluster() {
    let [a, b] = two().await;
    let ann = a.connect("/", ()).await.unwrap();
    let ben = b.connect("/", ()).await.unwrap();
    ben.emit("name", "ben");
    b.settle().await;
    let admin = a.connect("/admin", ()).await.unwrap();
    a.advance(std::time::Duration::from_secs(3)).await;
    let events = all(&a, &admin).await;
    let mut servers: Vec<_> =
        of(&events, "server_stats").iter().map(|s| s[1]["serverId"].clone()).collect();
    servers.sort_by_key(Value::to_string);
    servers.dedup();
    assert_eq!(servers, ["a", "b"]);
    let listed = of(&events, "all_sockets")[0][1].as_array().unwrap();
    assert!(listed.iter().any(|socket| socket["id"] == json!(ann.id())));
    let others = of(&events, "socket_connected");
    let shown = others.iter().find(|event| event[1]["id"] == json!(ben.id())).unwrap();
    assert_eq!(shown[1]["data"], json!({ "name": "ben" }));
    assert_eq!(shown[1]["transport"], "websocket");
    assert_eq!(shown[1]["clientId"].as_str().map(str::len), Some(12));

    ben.emit("hi", 1);
    let late = b.connect("/", ()).await.unwrap();
    let events = all(&a, &admin).await;
    assert_eq!(of(&events, "event_received")[0][3], json!(["hi", 1]));
    assert_eq!(of(&events, "socket_connected")[0][1]["id"], json!(late.id()));

    admin.emit("_disconnect", ("/", false, ben.id()));
    ben.disconnected().await;
    assert!(ann.is_connected() && late.is_connected());
}
