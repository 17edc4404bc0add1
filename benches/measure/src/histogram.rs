//! Latencies: how many fell into which class, the classes 3 % wide.
use std::time::Duration;

/// Classes of one power of two.
const CLASSES: u64 = 32;
const BITS: u32 = CLASSES.trailing_zeros();

#[derive(Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        let class = class(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// What this share of all stayed under, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper(class as u64) as f64 / 1e6;
            }
        }
        f64::NAN
    }
}

fn class(nanos: u64) -> usize {
    if nanos < CLASSES {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - BITS;
    (u64::from(shift) * CLASSES + (nanos >> shift)) as usize
}

/// The end of a class.
fn upper(class: u64) -> u64 {
    if class < CLASSES {
        return class;
    }
    let shift = class / CLASSES - 1;
    ((class % CLASSES + CLASSES + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_percent() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, millis) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let shown = histogram.quantile(share);
            assert!((shown / millis - 1.0).abs() < 0.035, "{share}: {shown}");
        }
        assert!(Histogram::default().quantile(0.5).is_nan());
    }

    #[test]
    fn every_time_is_in_the_class_that_ends_behind_it() {
        for nanos in (0..100_000).chain([1 << 40, (1 << 40) - 1]) {
            let class = class(nanos) as u64;
            assert!(nanos <= upper(class));
            assert!(class == 0 || nanos > upper(class - 1));
        }
    }
}
