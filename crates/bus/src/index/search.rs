//! Finding a moment by the index: which sections of the stream hold it, and where in each.

use super::KeyframeAt;
use super::entries::{AHEAD, BEHIND, Entries, Entry};
use super::frames::{FrameHint, FrameSearch};
use super::log::LogReader;
use crate::BusError;
use lumenbus_frame::{Epoch, StreamId};
use lumenbus_wire::IndexPosition;

/// Sections looked at from the newest entry backwards, and from the moment backwards.
const MAX_SECTIONS: usize = 8;
/// Records of the index that are read before the frames are asked.
const MAX_INDEX_RECORDS: u64 = 64;
/// Entries followed backwards within a section.
const MAX_HOPS: usize = 4;
/// A moment this long before a section's last entry may be a few entries away.
const NEAR_NANOS: i64 = 30_000_000_000;
/// Places of a section that are looked at.
const MAX_PROBES: usize = 4;

/// An entry of a section in which a moment may be.
struct Candidate {
    member: Entry,
    /// The moment lies before this entry, not only after the section's beginning.
    is_within: bool,
    /// Newer entries of the section may follow.
    goes_on: bool,
    /// The epoch of the next newer section that is known; epochs between the two may have no entries.
    newer: Option<Epoch>,
}

impl Candidate {
    /// Whether frames of this epoch may be shown at a moment in or behind the section: behind it also those of a later
    /// session, which may have had no index.
    fn may_be(&self, epoch: Epoch, is_behind: bool) -> bool {
        let own = self.member.entry.id.epoch;
        epoch == own || (is_behind && epoch > own && self.newer.is_none_or(|newer| epoch < newer))
    }

    /// The index knows nothing after the moment.
    fn is_last_known(&self, place: &Place) -> bool {
        self.newer.is_none() && place.after.is_none()
    }
}

/// What a section has to do with a moment; where clocks were set, several have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It ended before.
    CameClose,
    /// It may come to it, or is where the moment is waited for.
    GoesOn,
    /// It has frames on both sides.
    Holds,
}

/// The entries known next to a moment.
struct Place {
    before: Option<Entry>,
    after: Option<Entry>,
    /// No keyframe lies between the entry before and the moment.
    is_exact: bool,
    /// Few keyframes do.
    is_near: bool,
}

impl Place {
    fn narrow(&mut self, entry: Entry, capture: i64) {
        let is_before = entry.capture() <= capture;
        let side = if is_before { &mut self.before } else { &mut self.after };
        let is_nearer = |known: &Entry| {
            if is_before { entry.at.offset >= known.at.offset } else { entry.at.offset <= known.at.offset }
        };
        if side.as_ref().is_none_or(is_nearer) {
            *side = Some(entry);
        }
    }

    fn judge(&mut self, capture: i64) {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return };
        self.is_near = after.entry.previous == Some(before.at) && after.capture() > capture;
        self.is_exact = self.is_near && !after.entry.is_thinned;
    }

    /// Between the entries known, as if they had been written evenly.
    fn next_offset(&self, member: &Entry, capture: i64) -> Option<i64> {
        let after = self.after.as_ref()?;
        let section = member.entry.section;
        let (low, low_capture) = match (&self.before, section.before) {
            (Some(before), _) => (before.at.offset, before.capture()),
            (None, Some(before)) if before.partition == member.at.partition => {
                (before.offset, section.first_capture_unix_nanos)
            }
            _ => (0, section.first_capture_unix_nanos),
        };
        let way = i128::from(after.at.offset.checked_sub(low)?.checked_sub(1)?);
        let whole = i128::from(after.capture()) - i128::from(low_capture);
        let part = i128::from(capture) - i128::from(low_capture);
        let step = way * part.max(0) / whole.max(1);
        i64::try_from(i128::from(low) + 1 + step.min(way)).ok()
    }
}

/// The index and the frames of one stream.
pub(super) struct Search<'a> {
    pub(super) log: &'a mut LogReader,
    pub(super) topic: &'a str,
    pub(super) partitions: u32,
    pub(super) stream: &'a StreamId,
    /// When the stream ended or went off, as the directory says.
    pub(super) stopped_millis: Option<i64>,
}

impl Search<'_> {
    pub(super) fn entries(&mut self) -> Entries<'_> {
        Entries { log: self.log, topic: self.topic, partitions: self.partitions, stream: self.stream }
    }

    fn frames(&mut self) -> FrameSearch<'_> {
        FrameSearch { log: self.log, stream: self.stream }
    }

    /// The keyframes at or before a moment, newest first; `frame_partition` is where the stream is now.
    pub(super) fn find(&mut self, frame_partition: u32, capture_unix_nanos: i64) -> Result<Vec<KeyframeAt>, BusError> {
        let candidates = self.candidates(frame_partition, capture_unix_nanos)?;
        let has_within = candidates.iter().any(|candidate| candidate.is_within);
        let mut found: Vec<(KeyframeAt, Claim)> = Vec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.is_within || candidate.goes_on || !has_within) {
            let Some(keyframe) = self.within(candidate, frame_partition, capture_unix_nanos)? else { continue };
            if found.iter().any(|(known, _)| known.id == keyframe.id) {
                continue;
            }
            let holds = candidate.is_within
                || (candidates.len() > 1 && self.frames().is_passed(&keyframe, capture_unix_nanos)?);
            let claim = match (holds, candidate.goes_on) {
                (true, _) => Claim::Holds,
                (false, true) => Claim::GoesOn,
                (false, false) => Claim::CameClose,
            };
            found.push((keyframe, claim));
        }
        let best = found.iter().map(|(_, claim)| *claim).max();
        found.retain(|(_, claim)| Some(*claim) == best);
        if best == Some(Claim::CameClose) {
            // Between two sections the picture stays that of the one that came closest.
            found.sort_by_key(|(keyframe, _)| std::cmp::Reverse(keyframe.capture_unix_nanos));
            found.truncate(1);
        }
        Ok(found.into_iter().map(|(keyframe, _)| keyframe).collect())
    }

    /// Entries of sections that may hold the moment, newest section first.
    fn candidates(&mut self, frame_partition: u32, capture: i64) -> Result<Vec<Candidate>, BusError> {
        let mut found = Vec::new();
        let partition = self.entries().partition_of(frame_partition);
        let newest = self.entries().newest(partition)?;
        let has_newest = newest.is_some();
        let is_whole = match newest {
            Some(newest) => self.walk(newest, capture, &mut found)?,
            None => false,
        };
        if !is_whole || found.is_empty() {
            // The stream is silent, sparse among others, or has many sections: from the moment itself.
            let around = self.entries().around(partition, capture / 1_000_000)?;
            let near = match around.after.or(around.before) {
                None if !has_newest => self.last_entry(partition)?,
                near => near,
            };
            if let Some(near) = near {
                self.walk(near, capture, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The entry with which a stream ended that has been silent since, beside others.
    fn last_entry(&mut self, partition: i32) -> Result<Option<Entry>, BusError> {
        if let Some(millis) = self.stopped_millis {
            let offset = self.entries().offset_at(partition, millis)?;
            let found = self.entries().last_before(partition, offset)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let end = self.entries().end(partition)?;
        self.entries().last_before(partition, end)
    }

    /// From a section to those before it, as long as they may hold the moment; whether none was left out.
    fn walk(&mut self, newest: Entry, capture: i64, found: &mut Vec<Candidate>) -> Result<bool, BusError> {
        let (mut cursor, mut closest, mut newer) = (Some(newest), i64::MIN, None);
        for step in 0..MAX_SECTIONS {
            let Some(member) = cursor else { return Ok(false) };
            let section = member.entry.section;
            let is_known = found.iter().any(|known| known.member.is_in_section_of(&member));
            if !is_known && capture >= section.first_capture_unix_nanos {
                // The first one is the newest of all, or goes on behind the entry.
                let (is_within, goes_on) = (capture <= member.capture(), step == 0);
                closest = closest.max(member.capture());
                found.push(Candidate { member: member.clone(), is_within, goes_on, newer });
            }
            newer = Some(member.entry.id.epoch);
            let least = if found.iter().any(|candidate| candidate.is_within) { capture } else { closest };
            let may_be_before = section.newest_before_unix_nanos.is_some_and(|newest| newest >= least);
            let Some(before) = section.before.filter(|_| may_be_before) else { return Ok(true) };
            cursor = self.entries().at(before)?;
        }
        Ok(false)
    }

    /// The keyframe of a moment in the section of this entry, checked at the frame itself.
    fn within(
        &mut self,
        candidate: &Candidate,
        frame_partition: u32,
        capture: i64,
    ) -> Result<Option<KeyframeAt>, BusError> {
        let (member, stopped) = (&candidate.member, self.stopped_millis);
        let mut place = self.place(member, capture)?;
        self.confirm(&mut place)?;
        let mut found = None;
        if let Some(entry) = &place.before {
            found = self.verify(entry)?;
            if found.is_some() && place.is_exact {
                return Ok(found);
            }
        }
        let partition = i32::try_from(member.entry.partition).unwrap_or(i32::MAX);
        let mut is_reached = false;
        let exact = match &found {
            // Keyframes behind the newest entry, or between two of stills.
            Some(found) if place.is_near => {
                let upto = self.frames().last_upto(partition, found.offset, capture)?;
                is_reached = upto.has_reached;
                upto.found
            }
            _ => None,
        };
        // Sparse among others, or wrong.
        let exact = match exact {
            Some(exact) if is_reached => Some(exact),
            _ if is_reached => None,
            _ => {
                let offset = |entry: &Entry| i64::try_from(entry.entry.offset).unwrap_or(i64::MAX);
                let from = place.before.as_ref().filter(|_| found.is_some()).map_or(0, offset);
                let until = place.after.as_ref().map_or(i64::MAX, offset);
                let hint = FrameHint { append_millis: member.append_millis_of(capture), from, until };
                match self.frames().at_or_stopped(partition, capture, hint, stopped)? {
                    // Silent since, but not at once after the entry.
                    None if found.is_some() && place.after.is_none() => {
                        self.frames().last_upto(partition, from, capture)?.found
                    }
                    exact => exact,
                }
            }
        };
        let exact = exact.filter(|exact| {
            let is_newer = found.as_ref().is_none_or(|found| exact.id > found.id);
            is_newer && candidate.may_be(exact.id.epoch, place.after.is_none())
        });
        // Moved since, and nothing is known of it there.
        let elsewhere = i32::try_from(frame_partition).ok().filter(|elsewhere| *elsewhere != partition);
        if let (true, Some(elsewhere)) = (exact.is_none() && candidate.is_last_known(&place), elsewhere) {
            let hint = FrameHint::of(capture);
            let newer = self.frames().at_or_stopped(elsewhere, capture, hint, stopped)?;
            if let Some(newer) = newer.filter(|newer| newer.id.epoch > member.entry.id.epoch) {
                return Ok(Some(newer));
            }
        }
        Ok(exact.or(found))
    }

    /// An entry after the moment says nothing of what lies before it unless its keyframe is there.
    fn confirm(&mut self, place: &mut Place) -> Result<(), BusError> {
        if let Some(after) = place.after.clone()
            && self.verify(&after)?.is_none()
        {
            (place.after, place.is_exact, place.is_near) = (None, false, false);
        }
        Ok(())
    }

    /// Where a moment is among the entries of a section, as far as a few looks at the index tell.
    fn place(&mut self, member: &Entry, capture: i64) -> Result<Place, BusError> {
        if member.capture() <= capture {
            let is_near = capture.saturating_sub(member.capture()) <= NEAR_NANOS;
            return Ok(Place { before: Some(member.clone()), after: None, is_exact: false, is_near });
        }
        let partition = i32::try_from(member.at.partition).unwrap_or(i32::MAX);
        let mut place = Place { before: None, after: Some(member.clone()), is_exact: false, is_near: false };
        let mut offset = self.entries().offset_at(partition, member.append_millis_of(capture))?;
        for probe in 0..MAX_PROBES {
            if probe > 0 && !self.may_read(BEHIND + AHEAD) {
                break;
            }
            let mut has_ours = false;
            self.entries().read(partition, (offset - BEHIND, offset + AHEAD), |entry| {
                let is_ours = entry.is_in_section_of(member);
                has_ours |= is_ours;
                // The first entry of the next section, too, says that none is missing before it.
                if is_ours || place.before.as_ref().is_some_and(|before| entry.entry.previous == Some(before.at)) {
                    place.narrow(entry, capture);
                }
            })?;
            place.judge(capture);
            // Append times may mislead, as where a recording was sent in one go; offsets do not.
            if place.is_near || (!has_ours && probe > 0) {
                break;
            }
            let Some(next) = place.next_offset(member, capture) else { break };
            offset = next;
        }
        if !place.is_near {
            self.hop_back(&mut place, member, capture)?;
        }
        Ok(place)
    }

    /// Whether so many records more of the index are within what a lookup may take.
    fn may_read(&self, records: i64) -> bool {
        self.log.cost.index_records + records.unsigned_abs() <= MAX_INDEX_RECORDS
    }

    /// From the nearest entry after the moment towards it.
    fn hop_back(&mut self, place: &mut Place, member: &Entry, capture: i64) -> Result<(), BusError> {
        for _ in 0..MAX_HOPS {
            let Some(after) = place.after.as_ref().filter(|_| self.may_read(1)) else { break };
            if after.at == member.at && after.capture().saturating_sub(capture) > NEAR_NANOS {
                break;
            }
            let Some(previous) = after.entry.previous else { break };
            let found = self.entries().at(previous)?.filter(|before| before.is_in_section_of(member));
            let Some(found) = found else { break };
            place.narrow(found, capture);
            place.judge(capture);
            if place.is_near {
                break;
            }
        }
        Ok(())
    }

    /// The keyframe before this one, where the index has both; between two that it has others may have no entry.
    pub(super) fn before(&mut self, keyframe: &KeyframeAt) -> Result<Option<KeyframeAt>, BusError> {
        if let Some(previous) = keyframe.previous {
            return self.keyframe_at(previous);
        }
        let Some(entry) = self.entry_of(keyframe)? else { return Ok(None) };
        let Some(previous) = entry.entry.previous else { return Ok(None) };
        let known = self.keyframe_at(previous)?;
        if !entry.entry.is_thinned {
            return Ok(known);
        }
        let known = known.filter(|known| known.id < keyframe.id);
        let near = self.frames().before(keyframe)?.filter(|near| near.id < keyframe.id);
        match known {
            Some(known) if near.as_ref().is_none_or(|near| near.id < known.id) => {
                Ok(self.frames().last_below(&known, keyframe.id)?.or(Some(known)))
            }
            _ => Ok(near),
        }
    }

    /// The keyframe of the entry at this place.
    fn keyframe_at(&mut self, position: IndexPosition) -> Result<Option<KeyframeAt>, BusError> {
        match self.entries().at(position)? {
            Some(entry) => self.verify(&entry),
            None => Ok(None),
        }
    }

    /// The entry of a keyframe that was found by the frames.
    fn entry_of(&mut self, keyframe: &KeyframeAt) -> Result<Option<Entry>, BusError> {
        let (Some(append_millis), Ok(partition)) = (keyframe.append_unix_millis, u32::try_from(keyframe.partition))
        else {
            return Ok(None);
        };
        let partition = self.entries().partition_of(partition);
        let offset = self.entries().offset_at(partition, append_millis)?;
        let mut found = None;
        self.entries().read(partition, (offset - BEHIND, offset + AHEAD), |entry| {
            if entry.entry.id == keyframe.id {
                found = Some(entry);
            }
        })?;
        Ok(found)
    }

    /// The keyframe that an entry is about, if it is there.
    pub(super) fn verify(&mut self, entry: &Entry) -> Result<Option<KeyframeAt>, BusError> {
        let (Ok(partition), Ok(offset)) = (i32::try_from(entry.entry.partition), i64::try_from(entry.entry.offset))
        else {
            return Ok(None);
        };
        let found = self.frames().verify(partition, offset, entry.entry.id)?;
        let found = found.filter(|found| found.capture_unix_nanos == entry.capture());
        Ok(found.map(|found| KeyframeAt { previous: entry.previous(), ..found }))
    }
}
