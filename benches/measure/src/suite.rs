//! The workloads, in the order of the table.
use crate::{
    Result,
    client::{Way, open_many},
    codec::Codec,
    memory,
    server::{Command, Environment, own_cpu},
    swarm::{Swarm, Workload, Writes},
    targets::{self, Target},
    workloads::{
        Progress, Span,
        broadcast::{self, Broadcast, Pace},
        cycles::{self, Enough},
        echo::{self, Echo},
        rooms::{self, Plan, Rooms},
        storm::{self, Storm},
    },
};
use std::time::{Duration, Instant};

/// One line of the table.
pub struct Row {
    /// What the command line calls it.
    pub key: &'static str,
    pub title: &'static str,
    /// What one operation is.
    pub operation: &'static str,
    pub load: Load,
    /// Whether the bare servers understand it.
    pub floor: bool,
    pub targets: &'static [Target],
    pub set: Set,
}

/// Who asks for a row unasked.
#[derive(Clone, Copy, PartialEq)]
pub enum Set {
    /// The short variant too.
    Daily,
    Full,
    /// Nobody: it has to be named.
    Extra,
}

#[derive(Clone, Copy)]
pub enum Load {
    Broadcast(broadcast::Load),
    Echo(echo::Load, Writes),
    Rooms,
    Storm,
    /// Connections that come and go.
    Cycles(Way),
    /// Silent connections; the figure is memory.
    Idle(Way, Environment<'static>),
}

/// One figure of one round.
#[derive(Clone)]
pub struct Sample {
    /// µs of server CPU per operation, or KiB per connection.
    pub value: f64,
    pub pace: Option<PaceOf>,
}

/// The second figures of a workload.
#[derive(Clone)]
pub struct PaceOf {
    pub per_second: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    /// Cores that the server and the load generator used.
    pub server: f64,
    pub generator: f64,
}

const SIZE: usize = 128;

const fn broadcast(clients: usize, pace: Pace, size: usize, codec: Codec) -> Load {
    Load::Broadcast(broadcast::Load { clients, pace, size, codec })
}

const fn echo(clients: usize, in_flight: usize, codec: Codec, writes: Writes) -> Load {
    Load::Echo(echo::Load { clients, in_flight, size: SIZE, codec }, writes)
}

/// What a server that can do everything is asked to be able to.
const EVERYTHING: Environment = &[
    ("RECOVERY_MS", "120000"),
    ("PER_MESSAGE_DEFLATE", "1"),
    ("COOKIE", "io"),
    ("CORS_ORIGIN", "*"),
    ("ALLOW_EIO3", "1"),
];

const fn row(key: &'static str, title: &'static str, operation: &'static str, load: Load) -> Row {
    Row { key, title, operation, load, floor: true, targets: &[], set: Set::Full }
}

pub const ROWS: &[Row] = &[
    Row {
        targets: targets::BROADCAST,
        set: Set::Daily,
        ..row(
            "broadcast",
            "broadcast to 1,000, one at a time, 128 B",
            "delivery",
            broadcast(1000, Pace::InFlight(1), SIZE, Codec::Text),
        )
    },
    Row {
        targets: targets::BROADCAST_16,
        set: Set::Daily,
        ..row(
            "broadcast-16",
            "broadcast to 1,000, 16 in flight, 128 B",
            "delivery",
            broadcast(1000, Pace::InFlight(16), SIZE, Codec::Text),
        )
    },
    Row {
        targets: targets::PACED,
        ..row(
            "broadcast-paced",
            "50 broadcasts per second to 500",
            "delivery",
            broadcast(500, Pace::PerSecond(50), SIZE, Codec::Text),
        )
    },
    Row {
        targets: targets::LARGE,
        ..row(
            "broadcast-4k",
            "broadcast of 4 KB to 500, one at a time",
            "delivery",
            broadcast(500, Pace::InFlight(1), 4096, Codec::Text),
        )
    },
    Row {
        targets: targets::ROOMS,
        set: Set::Daily,
        ..row(
            "rooms",
            "1,000 clients in 5 of 500 rooms each, random rooms",
            "delivery",
            Load::Rooms,
        )
    },
    Row {
        targets: targets::ECHO,
        set: Set::Daily,
        ..row(
            "echo",
            "echo with ack, 100 × 8 in flight",
            "echo",
            echo(100, 8, Codec::Text, Writes::Single),
        )
    },
    Row {
        set: Set::Extra,
        ..row(
            "echo-joined",
            "echo with ack, 100 × 8 in flight, all answers to one read in one write",
            "echo",
            echo(100, 8, Codec::Text, Writes::Joined),
        )
    },
    Row {
        targets: targets::ECHO,
        set: Set::Daily,
        ..row(
            "echo-4",
            "echo with ack, 4 × 1 in flight",
            "echo",
            echo(4, 1, Codec::Text, Writes::Single),
        )
    },
    Row {
        targets: targets::STORM,
        set: Set::Daily,
        ..row("storm", "join and leave storms with broadcasts", "request or delivery", Load::Storm)
    },
    Row {
        targets: targets::CONNECT,
        set: Set::Daily,
        ..row(
            "connect",
            "connect, join a namespace, disconnect",
            "connection",
            Load::Cycles(Way::Direct),
        )
    },
    Row {
        targets: targets::UPGRADE,
        floor: false,
        ..row(
            "upgrade",
            "open by polling, upgrade, join, disconnect",
            "connection",
            Load::Cycles(Way::Upgraded),
        )
    },
    Row {
        targets: targets::IDLE,
        set: Set::Daily,
        ..row("idle", "idle WebSocket, KiB each", "connection", Load::Idle(Way::Direct, &[]))
    },
    Row {
        targets: targets::IDLE_UPGRADED,
        floor: false,
        ..row(
            "idle-upgraded",
            "idle, opened by polling and upgraded, KiB each",
            "connection",
            Load::Idle(Way::Upgraded, &[]),
        )
    },
    Row {
        targets: targets::IDLE,
        floor: false,
        ..row(
            "idle-everything",
            "idle WebSocket, recovery, compression, cookie, CORS and revision 3 on, KiB each",
            "connection",
            Load::Idle(Way::Direct, EVERYTHING),
        )
    },
    Row {
        targets: targets::VARIANT,
        floor: false,
        ..row(
            "broadcast-msgpack",
            "broadcast to 1,000, one at a time, msgpack",
            "delivery",
            broadcast(1000, Pace::InFlight(1), SIZE, Codec::Msgpack),
        )
    },
    Row {
        targets: targets::VARIANT,
        floor: false,
        ..row(
            "broadcast-binary",
            "broadcast to 1,000, one at a time, binary",
            "delivery",
            broadcast(1000, Pace::InFlight(1), SIZE, Codec::Binary),
        )
    },
    Row {
        targets: targets::VARIANT,
        floor: false,
        ..row(
            "echo-msgpack",
            "echo with ack, 100 × 8 in flight, msgpack",
            "echo",
            echo(100, 8, Codec::Msgpack, Writes::Single),
        )
    },
    Row {
        targets: targets::VARIANT,
        floor: false,
        ..row(
            "echo-binary",
            "echo with ack, 100 × 8 in flight, binary",
            "echo",
            echo(100, 8, Codec::Binary, Writes::Single),
        )
    },
];

impl Row {
    /// Whether this server can do it.
    pub fn suits(&self, server: &str) -> bool {
        let everything = matches!(self.load, Load::Idle(_, environment) if !environment.is_empty());
        // these switches are the testbed's
        (self.floor || !server.contains("floor"))
            && !(everything && ["socketioxide", "node"].iter().any(|peer| server.starts_with(peer)))
    }

    pub fn is_memory(&self) -> bool {
        matches!(self.load, Load::Idle(..))
    }
}

/// The environment that a codec needs.
fn environment(codec: Codec) -> Environment<'static> {
    match codec {
        Codec::Text => &[],
        Codec::Binary => &[("PAYLOAD", "binary")],
        Codec::Msgpack => &[("PARSER", "msgpack")],
    }
}

/// Measures one row on one server, which is started for it. `clients` of them are idle.
pub fn measure(load: &Load, command: &Command, time: Duration, clients: usize) -> Result<Sample> {
    match *load {
        Load::Idle(way, environment) => {
            let value = memory::of_idle(command, clients, way, environment)?;
            Ok(Sample { value, pace: None })
        }
        Load::Broadcast(load) => broadcasts(command, load, time, Way::Direct),
        Load::Echo(load, writes) => echoes(command, load, time, Way::Direct, load.clients, writes),
        Load::Rooms => {
            let plan = Plan::new();
            let prepare = |swarm: &mut Swarm| plan.join(swarm);
            let crowd = Crowd { clients: rooms::CLIENTS, ..Crowd::default() };
            crowd.measure(
                command,
                time,
                prepare,
                |span| Rooms::new(&plan, span),
                |done| done.progress,
            )
        }
        Load::Storm => {
            let crowd = Crowd { clients: storm::CLIENTS, ..Crowd::default() };
            crowd.measure(command, time, storm::join, Storm::new, |done| done.progress)
        }
        Load::Cycles(way) => {
            let server = command.start(&[])?;
            let run = |time| cycles::run(server.address, way, Enough::After(Span::of(time)));
            run(warm_up(time))?;
            server.settle()?;
            let window = Window::open(&server)?;
            let progress = run(time)?;
            let ended = Instant::now();
            // the ends of the last connections belong to them
            server.settle()?;
            window.close(&server, ended, &progress)
        }
    }
}

/// The connections of a workload.
#[derive(Clone, Copy)]
pub struct Crowd {
    pub clients: usize,
    pub way: Way,
    pub codec: Codec,
    pub writes: Writes,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { clients: 1, way: Way::Direct, codec: Codec::Text, writes: Writes::Single }
    }
}

impl Crowd {
    /// Starts a server, opens the connections, prepares them, warms up, measures.
    pub fn measure<W: Workload>(
        self,
        command: &Command,
        time: Duration,
        prepare: impl FnOnce(&mut Swarm) -> Result<()>,
        workload: impl Fn(Span) -> W,
        progress: impl FnOnce(W) -> Progress,
    ) -> Result<Sample> {
        let server = command.start(environment(self.codec))?;
        let opened = open_many(server.address, self.clients, self.way, self.codec)?;
        let mut swarm = Swarm::new(opened, self.writes)?;
        prepare(&mut swarm)?;
        // what the preparation left to do is not part of the workload
        server.settle()?;
        swarm.run(&mut workload(Span::of(warm_up(time))))?;
        let mut done = workload(Span::of(time));
        let window = Window::open(&server)?;
        swarm.run(&mut done)?;
        window.close(&server, Instant::now(), &progress(done))
    }
}

pub fn broadcasts(
    command: &Command,
    load: broadcast::Load,
    time: Duration,
    way: Way,
) -> Result<Sample> {
    let broadcast::Load { clients, codec, .. } = load;
    let crowd = Crowd { clients, codec, way, ..Crowd::default() };
    crowd.measure(
        command,
        time,
        |_| Ok(()),
        |span| Broadcast::new(load, span),
        |done| done.progress,
    )
}

/// `connections` there are, of which those of the load speak.
pub fn echoes(
    command: &Command,
    load: echo::Load,
    time: Duration,
    way: Way,
    connections: usize,
    writes: Writes,
) -> Result<Sample> {
    let crowd = Crowd { clients: connections, codec: load.codec, way, writes };
    let workload = |span| Echo::new(load, connections, span);
    crowd.measure(command, time, |_| Ok(()), workload, |done| done.progress)
}

fn warm_up(time: Duration) -> Duration {
    time / 5
}

/// From here to there.
pub struct Window {
    begun: Instant,
    server: f64,
    own: f64,
}

impl Window {
    pub fn open(server: &crate::server::Server) -> Result<Self> {
        Ok(Self { server: server.cpu()?, own: own_cpu()?, begun: Instant::now() })
    }

    pub fn close(
        self,
        server: &crate::server::Server,
        ended: Instant,
        progress: &Progress,
    ) -> Result<Sample> {
        let (used, own) = (server.cpu()? - self.server, own_cpu()? - self.own);
        let (wall, operations) = ((ended - self.begun).as_secs_f64(), progress.operations as f64);
        if progress.operations == 0 {
            return Err("nothing was done".into());
        }
        let pace = PaceOf {
            per_second: operations / wall,
            p50: progress.latencies.quantile(0.5),
            p99: progress.latencies.quantile(0.99),
            server: used / wall,
            generator: own / wall,
        };
        Ok(Sample { value: used * 1e6 / operations, pace: Some(pace) })
    }
}
