//! Measures Socket.IO servers from outside: CPU per message and per connection, memory per
//! connection, latencies, and whether everything arrives once and in order.
//!
//! Servers are named on the command line, get `PORT=0`, and say `listening on HOST:PORT`. Every
//! round starts every server anew for every workload. `run` calls this program with the usual
//! servers; benches/README.md says what is measured and how.
mod client;
mod codec;
mod frame;
mod growth;
mod histogram;
mod machine;
mod memory;
mod msgpack;
mod options;
mod payload;
mod report;
mod results;
mod server;
mod suite;
mod swarm;
mod targets;
mod workloads;

use growth::CHECKS;
use options::Options;
use results::Results;
use std::{process::ExitCode, time::Instant};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// The namespace of the testbed that all of this happens in.
const NAMESPACE: &str = "/bench";

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether greenroom did everything right. What breaks a peer is a line of the report.
fn run(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let mut results = Results::default();
    for round in 0..options.rounds {
        for row in &options.rows {
            for server in in_turn(options, round) {
                if row.suits(&server.name) {
                    let sample = suite::measure(&row.load, server, options.time, options.clients);
                    results.add(round, row, &server.name, sample);
                }
            }
        }
        if options.growth {
            for (number, check) in CHECKS.iter().enumerate() {
                if options.only_memory && !check.is_about_memory() {
                    continue;
                }
                for server in in_turn(options, round) {
                    if options.grows(&server.name, check.whose) {
                        let figures = check.measure(server, options.time);
                        results.add_growth(round, number, &server.name, figures);
                    }
                }
            }
        }
    }
    let report = report::Report { options, results: &results, took: begun.elapsed() }.to_string();
    println!("\n{report}");
    if let Some(page) = &options.write {
        report::write_to(page, &report)?;
    }
    // Without one of the usual name all were asked for by name, and count.
    let named = options.servers.iter().any(|server| server.name.starts_with("greenroom"));
    let ours = |name: &str| !named || name.starts_with("greenroom");
    Ok(!results.failures.iter().any(|failure| ours(&failure.server)))
}

/// Odd rounds take the servers in reverse, so that none is always first.
fn in_turn(options: &Options, round: usize) -> Vec<&server::Command> {
    let servers = options.servers.iter();
    if round % 2 == 1 { servers.rev().collect() } else { servers.collect() }
}
