//! When each frame passed which point, and what that comes to per stage.

use lumenbus_bus::FrameTracer;
use lumenbus_bus::trace::Settled;
use lumenbus_frame::{EncodedFrame, FrameId, StreamId, TraceContext};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unix nanoseconds; 0: not yet.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::bench) struct Times {
    /// When the picture was due, however long it waited for the encoder.
    pub(in crate::bench) captured: i64,
    /// When the encoder got it.
    pub(in crate::bench) begun: i64,
    pub(in crate::bench) submitted: i64,
    pub(in crate::bench) sent: i64,
    /// The broker writes whole milliseconds.
    pub(in crate::bench) appended: i64,
    pub(in crate::bench) acknowledged: i64,
    pub(in crate::bench) received: i64,
    pub(in crate::bench) decoded: i64,
    pub(in crate::bench) payload_bytes: usize,
}

/// The stages in order of time; `total` is what the project promises something about.
pub(in crate::bench) const STAGES: [&str; 8] =
    ["wait", "encode", "queue", "append", "receive", "decode", "total", "acknowledge"];

impl Times {
    fn nanos(&self, stage: &str) -> i64 {
        match stage {
            "wait" => self.begun - self.captured,
            "encode" => self.submitted - self.begun,
            "queue" => self.sent - self.submitted,
            "append" => self.appended - self.sent,
            "receive" => self.received - self.appended,
            "decode" => self.decoded - self.received,
            "acknowledge" => self.acknowledged - self.submitted,
            _ => self.decoded - self.captured,
        }
    }
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::bench) struct Percentiles {
    pub(in crate::bench) p50: f64,
    pub(in crate::bench) p99: f64,
}

/// The times of one run, by seq.
#[derive(Debug, Clone, Default)]
pub(in crate::bench) struct Timeline(Arc<Mutex<Vec<Times>>>);

impl Timeline {
    pub(in crate::bench) fn new(frames: u64) -> Self {
        let frames = usize::try_from(frames).unwrap_or(usize::MAX);
        Self(Arc::new(Mutex::new(vec![Times::default(); frames])))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Times>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::bench) fn note(&self, seq: u64, note: impl FnOnce(&mut Times)) {
        let mut times = self.lock();
        if let Some(times) = usize::try_from(seq).ok().and_then(|at| times.get_mut(at)) {
            note(times);
        }
    }

    /// Of the frames from `first` on that came through; sorted once per stage.
    pub(in crate::bench) fn percentiles(&self, first: u64, stage: &str) -> Percentiles {
        let mut millis: Vec<f64> = self.complete(first).iter().map(|times| milliseconds(times.nanos(stage))).collect();
        millis.sort_by(f64::total_cmp);
        let at = |percent: usize| millis.get((millis.len() * percent / 100).min(millis.len().max(1) - 1));
        let value = |percent| at(percent).copied().unwrap_or(0.0);
        Percentiles { p50: value(50), p99: value(99) }
    }

    pub(in crate::bench) fn complete(&self, first: u64) -> Vec<Times> {
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        self.lock().iter().skip(skip).filter(|times| times.decoded > 0 && times.acknowledged > 0).copied().collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run")]
fn milliseconds(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}

/// Learns from the publisher when it handed a frame to the Kafka client and when that was settled.
impl FrameTracer for Timeline {
    fn submitted(&self, _stream: &StreamId, id: FrameId, _frame: &EncodedFrame) -> Option<TraceContext> {
        let seq = id.seq.0.to_be_bytes();
        let mut trace_id = [1; 16];
        trace_id[8..].copy_from_slice(&seq);
        Some(TraceContext { trace_id, span_id: [1; 8], flags: 0 })
    }

    fn settled(&self, _trace: &TraceContext, settled: &Settled<'_>) {
        self.note(settled.id.seq.0, |times| {
            times.submitted = settled.submitted_unix_nanos;
            times.sent = settled.sent_unix_nanos.unwrap_or(settled.submitted_unix_nanos);
            times.acknowledged = settled.settled_unix_nanos;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up_to_the_total() {
        let timeline = Timeline::new(101);
        for seq in 0..100 {
            timeline.note(seq, |times| {
                let at = |millis: i64| millis * 1_000_000;
                *times = Times {
                    captured: at(1),
                    begun: at(3),
                    submitted: at(5),
                    sent: at(6),
                    appended: at(8),
                    acknowledged: at(9),
                    received: at(11),
                    decoded: at(20 + i64::try_from(seq).unwrap()),
                    payload_bytes: 1,
                };
            });
        }
        timeline.note(1_000, |_| unreachable!("beyond the run"));
        let p50 = |stage| timeline.percentiles(0, stage).p50;
        let sum: f64 = STAGES[..6].iter().map(|&stage| p50(stage)).sum();
        assert!((sum - p50("total")).abs() < 1e-9 && (p50("total") - 69.0).abs() < 1e-9, "{sum}");
        assert!((timeline.percentiles(0, "total").p99 - 118.0).abs() < 1e-9);
        assert!((p50("wait") - 2.0).abs() < 1e-9 && (p50("encode") - 2.0).abs() < 1e-9);
        assert_eq!(timeline.complete(98).len(), 2, "the frame without times does not count");
    }
}
