//! Namespaces born of a pattern or of a function.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use greenroom::{
    CountSockets, Handshake, ParentNamespace, Stop,
    prelude::*,
    testing::{Parting, TestServer},
};
use serde_json::json;
use support::{Log, observe_sockets};

/// Children that say their name and the name of their parent.
fn telling(parent: Parent, label: &'static str) -> Parent {
    parent.children(|child| {
        child
            .on("who", move |socket: Socket, (): ()| async move {
                Ack((label, socket.namespace().to_owned()))
            })
            .on("join", |socket: Socket, room: String| async move {
                socket.join(room);
                Ack(())
            })
            .on("double", |_: Socket, n: u64| async move { Ack(2 * n) })
    })
}

fn tenants() -> Parent {
    telling(Parent::matching(r"^/tenant-\w+$"), "tenants")
}

fn parent(server: &TestServer) -> ParentNamespace {
    server.io().parent(r"^/tenant-\w+$").unwrap()
}

#[actix_rt::test]
async fn a_child_is_born_when_the_first_client_asks_for_it() {
    let server = TestServer::start(SocketIo::builder().parent(tenants()));
    assert_eq!(server.io().namespaces(), ["/"]);
    let client = server.connect("/tenant-a", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("who", ()).await, json!(["tenants", "/tenant-a"]));
    assert_eq!(server.io().namespaces(), ["/", "/tenant-a"]);
    assert_eq!(parent(&server).children(), ["/tenant-a"]);
    let refused = server.connect("/tenant-", ()).await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");
    assert_eq!(server.metrics().unknown_namespaces, 1);
}

#[actix_rt::test]
async fn the_first_parent_that_takes_a_name_wins_and_a_namespace_of_that_name_wins_over_all() {
    let builder = SocketIo::builder()
        .namespace(
            Namespace::new("/tenant-fixed")
                .on("who", |_: Socket, (): ()| async { Ack(("itself", "/tenant-fixed")) }),
        )
        .parent(telling(Parent::accepting("f", |name: String, _| async move { name == "/f" }), "f"))
        .parent(telling(Parent::matching("^/tenant-a"), "first"))
        .parent(tenants());
    let server = TestServer::start(builder);
    for (name, label) in
        [("/tenant-a", "first"), ("/tenant-b", "tenants"), ("/f", "f"), ("/tenant-fixed", "itself")]
    {
        let client = server.connect(name, ()).await.unwrap();
        assert_eq!(client.emit_with_ack("who", ()).await, json!([label, name]));
    }
}

#[actix_rt::test]
async fn a_function_that_fails_or_panics_refuses_and_the_next_parent_is_asked() {
    let builder = SocketIo::builder()
        .parent(Parent::accepting("fails", |name: String, _| async move {
            assert!(name != "/panic", "this one panics");
            if name == "/tenant-x" { Err("no") } else { Ok(false) }
        }))
        .parent(tenants());
    let server = TestServer::start(builder);
    let client = server.connect("/tenant-x", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("who", ()).await, json!(["tenants", "/tenant-x"]));
    let refused = server.connect("/panic", ()).await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");
    assert_eq!(server.metrics().panics, 1);
}

#[actix_rt::test]
async fn clients_that_wait_for_a_slow_function_get_one_namespace() {
    let asked = Arc::new(AtomicUsize::new(0));
    let born = Log::default();
    let (count, log) = (Arc::clone(&asked), born.clone());
    let slow = Parent::accepting("slow", move |_, handshake: Handshake| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            handshake.auth["ok"] == true
        }
    });
    let builder = SocketIo::builder()
        .parent(telling(slow, "slow"))
        .on_new_namespace(move |name, _| log.note(name));
    let server = TestServer::start(builder);
    let yes = json!({ "ok": true });
    let (a, b) =
        futures_util::future::join(server.connect("/x", &yes), server.connect("/x", &yes)).await;
    let (a, _b) = (a.unwrap(), b.unwrap());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(born.take(), ["/x"]);
    let count = server.io().namespace("/x").unwrap().send(CountSockets).await.unwrap();
    assert_eq!(count, 2);
    assert_eq!(server.connect("/y", ()).await.unwrap_err().message, "Invalid namespace");
    // One that exists is found without asking.
    server.connect("/x", ()).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    drop(a);
}

#[actix_rt::test]
async fn a_second_connect_while_the_function_is_asked_is_ignored_and_leaving_is_clean() {
    let slow = Parent::accepting("slow", |_, _| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        true
    });
    let builder = SocketIo::builder().parent(slow).cleanup_empty_child_namespaces(true);
    let server = TestServer::start(builder);
    let connection = server.open().await.unwrap();
    connection.send_raw("0/x,");
    connection.send_raw("0/x,");
    server.advance(Duration::from_secs(2)).await;
    let packets = connection.transcript();
    assert_eq!(packets.len(), 1, "{packets:?}");
    assert!(packets[0].starts_with("0/x,{\"sid\""), "{packets:?}");

    let leaver = server.open().await.unwrap();
    leaver.send_raw("0/y,");
    server.settle().await;
    leaver.drop_connection();
    server.advance(Duration::from_secs(2)).await;
    assert_eq!(server.io().namespaces(), ["/", "/x"]);
}

#[actix_rt::test]
async fn a_parent_sends_to_all_its_children_and_to_nobody_else() {
    let server =
        TestServer::start(SocketIo::builder().parent(tenants()).namespace(Namespace::new("/o")));
    let a = server.connect("/tenant-a", ()).await.unwrap();
    let b = server.connect("/tenant-b", ()).await.unwrap();
    let other = server.connect("/o", ()).await.unwrap();
    b.emit_with_ack("join", "red").await;
    let all = parent(&server);
    all.emit("x", &1).unwrap();
    all.to("red").emit("y", &2).unwrap();
    all.except("red").emit("z", &3).unwrap();
    for (client, events) in [(&a, ["x", "z"]), (&b, ["x", "y"])] {
        for event in events {
            assert_eq!(client.next_event().await.name, event);
        }
        client.expect_silence().await;
    }
    other.expect_silence().await;
}

#[actix_rt::test]
async fn a_parent_moves_asks_lists_and_disconnects_the_sockets_of_its_children() {
    let server = TestServer::start(SocketIo::builder().parent(tenants()));
    let a = server.connect("/tenant-a", ()).await.unwrap();
    let b = server.connect("/tenant-b", ()).await.unwrap();
    let all = parent(&server).sockets();
    let mut ids = all.members().await;
    ids.sort();
    let mut expected = [a.id(), b.id()];
    expected.sort();
    assert_eq!(ids, expected);
    all.join("both");
    assert_eq!(all.clone().to("both").members().await.len(), 2);

    let acks = all.emit_with_ack("question", &()).unwrap();
    for client in [&a, &b] {
        let question = client.next_event().await;
        question.answer(7);
    }
    assert_eq!(acks.all().await.unwrap().len(), 2);

    all.leave("both");
    assert_eq!(all.clone().to("both").members().await.len(), 0);
    assert_eq!(all.disconnect(false).await, 2);
    assert_eq!(a.disconnected().await, Parting::ByServer);
    assert_eq!(b.disconnected().await, Parting::ByServer);
}

#[actix_rt::test]
async fn a_parent_without_children_has_all_answers_at_once() {
    let server = TestServer::start(SocketIo::builder().parent(tenants()));
    let all = parent(&server).sockets().timeout(Duration::from_secs(3600));
    assert_eq!(all.emit_with_ack("question", &()).unwrap().all().await.unwrap(), []);
    assert_eq!(all.disconnect(true).await, 0);
}

#[actix_rt::test]
async fn what_a_listener_sends_through_the_parent_comes_before_its_ack() {
    let server = TestServer::workers(
        SocketIo::builder()
            .parent(Parent::matching("^/t").children(|child| {
                child.on("round", |socket: Socket, (): ()| async move {
                    let io = socket.shared::<std::sync::OnceLock<SocketIo>>().unwrap();
                    let all = io.get().unwrap().parent("^/t").unwrap();
                    socket.emit("own", &1)?;
                    all.emit("all", &2)?;
                    socket.everyone().emit("each", &3)?;
                    Ok::<_, EmitError>(Ack(4))
                })
            }))
            .share(std::sync::OnceLock::<SocketIo>::new()),
        2,
    )
    .await;
    let a = server.connect("/t1", ()).await.unwrap();
    let _others = [server.connect("/t2", ()).await, server.connect("/t3", ()).await];
    let shared = support::handle(&server, &a).await;
    let io = server.io().clone();
    shared.shared::<std::sync::OnceLock<SocketIo>>().unwrap().set(io).unwrap();
    for _ in 0..200 {
        a.emit_with_ack("round", ()).await;
        let heard = [a.next_event().await, a.next_event().await, a.next_event().await];
        assert_eq!(heard.map(|event| event.name.to_string()), ["own", "all", "each"]);
    }
    let labels: Vec<String> = a.connection().transcript();
    let rounds = labels.iter().filter(|packet| packet.contains('[')).collect::<Vec<_>>();
    for round in rounds.chunks(4) {
        assert!(round[3].starts_with("3/t1,"), "{round:?}");
    }
}

#[actix_rt::test]
async fn an_empty_child_ends_and_is_born_again() {
    let born = Log::default();
    let log = born.clone();
    let builder = SocketIo::builder()
        .parent(tenants())
        .cleanup_empty_child_namespaces(true)
        .on_new_namespace(move |name, _| log.note(name));
    let server = TestServer::start(builder);
    for _ in 0..3 {
        let client = server.connect("/tenant-a", ()).await.unwrap();
        assert_eq!(client.emit_with_ack("double", 2).await, json!([4]));
        client.disconnect().await;
        server.settle().await;
        assert_eq!(server.io().namespaces(), ["/"]);
        assert_eq!(parent(&server).children(), [] as [&str; 0]);
    }
    assert_eq!(born.take(), ["/tenant-a"; 3]);
}

#[actix_rt::test]
async fn a_child_does_not_end_while_a_client_is_in_its_middleware_and_ends_when_it_is_refused() {
    let slow = Parent::matching("^/t").children(|child| {
        child.before_connect(|socket: Socket| async move {
            let auth = &socket.handshake().auth;
            tokio::time::sleep(Duration::from_secs(auth["wait"].as_u64().unwrap_or(0))).await;
            if auth["bad"] == true { Err(ConnectError::new("no")) } else { Ok(()) }
        })
    });
    let builder = SocketIo::builder().parent(slow).cleanup_empty_child_namespaces(true);
    let server = TestServer::start(builder);
    let first = server.connect("/t", ()).await.unwrap();
    let slow_one = server.connect("/t", json!({ "wait": 5 }));
    let leaves = async {
        server.settle().await;
        first.disconnect().await;
        server.settle().await;
        assert_eq!(server.io().namespaces(), ["/", "/t"]);
    };
    let (second, ()) = futures_util::future::join(slow_one, leaves).await;
    second.unwrap().disconnect().await;
    server.settle().await;
    assert_eq!(server.io().namespaces(), ["/"]);

    let refused = server.connect("/t", json!({ "bad": true })).await.unwrap_err();
    assert_eq!(refused.message, "no");
    server.settle().await;
    assert_eq!(server.io().namespaces(), ["/"]);
}

#[actix_rt::test]
async fn clients_that_come_while_a_child_ends_always_find_one() {
    let builder = SocketIo::builder().parent(tenants()).cleanup_empty_child_namespaces(true);
    let server = TestServer::workers(builder, 2).await;
    let come_and_go = || async {
        for _ in 0..300 {
            let client = server.connect("/tenant-a", ()).await.expect("there is always one");
            assert_eq!(client.emit_with_ack("double", 1).await, json!([2]));
            client.leave();
        }
    };
    futures_util::future::join3(come_and_go(), come_and_go(), come_and_go()).await;
}

#[actix_rt::test]
async fn a_namespace_can_be_removed_and_a_child_comes_back_when_asked_for() {
    let builder = SocketIo::builder().parent(tenants()).namespace(Namespace::new("/static"));
    let server = TestServer::start(builder);
    let fixed = server.connect("/static", ()).await.unwrap();
    let child = server.connect("/tenant-a", ()).await.unwrap();
    assert!(server.io().remove("static").await);
    assert!(!server.io().remove("/static").await);
    server.io().namespace("/tenant-a").unwrap().send(Stop).await.unwrap();
    for client in [&fixed, &child] {
        assert_eq!(client.disconnected().await, Parting::ByServer);
    }
    assert_eq!(server.connect("/static", ()).await.unwrap_err().message, "Invalid namespace");
    server.connect("/tenant-a", ()).await.unwrap();
}

#[actix_rt::test]
async fn namespace_or_new_does_what_of_does_in_node() {
    let server = TestServer::start(SocketIo::builder().parent(tenants()));
    server.io().namespace_or_new("tenant-b");
    assert_eq!(parent(&server).children(), ["/tenant-b"]);
    server.io().namespace_or_new("/plain");
    assert_eq!(server.io().namespaces(), ["/", "/plain", "/tenant-b"]);
    let client = server.connect("/tenant-b", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("double", 4).await, json!([8]));
    server.connect("/plain", ()).await.unwrap();
}

#[actix_rt::test]
async fn there_is_a_bound_to_what_parents_give_birth_to() {
    let builder = SocketIo::builder().parent(tenants()).max_server_namespaces(3);
    let server = TestServer::start(builder);
    let _kept = [
        server.connect("/tenant-a", ()).await.unwrap(),
        server.connect("/tenant-b", ()).await.unwrap(),
    ];
    let refused = server.connect("/tenant-c", ()).await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");
    server.connect("/tenant-a", ()).await.unwrap();
}

#[actix_rt::test]
async fn children_that_nobody_is_in_make_way_before_anybody_is_refused() {
    let guarded = Parent::matching("^/guarded-").children(|child| {
        child.before_connect(|_: Socket| async { Err::<(), _>(ConnectError::new("no")) })
    });
    let builder = SocketIo::builder().parent(tenants()).parent(guarded).max_server_namespaces(30);
    let server = TestServer::start(builder);
    server.io().namespace_or_new("/tenant-own");
    let watched = server.connect("/tenant-watched", ()).await.unwrap();
    let _log = observe_sockets(&server, "/tenant-watched").await;
    watched.disconnect().await;
    let other = server.connect("/tenant-kept", ()).await.unwrap();
    let hostile = server.open().await.unwrap();
    for n in 0..100 {
        hostile.join(&format!("/tenant-{n}"), ()).await.unwrap().leave();
        let refused = hostile.join(&format!("/guarded-{n}"), ()).await.unwrap_err();
        assert_eq!(refused.message, "no");
    }
    server.settle().await;
    let names = server.io().namespaces();
    // The main one, three of the application and its clients, and a tenth of what there may be.
    assert_eq!(names.len(), 4 + 3, "{names:?}");
    for name in ["/tenant-own", "/tenant-watched", "/tenant-kept", "/tenant-99", "/guarded-99"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert_eq!(server.metrics().empty_namespaces_ended, 197);
    let new = server.connect("/tenant-new", ()).await.unwrap();
    for client in [&other, &new] {
        assert_eq!(client.emit_with_ack("double", 2).await, json!([4]));
    }
}

#[actix_rt::test]
async fn the_last_child_that_nobody_is_in_makes_way_when_there_is_no_other_room() {
    let builder = SocketIo::builder().parent(tenants()).max_server_namespaces(3);
    let server = TestServer::start(builder);
    let _kept = server.connect("/tenant-a", ()).await.unwrap();
    server.connect("/tenant-b", ()).await.unwrap().disconnect().await;
    server.settle().await;
    server.connect("/tenant-c", ()).await.unwrap();
}

#[actix_rt::test]
async fn a_child_that_is_entered_again_does_not_make_way() {
    let builder = SocketIo::builder().parent(tenants()).max_server_namespaces(20);
    let server = TestServer::start(builder);
    server.connect("/tenant-a", ()).await.unwrap().disconnect().await;
    server.settle().await;
    let back = server.connect("/tenant-a", ()).await.unwrap();
    for n in 0..10 {
        server.connect(&format!("/tenant-{n}"), ()).await.unwrap().disconnect().await;
    }
    server.settle().await;
    assert_eq!(server.io().namespaces(), ["/", "/tenant-8", "/tenant-9", "/tenant-a"]);
    assert!(back.is_connected());
}

#[actix_rt::test]
async fn a_hook_that_panics_harms_nobody() {
    let builder = SocketIo::builder()
        .parent(tenants())
        .on_new_namespace(|name, _| panic!("the hook does not like {name}"));
    let server = TestServer::start(builder);
    let client = server.connect("/tenant-a", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("double", 3).await, json!([6]));
    assert_eq!(server.metrics().panics, 1);
}
