//! A bus with a publisher, and a viewer on it.

pub(crate) use crate::client::*;
use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamHandle, StreamOptions};
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{
    CaptureTime, Codec, Dimensions, EncodedFrame, FrameRate, PixelFormat, RawFrame, StreamId, StreamParameters,
};
use lumenbus_source::{PatternConfig, PatternSource, Source as _, SourceItem, SourceOptions};
use lumenbus_web::{Viewer, ViewerConfig, ViewerSnapshot};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Pictures of [`pattern`] a second, and the time between them.
const PATTERN_RATE: FrameRate = FrameRate { frames: 10, seconds: 1 };
pub(crate) const PATTERN_INTERVAL_MILLIS: u64 = 100;

pub(crate) struct World {
    pub(crate) viewer: Viewer,
    pub(crate) publisher: Publisher,
    pub(crate) bus: BusConfig,
    _broker: RunningBroker,
    _data: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ViewerConfig)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = BrokerConfig::new(data.path()).listen(([127, 0, 0, 1], 0).into());
        let broker = Broker::start_blocking(config).unwrap();
        let bus = BusConfig::new(broker.addr().to_string());
        let mut config = ViewerConfig::new(bus.clone());
        config.listen = ([127, 0, 0, 1], 0).into();
        change(&mut config);
        let viewer = Viewer::start(config).unwrap();
        let publisher = Publisher::open(PublisherConfig::new(bus.clone())).unwrap();
        Self { viewer, publisher, bus, _broker: broker, _data: data }
    }

    #[track_caller]
    pub(crate) fn stream(&self, camera: &str, topic: &str) -> StreamHandle {
        let id = StreamId::main(camera.parse().unwrap(), topic.parse().unwrap());
        let codec = if topic == "raw_images" { Codec::Jpeg } else { Codec::H264 };
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.publisher.stream(id.clone(), StreamOptions::new(codec)) {
                Ok(stream) => break stream,
                // A broker on a busy machine may be late with the topics; asking again is what a publisher does.
                Err(error) => assert!(error.is_broker_trouble() && Instant::now() < deadline, "{error}"),
            }
        };
        // Who reads before the first frame gets every frame.
        self.wait("its topic", |snapshot| snapshot.topics.iter().any(|known| known.as_str() == topic));
        stream
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.viewer.addr()
    }

    /// Waits until the viewer says so.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&ViewerSnapshot) -> bool) -> ViewerSnapshot {
        wait(&self.viewer, what, is_so)
    }

    /// Publishes and waits until the viewer has it.
    #[track_caller]
    pub(crate) fn submit(&self, stream: &StreamHandle, frames: impl IntoIterator<Item = EncodedFrame>) {
        let camera = &stream.id().camera;
        let before =
            self.viewer.snapshot().streams.iter().find(|known| known.camera == *camera).map_or(0, |s| s.frames);
        let mut count = 0;
        for frame in frames {
            stream.submit(frame).unwrap();
            count += 1;
        }
        self.wait("frames", |snapshot| {
            snapshot.streams.iter().any(|known| known.camera == *camera && known.frames >= before + count)
        });
    }
}

/// Waits until the viewer says so. A snapshot is a look from outside, as the terminal takes it: there is no event for it.
#[track_caller]
pub(crate) fn wait(viewer: &Viewer, what: &str, is_so: impl Fn(&ViewerSnapshot) -> bool) -> ViewerSnapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = viewer.snapshot();
        if is_so(&snapshot) {
            return snapshot;
        }
        assert!(Instant::now() < deadline, "{what} did not come: {snapshot:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn now_nanos() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// The test pattern, coded with a keyframe each `gop` pictures; picture `n` was taken `n` intervals after `begin_nanos`.
pub(crate) fn pattern(codec: Codec, count: u64, gop: u32, begin_nanos: i64) -> Vec<EncodedFrame> {
    let size = Dimensions::new(320, 192);
    let mut config = PatternConfig::new(size, PATTERN_RATE);
    config.frames = Some(count);
    let mut source = PatternSource::new(config, &SourceOptions::default()).unwrap();
    let mut coding = EncoderConfig::new(codec);
    coding.frame_rate = PATTERN_RATE;
    coding.keyframe_interval = Duration::from_millis(u64::from(gop) * PATTERN_INTERVAL_MILLIS);
    coding.bits_per_second = Some(2_000_000);
    let mut encoder = encoder(&coding).unwrap();
    let mut frames = Vec::new();
    while let Some(SourceItem::Raw { frame: mut picture, .. }) = source.next_frame().unwrap() {
        let number = i64::try_from(frames.len()).unwrap();
        let interval = i64::try_from(PATTERN_INTERVAL_MILLIS).unwrap();
        picture.capture = CaptureTime::arrival(begin_nanos + number * interval * 1_000_000);
        picture.pts = Some(number * interval * 90);
        encoder.encode(&picture, &mut frames).unwrap();
    }
    frames
}

/// "JPEG" files of any size: nothing here decodes them.
pub(crate) fn stills(count: u8, bytes: usize) -> impl Iterator<Item = EncodedFrame> {
    (0..count).map(move |number| {
        let mut payload = vec![number; bytes];
        payload[..2].copy_from_slice(&[0xff, 0xd8]);
        let capture = CaptureTime::arrival(now_nanos());
        let parameters = Arc::new(StreamParameters::new(Codec::Jpeg, Dimensions::new(640, 480)));
        EncodedFrame::new(Codec::Jpeg, capture, payload.into()).with_parameters(parameters)
    })
}

/// Real H.264: a keyframe and `count - 1` frames after it.
pub(crate) fn video(count: u8) -> Vec<EncodedFrame> {
    let mut encoder = encoder(&EncoderConfig::new(Codec::H264)).unwrap();
    let size = Dimensions::new(64, 48);
    let mut frames = Vec::new();
    for number in 0..count {
        let pixels = vec![60 + number; PixelFormat::I420.frame_bytes(size).unwrap()];
        let capture = CaptureTime::arrival(now_nanos());
        let mut picture = RawFrame::new(PixelFormat::I420, size, pixels.into(), capture).unwrap();
        picture.pts = Some(i64::from(number) * 3_000);
        encoder.encode(&picture, &mut frames).unwrap();
    }
    frames
}
