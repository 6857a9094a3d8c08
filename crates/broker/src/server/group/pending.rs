//! Offsets committed within open transactions: seen by nobody until the transaction is committed.

use std::collections::{BTreeMap, HashMap};

use super::records::{Committed, TopicPartition};

/// A group's partition.
type At = (String, TopicPartition);

/// By producer id. What comes later in the log wins, whatever the order in which transactions end (as in Kafka), so an
/// offset is dropped here as soon as something later about its partition takes effect.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_producer: HashMap<i64, BTreeMap<At, (u64, Committed)>>,
    /// Counts what was added, to tell earlier from later.
    added: u64,
    count: usize,
}

impl Pending {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, producer_id: i64, group: &str, partition: TopicPartition, committed: Committed) {
        self.added += 1;
        let offsets = self.by_producer.entry(producer_id).or_default();
        let replaced = offsets.insert((group.to_owned(), partition), (self.added, committed));
        self.count += usize::from(replaced.is_none());
    }

    /// Adds what another partition of the log holds, of other groups.
    pub(super) fn absorb(&mut self, other: Self) {
        for (producer_id, offsets) in other.by_producer {
            let own = self.by_producer.entry(producer_id).or_default();
            own.extend(offsets.into_iter().map(|(at, (added, committed))| (at, (self.added + added, committed))));
        }
        self.added += other.added;
        self.count += other.count;
    }

    /// Whether an offset of this partition waits for the end of a transaction.
    pub(super) fn contains(&self, group: &str, partition: &TopicPartition) -> bool {
        let at = (group.to_owned(), partition.clone());
        self.by_producer.values().any(|offsets| offsets.contains_key(&at))
    }

    /// Ends a producer's transaction for the groups that `is_here` says; the caller keeps or drops what it held.
    pub(super) fn take(&mut self, producer_id: i64, is_here: impl Fn(&str) -> bool) -> Vec<(At, Committed)> {
        let ended = self.remove(producer_id, is_here);
        for (at, (added, _)) in &ended {
            self.drop_before(at, *added);
        }
        ended.into_iter().map(|(at, (_, committed))| (at, committed)).collect()
    }

    /// As [`Self::take`] for a transaction that is aborted: nothing takes effect.
    pub(super) fn discard(&mut self, producer_id: i64, is_here: impl Fn(&str) -> bool) {
        self.remove(producer_id, is_here);
    }

    fn remove(&mut self, producer_id: i64, is_here: impl Fn(&str) -> bool) -> BTreeMap<At, (u64, Committed)> {
        let offsets = self.by_producer.remove(&producer_id).unwrap_or_default();
        let (ended, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            offsets.into_iter().partition(|((group, _), _)| is_here(group));
        self.count -= ended.len();
        if !others.is_empty() {
            self.by_producer.insert(producer_id, others);
        }
        ended
    }

    /// Something else was decided about the partition.
    pub(super) fn forget(&mut self, group: &str, partition: &TopicPartition) {
        if self.count > 0 {
            self.drop_before(&(group.to_owned(), partition.clone()), u64::MAX);
        }
    }

    fn drop_before(&mut self, at: &At, added: u64) {
        for offsets in self.by_producer.values_mut() {
            if offsets.get(at).is_some_and(|(earlier, _)| *earlier < added) {
                offsets.remove(at);
                self.count -= 1;
            }
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &TopicPartition, &Committed)> {
        let all = self.by_producer.values().flatten();
        all.map(|((group, partition), (_, committed))| (group.as_str(), partition, committed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64) -> Committed {
        Committed { offset, leader_epoch: -1, metadata: String::new(), committed_ms: 0 }
    }

    fn at(partition: i32) -> TopicPartition {
        ("t".to_owned(), partition)
    }

    fn taken(pending: &mut Pending, producer_id: i64) -> Vec<(i32, i64)> {
        pending.take(producer_id, |_| true).into_iter().map(|((_, (_, partition)), c)| (partition, c.offset)).collect()
    }

    #[test]
    fn the_later_commit_wins_whatever_ends_first() {
        let mut pending = Pending::default();
        pending.add(1, "g", at(0), committed(10));
        pending.add(1, "g", at(1), committed(11));
        pending.add(2, "g", at(0), committed(20));
        assert!(pending.contains("g", &at(0)) && !pending.contains("other", &at(0)));
        assert_eq!(taken(&mut pending, 2), [(0, 20)]);
        assert_eq!(taken(&mut pending, 1), [(1, 11)]);
        assert_eq!(pending.count(), 0);
        pending.add(1, "g", at(0), committed(30));
        pending.add(2, "g", at(0), committed(40));
        assert_eq!(taken(&mut pending, 1), [(0, 30)]);
        assert_eq!(taken(&mut pending, 2), [(0, 40)]);
    }

    #[test]
    fn a_transaction_ends_for_each_part_of_the_log_by_itself() {
        let mut pending = Pending::default();
        pending.add(1, "here", at(0), committed(10));
        pending.add(1, "there", at(0), committed(11));
        pending.discard(1, |group| group == "here");
        assert_eq!((pending.count(), pending.contains("there", &at(0))), (1, true));
        assert_eq!(taken(&mut pending, 1), [(0, 11)]);
        assert_eq!(pending.count(), 0);
    }

    #[test]
    fn aborts_and_later_decisions_drop_offsets() {
        let mut pending = Pending::default();
        pending.add(1, "g", at(0), committed(10));
        pending.add(1, "g", at(0), committed(12));
        pending.add(2, "g", at(1), committed(20));
        assert_eq!(pending.count(), 2);
        pending.discard(2, |_| true);
        pending.forget("g", &at(0));
        assert_eq!((pending.count(), pending.contains("g", &at(0))), (0, false));
        assert!(taken(&mut pending, 1).is_empty());
    }
}
