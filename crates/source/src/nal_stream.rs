//! From access units to frames: what raw byte streams and containers have in common.

use lumenbus_frame::bitstream::{AccessUnit, BitstreamError, Normaliser};
use lumenbus_frame::{CaptureTime, EncodedFrame, FrameRate, StreamParameters, Timebase};
use std::sync::Arc;

/// Which frame rate counts, besides the one that the stream itself may state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// Goes before the stream's own.
    pub(crate) stated: Option<FrameRate>,
    /// For when nobody says anything.
    pub(crate) fallback: Option<FrameRate>,
}

/// Keeps a stream's parameters while its units go by.
pub(crate) struct NalStream {
    pub(crate) normaliser: Normaliser,
    timebase: Timebase,
    rates: Rates,
    parameters: Option<Arc<StreamParameters>>,
}

impl NalStream {
    pub(crate) fn new(normaliser: Normaliser, timebase: Timebase, rates: Rates) -> Self {
        let mut stream = Self { normaliser, timebase, rates, parameters: None };
        stream.refresh();
        stream
    }

    /// What is known so far; `None` before the first sequence parameter set.
    pub(crate) fn parameters(&self) -> Option<&Arc<StreamParameters>> {
        self.parameters.as_ref()
    }

    fn refresh(&mut self) {
        let Some(sequence) = self.normaliser.sequence() else { return };
        let mut parameters = sequence.to_stream_parameters();
        parameters.timebase = self.timebase;
        parameters.frame_rate = self.rates.stated.or(parameters.frame_rate).or(self.rates.fallback);
        if self.parameters.as_deref() != Some(&parameters) {
            self.parameters = Some(Arc::new(parameters));
        }
    }

    /// The frame of a coded unit; its pts is still to be set.
    pub(crate) fn frame(
        &mut self,
        unit: &bytes::Bytes,
        capture: CaptureTime,
    ) -> Result<(EncodedFrame, AccessUnit), BitstreamError> {
        let unit = self.normaliser.normalise(unit)?;
        if unit.is_keyframe || unit.parameters_changed || self.parameters.is_none() {
            self.refresh();
        }
        let mut frame = EncodedFrame::new(self.normaliser.codec().into(), capture, unit.payload.clone());
        frame.is_keyframe = unit.is_keyframe;
        frame.is_discardable = unit.is_discardable;
        frame.parameters = self.parameters.clone().filter(|_| unit.is_keyframe);
        Ok((frame, unit))
    }
}
