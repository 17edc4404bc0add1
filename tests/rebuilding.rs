//! Room actors and namespaces die at random, of real panics, while messages, joins and leaves flow:
//! what is lost is the one operation that each was at, and nothing else.
#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use actix::prelude::*;
use greenroom::{
    Join, Leave, MembersOf, RoomsOf,
    prelude::*,
    testing::{BreakRooms, KillNamespace, KillRooms, TestServer, TestSocket},
};
use proptest::{prelude::*, test_runner::TestCaseResult};
use serde_json::json;
use support::{handle, hears, observe_rooms, observe_sockets};

const CLIENTS: usize = 4;
const ROOMS: [&str; 3] = ["red", "green", "blue"];

// ---- one thing at a time, exactly -----------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize, usize),
    /// To a room, or to everyone.
    Emit(Option<usize>),
    KillNamespace(KillNamespace),
    KillRooms,
    BreakRooms(usize),
    /// Everybody comes to rest.
    Rest,
}

fn step() -> impl Strategy<Value = Step> {
    let (client, room) = (0..CLIENTS, 0..ROOMS.len());
    let kill = prop_oneof![
        Just(KillNamespace::Now),
        Just(KillNamespace::BeforeNext),
        Just(KillNamespace::DuringNext)
    ];
    prop_oneof![
        5 => (client.clone(), room.clone()).prop_map(|(c, r)| Step::Join(c, r)),
        3 => (client, room.clone()).prop_map(|(c, r)| Step::Leave(c, r)),
        6 => proptest::option::weighted(0.8, room).prop_map(Step::Emit),
        2 => kill.prop_map(Step::KillNamespace),
        1 => Just(Step::KillRooms),
        2 => (0..CLIENTS).prop_map(Step::BreakRooms),
        1 => Just(Step::Rest),
    ]
}

/// What has to come of the steps.
#[derive(Default)]
struct Model {
    rooms: [BTreeSet<usize>; ROOMS.len()],
    namespace_dies: Option<KillNamespace>,
    rooms_die: Option<usize>,
    namespace_deaths: u64,
    room_deaths: u64,
    /// By number: who has to hear it, and how many of them if a room actor died in the middle.
    sent: Vec<(BTreeSet<usize>, usize)>,
}

impl Model {
    /// The namespace is at its next message. Whether that is lost, or the room actors are not told.
    fn namespace_dies(&mut self) -> Option<KillNamespace> {
        let dies = self.namespace_dies.take()?;
        self.namespace_deaths += 1;
        Some(dies)
    }

    /// A room actor is at something that concerns so many members. How many it gets done.
    fn room_actor_does(&mut self, members: usize) -> usize {
        match self.rooms_die {
            Some(after) if after < members => {
                self.rooms_die = None;
                self.room_deaths += 1;
                after
            }
            _ => members,
        }
    }

    /// Returns whether everybody should come to rest afterwards.
    fn take(&mut self, step: &Step) -> bool {
        match *step {
            Step::Join(client, room) => self.moves(client, room, BTreeSet::insert),
            Step::Leave(client, room) => self.moves(client, room, |r, client| r.remove(&client)),
            Step::Emit(room) => {
                let all = || (0..CLIENTS).collect();
                let target: BTreeSet<_> = room.map_or_else(all, |room| self.rooms[room].clone());
                let done = match self.namespace_dies() {
                    Some(_) => 0,
                    None => self.room_actor_does(target.len()),
                };
                self.sent.push((target, done));
                false
            }
            Step::KillNamespace(KillNamespace::Now) => {
                self.namespace_deaths += 1;
                self.namespace_dies = None;
                false
            }
            Step::KillNamespace(kill) => {
                self.namespace_dies = Some(kill);
                false
            }
            Step::KillRooms => {
                self.room_deaths += 1;
                self.rooms_die = None;
                false
            }
            Step::BreakRooms(after) => {
                self.rooms_die = Some(after);
                false
            }
            Step::Rest => true,
        }
    }

    fn moves(
        &mut self,
        client: usize,
        room: usize,
        change: impl FnOnce(&mut BTreeSet<usize>, usize) -> bool,
    ) -> bool {
        match self.namespace_dies() {
            // Nothing of it was done.
            Some(KillNamespace::BeforeNext) => false,
            // It was written down, and the room actors hear of it with everything else.
            Some(_) => {
                change(&mut self.rooms[room], client);
                false
            }
            // The room actor has the old members until the namespace has heard of its death.
            None => change(&mut self.rooms[room], client) && self.room_actor_does(1) == 0,
        }
    }
}

/// The numbers that a client has heard.
async fn heard(client: &TestSocket) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let event = client.next_event().await;
        if event.name == "end" {
            return numbers;
        }
        numbers.push(event.data());
    }
}

async fn run(steps: Vec<Step>) -> TestCaseResult {
    let server = TestServer::start(SocketIo::builder());
    let clients = server.many("/", CLIENTS).await;
    let namespace = server.io().namespace("/").unwrap();
    let mut model = Model::default();
    for step in &steps {
        let number = model.sent.len() as u64;
        match step {
            Step::Join(client, room) => {
                namespace.do_send(Join::socket(clients[*client].id(), ROOMS[*room]));
            }
            Step::Leave(client, room) => {
                namespace.do_send(Leave::socket(clients[*client].id(), ROOMS[*room]));
            }
            Step::Emit(Some(room)) => {
                namespace.do_send(Broadcast::to(ROOMS[*room]).event("n", &number).unwrap());
            }
            Step::Emit(None) => {
                namespace.do_send(Broadcast::everyone().event("n", &number).unwrap());
            }
            Step::KillNamespace(kill) => namespace.do_send(*kill),
            Step::KillRooms => namespace.do_send(KillRooms),
            Step::BreakRooms(after) => namespace.do_send(BreakRooms(*after)),
            Step::Rest => {}
        }
        if model.take(step) {
            server.settle().await;
        }
    }
    // Whatever is still to die dies of this, and then all is well.
    for _ in 0..2 {
        model.take(&Step::Emit(None));
        let number = model.sent.len() as u64 - 1;
        namespace.do_send(Broadcast::everyone().event("n", &number).unwrap());
    }
    server.settle().await;
    prop_assert!(namespace.connected());
    let metrics = server.metrics();
    prop_assert_eq!(metrics.namespaces_rebuilt, model.namespace_deaths);
    prop_assert_eq!(metrics.rooms_rebuilt, model.room_deaths);
    // Membership, as the namespace says it.
    for (room, members) in ROOMS.iter().zip(&model.rooms) {
        let mut ids = namespace.send(MembersOf::room(*room)).await.unwrap();
        let mut expected: Vec<_> = members.iter().map(|c| clients[*c].id()).collect();
        ids.sort();
        expected.sort();
        prop_assert_eq!(ids, expected, "{}", room);
    }
    for (index, client) in clients.iter().enumerate() {
        let rooms = namespace.send(RoomsOf(client.id())).await.unwrap().unwrap();
        let rooms: BTreeSet<String> = rooms.iter().map(ToString::to_string).collect();
        let joined = ROOMS.iter().zip(&model.rooms).filter(|(_, r)| r.contains(&index));
        let mut expected: BTreeSet<String> = joined.map(|(name, _)| (*name).into()).collect();
        expected.insert(client.id().to_string());
        prop_assert_eq!(rooms, expected);
    }
    // And as the room actors deliver it.
    for (room, number) in (0..ROOMS.len()).zip(model.sent.len() as u64..) {
        model.take(&Step::Emit(Some(room)));
        namespace.do_send(Broadcast::to(ROOMS[room]).event("n", &number).unwrap());
    }
    namespace.do_send(Broadcast::everyone().event("end", &()).unwrap());
    let mut receivers: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (index, client) in clients.iter().enumerate() {
        let numbers = heard(client).await;
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        for number in numbers {
            receivers.entry(number).or_default().insert(index);
        }
    }
    for (number, (target, count)) in model.sent.iter().enumerate() {
        let receivers = receivers.remove(&(number as u64)).unwrap_or_default();
        prop_assert!(receivers.is_subset(target), "{}: {:?}", number, receivers);
        prop_assert_eq!(receivers.len(), *count, "{}: {:?}", number, target);
    }
    server.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_death_costs_the_operation_it_happened_at_and_membership_and_order_survive(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        actix_rt::System::new().block_on(run(steps))?;
    }
}

// ---- everything at once -------------------------------------------------------------------------------

/// Clients join and leave rooms, publish, come and go by themselves.
fn busy() -> Namespace {
    Namespace::new("/")
        .on("join", |socket: Socket, room: String| async move {
            socket.join(room);
            Ack(())
        })
        .on("leave", |socket: Socket, room: String| async move {
            socket.leave(room);
            Ack(())
        })
        .on("publish", |socket: Socket, (room, n): (String, u64)| async move {
            let from = socket.id().clone();
            socket.everyone().to(room).emit("published", &(from, n)).map(|()| Ack(n))
        })
}

#[derive(Clone, Debug)]
enum Act {
    Join(usize, usize),
    Leave(usize, usize),
    Publish(usize, usize),
    /// Leaves the namespace, or drops the connection, and comes back.
    Return(usize, bool),
    Kill(KillNamespace),
    Break(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (client, room) = (0..CLIENTS, 0..ROOMS.len());
    let both = (client.clone(), room);
    let kill = prop_oneof![Just(KillNamespace::BeforeNext), Just(KillNamespace::DuringNext)];
    prop_oneof![
        4 => both.clone().prop_map(|(c, r)| Act::Join(c, r)),
        2 => both.clone().prop_map(|(c, r)| Act::Leave(c, r)),
        8 => both.prop_map(|(c, r)| Act::Publish(c, r)),
        2 => (client, any::<bool>()).prop_map(|(c, hard)| Act::Return(c, hard)),
        2 => kill.prop_map(Act::Kill),
        1 => (0..CLIENTS).prop_map(Act::Break),
    ]
}

/// Connects, again if the namespace died of it.
async fn arrive(server: &TestServer) -> TestSocket {
    loop {
        match server.connect("/", ()).await {
            Ok(client) => return client,
            Err(refused) => assert_eq!(refused.message, "internal error"),
        }
    }
}

/// What a client has heard since: of each sender, its numbers rise.
async fn check_order(client: &TestSocket) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let event = client.next_event().await;
        if event.name == "end" {
            return;
        }
        let (from, n): (String, u64) = event.data();
        assert!(last.insert(from.clone(), n) < Some(n), "{n} of {from} comes late or twice");
    }
}

async fn run_at_once(workers: usize, acts: Vec<Act>) {
    let builder = SocketIo::builder().namespace(busy());
    let server = match workers {
        1 => TestServer::start(builder),
        _ => TestServer::workers(builder, workers).await,
    };
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(arrive(&server).await);
    }
    let namespace = server.io().namespace("/").unwrap();
    let mut answers = Vec::new();
    for (act, number) in acts.iter().zip(0_u64..) {
        match *act {
            Act::Join(c, r) => answers.push((c, clients[c].emit_with_ack("join", ROOMS[r]))),
            Act::Leave(c, r) => answers.push((c, clients[c].emit_with_ack("leave", ROOMS[r]))),
            Act::Publish(c, r) => {
                answers.push((c, clients[c].emit_with_ack("publish", (ROOMS[r], number))));
            }
            Act::Return(c, hard) => {
                let mut rest = Vec::new();
                for (client, answer) in answers.drain(..) {
                    if client == c {
                        // No ack is lost, whatever dies on the way.
                        answer.await;
                    } else {
                        rest.push((client, answer));
                    }
                }
                answers = rest;
                if hard {
                    clients[c].drop_connection();
                } else {
                    clients[c].leave();
                }
                clients[c] = arrive(&server).await;
            }
            Act::Kill(kill) => namespace.do_send(kill),
            Act::Break(after) => namespace.do_send(BreakRooms(after)),
        }
    }
    for (_, answer) in answers {
        answer.await;
    }
    // Whatever is still to die dies of this.
    for _ in 0..3 {
        let all = Broadcast::everyone().event("published", &("nobody", 0_u64)).unwrap();
        namespace.send(all).await.ok();
        server.settle().await;
    }
    let present: BTreeSet<SocketId> = server.io().members().await.into_iter().collect();
    let expected: BTreeSet<SocketId> = clients.iter().map(TestSocket::id).collect();
    assert_eq!(present, expected, "nobody is missing, and nobody is a ghost");
    // The room actors and the namespace agree about who is where.
    for room in ROOMS {
        let target = Broadcast::to(room).event("here?", &room).unwrap();
        namespace.send(target).await.unwrap();
    }
    namespace.send(Broadcast::everyone().event("end", &()).unwrap()).await.unwrap();
    for client in &clients {
        let mut asked = BTreeSet::new();
        let rooms = namespace.send(RoomsOf(client.id())).await.unwrap().unwrap();
        let rooms: BTreeSet<String> = rooms[1..].iter().map(ToString::to_string).collect();
        loop {
            let event = client.next_event().await;
            match &*event.name {
                "end" => break,
                "here?" => assert!(asked.insert(event.data::<String>())),
                _ => {}
            }
        }
        assert_eq!(asked, rooms);
    }
    server.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_that_come_and_go_among_deaths_leave_no_ghost_and_lose_no_ack(
        acts in proptest::collection::vec(act(), 1..50)
    ) {
        actix_rt::System::new().block_on(run_at_once(1, acts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_holds_on_several_threads(acts in proptest::collection::vec(act(), 20..60)) {
        actix_rt::System::new().block_on(run_at_once(2, acts));
    }
}

// ---- the cases by name ----------------------------------------------------------------------------------

#[actix_rt::test]
async fn a_namespace_that_dies_keeps_its_address_its_sockets_their_rooms_and_their_data() {
    let builder = SocketIo::builder().namespace(busy());
    let server = TestServer::start(builder);
    let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
    let (rooms, sockets) = (observe_rooms(&server, "/").await, observe_sockets(&server, "/").await);
    let (namespace, socket) = (server.io().namespace("/").unwrap(), handle(&server, &a).await);
    socket.data(|data| data.set("name", "ann")).unwrap();
    socket.join("red");
    for deaths in 1..=3 {
        namespace.do_send(KillNamespace::Now);
        server.settle().await;
        assert_eq!(server.metrics().namespaces_rebuilt, deaths);
    }
    assert!(namespace.connected());
    assert_eq!(socket.rooms().await.len(), 2);
    let name: Option<String> = handle(&server, &a).await.data(|data| data.get("name"));
    assert_eq!(name.as_deref(), Some("ann"));
    assert_eq!(b.emit_with_ack("publish", ("red", 1)).await, json!([1]));
    hears(&a, "published").await;
    // Who subscribed hears what happens afterwards, and nothing twice.
    let (id_a, id_b) = (a.id(), b.id());
    b.leave();
    server.settle().await;
    let red = format!("join red {id_a}");
    assert_eq!(rooms.take()[..2], ["create red".to_owned(), red]);
    assert_eq!(sockets.take(), [format!("disconnected {id_b}: client namespace disconnect")]);
    server.close().await;
}

#[actix_rt::test]
async fn a_socket_that_leaves_while_its_namespace_dies_of_it_is_gone_all_the_same() {
    for kill in [KillNamespace::BeforeNext, KillNamespace::DuringNext] {
        let server = TestServer::start(SocketIo::builder().namespace(busy()));
        let sockets = observe_sockets(&server, "/").await;
        let [a, b]: [_; 2] = server.many("/", 2).await.try_into().unwrap();
        sockets.take();
        let namespace = server.io().namespace("/").unwrap();
        namespace.do_send(kill);
        let id = a.id();
        a.drop_connection();
        server.settle().await;
        assert_eq!(server.metrics().namespaces_rebuilt, 1);
        assert_eq!(server.io().members().await, [b.id()]);
        assert_eq!(sockets.take(), [format!("disconnected {id}: transport close")]);
        assert_eq!(server.io().clients_count(), 1);
        server.close().await;
    }
}

#[actix_rt::test]
async fn a_client_that_a_namespace_dies_of_is_refused_or_let_in_and_never_left_waiting() {
    for kill in [KillNamespace::BeforeNext, KillNamespace::DuringNext] {
        let server = TestServer::start(SocketIo::builder().namespace(busy()));
        let other = server.connect("/", ()).await.unwrap();
        let namespace = server.io().namespace("/").unwrap();
        namespace.do_send(kill);
        let mut expected = vec![other.id()];
        let result = server.connect("/", ()).await;
        match &result {
            Ok(client) => {
                assert_eq!(kill, KillNamespace::DuringNext);
                assert_eq!(client.emit_with_ack("join", "red").await, json!([]));
                expected.push(client.id());
            }
            Err(refused) => {
                assert_eq!(kill, KillNamespace::BeforeNext);
                assert_eq!(refused.message, "internal error");
            }
        }
        server.settle().await;
        let mut members = server.io().members().await;
        members.sort();
        expected.sort();
        assert_eq!(members, expected);
        server.close().await;
    }
}

#[actix_rt::test]
async fn a_namespace_that_cannot_be_helped_ends_and_its_clients_come_back_to_another() {
    let server = TestServer::start(SocketIo::builder().namespace(busy()));
    let client = server.connect("/", ()).await.unwrap();
    let namespace = server.io().namespace("/").unwrap();
    namespace.do_send(KillNamespace::ForGood);
    // "transport close" to the client: it connects again by itself.
    let parting = client.disconnected().await;
    assert_eq!(parting.as_str(), "transport close");
    server.settle().await;
    assert!(!namespace.connected());
    let again = server.connect("/", ()).await.unwrap();
    assert_eq!(again.emit_with_ack("join", "red").await, json!([]));
    assert_eq!(server.io().members().await, [again.id()]);
    assert!(server.metrics().namespaces_rebuilt >= 100);
}

#[actix_rt::test]
async fn room_actors_that_cannot_be_helped_are_replaced_and_their_clients_come_back() {
    let server = TestServer::start(SocketIo::builder().namespace(busy()));
    let client = server.connect("/", ()).await.unwrap();
    let namespace = server.io().namespace("/").unwrap();
    for _ in 0..=100 {
        namespace.do_send(KillRooms);
    }
    assert_eq!(client.disconnected().await.as_str(), "transport close");
    let again = server.connect("/", ()).await.unwrap();
    again.emit_with_ack("join", "red").await;
    assert_eq!(again.emit_with_ack("publish", ("red", 1)).await, json!([1]));
    hears(&again, "published").await;
    assert_eq!(server.io().members().await, [again.id()]);
    server.close().await;
}

#[actix_rt::test]
async fn a_namespace_that_was_started_as_an_actor_outlives_its_panics_too() {
    let namespace = busy().start();
    let client = TestSocket::connect(&namespace, ()).await.unwrap();
    assert!(namespace.send(KillNamespace::Now).await.is_err());
    assert!(namespace.connected());
    assert_eq!(client.emit_with_ack("join", "red").await, json!([]));
    assert_eq!(namespace.send(MembersOf::room("red")).await.unwrap(), [client.id()]);
}

#[actix_rt::test]
async fn publishers_hear_each_other_in_order_while_room_actors_die() {
    let server = TestServer::start(SocketIo::builder().namespace(busy()));
    let clients = server.many("/", 3).await;
    for client in &clients {
        client.emit_with_ack("join", "red").await;
    }
    let namespace = server.io().namespace("/").unwrap();
    for n in 1..=90 {
        if n % 10 == 0 {
            server.settle().await;
            namespace.do_send(BreakRooms((n as usize / 10) % 3));
        }
        for client in &clients {
            client.emit("publish", ("red", n));
        }
    }
    server.settle().await;
    assert_eq!(server.metrics().rooms_rebuilt, 9);
    namespace.do_send(Broadcast::everyone().event("end", &()).unwrap());
    for client in &clients {
        check_order(client).await;
    }
}
