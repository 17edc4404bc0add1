//! Who comes too late, or missed too much.

use std::time::Duration;

use actix_rt::test;
use greenroom::{
    Recovery,
    testing::{TestServer, TestSocket},
};
use serde_json::json;

use crate::{builder, cut, heard, rooms, server};

fn bounded(recovery: Recovery) -> TestServer {
    TestServer::start(builder(rooms("/"), recovery))
}

#[test]
async fn a_client_that_comes_too_late_gets_a_new_socket() {
    let server = bounded(Recovery::new().max_disconnection_duration(Duration::from_secs(10)));
    let ann = server.connect("/", json!({ "rooms": ["lobby"] })).await.unwrap();
    cut(&server, &ann).await;
    server.io().emit("said", &1).unwrap();
    server.advance(Duration::from_millis(10_010)).await;
    let new = server.reconnect(&ann, ()).await.unwrap();
    assert!(!new.recovered());
    assert_ne!(new.id(), ann.id());
    assert_ne!(new.session()["pid"], ann.session()["pid"]);
    new.expect_silence().await;
    assert_eq!(server.metrics().recoveries_expired, 1);
    // Nothing is left of it: another attempt finds nobody.
    assert!(!server.reconnect(&ann, ()).await.unwrap().recovered());
    assert_eq!(server.metrics().recoveries_unknown, 1);
    // The new one is kept as the first one was.
    cut(&server, &new).await;
    assert!(server.reconnect(&new, ()).await.unwrap().recovered());
}

#[test]
async fn a_client_that_missed_more_than_is_kept_gets_a_new_socket() {
    for recovery in [Recovery::new().max_packets(5), Recovery::new().max_bytes(5 * 220)] {
        let server = bounded(recovery);
        let ann = server.connect("/", ()).await.unwrap();
        let bob = server.connect("/", ()).await.unwrap();
        cut(&server, &ann).await;
        server.io().emit("said", &0).unwrap();
        assert_eq!(heard(&bob).await, [0]);
        cut(&server, &bob).await;
        for n in 1..6 {
            server.io().emit("said", &n).unwrap();
        }
        server.settle().await;
        assert!(server.metrics().recovery_packets_evicted > 0);
        assert!(!server.reconnect(&ann, ()).await.unwrap().recovered());
        assert_eq!(server.metrics().recoveries_evicted, 1);
        let back = server.reconnect(&bob, ()).await.unwrap();
        assert!(back.recovered());
        assert_eq!(heard(&back).await, [1, 2, 3, 4, 5]);
    }
}

#[test]
async fn a_quiet_client_is_recovered_however_much_others_have_heard_before() {
    let server = bounded(Recovery::new().max_packets(10));
    let quiet = server.connect("/", json!({ "rooms": ["quiet"] })).await.unwrap();
    let noisy = server.connect("/", json!({ "rooms": ["noisy"] })).await.unwrap();
    server.io().to("quiet").emit("said", &1).unwrap();
    assert_eq!(heard(&quiet).await, [1]);
    for n in 0..1000 {
        server.io().to("noisy").emit("said", &n).unwrap();
        noisy.next_event().await;
        server.advance(Duration::from_millis(100)).await;
    }
    // The pong to a later ping proves that nothing of all that was for this client.
    server.advance(Duration::from_secs(60)).await;
    cut(&server, &quiet).await;
    server.io().to("quiet").emit("said", &2).unwrap();
    let back = server.reconnect(&quiet, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(heard(&back).await, [2]);
}

#[test]
async fn too_many_sockets_that_are_away_cost_those_that_are_away_longest() {
    let server = bounded(Recovery::new().max_sessions(2));
    let clients = server.many("/", 3).await;
    for client in &clients {
        cut(&server, client).await;
        server.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(server.metrics().recovery_sessions_evicted, 1);
    let mut back = Vec::new();
    for client in &clients {
        back.push(server.reconnect(client, ()).await.unwrap());
    }
    assert!(back.iter().map(TestSocket::recovered).eq([false, true, true]));
}

#[test]
async fn keys_that_nobody_was_given_make_a_new_socket() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    let pid = ann.session()["pid"].clone();
    cut(&server, &ann).await;
    for wrong in [json!(""), json!("x"), json!("__proto__"), json!("x".repeat(100_000))] {
        let new = server.connect("/", json!({ "pid": wrong })).await.unwrap();
        assert!(!new.recovered());
    }
    assert_eq!(server.metrics().recoveries_unknown, 4);
    // What is no text is no secret; nothing is looked for.
    for wrong in [json!(null), json!(7), json!([pid]), json!({ "pid": pid }), json!(true)] {
        let new = server.connect("/", json!({ "pid": wrong })).await.unwrap();
        assert!(!new.recovered());
    }
    assert_eq!(server.metrics().recoveries_unknown, 4);
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert!(back.recovered());
    cut(&server, &back).await;
    for wrong in [json!(""), json!("x"), json!(0), json!([]), json!({}), json!("00000000-x")] {
        let auth = json!({ "pid": pid, "offset": wrong });
        assert!(!server.connect("/", auth).await.unwrap().recovered(), "{wrong}");
    }
    assert_eq!(server.metrics().recoveries_malformed, 6);
    // The right ones still fit.
    assert!(server.reconnect(&back, ()).await.unwrap().recovered());
    assert_eq!(server.metrics().sockets_recovered, 2);
}

#[test]
async fn events_that_nobody_can_hear_later_are_not_kept() {
    let server = bounded(Recovery::new().max_packets(1));
    let ann = server.connect("/", ()).await.unwrap();
    server.io().emit("said", &1).unwrap();
    assert_eq!(heard(&ann).await, [1]);
    for n in 0..100 {
        server.io().to("empty").emit("said", &n).unwrap();
    }
    server.settle().await;
    assert_eq!(server.metrics().recovery_packets_evicted, 0);
    cut(&server, &ann).await;
    assert!(server.reconnect(&ann, ()).await.unwrap().recovered());
}

#[test]
async fn what_nobody_can_come_back_for_is_forgotten_by_itself() {
    let server = bounded(Recovery::new());
    let ann = server.connect("/", ()).await.unwrap();
    cut(&server, &ann).await;
    server.io().emit("said", &1).unwrap();
    server.advance(Duration::from_secs(600)).await;
    assert!(!server.reconnect(&ann, ()).await.unwrap().recovered());
    assert_eq!((server.metrics().recoveries_unknown, server.metrics().recoveries_expired), (1, 0));
}
