//! Whether a cost stays the same when something else grows, and whether memory comes back.
use crate::{
    Result,
    client::{Way, open_many},
    codec::Codec,
    memory,
    server::{Command, Environment},
    suite::{Crowd, Window, broadcasts, echoes},
    swarm::{Swarm, Writes},
    workloads::{
        Span,
        broadcast::{self, Broadcast, Pace},
        cycles::{self, Enough},
        echo::{self, Echo},
        membership::{Joins, Pairs},
    },
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// One comparison: figures that should be alike.
pub struct Check {
    pub title: &'static str,
    pub unit: &'static str,
    /// The figures, the first being what the others are compared with.
    pub points: &'static [Point],
    pub limit: Limit,
    pub whose: Whose,
}

/// Which of the usual servers are looked at.
#[derive(Clone, Copy, PartialEq)]
pub enum Whose {
    OneWorker,
    /// One and two.
    Workers,
    /// One worker, and the bare server: what grows there is the system's.
    WithFloor,
    /// One worker, behind either HTTP service.
    WithLean,
}

impl Whose {
    pub fn includes(self, server: &str) -> bool {
        match server {
            "greenroom 2" => self == Self::Workers,
            "greenroom lean" => self == Self::WithLean,
            "floor" => self == Self::WithFloor,
            _ => server.starts_with("greenroom"),
        }
    }
}

pub struct Point {
    pub about: &'static str,
    run: Run,
}

#[derive(Clone, Copy)]
pub enum Limit {
    /// The largest figure at most so many times the smallest.
    Spread(f64),
    /// The last at most so many times the first.
    Times(f64),
}

/// How a figure comes about. Those of memory are two figures of one run.
#[derive(Clone, Copy)]
enum Run {
    Broadcast(usize, Way),
    Echo(Way),
    /// p99 of 4 × 1 echoes among so many connections.
    EchoAmong(usize),
    /// Joining and leaving a room.
    Pairs(Surroundings),
    Cycles(Surroundings),
    /// Memory before and after.
    Before(Exertion),
    After,
}

/// What there is already in the namespace.
#[derive(Clone, Copy, PartialEq)]
enum Surroundings {
    Nothing,
    /// 100,000 of them, of one member each.
    ManyRooms,
    /// The room itself has 10,000.
    ManyMembers,
    /// The socket is in 1,000 rooms.
    ManyOwnRooms,
}

#[derive(Clone, Copy)]
enum Exertion {
    LargeMessages,
    Cycles,
    Burst,
}

const fn point(about: &'static str, run: Run) -> Point {
    Point { about, run }
}

pub const CHECKS: &[Check] = &[
    Check {
        title: "a delivery of a broadcast, by members",
        unit: "µs of server CPU",
        points: &[
            point("100", Run::Broadcast(100, Way::Direct)),
            point("1,000", Run::Broadcast(1000, Way::Direct)),
            point("10,000", Run::Broadcast(10_000, Way::Direct)),
        ],
        limit: Limit::Spread(1.1),
        whose: Whose::WithFloor,
    },
    Check {
        title: "joining and leaving a room",
        unit: "µs of server CPU",
        points: &[
            point("nothing else", Run::Pairs(Surroundings::Nothing)),
            point("100,000 other rooms", Run::Pairs(Surroundings::ManyRooms)),
            point("10,000 members in it", Run::Pairs(Surroundings::ManyMembers)),
            point("the socket in 1,000 others", Run::Pairs(Surroundings::ManyOwnRooms)),
        ],
        limit: Limit::Spread(1.1),
        whose: Whose::OneWorker,
    },
    Check {
        title: "connect, join a namespace, disconnect",
        unit: "µs of server CPU",
        points: &[
            point("nothing else", Run::Cycles(Surroundings::Nothing)),
            point("100,000 rooms", Run::Cycles(Surroundings::ManyRooms)),
            point("10,000 members in the namespace", Run::Cycles(Surroundings::ManyMembers)),
        ],
        limit: Limit::Spread(1.1),
        whose: Whose::OneWorker,
    },
    Check {
        title: "p99 of an echo, 4 × 1 in flight, by idle connections",
        unit: "µs",
        points: &[
            point("500", Run::EchoAmong(500)),
            point(
                "50,000 (or what the limit of open files allows, see below)",
                Run::EchoAmong(50_000),
            ),
        ],
        limit: Limit::Times(1.1),
        whose: Whose::OneWorker,
    },
    Check {
        title: "memory, 20 × 10 echoes of 5 MB among 100 connections",
        unit: "MiB",
        points: &[
            point("before", Run::Before(Exertion::LargeMessages)),
            point("after", Run::After),
        ],
        limit: Limit::Times(1.1),
        whose: Whose::WithLean,
    },
    Check {
        title: "memory, 20,000 connect-disconnect cycles beside 1,000 connections",
        unit: "MiB",
        points: &[point("before", Run::Before(Exertion::Cycles)), point("after", Run::After)],
        limit: Limit::Times(1.1),
        whose: Whose::WithLean,
    },
    Check {
        title: "memory, a burst of 4 KB broadcasts to 1,000, 64 in flight",
        unit: "MiB",
        points: &[point("before", Run::Before(Exertion::Burst)), point("after", Run::After)],
        limit: Limit::Times(1.1),
        whose: Whose::WithLean,
    },
    Check {
        title: "a delivery to 1,000, by the way they came",
        unit: "µs of server CPU",
        points: &[
            point("direct", Run::Broadcast(1000, Way::Direct)),
            point("polling, upgraded", Run::Broadcast(1000, Way::Upgraded)),
        ],
        limit: Limit::Times(1.05),
        whose: Whose::Workers,
    },
    Check {
        title: "an echo, 100 × 8 in flight, by the way they came",
        unit: "µs of server CPU",
        points: &[
            point("direct", Run::Echo(Way::Direct)),
            point("polling, upgraded", Run::Echo(Way::Upgraded)),
        ],
        limit: Limit::Times(1.25),
        whose: Whose::Workers,
    },
];

const SIZE: usize = 128;

impl Check {
    pub fn is_about_memory(&self) -> bool {
        self.points.iter().any(|point| matches!(point.run, Run::After))
    }

    /// The figures of one round.
    pub fn measure(&self, command: &Command, time: Duration) -> Result<Vec<f64>> {
        let mut figures = Vec::new();
        for point in self.points {
            match point.run {
                Run::Before(exertion) => figures.extend(memory_around(command, exertion, time)?),
                Run::After => {}
                run => figures.push(run.measure(command, time)?),
            }
        }
        Ok(figures)
    }

    /// What is compared with the limit, and the limit.
    pub fn verdict(&self, figures: &[f64]) -> (f64, f64) {
        let largest = figures.iter().copied().fold(f64::NAN, f64::max);
        let smallest = figures.iter().copied().fold(f64::NAN, f64::min);
        match (self.limit, figures) {
            (Limit::Spread(limit), _) => (largest / smallest, limit),
            (Limit::Times(limit), [first, .., last]) => (last / first, limit),
            (Limit::Times(limit), _) => (f64::NAN, limit),
        }
    }
}

impl Run {
    fn measure(self, command: &Command, time: Duration) -> Result<f64> {
        match self {
            Self::Broadcast(clients, way) => {
                let pace = Pace::InFlight(1);
                let load = broadcast::Load { clients, pace, size: SIZE, codec: Codec::Text };
                Ok(broadcasts(command, load, time, way)?.value)
            }
            Self::Echo(way) => {
                let load =
                    echo::Load { clients: 100, in_flight: 8, size: SIZE, codec: Codec::Text };
                Ok(echoes(command, load, time, way, load.clients, Writes::Single)?.value)
            }
            Self::EchoAmong(connections) => {
                let load = echo::Load { clients: 4, in_flight: 1, size: SIZE, codec: Codec::Text };
                let connections = connections.min(most_connections());
                let sample = echoes(command, load, time, Way::Direct, connections, Writes::Single)?;
                Ok(sample.pace.map_or(f64::NAN, |pace| pace.p99 * 1e3))
            }
            Self::Pairs(surroundings) => pairs(command, surroundings, time),
            Self::Cycles(surroundings) => {
                let server = command.start(&[])?;
                let opened =
                    open_many(server.address, surroundings.clients(), Way::Direct, Codec::Text)?;
                let mut swarm = Swarm::new(opened, Writes::Single)?;
                surroundings.prepare(&mut swarm)?;
                let run =
                    |time| cycles::run(server.address, Way::Direct, Enough::After(Span::of(time)));
                run(time / 5)?;
                server.settle()?;
                let window = Window::open(&server)?;
                let progress = run(time)?;
                let ended = Instant::now();
                server.settle()?;
                Ok(window.close(&server, ended, &progress)?.value)
            }
            Self::Before(_) | Self::After => Ok(f64::NAN),
        }
    }
}

/// The room that is joined and left.
const ROOM: usize = 1_000_000;

fn pairs(command: &Command, surroundings: Surroundings, time: Duration) -> Result<f64> {
    let crowd = Crowd { clients: surroundings.clients().max(1), ..Crowd::default() };
    let workload = |span| Pairs::new(0, crowd.clients, ROOM, 16, span);
    let prepare = |swarm: &mut Swarm| surroundings.prepare(swarm);
    Ok(crowd.measure(command, time, prepare, workload, |done| done.progress)?.value)
}

impl Surroundings {
    fn clients(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::ManyOwnRooms => 1,
            Self::ManyRooms => 101,
            Self::ManyMembers => 10_000.min(most_connections()),
        }
    }

    /// Lets the connections join their rooms; the first one is what is measured.
    fn prepare(self, swarm: &mut Swarm) -> Result<()> {
        let rooms = |who: usize| match (self, who) {
            (Self::ManyRooms, 1..) => (who * 1000..(who + 1) * 1000).collect(),
            (Self::ManyMembers, 1..) => vec![ROOM],
            (Self::ManyOwnRooms, 0) => (0..1000).collect(),
            _ => Vec::new(),
        };
        swarm.run(&mut Joins::new((0..self.clients()).map(rooms).collect(), Codec::Text))
    }
}

/// MiB before and after, both at rest and with the same connections.
fn memory_around(command: &Command, exertion: Exertion, time: Duration) -> Result<[f64; 2]> {
    const LARGE: Environment = &[("MAX_HTTP_BUFFER_SIZE", "10000000")];
    let (environment, clients) = match exertion {
        Exertion::LargeMessages => (LARGE, 100),
        Exertion::Cycles | Exertion::Burst => (&[][..], 1000),
    };
    let server = command.start(environment)?;
    let opened = open_many(server.address, clients, Way::Direct, Codec::Text)?;
    let mut swarm = Swarm::new(opened, Writes::Single)?;
    let small = echo::Load { clients, in_flight: 1, size: SIZE, codec: Codec::Text };
    let once = Span::of(Duration::ZERO);
    swarm.run(&mut Echo::new(small, clients, once))?;
    let before = memory::at_rest(&server, &mut swarm)?;
    match exertion {
        Exertion::LargeMessages => {
            let large = echo::Load { clients: 20, size: 5_000_000, ..small };
            for _ in 0..10 {
                swarm.run(&mut Echo::new(large, clients, once))?;
            }
        }
        Exertion::Cycles => {
            cycles::run(server.address, Way::Direct, Enough::Count(20_000))?;
        }
        Exertion::Burst => {
            let pace = Pace::InFlight(64);
            let load = broadcast::Load { clients, pace, size: 4096, codec: Codec::Text };
            swarm.run(&mut Broadcast::new(load, Span::of(time)))?;
        }
    }
    let after = memory::at_rest(&server, &mut swarm)?;
    Ok([before / 1024.0, after / 1024.0])
}

/// How many connections a server, and this program, may have open.
pub fn most_connections() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.unwrap_or(1024).saturating_sub(200)
}
