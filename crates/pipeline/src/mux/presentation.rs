//! When each frame of a stream is shown, holes included; pure.

use lumenbus_frame::{EncodedFrame, Epoch, FrameId, Timebase};

const SECOND: i64 = 1_000_000_000;
/// A frame is decoded at most so long before it is shown; a step back beyond that is another count.
const MAX_STEP_BACK: i64 = 2 * SECOND;
/// A stream's own count is believed that far; beyond it, what the clock says.
const MAX_STEP: i64 = 3_600 * SECOND;
/// The clock is believed that far: a camera may be off for a day.
const MAX_CLOCK_STEP: i64 = 24 * 3_600 * SECOND;
/// Where nobody says how long a picture stays.
const USUAL_INTERVAL: i64 = SECOND / 25;

/// A frame that was placed.
#[derive(Debug, Clone, Copy)]
struct Placed {
    epoch: Epoch,
    pts_nanos: Option<i64>,
    capture_nanos: i64,
    media_nanos: i64,
}

/// Lays the frames of a stream on one time line that begins with 0.
///
/// Within an epoch the stream's own presentation times hold: they have no jitter, they know of pictures out of order, and
/// they go on evenly when a clock is set. Where they are missing, jump, or begin anew with an epoch, the time between two
/// captures does. So what is missing keeps its duration. A clock that was set back costs the hole's duration, nothing else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presentation {
    timebase: Option<Timebase>,
    interval: Option<i64>,
    last: Option<Placed>,
    /// The one shown last of all.
    newest: Option<Placed>,
}

impl Presentation {
    /// How long a picture usually stays.
    pub(crate) fn interval_nanos(&self) -> i64 {
        self.interval.unwrap_or(USUAL_INTERVAL)
    }

    /// Nanoseconds after the first frame; frames come in decode order.
    pub(crate) fn place(&mut self, id: FrameId, frame: &EncodedFrame) -> i64 {
        if let Some(parameters) = &frame.parameters {
            self.timebase = Some(parameters.timebase);
            let interval = parameters.frame_rate.map(|rate| rate.interval().as_nanos());
            self.interval = interval.and_then(|nanos| i64::try_from(nanos).ok()).or(self.interval);
        }
        let pts_nanos = frame.pts.map(|pts| self.timebase.unwrap_or(Timebase::MPEG).nanos(pts));
        let mut placed = Placed { epoch: id.epoch, pts_nanos, capture_nanos: frame.capture.unix_nanos, media_nanos: 0 };
        placed.media_nanos = self.by_count(&placed).or_else(|| self.by_clock(&placed)).unwrap_or(0);
        self.last = Some(placed);
        if self.newest.is_none_or(|newest| newest.media_nanos < placed.media_nanos) {
            self.newest = Some(placed);
        }
        placed.media_nanos
    }

    fn by_count(&self, frame: &Placed) -> Option<i64> {
        let last = self.last.filter(|last| last.epoch == frame.epoch)?;
        let step = frame.pts_nanos?.saturating_sub(last.pts_nanos?);
        (-MAX_STEP_BACK..=MAX_STEP).contains(&step).then(|| last.media_nanos.saturating_add(step))
    }

    fn by_clock(&self, frame: &Placed) -> Option<i64> {
        let newest = self.newest?;
        let step = frame.capture_nanos.saturating_sub(newest.capture_nanos);
        let step = if (1..=MAX_CLOCK_STEP).contains(&step) { step } else { self.interval_nanos() };
        Some(newest.media_nanos.saturating_add(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lumenbus_frame::{CaptureTime, Codec, Dimensions, FrameRate, Seq, StreamParameters};
    use std::sync::Arc;

    const MILLIS: i64 = 1_000_000;

    fn frame(capture_millis: i64, pts_millis: Option<i64>) -> EncodedFrame {
        let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(capture_millis * MILLIS), Bytes::new());
        let mut parameters = StreamParameters::new(Codec::H264, Dimensions::new(16, 16));
        parameters.frame_rate = Some(FrameRate::per_second(20));
        frame.parameters = Some(Arc::new(parameters));
        frame.pts = pts_millis.map(|millis| millis * 90);
        frame
    }

    /// (epoch, capture, pts) in, media time out, in milliseconds.
    fn check(frames: &[(u64, i64, Option<i64>)], expected: &[i64]) {
        let mut presentation = Presentation::default();
        let place = |&(epoch, capture, pts): &(u64, i64, Option<i64>)| {
            let id = FrameId { epoch: Epoch(epoch), seq: Seq(0) };
            presentation.place(id, &frame(capture, pts)) / MILLIS
        };
        assert_eq!(frames.iter().map(place).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_stream_s_own_count_goes_before_the_clock() {
        // A file published as fast as it goes, with pictures out of order; then a hole of 5 s.
        let frames = [(1, 70, Some(900)), (1, 71, Some(1_000)), (1, 72, Some(950)), (1, 73, Some(6_000))];
        check(&frames, &[0, 100, 50, 5_100]);
        // A clock that is set an hour ahead and back again.
        let steps = [(1, 0, Some(0)), (1, 3_600_050, Some(50)), (1, 100, Some(100))];
        check(&steps, &[0, 50, 100]);
    }

    #[test]
    fn the_clock_bridges_epochs_and_streams_without_a_count() {
        check(
            &[(1, 0, Some(70)), (1, 50, Some(120)), (2, 8_050, Some(0)), (2, 8_100, Some(50))],
            &[0, 50, 8_050, 8_100],
        );
        check(&[(1, 0, None), (1, 33, None), (1, 9_033, None)], &[0, 33, 9_033]);
        // Set back between two epochs: the new one follows at the usual distance.
        check(&[(1, 9_000, Some(0)), (2, 1_000, Some(0)), (2, 1_050, Some(50))], &[0, 50, 100]);
    }

    #[test]
    fn nonsense_costs_no_more_than_the_usual_interval() {
        let far = 9_000_000_000_000;
        check(
            &[(1, 0, Some(0)), (1, 40, Some(far)), (1, 80, Some(-far)), (1, 120, Some(-far + 40))],
            &[0, 40, 80, 120],
        );
        check(&[(1, i64::MIN / MILLIS, None), (1, i64::MAX / MILLIS, None)], &[0, 50]);
    }
}
