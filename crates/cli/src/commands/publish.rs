//! `lumenbus publish SOURCE --camera ID`.

use crate::arguments::{CodecChoice, PublishArguments};
use crate::exit::{Outcome, Usage};
use crate::observe::Observation;
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use lumenbus_bus::SystemClock;
use lumenbus_bus::publisher::{
    BatchLimits, LbJson, Publisher, PublisherConfig, StreamHandle, StreamOptions, StreamSummary,
};
use lumenbus_codec::EncoderConfig;
use lumenbus_frame::{Codec, Deadline, GapReason, StreamId, StreamParameters, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::publish::{Feed, FeedConfig, FeedEnding, FeedError, FeedReport, Pace};
use lumenbus_source::{Looped, Source, SourceOptions, SourceSpec, open_spec};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a clean end waits for Kafka.
const FINISH: Duration = Duration::from_secs(30);
/// So many damaged places are told one by one.
const MAX_TOLD_DAMAGES: usize = 20;

pub(crate) fn run(arguments: &PublishArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let shutdown = signals::shutdown(settings.quiet)?;
    // A source that cannot be read is told before anybody is connected to.
    let mut source = open_source(arguments)?;
    let encoder = encoder(arguments, source.as_ref())?;
    let codec = encoder.as_ref().map_or(source.codec(), |encoder| encoder.codec);
    let topic = topic(arguments, settings, codec);
    let stream = StreamId { camera: arguments.camera.clone(), topic, name: arguments.stream.clone() };

    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    let mut config = publisher_config(arguments, settings);
    config.tracer = observed.tracer();
    let publisher = Arc::new(Publisher::open(config)?);
    observed.publisher(&publisher, settings)?;
    let options = stream_options(arguments, source.as_ref(), codec, encoder.as_ref());
    let handle = publisher.stream(stream.clone(), options)?;
    output.note(&format!(
        "publishing {} as {stream} ({codec}, {}) to {}",
        source.name(),
        source.parameters().dimensions,
        settings.bus.brokers
    ));
    let began = Instant::now();
    let fed = feed(&handle, source.as_mut(), feed_config(arguments, encoder), &shutdown, output);
    let paced = began.elapsed();
    output.progress(|| "waiting for Kafka to take the rest".to_owned());
    // What was submitted is finished even when the source failed.
    let summary = handle.finish(FINISH);
    // Unpaced, the time until Kafka has everything is what counts.
    let elapsed = if arguments.unpaced { began.elapsed() } else { paced };
    observed.finish();
    if let Some(publisher) = Arc::into_inner(publisher) {
        drop(publisher.close(FINISH));
    }
    let (report, summary) = (fed?, summary?);
    tell(output, &stream, &report, &summary, elapsed);
    let is_whole = summary.stats.dropped_frames() == 0 && summary.is_end_written && report.lost == 0;
    Ok(match report.ending {
        _ if !is_whole => Outcome::ProblemsFound,
        FeedEnding::Interrupted if !is_endless(arguments) => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

/// Ctrl-C is the way to end these.
fn is_endless(arguments: &PublishArguments) -> bool {
    let goes_on = arguments.is_looped || arguments.source.starts_with("test:");
    goes_on && arguments.duration.is_none()
}

fn feed_config(arguments: &PublishArguments, encoder: Option<EncoderConfig>) -> FeedConfig {
    FeedConfig {
        encoder,
        pace: if arguments.unpaced { Pace::Unlimited } else { Pace::RealTime },
        duration: arguments.duration,
        deadline: arguments.deadline.map(Deadline::after_capture),
        max_waiting_bytes: arguments.buffer / 2,
    }
}

fn feed(
    handle: &StreamHandle,
    source: &mut dyn Source,
    config: FeedConfig,
    shutdown: &Shutdown,
    output: &mut Output,
) -> Result<FeedReport, FeedError> {
    let began = Instant::now();
    let mut damages = 0_usize;
    // Both callbacks write.
    let output = RefCell::new(output);
    let feed = Feed::new(handle, source.codec(), config, Arc::new(SystemClock))?;
    let report = feed.run(
        source,
        shutdown,
        |damage| {
            damages += 1;
            if damages <= MAX_TOLD_DAMAGES {
                output.borrow_mut().note(&format!("damaged, left out: {damage}"));
                output.borrow_mut().object("damaged", json!({ "what": damage.to_string() }));
            }
        },
        |report| output.borrow_mut().progress(|| progress(report, began.elapsed())),
    );
    if damages > MAX_TOLD_DAMAGES {
        let more = damages - MAX_TOLD_DAMAGES;
        output.borrow_mut().note(&format!("{more} more places are damaged; all are counted below"));
    }
    report
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
        (Some(CodecChoice::Webp), _) => Codec::Webp,
        (Some(CodecChoice::Png), _) => Codec::Png,
        (Some(CodecChoice::Jpeg2000), _) => Codec::Jpeg2000,
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
    let mut config = PublisherConfig::new(arguments.observe.bus(settings));
    config.lane_bytes = arguments.buffer;
    config.envelope = arguments.envelope;
    config.lb_json = if arguments.json_header { LbJson::On } else { LbJson::Off };
    if let Some(frames) = arguments.batch {
        config.batching = (frames > 1).then_some(BatchLimits { frames, ..BatchLimits::THROUGHPUT });
    }
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
    options.camera.name.clone_from(&arguments.name);
    options.camera.group.clone_from(&arguments.camera_group);
    options
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rate(report: &FeedReport, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let (fps, mbit) = (report.frames as f64 / seconds, report.bytes as f64 * 8e-6 / seconds);
    let sent = units::show_bytes(report.bytes);
    format!("{sent} in {seconds:.1} s ({fps:.1} fps, {mbit:.2} Mbit/s)")
}

fn progress(report: &FeedReport, elapsed: Duration) -> String {
    format!("{} frames, {}", report.frames, rate(report, elapsed))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

fn tell(output: &mut Output, stream: &StreamId, report: &FeedReport, summary: &StreamSummary, elapsed: Duration) {
    let stats = &summary.stats;
    let gaps: &[(GapReason, u64)] = &stats.drops;
    output.result(&format!(
        "{stream} epoch {}: {} frames published, {} acknowledged, {} missing and explained; {}",
        stats.epoch,
        stats.submitted_frames,
        stats.acknowledged_frames,
        stats.dropped_frames(),
        rate(report, elapsed)
    ));
    for (reason, frames) in gaps {
        output.result(&format!("  {frames} missing: {reason}"));
    }
    if !summary.is_end_written {
        let open = summary.unresolved_frames;
        output.note(&format!("the end of the stream could not be written; {open} frames were not acknowledged"));
    }
    let by_reason: Value = gaps.iter().map(|(reason, frames)| (reason.to_string(), json!(frames))).collect();
    let ack = &stats.ack_latency;
    output.summary(
        "publish",
        json!({
            "camera": stream.camera.as_str(), "topic": stream.topic.as_str(), "stream": stream.name.as_str(),
            "epoch": stats.epoch.to_string(), "published": stats.submitted_frames,
            "acknowledged": stats.acknowledged_frames, "unresolved": summary.unresolved_frames,
            "ack_latency_ms": { "p50": millis(ack.p50_micros), "p99": millis(ack.p99_micros) },
            "gaps": by_reason, "bytes": report.bytes, "seconds": elapsed.as_secs_f64(), "clean": summary.is_end_written,
        }),
    );
}
