//! The thread that decodes and codes the stills of one camera.

use super::budget::{SnapshotBudget, Stop};
use super::plan::Job;
use crate::decode::{DecodedFrame, Decoding};
use lumenbus_bus::BusError;
use lumenbus_bus::publisher::StreamHandle;
use lumenbus_codec::{CodecError, DecoderConfig, EncoderConfig, encoder};
use lumenbus_frame::{Codec, EncodedFrame, FrameId, Gap, GapReason, Seq};
use std::num::NonZeroUsize;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a still was not made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// The stills' stream, until somebody takes it away to end it; what is made later goes nowhere.
#[derive(Debug)]
pub(super) struct Slot(Mutex<Option<StreamHandle>>);

impl Slot {
    pub(super) fn new(stream: StreamHandle) -> Self {
        Self(Mutex::new(Some(stream)))
    }

    pub(super) fn take(&self) -> Option<StreamHandle> {
        self.lock().take()
    }

    /// Never waits: a stream queues or drops.
    fn submit(&self, still: EncodedFrame) -> Result<(), BusError> {
        self.lock().as_ref().map_or(Ok(()), |stream| stream.submit(still).map(drop))
    }

    fn lock(&self) -> MutexGuard<'_, Option<StreamHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Maker {
    slot: Arc<Slot>,
    budget: Arc<SnapshotBudget>,
    stop: Arc<Stop>,
    /// Of a GOP that is decoded frame by frame.
    decoding: Option<Decoding>,
    last: Option<FrameId>,
    pictures: Vec<DecodedFrame>,
    has_told: bool,
}

impl Maker {
    pub(super) fn new(slot: Arc<Slot>, budget: Arc<SnapshotBudget>, stop: Arc<Stop>) -> Self {
        Self { slot, budget, stop, decoding: None, last: None, pictures: Vec::new(), has_told: false }
    }

    /// Until nobody can send any more, or a stop.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let (budget, stop) = (Arc::clone(&self.budget), Arc::clone(&self.stop));
            let Some(sent) = budget.spend(&stop, || self.send(job)) else { return };
            // Once: each still of a stream that was taken over would fail like the first.
            if let (Err(error), false) = (sent, self.has_told) {
                let stream = self.slot.lock().as_ref().map(|stream| stream.id().to_string()).unwrap_or_default();
                tracing::warn!(%stream, %error, "a still could not be made; later ones are tried");
                self.has_told = true;
            }
        }
    }

    fn send(&mut self, job: Job) -> Result<(), Failure> {
        if let Some(still) = self.make(job)? {
            self.slot.submit(still)?;
        }
        Ok(())
    }

    fn make(&mut self, mut job: Job) -> Result<Option<EncodedFrame>, Failure> {
        let Some(first) = job.frames.first() else { return Ok(None) };
        if job.is_alone && first.frame.codec == Codec::Jpeg {
            return Ok(job.frames.pop().map(|held| still(held.frame, held.id)));
        }
        let shown = self.decode(&job)?;
        if job.is_alone {
            self.decoding = None;
        }
        let Some(DecodedFrame { id, picture, color }) = shown else { return Ok(None) };
        let mut config = EncoderConfig::new(Codec::Jpeg);
        config.threads = Some(NonZeroUsize::MIN);
        let (mut encoder, mut files) = (encoder(&config)?, Vec::with_capacity(1));
        encoder.set_color(color);
        encoder.encode(&picture, &mut files)?;
        Ok(files.pop().map(|file| still(file, id)))
    }

    /// The newest picture of these frames.
    fn decode(&mut self, job: &Job) -> Result<Option<DecodedFrame>, CodecError> {
        let decoded = self.decode_all(job);
        let newest = self.pictures.pop();
        // After damage too: none of these may be taken for a picture of the next frames.
        self.pictures.clear();
        decoded.map(|()| newest)
    }

    fn decode_all(&mut self, job: &Job) -> Result<(), CodecError> {
        let Some(first) = job.frames.first() else { return Ok(()) };
        if first.frame.is_keyframe {
            (self.decoding, self.last) = (None, None);
        }
        let decoding = self.decoding.get_or_insert_with(|| Decoding::new(DecoderConfig::default()));
        // A stop leaves out what is left of a long GOP.
        for held in job.frames.iter().take_while(|_| !self.stop.is_requested()) {
            // Numbers in between are of pictures that repeat the last one; what is lost cuts the job's frames.
            if let Some(last) = self.last.filter(|last| last.epoch == held.id.epoch && last.seq.next() < held.id.seq) {
                let repeats = Gap::new(last.seq.next(), Seq(held.id.seq.0 - 1), GapReason::Repeated);
                decoding.gap(&repeats, &mut self.pictures);
            }
            self.last = Some(held.id);
            decoding.push(held.id, &held.frame, &mut self.pictures).map_err(|error| error.source)?;
        }
        if job.is_alone {
            // One picture is all there is; a decoder that puts pictures in order would wait for the next.
            decoding.finish(&mut self.pictures);
        }
        Ok(())
    }
}

/// A file as a still of this frame.
fn still(file: EncodedFrame, of: FrameId) -> EncodedFrame {
    EncodedFrame { of: Some(of), pts: None, is_discontinuity: false, deadline: None, trace: None, ..file }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Held;
    use super::*;
    use lumenbus_frame::{CaptureTime, Dimensions, Epoch, PixelFormat, RawFrame};
    use std::sync::mpsc::sync_channel;

    fn maker() -> Maker {
        Maker::new(Arc::new(Slot(Mutex::new(None))), Arc::default(), Arc::default())
    }

    fn held(seq: u64, frame: EncodedFrame) -> Held {
        Held { id: FrameId { epoch: Epoch(1), seq: Seq(seq) }, frame }
    }

    fn picture() -> EncodedFrame {
        let gray = vec![90; 256].into();
        let gray = RawFrame::new(PixelFormat::Gray8, Dimensions::new(16, 16), gray, CaptureTime::arrival(1)).unwrap();
        let mut files = Vec::new();
        encoder(&EncoderConfig::new(Codec::Jpeg)).unwrap().encode(&gray, &mut files).unwrap();
        files.pop().unwrap()
    }

    #[test]
    fn what_came_before_damage_is_no_still_of_what_comes_after() {
        let mut maker = maker();
        let rubbish = EncodedFrame { payload: vec![7; 64].into(), ..picture() };
        let damaged = Job { frames: vec![held(0, picture()), held(1, rubbish)], is_alone: false };
        assert!(maker.decode(&damaged).is_err());
        let mut delta = EncodedFrame::new(Codec::H264, CaptureTime::arrival(1), vec![0; 10].into());
        delta.is_keyframe = false;
        let next = Job { frames: vec![held(2, delta)], is_alone: false };
        assert!(maker.decode(&next).unwrap().is_none(), "nothing can be decoded up to the next keyframe");
    }

    #[test]
    fn a_stop_leaves_out_what_waits_and_what_is_left_of_a_job() {
        let mut maker = maker();
        let job = || Job { frames: vec![held(0, picture()), held(1, picture())], is_alone: false };
        assert!(maker.decode(&job()).unwrap().is_some());
        maker.budget.stop(&maker.stop);
        assert!(maker.decode(&job()).unwrap().is_none());
        let (sender, jobs) = sync_channel(2);
        sender.send(job()).unwrap();
        sender.send(job()).unwrap();
        // The sender is still there: it is the stop that ends this.
        maker.run(&jobs);
        assert_eq!(jobs.try_iter().count(), 1, "the second is not even looked at");
    }
}
