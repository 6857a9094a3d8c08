//! The demo's judge: how close the two streams that are compared come to the footage they were made of.
//!
//! It decodes both, finds for each picture the one of the clip that it shows, and takes the SSIM of luma wherever that
//! one was kept. Which picture it is, the picture itself says: sequence numbers would not after a pulled cable.

use crate::demo::cameras::{self, PLAZA_H264, PLAZA_JPEG};
use crate::demo::clips::{self, Clip};
use anyhow::Context as _;
use lumenbus_bus::subscriber::{CameraFilter, DeliveredFrame, Event};
use lumenbus_bus::{BusConfig, Subscriber, SubscriberConfig};
use lumenbus_codec::quality::QualityMeter;
use lumenbus_codec::{DecoderConfig, convert};
use lumenbus_frame::{CameraId, Epoch, FrameId, PixelFormat, RawFrame, Seq, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::decode::{DecodedFrame, Decoding};
use lumenbus_pipeline::fleet::CameraSource;
use lumenbus_pipeline::subscribe::encoded;
use lumenbus_source::{SourceItem, SourceOptions};
use lumenbus_web::{ComparedSsim, QualityJudge};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Of the clip's pictures every so many-th is kept: about one comparison a second.
const KEEP_EVERY: usize = 10;
/// A signature has a mean for every square of so many samples a side.
const CELL: usize = 8;
const BUFFER_BYTES: usize = 8 << 20;
const WAIT: Duration = Duration::from_millis(100);

/// Judges on a thread of its own until it is dropped.
pub(crate) struct Judge {
    meters: Arc<Meters>,
    stop: Arc<Shutdown>,
    thread: Option<JoinHandle<()>>,
}

/// What was compared so far: the video, the JPEG pictures.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<(QualityMeter, QualityMeter)>);

impl QualityJudge for Meters {
    fn ssim(&self) -> Option<ComparedSsim> {
        let (coded, jpeg) = &*self.lock();
        Some(ComparedSsim { coded: coded.quality()?.ssim, jpeg: jpeg.quality()?.ssim })
    }
}

impl Meters {
    fn lock(&self) -> MutexGuard<'_, (QualityMeter, QualityMeter)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge {
    /// Writes down what it sees in `meters`.
    pub(crate) fn start(bus: &BusConfig, topics: Vec<TopicName>, meters: Arc<Meters>) -> anyhow::Result<Self> {
        let stop = Arc::new(Shutdown::default());
        let mut config = SubscriberConfig::new(bus.clone(), topics);
        config.cameras = CameraFilter::new(&[PLAZA_H264.to_owned(), PLAZA_JPEG.to_owned()])?;
        config.buffer_bytes = BUFFER_BYTES;
        let (theirs, until) = (Arc::clone(&meters), Arc::clone(&stop));
        let judge = move || match judge(config, &theirs, &until) {
            Ok(()) => {}
            Err(error) => tracing::warn!("the demo does not tell how good its pictures are: {error:#}"),
        };
        let thread = std::thread::Builder::new().name("demo-judge".to_owned()).spawn(judge)?;
        Ok(Self { meters, stop, thread: Some(thread) })
    }

    /// Mean SSIM of luma so far; `None` until both streams were compared.
    pub(crate) fn ssim(&self) -> Option<ComparedSsim> {
        self.meters.ssim()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.stop.request();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the demo's judge panicked");
        }
    }
}

fn judge(config: SubscriberConfig, meters: &Meters, stop: &Shutdown) -> anyhow::Result<()> {
    let Some(originals) = Originals::read(clips::PLAZA, stop)? else { return Ok(()) };
    let mut subscriber = Subscriber::open(config)?;
    let mut sides = [PLAZA_H264, PLAZA_JPEG].map(Side::new);
    while !stop.is_requested() {
        match subscriber.recv(WAIT)? {
            Some(Event::Frame(frame)) => {
                let Some(side) = sides.iter_mut().find(|side| side.camera == frame.stream.camera) else { continue };
                for (original, picture) in side.pictures(&frame, &originals) {
                    let (coded, jpeg) = &mut *meters.lock();
                    let meter = if side.camera.as_str() == PLAZA_JPEG { jpeg } else { coded };
                    meter.add(original, &picture)?;
                }
            }
            Some(Event::Gap { stream, gap }) => {
                if let Some(side) = sides.iter_mut().find(|side| side.camera == stream.camera) {
                    side.decoding.gap(&gap, &mut Vec::new());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// One of the two streams.
struct Side {
    camera: CameraId,
    decoding: Decoding,
    decoded: Vec<DecodedFrame>,
}

impl Side {
    fn new(camera: &str) -> Self {
        let decoding = Decoding::new(DecoderConfig::default());
        Self { camera: cameras::id(camera), decoding, decoded: Vec::new() }
    }

    /// The pictures that the frame brings whose originals were kept, beside these.
    fn pictures<'a>(&mut self, frame: &DeliveredFrame, originals: &'a Originals) -> Vec<(&'a RawFrame, RawFrame)> {
        if let Err(error) = self.decoding.push(frame.id(), &encoded(frame), &mut self.decoded) {
            tracing::debug!(camera = %self.camera, "not judged: {error}");
        }
        let lumas = self.decoded.drain(..).filter_map(|decoded| luma(&decoded).ok());
        lumas.filter_map(|luma| Some((originals.of(&luma)?, luma))).collect()
    }
}

/// In full range, whatever it was coded in, so that JPEG and video can be compared.
fn luma(decoded: &DecodedFrame) -> Result<RawFrame, lumenbus_codec::CodecError> {
    convert(&decoded.picture, PixelFormat::Gray8, decoded.color)
}

/// The clip's pictures: of each what tells it from the others, of some all samples.
struct Originals {
    signatures: Vec<Vec<u8>>,
    kept: Vec<RawFrame>,
}

impl Originals {
    /// `None` when there is no need any more.
    fn read(clip: Clip, stop: &Shutdown) -> anyhow::Result<Option<Self>> {
        let mut originals = Self { signatures: Vec::new(), kept: Vec::new() };
        let is_whole = for_each_picture(clip, stop, |picture| originals.add(picture))?;
        anyhow::ensure!(!is_whole || !originals.kept.is_empty(), "{} has no picture", clip.name);
        Ok(is_whole.then_some(originals))
    }

    fn add(&mut self, decoded: &DecodedFrame) -> anyhow::Result<()> {
        let luma = luma(decoded).context("a picture of the clip has no luma")?;
        self.signatures.push(signature(&luma));
        if self.signatures.len() % KEEP_EVERY == 1 {
            self.kept.push(luma);
        }
        Ok(())
    }

    /// The original of a picture, if it was kept.
    fn of(&self, luma: &RawFrame) -> Option<&RawFrame> {
        let ours = signature(luma);
        let distance = |theirs: &[u8]| -> u64 { ours.iter().zip(theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum() };
        let (index, _) = self.signatures.iter().enumerate().min_by_key(|(_, theirs)| distance(theirs))?;
        if index % KEEP_EVERY == 0 { self.kept.get(index / KEEP_EVERY) } else { None }
    }
}

/// Decodes a clip; whether it came to its end before a stop.
fn for_each_picture(
    clip: Clip,
    stop: &Shutdown,
    mut then: impl FnMut(&DecodedFrame) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let source = CameraSource::Bytes { name: clip.name.into(), bytes: clip.bytes() };
    let mut source = source.open(&SourceOptions::default())?;
    let (mut decoding, mut decoded) = (Decoding::new(DecoderConfig::default()), Vec::new());
    let mut seq = 0;
    while let Some(item) = source.next_frame()? {
        if stop.is_requested() {
            return Ok(false);
        }
        let SourceItem::Encoded { frame, .. } = item else { continue };
        decoding.push(FrameId { epoch: Epoch(0), seq: Seq(seq) }, &frame, &mut decoded)?;
        seq += 1;
        decoded.drain(..).try_for_each(|picture| then(&picture))?;
    }
    decoding.finish(&mut decoded);
    decoded.iter().try_for_each(then)?;
    Ok(true)
}

/// The means of small squares, row by row.
fn signature(luma: &RawFrame) -> Vec<u8> {
    let size = luma.dimensions();
    let columns = size.width as usize / CELL;
    let mut signature = Vec::with_capacity(columns * (size.height as usize / CELL));
    for rows in luma.pixels().chunks_exact(size.width as usize * CELL) {
        let mut sums = vec![0_usize; columns];
        for row in rows.chunks_exact(size.width as usize) {
            for (sum, cell) in sums.iter_mut().zip(row.chunks_exact(CELL)) {
                *sum += cell.iter().copied().map(usize::from).sum::<usize>();
            }
        }
        signature.extend(sums.iter().map(|sum| u8::try_from(sum / (CELL * CELL)).unwrap_or(u8::MAX)));
    }
    signature
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_codec::{EncoderConfig, encoder};
    use lumenbus_frame::Codec;

    /// Also when it was coded coarsely.
    #[test]
    fn each_picture_is_taken_for_itself() {
        let go_on = Shutdown::default();
        let originals = Originals::read(clips::PLAZA, &go_on).unwrap().unwrap();
        assert_eq!((originals.signatures.len(), originals.kept.len()), (200, 20));
        let mut config = EncoderConfig::new(Codec::Jpeg);
        config.quality = 30;
        let (mut jpeg, mut seq) = (encoder(&config).unwrap(), 0);
        let mut decoding = Decoding::new(DecoderConfig::default());
        let check = |picture: &DecodedFrame| {
            let (mut coded, mut decoded) = (Vec::new(), Vec::new());
            jpeg.encode(&picture.picture, &mut coded)?;
            decoding.push(FrameId { epoch: Epoch(1), seq: Seq(seq as u64) }, &coded[0], &mut decoded)?;
            let found = originals.of(&luma(&decoded[0])?);
            let kept = (seq % KEEP_EVERY == 0).then(|| &originals.kept[seq / KEEP_EVERY]);
            assert!(
                found.map(std::ptr::from_ref) == kept.map(std::ptr::from_ref),
                "picture {seq} is taken for another"
            );
            seq += 1;
            Ok(())
        };
        assert!(for_each_picture(clips::PLAZA, &go_on, check).unwrap());
    }
}
