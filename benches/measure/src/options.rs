//! The command line.
use crate::{
    Result,
    growth::Whose,
    server::Command,
    suite::{ROWS, Row, Set},
};
use std::{path::PathBuf, str::FromStr, time::Duration};

pub struct Options {
    pub rows: Vec<&'static Row>,
    pub growth: bool,
    /// Of what must not grow, only memory.
    pub only_memory: bool,
    pub servers: Vec<Command>,
    pub rounds: usize,
    /// How long one workload runs in one round.
    pub time: Duration,
    /// Connections of the memory rows.
    pub clients: usize,
    /// The page whose generated section is replaced.
    pub write: Option<PathBuf>,
    /// Of the server whose memory is looked at.
    pub allocator: String,
    /// All words, to be shown.
    pub command: String,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            rows: Vec::new(),
            growth: false,
            only_memory: false,
            servers: Vec::new(),
            rounds: 3,
            time: Duration::from_secs(2),
            clients: 8000,
            write: None,
            allocator: "that of the system".into(),
            command: String::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "all" => {
                    options.ask_for(|row| row.set != Set::Extra)?;
                    options.growth = true;
                }
                "short" => options.ask_for(|row| row.set == Set::Daily)?,
                "memory" => options.ask_for(Row::is_memory)?,
                "growth" => options.growth = true,
                "growth-memory" => (options.growth, options.only_memory) = (true, true),
                "--server" => options.servers.push(Command::parse(&value()?)?),
                "--rounds" => options.rounds = number(&argument, &value()?)?,
                "--seconds" => {
                    let seconds = number(&argument, &value()?)?;
                    options.time = Duration::try_from_secs_f64(seconds)?;
                }
                "--clients" => options.clients = number(&argument, &value()?)?,
                "--write" => options.write = Some(value()?.into()),
                "--allocator" => options.allocator = value()?,
                "--shown-as" => options.command = value()?,
                key if key.starts_with('-') => return Err(format!("what is {key}?").into()),
                // a key by itself is that row; with a star it is all that begin so
                key => match key.strip_suffix('*') {
                    Some(start) => options.ask_for(|row| row.key.starts_with(start)),
                    None => options.ask_for(|row| row.key == key),
                }
                .map_err(|error| format!("there is no workload {key}: {error}"))?,
            }
        }
        match options {
            Self { rounds: 0, .. } | Self { clients: 0, .. } => Err("nothing to measure".into()),
            _ if options.time.is_zero() => Err("--seconds must be more than nothing".into()),
            _ if options.servers.is_empty() => Err("no --server NAME=COMMAND".into()),
            _ if options.rows.is_empty() && !options.growth => Err("nothing to measure".into()),
            _ => Ok(options),
        }
    }

    /// Adds rows, each once, in the order of the suite.
    fn ask_for(&mut self, wanted: impl Fn(&Row) -> bool) -> Result<()> {
        let has = |row: &Row| self.rows.iter().any(|other| other.key == row.key);
        let rows: Vec<_> = ROWS.iter().filter(|row| has(row) || wanted(row)).collect();
        if rows.len() == self.rows.len() && !ROWS.iter().any(&wanted) {
            let keys: Vec<_> = ROWS.iter().map(|row| row.key).collect();
            let keys = keys.join(", ");
            return Err(
                format!("workloads are all, short, memory, growth, growth-memory, {keys}").into()
            );
        }
        self.rows = rows;
        Ok(())
    }

    /// Whether this server is looked at: all, if there is none of the usual ones.
    pub fn grows(&self, server: &str, whose: Whose) -> bool {
        let usual = self.servers.iter().any(|server| server.name.starts_with("greenroom"));
        !usual || whose.includes(server)
    }
}

fn number<T: FromStr>(option: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| format!("{option} takes a number, not {value}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(words: &str) -> Result<Vec<&'static str>> {
        let words = format!("{words} --server x=true");
        let options = Options::parse(words.split_whitespace().map(str::to_owned))?;
        Ok(options.rows.iter().map(|row| row.key).collect())
    }

    #[test]
    fn rows_are_asked_for_by_name_and_come_once_in_order() {
        assert_eq!(keys("echo-4 broadcast").unwrap(), ["broadcast", "echo-4"]);
        assert_eq!(keys("echo echo-4*").unwrap(), ["echo", "echo-4"]);
        assert!(keys("short").unwrap().len() < keys("all").unwrap().len());
        assert!(!keys("all").unwrap().contains(&"echo-joined"));
        let error = keys("nonsense").unwrap_err().to_string();
        assert!(error.starts_with("there is no workload nonsense: workloads are all, "), "{error}");
        assert_eq!(
            keys("echo --rounds x").unwrap_err().to_string(),
            "--rounds takes a number, not x"
        );
        assert!(keys("").is_err());
    }
}
