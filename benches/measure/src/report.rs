//! The tables, in Markdown.
use crate::{
    Result,
    growth::{CHECKS, most_connections},
    machine,
    options::Options,
    results::Results,
    suite::{PaceOf, Row},
    targets::Reference,
};
use std::{
    fmt::{self, Display, Formatter, Write},
    fs,
    path::Path,
    time::Duration,
};

const BEGIN: &str = "<!-- benches/measure/run writes from here -->";
const END: &str = "<!-- to here -->";

pub struct Report<'a> {
    pub options: &'a Options,
    pub results: &'a Results,
    pub took: Duration,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.heading(f)?;
        let (memory, cpu): (Vec<&Row>, Vec<&Row>) =
            self.options.rows.iter().partition(|row| row.is_memory());
        if !cpu.is_empty() {
            self.figures(f, "µs of server CPU per operation", &cpu)?;
        }
        if !memory.is_empty() {
            self.figures(f, "memory per connection", &memory)?;
        }
        self.targets(f)?;
        self.growth(f)?;
        if !cpu.is_empty() {
            self.paces(f, &cpu)?;
        }
        self.failures(f)
    }
}

impl Report<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.options.servers.iter().map(|server| server.name.as_str())
    }

    fn heading(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Options { command, rounds, time, clients, .. } = self.options;
        let plural = if *rounds == 1 { "round" } else { "rounds" };
        writeln!(
            f,
            "Measured on {}, commit {}, by `{command}` in {:.0} minutes: {rounds} {plural}, {} s per \
             workload and round, {clients} idle connections. The machine: {}.",
            machine::date(),
            machine::commit(),
            (self.took.as_secs_f64() / 60.0).ceil(),
            time.as_secs_f64(),
            machine::description(),
        )
    }

    fn head(&self, f: &mut Formatter<'_>, title: &str) -> fmt::Result {
        write!(f, "\n| {title} |")?;
        for name in self.names() {
            write!(f, " {name} |")?;
        }
        write!(f, "\n|{}", " --- |".repeat(self.options.servers.len() + 1))
    }

    /// Medians, with the smallest and the largest figure.
    fn figures(&self, f: &mut Formatter<'_>, title: &str, rows: &[&Row]) -> fmt::Result {
        self.head(f, title)?;
        for row in rows {
            write!(f, "\n| {}", row.title)?;
            if !row.is_memory() {
                write!(f, ", per {}", row.operation)?;
            }
            write!(f, " |")?;
            for name in self.names() {
                match self.results.figure(row, name) {
                    Some(spread) if self.options.rounds == 1 => {
                        write!(f, " {:.2} |", spread.median)?
                    }
                    Some(spread) => {
                        write!(
                            f,
                            " {:.2} ({:.2}–{:.2}) |",
                            spread.median, spread.low, spread.high
                        )?;
                    }
                    None if self.results.failed(row.key, name) => write!(f, " fails the check |")?,
                    None => write!(f, " - |")?,
                }
            }
        }
        writeln!(f)
    }

    fn median(&self, row: &Row, name: &str) -> Option<f64> {
        Some(self.results.figure(row, name)?.median)
    }

    /// What is to be reached and what is; or, without the usual names, ratios.
    fn targets(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.names().any(|name| name == "greenroom 1") {
            return self.ratios(f);
        }
        if self.options.rows.iter().all(|row| row.targets.is_empty()) {
            return Ok(());
        }
        write!(
            f,
            "\n| target | server | at most | measured | reached |\n| --- | --- | --- | --- | --- |"
        )?;
        for row in &self.options.rows {
            for target in row.targets {
                let own = target.server;
                if !self.names().any(|name| name == own) {
                    continue;
                }
                let figure = self.median(row, own);
                let (limit, measured) = match target.reference(|name| self.median(row, name)) {
                    Reference::Absolute => (format!("{} KiB", target.factor), figure),
                    Reference::Server(name, of) => {
                        (format!("{} × {name}", target.factor), figure.map(|figure| figure / of))
                    }
                    Reference::None(name) => (format!("{} × {name}", target.factor), None),
                };
                let measured = measured.map(|measured| (measured, measured <= target.factor));
                let (shown, reached) = match measured {
                    Some((measured, true)) => (format!("{measured:.2}"), "yes"),
                    Some((measured, false)) => (format!("{measured:.2}"), "**no**"),
                    None if figure.is_none() => ("-".into(), "**no**: no figure of its own"),
                    None => ("-".into(), "nothing to compare with"),
                };
                let Row { title, .. } = row;
                write!(f, "\n| {title} | {own} | {limit} | {shown} | {reached} |")?;
            }
        }
        writeln!(f)
    }

    /// What each of them is of the first server.
    fn ratios(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(first) = self.names().next().filter(|_| self.options.servers.len() > 1) else {
            return Ok(());
        };
        self.head(f, &format!("ratio: {first} to each"))?;
        for row in &self.options.rows {
            write!(f, "\n| {} |", row.title)?;
            for name in self.names() {
                match (self.median(row, first), self.median(row, name)) {
                    (Some(first), Some(other)) => write!(f, " {:.2} |", first / other)?,
                    _ => write!(f, " - |")?,
                }
            }
        }
        writeln!(f)
    }

    fn growth(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.options.growth {
            return Ok(());
        }
        write!(
            f,
            "\n| growth | server | figures | ratio | at most | reached |\n|{}",
            " --- |".repeat(6)
        )?;
        for (number, check) in CHECKS.iter().enumerate() {
            for name in self.names() {
                let Some(figures) = self.results.growth(number, name) else { continue };
                let mut shown = String::new();
                for (point, figure) in check.points.iter().zip(&figures) {
                    let comma = if shown.is_empty() { "" } else { ", " };
                    write!(shown, "{comma}{}: {figure:.2}", point.about)?;
                }
                let (ratio, limit) = check.verdict(&figures);
                let reached = match () {
                    () if name.contains("floor") => "(the system's part)",
                    () if self.results.failed(check.title, name) => "**no**: it fails the check",
                    () if ratio <= limit => "yes",
                    () => "**no**",
                };
                write!(
                    f,
                    "\n| {}, {} | {name} | {shown} | {ratio:.2} | {limit} | {reached} |",
                    check.title, check.unit
                )?;
            }
        }
        let (allocator, most) = (&self.options.allocator, most_connections());
        writeln!(f, "\n\nThe allocator of greenroom's testbed is {allocator}.")?;
        if most < 50_000 {
            writeln!(
                f,
                "The limit of open files on this machine allows {most} connections: that many stand \
                 for the 50,000."
            )?;
        }
        Ok(())
    }

    fn paces(&self, f: &mut Formatter<'_>, rows: &[&Row]) -> fmt::Result {
        self.head(f, "operations per second; p50 / p99 in ms")?;
        let mut busy = false;
        for row in rows {
            write!(f, "\n| {} |", row.title)?;
            for name in self.names() {
                match self.results.pace(row, name) {
                    Some(pace) => {
                        let marked = pace.generator > 0.95 * pace.server;
                        busy |= marked;
                        let mark = if marked { " †" } else { "" };
                        let PaceOf { per_second, p50, p99, .. } = pace;
                        write!(f, " {per_second:.0}; {p50:.2} / {p99:.2}{mark} |")?;
                    }
                    None => write!(f, " - |")?,
                }
            }
        }
        if !busy {
            return writeln!(f);
        }
        writeln!(
            f,
            "\n\n† The load generator used as much CPU as the server: these say less about the \
             server's speed, the CPU per operation is not touched by it."
        )
    }

    fn failures(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.results.failures.is_empty() {
            return writeln!(
                f,
                "\nEvery client of every server got every message once and in order."
            );
        }
        writeln!(f, "\nWhat failed its check, and the first that was wrong:\n")?;
        for failure in &self.results.failures {
            let error: String = failure.error.chars().take(240).collect();
            let error = error.replace('|', "\\|").replace('\n', " ");
            writeln!(
                f,
                "- {}, {}, round {}: `{}`",
                failure.server,
                failure.about,
                failure.round + 1,
                error.replace('`', "'")
            )?;
        }
        Ok(())
    }
}

/// Replaces what is between the marks of the page.
pub fn write_to(page: &Path, report: &str) -> Result<()> {
    let text = fs::read_to_string(page)?;
    fs::write(page, replaced(&text, report).ok_or(format!("{}: no marks", page.display()))?)?;
    Ok(())
}

fn replaced(text: &str, report: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{report}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generated_section_is_replaced() {
        let page = format!("# Title\n{BEGIN}\nold\n{END}\nend\n");
        let new = replaced(&page, "new").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}\nnew\n{END}\nend\n"));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
