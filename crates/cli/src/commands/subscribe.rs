//! `lumenbus subscribe`.

use crate::arguments::{FormChoice, SubscribeArguments};
use crate::exit::{Outcome, Usage};
use crate::observe::{Observation, traced};
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use hdrhistogram::Histogram;
use lumenbus_bus::BusError;
use lumenbus_bus::subscriber::{
    CameraFilter, Event, FrameRole, Notice, Policy, Preroll, Start, Subscriber, SubscriberConfig,
};
use lumenbus_bus::topics::Cluster;
use lumenbus_frame::{GapReason, TopicName};
use lumenbus_pipeline::sink::{self, Form, SinkOptions, SinkReport};
use lumenbus_pipeline::subscribe::{Ending, SubscribeLimits, SubscribeReport, run_subscription};
use lumenbus_pipeline::tally::{StreamTally, Tally};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Frame topics that are read when none is named.
const FRAME_TOPICS: [&str; 3] = ["raw_video", "raw_images", "raw_pixels"];
/// What `--policy live` means without an age.
const DEFAULT_MAX_AGE: Duration = Duration::from_millis(500);

/// What the arguments mean, found before anything is connected to or created.
struct Meaning {
    until_unix_millis: Option<i64>,
    policy: Policy,
    start: Start,
    filter: CameraFilter,
    stdout: Stdout,
}

impl Meaning {
    fn of(arguments: &SubscribeArguments) -> anyhow::Result<Self> {
        let now = jiff::Zoned::now();
        let moment = |to: &String| units::moment(to, &now).map_err(|error| Usage(format!("--to: {error}")));
        let until_unix_millis = arguments.to.as_ref().map(moment).transpose()?;
        if until_unix_millis.is_some() && arguments.group.is_some() {
            let why = "--to leaves out what comes later, which the group would never see again; leave out --group";
            return Err(Usage(why.to_owned()).into());
        }
        if let Some(target) = &arguments.out {
            sink::check_form(target)?;
        }
        let start = start(&arguments.from, &now)?;
        if let (Start::At { unix_millis }, Some(until)) = (start, until_unix_millis)
            && unix_millis > until
        {
            return Err(Usage("--from is after --to".to_owned()).into());
        }
        Ok(Self {
            until_unix_millis,
            policy: policy(&arguments.policy)?,
            start,
            filter: CameraFilter::new(&arguments.camera).map_err(|error| Usage(error.to_string()))?,
            stdout: if arguments.out.as_deref() == Some("-") { Stdout::Frames } else { Stdout::Report },
        })
    }
}

pub(crate) fn run(arguments: &SubscribeArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let meaning = Meaning::of(arguments)?;
    let (policy, stdout) = (meaning.policy, meaning.stdout);
    let shutdown = signals::shutdown(settings.quiet)?;
    let limits = SubscribeLimits {
        duration: arguments.duration,
        until_end: arguments.until_end,
        until_unix_millis: meaning.until_unix_millis,
        frames: arguments.frames,
    };
    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    let mut config = subscriber_config(arguments, settings, meaning)?;
    config.tracer = observed.tracer();
    let mut subscriber = Subscriber::open(config)?;
    observed.subscriber(subscriber.gauges(), settings)?;
    let options = sink_options(arguments);
    let sink = arguments.out.as_deref().map(|target| sink::open(target, &options)).transpose()?;
    let sink = sink.map(|sink| traced(sink, observed.tracing()));

    let began = Instant::now();
    let report = run_subscription(&mut subscriber, sink, &limits, &shutdown, |event, tally| {
        observed.event(event);
        if stdout == Stdout::Report {
            tell_event(output, event);
        }
        output.progress(|| progress(tally, began.elapsed()));
    })?;
    let stats = subscriber.into_stats();
    observed.finish();
    let records = json!({
        "repeats": stats.repeats, "fenced": stats.fenced, "foreign": stats.foreign, "damaged": stats.damaged,
    });
    tell(output, &report, &records, stdout);
    let has_problems = report.tally.streams().any(|(_, tally)| has_problems(tally, policy))
        || report.sink.as_ref().is_some_and(|sink| sink.undecodable > 0);
    Ok(match report.ending {
        _ if has_problems => Outcome::ProblemsFound,
        // Without a limit Ctrl-C is the way to end; then it is no interruption.
        Ending::Interrupted if is_limited(arguments) => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

fn subscriber_config(
    arguments: &SubscribeArguments,
    settings: &Settings,
    meaning: Meaning,
) -> anyhow::Result<SubscriberConfig> {
    let mut config = SubscriberConfig::new(arguments.observe.bus(settings), topics(arguments, settings)?);
    config.cameras = meaning.filter;
    config.group = arguments.group.clone();
    config.start = meaning.start;
    config.policy = meaning.policy;
    config.preroll = if needs_decoder(arguments) { Preroll::Deliver } else { Preroll::Skip };
    config.buffer_bytes = arguments.buffer;
    config.consumers = usize::from(arguments.consumers);
    Ok(config)
}

fn sink_options(arguments: &SubscribeArguments) -> SinkOptions {
    let form = match arguments.form {
        FormChoice::Pictures => Form::Pictures,
        FormChoice::Coded => Form::Coded,
    };
    SinkOptions { overwrite: arguments.overwrite, form, ..SinkOptions::default() }
}

/// Frames that are missing, but for those that the policy was to leave out.
fn has_problems(tally: &StreamTally, policy: Policy) -> bool {
    let is_wanted =
        |reason: GapReason| policy != Policy::Lossless && matches!(reason, GapReason::Lagging | GapReason::Superseded);
    // Whoever comes in the middle of a GOP has lost nothing.
    let is_problem = |reason: GapReason| reason != GapReason::Joining && !is_wanted(reason);
    tally.open_gaps > 0 || tally.missing.iter().any(|(reason, frames)| *frames > 0 && is_problem(*reason))
}

fn is_limited(arguments: &SubscribeArguments) -> bool {
    arguments.duration.is_some() || arguments.frames.is_some() || arguments.until_end || arguments.to.is_some()
}

fn needs_decoder(arguments: &SubscribeArguments) -> bool {
    let Some(out) = &arguments.out else { return false };
    let appends = [".h264", ".264", ".h265", ".265", "-"].iter().any(|end| out.ends_with(end));
    !appends && arguments.form == FormChoice::Pictures
}

fn policy(text: &str) -> Result<Policy, Usage> {
    match text.split_once(':') {
        None if text == "lossless" => Ok(Policy::Lossless),
        None if text == "newest" => Ok(Policy::Newest),
        None if text == "live" => Ok(Policy::Live { max_age: DEFAULT_MAX_AGE }),
        Some(("live", age)) => {
            let max_age = units::duration(age).map_err(|error| Usage(format!("--policy {text}: {error}")))?;
            Ok(Policy::Live { max_age })
        }
        _ => Err(Usage(format!("--policy {text}: write lossless, live, live:300ms or newest"))),
    }
}

fn start(text: &str, now: &jiff::Zoned) -> Result<Start, Usage> {
    match text {
        "live" => Ok(Start::Live),
        "start" => Ok(Start::Earliest),
        _ => {
            let unix_millis = units::moment(text, now).map_err(|error| Usage(format!("--from: {error}")))?;
            Ok(Start::At { unix_millis })
        }
    }
}

fn topics(arguments: &SubscribeArguments, settings: &Settings) -> anyhow::Result<Vec<TopicName>> {
    let prefix = &settings.bus.topic_prefix;
    if !arguments.topic.is_empty() {
        return Ok(arguments.topic.iter().map(|topic| prefix.topic(topic.as_str())).collect());
    }
    let wanted = FRAME_TOPICS.map(|topic| prefix.topic(topic));
    let names: Vec<_> = wanted.iter().map(TopicName::as_str).collect();
    let existing = Cluster::open(&settings.bus)?.actual(&names)?;
    let found: Vec<_> = wanted.iter().filter(|topic| existing.contains_key(topic.as_str())).cloned().collect();
    if found.is_empty() {
        let topic = names.join(", ");
        return Err(BusError::UnknownTopic { topic, brokers: settings.bus.brokers.clone() }.into());
    }
    Ok(found)
}

fn tell_event(output: &mut Output, event: &Event) {
    match event {
        Event::Frame(frame) if output.is_json() => {
            let header = &frame.header;
            let value = json!({
                "camera": frame.stream.camera.as_str(), "topic": frame.stream.topic.as_str(),
                "stream": frame.stream.name.as_str(), "epoch": header.id.epoch.to_string(), "seq": header.id.seq.0,
                "codec": frame.codec.as_str(), "keyframe": header.is_keyframe, "discontinuity": header.is_discontinuity, "bytes": frame.payload.len(),
                "capture_unix_nanos": header.capture.unix_nanos.to_string(), "pts": header.pts,
                "role": role(frame.role), "append_unix_millis": frame.append_unix_millis, "partition": frame.partition, "offset": frame.offset,
            });
            output.object("frame", value);
        }
        Event::Gap { stream, gap } => {
            output.note(&format!("{stream}: gap {gap}"));
            let value = json!({
                "camera": stream.camera.as_str(), "topic": stream.topic.as_str(), "stream": stream.name.as_str(),
                "epoch": gap.epoch.map(|epoch| epoch.to_string()), "first": gap.first.0,
                "last": gap.last.map(|last| last.0), "reason": gap.reason.as_str(),
            });
            output.object("gap", value);
        }
        Event::End { stream, epoch, last_seq } => {
            let value = json!({
                "camera": stream.camera.as_str(), "topic": stream.topic.as_str(), "stream": stream.name.as_str(),
                "epoch": epoch.to_string(), "last_seq": last_seq.map(|seq| seq.0),
            });
            output.object("end", value);
        }
        Event::Offline { stream, reason, .. } => {
            output.note(&format!("{stream}: camera is away {reason}"));
            output.object("offline", json!({ "camera": stream.camera.as_str(), "reason": reason }));
        }
        Event::Notice(notice) => tell_notice(output, notice),
        _ => {}
    }
}

fn role(role: FrameRole) -> &'static str {
    match role {
        FrameRole::Current => "current",
        FrameRole::CatchUp => "catch-up",
        FrameRole::Preroll => "preroll",
    }
}

fn tell_notice(output: &mut Output, notice: &Notice) {
    let text = match notice {
        Notice::Disconnected { reason } => format!("no broker answers ({reason}); trying again"),
        Notice::RetentionPassed { topic, partition, lost_records } => {
            format!("retention has deleted {lost_records} records of {topic}-{partition} before they were read")
        }
        Notice::UnreadableRecord { topic, partition, offset, reason } => {
            format!("record {offset} of {topic}-{partition} is left out: {reason} (more of the kind are only counted)")
        }
        Notice::KeyframeNotFound { stream, offset } => {
            format!("{stream}: no keyframe at offset {offset} any more; it begins at its next one")
        }
        other => format!("{other:?}"),
    };
    output.note(&text);
    output.object("notice", json!({ "text": text }));
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn progress(tally: &Tally, elapsed: Duration) -> String {
    let (mut frames, mut bytes, mut missing, mut streams) = (0, 0, 0, 0);
    for (_, stream) in tally.streams() {
        frames += stream.frames;
        bytes += stream.bytes;
        missing += stream.missing_frames();
        streams += 1;
    }
    let (bytes, seconds) = (units::show_bytes(bytes), elapsed.as_secs());
    format!("{streams} stream{}, {frames} frames, {bytes}, {missing} missing, {seconds} s", plural(streams))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

/// Where the report goes: standard output may be taken by the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stdout {
    Report,
    Frames,
}

fn tell(output: &mut Output, report: &SubscribeReport, records: &Value, stdout: Stdout) {
    let mut streams = Vec::new();
    for (id, tally) in report.tally.streams() {
        let line = stream_line(&id.to_string(), tally);
        match stdout {
            Stdout::Report => output.result(&line),
            Stdout::Frames => output.note(&line),
        }
        streams.push(stream_object(id, tally));
    }
    if streams.is_empty() {
        output.note("no frame came; is a publisher running? `lumenbus publish test:640x480@30 --camera test`");
    }
    if let Some(sink) = &report.sink {
        tell_sink(output, sink);
    }
    if stdout == Stdout::Frames {
        return;
    }
    let written = report.sink.as_ref().map(|sink| {
        json!({
            "target": sink.target, "frames": sink.frames, "files": sink.files, "bytes": sink.bytes,
            "undecodable": sink.undecodable, "awaiting_keyframe": sink.awaiting_keyframe,
        })
    });
    output.summary("subscribe", json!({ "streams": streams, "records": records, "sink": written }));
}

fn tell_sink(output: &mut Output, sink: &SinkReport) {
    let bytes = units::show_bytes(sink.bytes);
    let files = format!("{} file{}", sink.files, plural(sink.files));
    output.note(&format!("wrote {} frames in {files}, {bytes}, to {}", sink.frames, sink.target));
    if sink.undecodable > 0 {
        output.note(&format!("{} frames could not be decoded", sink.undecodable));
    }
}

fn stream_line(id: &str, tally: &StreamTally) -> String {
    let mut line = format!("{id}: {} frames, {}", tally.frames, units::show_bytes(tally.bytes));
    for (reason, frames) in &tally.missing {
        line.push_str(&format!(", {frames} {reason}"));
    }
    if tally.open_gaps > 0 {
        line.push_str(&format!(", {} gaps of unknown length", tally.open_gaps));
    }
    if tally.repeated > 0 {
        line.push_str(&format!(", {} repeated", tally.repeated));
    }
    if !tally.age_micros.is_empty() {
        let (p50, p99) = (millis(&tally.age_micros, 0.5), millis(&tally.age_micros, 0.99));
        line.push_str(&format!(", live age p50 {p50:.1} ms, p99 {p99:.1} ms"));
    }
    line
}

/// `null` when nothing came live.
fn live_age(tally: &StreamTally) -> Value {
    let ages = &tally.age_micros;
    if ages.is_empty() {
        return Value::Null;
    }
    json!({ "frames": ages.len(), "p50": millis(ages, 0.5), "p99": millis(ages, 0.99) })
}

fn stream_object(id: &lumenbus_frame::StreamId, tally: &StreamTally) -> Value {
    let missing: Value = tally.missing.iter().map(|(reason, frames)| (reason.to_string(), json!(frames))).collect();
    let published: u64 = tally.ended.values().sum();
    json!({
        "camera": id.camera.as_str(), "topic": id.topic.as_str(), "stream": id.name.as_str(),
        "codec": tally.codec.map(lumenbus_frame::Codec::as_str), "frames": tally.frames, "bytes": tally.bytes,
        "keyframes": tally.keyframes, "missing": missing, "unexplained": tally.unexplained_frames(),
        "open_gaps": tally.open_gaps, "repeated": tally.repeated,
        "ended_epochs": tally.ended.len(), "published_in_ended_epochs": published,
        "live_age_ms": live_age(tally),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        assert_eq!(policy("lossless").unwrap(), Policy::Lossless);
        assert_eq!(policy("live:300ms").unwrap(), Policy::Live { max_age: Duration::from_millis(300) });
        assert_eq!(policy("newest").unwrap(), Policy::Newest);
        assert!(policy("fastest").is_err());
        assert!(policy("live:soon").is_err());
    }
}
