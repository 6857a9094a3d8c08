//! When something is there at all.

use super::Interval;
use crate::Bounds;

/// The least part of the picture that somebody covers. Less is a sheet of paper that was moved, or an edge that
/// twitches.
pub const PRESENCE_AREA: f32 = 0.004;

/// Something came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEvent {
    /// In this picture, and not in the one before.
    Enter(u64),
    /// For the last time in this picture.
    Leave(u64),
}

impl PresenceEvent {
    /// Pictures between two events of one kind.
    fn distance(self, other: Self) -> Option<u64> {
        match (self, other) {
            (Self::Enter(one), Self::Enter(other)) | (Self::Leave(one), Self::Leave(other)) => {
                Some(one.abs_diff(other))
            }
            _ => None,
        }
    }
}

/// How well found intervals tell labelled ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresenceScore {
    /// Labelled events and the pictures between each and the found one; too late is as bad as too early.
    pub right: Vec<(PresenceEvent, u64)>,
    /// Labelled events without a found one near by.
    pub missed: Vec<PresenceEvent>,
    /// Found events without a labelled one near by.
    pub wrong: Vec<PresenceEvent>,
}

/// Whether one of the boxes found in a picture is large enough to be somebody ([`PRESENCE_AREA`]).
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a part of the picture")]
pub fn shows_somebody(found: &[Bounds], width: u32, height: u32) -> bool {
    let least = PRESENCE_AREA * width as f32 * height as f32;
    found.iter().any(|bounds| bounds.area() >= least)
}

/// The intervals in which something was seen, from the numbers of the pictures that it was seen in, rising. Up to
/// `bridge` pictures between two of them in which nothing was seen don't end an interval.
#[must_use]
pub fn presence_intervals(seen: &[u64], bridge: u64) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    for seq in seen {
        match intervals.last_mut() {
            Some(last) if *seq <= last.end + 1 + bridge => last.end = *seq,
            _ => intervals.push(Interval { begin: *seq, end: *seq }),
        }
    }
    intervals
}

/// Pairs events that are at most `tolerance` pictures from each other, the nearest first, each once.
#[must_use]
pub fn score_presence(labelled: &[Interval], found: &[Interval], tolerance: u64) -> PresenceScore {
    let (labelled, found) = (events(labelled), events(found));
    let mut pairs = Vec::new();
    for (row, label) in labelled.iter().enumerate() {
        let distances = found.iter().enumerate().filter_map(|(column, event)| Some((label.distance(*event)?, column)));
        pairs.extend(distances.filter(|(far, _)| *far <= tolerance).map(|(far, column)| (far, row, column)));
    }
    pairs.sort_unstable();
    let mut score = PresenceScore::default();
    let (mut is_found, mut is_right) = (vec![false; labelled.len()], vec![false; found.len()]);
    for (far, row, column) in pairs {
        if !is_found[row] && !is_right[column] {
            (is_found[row], is_right[column]) = (true, true);
            score.right.push((labelled[row], far));
        }
    }
    let rest = |events: &[PresenceEvent], is_paired: &[bool]| {
        events.iter().zip(is_paired).filter(|(_, is_paired)| !**is_paired).map(|(event, _)| *event).collect()
    };
    score.missed = rest(&labelled, &is_found);
    score.wrong = rest(&found, &is_right);
    score
}

fn events(intervals: &[Interval]) -> Vec<PresenceEvent> {
    intervals.iter().flat_map(|at| [PresenceEvent::Enter(at.begin), PresenceEvent::Leave(at.end)]).collect()
}

#[cfg(test)]
mod tests {
    use super::PresenceEvent::{Enter, Leave};
    use super::*;

    fn intervals<const N: usize>(ends: [(u64, u64); N]) -> Vec<Interval> {
        ends.into_iter().map(|(begin, end)| Interval { begin, end }).collect()
    }

    #[test]
    fn paper_is_nobody() {
        // A 250th of 100 x 100 pixels is 40.
        let check = |sides: &[(f32, f32)]| {
            let found: Vec<_> = sides.iter().map(|(width, height)| Bounds::new(0.0, 0.0, *width, *height)).collect();
            shows_somebody(&found, 100, 100)
        };
        assert!(check(&[(2.0, 3.0), (5.0, 9.0)]));
        assert!(!check(&[(2.0, 3.0), (4.0, 9.0)]) && !check(&[]));
    }

    #[test]
    fn short_gaps_are_bridged() {
        assert_eq!(presence_intervals(&[3, 4, 7, 8, 12], 2), intervals([(3, 8), (12, 12)]));
        assert_eq!(presence_intervals(&[3, 4, 7], 1), intervals([(3, 4), (7, 7)]));
        assert!(presence_intervals(&[], 5).is_empty());
    }

    #[test]
    fn events_are_matched_within_the_tolerance() {
        let labelled = intervals([(10, 50), (100, 150)]);
        // The first leaves 11 pictures late; somebody is seen in between; the second is exact but for 3 and 10.
        let score = score_presence(&labelled, &intervals([(12, 61), (70, 75), (97, 160)]), 10);
        assert_eq!(score.right, [(Enter(10), 2), (Enter(100), 3), (Leave(150), 10)]);
        assert_eq!(score.missed, [Leave(50)]);
        assert_eq!(score.wrong, [Leave(61), Enter(70), Leave(75)]);
    }

    #[test]
    fn an_event_stands_for_one_only() {
        let score = score_presence(&intervals([(10, 30)]), &intervals([(9, 28), (11, 30)]), 5);
        assert_eq!(score.right, [(Leave(30), 0), (Enter(10), 1)]);
        assert_eq!(score.wrong, [Leave(28), Enter(11)]);
    }
}
