//! Who is let in.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

#[path = "support/lines.rs"]
mod lines;
mod support;

use std::future::Ready;

use actix::prelude::*;
use greenroom::{Connecting, CountSockets, Handshake, RoomSizes, prelude::*, testing::TestServer};
use lines::Lines;
use serde_json::json;
use support::Log;

/// A middleware that notes its name and lets everybody in.
fn noting(
    log: &Log,
    name: &'static str,
) -> impl Fn(Socket) -> Ready<Result<(), ConnectError>> + Send + Sync + use<> {
    let log = log.clone();
    move |_| {
        log.note(name);
        std::future::ready(Ok(()))
    }
}

#[actix_rt::test]
async fn middlewares_run_in_order_until_one_refuses() {
    let log = Log::default();
    let namespace = Namespace::new("/")
        .before_connect(noting(&log, "first"))
        .before_connect(|_: Socket| async {
            tokio::task::yield_now().await;
            Err::<(), _>(ConnectError::new("no").data(&json!({ "code": 7 })))
        })
        .before_connect(noting(&log, "third"));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let refused = server.connect("/", ()).await.unwrap_err();
    assert_eq!((&*refused.message, refused.data), ("no", Some(json!({ "code": 7 }))));
    assert_eq!(log.take(), ["first"]);
    assert_eq!(server.metrics().connects_refused, 1);
}

#[actix_rt::test]
async fn a_refused_client_may_ask_again_on_the_same_connection() {
    let namespace = Namespace::new("/").before_connect(|socket: Socket| async move {
        match socket.handshake().auth["token"].as_str() {
            Some("secret") => Ok(()),
            _ => Err(ConnectError::new("not authorized")),
        }
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = server.open().await.unwrap();
    let refused = connection.join("/", json!({ "token": 7 })).await.unwrap_err();
    assert_eq!((&*refused.message, refused.data), ("not authorized", None));
    let socket = connection.join("/", json!({ "token": "secret" })).await.unwrap();
    assert!(socket.is_connected());
}

#[actix_rt::test]
async fn without_auth_a_middleware_sees_an_empty_object() {
    let log = Log::default();
    let notes = log.clone();
    let namespace = Namespace::new("/").before_connect(move |socket: Socket| {
        notes.note(socket.handshake().auth.to_string());
        std::future::ready(Ok::<_, ConnectError>(()))
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    server.connect("/", ()).await.unwrap();
    server.connect("/", json!({ "a": [1, { "b": null }] })).await.unwrap();
    assert_eq!(log.take(), ["{}", r#"{"a":[1,{"b":null}]}"#]);
}

#[actix_rt::test]
async fn middlewares_run_for_their_namespace_alone() {
    let log = Log::default();
    let server = TestServer::start(
        SocketIo::builder()
            .namespace(Namespace::new("/").before_connect(noting(&log, "main")))
            .namespace(Namespace::new("/a").before_connect(noting(&log, "a"))),
    );
    let main = server.connect("/", ()).await.unwrap();
    assert_eq!(log.take(), ["main"]);
    main.join("/a", ()).await.unwrap();
    assert_eq!(log.take(), ["a"]);
}

#[actix_rt::test]
async fn a_socket_is_connected_after_its_middlewares_and_not_before() {
    let log = Log::default();
    let (early, late) = (log.clone(), log.clone());
    let namespace = Namespace::new("/")
        .before_connect(move |socket: Socket| {
            early.note(format!("{}", socket.connected()));
            socket.data(|data| data.set("name", "alice")).unwrap();
            std::future::ready(Ok::<_, ConnectError>(()))
        })
        .on_connect(move |socket: Socket| {
            let name: Option<String> = socket.data(|data| data.get("name"));
            late.note(format!("{} {name:?}", socket.connected()));
            std::future::ready(())
        });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    server.connect("/", ()).await.unwrap();
    server.settle().await;
    assert_eq!(log.take(), ["false", "true Some(\"alice\")"]);
}

#[actix_rt::test]
async fn a_client_that_leaves_during_a_middleware_never_connects() {
    let log = Log::default();
    let (connects, disconnects) = (log.clone(), log.clone());
    let (open, gate) = tokio::sync::watch::channel(false);
    let namespace = Namespace::new("/")
        .before_connect(move |_: Socket| {
            let mut gate = gate.clone();
            async move {
                let _ = gate.wait_for(|open| *open).await;
                Ok::<_, ConnectError>(())
            }
        })
        .on_connect(move |_: Socket| connects.noted("connect"))
        .on_disconnect(move |_: Socket, _: DisconnectReason| disconnects.noted("disconnect"));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = server.open().await.unwrap();
    connection.send_raw("0");
    server.settle().await;
    connection.drop_connection();
    server.settle().await;
    open.send(true).unwrap();
    server.settle().await;
    assert_eq!(log.take(), [] as [&str; 0]);
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 0);
    server.close().await;
}

/// Notes when it is dropped.
struct Dropped(Log);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

#[actix_rt::test]
async fn a_middleware_whose_client_leaves_is_cancelled_and_the_next_one_never_runs() {
    let log = Log::default();
    let notes = log.clone();
    let namespace = Namespace::new("/")
        .before_connect(move |socket: Socket| {
            let dropped = Dropped(notes.clone());
            async move {
                socket.join("early");
                std::future::pending::<()>().await;
                drop(dropped);
                Ok::<_, ConnectError>(())
            }
        })
        .before_connect(noting(&log, "second"));
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = server.open().await.unwrap();
    connection.send_raw("0");
    server.settle().await;
    assert_eq!(log.take(), [] as [&str; 0]);
    connection.drop_connection();
    server.settle().await;
    assert_eq!(log.take(), ["dropped"]);
    let namespace = server.io().namespace("/").unwrap();
    assert_eq!(namespace.send(RoomSizes).await.unwrap(), []);
}

#[actix_rt::test]
async fn after_a_wait_nobody_is_let_in_through_a_connection_that_is_being_closed() {
    let log = Log::default();
    let connects = log.clone();
    let (open, gate) = tokio::sync::watch::channel(false);
    let gated = Namespace::new("/gated")
        .before_connect(move |_: Socket| {
            let mut gate = gate.clone();
            async move {
                let _ = gate.wait_for(|open| *open).await;
                Ok::<_, ConnectError>(())
            }
        })
        .on_connect(move |_: Socket| connects.noted("connect"));
    let server =
        TestServer::start(SocketIo::builder().namespace(Namespace::new("/")).namespace(gated));
    let client = server.connect("/", ()).await.unwrap();
    client.connection().stop_reading();
    client.connection().send_raw("0/gated,");
    server.settle().await;
    let socket = support::handle(&server, &client).await;
    // What waits for the client keeps the connection open a little longer.
    socket.emit("unread", &()).unwrap();
    socket.close_connection();
    tokio::task::yield_now().await;
    open.send(true).unwrap();
    server.settle().await;
    assert!(!client.connection().is_closed());
    client.connection().resume_reading();
    client.connection().closed().await;
    assert_eq!(log.take(), [] as [&str; 0]);
}

#[actix_rt::test]
async fn disconnect_listeners_set_in_a_middleware_that_refuses_are_not_called() {
    let log = Log::default();
    let notes = log.clone();
    let namespace = Namespace::new("/").before_connect(move |socket: Socket| {
        let notes = notes.clone();
        socket.on_disconnect(move |_, _| notes.noted("disconnect"));
        std::future::ready(Err::<(), _>(ConnectError::new("no")))
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let connection = server.open().await.unwrap();
    connection.join("/", ()).await.unwrap_err();
    connection.drop_connection();
    server.settle().await;
    assert_eq!(log.take(), [] as [&str; 0]);
}

#[actix_rt::test]
async fn a_middleware_cannot_disconnect_what_is_not_connected() {
    let namespace = Namespace::new("/").before_connect(|socket: Socket| async move {
        drop(socket.disconnect(false));
        Ok::<_, ConnectError>(())
    });
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    client.expect_silence().await;
    assert!(client.is_connected());
}

struct Porter {
    let_in: usize,
}

impl Actor for Porter {
    type Context = Context<Self>;
}

impl Handler<Connecting> for Porter {
    type Result = Result<(), ConnectError>;

    fn handle(&mut self, Connecting(socket): Connecting, _: &mut Self::Context) -> Self::Result {
        if self.let_in == 0 {
            return Err(ConnectError::new(format!("{} is full", socket.namespace())));
        }
        self.let_in -= 1;
        Ok(())
    }
}

#[actix_rt::test]
async fn an_actor_may_decide() {
    let porter = Porter { let_in: 1 }.start();
    let namespace = Namespace::new("/club").before_connect(porter.recipient());
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    server.connect("/club", ()).await.unwrap();
    assert_eq!(server.connect("/club", ()).await.unwrap_err().message, "/club is full");
}

#[actix_rt::test]
async fn a_porter_that_is_gone_lets_nobody_in() {
    struct Gone;
    impl Actor for Gone {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }
    impl Handler<Connecting> for Gone {
        type Result = Result<(), ConnectError>;
        fn handle(&mut self, _: Connecting, _: &mut Self::Context) -> Self::Result {
            Ok(())
        }
    }
    let namespace = Namespace::new("/").before_connect(Gone.start().recipient());
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    server.settle().await;
    assert_eq!(server.connect("/", ()).await.unwrap_err().message, "internal error");
}

#[actix_rt::test]
async fn a_request_is_refused_before_its_session_is_opened() {
    let builder = SocketIo::builder().allow_request(|request| async move {
        match request.query("token") {
            Some("secret") => Ok(()),
            _ => Err(greenroom::engine::Refusal::message("who are you?")),
        }
    });
    let server = TestServer::start(builder);
    assert_eq!(server.open().await.unwrap_err().message, "who are you?");
    let request = greenroom::testing::TestRequest::new().query("token", "secret");
    server.open_as(request).await.unwrap().join("/", ()).await.unwrap();
    assert_eq!(server.metrics().requests_refused, 1);
    assert_eq!(server.metrics().sessions_opened, 1);
}

#[actix_rt::test]
async fn what_is_logged_after_a_wait_is_in_the_span_of_its_connection() {
    let lines = Lines::of_all_threads(tracing::Level::DEBUG);
    let main = Namespace::new("/").before_connect(async |_: Socket| {
        tokio::task::yield_now().await;
        Err::<(), _>(ConnectError::new("the middleware of the span"))
    });
    let nobody = Parent::accepting("nobody", |_, _: Handshake| async {
        tokio::task::yield_now().await;
        false
    });
    let server = TestServer::start(SocketIo::builder().namespace(main).parent(nobody));
    server.connect("/", ()).await.unwrap_err();
    server.connect("/nowhere-of-the-span", ()).await.unwrap_err();
    let log = lines.text();
    for part in ["the middleware of the span", "nowhere-of-the-span"] {
        let line = log.lines().find(|line| line.contains(part) && line.contains("refused"));
        assert!(line.is_some_and(|line| line.contains("connection{number=")), "{log}");
    }
}
