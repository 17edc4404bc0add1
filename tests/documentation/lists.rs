//! What the pages list completely: options, counters, features.

use greenroom::Snapshot;

use super::{files, read};

/// Names that a page has nowhere in a code span with `end` behind them.
fn missing<'a>(names: Vec<&'a str>, end: &str, page: &str) -> Vec<&'a str> {
    let text = read(page);
    names.into_iter().filter(|name| !text.contains(&format!("`{name}{end}"))).collect()
}

#[test]
fn every_option_of_the_server_is_in_the_guide() {
    let sources: Vec<String> = files("src/server", ".rs").iter().map(read).collect();
    let mut names: Vec<&str> = Vec::new();
    for source in &sources {
        for builder in source.split("impl SocketIoBuilder {").skip(1) {
            let builder = builder.split("\n}\n").next().unwrap();
            names.extend(
                builder
                    .split("\n    pub fn ")
                    .skip(1)
                    .map(|function| function.split(['(', '<']).next().unwrap()),
            );
        }
    }
    names.retain(|name| *name != "start");
    assert!(names.len() > 50, "the source was not read: {names:?}");
    let missing = missing(names, "(", "docs/guide.md");
    assert!(missing.is_empty(), "options that the guide does not list: {missing:?}");
}

#[test]
fn every_counter_is_in_the_guide() {
    let fields = format!("{:?}", Snapshot::default());
    let fields = fields.split_once('{').unwrap().1.trim_end_matches('}');
    let names: Vec<&str> =
        fields.split(',').map(|field| field.split(':').next().unwrap().trim()).collect();
    assert!(names.len() > 40, "the counters were not read: {names:?}");
    let missing = missing(names, "`", "docs/guide.md");
    assert!(missing.is_empty(), "counters that the guide does not list: {missing:?}");
}

#[test]
fn every_feature_is_on_the_front_page_of_the_crate() {
    let manifest = read("Cargo.toml");
    let features = manifest.split_once("\n[features]\n").unwrap().1.split("\n[").next().unwrap();
    let names: Vec<&str> = features
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" =")?.0))
        // Not for applications.
        .filter(|name| !["default", "internals"].contains(name))
        .collect();
    assert!(names.contains(&"client"), "the features were not read: {names:?}");
    let missing = missing(names, "`", "src/lib.rs");
    assert!(missing.is_empty(), "features that src/lib.rs does not list: {missing:?}");
}
