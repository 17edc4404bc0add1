//! Who gets the name of a namespace when several want it, and how many names a client may ask for.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use greenroom::{prelude::*, testing::TestServer};
use serde_json::json;
use tokio::sync::watch;

/// A namespace that says who described it.
fn telling(namespace: Namespace, label: &'static str) -> Namespace {
    namespace.on("who", move |_: Socket, (): ()| async move { Ack(label) })
}

/// A parent of all names, `/refused` excepted, that answers when the gate is open.
fn slow() -> (watch::Sender<bool>, Parent) {
    let (open, gate) = watch::channel(false);
    let parent = Parent::accepting("slow", move |name: String, _| {
        let mut gate = gate.clone();
        async move {
            let _ = gate.wait_for(|open| *open).await;
            name != "/refused"
        }
    });
    (open, parent.children(|child| telling(child, "parent")))
}

#[actix_rt::test]
async fn a_child_that_was_born_stays_when_its_name_is_spawned() {
    let parent = Parent::matching("^/t").children(|child| telling(child, "parent"));
    let server = TestServer::start(SocketIo::builder().parent(parent));
    let first = server.connect("/t", ()).await.unwrap();
    let child = server.io().namespace("/t").unwrap();
    assert_eq!(server.io().spawn(telling(Namespace::new("/t"), "spawned")), child);
    let second = server.connect("/t", ()).await.unwrap();
    for client in [&first, &second] {
        assert_eq!(client.emit_with_ack("who", ()).await, json!(["parent"]));
    }
    assert_eq!(server.io().parent("^/t").unwrap().children(), ["/t"]);
}

#[actix_rt::test]
async fn a_namespace_that_was_spawned_stays_when_a_parent_of_its_name_comes() {
    let server = TestServer::start(SocketIo::builder());
    server.io().spawn(telling(Namespace::new("/t"), "spawned"));
    let parent = Parent::matching("^/t").children(|child| telling(child, "parent"));
    let parent = server.io().spawn_parent(parent);
    let client = server.connect("/t", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("who", ()).await, json!(["spawned"]));
    assert_eq!(parent.children(), [] as [&str; 0]);
    let other = server.connect("/t2", ()).await.unwrap();
    assert_eq!(other.emit_with_ack("who", ()).await, json!(["parent"]));
    assert_eq!(parent.children(), ["/t2"]);
}

#[actix_rt::test]
async fn what_is_spawned_while_a_function_is_asked_was_first() {
    let (open, parent) = slow();
    let server = TestServer::start(SocketIo::builder().parent(parent));
    let connection = server.open().await.unwrap();
    let joining = connection.join("/t", ());
    let spawning = async {
        server.settle().await;
        server.io().spawn(telling(Namespace::new("/t"), "spawned"));
        open.send(true).unwrap();
    };
    let (client, ()) = futures_util::future::join(joining, spawning).await;
    assert_eq!(client.unwrap().emit_with_ack("who", ()).await, json!(["spawned"]));
    assert_eq!(server.io().parent("slow").unwrap().children(), [] as [&str; 0]);
}

#[actix_rt::test]
async fn names_that_a_slow_function_is_asked_about_count_as_namespaces_of_the_client() {
    let (open, parent) = slow();
    let server = TestServer::start(SocketIo::builder().max_namespaces(3).parent(parent));
    let connection = server.open().await.unwrap();
    connection.join("/", ()).await.unwrap();
    for packet in ["0/a,", "0/refused,", "0/b,"] {
        connection.send_raw(packet);
    }
    server.settle().await;
    let too_many = r#"4/b,{"message":"Too many namespaces"}"#;
    assert_eq!(connection.transcript()[1..], [too_many]);
    // Another client has room of its own.
    let other = server.open().await.unwrap();
    other.send_raw("0/b,");
    server.settle().await;
    assert_eq!(other.transcript(), [] as [&str; 0]);

    open.send(true).unwrap();
    server.settle().await;
    let mut answers = connection.transcript().split_off(2);
    answers.sort();
    assert!(answers[0].starts_with(r#"0/a,{"sid":"#), "{answers:?}");
    assert_eq!(answers[1..], [r#"4/refused,{"message":"Invalid namespace"}"#]);
    // The refused name has made room for one.
    connection.join("/b", ()).await.unwrap();
    let refused = connection.join("/c", ()).await.unwrap_err();
    assert_eq!(refused.message, "Too many namespaces");
    assert_eq!(server.metrics().connects_refused, 2);
}
