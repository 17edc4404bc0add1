//! What came of all rounds.
use crate::{
    Result,
    suite::{PaceOf, Row, Sample},
};
use std::collections::HashMap;

#[derive(Default)]
pub struct Results {
    samples: HashMap<(&'static str, String), Vec<Sample>>,
    growth: HashMap<(usize, String), Vec<Vec<f64>>>,
    pub failures: Vec<Failure>,
}

/// A server that did not do what it should, in one round of one row.
pub struct Failure {
    pub server: String,
    pub about: String,
    pub round: usize,
    pub error: String,
}

impl Results {
    pub fn add(&mut self, round: usize, row: &Row, server: &str, sample: Result<Sample>) {
        match sample {
            Ok(sample) => {
                let shown = match &sample.pace {
                    None => format!("{:.2} KiB", sample.value),
                    Some(pace) => format!(
                        "{:.2} µs, {:.0} per second, p50 {:.3} ms, p99 {:.3} ms, cores {:.2} (generator {:.2})",
                        sample.value,
                        pace.per_second,
                        pace.p50,
                        pace.p99,
                        pace.server,
                        pace.generator
                    ),
                };
                eprintln!("round {}: {}, {server}: {shown}", round + 1, row.key);
                self.samples.entry((row.key, server.to_owned())).or_default().push(sample);
            }
            Err(error) => self.fail(round, row.key.to_owned(), server, &error),
        }
    }

    pub fn add_growth(
        &mut self,
        round: usize,
        check: usize,
        server: &str,
        figures: Result<Vec<f64>>,
    ) {
        let title = crate::growth::CHECKS[check].title;
        match figures {
            Ok(figures) => {
                let shown: Vec<_> = figures.iter().map(|figure| format!("{figure:.2}")).collect();
                eprintln!("round {}: {title}, {server}: {}", round + 1, shown.join(", "));
                self.growth.entry((check, server.to_owned())).or_default().push(figures);
            }
            Err(error) => self.fail(round, title.to_owned(), server, &error),
        }
    }

    fn fail(&mut self, round: usize, about: String, server: &str, error: &crate::Error) {
        eprintln!("round {}: {about}, {server}: FAILS: {error}", round + 1);
        let error = without_filling(&error.to_string());
        self.failures.push(Failure { server: server.to_owned(), about, round, error });
    }

    pub fn failed(&self, about: &str, server: &str) -> bool {
        self.failures.iter().any(|failure| failure.about == about && failure.server == server)
    }

    fn of(&self, row: &Row, server: &str) -> &[Sample] {
        self.samples.get(&(row.key, server.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// The figures of all rounds; none if one of them failed.
    pub fn figure(&self, row: &Row, server: &str) -> Option<Spread> {
        if self.failed(row.key, server) {
            return None;
        }
        Spread::of(self.of(row, server).iter().map(|sample| sample.value))
    }

    /// The medians of the second figures.
    pub fn pace(&self, row: &Row, server: &str) -> Option<PaceOf> {
        let paces: Vec<_> =
            self.of(row, server).iter().filter_map(|sample| sample.pace.as_ref()).collect();
        let median =
            |of: fn(&PaceOf) -> f64| Some(Spread::of(paces.iter().map(|pace| of(pace)))?.median);
        if self.failed(row.key, server) {
            return None;
        }
        Some(PaceOf {
            per_second: median(|pace| pace.per_second)?,
            p50: median(|pace| pace.p50)?,
            p99: median(|pace| pace.p99)?,
            server: median(|pace| pace.server)?,
            generator: median(|pace| pace.generator)?,
        })
    }

    /// The medians of the points of a check.
    pub fn growth(&self, check: usize, server: &str) -> Option<Vec<f64>> {
        let rounds = self.growth.get(&(check, server.to_owned()))?;
        let points = rounds.iter().map(Vec::len).min()?;
        (0..points)
            .map(|point| Some(Spread::of(rounds.iter().map(|figures| figures[point]))?.median))
            .collect()
    }
}

/// Without most of the zeros that payloads are filled up with.
fn without_filling(text: &str) -> String {
    let (mut short, mut zeros) = (String::new(), 0);
    for letter in text.chars() {
        zeros = if letter == '0' { zeros + 1 } else { 0 };
        match zeros {
            0..=3 => short.push(letter),
            4 => short.push('…'),
            _ => {}
        }
    }
    short
}

/// The smallest, the median and the largest figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (&low, &high) = (sorted.first()?, sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            f64::midpoint(sorted[half - 1], sorted[half])
        };
        Some(Self { low, median, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_rounds_takes_the_middle_of_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0].into_iter());
        assert_eq!(spread, Some(Spread { low: 1.0, median: 2.5, high: 4.0 }));
        assert_eq!(Spread::of([].into_iter()), None);
    }

    #[test]
    fn payloads_are_shown_without_their_filling() {
        assert_eq!(without_filling("100 \"0000000070000000000010\""), "100 \"000…7000…10\"");
    }

    #[test]
    fn a_row_that_failed_in_one_round_has_no_figure() {
        let row = &crate::suite::ROWS[0];
        let mut results = Results::default();
        let sample = || Ok(Sample { value: 2.0, pace: None });
        results.add(0, row, "one", sample());
        assert_eq!(results.figure(row, "one").map(|spread| spread.median), Some(2.0));
        results.add(1, row, "one", Err("out of order".into()));
        assert_eq!(results.figure(row, "one"), None);
        assert!(results.failed(row.key, "one") && !results.failed(row.key, "other"));
    }
}
