//! What a request names again and again: the answer must not grow with it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use kafka_protocol::ResponseError;

use super::{Refusal, refusal};

/// Each of them once, where it was named first.
pub(super) fn once_each<T: Clone + Eq + Hash>(named: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let mut seen = HashSet::new();
    named.into_iter().filter(move |one| seen.insert(one.clone()))
}

/// How often each thing to be changed is named. What is named twice is refused, once: which of the two is meant?
#[derive(Debug)]
pub(super) struct Mentions<K>(HashMap<K, usize>);

impl<K: Eq + Hash> FromIterator<K> for Mentions<K> {
    fn from_iter<I: IntoIterator<Item = K>>(named: I) -> Self {
        let mut times = HashMap::new();
        for one in named {
            *times.entry(one).or_default() += 1;
        }
        Self(times)
    }
}

impl<K: Eq + Hash> Mentions<K> {
    /// Whether it may be changed; `None` when that was asked before.
    pub(super) fn take(&mut self, one: &K) -> Option<Result<(), Refusal>> {
        Some(match self.0.remove(one)? {
            1 => Ok(()),
            _ => Err(refusal(ResponseError::InvalidRequest, "it is named twice in one request")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_again_is_told_once() {
        assert_eq!(once_each(["b", "a", "b", "c", "a"]).collect::<Vec<_>>(), ["b", "a", "c"]);
        let mut mentions: Mentions<&str> = ["b", "a", "b"].into_iter().collect();
        assert_eq!(mentions.take(&"a"), Some(Ok(())));
        assert!(matches!(mentions.take(&"b"), Some(Err((42, Some(_))))));
        assert_eq!((mentions.take(&"b"), mentions.take(&"a")), (None, None));
    }
}
