//! Which frames have to be decoded for a still, and when. No clock, no threads: time is an argument.

use lumenbus_frame::{EncodedFrame, FrameId};
use std::time::Duration;

/// Most bytes kept since a keyframe; a longer GOP gives its stills at its keyframes only.
const MAX_CHAIN_BYTES: usize = 16 << 20;

/// A frame and what it is called in the video.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: FrameId,
    pub(super) frame: EncodedFrame,
}

/// Frames to be decoded; the last picture that comes out is the still.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) frames: Vec<Held>,
    /// A keyframe by itself: nothing of its decoder is needed afterwards.
    pub(super) is_alone: bool,
}

/// Keyframes are enough where they come at least as often as stills, or nearly so. Otherwise everything since the last
/// still is decoded, or since the keyframe.
#[derive(Debug)]
pub(super) struct Plan {
    interval_nanos: u64,
    /// When the next still is due; `None`: with the first frame.
    due: Option<u64>,
    /// Since the keyframe, or since the last job, when everything is decoded.
    chain: Vec<Held>,
    chain_bytes: usize,
    /// Nothing is missing in it.
    is_whole: bool,
    keyframe_at: u64,
    /// From the last keyframe but one to the last.
    gop_nanos: u64,
}

impl Plan {
    pub(super) fn new(interval: Duration) -> Self {
        let interval_nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let (chain, chain_bytes) = (Vec::new(), 0);
        Self { interval_nanos, due: None, chain, chain_bytes, is_whole: false, keyframe_at: 0, gop_nanos: 0 }
    }

    /// The video's next frame, and what has to be done now.
    pub(super) fn take(&mut self, held: Held, now: u64) -> Option<Job> {
        let is_keyframe = held.frame.is_keyframe;
        if is_keyframe {
            if self.keyframe_at > 0 {
                self.gop_nanos = now.saturating_sub(self.keyframe_at);
            }
            self.keyframe_at = now;
            self.cut();
            self.is_whole = true;
        }
        if self.is_whole {
            self.chain_bytes += held.frame.payload.len();
            self.chain.push(held);
        }
        if self.chain_bytes > MAX_CHAIN_BYTES && !is_keyframe {
            self.cut();
        }
        if !self.is_whole || self.due.is_some_and(|due| now < due) {
            return None;
        }
        if is_keyframe {
            self.due = Some(self.next_due(now));
            // What comes behind it may be decoded later, and begins with it then.
            return Some(Job { frames: self.chain.clone(), is_alone: true });
        }
        let gop = self.gop_nanos.max(now.saturating_sub(self.keyframe_at));
        if gop <= self.interval_nanos.saturating_add(self.interval_nanos / 4) {
            return None;
        }
        self.due = Some(self.next_due(now));
        self.chain_bytes = 0;
        Some(Job { frames: std::mem::take(&mut self.chain), is_alone: false })
    }

    /// In step with the ones before, unless they are too far back.
    fn next_due(&self, now: u64) -> u64 {
        let due = self.due.unwrap_or(now).saturating_add(self.interval_nanos);
        if due > now { due } else { now.saturating_add(self.interval_nanos) }
    }

    /// Nobody had time for it: tried again with the next frame.
    pub(super) fn put_back(&mut self, job: Job, now: u64) {
        self.due = Some(now);
        if !job.is_alone {
            self.chain_bytes = job.frames.iter().map(|held| held.frame.payload.len()).sum();
            self.chain = job.frames;
        }
    }

    /// Frames are missing from here on: nothing can be decoded up to the next keyframe.
    pub(super) fn cut(&mut self) {
        self.chain.clear();
        (self.chain_bytes, self.is_whole) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{CaptureTime, Codec, Epoch, Seq};

    const FRAME_NANOS: u64 = 40_000_000;

    /// 25 frames a second of so many bytes with a keyframe every `gop` frames; the jobs as (when in frames, first, last).
    fn jobs(plan: &mut Plan, frames: u64, gop: u64, bytes: usize) -> Vec<(u64, u64, bool)> {
        let mut jobs = Vec::new();
        for seq in 0..frames {
            let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), vec![0; bytes].into());
            frame.is_keyframe = seq % gop == 0;
            let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
            if let Some(job) = plan.take(Held { id, frame }, (seq + 1) * FRAME_NANOS) {
                let seqs: Vec<_> = job.frames.iter().map(|held| held.id.seq.0).collect();
                assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
                assert_eq!(job.is_alone, frame_is_keyframe(&job) && seqs.len() == 1);
                jobs.push((seqs[0], seq, job.is_alone));
            }
        }
        jobs
    }

    fn frame_is_keyframe(job: &Job) -> bool {
        job.frames[0].frame.is_keyframe
    }

    #[test]
    fn short_gops_give_their_keyframes_and_nothing_else_is_decoded() {
        let second = || Plan::new(Duration::from_secs(1));
        assert_eq!(jobs(&mut second(), 76, 25, 10), [(0, 0, true), (25, 25, true), (50, 50, true), (75, 75, true)]);
        assert_eq!(jobs(&mut second(), 61, 10, 10), [(0, 0, true), (30, 30, true), (50, 50, true)]);
        // A quarter more than a second is near enough.
        assert_eq!(jobs(&mut second(), 62, 30, 10), [(0, 0, true), (30, 30, true), (60, 60, true)]);
    }

    #[test]
    fn of_a_long_gop_each_frame_is_decoded_once() {
        let found = jobs(&mut Plan::new(Duration::from_secs(1)), 120, 100, 10);
        // The first is the keyframe by itself; the first to go on behind it begins with it.
        assert_eq!(found, [(0, 0, true), (0, 32, false), (33, 50, false), (51, 75, false), (100, 100, true)]);
    }

    #[test]
    fn what_nobody_had_time_for_comes_again_whole() {
        let mut plan = Plan::new(Duration::from_millis(200));
        jobs(&mut plan, 12, 100, 10);
        let next = |plan: &mut Plan, seq: u64| {
            let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), vec![0; 10].into());
            frame.is_keyframe = false;
            let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
            plan.take(Held { id, frame }, (seq + 1) * FRAME_NANOS)
        };
        let (seq, job) = (12..).find_map(|seq| Some((seq, next(&mut plan, seq)?))).unwrap();
        let first = job.frames[0].id;
        plan.put_back(job, (seq + 1) * FRAME_NANOS);
        let again = next(&mut plan, seq + 1).unwrap();
        assert_eq!((again.frames[0].id, again.frames.last().unwrap().id.seq), (first, Seq(seq + 1)));
        plan.cut();
        assert!((seq + 2..seq + 50).all(|seq| next(&mut plan, seq).is_none()), "nothing up to the next keyframe");
    }

    #[test]
    fn a_gop_beyond_the_limit_gives_its_keyframes_only() {
        let found = jobs(&mut Plan::new(Duration::from_secs(1)), 201, 100, MAX_CHAIN_BYTES / 10);
        assert_eq!(found, [(0, 0, true), (100, 100, true), (200, 200, true)]);
    }
}
