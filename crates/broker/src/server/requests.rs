//! How often each API and version was asked for, how long its answers took, and which were errors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::api::{APIS, Api};

/// One API that the broker speaks, and how often it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiRequests {
    /// Its name in Kafka's protocol.
    pub api: String,
    /// Its number in Kafka's protocol.
    pub key: i16,
    /// Lowest version that clients are told of.
    pub advertised_min: i16,
    /// Lowest version that is understood.
    pub min: i16,
    /// Highest version.
    pub max: i16,
    /// Well-formed requests since the start, one number for each version from `min` to `max`.
    pub requests: Vec<u64>,
    /// Requests whose answer held an error code, for the whole or a part, or that ended their connection.
    pub errors: u64,
    /// From the request's last byte to its answer, waiting included.
    pub times: RequestTimes,
}

/// How long answers took.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTimes {
    /// All together.
    pub total: Duration,
    /// How many took at most as long as each of [`RequestTimes::BOUNDS`] and longer than the one before; the last number
    /// is that of those that took longer.
    pub counts: [u64; RequestTimes::BOUNDS.len() + 1],
}

impl RequestTimes {
    /// Upper bounds.
    pub const BOUNDS: [Duration; 5] = [
        Duration::from_millis(1),
        Duration::from_millis(10),
        Duration::from_millis(100),
        Duration::from_secs(1),
        Duration::from_secs(10),
    ];
}

impl ApiRequests {
    /// The versions that were asked for at least once.
    pub fn used_versions(&self) -> impl Iterator<Item = i16> + '_ {
        (self.min..=self.max).zip(&self.requests).filter(|(_, count)| **count > 0).map(|(version, _)| version)
    }
}

/// Counters, one set per API, of fixed number.
#[derive(Debug)]
pub(crate) struct Requests {
    counters: Vec<Counters>,
}

#[derive(Debug)]
struct Counters {
    versions: Vec<AtomicU64>,
    errors: AtomicU64,
    total_micros: AtomicU64,
    times: [AtomicU64; RequestTimes::BOUNDS.len() + 1],
}

impl Counters {
    fn new(api: &Api) -> Self {
        Self {
            versions: (api.min..=api.max).map(|_| AtomicU64::new(0)).collect(),
            errors: AtomicU64::new(0),
            total_micros: AtomicU64::new(0),
            times: Default::default(),
        }
    }

    fn times(&self) -> RequestTimes {
        RequestTimes {
            total: Duration::from_micros(self.total_micros.load(Ordering::Relaxed)),
            counts: self.times.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self { counters: APIS.iter().map(Counters::new).collect() }
    }
}

impl Requests {
    /// A request of this API and version came.
    pub(crate) fn count(&self, api: &Api, version: i16) {
        let versions = self.of(api).map(|counters| &counters.versions);
        let counter = usize::try_from(version - api.min).ok().and_then(|index| versions?.get(index));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request of this API was answered.
    pub(crate) fn answered(&self, api: &Api, took: Duration, is_failure: bool) {
        let Some(counters) = self.of(api) else { return };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = RequestTimes::BOUNDS.partition_point(|bound| *bound < took);
        counters.total_micros.fetch_add(micros, Ordering::Relaxed);
        counters.times[bucket].fetch_add(1, Ordering::Relaxed);
        counters.errors.fetch_add(u64::from(is_failure), Ordering::Relaxed);
    }

    fn of(&self, api: &Api) -> Option<&Counters> {
        let position = APIS.iter().position(|one| one.key == api.key);
        position.and_then(|position| self.counters.get(position))
    }

    /// All of them, in the order of the table of APIs.
    pub(crate) fn snapshot(&self) -> Vec<ApiRequests> {
        let row = |(api, counters): (&Api, &Counters)| ApiRequests {
            api: format!("{:?}", api.key),
            key: api.key as i16,
            advertised_min: api.advertised_min,
            min: api.min,
            max: api.max,
            requests: counters.versions.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            errors: counters.errors.load(Ordering::Relaxed),
            times: counters.times(),
        };
        APIS.iter().zip(&self.counters).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_every_api_is_counted_by_itself() {
        let requests = Requests::default();
        for api in APIS {
            requests.count(api, api.max);
            requests.count(api, api.max + 1);
            requests.count(api, api.min - 1);
        }
        for (row, api) in requests.snapshot().iter().zip(APIS) {
            assert_eq!(row.used_versions().collect::<Vec<_>>(), [api.max], "{row:?}");
            assert_eq!((row.key, row.requests.iter().sum::<u64>()), (api.key as i16, 1));
        }
    }

    #[test]
    fn times_go_into_the_first_bucket_that_holds_them() {
        let requests = Requests::default();
        for (millis, is_failure) in [(0, false), (1, true), (2, false), (10_000, false), (10_001, true)] {
            requests.answered(&APIS[0], Duration::from_millis(millis), is_failure);
        }
        let row = &requests.snapshot()[0];
        assert_eq!((row.errors, row.times.total), (2, Duration::from_millis(20_004)));
        assert_eq!(row.times.counts, [2, 1, 0, 0, 1, 1]);
    }
}
