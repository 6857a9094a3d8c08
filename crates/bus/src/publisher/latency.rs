//! Latencies in fixed buckets: recording costs no allocation.

/// Sub-buckets of each power of two: a value is known to within 1/8.
const SUB_BUCKETS: usize = 8;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();
/// Up to 2^40 microseconds, about 12 days.
const BUCKETS: usize = (40 - SUB_BITS as usize + 1) * SUB_BUCKETS;

/// How long something took, counted in buckets of at most 1/8 relative width.
#[derive(Clone)]
pub(crate) struct LatencyBuckets {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    max_micros: u64,
}

impl std::fmt::Debug for LatencyBuckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.summary())
    }
}

impl Default for LatencyBuckets {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, max_micros: 0 }
    }
}

/// Latencies in microseconds; percentiles are upper bounds within 1/8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LatencySummary {
    /// How many were measured.
    pub count: u64,
    /// Half are at most this.
    pub p50_micros: u64,
    /// 90 % are at most this.
    pub p90_micros: u64,
    /// 99 % are at most this.
    pub p99_micros: u64,
    /// The largest one.
    pub max_micros: u64,
}

fn bucket_of(micros: u64) -> usize {
    if micros < SUB_BUCKETS as u64 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let exponent = micros.ilog2() - SUB_BITS;
    let sub = usize::try_from((micros >> exponent) & (SUB_BUCKETS as u64 - 1)).unwrap_or(0);
    ((exponent as usize + 1) * SUB_BUCKETS + sub).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (group, sub) = (bucket / SUB_BUCKETS, (bucket % SUB_BUCKETS) as u64);
    match group.checked_sub(1) {
        None => sub,
        Some(exponent) => ((SUB_BUCKETS as u64 + sub + 1) << exponent) - 1,
    }
}

impl LatencyBuckets {
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        let micros = nanos / 1_000;
        self.counts[bucket_of(micros)] += 1;
        self.total += 1;
        self.max_micros = self.max_micros.max(micros);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *own += theirs;
        }
        self.total += other.total;
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.total,
            p50_micros: self.percentile(50),
            p90_micros: self.percentile(90),
            p99_micros: self.percentile(99),
            max_micros: self.max_micros,
        }
    }

    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return upper_bound(bucket).min(self.max_micros);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percentile_is_right_within_an_eighth(mut micros in prop::collection::vec(0..10_000_000_u64, 1..200)) {
            let mut buckets = LatencyBuckets::default();
            for value in &micros {
                buckets.record_nanos(value * 1_000);
            }
            micros.sort_unstable();
            let exact = micros[(micros.len() * 90).div_ceil(100) - 1];
            let got = buckets.summary().p90_micros;
            prop_assert!(got >= exact && got <= exact + exact / 8, "{got} for {exact}");
            prop_assert_eq!(buckets.summary().max_micros, *micros.last().unwrap());
        }
    }

    #[test]
    fn nothing_measured_is_zero_and_the_largest_value_fits() {
        assert_eq!(LatencyBuckets::default().summary(), LatencySummary::default());
        let mut buckets = LatencyBuckets::default();
        buckets.record_nanos(u64::MAX);
        assert!(buckets.summary().p50_micros > 1 << 38);
    }
}
