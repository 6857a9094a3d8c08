//! `lumenbus publish SOURCE --camera ID`.

mod live;

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
use lumenbus_codec::{CodecError, EncoderConfig, Library};
use lumenbus_frame::{Codec, Deadline, GapReason, StreamId, StreamParameters, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::publish::{Feed, FeedConfig, FeedEnding, FeedError, FeedReport, Pace, Snapshots};
use lumenbus_pipeline::video::Futile;
use lumenbus_source::{
    Interrupt, Looped, PipedSource, ReadMeter, Source, SourceOptions, SourceSpec, StreamFormat, open_spec,
};
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
    if let SourceSpec::Camera(_) | SourceSpec::Device(_) = arguments.source.parse()? {
        return live::run(arguments, settings, &shutdown, output);
    }
    // A source that cannot be read is told before anybody is connected to.
    let meter = ReadMeter::default();
    let mut source = open_source(arguments, &meter, &shutdown)?;
    let encoder = encoder(arguments, source.as_ref())?;
    if encoder.is_none() {
        tell_futile(arguments, output);
    }
    let codec = encoder.as_ref().map_or(source.codec(), |encoder| encoder.codec);
    let topic = topic(arguments, settings, codec);
    let stream = StreamId { camera: arguments.camera.clone(), topic, name: arguments.stream.clone() };

    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    let mut config = publisher_config(arguments, settings);
    config.tracer = observed.tracer();
    config.bus.compress_for(settings.bus.topic_prefix.strip(stream.topic.as_str()).unwrap_or_default());
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
    let mut snapshots = snapshots(arguments, settings, &publisher, &stream, source.as_ref())?;
    let config = feed_config(arguments, encoder);
    let whole = Whole { arguments, meter, began };
    let fed = feed(&handle, source.as_mut(), config, snapshots.as_mut(), &shutdown, &whole, output);
    let paced = began.elapsed();
    output.progress(|| "waiting for Kafka to take the rest".to_owned());
    // What was submitted is finished even when the source failed: the video, and its stills in what is left of the time.
    let ending = Instant::now();
    let summary = handle.finish(FINISH);
    // Unpaced, the time until Kafka has everything is what counts.
    let elapsed = if arguments.unpaced { began.elapsed() } else { paced };
    let stills = snapshots.map(|snapshots| snapshots.finish(FINISH.saturating_sub(ending.elapsed())));
    observed.finish();
    if let Some(publisher) = Arc::into_inner(publisher) {
        drop(publisher.close(FINISH));
    }
    let (report, summary) = (fed?, summary?);
    let stills = stills
        .transpose()?
        .map(|StreamSummary { stats, .. }| Stills { stream: stats.stream, frames: stats.acknowledged_frames });
    tell(output, &stream, &report, &summary, stills.as_ref(), elapsed);
    let is_whole = summary.stats.dropped_frames() == 0 && summary.is_end_written && report.lost == 0;
    Ok(match report.ending {
        _ if !is_whole => Outcome::ProblemsFound,
        FeedEnding::Interrupted if !is_endless(arguments) && !source.is_live() => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

/// Where stills are wanted beside the video.
fn snapshots(
    arguments: &PublishArguments,
    settings: &Settings,
    publisher: &Publisher,
    video: &StreamId,
    source: &dyn Source,
) -> anyhow::Result<Option<Snapshots>> {
    let Some(interval) = arguments.snapshots else { return Ok(None) };
    let jpeg = EncoderConfig::new(Codec::Jpeg);
    let options = stream_options(arguments, source, Codec::Jpeg, Some(&jpeg));
    let (prefix, budget) = (&settings.bus.topic_prefix, Arc::default());
    Ok(Some(Snapshots::open(publisher, video, prefix, options, interval, budget)?))
}

/// Ctrl-C is the way to end these.
fn is_endless(arguments: &PublishArguments) -> bool {
    let goes_on = arguments.is_looped || arguments.source == "-" || arguments.source.starts_with("test:");
    goes_on && arguments.duration.is_none()
}

fn feed_config(arguments: &PublishArguments, encoder: Option<EncoderConfig>) -> FeedConfig {
    FeedConfig {
        encoder,
        video: arguments.video.options(),
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
    snapshots: Option<&mut Snapshots>,
    shutdown: &Shutdown,
    whole: &Whole<'_>,
    output: &mut Output,
) -> Result<FeedReport, FeedError> {
    let mut damages = 0_usize;
    // Both callbacks write.
    let output = RefCell::new(output);
    let feed = Feed::new(handle, source.codec(), config, Arc::new(SystemClock))?.with_snapshots(snapshots);
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
        |report| output.borrow_mut().progress(|| whole.progress(report)),
    );
    if damages > MAX_TOLD_DAMAGES {
        let more = damages - MAX_TOLD_DAMAGES;
        output.borrow_mut().note(&format!("{more} more places are damaged; all are counted below"));
    }
    report
}

fn open_source(
    arguments: &PublishArguments,
    meter: &ReadMeter,
    shutdown: &Arc<Shutdown>,
) -> anyhow::Result<Box<dyn Source>> {
    let spec: SourceSpec = arguments.source.parse()?;
    let stopping = Arc::clone(shutdown);
    // Elements of a pipeline may ask for a user, too.
    let is_pipeline = matches!(spec, SourceSpec::Pipeline(_));
    let options = SourceOptions {
        frame_rate: arguments.fps,
        meter: Some(meter.clone()),
        interrupt: Interrupt::new(move || stopping.is_requested()),
        credentials: if is_pipeline { arguments.credentials.read()? } else { None },
        ..SourceOptions::default()
    };
    if spec == SourceSpec::StandardInput {
        return standard_input(arguments, &options);
    }
    if arguments.format.is_some() || arguments.size.is_some() {
        let why = "--format and --size are for what comes through -; every other source says by itself what it is";
        return Err(Usage(why.to_owned()).into());
    }
    if arguments.is_looped {
        return Ok(Box::new(Looped::new(move || open_spec(&spec, &options))?));
    }
    Ok(open_spec(&spec, &options)?)
}

/// A stream through a pipe, which has no beginning to go back to.
fn standard_input(arguments: &PublishArguments, options: &SourceOptions) -> anyhow::Result<Box<dyn Source>> {
    if arguments.is_looped {
        return Err(Usage("a pipe cannot begin again; leave --loop out".to_owned()).into());
    }
    let format = match &arguments.format {
        Some(name) => Some(StreamFormat::named(name, arguments.size).map_err(|error| Usage(error.to_string()))?),
        None if arguments.size.is_some() => {
            return Err(Usage("--size is for pixels; name them by --format, such as --format rgb8".to_owned()).into());
        }
        None => None,
    };
    Ok(Box::new(PipedSource::standard_input(format, options)?))
}

/// What was chosen for encoded video, where it passes through.
fn tell_futile(arguments: &PublishArguments, output: &mut Output) {
    let bitrate = arguments.bitrate.map(|_| "bitrate");
    let chosen: Vec<_> = bitrate.into_iter().chain(arguments.video.options().chosen()).collect();
    if !chosen.is_empty() {
        let chosen = option_names(&chosen);
        output.note(&format!("the video passes through as it is coded; {chosen} would count with --codec h264"));
    }
}

/// As they are typed.
fn option_names(fields: &[&str]) -> String {
    fields.iter().map(|name| format!("--{}", name.replace('_', "-"))).collect::<Vec<_>>().join(", ")
}

fn encoder(arguments: &PublishArguments, source: &dyn Source) -> Result<Option<EncoderConfig>, Usage> {
    if let (Some(encoder), None | Some(CodecChoice::Passthrough)) = (arguments.encoder, arguments.codec)
        && source.codec() != Codec::Raw
    {
        let (library, coded) = (Library::from(encoder), source.codec());
        let codec = library.codec();
        return Err(Usage(format!(
            "--encoder {library}: nothing is encoded, as the source is {coded} already and passes through; \
             --codec {codec} encodes it anew"
        )));
    }
    let codec = match (arguments.codec, source.codec()) {
        (None, Codec::Raw) | (Some(CodecChoice::H264), _) => Codec::H264,
        (None | Some(CodecChoice::Passthrough), _) => return Ok(None),
        (Some(CodecChoice::Av1), _) => Codec::Av1,
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
    config.quality = arguments.quality;
    let video = arguments.video.options();
    video.apply(&mut config);
    config.library = arguments.encoder.map(Into::into);
    if let Some(Futile { names, why }) = video.futile(codec, config.library) {
        let by = config.library.map_or_else(String::new, |library| format!(" by {library}"));
        let options = option_names(&names);
        return Err(Usage(format!("{options} would do nothing with {codec}{by}: {why}; leave it out")));
    }
    match lumenbus_codec::encoder(&config) {
        Err(error @ (CodecError::NotBuilt { .. } | CodecError::WrongLibrary { .. })) => Err(Usage(error.to_string())),
        // Anything else is told where it is used.
        _ => Ok(Some(config)),
    }
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

/// How much there is to publish.
struct Whole<'a> {
    arguments: &'a PublishArguments,
    meter: ReadMeter,
    began: Instant,
}

impl Whole<'_> {
    fn progress(&self, report: &FeedReport) -> String {
        let elapsed = self.began.elapsed();
        let share = self.share(elapsed).map_or_else(String::new, |share| units::show_share(share, elapsed));
        format!("{} frames, {}{share}", report.frames, rate(report, elapsed))
    }

    /// 0 to 1 of the source or of the time, whichever ends first.
    fn share(&self, elapsed: Duration) -> Option<f64> {
        let by_time = self.arguments.duration.map(|whole| elapsed.as_secs_f64() / whole.as_secs_f64().max(1e-3));
        let by_source = self.meter.share().filter(|_| !self.arguments.is_looped);
        by_time.into_iter().chain(by_source).max_by(f64::total_cmp).map(|share| share.min(1.0))
    }
}

/// Told where there are any.
fn repeats(frames: u64) -> String {
    if frames == 0 { String::new() } else { format!(" {frames} that repeat the last and were not sent,") }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// Of the video, in Kafka.
struct Stills {
    stream: StreamId,
    frames: u64,
}

fn tell(
    output: &mut Output,
    stream: &StreamId,
    report: &FeedReport,
    summary: &StreamSummary,
    stills: Option<&Stills>,
    elapsed: Duration,
) {
    let stats = &summary.stats;
    let gaps: &[(GapReason, u64)] = &stats.drops;
    output.result(&format!(
        "{stream} epoch {}: {} frames published, {} acknowledged,{} {} missing and explained; {}",
        stats.epoch,
        stats.submitted_frames,
        stats.acknowledged_frames,
        repeats(stats.repeated_frames),
        stats.dropped_frames(),
        rate(report, elapsed)
    ));
    for (reason, frames) in gaps {
        output.result(&format!("  {frames} missing: {reason}"));
    }
    if let Some(stills) = stills {
        let (stream, made) = (&stills.stream.name, stills.frames);
        output.result(&format!("{made} stills of it in {} as the stream {stream}", stills.stream.topic));
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
            "acknowledged": stats.acknowledged_frames, "repeated": stats.repeated_frames, "unresolved": summary.unresolved_frames,
            "ack_latency_ms": { "p50": millis(ack.p50_micros), "p99": millis(ack.p99_micros) },
            "snapshots": stills.map(|stills| stills.frames),
            "gaps": by_reason, "bytes": report.bytes, "seconds": elapsed.as_secs_f64(), "clean": summary.is_end_written,
        }),
    );
}
