//! What one socket sends to its client, and middlewares.

use std::sync::{Arc, Mutex};

use actix_rt::test;
use greenroom::{Recovery, prelude::*, testing::TestServer};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    builder, cut, heard, packets, returning_meanwhile, rooms, server,
    support::{Log, handle},
};

#[test]
async fn what_a_socket_emits_itself_is_kept_too_for_it_alone() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    let bob = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &ann).await;
    // A socket is meant by itself and not by the room of its id.
    handle(&server, &bob).await.join(ann.id());
    socket.leave(ann.id());
    socket.emit("e", &1).unwrap();
    assert_eq!(heard(&ann).await, [1]);
    ann.connection().stop_reading();
    socket.emit("e", &2).unwrap();
    cut(&server, &ann).await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert_eq!(heard(&back).await, [2]);
    bob.expect_silence().await;
}

#[test]
async fn what_a_listener_emits_after_the_end_of_its_connection_is_not_lost() {
    let (open, gate) = watch::channel(0);
    let namespace = Namespace::new("/")
        .on("work", move |socket: Socket, (): ()| {
            let mut gate = gate.clone();
            async move {
                for step in 1..=3 {
                    let _ = gate.wait_for(|now| *now >= step).await;
                    socket.emit("done", &step)?;
                }
                assert!(socket.emit_with_ack::<()>("asked", &()).await.is_err());
                assert!(!socket.connected());
                Ok::<_, EmitError>(())
            }
        })
        .on_disconnecting(|socket: Socket, _: DisconnectReason| async move {
            socket.emit("done", &"leaving")
        })
        .on_disconnect(|socket: Socket, _: DisconnectReason| async move {
            socket.emit("done", &"left")
        });
    let server = server(namespace);
    let ann = server.connect("/", ()).await.unwrap();
    ann.emit("work", ());
    server.settle().await;
    cut(&server, &ann).await;
    open.send(1).unwrap();
    server.settle().await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    assert_eq!(heard(&back).await, [json!("leaving"), json!("left"), json!(1)]);
    // The client is there again, and the listener still has the old handle.
    open.send(2).unwrap();
    assert_eq!(heard(&back).await, [2]);
    back.leave();
    server.settle().await;
    open.send(3).unwrap();
    server.settle().await;
    assert_eq!(server.metrics().recovery_emits_dropped, 1);
    server.close().await;
}

#[test]
async fn a_socket_that_was_put_out_emits_nothing_more() {
    let server = server(rooms("/"));
    let ann = server.connect("/", ()).await.unwrap();
    let socket = handle(&server, &ann).await;
    let leaving = socket.disconnect(false);
    assert!(matches!(socket.emit("e", &1), Err(EmitError::Disconnected)));
    leaving.await;
    assert!(matches!(socket.emit("e", &1), Err(EmitError::Disconnected)));
    assert!(matches!(socket.volatile().emit("e", &1), Err(EmitError::Disconnected)));
}

// ---- middlewares -----------------------------------------------------------------------------

/// A namespace whose middleware notes what it sees, and refuses while `auth.refuse` is true.
fn strict(log: &Log) -> Namespace {
    let log = log.clone();
    rooms("/").before_connect(move |socket: Socket| {
        let log = log.clone();
        async move {
            let passes: u64 = socket.data(|data| data.get("passes")).unwrap_or_default();
            socket.data(|data| data.set("passes", &(passes + 1))).unwrap();
            let rooms = socket.rooms().await.len();
            log.note(format!("recovered {}, {rooms} rooms, passes {passes}", socket.recovered()));
            match socket.handshake().auth["refuse"] == true {
                true => Err(ConnectError::new("not now")),
                false => Ok(()),
            }
        }
    })
}

#[test]
async fn middlewares_are_passed_over_by_default() {
    let log = Log::default();
    let server = server(strict(&log));
    let ann = server.connect("/", json!({ "rooms": ["red"] })).await.unwrap();
    cut(&server, &ann).await;
    let back = server.reconnect(&ann, json!({ "refuse": true })).await.unwrap();
    assert!(back.recovered());
    // Who has nothing to come back for is not let in by claiming to.
    let refused = server.connect("/", json!({ "pid": "x", "refuse": true })).await.unwrap_err();
    assert_eq!(refused.message, "not now");
    assert_eq!(log.take().len(), 2);
}

#[test]
async fn a_middleware_sees_the_socket_as_it_was_and_may_refuse_it_until_another_time() {
    let log = Log::default();
    let recovery = Recovery::new().skip_middlewares(false);
    let server = TestServer::start(builder(strict(&log), recovery));
    let ann = server.connect("/", json!({ "rooms": ["red"] })).await.unwrap();
    cut(&server, &ann).await;
    assert_eq!(log.take(), ["recovered false, 0 rooms, passes 0"]);
    server.io().to("red").emit("said", &1).unwrap();
    let connection = server.open().await.unwrap();
    for _ in 0..2 {
        let refused = connection.rejoin(&ann, json!({ "refuse": true })).await.unwrap_err();
        assert_eq!(refused.message, "not now");
        assert!(server.io().to("red").members().await.is_empty());
        // What the middleware did to the data of a socket that it refused is forgotten with it.
        assert_eq!(log.take(), ["recovered true, 2 rooms, passes 1"]);
    }
    server.io().to("red").emit("said", &2).unwrap();
    let back = connection.rejoin(&ann, ()).await.unwrap();
    assert!(back.recovered());
    assert_eq!(heard(&back).await, [1, 2]);
    assert_eq!(server.metrics().connects_refused, 2);
    assert_eq!(server.metrics().sockets_recovered, 1);
}

#[test]
async fn what_is_sent_while_the_middlewares_run_comes_with_what_was_missed() {
    let (open, gate) = watch::channel(true);
    let namespace = rooms("/").before_connect(move |socket: Socket| {
        let mut gate = gate.clone();
        async move {
            socket.join("inside");
            let _ = gate.wait_for(|open| *open).await;
            Ok::<_, ConnectError>(())
        }
    });
    let recovery = Recovery::new().skip_middlewares(false);
    let server = TestServer::start(builder(namespace, recovery));
    let ann = server.connect("/", json!({ "rooms": ["red"] })).await.unwrap();
    let socket = handle(&server, &ann).await;
    socket.leave("inside");
    cut(&server, &ann).await;
    server.io().to("red").emit("said", &1).unwrap();
    open.send(false).unwrap();
    let reconnecting = returning_meanwhile(&server, &ann).await;
    server.settle().await;
    server.io().to("red").emit("said", &2).unwrap();
    // Into this room it was put just now: it hears it from its connection on.
    server.io().to("inside").emit("said", &3).unwrap();
    socket.emit("said", &4).unwrap();
    server.settle().await;
    open.send(true).unwrap();
    let back = reconnecting.await.unwrap().unwrap();
    server.io().to("inside").emit("said", &5).unwrap();
    assert_eq!(heard(&back).await, [1, 2, 4, 5]);
    let before_the_reply = [r#"2["said",1]"#, r#"2["said",2]"#, r#"2["said",4]"#, "0"];
    assert_eq!(packets(&back)[..4], before_the_reply);
}

#[test]
async fn what_a_middleware_emits_goes_out_at_once_as_without_recovery() {
    let namespace = rooms("/").before_connect(|socket: Socket| async move {
        socket.emit("wait", &1)?;
        Ok::<_, MiddlewareError>(())
    });
    let server = server(namespace);
    let ann = server.connect("/", ()).await.unwrap();
    server.settle().await;
    assert_eq!(ann.connection().transcript()[0], r#"2["wait",1]"#);
    assert_eq!(heard(&ann).await, [1]);
    cut(&server, &ann).await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    back.expect_silence().await;
}

struct MiddlewareError;

impl From<EmitError> for MiddlewareError {
    fn from(_: EmitError) -> Self {
        Self
    }
}

impl From<MiddlewareError> for ConnectError {
    fn from(_: MiddlewareError) -> Self {
        Self::new("nothing can be sent")
    }
}

// ---- serial mode -----------------------------------------------------------------------------

#[test]
async fn in_serial_mode_events_and_emits_stay_in_order_across_a_return() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let namespace = Namespace::new("/").serial(true).on("step", move |socket: Socket, n: u64| {
        let log = Arc::clone(&log);
        async move {
            tokio::task::yield_now().await;
            log.lock().unwrap().push(n);
            socket.emit("stepped", &n)?;
            Ok::<_, EmitError>(Ack(n))
        }
    });
    let server = server(namespace);
    let ann = server.connect("/", ()).await.unwrap();
    let acks: Vec<_> = (0..50).map(|n| ann.emit_with_ack("step", n)).collect();
    for (n, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await, json!([n]));
        assert_eq!(ann.next_event().await.args.get(0), Ok(n));
    }
    cut(&server, &ann).await;
    let back = server.reconnect(&ann, ()).await.unwrap();
    back.expect_silence().await;
    for n in 50..100 {
        assert_eq!(back.emit_with_ack("step", n).await, json!([n]));
        assert_eq!(back.next_event().await.args.get(0), Ok(n));
    }
    assert!(seen.lock().unwrap().iter().copied().eq(0..100));
}
