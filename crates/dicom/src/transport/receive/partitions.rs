//! What of each partition is safe to commit. No I/O.

use crate::DicomError;
use crate::record::ObjectId;
use lumenbus_bus::objects::Bounds;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Objects that are remembered as dealt with, and as broken.
const REMEMBERED: usize = 1024;
/// Metadata whose last part is so many records behind its first one will not be completed: its sender is gone.
const ABANDONED_RECORDS: i64 = 10_000;

#[derive(Debug, Default)]
struct Partition {
    /// Everything below was dealt with, or is part of what is open.
    next: i64,
    /// First offsets of metadata that is not complete.
    open: HashMap<ObjectId, i64>,
}

/// This member's partitions.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    own: BTreeMap<i32, Partition>,
    known: Remembered,
    broken: HashMap<ObjectId, DicomError>,
}

#[derive(Debug, Default)]
struct Remembered {
    order: VecDeque<ObjectId>,
    set: HashSet<ObjectId>,
}

impl Remembered {
    fn insert(&mut self, object: ObjectId) {
        if self.set.insert(object) {
            self.order.push_back(object);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }
}

impl Partitions {
    pub(crate) fn assign(&mut self, partition: i32, next: i64) {
        self.own.insert(partition, Partition { next, open: HashMap::new() });
    }

    pub(crate) fn revoke(&mut self, gone: &[i32]) {
        self.own.retain(|partition, _| !gone.contains(partition));
    }

    pub(crate) fn len(&self) -> usize {
        self.own.len()
    }

    pub(crate) fn has(&self, partition: i32) -> bool {
        self.own.contains_key(&partition)
    }

    /// Whether a record is of a partition of this member, and not one that was dealt with.
    pub(crate) fn expects(&self, partition: i32, offset: i64) -> bool {
        self.own.get(&partition).is_some_and(|own| offset >= own.next)
    }

    /// Where the object's metadata begins.
    pub(crate) fn begin_part(&mut self, partition: i32, offset: i64, index: u32, object: ObjectId) -> i64 {
        let Some(own) = self.own.get_mut(&partition) else { return offset };
        if index == 0 && !self.known.set.contains(&object) {
            return *own.open.entry(object).or_insert(offset);
        }
        own.open.get(&object).copied().unwrap_or(offset)
    }

    /// The record at the offset is dealt with, and with its last part the object.
    pub(crate) fn done(&mut self, partition: i32, offset: i64, object: Option<ObjectId>) {
        if let Some(object) = object {
            self.known.insert(object);
            self.broken.remove(&object);
        }
        let Some(own) = self.own.get_mut(&partition) else { return };
        own.next = own.next.max(offset + 1);
        if let Some(object) = object {
            own.open.remove(&object);
        }
    }

    pub(crate) fn is_known(&self, object: ObjectId) -> bool {
        self.known.set.contains(&object)
    }

    /// Metadata that is broken is told once, with its last part, for the reason that was met first.
    pub(crate) fn reason(&mut self, object: ObjectId, error: DicomError, is_last: bool) -> Option<DicomError> {
        if is_last {
            return Some(self.broken.remove(&object).unwrap_or(error));
        }
        if self.broken.len() < REMEMBERED {
            self.broken.entry(object).or_insert(error);
        }
        None
    }

    /// Per partition, below which offset everything is safe.
    pub(crate) fn safe(&mut self) -> Vec<(i32, i64)> {
        let safe = |(&partition, own): (&i32, &mut Partition)| {
            let next = own.next;
            own.open.retain(|_, first| next - *first < ABANDONED_RECORDS);
            (partition, own.open.values().copied().min().unwrap_or(next))
        };
        self.own.iter_mut().map(safe).collect()
    }

    /// Whether everything below these ends is dealt with. What is open belongs to a sender at work, or a dead one.
    pub(crate) fn are_at(&self, ends: &BTreeMap<i32, Bounds>) -> bool {
        let is_at = |(partition, own): (&i32, &Partition)| ends.get(partition).is_none_or(|end| own.next >= end.end);
        !self.own.is_empty() && self.own.iter().all(is_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ObjectId = ObjectId::from_bytes([1; 16]);
    const B: ObjectId = ObjectId::from_bytes([2; 16]);

    #[test]
    fn nothing_is_safe_behind_metadata_that_is_not_complete() {
        let mut partitions = Partitions::default();
        partitions.assign(3, 10);
        assert_eq!(partitions.safe(), [(3, 10)]);
        assert_eq!(partitions.begin_part(3, 10, 0, A), 10);
        partitions.done(3, 10, None);
        assert_eq!(partitions.begin_part(3, 11, 0, B), 11);
        partitions.done(3, 11, Some(B));
        assert_eq!(partitions.safe(), [(3, 10)], "A is open");
        assert!(!partitions.expects(3, 11));
        assert_eq!(partitions.begin_part(3, 12, 1, A), 10);
        partitions.done(3, 12, Some(A));
        assert_eq!(partitions.safe(), [(3, 13)]);
        let ends = |end| BTreeMap::from([(3, Bounds { start: 0, end })]);
        assert!(partitions.are_at(&ends(13)) && !partitions.are_at(&ends(14)));
    }

    #[test]
    fn a_sender_that_died_holds_nothing_up_for_ever() {
        let mut partitions = Partitions::default();
        partitions.assign(0, 0);
        partitions.begin_part(0, 0, 0, A);
        partitions.done(0, 0, None);
        partitions.done(0, 500, None);
        assert_eq!(partitions.safe(), [(0, 0)]);
        partitions.done(0, ABANDONED_RECORDS, None);
        assert_eq!(partitions.safe(), [(0, ABANDONED_RECORDS + 1)]);
    }

    #[test]
    fn other_members_partitions_are_left_alone() {
        let mut partitions = Partitions::default();
        partitions.assign(0, 5);
        partitions.revoke(&[0]);
        partitions.done(0, 7, Some(A));
        assert!(partitions.safe().is_empty() && !partitions.expects(0, 8));
        assert!(!partitions.are_at(&BTreeMap::new()), "nothing was assigned");
    }

    #[test]
    fn what_is_broken_is_told_once_and_for_its_first_reason() {
        let mut partitions = Partitions::default();
        assert!(partitions.reason(A, DicomError::Framing, false).is_none());
        let later = DicomError::Foreign { header: "lbd" };
        assert!(matches!(partitions.reason(A, later, true), Some(DicomError::Framing)));
    }
}
