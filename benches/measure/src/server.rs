//! The servers under measurement, as processes: start, look at, stop.
use crate::Result;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{self, Child, ChildStdout, Stdio},
};

/// The unit of /proc/PID/stat: USER_HZ, which is 100 wherever Linux runs today.
const TICKS_PER_SECOND: f64 = 100.0;

/// How a server is started.
pub struct Command {
    pub name: String,
    pub words: Vec<String>,
    pub workers: usize,
}

impl Command {
    /// `NAME=PROGRAM ARGUMENT …`
    pub fn parse(text: &str) -> Result<Self> {
        let (name, words) = text.split_once('=').ok_or(format!("{text}: no NAME=COMMAND"))?;
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(format!("{text}: no command").into());
        }
        Ok(Self { name: name.to_owned(), words, workers: 1 })
    }

    pub fn start(&self) -> Result<Server> {
        // setpriv: the server ends with this program, however that ends
        let mut child = process::Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.words)
            .env("PORT", "0")
            .env("WORKERS", self.workers.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new).ok_or("no stdout")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, output, address };
        let mut line = String::new();
        while server.output.read_line(&mut line)? > 0 {
            if let Some(address) = line.trim_end().strip_prefix("listening on ") {
                server.address = address.parse()?;
                return Ok(server);
            }
            line.clear();
        }
        Err("ended without listening".into())
    }
}

/// A running server; it is stopped when this is dropped.
pub struct Server {
    child: Child,
    /// Kept open: a server may write to it.
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    /// Seconds of CPU that all its threads have used so far, in user and kernel mode.
    pub fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
