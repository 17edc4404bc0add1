//! Where metrics go: the recorder of the process, or one that the server was given.

use std::{fmt, sync::Arc};

use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level as Severity, Metadata, Recorder,
    Unit as FacadeUnit,
};

use super::{
    meters::{Level, Tally, Times},
    table::{Kind, Row, Unit},
};

static METADATA: Metadata<'static> = Metadata::new("greenroom", Severity::INFO, Some("greenroom"));

/// See the module's description.
#[derive(Clone, Default)]
pub(crate) enum Sink {
    #[default]
    Nowhere,
    /// The one that is installed when the server starts.
    Process,
    Own(Arc<dyn Recorder + Send + Sync>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Process => "Process",
            Self::Own(_) => "Own",
        })
    }
}

/// The labels of one series.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Sink {
    fn with<T>(&self, call: impl FnOnce(&dyn Recorder) -> T) -> Option<T> {
        match self {
            Self::Nowhere => None,
            Self::Process => Some(metrics::with_recorder(call)),
            Self::Own(recorder) => Some(call(&**recorder)),
        }
    }

    pub(crate) fn tally(&self, name: &'static str, labels: Labels<'_>) -> Tally {
        let key = key(name, labels);
        let counter = self.with(|recorder| recorder.register_counter(&key, &METADATA));
        Tally(counter.unwrap_or_else(Counter::noop))
    }

    pub(crate) fn level(&self, name: &'static str, labels: Labels<'_>) -> Level {
        let key = key(name, labels);
        let gauge = self.with(|recorder| recorder.register_gauge(&key, &METADATA));
        Level(gauge.unwrap_or_else(Gauge::noop))
    }

    pub(crate) fn times(&self, name: &'static str, labels: Labels<'_>) -> Times {
        let key = key(name, labels);
        let histogram = self.with(|recorder| recorder.register_histogram(&key, &METADATA));
        Times(histogram.unwrap_or_else(Histogram::noop))
    }

    /// Says what metrics mean, and makes those appear whose labels are known: an exporter shows that
    /// nothing has happened, instead of nothing.
    pub(crate) fn describe(&self, rows: &[Option<Row>]) {
        for row in rows.iter().flatten() {
            self.describe_one(row);
            match row.labels {
                [] => self.register(row, &[]),
                [(label, values)] => {
                    values.iter().for_each(|value| self.register(row, &[(label, value)]));
                }
                _ => {}
            }
        }
    }

    fn describe_one(&self, row: &Row) {
        let unit = match row.unit {
            Unit::Count => FacadeUnit::Count,
            Unit::Bytes => FacadeUnit::Bytes,
            Unit::Seconds => FacadeUnit::Seconds,
        };
        let (name, unit, help) = (row.name.into(), Some(unit), row.help.trim().into());
        self.with(|recorder| match row.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        });
    }

    fn register(&self, row: &Row, labels: Labels<'_>) {
        match row.kind {
            Kind::Counter => drop(self.tally(row.name, labels)),
            Kind::Gauge => drop(self.level(row.name, labels)),
            Kind::Histogram => drop(self.times(row.name, labels)),
        }
    }
}

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels = labels.iter().map(|(label, value)| Label::new(*label, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}
