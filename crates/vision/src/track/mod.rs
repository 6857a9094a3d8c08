//! Which boxes of one picture are the things of the picture before.
//!
//! Each track expects its thing where constant velocity takes it; boxes go to tracks by overlap, and by nearness
//! where nothing overlaps, greedily, the best fit first: at least half as good as the best assignment. A box that no
//! track expects begins one; a track that finds nothing for a while ends.

mod associate;
mod motion;

use crate::{Bounds, Detection};
use associate::{fit, greedy};
use lumenbus_frame::{CaptureTime, Epoch, FrameId};
use lumenbus_wire::MAX_DETECTIONS;
use motion::Path;
use std::sync::Arc;

/// Bits of a track's number that tell boxes of one picture apart.
const INDEX_BITS: u32 = 10;
const _: () = assert!(MAX_DETECTIONS < 1 << INDEX_BITS);
/// Where capture times don't rise.
const UNKNOWN_SECONDS: f32 = 0.04;

/// How tracks begin and end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackConfig {
    /// Pictures in which a thing must have been found before its track is confirmed.
    pub confirm_hits: u32,
    /// A track ends when it has found nothing for longer than this many seconds and this many pictures.
    pub keep_seconds: f32,
    /// See [`keep_seconds`](Self::keep_seconds).
    pub keep_pictures: u32,
}

impl Default for TrackConfig {
    fn default() -> Self {
        Self { confirm_hits: 3, keep_seconds: 1.0, keep_pictures: 2 }
    }
}

/// How much is known of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackState {
    /// New: it may be a flicker.
    Tentative,
    /// Found often enough.
    Confirmed,
}

/// A detection and the track that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracked {
    /// As it was found.
    pub detection: Detection,
    /// The same for the same thing.
    pub track_id: u64,
    /// What is known of the track.
    pub state: TrackState,
}

impl Tracked {
    /// The track's number when it is confirmed.
    #[must_use]
    pub fn confirmed_id(&self) -> Option<u64> {
        (self.state == TrackState::Confirmed).then_some(self.track_id)
    }
}

#[derive(Debug)]
struct Track {
    id: u64,
    class: Arc<str>,
    path: Path,
    hits: u32,
    /// Pictures and seconds since it was found.
    missed: u32,
    unseen_seconds: f32,
}

/// Follows the things of one stream from picture to picture.
///
/// A track's number is made of the seq of the picture that it begins in and the box's place there, so it occurs once
/// in an epoch of a stream, also when another worker goes on in the middle. The same input gives the same numbers.
///
/// ```
/// use lumenbus_frame::{CaptureTime, Epoch, FrameId, Seq};
/// use lumenbus_vision::track::{TrackConfig, Tracker};
/// use lumenbus_vision::{Bounds, Detection};
///
/// let mut tracker = Tracker::new(TrackConfig::default());
/// let mut ids = Vec::new();
/// for seq in 0..5 {
///     let bounds = Bounds::new(10.0 + 4.0 * seq as f32, 20.0, 30.0, 60.0);
///     let walker = Detection { class: "motion".into(), score: 0.9, bounds };
///     let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
///     let capture = CaptureTime::sensor(seq as i64 * 100_000_000);
///     ids.extend(tracker.update(id, capture, vec![walker]).iter().map(|tracked| tracked.confirmed_id()));
/// }
/// assert_eq!(ids, [None, None, Some(0), Some(0), Some(0)]);
/// ```
#[derive(Debug)]
pub struct Tracker {
    config: TrackConfig,
    epoch: Option<Epoch>,
    captured_unix_nanos: i64,
    tracks: Vec<Track>,
}

impl Tracker {
    /// A tracker that has seen nothing yet.
    #[must_use]
    pub fn new(config: TrackConfig) -> Self {
        Self { config, epoch: None, captured_unix_nanos: 0, tracks: Vec::new() }
    }

    /// Ends all tracks: the next picture has nothing to do with the last one.
    pub fn reset(&mut self) {
        self.tracks.clear();
    }

    /// Tracks that go on, found in the last picture or not.
    #[must_use]
    pub fn open_tracks(&self) -> usize {
        self.tracks.len()
    }

    /// The detections of the stream's next picture, in their order, each with its track. A new epoch is a reset.
    ///
    /// Detections beyond [`MAX_DETECTIONS`] are left out.
    pub fn update(&mut self, id: FrameId, capture: CaptureTime, mut detections: Vec<Detection>) -> Vec<Tracked> {
        detections.truncate(MAX_DETECTIONS);
        if self.epoch.replace(id.epoch) != Some(id.epoch) {
            self.reset();
        }
        let seconds = self.elapsed(capture);
        for track in &mut self.tracks {
            track.unseen_seconds += seconds;
        }
        let mut tracks_of = vec![None; detections.len()];
        for (track, detection) in self.pairs(&detections) {
            self.tracks[track].find(&detections[detection].bounds);
            tracks_of[detection] = Some(track);
        }
        let unseen = self.tracks.iter_mut().filter(|track| track.unseen_seconds > 0.0);
        unseen.for_each(|track| track.missed += 1);
        let tracked = detections.into_iter().zip(tracks_of).enumerate().map(|(index, (detection, track))| {
            let track = track.unwrap_or_else(|| self.begin(id, index, &detection));
            let Track { id: track_id, hits, .. } = self.tracks[track];
            let is_confirmed = hits >= self.config.confirm_hits;
            let state = if is_confirmed { TrackState::Confirmed } else { TrackState::Tentative };
            Tracked { detection, track_id, state }
        });
        let tracked = tracked.collect();
        self.end();
        tracked
    }

    /// Seconds since the last picture, more than 0.
    #[expect(clippy::cast_precision_loss, reason = "pictures are close to each other")]
    fn elapsed(&mut self, capture: CaptureTime) -> f32 {
        let nanos = capture.unix_nanos.saturating_sub(self.captured_unix_nanos);
        self.captured_unix_nanos = capture.unix_nanos;
        if nanos > 0 { nanos as f32 / 1e9 } else { UNKNOWN_SECONDS }
    }

    /// Pairs of track and detection.
    fn pairs(&self, detections: &[Detection]) -> Vec<(usize, usize)> {
        let mut fits = Vec::new();
        for (row, track) in self.tracks.iter().enumerate() {
            let expected = track.path.expected(track.unseen_seconds);
            for (column, detection) in detections.iter().enumerate().filter(|(_, found)| found.class == track.class) {
                let fit = fit(&expected, &detection.bounds);
                if fit > 0.0 {
                    fits.push((fit, row, column));
                }
            }
        }
        greedy(fits, self.tracks.len(), detections.len())
    }

    fn begin(&mut self, id: FrameId, index: usize, detection: &Detection) -> usize {
        self.tracks.push(Track {
            id: id.seq.0 << INDEX_BITS | index as u64,
            class: Arc::clone(&detection.class),
            path: Path::new(&detection.bounds),
            hits: 1,
            missed: 0,
            unseen_seconds: 0.0,
        });
        self.tracks.len() - 1
    }

    /// Drops tracks that found nothing for long; of too many, those that found nothing for longest.
    fn end(&mut self) {
        let TrackConfig { keep_seconds, keep_pictures, .. } = self.config;
        self.tracks.retain(|track| track.unseen_seconds <= keep_seconds || track.missed <= keep_pictures);
        if self.tracks.len() > MAX_DETECTIONS {
            self.tracks.sort_by_key(|track| (track.missed, track.id));
            self.tracks.truncate(MAX_DETECTIONS);
        }
    }
}

impl Track {
    fn find(&mut self, bounds: &Bounds) {
        self.path.follow(bounds, self.unseen_seconds);
        (self.hits, self.missed, self.unseen_seconds) = (self.hits.saturating_add(1), 0, 0.0);
    }
}
