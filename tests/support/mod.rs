//! What several test files share.
#![allow(dead_code, reason = "every file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::{
    future::Ready,
    sync::{Arc, Mutex},
};

use actix::prelude::*;
use greenroom::{
    Ack, Args, DisconnectReason, FindSocket, Namespace, RoomEvent, Socket, SocketEvent,
    SubscribeRooms, SubscribeSockets,
    testing::{TestServer, TestSocket},
};

/// Notes of listeners and actors, in the order they were made.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// The same as the future of a listener.
    pub(crate) fn noted(&self, line: impl Into<String>) -> Ready<()> {
        self.note(line);
        std::future::ready(())
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Notes what happens to rooms and sockets.
pub(crate) struct Observer(pub(crate) Log);

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<RoomEvent> for Observer {
    type Result = ();

    fn handle(&mut self, event: RoomEvent, _: &mut Self::Context) {
        self.0.note(match event {
            RoomEvent::Created { room } => format!("create {room}"),
            RoomEvent::Joined { room, socket } => format!("join {room} {socket}"),
            RoomEvent::Left { room, socket } => format!("leave {room} {socket}"),
            RoomEvent::Deleted { room } => format!("delete {room}"),
        });
    }
}

impl Handler<SocketEvent> for Observer {
    type Result = ();

    fn handle(&mut self, event: SocketEvent, _: &mut Self::Context) {
        self.0.note(match event {
            SocketEvent::Connected(socket) => format!("connected {}", socket.id()),
            SocketEvent::Disconnected { socket, reason } => {
                format!("disconnected {}: {reason}", socket.id())
            }
        });
    }
}

/// The notes of an observer of a namespace's rooms.
pub(crate) async fn observe_rooms(server: &TestServer, namespace: &str) -> Log {
    let log = Log::default();
    let observer = Observer(log.clone()).start();
    let namespace = server.io().namespace(namespace).unwrap();
    namespace.send(SubscribeRooms(observer.recipient())).await.unwrap();
    log
}

/// The notes of an observer of a namespace's sockets.
pub(crate) async fn observe_sockets(server: &TestServer, namespace: &str) -> Log {
    let log = Log::default();
    let observer = Observer(log.clone()).start();
    let namespace = server.io().namespace(namespace).unwrap();
    namespace.send(SubscribeSockets(observer.recipient())).await.unwrap();
    log
}

/// The server's handle of a client's socket.
pub(crate) async fn handle(server: &TestServer, client: &TestSocket) -> Socket {
    let namespace = server.io().namespace(&client.namespace()).unwrap();
    namespace.send(FindSocket(client.id())).await.unwrap().expect("the client is connected")
}

/// Whether the client has got this event and nothing else.
pub(crate) async fn hears(client: &TestSocket, event: &str) {
    let heard = client.next_event().await;
    assert_eq!(heard.name, event);
    client.expect_silence().await;
}

/// A namespace that notes the ends of its sockets and the rooms they are in.
pub(crate) fn noting(name: &str, log: &Log) -> Namespace {
    let (leaving, left, label) = (log.clone(), log.clone(), name.to_owned());
    Namespace::new(name)
        .on_connect(|socket: Socket| async move { socket.join("room") })
        .on("echo", |_: Socket, data: Args| async move { Ack(data) })
        .on_disconnecting(move |socket: Socket, _: DisconnectReason| {
            let log = leaving.clone();
            async move {
                let rooms = socket.rooms().await;
                log.note(format!("disconnecting, in {} rooms", rooms.len()));
            }
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            let (log, label) = (left.clone(), label.clone());
            async move {
                let rooms = socket.rooms().await;
                log.note(format!("{label} {reason}, in {} rooms", rooms.len()));
            }
        })
}
