//! `lumenbus publish SOURCE --camera ID`.

use crate::arguments::{CodecChoice, PublishArguments};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use lumenbus_bus::publisher::{BatchLimits, LbJson, Publisher, PublisherConfig, StreamOptions, StreamSummary};
use lumenbus_bus::SystemClock;
use lumenbus_codec::EncoderConfig;
use lumenbus_frame::{Codec, Deadline, GapReason, StreamId, StreamParameters, TopicName};
use lumenbus_pipeline::publish::{Feed, FeedConfig, FeedReport, Pace};
use lumenbus_source::{Looped, Source, SourceOptions, SourceSpec, open_spec};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a clean end waits for Kafka.
const FINISH: Duration = Duration::from_secs(30);
/// Largest record for which batching is meant.
const BATCH_BYTES: usize = 64 * 1024;

pub(crate) fn run(arguments: &PublishArguments, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut output = Output::new(settings);
    let shutdown = signals::shutdown()?;
    let clock = Arc::new(SystemClock);
    // A source that cannot be read is told before anybody is connected to.
    let mut source = open_source(arguments)?;
    let encoder = encoder(arguments, source.as_ref())?;
    let codec = encoder.as_ref().map_or(source.codec(), |encoder| encoder.codec);
    let topic = topic(arguments, settings, codec);
    let stream = StreamId { camera: arguments.camera.clone(), topic, name: arguments.stream.clone() };

    let publisher = Publisher::open(publisher_config(arguments, settings))?;
    let handle = publisher.stream(stream.clone(), stream_options(arguments, source.as_ref(), codec, encoder.as_ref()))?;
    output.note(&format!(
        "publishing {} as {stream} ({codec}, {}) to {}",
        source.name(),
        source.parameters().dimensions,
        settings.bus.brokers
    ));
    let config = FeedConfig {
        encoder,
        pace: if arguments.unpaced { Pace::Unlimited } else { Pace::RealTime },
        duration: arguments.duration,
        deadline: arguments.deadline.map(Deadline::after_capture),
        max_waiting_bytes: arguments.buffer / 2,
    };
    let began = Instant::now();
    let mut damages = Vec::new();
    let feed = Feed::new(&handle, source.codec(), config, clock)?;
    let fed = feed.run(
        source.as_mut(),
        &shutdown,
        |damage| damages.push(damage.to_string()),
        |report| output.progress(|| progress(report, began.elapsed())),
    );
    // What was submitted is finished even when the source failed.
    let summary = handle.finish(FINISH);
    drop(publisher.close(FINISH));
    let report = fed?;
    let summary = summary?;
    for damage in &damages {
        output.note(&format!("damaged: {damage}"));
    }
    tell(&mut output, &stream, &report, &summary, began.elapsed());
    Ok(if summary.stats.dropped_frames() > 0 || !summary.is_end_written { Outcome::ProblemsFound } else { Outcome::Done })
}

fn open_source(arguments: &PublishArguments) -> anyhow::Result<Box<dyn Source>> {
    let spec: SourceSpec = arguments.source.parse()?;
    let options = SourceOptions { frame_rate: arguments.fps, ..SourceOptions::default() };
    if arguments.is_looped {
        return Ok(Box::new(Looped::new(move || open_spec(&spec, &options))?));
    }
    Ok(open_spec(&spec, &options)?)
}

fn encoder(arguments: &PublishArguments, source: &dyn Source) -> Result<Option<EncoderConfig>, Usage> {
    let codec = match (arguments.codec, source.codec()) {
        (None, Codec::Raw) | (Some(CodecChoice::H264), _) => Codec::H264,
        (None | Some(CodecChoice::Passthrough), _) => return Ok(None),
        (Some(CodecChoice::Jpeg), _) => Codec::Jpeg,
        (Some(CodecChoice::Raw), _) => Codec::Raw,
    };
    let mut config = EncoderConfig::new(codec);
    if let Some(rate) = source.nominal_rate() {
        config.frame_rate = rate;
    }
    config.timebase = source.parameters().timebase;
    config.bits_per_second = arguments.bitrate;
    config.keyframe_interval = arguments.keyframe_interval;
    config.quality = arguments.quality;
    Ok(Some(config))
}

fn topic(arguments: &PublishArguments, settings: &Settings, codec: Codec) -> TopicName {
    let base = arguments.topic.as_ref().map_or_else(|| default_topic(codec), TopicName::as_str);
    settings.bus.topic_prefix.topic(base)
}

/// Where a codec's frames belong.
pub(crate) fn default_topic(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 | Codec::H265 | Codec::Av1 => "raw_video",
        Codec::Raw => "raw_pixels",
        _ => "raw_images",
    }
}

fn publisher_config(arguments: &PublishArguments, settings: &Settings) -> PublisherConfig {
    let mut config = PublisherConfig::new(settings.bus.clone());
    config.lane_bytes = arguments.buffer;
    config.envelope = arguments.envelope;
    config.lb_json = if arguments.json_header { LbJson::On } else { LbJson::Off };
    config.batching = arguments.batch.filter(|frames| *frames > 1).map(|frames| BatchLimits {
        frames,
        bytes: BATCH_BYTES,
        wait: Duration::from_millis(5),
    });
    config
}

fn stream_options(
    arguments: &PublishArguments,
    source: &dyn Source,
    codec: Codec,
    encoder: Option<&EncoderConfig>,
) -> StreamOptions {
    let mut parameters = StreamParameters::clone(source.parameters());
    if encoder.is_some() {
        parameters = StreamParameters { codec, codec_string: None, ..parameters };
    }
    let mut options = StreamOptions::new(codec);
    options.parameters = Some(Arc::new(parameters));
    options.display_name = arguments.name.clone();
    options.group = arguments.camera_group.clone();
    options
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn progress(report: &FeedReport, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let (fps, mbit) = (report.frames as f64 / seconds, report.bytes as f64 * 8e-6 / seconds);
    let sent = units::show_bytes(report.bytes);
    format!("{} frames, {sent}, {fps:.1} fps, {mbit:.2} Mbit/s, {:.0} s", report.frames, seconds)
}

fn tell(output: &mut Output, stream: &StreamId, report: &FeedReport, summary: &StreamSummary, elapsed: Duration) {
    let stats = &summary.stats;
    let gaps: &[(GapReason, u64)] = &stats.drops;
    output.result(&format!(
        "{stream} epoch {}: {} frames published, {} acknowledged, {} explained as gaps, {}",
        stats.epoch,
        stats.submitted_frames,
        stats.acknowledged_frames,
        stats.dropped_frames(),
        progress(report, elapsed)
    ));
    for (reason, frames) in gaps {
        output.result(&format!("  gap {reason}: {frames} frames"));
    }
    let by_reason: Value = gaps.iter().map(|(reason, frames)| (reason.to_string(), json!(frames))).collect();
    output.summary(
        "publish",
        json!({
            "camera": stream.camera.as_str(), "topic": stream.topic.as_str(), "stream": stream.name.as_str(),
            "epoch": stats.epoch.to_string(), "published": stats.submitted_frames,
            "acknowledged": stats.acknowledged_frames, "unresolved": summary.unresolved_frames,
            "ack_latency_ms": { "p50": stats.ack_latency.p50_micros as f64 / 1e3, "p99": stats.ack_latency.p99_micros as f64 / 1e3 },
            "gaps": by_reason, "bytes": report.bytes, "seconds": elapsed.as_secs_f64(), "clean": summary.is_end_written,
        }),
    );
}
