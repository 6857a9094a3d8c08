//! How often each API and version was asked for.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl ApiRequests {
    /// The versions that were asked for at least once.
    pub fn used_versions(&self) -> impl Iterator<Item = i16> + '_ {
        (self.min..=self.max).zip(&self.requests).filter(|(_, count)| **count > 0).map(|(version, _)| version)
    }
}

/// Counters, one per API and version, of fixed number.
#[derive(Debug)]
pub(crate) struct Requests {
    counters: Vec<Vec<AtomicU64>>,
}

impl Default for Requests {
    fn default() -> Self {
        let versions = |api: &Api| (api.min..=api.max).map(|_| AtomicU64::new(0)).collect();
        Self { counters: APIS.iter().map(versions).collect() }
    }
}

impl Requests {
    /// A request of this API and version came.
    pub(crate) fn count(&self, api: &Api, version: i16) {
        let position = APIS.iter().position(|one| one.key == api.key);
        let versions = position.and_then(|position| self.counters.get(position));
        let counter = usize::try_from(version - api.min).ok().and_then(|index| versions?.get(index));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of them, in the order of the table of APIs.
    pub(crate) fn snapshot(&self) -> Vec<ApiRequests> {
        let row = |(api, versions): (&Api, &Vec<AtomicU64>)| ApiRequests {
            api: format!("{:?}", api.key),
            key: api.key as i16,
            advertised_min: api.advertised_min,
            min: api.min,
            max: api.max,
            requests: versions.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
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
}
