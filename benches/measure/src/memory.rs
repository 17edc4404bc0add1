//! Resident memory of idle connections that have joined a namespace.
use crate::{
    Figure, Result,
    client::{Way, open_many},
    echo::Echo,
    server::{Command, Server},
    swarm::{Swarm, Writes},
};
use std::time::{Duration, Instant};

/// How long a server must use no CPU to count as idle, and how long it may take until then.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// KiB per connection, for both ways to open one: when all have joined, and when each has made one echo.
pub fn measure(command: &Command, clients: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (way, name) in [(Way::Direct, "WebSocket"), (Way::Upgraded, "polling, upgraded")] {
        let server = command.start()?;
        let before = idle_memory(&server, &mut Swarm::new(Vec::new(), Writes::Single)?)?;
        let mut swarm = Swarm::new(open_many(server.address, clients, way)?, Writes::Single)?;
        let mut per_connection = |about: String, swarm: &mut Swarm| -> Result<()> {
            let value = (idle_memory(&server, swarm)? - before) / clients as f64;
            figures.push(Figure { about, value });
            Ok(())
        };
        per_connection(format!("{name}, joined"), &mut swarm)?;
        swarm.run(&mut Echo::new(clients, 1, Duration::ZERO))?;
        per_connection(format!("{name}, after one echo each"), &mut swarm)?;
    }
    Ok(figures)
}

/// The memory of a server that has come to rest.
fn idle_memory(server: &Server, swarm: &mut Swarm) -> Result<f64> {
    let begun = Instant::now();
    let mut used = server.cpu()?;
    while begun.elapsed() < PATIENCE {
        swarm.rest(QUIET)?;
        let now = server.cpu()?;
        if now == used {
            return server.memory();
        }
        used = now;
    }
    Err("it does not come to rest".into())
}
