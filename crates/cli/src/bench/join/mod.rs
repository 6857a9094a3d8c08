//! `lumenbus bench join`: how soon who joins a stream sees its newest keyframe, and is up to date.
//!
//! Two streams, each published by this program as a process of its own: one that is passed through, so that whoever
//! comes begins with the keyframe there is and catches up; and one that is encoded, so that a keyframe can be asked for.

pub(crate) mod arguments;
mod camera;
mod joiner;

use super::live::verdict;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use arguments::JoinArguments;
use camera::{Camera, Kind};
use joiner::{Joined, Joiner};
use serde_json::{Value, json};
use std::time::Duration;

/// What the project promises at 1080p30 with a GOP of ten seconds.
const TARGET_MILLIS: f64 = 300.0;
const TARGET_RATIO: f64 = 1.3;
const PROMISED_GOP: Duration = Duration::from_secs(10);
/// Multiples of it spread evenly over 0 to 1 and have no rhythm.
const GOLDEN: f64 = 0.618_033_988_749_895;

pub(super) fn run(arguments: &JoinArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut live = arguments.live.open(settings)?;
    let gop = arguments.live.gop;
    let is_promised = live.is_promised() && gop == PROMISED_GOP;
    output.result(&format!(
        "joining: H.264 at {:.1} Mbit/s, a keyframe every {:.0} s, {}",
        f64::from(arguments.bitrate) / 1e6,
        gop.as_secs_f64(),
        live.what(),
    ));
    let (mut found, mut are_met) = (serde_json::Map::new(), true);
    for kind in [Kind::PassedThrough, Kind::Encoded] {
        let topic = live.environment.topic(1)?;
        output.progress(|| format!("{}: the camera begins", kind.name()));
        let camera = Camera::start(&live.environment.bus, &topic, kind, arguments, &live.pictures)?;
        let joiner = Joiner::new(&live.environment.bus, &topic, kind, live.rate)?;
        camera.wait(&joiner)?;
        let mut joins = Vec::new();
        for turn in 1..=arguments.joins {
            output.progress(|| format!("{}: join {turn} of {}", kind.name(), arguments.joins));
            // Anywhere in the GOP: a matter of time alone, there is nothing to wait for.
            std::thread::sleep(gop.mul_f64((f64::from(turn) * GOLDEN).fract()));
            joins.push(joiner.join()?);
        }
        drop(camera);
        let figures = Figures::of(&joins);
        figures.show(output, kind, is_promised);
        are_met &= figures.are_met(kind);
        found.insert(kind.name().replace(' ', "_"), figures.json(&joins));
    }
    let summary = json!({
        "source": live.pictures.name, "size": live.pictures.size.to_string(), "fps": live.rate.frames,
        "gop_seconds": gop.as_secs_f64(), "joins": arguments.joins,
        "targets": {
            "keyframe_ms": TARGET_MILLIS, "catch_up_ratio": TARGET_RATIO, "current_when_asked_ms": TARGET_MILLIS,
            "met": is_promised.then_some(are_met),
        },
        "kinds": Value::Object(found),
    });
    output.summary("bench join", summary);
    Ok(if is_promised && !are_met { Outcome::ProblemsFound } else { Outcome::Done })
}

/// Median and 99th percentile.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pair {
    p50: f64,
    p99: f64,
}

impl Pair {
    fn of(joins: &[Joined], figure: impl Fn(&Joined) -> f64) -> Self {
        let mut values: Vec<f64> = joins.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values.get(values.len() * percent / 100).or(values.last()).copied().unwrap_or(0.0);
        Self { p50: at(50), p99: at(99) }
    }

    fn json(self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99 })
    }
}

struct Figures {
    keyframe: Pair,
    age: Pair,
    behind: Pair,
    decode: Pair,
    ratio: Pair,
    current: Pair,
}

impl Figures {
    fn of(joins: &[Joined]) -> Self {
        Self {
            keyframe: Pair::of(joins, |join| join.keyframe_millis),
            age: Pair::of(joins, |join| join.keyframe_age_millis),
            #[expect(clippy::cast_precision_loss, reason = "frames of a GOP")]
            behind: Pair::of(joins, |join| join.frames_behind as f64),
            decode: Pair::of(joins, |join| join.decode_millis),
            ratio: Pair::of(joins, Joined::ratio),
            current: Pair::of(joins, |join| join.current_millis),
        }
    }

    fn are_met(&self, kind: Kind) -> bool {
        let is_up_to_date = match kind {
            Kind::PassedThrough => self.ratio.p99 <= TARGET_RATIO,
            Kind::Encoded => self.current.p99 <= TARGET_MILLIS,
        };
        self.keyframe.p99 <= TARGET_MILLIS && is_up_to_date
    }

    fn show(&self, output: &mut Output, kind: Kind, is_promised: bool) {
        let Self { keyframe, age, behind, decode, ratio, current } = self;
        let line = |name: &str, Pair { p50, p99 }: &Pair| format!("  {name:<18}  p50 {p50:6.0} ms, p99 {p99:6.0} ms");
        let in_time = |pair: &Pair| verdict(&format!("p99 {TARGET_MILLIS:.0}"), pair.p99 <= TARGET_MILLIS, is_promised);
        output.result(&format!("{}:", kind.title()));
        output.result(&format!("{}  {}", line("first picture", keyframe), in_time(keyframe)));
        output.result(&line("its age", age));
        output.result(&format!("  frames to catch up  p50 {:6.0},    p99 {:6.0}", behind.p50, behind.p99));
        output.result(&format!("  decoding one        p50 {:6.1} ms, p99 {:6.1} ms", decode.p50, decode.p99));
        match kind {
            Kind::PassedThrough => {
                output.result(&line("up to date", current));
                let target = verdict(&TARGET_RATIO.to_string(), ratio.p99 <= TARGET_RATIO, is_promised);
                output
                    .result(&format!("  over frames × decoding  p50 {:.2}, p99 {:.2}  {target}", ratio.p50, ratio.p99));
            }
            Kind::Encoded => output.result(&format!("{}  {}", line("up to date", current), in_time(current))),
        }
    }

    fn json(&self, joins: &[Joined]) -> Value {
        json!({
            "joins": joins.len(),
            "keyframe_ms": self.keyframe.json(), "keyframe_age_ms": self.age.json(),
            "frames_behind": self.behind.json(), "decode_ms_per_frame": self.decode.json(),
            "catch_up_ratio": self.ratio.json(), "current_ms": self.current.json(),
            "opened_ms": Pair::of(joins, |join| join.opened_millis).json(),
            "asked": joins.iter().filter(|join| join.has_asked).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catching_up_is_compared_with_decoding_alone() {
        let join = |keyframe_millis: f64, current_millis: f64, frames_behind: u64| Joined {
            opened_millis: 50.0,
            keyframe_millis,
            keyframe_age_millis: 4_000.0,
            frames_behind,
            decode_millis: 8.0,
            current_millis,
            has_asked: false,
            interval_millis: 40.0,
        };
        assert!((join(100.0, 1_060.0, 100).ratio() - 1.2).abs() < 1e-9);
        let at_once = Joined { keyframe_age_millis: 0.0, ..join(100.0, 100.0, 0) };
        assert!((at_once.ratio() - 1.0).abs() < 1e-9, "nothing to catch up");
        let joins: Vec<_> = (0..100).map(|at| join(f64::from(at), 500.0, 3)).collect();
        assert_eq!(Pair::of(&joins, |join| join.keyframe_millis), Pair { p50: 50.0, p99: 99.0 });
        assert_eq!(Pair::of(&joins[..1], |join| join.keyframe_millis), Pair { p50: 0.0, p99: 0.0 });
    }

    #[test]
    fn each_kind_is_held_to_its_own_targets() {
        let join = Joined {
            opened_millis: 50.0,
            keyframe_millis: 300.0,
            keyframe_age_millis: 4_000.0,
            frames_behind: 100,
            decode_millis: 8.0,
            current_millis: 1_340.0,
            has_asked: false,
            interval_millis: 40.0,
        };
        let is_met = |join: Joined, kind| Figures::of(&[join]).are_met(kind);
        assert!(is_met(join, Kind::PassedThrough), "caught up at 1.3 times the least time");
        assert!(!is_met(Joined { current_millis: 1_350.0, ..join }, Kind::PassedThrough));
        assert!(!is_met(join, Kind::Encoded), "current after 1.3 s");
        assert!(is_met(Joined { current_millis: 300.0, ..join }, Kind::Encoded));
        for kind in [Kind::PassedThrough, Kind::Encoded] {
            assert!(!is_met(Joined { keyframe_millis: 301.0, current_millis: 301.0, ..join }, kind));
        }
    }
}
