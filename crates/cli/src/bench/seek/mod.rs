//! `lumenbus bench seek`: random moments of a long recording among many cameras.
//!
//! Each moment is looked for and shown; then, with nothing to look for, the GOP that it lies in is fetched and decoded.

pub(crate) mod arguments;
mod recording;

use super::environment::Environment;
use super::median;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use anyhow::Context as _;
use arguments::SeekArguments;
use lumenbus_bus::index::KeyframeAt;
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{DeliveredFrame, Event};
use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{PixelFormat, TopicName};
use lumenbus_pipeline::decode::{DecodedFrame, Decoding};
use lumenbus_pipeline::subscribe::encoded;
use lumenbus_source::read_marker;
use recording::{Recorded, Recording};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What the project promises of itself.
const MOST_INDEX_RECORDS: u64 = 64;
const MOST_RATIO: f64 = 1.3;
const PATIENCE: Duration = Duration::from_secs(30);

/// One moment.
struct Seek {
    /// Finding the keyframe.
    find_millis: f64,
    /// Finding, fetching and decoding up to the moment.
    shown_millis: f64,
    /// Fetching and decoding the whole GOP.
    gop_millis: f64,
    index_records: u64,
    is_right: bool,
    /// From the keyframe right before it, not from an older one.
    is_nearest: bool,
}

pub(super) fn run(arguments: &SeekArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut environment = Environment::open(settings)?;
    let topic = TopicName::new(&environment.topic(arguments.partitions)?)?;
    let began = Instant::now();
    let recording = Recording::make(&environment.bus, &topic, arguments, output)?;
    output.result(&format!(
        "seek: {} moments in {} min of each of 2 cameras among {} on {} partitions, {}, {} at {}/s, {}; recorded in {:.0} s",
        arguments.seeks,
        arguments.duration.as_secs() / 60,
        arguments.cameras,
        arguments.partitions,
        if arguments.no_index { "no index" } else { "with the index" },
        arguments.size,
        arguments.fps,
        environment.what(),
        began.elapsed().as_secs_f64(),
    ));
    let mut player = Player::open(&environment.bus)?;
    let mut random = Random(arguments.seed);
    let mut rows = Vec::new();
    let mut is_good = true;
    for camera in &recording.cameras {
        let mut seeks = Vec::new();
        // The first one makes connections and does not count.
        for n in 0..=arguments.seeks {
            output.progress(|| format!("{}: moment {n} of {}", camera.name, arguments.seeks));
            let frame = random.below(recording.frames);
            let seek = seek(&mut player, &recording, camera, frame)?;
            if n > 0 {
                seeks.push(seek);
            }
        }
        let (row, is_row_good) = show(output, camera, arguments, &seeks);
        is_good &= is_row_good;
        rows.push(row);
    }
    output.summary("bench seek", json!({ "cameras": rows, "seeks": arguments.seeks, "seed": arguments.seed }));
    Ok(if is_good { Outcome::Done } else { Outcome::ProblemsFound })
}

fn seek(player: &mut Player, recording: &Recording, camera: &Recorded, frame: u64) -> anyhow::Result<Seek> {
    // Between two frames: the one before is shown.
    let moment = recording.capture(frame) + 1_000_000;
    let began = Instant::now();
    let found = player.seek(&camera.stream, moment)?;
    let find = began.elapsed();
    let cost = player.index().last_cost();
    let keyframe = found.with_context(|| format!("{}: nothing at frame {frame}", camera.name))?;
    let shown = show_frame(player, frame)?;
    let shown_after = began.elapsed();
    let counter = shown.as_ref().and_then(|shown| read_marker(&shown.picture)).map(|marker| u64::from(marker.counter));
    let is_right = shown.is_some_and(|shown| shown.id.seq.0 == frame) && counter == Some(frame % camera.loop_frames);
    if !is_right {
        tracing::warn!(camera = camera.name, frame, ?counter, keyframe = keyframe.id.seq.0, "another picture");
    }
    let gop = whole_gop(player, recording, camera, &keyframe)?;
    Ok(Seek {
        find_millis: millis(find),
        shown_millis: millis(shown_after),
        gop_millis: millis(gop),
        index_records: cost.index_records,
        is_right,
        is_nearest: keyframe.id.seq.0 == frame / camera.gop * camera.gop,
    })
}

/// Decodes up to this frame and keeps it.
fn show_frame(player: &mut Player, frame: u64) -> anyhow::Result<Option<DecodedFrame>> {
    let mut decoding = decoding();
    let (mut pictures, mut shown) = (Vec::new(), None);
    loop {
        let received = receive(player)?;
        let seq = received.id().seq.0;
        if seq > frame {
            return Ok(shown);
        }
        decoding.push(received.id(), &encoded(&received), &mut pictures)?;
        shown = pictures.drain(..).last().or(shown);
        if seq == frame {
            return Ok(shown);
        }
    }
}

/// Fetches and decodes a GOP whose keyframe is known.
fn whole_gop(
    player: &mut Player,
    recording: &Recording,
    camera: &Recorded,
    keyframe: &KeyframeAt,
) -> anyhow::Result<Duration> {
    let last = (keyframe.id.seq.0 + camera.gop).min(recording.frames) - 1;
    let began = Instant::now();
    player.play_from(&camera.stream, keyframe)?;
    show_frame(player, last)?;
    Ok(began.elapsed())
}

fn decoding() -> Decoding {
    Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) })
}

fn receive(player: &mut Player) -> anyhow::Result<DeliveredFrame> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(Event::Frame(frame)) = player.recv(Duration::from_secs(1))? {
            return Ok(frame);
        }
    }
    anyhow::bail!("no frame came in {} s", PATIENCE.as_secs())
}

fn show(output: &mut Output, camera: &Recorded, arguments: &SeekArguments, seeks: &[Seek]) -> (Value, bool) {
    let column = |figure: fn(&Seek) -> f64| {
        let mut values: Vec<_> = seeks.iter().map(figure).collect();
        (median(&mut values), percentile(&values, 99))
    };
    let (find, shown, gop) =
        (column(|seek| seek.find_millis), column(|seek| seek.shown_millis), column(|seek| seek.gop_millis));
    let ratio = median(&mut seeks.iter().map(|seek| seek.shown_millis / seek.gop_millis).collect::<Vec<_>>());
    let right = seeks.iter().filter(|seek| seek.is_right).count();
    let nearest = seeks.iter().filter(|seek| seek.is_nearest).count();
    let mut records: Vec<_> = seeks.iter().map(|seek| seek.index_records).collect();
    records.sort_unstable();
    let most = records.last().copied().unwrap_or(0);
    let p99 = records.get((records.len() * 99 / 100).min(records.len().saturating_sub(1))).copied().unwrap_or(0);
    let gop_seconds = camera.gop / u64::from(arguments.fps);
    output.result(&format!(
        "  {} (GOP {gop_seconds} s): {right} of {} right, {nearest} from the nearest keyframe; index records p99 {p99}, most {most} (target {MOST_INDEX_RECORDS})\n    \
         find p50 {:.1} ms, p99 {:.1} ms; shown p50 {:.1} ms, p99 {:.1} ms; fetch + decode of the GOP p50 {:.1} ms\n    \
         ratio {ratio:.2} (target {MOST_RATIO})",
        camera.name, seeks.len(), find.0, find.1, shown.0, shown.1, gop.0,
    ));
    let row = json!({
        "camera": camera.name,
        "gop_seconds": gop_seconds,
        "right": right,
        "nearest_keyframe": nearest,
        "seeks": seeks.len(),
        "index_records_p99": p99,
        "index_records_max": most,
        "find_ms_p50": find.0,
        "find_ms_p99": find.1,
        "shown_ms_p50": shown.0,
        "shown_ms_p99": shown.1,
        "gop_ms_p50": gop.0,
        "ratio": ratio,
    });
    output.object("seek", row.clone());
    (row, right == seeks.len() && most <= MOST_INDEX_RECORDS)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Marsaglia's xorshift: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
        let mut word = self.0;
        for (left, right) in [(13, 7), (17, 5)] {
            word ^= word << left;
            word ^= word >> right;
        }
        word % most.max(1)
    }
}
