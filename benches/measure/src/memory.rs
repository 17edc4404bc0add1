//! Memory of a server that has come to rest.
use crate::{
    Result,
    client::{Way, open_many},
    codec::Codec,
    server::{Command, Environment, Server},
    swarm::{Swarm, Writes},
};
use std::time::{Duration, Instant};

/// A server that uses next to no CPU for so long is idle.
const QUIET: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// KiB for each connection that has joined the namespace and is silent.
pub fn of_idle(
    command: &Command,
    clients: usize,
    way: Way,
    environment: Environment,
) -> Result<f64> {
    let server = command.start(environment)?;
    let before = at_rest(&server, &mut Swarm::new(Vec::new(), Writes::Single)?)?;
    let opened = open_many(server.address, clients, way, Codec::Text)?;
    let after = at_rest(&server, &mut Swarm::new(opened, Writes::Single)?)?;
    Ok((after - before) / clients as f64)
}

/// KiB of a server that has come to rest; the connections go on answering heartbeats.
pub fn at_rest(server: &Server, swarm: &mut Swarm) -> Result<f64> {
    let begun = Instant::now();
    let mut used = server.cpu()?;
    while begun.elapsed() < PATIENCE {
        swarm.rest(QUIET)?;
        let now = server.cpu()?;
        if Server::was_idle(now - used, QUIET) {
            return server.memory();
        }
        used = now;
    }
    Err("it does not come to rest".into())
}
