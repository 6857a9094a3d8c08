//! What a stream's core says of itself: to the directory, and in numbers.

use crate::publisher::core::{StreamCore, Unit, UnitKind};
use lumenbus_frame::{Epoch, Gap, Seq, SeqRange};
use lumenbus_lanes::DropCounts;
use lumenbus_wire::Moved;

/// What the directory entry of a stream says on a topic without control records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryFacts {
    pub(crate) epoch: Epoch,
    pub(crate) partition: u32,
    pub(crate) moved_from: Option<u32>,
    pub(crate) last_seq: Option<Seq>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) repeat: Option<SeqRange>,
    pub(crate) next_offset: Option<u64>,
    pub(crate) is_offline: bool,
}

/// Counts since the stream was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acknowledged_frames: u64,
    pub(crate) acknowledged_bytes: u64,
    pub(crate) records: u64,
    pub(crate) repeated_frames: u64,
    pub(crate) replaced_captures: u64,
    pub(crate) last_capture_offset_nanos: i64,
}

impl StreamCore {
    /// Whether the directory has to be told something now; once.
    pub(crate) fn take_entry_due(&mut self) -> bool {
        if self.is_entry_due && self.is_drained() {
            // Otherwise the entry may leave gaps out, and silence has to bring another one.
            self.entry_mark = self.newest().lane.mark();
        }
        std::mem::take(&mut self.is_entry_due)
    }

    /// What the entry has to say; with a move announced, what it will be.
    pub(crate) fn entry_facts(&self) -> EntryFacts {
        let run = self.newest();
        if let Some(moved) = self.pending_move {
            return EntryFacts { moved_from: self.moved_from, ..self.facts_moved(moved) };
        }
        let here = Moved { epoch: run.epoch, partition: run.partition };
        let mut facts = EntryFacts { moved_from: self.moved_from, ..self.facts_moved(here) };
        if self.is_pictures_only() {
            let settled = self.settled_seq();
            facts.gaps.extend_from_slice(&self.carried);
            run.collect_gaps(settled, &mut facts.gaps);
            facts.last_seq = run.last_seq();
            facts.repeat = run.idle_range().filter(|range| range.first <= settled);
            facts.next_offset = run.next_offset;
        }
        facts
    }

    /// What the entry says of an epoch that begins elsewhere: gaps and offsets are those of the present one.
    pub(crate) fn facts_moved(&self, to: Moved) -> EntryFacts {
        EntryFacts {
            epoch: to.epoch,
            partition: to.partition,
            moved_from: Some(self.partition()),
            last_seq: None,
            gaps: Vec::new(),
            repeat: None,
            next_offset: None,
            is_offline: self.is_offline,
        }
    }

    /// Below this every frame of the newest epoch is in the log, dropped or repeated. An entry must not tell what comes
    /// later: a reader that has read up to `next_offset` would pass over the frames in between, which are not there yet.
    fn settled_seq(&self) -> Seq {
        let run = self.newest();
        let is_open = |unit: &&Unit| unit.run == run.number && !unit.has_failed;
        let in_flight = self.units.iter().filter(is_open).map(|unit| unit.first).min();
        in_flight.map_or(run.front_seq(), |first| first.min(run.front_seq()))
    }

    /// The last seq submitted in the newest epoch, and one past its newest record.
    pub(crate) fn last(&self) -> (Option<Seq>, Option<u64>) {
        (self.newest().last_seq(), self.newest().next_offset)
    }

    /// Frames numbered so far.
    pub(crate) fn submitted(&self) -> u64 {
        self.past_submitted + self.runs.iter().map(|run| run.lane.next_seq().0).sum::<u64>()
    }

    /// Frames dropped so far, by reason.
    pub(crate) fn drops(&self) -> DropCounts {
        let mut drops = self.past_drops.clone();
        for run in &self.runs {
            drops.merge(run.lane.drops());
        }
        drops
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.lane.bytes()).sum()
    }

    pub(crate) fn queued_frames(&self) -> usize {
        self.runs.iter().map(|run| run.lane.len()).sum()
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Frames with the client or on the way there.
    pub(crate) fn in_flight_frames(&self) -> u64 {
        let frames = |unit: &Unit| match unit.kind {
            UnitKind::Frames if !unit.has_failed => unit.last.0 - unit.first.0 + 1,
            _ => 0,
        };
        self.units.iter().map(frames).sum()
    }

    /// Nothing waits and nothing is on its way.
    pub(crate) fn is_drained(&self) -> bool {
        self.units.len() == 0 && self.queued_frames() == 0
    }
}
