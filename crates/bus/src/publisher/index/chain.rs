//! One stream's entries: how each leads to the ones before.

use lumenbus_frame::{FrameId, StreamId};
use lumenbus_wire::{IndexEntry, IndexPosition, IndexSection};
use std::collections::VecDeque;

/// Keyframes of a stream that may wait for their entry; the oldest go first and are found by the frames.
const MAX_WAITING: usize = 256;
/// Streams whose every frame is a keyframe get no more entries than one in this time.
const THIN_NANOS: u64 = 1_000_000_000;

/// Keyframes of a section are no further apart: what is may be a clock that was set forward, or a hole.
const MAX_APART_NANOS: i64 = 60_000_000_000;

/// An acknowledged keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyframe {
    pub(crate) id: FrameId,
    pub(crate) capture_unix_nanos: i64,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Time or content jumps before it.
    pub(crate) is_jump: bool,
    /// Keyframes before it have no entry.
    pub(crate) is_thinned: bool,
}

/// A stream's keyframes on their way to the index; empty where nobody writes one.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) is_wanted: bool,
    waiting: VecDeque<Keyframe>,
    /// The last keyframe and when the last one got an entry.
    last: Option<(FrameId, u64)>,
    is_thinned: bool,
    /// Time or content jumped since the last keyframe.
    is_jump: bool,
}

impl Acknowledged {
    /// A frame behind a jump is in the log: the next keyframe begins a section.
    pub(crate) fn jumped(&mut self) {
        self.is_jump = true;
    }

    /// A keyframe is in the log; `monotonic_nanos` is now.
    pub(crate) fn add(&mut self, keyframe: Keyframe, monotonic_nanos: u64) {
        if !self.is_wanted {
            return;
        }
        let is_jump = std::mem::take(&mut self.is_jump) | keyframe.is_jump;
        let keyframe = Keyframe { is_jump, ..keyframe };
        let mut since = None;
        if let Some((last, entered)) = self.last {
            let follows = last.epoch == keyframe.id.epoch && last.seq.next() == keyframe.id.seq;
            since = (follows && !keyframe.is_jump).then(|| monotonic_nanos.saturating_sub(entered));
            if since.is_some_and(|since| since < THIN_NANOS) {
                self.last = Some((keyframe.id, entered));
                self.is_thinned = true;
                return;
            }
        }
        self.last = Some((keyframe.id, monotonic_nanos));
        let is_thinned = std::mem::take(&mut self.is_thinned);
        push(&mut self.waiting, Keyframe { is_thinned: is_thinned || since.is_some(), ..keyframe });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self) -> impl Iterator<Item = Keyframe> + '_ {
        self.waiting.drain(..)
    }
}

fn push(waiting: &mut VecDeque<Keyframe>, keyframe: Keyframe) {
    waiting.push_back(keyframe);
    if waiting.len() > MAX_WAITING {
        waiting.pop_front();
        if let Some(first) = waiting.front_mut() {
            first.is_thinned = true;
        }
    }
}

/// An entry that is in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) entry: IndexEntry,
    /// Absent when the broker did not say.
    pub(crate) at: Option<IndexPosition>,
}

/// A stream's entries, one on its way at a time.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) stream: StreamId,
    /// The partition in which the stream was before this publisher opened it, or this index, until its last entry was
    /// looked for.
    pub(crate) past_partition: Option<u32>,
    waiting: VecDeque<Keyframe>,
    on_its_way: Option<IndexEntry>,
    last: Option<Written>,
    /// Keyframes since the last entry have none.
    misses: bool,
}

impl Chain {
    pub(crate) fn new(stream: StreamId, past_partition: Option<u32>) -> Self {
        Self { stream, past_partition, waiting: VecDeque::new(), on_its_way: None, last: None, misses: false }
    }

    pub(crate) fn add(&mut self, keyframe: Keyframe) {
        push(&mut self.waiting, keyframe);
    }

    /// Goes on from the stream's last entry, of whoever wrote it; nobody knows what that session did not get into the index.
    pub(crate) fn goes_on_from(&mut self, last: Written) {
        self.last = Some(last);
        self.misses = true;
    }

    /// In an index that may hold nothing yet, or be the same: the last entry is looked for.
    pub(crate) fn begin_anew(&mut self) {
        self.misses |= self.on_its_way.take().is_some();
        if let Some(last) = self.last.take() {
            self.past_partition = Some(last.entry.partition);
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.on_its_way.is_none() && !self.waiting.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.on_its_way.is_none() && self.waiting.is_empty()
    }

    /// The next entry; it is on its way from now on.
    pub(crate) fn next(&mut self) -> Option<IndexEntry> {
        if !self.is_ready() {
            return None;
        }
        let keyframe = self.waiting.pop_front()?;
        let entry = self.entry(&keyframe);
        self.on_its_way = Some(entry.clone());
        Some(entry)
    }

    fn entry(&mut self, keyframe: &Keyframe) -> IndexEntry {
        let previous = self.last.as_ref().and_then(|last| last.at);
        let section = match &self.last {
            Some(Written { entry: last, .. })
                if last.id.epoch == keyframe.id.epoch
                    && last.partition == keyframe.partition
                    && last.capture_unix_nanos < keyframe.capture_unix_nanos
                    && keyframe.capture_unix_nanos.saturating_sub(last.capture_unix_nanos) <= MAX_APART_NANOS
                    && !keyframe.is_jump =>
            {
                last.section
            }
            last => {
                let newest = last.as_ref().map(|Written { entry, .. }| {
                    entry
                        .section
                        .newest_before_unix_nanos
                        .map_or(entry.capture_unix_nanos, |newest| newest.max(entry.capture_unix_nanos))
                });
                IndexSection {
                    first_capture_unix_nanos: keyframe.capture_unix_nanos,
                    before: previous,
                    newest_before_unix_nanos: newest,
                }
            }
        };
        IndexEntry {
            topic: self.stream.topic.clone(),
            stream: self.stream.name.clone(),
            id: keyframe.id,
            capture_unix_nanos: keyframe.capture_unix_nanos,
            partition: keyframe.partition,
            offset: keyframe.offset,
            bytes: keyframe.bytes,
            previous,
            section,
            is_thinned: keyframe.is_thinned | std::mem::take(&mut self.misses),
        }
    }

    /// What became of the entry on its way; `None`: it is not in the index.
    pub(crate) fn settled(&mut self, at: Option<Option<IndexPosition>>) {
        let Some(entry) = self.on_its_way.take() else { return };
        match at {
            Some(at) => self.last = Some(Written { entry, at }),
            None => self.misses = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Epoch, Seq, TopicName};

    const SECOND: i64 = 1_000_000_000;

    fn keyframe(epoch: u64, seq: u64, capture_seconds: i64) -> Keyframe {
        Keyframe {
            id: FrameId { epoch: Epoch(epoch), seq: Seq(seq) },
            capture_unix_nanos: capture_seconds * SECOND,
            partition: 3,
            offset: seq * 10,
            bytes: 1_000,
            is_jump: false,
            is_thinned: false,
        }
    }

    fn chain() -> Chain {
        let stream = StreamId::main("gate".parse().unwrap(), TopicName::new("raw_video").unwrap());
        Chain::new(stream, None)
    }

    fn write(chain: &mut Chain, keyframe: Keyframe, offset: u64) -> IndexEntry {
        chain.add(keyframe);
        let entry = chain.next().unwrap();
        assert!(chain.next().is_none(), "one at a time");
        chain.settled(Some(Some(IndexPosition { partition: 1, offset })));
        entry
    }

    fn at(offset: u64) -> Option<IndexPosition> {
        Some(IndexPosition { partition: 1, offset })
    }

    #[test]
    fn each_entry_leads_to_the_one_before_and_a_clock_set_back_begins_a_section() {
        let mut chain = chain();
        let first = write(&mut chain, keyframe(7, 0, 100), 50);
        assert_eq!((first.previous, first.section.before, first.begins_section()), (None, None, true));
        let second = write(&mut chain, keyframe(7, 30, 101), 52);
        assert_eq!((second.previous, second.section, second.begins_section()), (at(50), first.section, false));
        let back = write(&mut chain, keyframe(7, 60, 40), 60);
        assert_eq!((back.previous, back.section.before, back.begins_section()), (at(52), at(52), true));
        assert_eq!(back.section.newest_before_unix_nanos, Some(101 * SECOND));
        let moved = write(&mut chain, Keyframe { partition: 2, ..keyframe(8, 0, 45) }, 61);
        assert_eq!((moved.section.before, moved.section.newest_before_unix_nanos), (at(60), Some(101 * SECOND)));
        let jump = write(&mut chain, Keyframe { partition: 2, is_jump: true, ..keyframe(8, 9, 500) }, 62);
        assert_eq!((jump.section.before, jump.section.first_capture_unix_nanos), (at(61), 500 * SECOND));
    }

    #[test]
    fn an_entry_that_is_not_written_is_passed_over() {
        let mut chain = chain();
        write(&mut chain, keyframe(7, 0, 100), 50);
        chain.add(keyframe(7, 30, 101));
        chain.add(keyframe(7, 60, 102));
        chain.next().unwrap();
        chain.settled(None);
        let next = chain.next().unwrap();
        assert_eq!((next.id.seq, next.previous, next.is_thinned), (Seq(60), at(50), true));
        assert!(!chain.is_idle());
    }

    #[test]
    fn an_entry_that_is_lost_while_none_waits_is_told_by_the_next() {
        let mut chain = chain();
        write(&mut chain, keyframe(7, 0, 100), 50);
        chain.add(keyframe(7, 30, 101));
        chain.next().unwrap();
        chain.settled(None);
        let next = write(&mut chain, keyframe(7, 60, 102), 51);
        assert_eq!((next.previous, next.is_thinned), (at(50), true));
        assert!(!write(&mut chain, keyframe(7, 90, 103), 52).is_thinned, "told once");
    }

    #[test]
    fn the_first_entry_of_a_session_does_not_vouch_for_the_one_before() {
        let mut chain = chain();
        let entry = write(&mut Chain::new(chain.stream.clone(), None), keyframe(6, 30, 90), 40);
        chain.goes_on_from(Written { entry, at: at(40) });
        let first = write(&mut chain, keyframe(7, 0, 100), 50);
        assert_eq!((first.previous, first.section.before, first.is_thinned), (at(40), at(40), true));
        assert!(!write(&mut chain, keyframe(7, 30, 101), 51).is_thinned);
        assert!(!write(&mut self::chain(), keyframe(7, 0, 100), 50).is_thinned, "nothing was before it");
    }

    #[test]
    fn where_the_index_may_be_gone_the_last_entry_is_looked_for() {
        let mut chain = Chain::new(chain().stream, Some(7));
        chain.begin_anew();
        assert_eq!(chain.past_partition.take(), Some(7), "not looked for yet");
        let last = write(&mut chain, keyframe(7, 0, 100), 50);
        chain.add(keyframe(7, 30, 101));
        chain.next().unwrap();
        chain.begin_anew();
        assert_eq!(chain.past_partition.take(), Some(3));
        // It was not gone.
        chain.goes_on_from(Written { entry: last, at: at(50) });
        let next = write(&mut chain, keyframe(7, 60, 102), 51);
        assert_eq!((next.previous, next.begins_section(), next.is_thinned), (at(50), false, true));
    }

    #[test]
    fn what_waits_is_bounded_and_what_went_is_told() {
        let mut chain = chain();
        for seq in 0..1_000 {
            chain.add(keyframe(7, seq * 30, seq.try_into().unwrap()));
        }
        let first = chain.next().unwrap();
        assert_eq!((first.id.seq.0, first.is_thinned), (30 * (1_000 - MAX_WAITING as u64), true));
    }

    #[test]
    fn stills_get_an_entry_a_second_and_video_one_a_keyframe() {
        let add = |frames: u64, step: u64, nanos: u64| {
            let mut acknowledged = Acknowledged { is_wanted: true, ..Acknowledged::default() };
            for frame in 0..frames {
                let now = frame * nanos;
                acknowledged.add(keyframe(7, frame * step, frame.try_into().unwrap()), now);
            }
            acknowledged.take().collect::<Vec<_>>()
        };
        let video = add(40, 30, 40_000_000);
        assert_eq!((video.len(), video.iter().any(|keyframe| keyframe.is_thinned)), (40, false));
        let stills = add(60, 1, 40_000_000);
        assert_eq!(stills.iter().map(|still| still.id.seq.0).collect::<Vec<_>>(), [0, 25, 50]);
        assert_eq!(stills.iter().map(|still| still.is_thinned).collect::<Vec<_>>(), [false, true, true]);
        assert!(!Acknowledged::default().is_wanted, "nobody collects what nobody takes");
    }
}
