//! A recording of many cameras, made in its own time or in a fraction of it.

use super::arguments::SeekArguments;
use crate::output::Output;
use anyhow::Context as _;
use bytes::Bytes;
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamHandle, StreamOptions};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame, FrameRate, StreamId, TopicName};
use lumenbus_source::{PatternConfig, PatternSource, Source as _, SourceItem, SourceOptions};
use std::time::Duration;

/// Frames per second of the cameras that are only there.
const OTHERS_FPS: u64 = 5;
/// Bytes of their frames.
const OTHERS_BYTES: usize = 200;
/// What may wait in a lane while the recording is made.
const WAITING_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
const SECOND_NANOS: i64 = 1_000_000_000;
/// Until all streams are open.
const OPENING_SECONDS: i64 = 5;

/// A camera whose moments are looked for.
pub(super) struct Recorded {
    pub(super) name: &'static str,
    pub(super) stream: StreamId,
    /// Frames from one keyframe to the next.
    pub(super) gop: u64,
    /// Its pictures, which come again and again.
    pub(super) loop_frames: u64,
    frames: Vec<EncodedFrame>,
}

/// What there is to look for.
pub(super) struct Recording {
    pub(super) cameras: [Recorded; 2],
    pub(super) from_unix_nanos: i64,
    pub(super) frames: u64,
    pub(super) fps: u32,
}

impl Recording {
    /// When a frame was taken.
    pub(super) fn capture(&self, frame: u64) -> i64 {
        self.from_unix_nanos + nanos(frame, u64::from(self.fps))
    }

    pub(super) fn make(
        bus: &BusConfig,
        topic: &TopicName,
        arguments: &SeekArguments,
        output: &mut Output,
    ) -> anyhow::Result<Self> {
        let seconds = arguments.duration.as_secs().max(1);
        let long = arguments.long_gop.as_secs();
        let camera = |name: &'static str, gop_seconds: u64| -> anyhow::Result<Recorded> {
            let stream = StreamId::main(name.parse()?, topic.clone());
            let gop = gop_seconds * u64::from(arguments.fps);
            let loop_frames = long * u64::from(arguments.fps);
            let frames = encode(arguments, loop_frames, gop)?;
            Ok(Recorded { name, stream, gop, loop_frames, frames })
        };
        let begins_in = if arguments.real_time { OPENING_SECONDS } else { -i64::try_from(seconds)? };
        let recording = Self {
            cameras: [camera("dense", 1)?, camera("sparse", long)?],
            from_unix_nanos: SystemClock.unix_nanos() + begins_in * SECOND_NANOS,
            frames: seconds * u64::from(arguments.fps),
            fps: arguments.fps,
        };
        let mut config = PublisherConfig::new(bus.clone());
        config.index = !arguments.no_index;
        let publisher = Publisher::open(config)?;
        recording.send(&publisher, topic, arguments, output)?;
        for summary in publisher.close(PATIENCE) {
            let dropped = summary.stats.dropped_frames();
            anyhow::ensure!(dropped == 0, "{}: {dropped} frames were dropped", summary.stats.stream);
        }
        Ok(recording)
    }

    fn send(
        &self,
        publisher: &Publisher,
        topic: &TopicName,
        arguments: &SeekArguments,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        let (cameras, is_in_real_time) = (arguments.cameras, arguments.real_time);
        let open = |stream: StreamId| publisher.stream(stream, StreamOptions::new(Codec::H264));
        let mut streams = Vec::new();
        for camera in &self.cameras {
            streams.push(open(camera.stream.clone())?);
        }
        let mut others = Vec::new();
        for n in 2..cameras {
            others.push(open(StreamId::main(format!("other-{n}").parse()?, topic.clone()))?);
        }
        let payload = Bytes::from(vec![0x55; OTHERS_BYTES]);
        let fps = u64::from(self.fps);
        // Frame by frame, so that the cameras' records lie beside each other as they would.
        for frame in 0..self.frames {
            output.progress(|| format!("recorded {} of {} s", frame / fps, self.frames / fps));
            if is_in_real_time {
                // A camera's pace is a matter of time alone.
                let early = self.capture(frame).saturating_sub(SystemClock.unix_nanos());
                std::thread::sleep(Duration::from_nanos(u64::try_from(early).unwrap_or(0)));
            }
            for (camera, stream) in self.cameras.iter().zip(&streams) {
                let index = usize::try_from(frame % camera.loop_frames)?;
                submit(stream, EncodedFrame { capture: self.at(frame), ..camera.frames[index].clone() })?;
                if frame % camera.gop == 0 && !is_in_real_time {
                    // Of a live camera the keyframe is acknowledged before the next frame comes, which names it.
                    anyhow::ensure!(stream.flush(PATIENCE), "the recording does not get through");
                }
            }
            let theirs = frame * OTHERS_FPS / fps;
            if frame > 0 && theirs == (frame - 1) * OTHERS_FPS / fps {
                continue;
            }
            for stream in &others {
                let sent = EncodedFrame::new(Codec::H264, self.at(frame), payload.clone());
                submit(stream, if theirs.is_multiple_of(OTHERS_FPS) { sent.keyframe() } else { sent })?;
            }
        }
        for stream in streams.iter().chain(&others) {
            anyhow::ensure!(stream.flush(PATIENCE), "the recording does not get through");
        }
        Ok(())
    }

    fn at(&self, frame: u64) -> CaptureTime {
        CaptureTime::sensor(self.capture(frame))
    }
}

fn nanos(frame: u64, per_second: u64) -> i64 {
    i64::try_from(frame * 1_000_000_000 / per_second.max(1)).unwrap_or(i64::MAX)
}

fn submit(stream: &StreamHandle, frame: EncodedFrame) -> anyhow::Result<()> {
    if stream.queued_bytes() > WAITING_BYTES {
        anyhow::ensure!(stream.flush(PATIENCE), "the recording does not get through");
    }
    stream.submit(frame)?;
    Ok(())
}

/// The test pattern with its counter, coded once.
fn encode(arguments: &SeekArguments, frames: u64, gop: u64) -> anyhow::Result<Vec<EncodedFrame>> {
    let rate = FrameRate::per_second(arguments.fps);
    let mut pattern = PatternSource::new(PatternConfig::new(arguments.size, rate), &SourceOptions::default())?;
    let mut config = EncoderConfig::new(Codec::H264);
    config.frame_rate = rate;
    config.keyframe_interval = rate.interval() * u32::try_from(gop)?;
    let mut encoder = encoder(&config)?;
    let mut coded = Vec::new();
    for frame in 0..frames {
        let Some(SourceItem::Raw { frame: picture, .. }) = pattern.next_frame()? else {
            anyhow::bail!("the pattern gave no picture");
        };
        if frame % gop == 0 {
            encoder.force_keyframe();
        }
        encoder.encode(&picture, &mut coded)?;
    }
    let wrong = coded.iter().zip(0..).find(|(coded, frame)| coded.is_keyframe != (frame % gop == 0));
    anyhow::ensure!(coded.len() as u64 == frames && wrong.is_none(), "the encoder kept to other GOPs");
    coded.first().context("the recording has no frames")?;
    Ok(coded)
}
