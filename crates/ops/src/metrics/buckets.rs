//! Histograms.

use super::shares::Tally;

/// Bounds of a histogram at most.
const MAX_BOUNDS: usize = 12;

/// Upper bounds of buckets, in microseconds, at least a factor of two apart.
#[derive(Debug)]
pub(crate) struct Bounds {
    micros: &'static [u64],
    /// The same, and beyond them a bound that nothing exceeds.
    padded: [u64; MAX_BOUNDS + 1],
    /// How many bounds are below each power of two: where a value's bucket is, but for one comparison.
    below: [u8; u64::BITS as usize],
}

impl Bounds {
    pub(crate) const fn new(micros: &'static [u64]) -> Self {
        let mut padded = [u64::MAX; MAX_BOUNDS + 1];
        let mut below = [0; u64::BITS as usize];
        let mut bound = 0;
        while bound < micros.len() {
            assert!(bound == 0 || micros[bound] / 2 >= micros[bound - 1], "two bounds between two powers of two");
            padded[bound] = micros[bound];
            let mut power = micros[bound].ilog2() as usize + 1;
            while power < below.len() {
                below[power] += 1;
                power += 1;
            }
            bound += 1;
        }
        Self { micros, padded, below }
    }

    /// The first bucket that holds a value.
    fn bucket(&self, micros: u64) -> usize {
        let bucket = usize::from(self.below[(micros | 1).ilog2() as usize]);
        bucket + usize::from(self.padded[bucket] < micros)
    }
}

/// A histogram; who may count into it is [`Tally`]'s matter. In cache lines of its own: others are written by other threads.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Buckets {
    bounds: &'static Bounds,
    sum_micros: Tally,
    /// One more than bounds: the last has none.
    counts: [Tally; MAX_BOUNDS + 1],
}

impl Buckets {
    pub(crate) fn new(bounds: &'static Bounds) -> Self {
        Self { bounds, sum_micros: Tally::default(), counts: Default::default() }
    }

    /// By its only writer.
    pub(crate) fn record(&self, micros: u64) {
        self.counts[self.bounds.bucket(micros)].add(1);
        self.sum_micros.add(micros);
    }

    /// By any of several writers.
    pub(crate) fn record_shared(&self, micros: u64) {
        self.counts[self.bounds.bucket(micros)].add_shared(1);
        self.sum_micros.add_shared(micros);
    }
}

/// What histograms with the same bounds hold together.
#[derive(Debug)]
pub(crate) struct Reading {
    bounds: &'static Bounds,
    sum_micros: u64,
    counts: [u64; MAX_BOUNDS + 1],
}

impl Reading {
    pub(crate) fn of<'b>(bounds: &'static Bounds, parts: impl IntoIterator<Item = &'b Buckets>) -> Self {
        let mut reading = Self { bounds, sum_micros: 0, counts: [0; MAX_BOUNDS + 1] };
        for part in parts {
            reading.sum_micros = reading.sum_micros.wrapping_add(part.sum_micros.get());
            for (count, more) in reading.counts.iter_mut().zip(&part.counts) {
                *count += more.get();
            }
        }
        reading
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// Upper bound in seconds and own count of each bucket.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.micros.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: [u64; 9] = [10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 30_000_000];
    static BOUNDS: Bounds = Bounds::new(&MICROS);

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        let (alone, shared) = (Buckets::new(&BOUNDS), Buckets::new(&BOUNDS));
        for micros in [0, 10_000, 10_001] {
            alone.record(micros);
        }
        shared.record_shared(40_000_000);
        let reading = Reading::of(&BOUNDS, [&alone, &shared]);
        assert_eq!(reading.count(), 4);
        assert!((reading.sum_seconds() - 40.020_001).abs() < 1e-9);
        let counts = reading.buckets();
        assert_eq!((counts.len(), counts[0], counts[1], counts[9]), (10, (0.01, 2), (0.025, 1), (f64::INFINITY, 1)));
    }

    #[test]
    fn the_short_way_finds_the_bucket_that_a_search_finds() {
        let near = |value: u64| [value.saturating_sub(1), value, value.saturating_add(1)];
        let powers = (0..u64::BITS).map(|power| 1_u64 << power);
        for micros in MICROS.into_iter().chain(powers).chain([u64::MAX]).flat_map(near) {
            assert_eq!(BOUNDS.bucket(micros), MICROS.partition_point(|bound| *bound < micros), "{micros}");
        }
    }
}
