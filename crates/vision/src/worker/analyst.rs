//! The thread that detects: pictures into results, results to the writer.

use super::counts::{Counter, Counters};
use super::desk::{Desk, Done, Facts, Outcome, Waiting, Work};
use super::hold_up::{HoldUp, Stop, Wait};
use super::window::{Seen, Windows};
use super::{DetectorSource, Policy, micros};
use crate::detector::{Detection, Detector, VisionError};
use crate::features::{Look, Meter};
use crate::track::{TrackConfig, Tracked, Tracker};
use lumenbus_bus::results::{Output, ResultRecord, ResultWriter};
use lumenbus_frame::{CaptureTime, FrameId, StreamId};
use lumenbus_wire::{AnalysisResult, DetectedObject, Model, ResultForm, StageTimes};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How results are made.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) model: Model,
    pub(super) form: ResultForm,
    pub(super) policy: Policy,
    pub(super) counters: Arc<Counters>,
}

impl Maker {
    /// The result of a frame that has no picture; none under a policy that owes none.
    pub(super) fn without_picture(
        &self,
        stream: &StreamId,
        capture: CaptureTime,
        facts: &Facts,
        why: String,
    ) -> Option<ResultRecord> {
        if facts.is_preroll {
            return None;
        }
        self.counters.add(Counter::Undecodable, 1);
        tracing::debug!(%stream, seq = facts.id.seq.0, why, "a frame gave no picture");
        if self.policy == Policy::Newest {
            return None;
        }
        let result = AnalysisResult::new(stream.clone(), facts.id, capture, self.model.clone());
        self.record(&AnalysisResult { error: Some(why), ..result }, facts.partition)
    }

    pub(super) fn record(&self, result: &AnalysisResult, partition: i32) -> Option<ResultRecord> {
        let value = match result.encode(self.form) {
            Ok(value) => value,
            Err(error) => {
                // A detector beyond the limits: the frame still has its one result.
                tracing::warn!(stream = %result.stream, %error, "a result cannot be written as it is");
                let why = Some(error.to_string());
                let plain = AnalysisResult { detections: Vec::new(), error: why, ..result.clone() };
                plain.encode(self.form).ok()?
            }
        };
        let key = result.stream.camera.to_string();
        let content_type = self.form.content_type();
        let (output, header) = (Output::Results, None);
        Some(ResultRecord { output, header, key, frame_partition: partition, content_type, value })
    }
}

/// What is known of one stream.
struct Sight {
    detector: Box<dyn Detector>,
    tracker: Tracker,
    meter: Meter,
}

pub(super) struct Analyst<'a> {
    pub(super) desk: &'a Desk,
    pub(super) writer: &'a ResultWriter,
    pub(super) detectors: &'a DetectorSource,
    pub(super) maker: Maker,
    pub(super) sights: Sights,
    /// Absent where features are not asked for.
    pub(super) windows: Option<Windows>,
    pub(super) hold_up: &'a HoldUp,
    pub(super) stop: Stop<'a>,
}

/// By the desk's keys.
#[derive(Default)]
pub(super) struct Sights(HashMap<u64, Sight>);

impl Analyst<'_> {
    /// Until the desk is closed, or nothing can be written.
    pub(super) fn run(mut self) {
        loop {
            match self.desk.take() {
                Work::Closed => return,
                Work::Forget(keys) => keys.iter().for_each(|key| self.forget(*key)),
                Work::Submit(key, stream, items) => {
                    for done in items {
                        if !self.submit(key, &stream, done) {
                            return;
                        }
                    }
                }
                Work::Look(key, waiting) => {
                    let began = Instant::now();
                    let outcome = self.look(key, &waiting);
                    self.desk.looked(began.elapsed());
                    self.desk.resolve(key, waiting.id, outcome);
                }
            }
        }
    }

    fn forget(&mut self, key: u64) {
        self.sights.0.remove(&key);
        if let Some(windows) = &mut self.windows {
            windows.forget(key);
        }
    }

    /// Whether it goes on.
    fn submit(&mut self, key: u64, stream: &StreamId, mut done: Done) -> bool {
        let records = match &mut self.windows {
            // Nothing of it is written, whoever asks.
            Some(_) if done.receipt.is_stale() => Ok(Some(Vec::new())),
            Some(windows) => {
                let (desk, hold_up, stop) = (self.desk, self.hold_up, self.stop);
                let outcome = std::mem::take(&mut done.outcome);
                let is_closed = || desk.is_closed();
                let wait = Wait { hold_up, stop, is_closed: &is_closed, receipt: &done.receipt };
                windows.records(key, stream, &done, outcome, &wait)
            }
            None => Ok(Some(std::mem::take(&mut done.outcome).result.into_iter().collect())),
        };
        let records = match records {
            Ok(Some(records)) => records,
            Ok(None) if done.receipt.is_stale() => Vec::new(),
            Ok(None) => {
                // The other thread may wait for room here, and is to end as well.
                self.desk.close();
                return false;
            }
            Err(error) => {
                self.desk.fail(error);
                return false;
            }
        };
        if let Err(error) = self.writer.submit(records, done.receipt) {
            // The other thread asks the writer itself.
            tracing::debug!(%error, "results are not taken");
            self.desk.close();
            return false;
        }
        true
    }

    fn look(&mut self, key: u64, waiting: &Waiting) -> Outcome {
        let began = Instant::now();
        let found = self.find(key, waiting);
        let look = self.measure(key, waiting);
        let (facts, picture, counters) = (&waiting.facts, &waiting.picture, &self.maker.counters);
        if facts.is_preroll {
            return Outcome::default();
        }
        let confirmed = found.iter().flat_map(|found| &found.objects).filter(|object| object.confirmed_id().is_some());
        let objects = confirmed.map(|object| (Arc::clone(&object.detection.class), object.detection.score));
        let seen = self.windows.is_some().then(|| Seen { look, objects: objects.collect() });
        let capture = picture.capture;
        let model = self.maker.model.clone();
        let mut result = AnalysisResult::new(StreamId::clone(&waiting.stream), facts.id, capture, model);
        result.size = Some(picture.dimensions());
        result.pts = picture.pts;
        let waited = began.duration_since(facts.received).saturating_sub(facts.decode);
        result.stages.receive_micros = since(capture.unix_nanos, facts.received_unix_nanos);
        result.stages.wait_micros = Some(StageTimes::micros(waited));
        result.stages.decode_micros = Some(StageTimes::micros(facts.decode));
        match found {
            Ok(found) => {
                counters.add(Counter::Analysed, 1);
                counters.add(Counter::Detections, found.objects.len() as u64);
                counters.add(Counter::DetectMicros, micros(found.detect));
                result.stages.detect_micros = Some(StageTimes::micros(found.detect));
                result.stages.track_micros = Some(StageTimes::micros(found.track));
                result.detections = found.objects.into_iter().map(object).collect();
            }
            Err(error) => {
                counters.add(Counter::Failed, 1);
                tracing::debug!(stream = %waiting.stream, seq = facts.id.seq.0, %error, "a picture was not looked at");
                result.error = Some(error.to_string());
            }
        }
        Outcome { result: self.maker.record(&result, facts.partition), seen }
    }

    /// What the picture looks like, where features are asked for.
    fn measure(&mut self, key: u64, waiting: &Waiting) -> Option<Look> {
        self.windows.as_ref()?;
        let meter = &mut self.sights.0.get_mut(&key)?.meter;
        if waiting.facts.resets {
            meter.reset();
        }
        let began = Instant::now();
        let look = meter.look(&waiting.picture);
        self.maker.counters.add(Counter::FeatureMicros, micros(began.elapsed()));
        look
    }

    fn find(&mut self, key: u64, waiting: &Waiting) -> Result<Found, VisionError> {
        let sight = match self.sights.0.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (tracker, meter) = (Tracker::new(TrackConfig::default()), Meter::default());
                new.insert(Sight { detector: self.detectors.open()?, tracker, meter })
            }
        };
        if waiting.facts.resets {
            sight.detector.reset();
            sight.tracker.reset();
        }
        let began = Instant::now();
        let detections = sight.detector.detect(&waiting.picture)?;
        let detected = Instant::now();
        let objects = sight.tracker.update(waiting.id, waiting.picture.capture, detections);
        Ok(Found { objects, detect: detected.duration_since(began), track: detected.elapsed() })
    }
}

/// What is in a picture, and how long it took to see it.
struct Found {
    objects: Vec<Tracked>,
    detect: Duration,
    track: Duration,
}

fn object(tracked: Tracked) -> DetectedObject {
    let track_id = tracked.confirmed_id();
    let Detection { class, score, bounds } = tracked.detection;
    DetectedObject { class, score, bounds, track_id }
}

/// Microseconds between two moments; `None` where they are not in order.
fn since(from_unix_nanos: i64, to_unix_nanos: i64) -> Option<u32> {
    let nanos = u64::try_from(to_unix_nanos.checked_sub(from_unix_nanos)?).ok()?;
    Some(StageTimes::micros(Duration::from_nanos(nanos)))
}

/// What a frame is called in a message.
pub(super) fn lost(id: FrameId) -> String {
    format!("the decoder gave no picture for frame {}/{}", id.epoch, id.seq)
}
