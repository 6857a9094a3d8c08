//! The second of a stream that is under way, as sums.

use super::Seen;
use crate::features::HISTOGRAM_SUM;
use crate::health::SecondLook;
use lumenbus_frame::{Epoch, FrameId, Seq, StreamId};
use lumenbus_wire::{Features, HISTOGRAM_BINS, MAX_CLASSES, PictureFeatures};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const SECOND_NANOS: i64 = 1_000_000_000;
/// Frames are taken in another order than they are coded in, and clocks are put right a little: a frame that is earlier by so
/// many seconds at most belongs to the second that is under way.
const EARLIER_SECONDS: i64 = 2;
/// Parts of 1 are added as millionths: whole numbers stay exact however often they are written and read.
const MILLION: f32 = 1e6;

/// Sums over the frames of a second so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenSecond {
    epoch: u64,
    second_unix: i64,
    first_seq: u64,
    last_seq: u64,
    first_unix_nanos: i64,
    last_unix_nanos: i64,
    frames: u32,
    looked_at: u32,
    /// Pictures that were compared with the one before.
    compared: u32,
    moved: u64,
    brightness: u64,
    sharpness: u64,
    contrast: u64,
    histogram: Vec<u64>,
    phash: u64,
    /// Of the pictures that were compared, the largest change in millionths of a level.
    change: u64,
    counts: Vec<(Box<str>, u32)>,
    /// Of the last picture. Who takes over in the middle of a second may see no other: then this second says nothing of
    /// where the camera looks.
    #[serde(skip)]
    grid: Option<Vec<u8>>,
}

impl OpenSecond {
    pub(super) fn new(id: FrameId, unix_nanos: i64) -> Self {
        Self {
            epoch: id.epoch.0,
            second_unix: unix_nanos.div_euclid(SECOND_NANOS),
            first_seq: id.seq.0,
            last_seq: id.seq.0,
            first_unix_nanos: unix_nanos,
            last_unix_nanos: unix_nanos,
            frames: 0,
            looked_at: 0,
            compared: 0,
            moved: 0,
            brightness: 0,
            sharpness: 0,
            contrast: 0,
            histogram: vec![0; 3 * HISTOGRAM_BINS],
            phash: 0,
            change: 0,
            counts: Vec::new(),
            grid: None,
        }
    }

    /// Whether what was read can be gone on with.
    pub(super) fn is_sound(&self) -> bool {
        self.histogram.len() == 3 * HISTOGRAM_BINS
            && self.first_seq <= self.last_seq
            && self.looked_at <= self.frames
            && self.compared <= self.looked_at
            && self.counts.len() <= MAX_CLASSES
    }

    /// Whether this frame belongs to it.
    pub(super) fn holds(&self, id: FrameId, unix_nanos: i64) -> bool {
        let second = unix_nanos.div_euclid(SECOND_NANOS);
        let earliest = self.second_unix.saturating_sub(EARLIER_SECONDS);
        self.epoch == id.epoch.0 && (earliest..=self.second_unix).contains(&second)
    }

    /// The last frame so far.
    pub(super) fn last(&self) -> FrameId {
        FrameId { epoch: Epoch(self.epoch), seq: Seq(self.last_seq) }
    }

    pub(super) fn first_unix_nanos(&self) -> i64 {
        self.first_unix_nanos
    }

    pub(super) fn last_unix_nanos(&self) -> i64 {
        self.last_unix_nanos
    }

    pub(super) fn add(&mut self, id: FrameId, unix_nanos: i64, seen: Option<&Seen>) {
        self.last_seq = self.last_seq.max(id.seq.0);
        self.last_unix_nanos = self.last_unix_nanos.max(unix_nanos);
        self.frames = self.frames.saturating_add(1);
        let Some(seen) = seen else { return };
        for (class, count) in seen.counts() {
            if let Some((_, most)) = self.counts.iter_mut().find(|(known, _)| **known == *class) {
                *most = count.max(*most);
            } else if self.counts.len() < MAX_CLASSES {
                self.counts.push(((*class).into(), count));
            }
        }
        let Some(look) = &seen.look else { return };
        self.looked_at = self.looked_at.saturating_add(1);
        if let Some(change) = look.change {
            self.compared = self.compared.saturating_add(1);
            add(&mut self.moved, millionths(change.moved));
            self.change = self.change.max(millionths(change.levels));
        }
        add(&mut self.brightness, millionths(look.brightness));
        add(&mut self.sharpness, millionths(look.sharpness));
        add(&mut self.contrast, millionths(look.contrast));
        for (sum, bin) in self.histogram.iter_mut().zip(look.histogram) {
            add(sum, u64::from(bin));
        }
        self.phash = look.phash;
        self.grid = Some(look.grid.clone());
    }

    /// For the health; `None` when no picture was looked at.
    pub(super) fn look(&self) -> Option<SecondLook> {
        (self.looked_at > 0).then(|| SecondLook {
            brightness: part(self.brightness, self.looked_at),
            contrast: part(self.contrast, self.looked_at),
            sharpness: part(self.sharpness, self.looked_at),
            change_levels: (self.compared > 0).then(|| levels(self.change)),
            grid: self.grid.clone(),
            unix_nanos: self.last_unix_nanos,
        })
    }

    /// The record, but for health and window.
    pub(super) fn features(&self, stream: StreamId, group: &str) -> Features {
        let picture = (self.looked_at > 0).then(|| PictureFeatures {
            motion: (self.compared > 0).then(|| part(self.moved, self.compared)),
            brightness: part(self.brightness, self.looked_at),
            sharpness: part(self.sharpness, self.looked_at),
            contrast: part(self.contrast, self.looked_at),
            histogram: std::array::from_fn(|bin| self.bin(bin)),
            phash: self.phash,
        });
        let mut counts: Vec<_> = self.counts.iter().map(|(class, most)| (Arc::<str>::from(&**class), *most)).collect();
        counts.sort();
        Features {
            last_seq: Seq(self.last_seq),
            second_unix: self.second_unix,
            group: group.to_owned(),
            frames: self.frames,
            looked_at: self.looked_at,
            picture,
            counts,
            ..Features::new(stream, Epoch(self.epoch), Seq(self.first_seq), self.first_unix_nanos)
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a part of 1")]
    fn bin(&self, bin: usize) -> f32 {
        let all = f64::from(HISTOGRAM_SUM) * f64::from(self.looked_at.max(1));
        // To the four digits that are written.
        let part = self.histogram.get(bin).copied().unwrap_or(0) as f64 / all;
        ((part * 1e4).round() / 1e4).min(1.0) as f32
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and small")]
fn millionths(value: f32) -> u64 {
    (value.max(0.0) * MILLION) as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a part of 1")]
fn part(sum: u64, count: u32) -> f32 {
    (sum as f64 / 1e6 / f64::from(count.max(1))).min(1.0) as f32
}

#[expect(clippy::cast_precision_loss, reason = "at most 255 levels")]
fn levels(millionths: u64) -> f32 {
    millionths as f32 / MILLION
}
