//! What goes wrong on the way, with the clock paused.

use std::time::Duration;

use futures_util::StreamExt;
use greenroom::{ClusterState, prelude::*, testing::TestServer};
use serde_json::json;
use tokio::time::Instant;

use crate::{Driver, Memory, client, heartbeats, memory, rooms_on_demand, server};

const SECOND: Duration = Duration::from_secs(1);

async fn three(driver: &Memory) -> [TestServer; 3] {
    driver.start(3).await.try_into().unwrap()
}

#[actix_rt::test]
async fn a_node_that_does_not_answer_is_named_and_the_others_are_heard() {
    let driver = memory();
    let servers = three(&driver).await;
    let _a = client(&servers[0], "a", &[]).await;
    let b = client(&servers[1], "b", &["b"]).await;
    let _c = client(&servers[2], "c", &[]).await;
    driver.0.isolate("node2", true);
    let main = servers[0].io().sockets().timeout(SECOND);
    let before = Instant::now();
    let fetched = main.try_fetch_sockets().await.unwrap_err();
    assert_eq!(before.elapsed().as_secs(), 1);
    assert_eq!(fetched.results.len(), 2);
    assert_eq!(fetched.missing.count, Some(1));
    assert!(fetched.missing.nodes[0].starts_with("node2-"), "{}", fetched.missing);
    assert_eq!(main.fetch_sockets().await.len(), 2, "the results so far");
    assert_eq!(main.count_sockets().await.unwrap_err().results, 2);
    assert!(main.all_rooms().await.unwrap_err().results.contains(&"b".into()));
    let answers = main.server_side_emit_with_ack("ask", &1).await.unwrap().unwrap_err();
    assert_eq!(answers.results.len(), 1);
    assert_eq!(answers.missing.nodes.len(), 1);
    assert_eq!(main.join_confirmed("x").await.unwrap_err().missing.count, Some(1));
    assert_eq!(servers[1].io().to("x").local().members().await, [b.id()]);
    let acks = main.to("b").emit_with_ack("ask", &()).unwrap();
    b.next_event().await.answer(7);
    let missed = acks.all().await.unwrap_err();
    assert_eq!((missed.answers.len(), missed.missing), (1, None));
    assert!(missed.servers.nodes[0].starts_with("node2-"), "{}", missed.servers);
    assert!(servers[0].metrics().cluster_answers_missing >= 6);

    driver.0.isolate("node2", false);
    assert_eq!(main.try_fetch_sockets().await.unwrap().len(), 3);
}

#[actix_rt::test]
async fn nothing_is_asked_twice_of_a_bus_that_repeats_itself() {
    let driver = memory();
    let servers = three(&driver).await;
    let b = client(&servers[1], "b", &["r"]).await;
    driver.0.duplicate(true);
    let main = servers[0].io().sockets();
    assert_eq!(main.try_fetch_sockets().await.unwrap().len(), 1);
    assert_eq!(main.count_sockets().await.unwrap(), 1);
    assert_eq!(main.server_side_emit_with_ack("ask", &1).await.unwrap().unwrap().len(), 2);
    main.join_confirmed("x").await.unwrap();
    assert_eq!(servers[1].io().to("x").local().members().await, [b.id()]);
}

#[actix_rt::test]
async fn what_is_late_is_not_taken_for_the_answer_to_something_else() {
    let driver = memory();
    let servers = three(&driver).await;
    let _b = client(&servers[1], "b", &[]).await;
    let main = servers[0].io().sockets().timeout(SECOND);
    driver.0.delay(2 * SECOND);
    assert_eq!(main.try_fetch_sockets().await.unwrap_err().missing.count, Some(2));
    driver.0.delay(Duration::ZERO);
    let found = main.timeout(10 * SECOND).try_fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 1);
}

#[actix_rt::test]
async fn without_the_engine_local_clients_are_served_and_afterwards_all_are() {
    let driver = memory();
    let servers = three(&driver).await;
    let a = client(&servers[0], "a", &["r"]).await;
    let b = client(&servers[1], "b", &["r"]).await;
    let io = servers[0].io();
    assert_eq!(io.cluster_state(), Some(ClusterState::Linked));
    driver.0.disconnect("node0", true);
    servers[0].settle().await;
    assert_eq!(io.cluster_state(), Some(ClusterState::Away));
    io.to("r").emit("here", &()).unwrap();
    assert_eq!(a.next_event().await.name, "here");
    io.to("r").join("x");
    assert_eq!(io.to("x").local().members().await, [a.id()]);
    let missing = io.sockets().timeout(SECOND).try_fetch_sockets().await.unwrap_err();
    assert_eq!((missing.results.len(), missing.missing.count), (1, None));
    assert_eq!(io.sockets().server_count().await, None);
    let metrics = servers[0].metrics();
    assert_eq!(metrics.cluster_disconnections, 1);
    assert!(metrics.cluster_messages_dropped >= 3, "{metrics:?}");
    b.expect_silence().await;

    driver.0.disconnect("node0", false);
    servers[0].settle().await;
    assert_eq!(io.cluster_state(), Some(ClusterState::Linked));
    io.to("r").emit("again", &()).unwrap();
    assert_eq!(a.next_event().await.name, "again");
    assert_eq!(b.next_event().await.name, "again");
}

#[actix_rt::test]
async fn an_application_is_told_how_it_is_with_the_cluster() {
    let driver = memory();
    let server = TestServer::start(server("node0".into()).adapter(driver.0.node("node0")));
    let mut states = server.io().cluster_states();
    assert_eq!(states.next().await, Some(ClusterState::Joining));
    assert_eq!(states.next().await, Some(ClusterState::Linked));
    for (away, expected) in [(true, ClusterState::Away), (false, ClusterState::Linked)] {
        driver.0.disconnect("node0", away);
        assert_eq!(states.next().await, Some(expected));
    }
    // Who comes later hears first how it is, and without an adapter there is nothing to hear.
    assert_eq!(server.io().cluster_states().next().await, Some(ClusterState::Linked));
    let alone = TestServer::start(SocketIo::builder());
    assert_eq!(alone.io().cluster_states().next().await, None);
}

#[actix_rt::test]
async fn nodes_that_fall_silent_are_forgotten_and_found_again() {
    let driver = heartbeats();
    let servers = three(&driver).await;
    let c = client(&servers[2], "c", &[]).await;
    let main = servers[0].io().sockets();
    assert_eq!(main.server_count().await, Some(3));
    driver.0.isolate("node2", true);
    // A request under way is done when the node is given up.
    let before = Instant::now();
    assert!(main.timeout(60 * SECOND).try_fetch_sockets().await.unwrap().is_empty());
    let waited = before.elapsed();
    assert!((5 * SECOND..16 * SECOND).contains(&waited), "{waited:?}");
    assert_eq!(main.server_count().await, Some(2));
    driver.0.isolate("node2", false);
    servers[0].advance(6 * SECOND).await;
    assert_eq!(main.server_count().await, Some(3));
    let found = main.try_fetch_sockets().await.unwrap();
    assert_eq!(*found[0].id(), c.id());
    servers[0].advance(60 * SECOND).await;
    assert_eq!(main.server_count().await, Some(3), "silence is broken in time");
}

#[actix_rt::test]
async fn what_nobody_can_read_is_counted_and_dropped() {
    let driver = memory();
    let servers = three(&driver).await;
    let a = client(&servers[0], "a", &[]).await;
    for message in [
        &b"{"[..],
        b"",
        b"\xc1",
        b"{\"type\":99,\"uid\":\"x\",\"nsp\":\"/\"}",
        b"{\"type\":3,\"uid\":\"x\",\"nsp\":\"/\",\"data\":{\"packet\":{\"type\":2,\"data\":[]},\"opts\":{}}}",
        // Of another namespace, and an answer to nothing.
        b"{\"type\":2,\"uid\":\"x\",\"nsp\":\"/elsewhere\"}",
        b"{\"type\":8,\"uid\":\"x\",\"nsp\":\"/\",\"data\":{\"requestId\":\"r\",\"sockets\":[]}}",
    ] {
        driver.0.inject("/", message);
    }
    driver.0.inject("/", &vec![b'{'; (32 << 20) + 1]);
    servers[0].settle().await;
    let metrics = servers[0].metrics();
    assert_eq!(metrics.cluster_messages_malformed, 4);
    assert_eq!(metrics.cluster_messages_unknown, 1);
    assert_eq!(metrics.cluster_messages_too_large, 1);
    servers[1].io().emit("still", &()).unwrap();
    assert_eq!(a.next_event().await, ("still".into(), json!([])));
}

#[actix_rt::test]
async fn a_link_that_dies_is_replaced_with_all_that_it_knew() {
    let driver = rooms_on_demand();
    let servers = three(&driver).await;
    let b = client(&servers[1], "b", &["r"]).await;
    servers[1].advance(SECOND).await;
    servers[1].kill_link();
    servers[1].advance(SECOND).await;
    assert_eq!(servers[1].metrics().cluster_links_restarted, 1);
    servers[0].io().to("r").emit("to", &()).unwrap();
    assert_eq!(b.next_event().await.name, "to");
    servers[1].io().emit("from", &()).unwrap();
    assert_eq!(b.next_event().await.name, "from");
    assert_eq!(servers[1].io().sockets().server_count().await, Some(3));
    assert_eq!(servers[0].io().sockets().try_fetch_sockets().await.unwrap().len(), 1);
}

#[actix_rt::test]
async fn a_link_that_keeps_dying_is_given_up_and_the_server_goes_on() {
    let driver = memory();
    let servers = three(&driver).await;
    let a = client(&servers[0], "a", &[]).await;
    for _ in 0..10 {
        servers[0].kill_link();
        servers[0].settle().await;
    }
    let io = servers[0].io();
    assert_eq!(io.cluster_state(), Some(ClusterState::Failed));
    assert_eq!(servers[0].metrics().cluster_links_restarted, 5);
    io.emit("here", &()).unwrap();
    assert_eq!(a.next_event().await.name, "here");
    let missing = io.sockets().timeout(SECOND).try_fetch_sockets().await.unwrap_err();
    assert_eq!((missing.results.len(), missing.missing.count), (1, None));
    assert_eq!(servers[1].io().sockets().try_fetch_sockets().await.unwrap().len(), 0);
}

#[actix_rt::test]
async fn a_server_that_opens_again_takes_part_again() {
    let driver = memory();
    let servers = three(&driver).await;
    servers[0].io().close().await;
    assert_eq!(servers[1].io().sockets().server_count().await, Some(2));
    servers[0].io().reopen().await;
    servers[0].io().cluster_ready().await;
    servers[0].settle().await;
    assert_eq!(servers[1].io().sockets().server_count().await, Some(3));
    let a = client(&servers[0], "a", &[]).await;
    servers[1].io().emit("again", &()).unwrap();
    assert_eq!(a.next_event().await.name, "again");
    servers[0].io().emit("from", &()).unwrap();
    assert_eq!(a.next_event().await.name, "from");
}

#[actix_rt::test]
async fn a_server_without_an_adapter_is_a_cluster_of_one() {
    let server = TestServer::start(SocketIo::builder().adapter(greenroom::Local));
    let _client = server.connect("/", ()).await.unwrap();
    let main = server.io().sockets();
    assert_eq!(server.io().cluster_state(), None);
    server.io().cluster_ready().await;
    assert_eq!(main.server_count().await, Some(1));
    assert_eq!(main.count_sockets().await.unwrap(), 1);
    assert_eq!(main.all_rooms().await.unwrap().len(), 1);
    main.join_confirmed("r").await.unwrap();
    assert_eq!(main.to("r").try_fetch_sockets().await.unwrap().len(), 1);
    main.server_side_emit("nobody", &()).unwrap();
    assert!(main.server_side_emit_with_ack("nobody", &()).await.unwrap().unwrap().is_empty());
    let before = Instant::now();
    assert!(main.to("empty").emit_with_ack("ask", &()).unwrap().all().await.unwrap().is_empty());
    assert_eq!(before.elapsed(), Duration::ZERO);
}
