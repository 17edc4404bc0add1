//! A server whose listeners do a bit of everything, in an order that their packets tell.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use greenroom::{
    SocketIoBuilder,
    prelude::*,
    testing::{TestConnection, TestServer, TestSocket},
};
use serde_json::Value;

/// What is the same at every run, and yet mixes everything.
#[derive(Clone, Copy)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Labels of one round; the ack has the last.
pub(crate) const STEPS: u64 = 8;

pub(crate) type Round = Pin<Box<dyn Future<Output = Result<Ack<u64>, EmitError>>>>;

/// A server whose listeners do a bit of everything.
#[derive(Default)]
pub(crate) struct Stage {
    pub(crate) io: OnceLock<SocketIo>,
    /// Sockets of the clients in other namespaces.
    others: Mutex<Vec<(Value, Socket)>>,
}

impl Stage {
    pub(crate) fn io(&self, namespace: &str) -> greenroom::BroadcastOperator {
        self.io.get().unwrap().of(namespace).unwrap()
    }

    fn other(&self, name: &Value, dice: &mut Dice) -> Option<Socket> {
        let others = self.others.lock().unwrap();
        let own: Vec<_> = others.iter().filter(|(owner, _)| owner == name).collect();
        (!own.is_empty()).then(|| own[dice.roll(own.len() as u64) as usize].1.clone())
    }

    /// Sends one packet with this label to the client of `socket`, in some way.
    fn step(&self, socket: &Socket, dice: &mut Dice, label: u64) -> Result<(), EmitError> {
        let name = &socket.handshake().auth;
        let room = name.to_string();
        let data = Bytes::from(label.to_string());
        match dice.roll(10) {
            0 => socket.emit("own", &label),
            1 => socket.emit("own, binary", &(label, &data, &data)),
            2 => self.io("/").to(room).emit("io", &label),
            3 => self.io("/").to([&*room, "empty"]).emit("io, binary", &(label, &data)),
            // It has left its own room, so it hears itself.
            4 => socket.to(room).emit("socket", &label),
            5 => self.io("/a").to(room).emit("io of another", &label),
            6 => self.io("/b").to(room).emit("io of another, binary", &(label, &data)),
            7 => match self.other(name, dice) {
                Some(other) => other.emit("own in another", &(label, &data)),
                None => socket.emit("own", &label),
            },
            8 => {
                let fresh = format!("{room} {label}");
                socket.join(&fresh);
                self.io("/").to(&fresh).emit("joined", &label)?;
                socket.leave(&fresh);
                self.io("/").to(fresh).emit("never", &0)
            }
            _ => {
                drop(socket.emit_with_ack::<u64>("question", &label));
                Ok(())
            }
        }
    }

    pub(crate) fn listener(
        self: &Arc<Self>,
        yields: bool,
    ) -> impl Fn(Socket, u64) -> Round + Send + Sync + use<> {
        let stage = Arc::clone(self);
        move |socket, round| {
            let stage = Arc::clone(&stage);
            Box::pin(async move {
                let mut dice = Dice(round);
                for step in 0..STEPS - 1 {
                    stage.step(&socket, &mut dice, round * STEPS + step)?;
                    if yields && dice.roll(3) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Ack(round * STEPS + STEPS - 1))
            })
        }
    }

    /// The namespaces `/`, `/a` and `/b`; a client's name is its room in all of them.
    pub(crate) fn builder(self: &Arc<Self>) -> SocketIoBuilder {
        let join = |socket: Socket| async move {
            socket.join(socket.handshake().auth.to_string());
            socket.leave(socket.id());
        };
        let mut builder = SocketIo::builder().namespace(
            Namespace::new("/")
                .on_connect(join)
                .on("round", self.listener(false))
                .on("yielding round", self.listener(true)),
        );
        for name in ["/a", "/b"] {
            let stage = Arc::clone(self);
            builder = builder.namespace(Namespace::new(name).on_connect(join).on_connect(
                move |socket: Socket| {
                    let name = socket.handshake().auth.clone();
                    stage.others.lock().unwrap().push((name, socket));
                    std::future::ready(())
                },
            ));
        }
        builder
    }
}

/// The label of a packet: the first number in it.
pub(crate) fn label(packet: &str) -> Option<u64> {
    let list: Value = serde_json::from_str(&packet[packet.find('[')?..]).unwrap();
    list.as_array().unwrap().iter().find_map(Value::as_u64)
}

pub(crate) fn labels(connection: &TestConnection) -> Vec<u64> {
    let transcript = connection.transcript();
    transcript
        .iter()
        .filter(|p| p.starts_with(['2', '3', '5', '6']))
        .filter_map(|p| label(p))
        .collect()
}

/// A client in all namespaces of the stage.
pub(crate) async fn performer(server: &TestServer, name: u64) -> TestSocket {
    let auth = serde_json::json!({ "name": name });
    let socket = server.connect("/", &auth).await.unwrap();
    for namespace in ["/a", "/b"] {
        // Its sockets there need no handle: they end with the connection.
        socket.join(namespace, &auth).await.unwrap();
    }
    socket
}
