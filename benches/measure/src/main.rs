//! Measures Socket.IO servers from outside: memory per connection, CPU per echo and per delivery.
//!
//! Servers are named on the command line, get `PORT=0` and `WORKERS`, and say `listening on
//! HOST:PORT`. Every round starts every server anew, one after the other. `run` calls this program
//! with the usual servers; the README says what is measured and how.
mod broadcast;
mod client;
mod echo;
mod frame;
mod memory;
mod options;
mod server;
mod swarm;
mod table;

use options::{Options, Subject};
use server::Command;
use table::Table;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The namespace of the testbed that all of this happens in.
const NAMESPACE: &str = "/bench";

fn main() {
    if let Err(error) = Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        eprintln!("measure: {error}");
        std::process::exit(1);
    }
}

fn run(options: &Options) -> Result<()> {
    for subject in &options.subjects {
        println!("\n{}\n", table_of(*subject, options)?);
    }
    Ok(())
}

fn table_of(subject: Subject, options: &Options) -> Result<Table> {
    match subject {
        Subject::Memory => {
            let title =
                format!("KiB of resident memory per connection, {} of them", options.clients);
            measure(title, options, |server| memory::measure(server, options.clients))
        }
        Subject::Echo => {
            let title = "µs of server CPU per echo with ack, 128 bytes".to_owned();
            measure(title, options, |server| echo::measure(server, options.time))
        }
        Subject::Broadcast => {
            let title = "µs of server CPU per delivery, 128 bytes to 1,000 connections".to_owned();
            measure(title, options, |server| broadcast::measure(server, options.time))
        }
    }
}

/// One figure of one round, and what it is about.
struct Figure {
    about: String,
    value: f64,
}

/// All rounds of one subject. Odd rounds take the servers in reverse, so that none is always first.
fn measure(
    title: String,
    options: &Options,
    mut one: impl FnMut(&Command) -> Result<Vec<Figure>>,
) -> Result<Table> {
    let mut table = Table::new(title, options.servers.iter().map(|server| server.name.clone()));
    for round in 0..options.rounds {
        let mut order: Vec<_> = (0..options.servers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for column in order {
            let server = &options.servers[column];
            let figures = one(server).map_err(|error| format!("{}: {error}", server.name))?;
            for figure in figures {
                eprintln!(
                    "round {}: {}, {}: {:.2}",
                    round + 1,
                    server.name,
                    figure.about,
                    figure.value
                );
                table.add(&figure.about, column, figure.value);
            }
        }
    }
    Ok(table)
}
