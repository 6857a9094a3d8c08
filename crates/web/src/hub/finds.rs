//! What analysis has found in a stream's newest frames.

use super::window::Durations;
use super::{Percentiles, Ring, text};
use axum::extract::ws::Utf8Bytes;
use lumenbus_frame::FrameId;
use lumenbus_wire::AnalysisResult;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};

/// Results held of a stream: more than any client is behind.
const MAX_FINDS: usize = 128;
/// Results held of a stream, in bytes of their messages; the newest is held whatever its size.
const MAX_FIND_BYTES: usize = 512 * 1024;
/// Models told of a stream.
const MAX_MODELS: usize = 8;
/// A model that has said nothing for so long is no longer at work.
const MODEL_MICROS: i64 = 10_000_000;

/// The newest results of one stream as messages, oldest first; bounded.
#[derive(Debug, Default)]
pub(crate) struct Finds {
    messages: VecDeque<Utf8Bytes>,
    bytes: usize,
    /// Index of the front.
    base: u64,
    /// From a frame's arrival to its result's: how long frames must wait.
    late: Durations,
    /// When each model was last heard, Unix microseconds.
    models: BTreeMap<String, i64>,
}

impl Finds {
    /// Takes a result.
    pub(crate) fn push(&mut self, found: Found, ring: &Ring, now_micros: i64) {
        if let Some(frame) = ring.find(found.id).filter(|frame| !frame.is_catch_up) {
            self.late.add(now_micros / 1_000, now_micros.saturating_sub(frame.received_micros));
        }
        if self.models.len() < MAX_MODELS || self.models.contains_key(&found.model) {
            self.models.insert(found.model, now_micros);
        }
        self.bytes += found.message.len();
        self.messages.push_back(found.message);
        while self.messages.len() > MAX_FINDS || (self.bytes > MAX_FIND_BYTES && self.messages.len() > 1) {
            self.bytes -= self.messages.pop_front().map_or(0, |message| message.len());
            self.base += 1;
        }
    }

    /// Where somebody begins who wants what is held.
    pub(crate) fn begin(&self) -> u64 {
        self.base
    }

    /// The messages from `next` on, and where the following one will be; what is no longer held is left out.
    pub(crate) fn since(&self, next: u64) -> (impl Iterator<Item = &Utf8Bytes>, u64) {
        let from = usize::try_from(next.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.messages.len());
        (self.messages.range(from..), self.base + self.messages.len() as u64)
    }

    /// Whether there is something from `next` on.
    pub(crate) fn has(&self, next: u64) -> bool {
        self.base + self.messages.len() as u64 > next
    }

    /// Who analyses the stream now; `None`: nobody.
    pub(crate) fn analysis(&mut self, now_micros: i64) -> Option<Analysis> {
        self.models.retain(|_, heard| now_micros.saturating_sub(*heard) < MODEL_MICROS);
        let models: Vec<String> = self.models.keys().cloned().collect();
        (!models.is_empty()).then(|| Analysis { models, late: self.late.percentiles(now_micros / 1_000) })
    }
}

/// Who analyses a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Names of the models that gave results within the last ten seconds, at most eight.
    pub models: Vec<String>,
    /// From a frame's arrival in the viewer to its result's, over the last ten seconds.
    pub late: Option<Percentiles>,
}

/// One result for the clients.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) id: FrameId,
    pub(crate) model: String,
    pub(crate) message: Utf8Bytes,
}

/// Boxes told of one frame: those of the highest scores.
const MAX_BOXES: usize = 200;

impl Found {
    /// A result as a message about stream `n`; boxes in parts of the picture.
    pub(crate) fn new(n: u16, result: &AnalysisResult) -> Self {
        let mut objects: Vec<_> = result.detections.iter().collect();
        objects.sort_by(|a, b| b.score.total_cmp(&a.score));
        #[expect(clippy::cast_precision_loss, reason = "sides of pictures are below 2^24")]
        let size = result.size.map(|size| (size.width as f32, size.height as f32));
        let boxes = objects.iter().take(MAX_BOXES).filter_map(|object| {
            let (width, height) = size?;
            let bounds = object.bounds.normalised(width, height);
            Some(json!({
                "class": &*object.class, "score": object.score, "track": object.track_id.map(|id| id.to_string()),
                "x": bounds.x, "y": bounds.y, "width": bounds.width, "height": bounds.height,
            }))
        });
        let message = json!({
            "type": "found", "n": n, "epoch": result.id.epoch.to_string(), "seq": result.id.seq.0,
            "model": &*result.model.name, "version": &*result.model.version, "boxes": boxes.collect::<Vec<_>>(),
        });
        Self { id: result.id, model: result.model.name.to_string(), message: text(&message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Epoch, Seq};

    fn found(seq: u64, model: &str, bytes: usize) -> Found {
        let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
        Found { id, model: model.to_owned(), message: "x".repeat(bytes).into() }
    }

    #[test]
    fn who_comes_later_gets_what_is_held_and_each_message_once() {
        let (mut finds, ring) = (Finds::default(), Ring::default());
        (0..MAX_FINDS as u64 + 5).for_each(|seq| finds.push(found(seq, "motion", 1), &ring, 0));
        let begin = finds.begin();
        assert_eq!(begin, 5);
        let (messages, next) = finds.since(begin);
        assert_eq!((messages.count(), next), (MAX_FINDS, begin + MAX_FINDS as u64));
        assert!(!finds.has(next));
        assert_eq!(finds.since(next).0.count(), 0);
        finds.push(found(9, "motion", 1), &ring, 0);
        assert!(finds.has(next));
        // Who was away longer than anything is held gets what there is.
        assert_eq!(finds.since(0).0.count(), MAX_FINDS);
    }

    #[test]
    fn large_results_push_older_ones_out_and_the_newest_stays() {
        let (mut finds, ring) = (Finds::default(), Ring::default());
        (0..3).for_each(|seq| finds.push(found(seq, "motion", MAX_FIND_BYTES / 2), &ring, 0));
        assert_eq!(finds.since(0).0.count(), 2);
        finds.push(found(3, "motion", 2 * MAX_FIND_BYTES), &ring, 0);
        assert_eq!(finds.since(0).0.count(), 1);
    }

    #[test]
    fn models_are_told_while_they_are_at_work_and_only_so_many() {
        let (mut finds, ring) = (Finds::default(), Ring::default());
        assert_eq!(finds.analysis(0), None);
        (0..20).for_each(|model| finds.push(found(0, &format!("model {model}"), 1), &ring, 0));
        assert_eq!(finds.analysis(0).unwrap().models.len(), MAX_MODELS);
        assert_eq!(finds.analysis(MODEL_MICROS), None);
    }
}
