//! What the figures come from.
use std::{fs, process::Command};

/// One paragraph: processor, cores, system, versions.
pub fn description() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name").unwrap_or("an unknown processor");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory =
        field(&memory, "MemTotal").and_then(|size| size.split(' ').next()?.parse::<f64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{model}, {cores} cores, {:.0} GiB, Linux {}, {}, Node.js {}",
        memory.unwrap_or(f64::NAN) / (1024.0 * 1024.0),
        kernel.trim(),
        output("rustc", &["--version"]),
        output("node", &["--version"]),
    )
}

pub fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d"])
}

/// The commit that is measured.
pub fn commit() -> String {
    output("git", &["describe", "--always", "--dirty", "--exclude=*"])
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or("unknown".into())
}
