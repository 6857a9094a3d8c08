//! What the viewer tells of its streams: lists, figures, sums.

use super::finds::Analysis;
use super::stream::{Info, Stage, Stream, is_loss};
use super::window::percentiles;
use super::{Hub, HubStream, Percentiles, StreamPhase, lock, millis, now_micros, text};
use crate::config::Action;
use axum::extract::ws::Utf8Bytes;
use lumenbus_frame::{Codec, Dimensions, GapReason, StreamId, TopicName};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One stream at one moment.
#[derive(Debug, Clone)]
pub struct StreamSnapshot {
    /// Which; `None` for a camera that has published nothing yet.
    pub stream: Option<StreamId>,
    /// Its camera.
    pub camera: lumenbus_frame::CameraId,
    /// Its number in this viewer.
    pub n: u16,
    /// State.
    pub state: StreamPhase,
    /// Why it is in that state.
    pub reason: String,
    /// Since when, Unix milliseconds.
    pub since_unix_millis: i64,
    /// Coding of the newest frame.
    pub codec: Option<Codec>,
    /// Size of the picture.
    pub size: Option<Dimensions>,
    /// Frames per second over the last seconds.
    pub fps: f64,
    /// Megabits per second over the last seconds.
    pub mbit: f64,
    /// Capture → received, over the last ten seconds.
    pub age: Option<Percentiles>,
    /// Frames received.
    pub frames: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Missing frames by reason, all reasons.
    pub gaps: BTreeMap<GapReason, u64>,
    /// Gaps of unknown length.
    pub open_gaps: u64,
    /// Missing frames that nothing explains.
    pub unexplained: u64,
    /// Frames that were equal to the one before and not sent.
    pub repeated: u64,
    /// Frames that slow viewers did not get.
    pub skipped: u64,
    /// Durations by stage, over the last ten seconds.
    pub stages: BTreeMap<&'static str, Percentiles>,
    /// Time since the newest keyframe was taken.
    pub keyframe_age_ms: Option<f64>,
    /// Who analyses it.
    pub analysis: Option<Analysis>,
}

/// Sums over all streams.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Frames received.
    pub frames: u64,
    /// Frames missing for a reason (not: before the viewer came, or unchanged pictures).
    pub missing: u64,
    /// Frames missing that nothing explains.
    pub unexplained: u64,
    /// Megabits per second.
    pub mbit: f64,
    /// Capture → received of all frames of the last ten seconds.
    pub age_p50_ms: Option<f64>,
    /// The same, 99 of 100.
    pub age_p99_ms: Option<f64>,
    /// Clients connected.
    pub viewers: usize,
    /// Video against JPEG of the same pictures.
    pub jpeg_ratio: Option<JpegRatio>,
}

/// Bandwidth of two cameras that show the same.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct JpegRatio {
    /// Coded as video.
    pub coded_mbit: f64,
    /// Coded as JPEG.
    pub jpeg_mbit: f64,
    /// `jpeg_mbit / coded_mbit`.
    pub ratio: f64,
    /// Mean SSIM of the video's luma, where somebody compares it with its originals.
    pub coded_ssim: Option<f64>,
    /// The same of the JPEG pictures.
    pub jpeg_ssim: Option<f64>,
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct ViewerSnapshot {
    /// By number.
    pub streams: Vec<StreamSnapshot>,
    /// Sums.
    pub totals: Totals,
    /// Clients connected.
    pub viewers: usize,
    /// From the viewer's start until a page said that it had shown a picture.
    pub first_shown: Option<Duration>,
    /// Why Kafka cannot be read.
    pub disconnected: Option<String>,
    /// Topics that frames are read from.
    pub topics: Vec<TopicName>,
}

#[derive(Serialize)]
struct StreamJson<'a> {
    n: u16,
    camera: &'a str,
    topic: &'a str,
    stream: &'a str,
    partition: Option<u32>,
    name: &'a str,
    group: &'a str,
    labels: &'a BTreeMap<String, String>,
    codec: Option<&'static str>,
    codec_string: Option<&'a str>,
    mime: Option<String>,
    pixel_format: Option<&'static str>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    is_sealed: bool,
    /// What is wrong with its picture; `None`: nobody has said.
    health: Option<Value>,
}

/// What `MediaSource.isTypeSupported` is asked; the segments use the sample entry without in-band parameter sets.
fn mime(info: &Info) -> Option<String> {
    let codec = info.parameters.as_ref()?.codec_string.as_deref()?;
    match info.codec? {
        Codec::H264 | Codec::H265 => {
            let entry = codec.replacen("hev1", "hvc1", 1).replacen("avc3", "avc1", 1);
            Some(format!("video/mp4; codecs=\"{entry}\""))
        }
        _ => None,
    }
}

fn stream_json(n: u16, stream: &Stream, health: Option<Value>) -> Value {
    let info = &stream.info;
    let parameters = info.parameters.as_deref();
    let id = stream.id.as_deref();
    let described = StreamJson {
        n,
        camera: stream.camera.as_str(),
        topic: id.map_or("", |id| id.topic.as_str()),
        stream: id.map_or("main", |id| id.name.as_str()),
        partition: info.partition,
        name: &info.name,
        group: &info.group,
        labels: &info.labels,
        codec: info.codec.map(Codec::as_str),
        codec_string: parameters.and_then(|parameters| parameters.codec_string.as_deref()),
        mime: mime(info),
        pixel_format: parameters
            .and_then(|parameters| parameters.pixel_format)
            .map(lumenbus_frame::PixelFormat::as_str),
        width: info.dimensions().map(|size| size.width),
        height: info.dimensions().map(|size| size.height),
        fps: info.frame_rate().map(lumenbus_frame::FrameRate::as_f64),
        is_sealed: info.is_sealed,
        health,
    };
    json!(described)
}

fn rounded(value: f64) -> f64 {
    // The sum of nothing is -0.0, and nobody wants to read that.
    (value * 1_000.0).round() / 1_000.0 + 0.0
}

impl StreamSnapshot {
    fn of(n: u16, stream: &mut Stream, now_micros: i64) -> Self {
        let now_millis = now_micros / 1_000;
        let (fps, mbit) = stream.figures.rate.per_second(now_millis);
        let stages = Stage::ALL
            .iter()
            .filter_map(|(stage, name)| Some((*name, stream.figures.stage(*stage).percentiles(now_millis)?)));
        let keyframe = stream.ring.keyframe();
        Self {
            keyframe_age_ms: keyframe.map(|frame| millis(now_micros.saturating_sub(frame.capture_micros))),
            stages: stages.collect(),
            stream: stream.id.as_deref().cloned(),
            camera: stream.camera.clone(),
            n,
            state: stream.phase.phase,
            reason: stream.phase.reason.clone(),
            since_unix_millis: stream.phase.since_millis,
            codec: stream.info.codec,
            size: stream.info.dimensions(),
            fps,
            mbit,
            age: stream.figures.age.percentiles(now_millis),
            frames: stream.counters.frames,
            bytes: stream.counters.bytes,
            gaps: stream.counters.gaps.clone(),
            open_gaps: stream.counters.open_gaps,
            unexplained: stream.counters.unexplained(),
            repeated: stream.counters.repeated,
            skipped: stream.counters.skipped,
            analysis: stream.finds.analysis(now_micros),
        }
    }

    fn to_json(&self) -> Value {
        let missing: BTreeMap<_, _> =
            self.gaps.iter().filter(|(reason, _)| is_loss(**reason)).map(|(r, frames)| (r.as_str(), frames)).collect();
        json!({
            "n": self.n, "state": self.state, "reason": self.reason, "since_ms": self.since_unix_millis,
            "fps": rounded(self.fps), "mbit": rounded(self.mbit),
            "age_p50_ms": self.age.map(|age| age.p50_ms), "age_p99_ms": self.age.map(|age| age.p99_ms),
            "frames": self.frames, "bytes": self.bytes, "missing": missing,
            "joining": self.gaps.get(&GapReason::Joining).copied().unwrap_or(0),
            "open_gaps": self.open_gaps, "unexplained": self.unexplained, "repeated": self.repeated,
            "skipped": self.skipped, "stages": self.stages, "keyframe_age_ms": self.keyframe_age_ms,
            "analysis": self.analysis.as_ref().map(Analysis::to_json),
        })
    }
}

impl Analysis {
    fn to_json(&self) -> Value {
        let late = self.late.unwrap_or_default();
        json!({ "models": self.models, "late_p50_ms": late.p50_ms, "late_p99_ms": late.p99_ms })
    }
}

impl Hub {
    fn with_each<T>(&self, mut each: impl FnMut(&HubStream, &mut Stream) -> T) -> Vec<T> {
        self.all().iter().map(|stream| each(stream, &mut stream.lock())).collect()
    }

    /// Tells every client which streams there are.
    pub(crate) fn tell_streams(&self) {
        let message = json!({ "type": "streams", "streams": self.streams_json() });
        self.streams.send_replace(text(&message));
    }

    /// The list in that message.
    pub(crate) fn streams_json(&self) -> Vec<Value> {
        let each = self.with_each(|entry, stream| {
            let health = stream.id.as_deref().and_then(|id| self.health_json(id));
            (!self.is_gone(stream)).then(|| stream_json(entry.n, stream, health))
        });
        each.into_iter().flatten().collect()
    }

    /// Brings states up to date and builds the message `stats`.
    pub(crate) fn tick(&self, actions: &[Action]) {
        let now_millis = now_micros() / 1_000;
        let disconnected = self.disconnected();
        let trouble = lock(&self.trouble).clone();
        self.with_each(|_, stream| {
            let mut observed = stream.observed.clone();
            observed.disconnected.clone_from(&disconnected);
            observed.trouble = trouble.get(&stream.camera).cloned();
            stream.phase.update(&observed, now_millis);
        });
        self.stats.send_replace(text(&self.stats_json(actions)));
    }

    /// The message `stats`.
    pub(crate) fn stats_json(&self, actions: &[Action]) -> Value {
        let snapshot = self.snapshot();
        let streams: Vec<_> = snapshot.streams.iter().map(StreamSnapshot::to_json).collect();
        json!({
            "type": "stats", "at_ms": millis(now_micros()), "streams": streams, "totals": snapshot.totals,
            "broker": { "is_connected": snapshot.disconnected.is_none(), "reason": snapshot.disconnected },
            "actions": actions,
        })
    }

    /// Everything now.
    pub(crate) fn snapshot(&self) -> ViewerSnapshot {
        let now = now_micros();
        let mut ages = Vec::new();
        let streams = self.with_each(|entry, stream| {
            ages.extend(stream.figures.age.values(now / 1_000));
            StreamSnapshot::of(entry.n, stream, now)
        });
        let age = percentiles(&mut ages);
        let sum = |of: fn(&StreamSnapshot) -> u64| streams.iter().map(of).sum();
        let missing = |stream: &StreamSnapshot| {
            stream.gaps.iter().filter(|(reason, _)| is_loss(**reason)).map(|(_, frames)| frames).sum::<u64>()
        };
        let totals = Totals {
            frames: sum(|stream| stream.frames),
            missing: streams.iter().map(missing).sum(),
            unexplained: sum(|stream| stream.unexplained),
            mbit: rounded(streams.iter().map(|stream| stream.mbit).sum()),
            age_p50_ms: age.map(|age| age.p50_ms),
            age_p99_ms: age.map(|age| age.p99_ms),
            viewers: self.viewers.load(Ordering::Relaxed),
            jpeg_ratio: self.jpeg_ratio(&streams),
        };
        let viewers = totals.viewers;
        let (first_shown, disconnected) = (self.first_shown.get().copied(), self.disconnected());
        let topics = lock(&self.topics).iter().cloned().collect();
        ViewerSnapshot { streams, totals, viewers, first_shown, disconnected, topics }
    }

    fn jpeg_ratio(&self, streams: &[StreamSnapshot]) -> Option<JpegRatio> {
        let (coded, jpeg) = self.comparison()?;
        let mbit = |n: u16| streams.get(usize::from(n)).map(|stream| stream.mbit).filter(|mbit| *mbit > 0.0);
        let (coded_mbit, jpeg_mbit) = (mbit(coded?)?, mbit(jpeg?)?);
        let ratio = rounded(jpeg_mbit / coded_mbit);
        let ssim = self.comparison.as_ref()?.judge.as_ref().and_then(|judge| judge.ssim());
        Some(JpegRatio {
            coded_mbit: rounded(coded_mbit),
            jpeg_mbit: rounded(jpeg_mbit),
            ratio,
            coded_ssim: ssim.map(|ssim| ssim.coded),
            jpeg_ssim: ssim.map(|ssim| ssim.jpeg),
        })
    }

    /// Bytes of newest frames held now.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.with_each(|_, stream| stream.ring.bytes()).iter().sum()
    }

    /// Missing frames by reason, over all streams.
    pub(crate) fn drops(&self) -> BTreeMap<GapReason, u64> {
        let mut sums = BTreeMap::new();
        self.with_each(|_, stream| {
            for (reason, frames) in stream.counters.gaps.iter().filter(|(reason, _)| is_loss(**reason)) {
                *sums.entry(*reason).or_default() += frames;
            }
        });
        sums
    }

    /// The newest `stats`, for a client that has just come.
    pub(crate) fn newest_stats(&self) -> Utf8Bytes {
        self.stats.borrow().clone()
    }
}
