#![allow(clippy::unwrap_used, reason = "what cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::{
    Metrics, OWN,
    meters::Rare,
    sink::Sink,
    table::{self, Kind, ROWS, Row},
};

const PAGE: &str = include_str!("../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../docs/grafana/greenroom.json");

fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(OWN).flatten()
}

/// A row as the page has it, up to what it means.
fn written(row: &Row) -> String {
    let kind = format!("{:?}", row.kind).to_lowercase();
    let unit = format!("{:?}", row.unit).to_lowercase();
    let labels = row.labels.iter().map(|(label, values)| match values {
        [] => format!("`{label}`"),
        values => {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{label}`: {}", values.join(", "))
        }
    });
    let labels: Vec<_> = labels.collect();
    format!("| `{}` | {kind} | {unit} | {} |", row.name, labels.join("; "))
}

#[test]
fn the_page_lists_exactly_the_metrics_that_there_are() {
    let listed: BTreeSet<&str> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `greenroom_"))
        .map(|line| &line[..=line.trim_end_matches(['|', ' ']).rfind(" | ").unwrap() + 1])
        .collect();
    let rows: BTreeSet<String> = rows().map(written).collect();
    let unlisted: Vec<_> = rows.iter().filter(|row| !listed.contains(&***row)).collect();
    assert!(unlisted.is_empty(), "not in docs/metrics.md: {unlisted:#?}");
    let unknown: Vec<_> = listed.iter().filter(|line| !rows.contains(**line)).collect();
    assert!(unknown.is_empty(), "in docs/metrics.md, but nowhere else: {unknown:#?}");
}

#[test]
fn names_are_unique_and_say_their_unit() {
    let mut names = BTreeSet::new();
    for Row { name, kind, unit, .. } in rows() {
        assert!(names.insert(name), "{name} twice");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let stem = name.trim_end_matches("_total");
        assert_eq!(*unit == table::Unit::Seconds, stem.ends_with("_seconds"), "{name}");
        assert_eq!(*unit == table::Unit::Bytes, stem.ends_with("_bytes"), "{name}");
    }
}

/// The names of metrics in a query.
fn named(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("greenroom_")).collect()
}

fn queries<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| matches!(&**name, "expr" | "query")) {
                    Some(query) => found.push(query),
                    None => queries(value, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_nothing_but_these_metrics_and_labels() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for query in found {
        let names = named(query);
        assert!(!names.is_empty() || query == "prometheus", "{query}");
        for name in names {
            let series = |row: &&Row| match row.kind {
                Kind::Histogram => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| *name == format!("{}{end}", row.name)),
                Kind::Counter | Kind::Gauge => row.name == name,
            };
            let row = rows().find(series);
            assert!(row.is_some(), "{name} in {query}");
            for by in query.split(" by (").skip(1) {
                let labels = by.split(')').next().unwrap().split(',').map(str::trim);
                let known =
                    |label: &str| row.unwrap().labels.iter().any(|(known, _)| *known == label);
                for label in labels {
                    assert!(
                        known(label) || matches!(label, "le" | "instance"),
                        "{label} in {query}"
                    );
                }
            }
        }
    }
}

/// The queries of each panel, and the panel.
fn panels(dashboard: &serde_json::Value) -> Vec<(&serde_json::Value, Vec<&str>)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queried = panels.map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        (panel, targets.map(|target| target["expr"].as_str().unwrap()).collect())
    });
    queried.collect()
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = serde_json::from_str(DASHBOARD).unwrap();
    let asked: Vec<_> = panels(&dashboard).into_iter().flat_map(|(_, queries)| queries).collect();
    let asked: BTreeSet<_> = asked
        .iter()
        .flat_map(|query| named(query))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name))
        .collect();
    let missing: Vec<_> = rows().map(|row| row.name).filter(|name| !asked.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_the_dashboard_shows_as_seconds_are_seconds() {
    let dashboard = serde_json::from_str(DASHBOARD).unwrap();
    let mut timed = 0;
    for (panel, queries) in panels(&dashboard) {
        let seconds = panel["fieldConfig"]["defaults"]["unit"] == "s";
        let others = queries.iter().filter(|query| !query.starts_with("histogram_quantile("));
        let others = others.count();
        timed += queries.len() - others;
        if seconds {
            let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap().len();
            assert_eq!(others, overrides, "{}", panel["title"]);
        } else {
            assert_eq!(others, queries.len(), "{}", panel["title"]);
        }
    }
    assert!(timed > 5);
}

/// Notes what it is told.
#[derive(Default)]
struct Notes {
    described: Mutex<BTreeSet<String>>,
    registered: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Notes {
    fn describe(&self, name: &KeyName) {
        self.described.lock().unwrap().insert(name.as_str().to_owned());
    }

    fn register(&self, key: &Key) {
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        let name = key.name().to_owned();
        let before = self.registered.lock().unwrap().insert(name, BTreeSet::clone(&labels));
        assert!(before.is_none_or(|before| before == labels), "{key}");
    }
}

impl Recorder for Notes {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.register(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.register(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.register(key);
        Histogram::noop()
    }
}

#[test]
fn what_is_registered_has_the_labels_that_are_described() {
    let notes = Arc::new(Notes::default());
    let metrics = Metrics::new(Sink::Own(Arc::<Notes>::clone(&notes)), 10);
    metrics.meters.namespace("/", ["say"].into_iter());
    drop(metrics.meters.request("settle"));
    metrics.meters.count(Rare::Closed, "ping timeout");
    let described = notes.described.lock().unwrap().clone();
    let registered = notes.registered.lock().unwrap().clone();
    assert_eq!(described, registered.keys().cloned().collect());
    for row in rows() {
        let labels = row.labels.iter().map(|(label, _)| (*label).to_owned()).collect();
        assert_eq!(registered[row.name], labels, "{}", row.name);
    }
}

#[test]
fn namespaces_beyond_the_bound_are_counted_together() {
    let notes = Arc::new(Notes::default());
    let metrics = Metrics::new(Sink::Own(notes), 2);
    let of = |name| metrics.meters.namespace(name, std::iter::empty());
    let (first, second, third, fourth) = (of("/1"), of("/2"), of("/3"), of("/4"));
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&second, &third));
    assert!(Arc::ptr_eq(&third, &fourth));
    assert!(Arc::ptr_eq(&first, &of("/1")), "a name that comes again");
}
