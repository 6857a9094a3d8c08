//! Things that a model in a file finds: YOLO and SSD as ONNX.
//!
//! The picture is made as large as the model wants it, the engine runs the model, and what it gives is told by its
//! form. Which forms, and why so: `docs/design/vision.md`.
//!
//! A model is as trusted as a program: how much memory and time a run takes is the model's affair. But damaged bytes,
//! or a model of another kind, end in an error: lengths and nesting are checked before the engine sees them, a break
//! in the engine is caught, and each model has looked at one gray picture before it is accepted.

mod config;
mod engine;
mod error;
mod labels;
mod letterbox;
mod outputs;
mod structure;
mod suppress;

use crate::{Detection, Detector, Model, VisionError};
use engine::{Engine, Input, name_inputs};
use labels::Labels;
use letterbox::{Letterbox, PictureForm};
use lumenbus_frame::RawFrame;
use outputs::Hints;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use structure::Structure;

pub use config::{OnnxConfig, OnnxConfigError};
pub use error::ModelError;

const DETECTOR: &str = "onnx";
/// Changes with everything that changes what is found in the same model's numbers.
const RULES: &str = "1";
/// Bytes of a model; the largest YOLO has 280 MB.
const MAX_FILE: u64 = 1 << 29;
/// Sides of a model's picture.
const SIDES: std::ops::RangeInclusive<usize> = 8..=4096;
/// The engine follows a model's operators by recursion, when it loads them and in the first run.
const STACK: usize = 128 << 20;

/// A model that is ready; the detectors of all streams share it.
#[derive(Debug)]
pub struct OnnxModel {
    config: OnnxConfig,
    model: Model,
    engine: Engine,
    input: Input,
    hints: Hints,
    labels: Labels,
}

impl OnnxModel {
    /// Reads the file and runs the model once.
    ///
    /// # Errors
    /// A file that cannot be read, is no ONNX model, needs an operator that the engine lacks, or is no detector.
    pub fn load(config: &OnnxConfig) -> Result<Self, VisionError> {
        let load = || {
            let loader = thread::Builder::new().name("onnx-load".to_owned()).stack_size(STACK);
            let config = config.clone();
            let thread = loader.spawn(move || Self::read(config)).map_err(|cause| ModelError::Thread { cause })?;
            thread.join().unwrap_or(Err(ModelError::Panicked { doing: "load" }))
        };
        load().map_err(|error| VisionError::Model { path: config.path.clone(), error: Box::new(error) })
    }

    fn read(config: OnnxConfig) -> Result<Self, ModelError> {
        let bytes = read(&config.path)?;
        let model = labels::model_name(&config.path, crc32c::crc32c(&bytes), RULES);
        let structure = Structure::of(&bytes)?;
        let (engine, inputs) = Engine::load(bytes, &structure)?;
        let [input] = &inputs[..] else { return Err(refused(&inputs)) };
        let form = picture_form(input, config.side).ok_or_else(|| refused(&inputs))?;
        let labels = Labels::find(engine.metadata("names"), &config.path)?;
        let hints = Hints { form, classes: labels.len(), has_background_label: labels.begins_with_background() };
        let loaded = Self { config, model, engine, input: input.clone(), hints, labels };
        loaded.try_out()?;
        Ok(loaded)
    }

    /// Whether its answers are understood.
    fn try_out(&self) -> Result<(), ModelError> {
        let form = &self.hints.form;
        let numbers = form.gray();
        let outputs = self.engine.run(&self.input, form.shape(), &numbers)?;
        outputs::candidates(&outputs, &self.hints, self.config.least_score).map(drop)
    }

    fn detect(&self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        let form = &self.hints.form;
        let letterbox = Letterbox::new(picture.dimensions(), form);
        let numbers = letterbox.fill(picture, form)?;
        let found = self.engine.run(&self.input, form.shape(), &numbers);
        let found = found.and_then(|outputs| outputs::candidates(&outputs, &self.hints, self.config.least_score));
        let (mut found, may_overlap) =
            found.map_err(|error| VisionError::Model { path: self.config.path.clone(), error: Box::new(error) })?;
        suppress::best(&mut found);
        if may_overlap {
            suppress::overlapping(&mut found, self.config.max_overlap, self.config.max_detections);
        }
        let detection = |found: &suppress::Candidate| {
            let bounds = letterbox.bounds(found.corners)?;
            Some(Detection { class: self.labels.get(found.class), score: found.score.max(0.0), bounds })
        };
        Ok(found.iter().filter_map(detection).take(self.config.max_detections).collect())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |cause| ModelError::Read { path: path.to_owned(), cause };
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a file")));
    }
    let mut bytes = Vec::new();
    let length = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if length.map_err(failed)? as u64 > MAX_FILE {
        return Err(ModelError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(bytes)
}

fn refused(inputs: &[Input]) -> ModelError {
    ModelError::Input { found: name_inputs(inputs), least: *SIDES.start(), most: *SIDES.end() }
}

/// `None`: no picture.
fn picture_form(input: &Input, open_side: usize) -> Option<PictureForm> {
    let [batch, a, b, c] = input.shape[..] else { return None };
    let is_channels = |side: Option<usize>| matches!(side, Some(1 | 3));
    let is_planar = is_channels(a) || !is_channels(c);
    let (channels, height, width) = if is_planar { (a, b, c) } else { (c, a, b) };
    let form = PictureForm {
        width: width.unwrap_or(open_side),
        height: height.unwrap_or(open_side),
        channels: channels.unwrap_or(3),
        is_planar,
        element: input.element?,
    };
    let fits = SIDES.contains(&form.width) && SIDES.contains(&form.height) && [1, 3].contains(&form.channels);
    (fits && batch.unwrap_or(1) == 1).then_some(form)
}

/// Runs a model on the pictures of one stream; nothing is learnt from them.
///
/// Reads I420, 8-bit gray and RGB.
#[derive(Debug, Clone)]
pub struct OnnxDetector(Arc<OnnxModel>);

impl OnnxDetector {
    /// A detector that shares the model with others.
    #[must_use]
    pub fn new(model: Arc<OnnxModel>) -> Self {
        Self(model)
    }
}

impl Detector for OnnxDetector {
    fn model(&self) -> &Model {
        &self.0.model
    }

    fn detect(&mut self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        self.0.detect(picture)
    }

    fn reset(&mut self) {}
}
