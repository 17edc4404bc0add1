//! The command line.
use crate::{Result, server::Command};
use std::time::Duration;

#[derive(Clone, Copy)]
pub enum Subject {
    Memory,
    Echo,
    Broadcast,
}

pub struct Options {
    pub subjects: Vec<Subject>,
    /// The first one is compared with each of the others.
    pub servers: Vec<Command>,
    pub rounds: usize,
    /// How long one workload runs in one round.
    pub time: Duration,
    /// Connections of the memory measurement.
    pub clients: usize,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            subjects: Vec::new(),
            servers: Vec::new(),
            rounds: 3,
            time: Duration::from_secs(3),
            clients: 4000,
        };
        let mut workers = 1;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "memory" => options.subjects.push(Subject::Memory),
                "echo" => options.subjects.push(Subject::Echo),
                "broadcast" => options.subjects.push(Subject::Broadcast),
                "all" => {
                    options.subjects.extend([Subject::Memory, Subject::Echo, Subject::Broadcast])
                }
                "--server" => options.servers.push(Command::parse(&value()?)?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.time = Duration::from_secs_f64(value()?.parse()?),
                "--clients" => options.clients = value()?.parse()?,
                "--workers" => workers = value()?.parse()?,
                other => return Err(format!("what is {other}?").into()),
            }
        }
        for server in &mut options.servers {
            server.workers = workers;
        }
        match options {
            Self { rounds: 0, .. } | Self { clients: 0, .. } => Err("nothing to measure".into()),
            _ if options.servers.is_empty() => Err("no --server NAME=COMMAND".into()),
            _ if options.subjects.is_empty() => Err("memory, echo, broadcast or all?".into()),
            _ => Ok(options),
        }
    }
}
