//! A detector of your own: one box around what is bright. Results go where those of `lumenbus detect` go, by the same worker:
//! workers of a group share the cameras, each result is committed together with the offset behind its frame.
//!
//! ```sh
//! cargo run -p lumenbus --example detector
//! ```

use lumenbus::bus::BusConfig;
use lumenbus::frame::RawFrame;
use lumenbus::pipeline::Shutdown;
use lumenbus::vision::worker::{DetectorSource, Ending, WorkError, Worker, WorkerConfig};
use lumenbus::vision::{Bounds, Detection, Detector, Model, VisionError};

struct Bright(Model);

impl Detector for Bright {
    fn model(&self) -> &Model {
        &self.0
    }

    fn detect(&mut self, picture: &RawFrame) -> Result<Vec<Detection>, VisionError> {
        // Of video and JPEG the first plane is luma.
        let (width, height) = (picture.dimensions().width, picture.dimensions().height);
        let luma = picture.pixels().iter().zip(0..width * height);
        let bright = luma.filter(|(level, _)| **level > 200).map(|(_, at)| (at % width, at / width));
        let rectangle = bright.fold((width, height, 0, 0), |(left, top, right, bottom), (x, y)| {
            (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1))
        });
        let (left, top, right, bottom) = rectangle;
        let side = |pixels: u32| u16::try_from(pixels).map_or(f32::MAX, f32::from);
        let bounds = || Bounds { x: side(left), y: side(top), width: side(right - left), height: side(bottom - top) };
        let found = (right > left).then(|| Detection { class: "bright".into(), score: 1.0, bounds: bounds() });
        Ok(found.into_iter().collect())
    }

    fn reset(&mut self) {}
}

/// Looks at every camera's newest picture until it is told to stop.
pub(crate) fn watch(bus: BusConfig, topic: &str, shutdown: &Shutdown) -> Result<Ending, WorkError> {
    let mut config = WorkerConfig::new(bus, "bright".to_owned());
    config.topics = vec![config.bus.topic_prefix.topic(topic)];
    let detectors = DetectorSource::new(|| Ok(Box::new(Bright(Model::new("bright", "1")))));
    Worker::new(config, detectors)?.run(shutdown)
}

fn main() -> Result<(), WorkError> {
    watch(BusConfig::new("127.0.0.1:9092"), "raw_video", &Shutdown::default()).map(drop)
}
