//! The figures.

use super::Measured;
use super::arguments::DetectBenchArguments;
use crate::output::Output;
use lumenbus_vision::evaluate::{Labels, PresenceEvent, PresenceScore, presence_intervals, score_presence};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn show(
    arguments: &DetectBenchArguments,
    labels: Option<&Labels>,
    measured: &Measured,
    output: &mut Output,
) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3 / precise(measured.pictures);
    let (decode, detect) = (millis(measured.decode), millis(measured.detect));
    output.result(&format!(
        "{}: {} pictures of {}, {} confirmed boxes; CPU per picture: detect and track {detect:.2} ms, decode {decode:.2} ms",
        arguments.detector, measured.pictures, measured.size, measured.boxes,
    ));
    let boxes = (measured.score.pictures > 0).then(|| boxes(arguments, measured, output));
    let presence = labels.filter(|labels| !labels.presence.is_empty()).map(|labels| {
        let second = u64::from(labels.frames_per_second);
        let found = presence_intervals(&measured.seen, second);
        presence(&score_presence(&labels.presence, &found, second), second, output)
    });
    let size = json!({ "width": measured.size.width, "height": measured.size.height });
    output.summary(
        "bench detect",
        json!({
            "detector": arguments.detector.to_string(),
            "size": size,
            "frames": measured.pictures,
            "confirmed_boxes": measured.boxes,
            "detect_and_track_cpu_ms": detect,
            "decode_cpu_ms": decode,
            "boxes": boxes,
            "presence": presence,
        }),
    );
}

fn boxes(arguments: &DetectBenchArguments, measured: &Measured, output: &mut Output) -> Value {
    let score = &measured.score;
    let (precision, recall, moving, f1) = (score.precision(), score.recall(), score.moving_recall(), score.f1());
    output.result(&format!(
        "{} labelled pictures at IoU {}: precision {precision:.3}, recall {recall:.3} ({moving:.3} of what moves), F1 {f1:.3}",
        score.pictures, arguments.iou,
    ));
    output.result(&format!(
        "found {} of {} that move and {} of {} that stand still; {} boxes where nothing is",
        score.moving_found,
        score.moving_found + score.moving_missed,
        score.still_found,
        score.still_found + score.still_missed,
        score.wrong,
    ));
    json!({
        "labelled_frames": score.pictures,
        "iou": arguments.iou,
        "precision": precision,
        "recall": recall,
        "moving_recall": moving,
        "f1": f1,
        "moving_found": score.moving_found,
        "moving_missed": score.moving_missed,
        "still_found": score.still_found,
        "still_missed": score.still_missed,
        "wrong": score.wrong,
    })
}

fn presence(score: &PresenceScore, second: u64, output: &mut Output) -> Value {
    let furthest = score.right.iter().map(|(_, far)| *far).max().unwrap_or(0);
    let seconds = precise(furthest) / precise(second);
    let labelled = score.right.len() + score.missed.len();
    output.result(&format!(
        "presence: {} of {labelled} comings and goings within 1 s (at most {seconds:.1} s off), {} that did not happen",
        score.right.len(),
        score.wrong.len(),
    ));
    let (missed, wrong) = (events(&score.missed), events(&score.wrong));
    for (what, events) in [("not within 1 s", &missed), ("did not happen", &wrong)] {
        if !events.is_empty() {
            output.result(&format!("{what}: {}", events.join(", ")));
        }
    }
    json!({
        "events": labelled,
        "within_1_s": score.right.len(),
        "furthest_s": seconds,
        "missed": missed,
        "wrong": wrong,
    })
}

fn events(events: &[PresenceEvent]) -> Vec<String> {
    let words = |event: &PresenceEvent| match event {
        PresenceEvent::Enter(seq) => format!("enter at {seq}"),
        PresenceEvent::Leave(seq) => format!("leave at {seq}"),
    };
    events.iter().map(words).collect()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of pictures")]
fn precise(count: u64) -> f64 {
    count as f64
}
