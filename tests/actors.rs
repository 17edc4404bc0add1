//! Namespaces are actors, and listeners may be.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web::{App, web};
use greenroom::{
    Connecting, CountSockets, Disconnect, Disconnected, FindSocket, Join, Leave, MembersOf,
    NamespaceActor, On, RoomsOf, Sockets,
    prelude::*,
    testing::{Parting, TestServer, TestSocket},
};
use serde_json::json;
use support::{Log, hears, observe_sockets};

// ---- namespaces at run time ------------------------------------------------------------------

#[actix_rt::test]
async fn a_namespace_is_spawned_while_the_server_runs() {
    let server = TestServer::start(SocketIo::builder());
    let main = server.connect("/", ()).await.unwrap();
    assert_eq!(main.join("/news", ()).await.unwrap_err().message, "Invalid namespace");
    let news = server.io().spawn(Namespace::new("news"));
    let reader = main.join("/news", ()).await.unwrap();
    assert_eq!(server.io().namespaces(), ["/", "/news"]);
    news.do_send(Broadcast::everyone().event("extra", &"!").unwrap());
    assert_eq!(reader.next_event().await, ("extra".into(), json!(["!"])));
    main.expect_silence().await;
}

#[actix_rt::test]
async fn a_second_namespace_of_one_name_is_the_first() {
    let server = TestServer::start(SocketIo::builder());
    let first =
        server.io().spawn(Namespace::new("/a").on("e", |_: Socket, (): ()| async { Ack(1) }));
    let second =
        server.io().spawn(Namespace::new("/a").on("e", |_: Socket, (): ()| async { Ack(2) }));
    assert_eq!(first, second);
    let client = server.connect("/a", ()).await.unwrap();
    assert_eq!(client.emit_with_ack("e", ()).await, json!([1]));
}

#[actix_rt::test]
async fn a_namespace_started_alone_serves_clients() {
    let namespace = Namespace::new("/alone").on("e", |_: Socket, (): ()| async { Ack(1) }).start();
    let [a, b] = [(); 2].map(|()| TestSocket::connect(&namespace, ()));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    assert_eq!(namespace.send(CountSockets).await.unwrap(), 2);
    namespace.do_send(Broadcast::to(a.id()).event("private", &()).unwrap());
    hears(&a, "private").await;
    b.expect_silence().await;
    assert_eq!(b.emit_with_ack("e", ()).await, json!([1]));
}

#[actix_rt::test]
async fn a_namespace_takes_its_orders_through_recipients() {
    let server = TestServer::start(SocketIo::builder());
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let namespace = server.io().namespace("/").unwrap();
    let join: Recipient<Join> = namespace.clone().recipient();
    let leave: Recipient<Leave> = namespace.clone().recipient();
    let broadcast: Recipient<Broadcast> = namespace.clone().recipient();
    let members: Recipient<MembersOf> = namespace.clone().recipient();
    let disconnect: Recipient<Disconnect> = namespace.clone().recipient();
    let rooms: Recipient<RoomsOf> = namespace.recipient();
    join.do_send(Join::new(Target::everyone(), ["x", "y"]));
    leave.do_send(Leave::socket(b.id(), "x"));
    broadcast.do_send(Broadcast::to("x").to("y").except("x").event("e", &()).unwrap());
    hears(&b, "e").await;
    a.expect_silence().await;
    assert_eq!(members.send(MembersOf::room("x")).await.unwrap(), [a.id()]);
    let expected = [Room::from(b.id()), "y".into()];
    assert_eq!(rooms.send(RoomsOf(b.id())).await.unwrap().unwrap(), expected);
    let gone = disconnect.send(Disconnect::new(Target::room("x")).close(true)).await;
    assert_eq!(gone.unwrap(), 1);
    assert_eq!(a.connection().closed().await, Parting::Closed(1000));
    assert!(b.is_connected());
}

#[actix_rt::test]
async fn sockets_found_by_a_message_are_handles_like_any_other() {
    let server = TestServer::start(SocketIo::builder());
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let namespace = server.io().namespace("/").unwrap();
    let found = namespace.send(FindSocket(a.id())).await.unwrap().unwrap();
    found.data(|data| data.set("name", "alice")).unwrap();
    for socket in namespace.send(Sockets(Target::everyone())).await.unwrap() {
        let name: Option<String> = socket.data(|data| data.get("name"));
        socket.emit("you are", &name).unwrap();
    }
    assert_eq!(a.next_event().await, ("you are".into(), json!(["alice"])));
    assert_eq!(b.next_event().await, ("you are".into(), json!([null])));
}

#[actix_rt::test]
async fn an_application_sends_from_any_thread() {
    let server = TestServer::start(SocketIo::builder().namespace(Namespace::new("/a")));
    let client = server.connect("/", ()).await.unwrap();
    let a = client.join("/a", ()).await.unwrap();
    let io = server.io().clone();
    let id = client.id();
    std::thread::spawn(move || {
        io.emit("from a thread", &1).unwrap();
        io.to(&id).emit("private", &2).unwrap();
        io.of("/a").unwrap().emit("there", &3).unwrap();
        io.namespace("/a").unwrap().do_send(Broadcast::everyone().event("again", &4).unwrap());
        io.to(id).join("room");
    })
    .join()
    .unwrap();
    assert_eq!(client.next_event().await, ("from a thread".into(), json!([1])));
    assert_eq!(client.next_event().await, ("private".into(), json!([2])));
    assert_eq!(a.next_event().await, ("there".into(), json!([3])));
    assert_eq!(a.next_event().await, ("again".into(), json!([4])));
    assert_eq!(server.io().to("room").members().await, [client.id()]);
}

#[actix_rt::test]
async fn many_threads_lose_nothing_and_keep_the_order_of_each() {
    let server = TestServer::workers(SocketIo::builder(), 2).await;
    let clients = server.many("/", 2).await;
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let io = server.io().clone();
            std::thread::spawn(move || {
                (0..500_u64).for_each(|n| io.emit("n", &(thread, n)).unwrap());
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for client in clients {
        let mut next = [0; 4];
        for _ in 0..2000 {
            let (thread, n): (usize, u64) = client.next_event().await.data();
            assert_eq!(n, next[thread]);
            next[thread] += 1;
        }
    }
    server.close().await;
}

// ---- actors as listeners ---------------------------------------------------------------------

/// What an actor hears as typed messages.
struct Score {
    points: i64,
    log: Log,
}

type Add = FromSocket<i64, Ack<i64>>;
type Slowly = FromSocket<(i64, u64), Ack<i64>>;
type Reset = FromSocket<()>;

impl Actor for Score {
    type Context = Context<Self>;
}

impl Handler<Add> for Score {
    type Result = Result<Ack<i64>, EventError>;

    fn handle(&mut self, add: Add, _: &mut Context<Self>) -> Self::Result {
        if add.data < 0 {
            return Err(EventError::new("only up").data(&self.points));
        }
        self.points += add.data;
        add.socket.broadcast().emit("points", &self.points)?;
        Ok(Ack(self.points))
    }
}

impl Handler<Slowly> for Score {
    type Result = ResponseActFuture<Self, Result<Ack<i64>, EventError>>;

    fn handle(&mut self, slowly: Slowly, _: &mut Context<Self>) -> Self::Result {
        let (points, seconds) = slowly.data;
        let wait = tokio::time::sleep(Duration::from_secs(seconds)).into_actor(self);
        Box::pin(wait.map(move |(), actor, _| {
            actor.points += points;
            Ok(Ack(actor.points))
        }))
    }
}

impl Handler<Reset> for Score {
    type Result = Result<(), EventError>;

    fn handle(&mut self, _: Reset, _: &mut Context<Self>) -> Self::Result {
        self.points = 0;
        Ok(())
    }
}

impl Handler<Connecting> for Score {
    type Result = Result<(), ConnectError>;

    fn handle(&mut self, Connecting(socket): Connecting, _: &mut Context<Self>) -> Self::Result {
        let Some(team) = socket.handshake().auth["team"].as_str() else {
            return Err(ConnectError::new("no team"));
        };
        self.log.note(format!("{team} comes"));
        Ok(())
    }
}

impl Handler<Disconnected> for Score {
    type Result = ();

    fn handle(&mut self, gone: Disconnected, _: &mut Context<Self>) {
        let team = &gone.socket.handshake().auth["team"];
        self.log.note(format!("{team} goes: {}", gone.reason));
    }
}

impl NamespaceActor for Score {
    fn listeners(on: &mut On<Self>) {
        on.event::<Add>("add");
        on.event::<Slowly>("slowly");
        on.event::<Reset>("reset");
        on.connect();
        on.disconnect();
    }
}

fn score() -> (Addr<Score>, Log) {
    let log = Log::default();
    (Score { points: 0, log: log.clone() }.start(), log)
}

#[actix_rt::test]
async fn an_actor_is_a_listener_and_its_result_the_ack() {
    let (score, _) = score();
    let namespace = Namespace::new("/")
        .on("add", score.clone().recipient::<Add>())
        .on("slowly", score.clone().recipient::<Slowly>())
        .on("reset", score.recipient::<Reset>());
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    assert_eq!(a.emit_with_ack("add", 2).await, json!([2]));
    assert_eq!(b.emit_with_ack("add", 3).await, json!([5]));
    assert_eq!(b.next_event().await, ("points".into(), json!([2])));
    assert_eq!(a.next_event().await, ("points".into(), json!([5])));
    let refused = a.emit_with_ack("add", -1).await;
    assert_eq!(refused, json!([{ "error": "only up", "data": 5 }]));
    let [slow, quick] = [(1, 10), (1, 1)].map(|data| a.emit_with_ack("slowly", data));
    assert_eq!(quick.await, json!([6]));
    assert_eq!(slow.await, json!([7]));
    drop(a.emit_with_ack("reset", ()));
    a.expect_silence().await;
    assert_eq!(a.emit_with_ack("add", 1).await, json!([1]));
    let wrong = a.emit_with_ack("add", "one").await.to_json();
    assert!(wrong[0]["error"].as_str().unwrap().starts_with("invalid payload"), "{wrong}");
}

#[actix_rt::test]
async fn one_actor_serves_a_whole_namespace() {
    let (score, log) = score();
    let namespace = Namespace::from_actor("/score", score);
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    assert_eq!(server.connect("/score", ()).await.unwrap_err().message, "no team");
    let red = server.connect("/score", json!({ "team": "red" })).await.unwrap();
    assert_eq!(red.emit_with_ack("add", 2).await, json!([2]));
    red.disconnect().await;
    assert_eq!(log.take(), ["red comes", "\"red\" goes: client namespace disconnect"]);
}

#[actix_rt::test]
async fn events_for_an_actor_stay_in_order() {
    let (score, _) = score();
    let namespace = Namespace::new("/").on("add", score.recipient::<Add>());
    let server = TestServer::start(SocketIo::builder().namespace(namespace));
    let client = server.connect("/", ()).await.unwrap();
    let acks: Vec<_> = (0..2000).map(|n| client.emit_with_ack("add", n)).collect();
    let mut sum = 0;
    for (n, ack) in acks.into_iter().enumerate() {
        sum += n;
        assert_eq!(ack.await, json!([sum]));
    }
}

#[actix_rt::test]
async fn an_actor_that_keeps_a_socket_may_send_when_it_likes() {
    struct Clock(Vec<Socket>);
    impl Actor for Clock {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.run_interval(Duration::from_secs(1), |clock, _| {
                clock.0.retain(|socket| socket.emit("tick", &()).is_ok());
            });
        }
    }
    type Watch = FromSocket<(), Ack<usize>>;
    impl Handler<Watch> for Clock {
        type Result = Result<Ack<usize>, EventError>;
        fn handle(&mut self, watch: Watch, _: &mut Context<Self>) -> Self::Result {
            self.0.push(watch.socket);
            Ok(Ack(self.0.len()))
        }
    }
    // The clock of actix is the test's, so it starts when that has been paused.
    let server = TestServer::start(SocketIo::builder());
    let clock = Clock(Vec::new()).start();
    server.io().spawn(Namespace::new("/clock").on("watch", clock.recipient::<Watch>()));
    let [a, b] = [server.connect("/clock", ()).await, server.connect("/clock", ()).await]
        .map(Result::unwrap);
    assert_eq!(a.emit_with_ack("watch", ()).await, json!([1]));
    assert_eq!(b.emit_with_ack("watch", ()).await, json!([2]));
    for _ in 0..3 {
        assert_eq!(a.next_event().await.name, "tick");
        assert_eq!(b.next_event().await.name, "tick");
    }
    a.disconnect().await;
    assert_eq!(b.next_event().await.name, "tick");
    assert_eq!(b.emit_with_ack("watch", ()).await, json!([2]));
}

// ---- who watches -----------------------------------------------------------------------------

#[actix_rt::test]
async fn subscribers_that_have_ended_are_forgotten() {
    let server = TestServer::start(SocketIo::builder());
    // Its observer ends at once: nobody keeps its address.
    let log = observe_sockets(&server, "/").await;
    let client = server.connect("/", ()).await.unwrap();
    let id = client.id();
    server.settle().await;
    assert_eq!(log.take(), [format!("connected {id}")]);
}

#[actix_rt::test]
async fn handles_outlive_their_namespace_without_harm() {
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let io = server.io().clone();
    let namespace = io.namespace("/").unwrap();
    let socket = namespace.send(FindSocket(client.id())).await.unwrap().unwrap();
    server.close().await;
    let operator = io.sockets();
    operator.emit("late", &()).unwrap();
    operator.join("late");
    assert_eq!(operator.disconnect(true).await, 0);
    assert!(operator.members().await.is_empty());
    assert!(socket.emit("late", &()).is_err());
    socket.disconnect(true).await;
    assert!(socket.rooms().await.is_empty());
    let answers = operator.emit_with_ack("ask", &()).unwrap().all().await;
    assert!(answers.is_err());
    drop(Arc::new(namespace));
}

#[actix_rt::test]
async fn http_handlers_reach_clients_through_web_data() {
    async fn publish(io: web::Data<SocketIo>) -> Result<&'static str, EmitError> {
        io.emit("news", "extra")?;
        Ok("sent")
    }
    async fn reserved(io: web::Data<SocketIo>) -> Result<&'static str, EmitError> {
        io.emit("connect", "no")?;
        Ok("sent")
    }
    let server = TestServer::start(SocketIo::builder());
    let client = server.connect("/", ()).await.unwrap();
    let app = App::new()
        .app_data(web::Data::new(server.io().clone()))
        .route("/publish", web::post().to(publish))
        .route("/reserved", web::post().to(reserved));
    let app = actix_web::test::init_service(app).await;
    for (path, status) in [("/publish", 200), ("/reserved", 500)] {
        let request = actix_web::test::TestRequest::post().uri(path).to_request();
        let response = actix_web::test::call_service(&app, request).await;
        assert_eq!(response.status().as_u16(), status);
    }
    assert_eq!(client.next_event().await, ("news".into(), json!(["extra"])));
    client.expect_silence().await;
}
