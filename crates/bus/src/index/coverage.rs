//! Where there is footage between two moments.

use super::entries::{Entries, Entry};
use super::frames::FrameSearch;
use super::{Coverage, KeyframeAt, Span};
use crate::BusError;
use lumenbus_frame::FrameId;
use std::collections::BTreeMap;

/// Most places that are looked at in the frames themselves, where there is no index.
const MAX_FRAME_SAMPLES: usize = 32;

/// Index records that are read one and all; of more, samples are.
const MAX_RECORDS: i64 = 32_768;
/// Places of a longer stretch that are looked at, and records at each.
const MAX_SAMPLES: i64 = 128;
const SAMPLE_RECORDS: i64 = 64;
/// Entries are written after their keyframe, and cameras' clocks drift.
const MARGIN_MILLIS: i64 = 5_000;
/// Without a second keyframe nobody knows how long the first one's GOP is.
const LEAST_GOP_NANOS: i64 = 1_000_000_000;
/// Keyframes of one section that are further apart, and much further than usual, have a gap between them.
const LONG_GOP_NANOS: i64 = 30_000_000_000;

/// What a stretch of time was looked at for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from_unix_nanos: i64,
    pub(super) to_unix_nanos: i64,
    pub(super) max_keyframes: usize,
}

/// By the index; `None` when it knows nothing of the stream in that time.
pub(super) fn from_index(
    entries: &mut Entries<'_>,
    partitions: &[i32],
    window: Window,
) -> Result<Option<Coverage>, BusError> {
    let (mut found, mut is_complete, mut apart_nanos) = (BTreeMap::new(), true, 0);
    for partition in partitions.iter().filter_map(|partition| u32::try_from(*partition).ok()) {
        let partition = entries.partition_of(partition);
        let (from, until) = range(entries, partition, window)?;
        let mut keep = |entry: Entry| {
            found.entry(entry.entry.id).or_insert(entry);
        };
        if until - from <= MAX_RECORDS {
            is_complete &= entries.read(partition, (from, until), keep)?;
            continue;
        }
        is_complete = false;
        let step = (until - from) / MAX_SAMPLES;
        apart_nanos = window.to_unix_nanos.saturating_sub(window.from_unix_nanos) / MAX_SAMPLES * 2;
        for at in (0..MAX_SAMPLES).map(|n| from + n * step) {
            entries.read(partition, (at, at + SAMPLE_RECORDS.min(step)), &mut keep)?;
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let coverage = Coverage { is_complete, ..of_entries(&found, window, apart_nanos) };
    Ok(Some(coverage).filter(|coverage| !coverage.spans.is_empty() || is_complete))
}

/// Where entries of this time are; a camera's clock that is off is followed by its newest entry.
fn range(entries: &mut Entries<'_>, partition: i32, window: Window) -> Result<(i64, i64), BusError> {
    let newest = entries.newest(partition)?;
    let millis = |nanos: i64| {
        let plain = nanos / 1_000_000;
        let moved = newest.as_ref().map_or(plain, |newest| newest.append_millis_of(nanos));
        (plain.min(moved) - MARGIN_MILLIS, plain.max(moved) + MARGIN_MILLIS)
    };
    let from = entries.offset_at(partition, millis(window.from_unix_nanos).0)?;
    Ok((from, entries.offset_at(partition, millis(window.to_unix_nanos).1)?))
}

fn of_entries(found: &BTreeMap<FrameId, Entry>, window: Window, apart_nanos: i64) -> Coverage {
    let usual = usual_gop_nanos(found);
    let longest = LONG_GOP_NANOS.max(usual.saturating_mul(3)).max(apart_nanos);
    let mut coverage = Coverage::default();
    let entries: Vec<&Entry> = found.values().collect();
    for (n, entry) in entries.iter().enumerate() {
        let from = entry.capture();
        let next = entries.get(n + 1).filter(|next| next.is_in_section_of(entry)).map(|next| next.capture());
        let to = match next {
            Some(next) if next.saturating_sub(from) <= longest => next,
            _ => from.saturating_add(usual),
        };
        if to < window.from_unix_nanos || from > window.to_unix_nanos {
            continue;
        }
        let span =
            Span { from_unix_nanos: from.max(window.from_unix_nanos), to_unix_nanos: to.min(window.to_unix_nanos) };
        coverage.spans.push(span);
        coverage.keyframes.extend(entry.keyframe().filter(|_| from >= window.from_unix_nanos));
    }
    coverage.spans.sort_unstable_by_key(|span| span.from_unix_nanos);
    let spans = std::mem::take(&mut coverage.spans);
    spans.into_iter().for_each(|span| add_span(&mut coverage.spans, span, 0));
    coverage.keyframes.sort_unstable_by_key(|keyframe| (keyframe.capture_unix_nanos, keyframe.id));
    thin(&mut coverage.keyframes, window.max_keyframes);
    coverage
}

/// The median distance of keyframes.
fn usual_gop_nanos(found: &BTreeMap<FrameId, Entry>) -> i64 {
    let pairs = found.values().zip(found.values().skip(1));
    let linked = pairs.filter(|(one, next)| next.is_in_section_of(one) && next.entry.previous == Some(one.at));
    let mut apart: Vec<i64> = linked.map(|(one, next)| next.capture().saturating_sub(one.capture())).collect();
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied().unwrap_or(LEAST_GOP_NANOS)
}

/// Keeps so many, spread evenly over their number.
fn thin(keyframes: &mut Vec<KeyframeAt>, most: usize) {
    let all = keyframes.len();
    if all <= most {
        return;
    }
    let mut n = 0;
    keyframes.retain(|_| {
        let is_kept = most > 0 && (n * most) / all != ((n + 1) * most) / all;
        n += 1;
        is_kept
    });
}

/// Without an index: the frames at places spread evenly over the time.
pub(super) fn from_frames(
    frames: &mut FrameSearch<'_>,
    partitions: &[i32],
    window: Window,
) -> Result<Coverage, BusError> {
    let samples = window.max_keyframes.clamp(1, MAX_FRAME_SAMPLES);
    let length = window.to_unix_nanos.saturating_sub(window.from_unix_nanos);
    let cell = (length / i64::try_from(samples).unwrap_or(1)).max(1);
    let mut coverage = Coverage::default();
    for at in
        (0..samples).map(|n| window.from_unix_nanos.saturating_add(cell.saturating_mul(i64::try_from(n).unwrap_or(0))))
    {
        let until = at.saturating_add(cell);
        let mut found = None;
        frames.log.renew_budget();
        for partition in partitions {
            found = frames.first_in(*partition, (at, until))?;
            if found.is_some() {
                break;
            }
        }
        let Some((capture, keyframe)) = found else { continue };
        let span = Span { from_unix_nanos: capture.max(at), to_unix_nanos: until.min(window.to_unix_nanos) };
        add_span(&mut coverage.spans, span, 0);
        add_keyframe(&mut coverage.keyframes, keyframe);
    }
    Ok(coverage)
}

/// Appends a span, or extends the last one where they are no further apart than this.
pub(super) fn add_span(spans: &mut Vec<Span>, span: Span, apart_nanos: i64) {
    match spans.last_mut() {
        Some(last) if span.from_unix_nanos.saturating_sub(last.to_unix_nanos) <= apart_nanos => {
            last.to_unix_nanos = last.to_unix_nanos.max(span.to_unix_nanos);
        }
        _ => spans.push(span),
    }
}

fn add_keyframe(keyframes: &mut Vec<KeyframeAt>, keyframe: Option<KeyframeAt>) {
    if let Some(keyframe) = keyframe.filter(|new| keyframes.last().is_none_or(|last| last.id < new.id)) {
        keyframes.push(keyframe);
    }
}
