//! The servers under measurement, as processes: start, look at, stop.
use crate::Result;
use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{self, Child, ChildStdout, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How a server is started.
#[derive(Clone)]
pub struct Command {
    pub name: String,
    pub words: Vec<String>,
}

/// Variables of the environment that a workload asks for.
pub type Environment<'a> = &'a [(&'a str, &'a str)];

impl Command {
    /// `NAME=PROGRAM ARGUMENT …`
    pub fn parse(text: &str) -> Result<Self> {
        let (name, words) = text.split_once('=').ok_or(format!("{text}: no NAME=COMMAND"))?;
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(format!("{text}: no command").into());
        }
        Ok(Self { name: name.to_owned(), words })
    }

    pub fn start(&self, environment: Environment) -> Result<Server> {
        // setpriv: the server ends with this program, however that ends
        let mut child = process::Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.words)
            .env("PORT", "0")
            .envs(environment.iter().copied())
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

/// A process counts as idle when it uses less than this share of a core.
const IDLE: f64 = 0.02;

impl Server {
    /// Seconds of CPU that all its threads, those that ended included, have used so far in user and
    /// kernel mode: what /proc/PID/stat shows in hundredths of a second, here to the nanosecond.
    pub fn cpu(&self) -> Result<f64> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.child.id().cast_signed()))?;
        Ok(Duration::from(clock_gettime(clock)?).as_secs_f64())
    }

    /// Waits until it has nothing to do, or for a while, whatever comes first.
    pub fn settle(&self) -> Result<()> {
        const STEP: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        let mut used = self.cpu()?;
        while begun.elapsed() < Duration::from_secs(3) {
            thread::sleep(STEP);
            let now = self.cpu()?;
            if now - used < STEP.as_secs_f64() * IDLE {
                break;
            }
            used = now;
        }
        Ok(())
    }

    /// Whether it has used so little CPU in `time` that it counts as idle.
    pub fn was_idle(used: f64, time: Duration) -> bool {
        used < time.as_secs_f64() * IDLE
    }

    /// Memory in KiB: resident pages, shared ones divided by their users.
    pub fn memory(&self) -> Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// Seconds of CPU that this program has used.
pub fn own_cpu() -> Result<f64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?).as_secs_f64())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_another_process_is_read() {
        let command = Command::parse("x=sh -c echo\tlistening\ton\t127.0.0.1:1").unwrap();
        assert_eq!(command.words.len(), 6);
        let words = ["sh", "-c", "echo listening on 127.0.0.1:1; while :; do :; done"];
        let words = words.map(str::to_owned).to_vec();
        let server = Command { name: "busy".into(), words }.start(&[]).unwrap();
        let before = server.cpu().unwrap();
        while server.cpu().unwrap() <= before {}
        assert!(server.memory().unwrap() > 0.0);
    }
}
