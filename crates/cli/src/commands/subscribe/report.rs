//! What a subscription says: each event, and the sums at its end.

use crate::output::Output;
use crate::units;
use hdrhistogram::Histogram;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole, Notice};
use lumenbus_frame::StreamId;
use lumenbus_pipeline::sink::SinkReport;
use lumenbus_pipeline::subscribe::SubscribeReport;
use lumenbus_pipeline::tally::StreamTally;
use serde_json::{Value, json};

pub(super) fn tell_event(output: &mut Output, event: &Event) {
    match event {
        Event::Frame(frame) if output.is_json() => {
            let header = &frame.header;
            let value = json!({
                "camera": frame.stream.camera.as_str(), "topic": frame.stream.topic.as_str(),
                "stream": frame.stream.name.as_str(), "epoch": header.id.epoch.to_string(), "seq": header.id.seq.0,
                "codec": frame.codec.as_str(), "keyframe": header.is_keyframe,
                "discontinuity": header.is_discontinuity, "bytes": frame.payload.len(),
                "capture_unix_nanos": header.capture.unix_nanos.to_string(), "pts": header.pts,
                "role": role(frame.role), "append_unix_millis": frame.append_unix_millis,
                "partition": frame.partition, "offset": frame.offset,
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

/// Who comes while a GOP is under way begins with its keyframe at once, whatever its age, and catches up from there.
pub(super) fn tell_join(output: &mut Output, frame: &DeliveredFrame, stdout: Stdout) {
    if frame.role != FrameRole::CatchUp {
        return;
    }
    let StreamId { camera, topic, name } = frame.stream.as_ref();
    let age = frame.received_unix_nanos.saturating_sub(frame.header.capture.unix_nanos) / 1_000_000;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let seconds = age as f64 / 1e3;
    output.note(&format!("{}: begins with the keyframe of {seconds:.1} s ago and catches up", frame.stream));
    if stdout == Stdout::Report {
        let value = json!({
            "camera": camera.as_str(), "topic": topic.as_str(), "stream": name.as_str(),
            "seq": frame.header.id.seq.0, "age_ms": age,
        });
        output.object("join", value);
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

pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

/// Where the report goes: standard output may be taken by the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdout {
    Report,
    Frames,
}

pub(super) fn tell(output: &mut Output, report: &SubscribeReport, records: &Value, stdout: Stdout) {
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
    if sink.awaiting_keyframe > 0 {
        output.note(&format!("{} frames were left out: what they are decoded from is missing", sink.awaiting_keyframe));
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
