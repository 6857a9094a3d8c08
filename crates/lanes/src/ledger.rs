//! Gaps that no acknowledged record has carried yet.

use lumenbus_frame::{Gap, GapReason, Seq};

/// More open gaps than this are merged with their neighbours; wire's limit is 1,024 a header.
const MAX_OPEN_GAPS: usize = 256;

/// A moment in the ledger's history; taken when a record is sent, given back when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LedgerMark(u64);

#[derive(Debug, Clone)]
struct Entry {
    gap: Gap,
    /// The ledger's history when this gap last changed.
    changed: u64,
}

/// Frames dropped, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DropCounts(Vec<(GapReason, u64)>);

impl DropCounts {
    /// Counts `frames` more.
    pub fn add(&mut self, reason: GapReason, frames: u64) {
        match self.0.iter_mut().find(|row| row.0 == reason) {
            Some(row) => row.1 = row.1.saturating_add(frames),
            None => self.0.push((reason, frames)),
        }
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        for (reason, frames) in other.iter() {
            self.add(reason, frames);
        }
    }

    /// How many for this reason.
    #[must_use]
    pub fn of(&self, reason: GapReason) -> u64 {
        self.0.iter().find(|row| row.0 == reason).map_or(0, |row| row.1)
    }

    /// All reasons together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|row| row.1).sum()
    }

    /// Reasons that occurred, in the order of their first occurrence.
    pub fn iter(&self) -> impl Iterator<Item = (GapReason, u64)> + '_ {
        self.0.iter().copied()
    }
}

/// Open gaps of one epoch, oldest first, never overlapping.
#[derive(Debug, Default)]
pub struct GapLedger {
    entries: Vec<Entry>,
    history: u64,
    drops: DropCounts,
}

impl GapLedger {
    /// Notes that `first..=last` will not come.
    ///
    /// Neighbours with the same reason become one gap.
    pub fn add(&mut self, gap: Gap) {
        self.history += 1;
        self.drops.add(gap.reason, gap.count().unwrap_or(0));
        let at = self.entries.partition_point(|entry| entry.gap.first < gap.first);
        self.entries.insert(at, Entry { gap, changed: self.history });
        self.merge_neighbours(at.saturating_sub(1));
        if self.entries.len() > MAX_OPEN_GAPS {
            self.merge_closest();
        }
    }

    /// A gap of one frame.
    pub fn add_one(&mut self, seq: Seq, reason: GapReason, is_discardable: bool) {
        self.add(Gap { is_discardable, ..Gap::new(seq, seq, reason) });
    }

    /// The gaps that belong before the frame `seq`, oldest first.
    pub fn before(&self, seq: Seq) -> impl Iterator<Item = &Gap> {
        self.entries.iter().map(|entry| &entry.gap).filter(move |gap| gap.last.is_none_or(|last| last < seq))
    }

    /// The present moment.
    #[must_use]
    pub fn mark(&self) -> LedgerMark {
        LedgerMark(self.history)
    }

    /// The record sent at `mark` before frame `seq` was acknowledged: what it carried is told.
    pub fn acknowledged(&mut self, seq: Seq, mark: LedgerMark) {
        let told = |entry: &Entry| entry.changed <= mark.0 && entry.gap.last.is_some_and(|last| last < seq);
        self.entries.retain(|entry| !told(entry));
    }

    /// Whether everything is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many frames were ever noted as missing.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.drops.total()
    }

    /// How many frames were ever noted as missing, by reason.
    #[must_use]
    pub fn drops(&self) -> &DropCounts {
        &self.drops
    }

    /// Takes the gaps from `base` on out and numbers them from there; one that spans it is cut in two.
    ///
    /// What was counted stays counted here.
    #[must_use]
    pub fn split_off(&mut self, base: Seq) -> Self {
        self.history += 1;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for Entry { gap, changed } in self.entries.drain(..) {
            let is_spanning = gap.last.is_none_or(|last| last >= base);
            if gap.first < base {
                let end = Seq(base.0 - 1);
                let last = if is_spanning { Some(end) } else { gap.last };
                before.push(Entry { gap: Gap { last, ..gap }, changed });
            }
            if is_spanning {
                let shift = |seq: Seq| Seq(seq.0.saturating_sub(base.0));
                let (first, last) = (shift(gap.first), gap.last.map(shift));
                after.push(Entry { gap: Gap { first, last, ..gap }, changed });
            }
        }
        self.entries = before;
        Self { entries: after, history: self.history, drops: DropCounts::default() }
    }

    fn merge_neighbours(&mut self, at: usize) {
        let mut index = at;
        while index + 1 < self.entries.len() && index <= at + 1 {
            let (left, right) = (&self.entries[index].gap, &self.entries[index + 1].gap);
            let touch = left.last.is_some_and(|last| last.next() == right.first);
            let same = left.reason == right.reason && left.is_discardable == right.is_discardable;
            if touch && same {
                self.merge_pair(index);
            } else {
                index += 1;
            }
        }
    }

    fn merge_pair(&mut self, index: usize) {
        let right = self.entries.remove(index + 1);
        let left = &mut self.entries[index];
        left.gap.last = right.gap.last;
        left.gap.is_discardable &= right.gap.is_discardable;
        left.changed = left.changed.max(right.changed);
    }

    /// The two gaps with the fewest delivered frames between them become one; a reader that has those frames
    /// ignores that part of the gap.
    fn merge_closest(&mut self) {
        let distance = |pair: &[Entry]| pair[1].gap.first.0.saturating_sub(pair[0].gap.last.map_or(0, |last| last.0));
        let closest =
            self.entries.windows(2).enumerate().min_by_key(|(_, pair)| distance(pair)).map(|(index, _)| index);
        if let Some(index) = closest {
            self.merge_pair(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(first: u64, last: u64) -> Gap {
        Gap::new(Seq(first), Seq(last), GapReason::Overflow)
    }

    #[test]
    fn a_gap_is_told_until_a_record_that_carried_it_is_acknowledged() {
        let mut ledger = GapLedger::default();
        ledger.add(gap(3, 5));
        let mark = ledger.mark();
        assert_eq!(ledger.before(Seq(6)).count(), 1);
        ledger.add(gap(8, 8));
        ledger.acknowledged(Seq(6), mark);
        assert_eq!(ledger.before(Seq(9)).copied().collect::<Vec<_>>(), [gap(8, 8)]);
    }

    #[test]
    fn a_gap_that_grew_after_the_record_was_sent_stays_open() {
        let mut ledger = GapLedger::default();
        ledger.add(gap(3, 3));
        let mark = ledger.mark();
        ledger.add(gap(4, 4));
        ledger.acknowledged(Seq(9), mark);
        assert_eq!(ledger.before(Seq(9)).copied().collect::<Vec<_>>(), [gap(3, 4)]);
    }

    #[test]
    fn neighbours_merge_in_any_order_and_reasons_stay_apart() {
        let mut ledger = GapLedger::default();
        ledger.add(gap(5, 5));
        ledger.add(gap(3, 3));
        ledger.add(gap(4, 4));
        ledger.add(Gap::new(Seq(6), Seq(6), GapReason::Expired));
        let gaps: Vec<_> = ledger.before(Seq(100)).copied().collect();
        assert_eq!(gaps, [gap(3, 5), Gap::new(Seq(6), Seq(6), GapReason::Expired)]);
        assert_eq!(ledger.dropped_frames(), 4);
    }

    #[test]
    fn the_ledger_is_bounded() {
        let mut ledger = GapLedger::default();
        for n in 0..10_000 {
            ledger.add_one(Seq(n * 3), GapReason::Overflow, false);
        }
        assert!(ledger.before(Seq(u64::MAX)).count() <= MAX_OPEN_GAPS);
        assert_eq!(ledger.dropped_frames(), 10_000);
    }
}
