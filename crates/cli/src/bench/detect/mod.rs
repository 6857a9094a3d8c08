//! `lumenbus bench detect`: how much of what is in a clip a detector with the tracker finds, and what it costs.

pub(crate) mod arguments;
mod drawing;
mod keyframes;
mod report;
mod slow;

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use anyhow::Context as _;
use arguments::{DetectBenchArguments, Measure};
use drawing::Drawings;
use lumenbus_codec::{Color, DecoderConfig};
use lumenbus_frame::{CaptureTime, Dimensions, Epoch, FrameId, FrameRate, PixelFormat, Seq};
use lumenbus_pipeline::decode::{DecodedFrame, Decoding};
use lumenbus_source::{SourceItem, SourceOptions};
use lumenbus_vision::evaluate::{BoxScore, Labels, shows_somebody};
use lumenbus_vision::track::{TrackConfig, TrackState, Tracker};
use lumenbus_vision::{Bounds, Detector};
use std::time::Duration;

/// What came of it.
struct Measured {
    size: Dimensions,
    rate: FrameRate,
    pictures: u64,
    /// Confirmed boxes of all pictures.
    boxes: u64,
    /// Processor time of the one thread that does it.
    decode: Duration,
    detect: Duration,
    score: BoxScore,
    /// Pictures with a confirmed box as large as somebody.
    seen: Vec<u64>,
}

/// Looks at one picture after another.
struct Looking<'a> {
    detector: Box<dyn Detector>,
    tracker: Tracker,
    labels: Option<&'a Labels>,
    drawings: Option<Drawings>,
    measured: Measured,
}

pub(super) fn run(
    arguments: &DetectBenchArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    match arguments.measure {
        Measure::Footage => footage(arguments, output),
        Measure::Slow => slow::run(arguments, settings, output),
        Measure::Keyframes => keyframes::run(arguments, output),
    }
}

fn footage(arguments: &DetectBenchArguments, output: &mut Output) -> anyhow::Result<Outcome> {
    let labels = arguments.labels.as_deref().map(read_labels).transpose()?;
    let measured = measure(arguments, labels.as_ref(), output)?;
    report::show(arguments, labels.as_ref(), &measured, output);
    Ok(Outcome::Done)
}

fn read_labels(path: &std::path::Path) -> anyhow::Result<Labels> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Labels::parse(&text).with_context(|| format!("reading {}", path.display()))
}

fn measure(arguments: &DetectBenchArguments, labels: Option<&Labels>, output: &mut Output) -> anyhow::Result<Measured> {
    let mut source = lumenbus_source::open(&arguments.source, &SourceOptions::default())?;
    let rate = source.nominal_rate().unwrap_or(lumenbus_source::DEFAULT_RATE);
    let mut looking = Looking::begin(arguments, labels, rate)?;
    let mut decoding = Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) });
    let (mut pictures, mut seq) = (Vec::new(), 0);
    loop {
        let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
        seq += 1;
        let began = thread_cpu();
        let item = source.next_frame()?;
        let is_over = item.is_none();
        match item {
            None => decoding.finish(&mut pictures),
            Some(SourceItem::Encoded { frame, .. }) => decoding.push(id, &frame, &mut pictures)?,
            Some(SourceItem::Raw { frame, .. }) => {
                let color = Color::assumed(frame.dimensions());
                pictures.push(DecodedFrame { id, picture: frame, color });
            }
            Some(_) => {}
        }
        looking.measured.decode += thread_cpu().saturating_sub(began);
        for decoded in pictures.drain(..) {
            if arguments.frames.is_none_or(|frames| looking.measured.pictures < frames) {
                looking.look(decoded)?;
            }
        }
        let done = looking.measured.pictures;
        output.progress(|| format!("{done} pictures"));
        if is_over || arguments.frames.is_some_and(|frames| done >= frames) {
            break;
        }
    }
    anyhow::ensure!(looking.measured.pictures > 0, "{} gave no picture", source.name());
    Ok(looking.measured)
}

impl<'a> Looking<'a> {
    fn begin(arguments: &DetectBenchArguments, labels: Option<&'a Labels>, rate: FrameRate) -> anyhow::Result<Self> {
        let measured = Measured {
            size: Dimensions::new(0, 0),
            rate,
            pictures: 0,
            boxes: 0,
            decode: Duration::ZERO,
            detect: Duration::ZERO,
            score: BoxScore::new(arguments.iou),
            seen: Vec::new(),
        };
        Ok(Self {
            detector: arguments.detector.open()?,
            tracker: Tracker::new(TrackConfig::default()),
            labels,
            drawings: arguments.pictures.as_deref().map(Drawings::into_folder).transpose()?,
            measured,
        })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a time within a clip")]
    fn look(&mut self, mut decoded: DecodedFrame) -> anyhow::Result<()> {
        let seq = self.measured.pictures;
        let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
        // As a camera would have taken them: pictures come here in the order in which they are shown.
        decoded.picture.capture = CaptureTime::sensor((seq as f64 / self.measured.rate.as_f64() * 1e9) as i64);
        self.check(decoded.picture.dimensions())?;
        let began = thread_cpu();
        let detections = self.detector.detect(&decoded.picture)?;
        let tracked = self.tracker.update(id, decoded.picture.capture, detections);
        self.measured.detect += thread_cpu().saturating_sub(began);
        let confirmed = tracked.iter().filter(|tracked| tracked.state == TrackState::Confirmed);
        let found: Vec<Bounds> = confirmed.map(|tracked| tracked.detection.bounds).collect();
        self.measured.pictures += 1;
        self.measured.boxes += found.len() as u64;
        let size = decoded.picture.dimensions();
        if shows_somebody(&found, size.width, size.height) {
            self.measured.seen.push(seq);
        }
        let Some(frame) = self.labels.and_then(|labels| labels.frame(seq)) else { return Ok(()) };
        let matches = self.measured.score.add(&frame.boxes, &found);
        match &self.drawings {
            Some(drawings) => drawings.write(seq, &decoded, &frame.boxes, &found, &matches),
            None => Ok(()),
        }
    }

    fn check(&mut self, size: Dimensions) -> anyhow::Result<()> {
        self.measured.size = size;
        let Some(labels) = self.labels else { return Ok(()) };
        let labelled = Dimensions::new(labels.width, labels.height);
        anyhow::ensure!(labelled == size, "the labels are of {}, pictures of {labelled}; this is {size}", labels.clip);
        Ok(())
    }
}

/// Processor time of this thread, as Linux counts it; zero where the system does not tell.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}
