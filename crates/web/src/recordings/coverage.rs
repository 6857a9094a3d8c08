//! Where there is footage between two moments, as a page draws it.

use super::{Cancel, Recordings, Refused};
use crate::hub::{KnownGap, millis};
use lumenbus_bus::index::{Coverage, Span};
use lumenbus_bus::playback::Player;
use lumenbus_frame::StreamId;
use serde_json::{Value, json};

/// Nothing is recorded before 1970.
const BEGINNING: i64 = 0;
/// A loss belongs to the hole whose edges it is this near to: it is told with the first frame after it.
const SLACK_NANOS: i64 = 5_000_000_000;
/// Where a span ends is an estimate: nearer ones are one, and what is missing there was told by the publisher.
const ESTIMATE_NANOS: i64 = 2_000_000_000;
/// Keyframes looked at for where a stream begins.
const FEW: usize = 2;
/// Looks for older footage than the oldest known: each is through a stretch that is a hundredth of the one before.
const MAX_LOOKS: usize = 4;

/// A stretch of time, Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) n: u16,
    pub(super) stream: StreamId,
    pub(super) stretch: Stretch,
    /// Keyframes told; more are thinned.
    pub(super) most_keyframes: usize,
    /// Losses that the viewer has seen, oldest first.
    pub(super) gaps: Vec<KnownGap>,
    /// Capture time of the newest frame that the viewer has.
    pub(super) newest: Option<i64>,
}

pub(super) fn of(
    recordings: &Recordings,
    player: &mut Player,
    question: &Question,
    cancel: &Cancel,
) -> Result<Value, Refused> {
    let Question { n, stream, stretch, .. } = question;
    let found = player.index().coverage(stream, stretch.from, stretch.to, question.most_keyframes)?;
    if cancel.is_set() {
        return Err(Refused::Cancelled);
    }
    let extent = match recordings.extent(*n) {
        Some(known) => known,
        None => {
            let until = stretch.to.max(now_nanos());
            let extent = extent(until, |until| player.index().coverage(stream, BEGINNING, until, FEW))?;
            recordings.set_extent(*n, extent);
            extent
        }
    };
    Ok(told(question, &found, extent))
}

/// From the oldest to the newest footage. Of a long recording samples are looked at: before the oldest one of them
/// there may be more.
fn extent<E>(until: i64, mut look: impl FnMut(i64) -> Result<Coverage, E>) -> Result<Option<Stretch>, E> {
    let all = look(until)?;
    let Some((first, last)) = all.spans.first().zip(all.spans.last()) else { return Ok(None) };
    let (mut from, mut is_known) = (first.from_unix_nanos, all.is_complete);
    for _ in 0..MAX_LOOKS {
        if is_known {
            break;
        }
        let before = look(from)?;
        match before.spans.first() {
            Some(first) if first.from_unix_nanos < from => from = first.from_unix_nanos,
            _ => break,
        }
        is_known = before.is_complete;
    }
    Ok(Some(Stretch { from, to: last.to_unix_nanos }))
}

fn now_nanos() -> i64 {
    crate::hub::now_micros().saturating_mul(1_000)
}

fn as_millis(nanos: i64) -> f64 {
    millis(nanos / 1_000)
}

fn told(question: &Question, found: &Coverage, extent: Option<Stretch>) -> Value {
    let oldest = extent.map(|extent| extent.from);
    // A camera that has been silent since before the stretch has recorded all the same.
    let ends = [found.spans.last().map(|span| span.to_unix_nanos), extent.map(|extent| extent.to), question.newest];
    let newest = ends.into_iter().max().flatten().filter(|_| oldest.is_some());
    let footage = joined_to_now(&found.spans, question);
    let spans = footage.iter().map(|span| json!({ "from_ms": as_millis(span.from), "to_ms": as_millis(span.to) }));
    // What was not looked at is no gap.
    let is_known = |(_, reason): &(Stretch, Option<Reason>)| found.is_complete || reason.is_some();
    let gaps = holes(&footage, oldest, question).into_iter().filter(is_known).map(|(hole, gap)| {
        let (reason, frames) = gap.unwrap_or(("unknown", None));
        json!({ "from_ms": as_millis(hole.from), "to_ms": as_millis(hole.to), "reason": reason, "frames": frames })
    });
    json!({
        "n": question.n,
        "from_ms": as_millis(question.stretch.from),
        "to_ms": as_millis(question.stretch.to),
        "oldest_ms": oldest.map(as_millis),
        "newest_ms": newest.map(as_millis),
        "footage": spans.collect::<Vec<_>>(),
        "gaps": gaps.collect::<Vec<_>>(),
        "keyframes": found.keyframes.iter().map(|keyframe| as_millis(keyframe.capture_unix_nanos)).collect::<Vec<_>>(),
        "are_keyframes_thinned": found.keyframes.len() >= question.most_keyframes || !found.is_complete,
        "is_complete": found.is_complete,
    })
}

/// The last stretch reaches as far as the viewer has frames: the index knows of keyframes only.
fn joined_to_now(spans: &[Span], question: &Question) -> Vec<Stretch> {
    let mut footage: Vec<Stretch> = Vec::new();
    for span in spans {
        let Span { from_unix_nanos: from, to_unix_nanos: to } = *span;
        match footage.last_mut() {
            Some(last) if from.saturating_sub(last.to) < ESTIMATE_NANOS => last.to = last.to.max(to),
            _ => footage.push(Stretch { from, to }),
        }
    }
    if let (Some(last), Some(newest)) = (footage.last_mut(), question.newest) {
        let is_close = newest.saturating_sub(last.to) < SLACK_NANOS * 3;
        if is_close && newest <= question.stretch.to {
            last.to = last.to.max(newest);
        }
    }
    footage
}

type Reason = (&'static str, Option<u64>);

/// What lies between, with its reason where the viewer has seen the loss; and losses within footage.
fn holes(footage: &[Stretch], oldest: Option<i64>, question: &Question) -> Vec<(Stretch, Option<Reason>)> {
    let mut edges: Vec<Stretch> = Vec::new();
    let begin = question.stretch.from.max(oldest.unwrap_or(question.stretch.to));
    let mut at = begin;
    for span in footage {
        if span.from > at {
            edges.push(Stretch { from: at, to: span.from });
        }
        at = at.max(span.to);
    }
    let mut named = Vec::new();
    let mut used = vec![false; question.gaps.len()];
    for hole in edges {
        let mut reason: Option<Reason> = None;
        for (gap, used) in question.gaps.iter().zip(&mut used) {
            let touches = gap.at_nanos >= hole.from - SLACK_NANOS && gap.at_nanos <= hole.to + SLACK_NANOS;
            if touches && !*used {
                *used = true;
                let frames = reason.and_then(|(_, frames)| frames).unwrap_or(0).saturating_add(gap.frames.unwrap_or(0));
                reason = Some((gap.reason, (frames > 0).then_some(frames)));
            }
        }
        named.push((hole, reason));
    }
    let within = question.gaps.iter().zip(used).filter(|(_, used)| !used).map(|(gap, _)| {
        let hole = Stretch { from: gap.at_nanos.saturating_sub(gap.length_nanos), to: gap.at_nanos };
        (hole, Some((gap.reason, gap.frames)))
    });
    named.extend(within.filter(|(hole, _)| hole.to >= question.stretch.from && hole.from <= question.stretch.to));
    named.sort_by_key(|(hole, _)| hole.from);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn question(from: i64, to: i64, gaps: Vec<KnownGap>, newest: Option<i64>) -> Question {
        let stream = StreamId::main("gate".parse().unwrap(), "raw_video".parse().unwrap());
        let stretch = Stretch { from: from * SECOND, to: to * SECOND };
        Question { n: 0, stream, stretch, most_keyframes: 100, gaps, newest }
    }

    fn spans(of: &[(i64, i64)]) -> Vec<Span> {
        of.iter().map(|(from, to)| Span { from_unix_nanos: from * SECOND, to_unix_nanos: to * SECOND }).collect()
    }

    fn gap(at: i64, frames: u64) -> KnownGap {
        KnownGap { at_nanos: at * SECOND, length_nanos: SECOND, reason: "source-lost", frames: Some(frames) }
    }

    #[test]
    fn what_lies_between_is_a_gap_with_its_reason_where_that_is_known() {
        let question = question(0, 100, vec![gap(41, 250)], None);
        let footage = joined_to_now(&spans(&[(10, 30), (40, 60), (80, 90)]), &question);
        let named = holes(&footage, Some(10 * SECOND), &question);
        let seconds: Vec<_> = named.iter().map(|(hole, of)| (hole.from / SECOND, hole.to / SECOND, *of)).collect();
        assert_eq!(seconds, [(30, 40, Some(("source-lost", Some(250)))), (60, 80, None)]);
    }

    #[test]
    fn nothing_is_a_gap_before_the_oldest_footage_nor_after_the_newest() {
        let question = question(0, 100, Vec::new(), None);
        assert!(holes(&joined_to_now(&spans(&[(50, 60)]), &question), Some(50 * SECOND), &question).is_empty());
        assert!(holes(&[], None, &question).is_empty());
    }

    #[test]
    fn a_loss_within_footage_is_a_gap_of_its_own() {
        let question = question(0, 100, vec![gap(55, 25)], None);
        let named = holes(&joined_to_now(&spans(&[(10, 90)]), &question), Some(10 * SECOND), &question);
        assert_eq!(named, [(Stretch { from: 54 * SECOND, to: 55 * SECOND }, Some(("source-lost", Some(25))))]);
    }

    #[test]
    fn spans_whose_ends_are_estimates_are_one() {
        let question = question(0, 100, Vec::new(), None);
        let footage = joined_to_now(&spans(&[(10, 30), (31, 60), (63, 70)]), &question);
        assert_eq!(footage.len(), 2, "{footage:?}");
        assert_eq!(holes(&footage, Some(10 * SECOND), &question).len(), 1);
    }

    #[test]
    fn a_silent_camera_has_recorded_all_the_same() {
        let long_after = question(500, 600, Vec::new(), None);
        let extent = Stretch { from: 10 * SECOND, to: 90 * SECOND };
        let told = told(&long_after, &Coverage::default(), Some(extent));
        assert_eq!((&told["oldest_ms"], &told["newest_ms"]), (&json!(10_000.0), &json!(90_000.0)));
        assert_eq!(super::told(&long_after, &Coverage::default(), None)["newest_ms"], json!(null));
    }

    #[test]
    fn the_oldest_footage_is_older_than_the_oldest_sample() {
        // A keyframe each second from second 10 on; of more than 100 s, each hundredth part is looked at.
        let mut looks = 0;
        let mut look = |until: i64| {
            looks += 1;
            let length = until - 10 * SECOND;
            let is_complete = length <= 100 * SECOND;
            let apart = if is_complete { SECOND } else { length / 100 };
            let from_unix_nanos = 10 * SECOND + if is_complete { 0 } else { apart };
            let span = Span { from_unix_nanos, to_unix_nanos: until };
            let mut coverage = Coverage::default();
            (coverage.spans, coverage.is_complete) = (vec![span], is_complete);
            Ok::<_, Refused>(coverage)
        };
        let long = extent(500_000 * SECOND, &mut look).unwrap();
        assert_eq!(long, Some(Stretch { from: 10 * SECOND, to: 500_000 * SECOND }));
        let short = extent(100 * SECOND, &mut look).unwrap();
        assert_eq!(short, Some(Stretch { from: 10 * SECOND, to: 100 * SECOND }));
        assert_eq!(looks, 4, "a recording that was looked through is not looked at again");
        assert_eq!(extent(SECOND, |_| Ok::<_, Refused>(Coverage::default())).unwrap(), None);
    }

    #[test]
    fn footage_reaches_as_far_as_the_viewer_has_frames() {
        let near = question(0, 100, Vec::new(), Some(95 * SECOND));
        assert_eq!(joined_to_now(&spans(&[(10, 90)]), &near)[0].to, 95 * SECOND);
        let far = question(0, 1_000, Vec::new(), Some(500 * SECOND));
        assert_eq!(joined_to_now(&spans(&[(10, 90)]), &far)[0].to, 90 * SECOND);
    }
}
