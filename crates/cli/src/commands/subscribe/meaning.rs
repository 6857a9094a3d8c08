//! What the arguments mean, found before anything is connected to or created.

use super::report::Stdout;
use crate::arguments::SubscribeArguments;
use crate::exit::Usage;
use crate::units;
use lumenbus_bus::subscriber::{CameraFilter, Policy, Start};
use lumenbus_pipeline::sink;
use lumenbus_pipeline::subscribe::CaptureRange;
use std::time::Duration;

/// What `--policy live` means without an age.
const DEFAULT_MAX_AGE: Duration = Duration::from_millis(500);
/// Slowest and fastest, but for `max`.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=16.0;

/// Which way time runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forwards,
    /// Keyframe by keyframe.
    Backwards,
}

#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) range: CaptureRange,
    pub(super) direction: Direction,
    pub(super) speed: Option<f64>,
    pub(super) policy: Policy,
    pub(super) start: Start,
    pub(super) filter: CameraFilter,
    pub(super) stdout: Stdout,
}

impl Meaning {
    pub(super) fn of(arguments: &SubscribeArguments, now: &jiff::Zoned) -> Result<Self, Usage> {
        let to =
            arguments.to.as_ref().map(|to| units::moment(to, now).map_err(|error| Usage(format!("--to: {error}"))));
        let (to, start) = (to.transpose()?, start(&arguments.from, now)?);
        let is_reversed = matches!((start, to), (Start::At { unix_millis }, Some(to)) if to < unix_millis);
        let direction = if arguments.is_backwards || is_reversed { Direction::Backwards } else { Direction::Forwards };
        let meaning = Self {
            range: range(start, to, direction, now),
            direction,
            speed: arguments.speed.as_deref().map(speed).transpose()?.flatten(),
            policy: policy(&arguments.policy)?,
            start,
            filter: CameraFilter::new(&arguments.camera).map_err(|error| Usage(error.to_string()))?,
            stdout: if arguments.out.as_deref() == Some("-") { Stdout::Frames } else { Stdout::Report },
        };
        meaning.check(arguments, now.timestamp().as_millisecond())?;
        Ok(meaning)
    }

    fn check(&self, arguments: &SubscribeArguments, now_millis: i64) -> Result<(), Usage> {
        let is_over = self.range.until_unix_nanos.is_some_and(|until| until / 1_000_000 < now_millis);
        let is_backwards = self.direction == Direction::Backwards;
        let out = arguments.out.as_deref();
        let why = if arguments.group.is_some() && is_backwards {
            "a group reads forwards only; leave out --group"
        } else if arguments.group.is_some() && arguments.to.is_some() {
            "--to leaves out what comes later, which the group would never see again; leave out --group"
        } else if self.is_live() && is_over {
            "--to is past, and without --from reading begins now; say where it begins (--from start, or --from -1h), \
             or go back from now to there with --backwards"
        } else if self.speed.is_some() && self.policy != Policy::Lossless {
            "--speed hands over every frame; leave out --policy"
        } else if self.speed.is_some() && self.start == Start::Live && !is_backwards {
            "live frames come when they come; --speed needs --from start or --from TIME"
        } else if is_backwards && arguments.until_end {
            "--until-end waits for what comes later; backwards ends at the other end by itself"
        } else if is_backwards && out.is_some_and(|out| !sink::takes_backwards(out)) {
            "backwards gives keyframes, the newest first; write them into a folder, .mjpeg, or - for standard output"
        } else {
            return Ok(());
        };
        Err(Usage(why.to_owned()))
    }

    /// Whether it reads what has been there, not what comes.
    pub(super) fn is_live(&self) -> bool {
        self.start == Start::Live && self.direction == Direction::Forwards
    }
}

/// A group goes on where it was, whatever `--from` says; for others it is the beginning.
fn range(start: Start, to: Option<i64>, direction: Direction, now: &jiff::Zoned) -> CaptureRange {
    let nanos = |millis: i64| millis.saturating_mul(1_000_000);
    let from = match (start, direction) {
        (Start::At { unix_millis }, _) => Some(unix_millis),
        (Start::Live, Direction::Backwards) => Some(now.timestamp().as_millisecond()),
        _ => None,
    };
    let (from, until) = match (direction, from, to) {
        (Direction::Forwards, ..) => (from, to),
        (Direction::Backwards, Some(from), Some(to)) => (Some(from.min(to)), Some(from.max(to))),
        (Direction::Backwards, from, to) => (None, from.or(to)),
    };
    CaptureRange { from_unix_nanos: from.map(nanos), until_unix_nanos: until.map(nanos) }
}

fn speed(text: &str) -> Result<Option<f64>, Usage> {
    if text == "max" {
        return Ok(None);
    }
    let speed = text.trim_end_matches('x').parse().ok().filter(|speed| SPEEDS.contains(speed));
    speed.map(Some).ok_or_else(|| Usage(format!("--speed {text}: write a number from 0.25 to 16, or max")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::parse_subscribe;

    #[test]
    fn policies() {
        assert_eq!(policy("lossless").unwrap(), Policy::Lossless);
        assert_eq!(policy("live:300ms").unwrap(), Policy::Live { max_age: Duration::from_millis(300) });
        assert_eq!(policy("newest").unwrap(), Policy::Newest);
        assert!(policy("fastest").is_err());
        assert!(policy("live:soon").is_err());
    }

    fn now() -> jiff::Zoned {
        "2026-05-02T10:00:00+00:00[UTC]".parse().unwrap()
    }

    fn meaning(line: &str) -> Result<Meaning, String> {
        Meaning::of(&parse_subscribe(line), &now()).map_err(|error| error.0)
    }

    /// In seconds before now.
    fn check(line: &str, direction: Direction, from: Option<i64>, until: Option<i64>) {
        let found = meaning(line).unwrap();
        let now = now().timestamp().as_millisecond();
        let ago = |nanos: Option<i64>| nanos.map(|nanos| (now - nanos / 1_000_000) / 1_000);
        assert_eq!(found.direction, direction, "{line}");
        assert_eq!((ago(found.range.from_unix_nanos), ago(found.range.until_unix_nanos)), (from, until), "{line}");
    }

    #[test]
    fn stretches_of_time_and_their_direction() {
        use Direction::{Backwards, Forwards};
        check("", Forwards, None, None);
        check("--from start", Forwards, None, None);
        check("--from -1h --to -10m", Forwards, Some(3_600), Some(600));
        check("--from start --to -10m", Forwards, None, Some(600));
        check("--from -10m --to -1h", Backwards, Some(3_600), Some(600));
        check("--from -1h --to -10m --backwards", Backwards, Some(3_600), Some(600));
        check("--backwards", Backwards, None, Some(0));
        check("--backwards --to -1m", Backwards, Some(60), Some(0));
        check("--from -1m --backwards", Backwards, None, Some(60));
        check("--from start --backwards", Backwards, None, None);
        check("--from start --to -1m --backwards", Backwards, None, Some(60));
    }

    #[test]
    fn an_end_that_is_past_needs_a_beginning() {
        let error = meaning("--to -10m").unwrap_err();
        assert!(error.contains("--from start") && error.contains("--backwards"), "{error}");
        assert!(meaning("--to 2026-05-02T10:00:01Z").is_ok(), "a second from now");
    }

    #[test]
    fn speeds() {
        let of = |line: &str| meaning(line).map(|meaning| meaning.speed);
        assert_eq!(of("--from start --speed 0.25"), Ok(Some(0.25)));
        assert_eq!(of("--from -1m --speed 16x"), Ok(Some(16.0)));
        assert_eq!((of("--speed max"), of("--backwards --speed 2")), (Ok(None), Ok(Some(2.0))));
        for wrong in ["--speed 1", "--from start --speed 17", "--from start --speed -1", "--from start --speed fast"] {
            assert!(of(wrong).unwrap_err().contains("--speed"), "{wrong}");
        }
        assert!(of("--from start --speed 1 --policy live").unwrap_err().contains("--policy"));
    }

    #[test]
    fn what_does_not_go_backwards_is_told() {
        for (line, says) in [
            ("--backwards --out x.mp4", ".mjpeg"),
            ("--backwards --out x.h264", "a folder"),
            ("--backwards --group g", "--group"),
            ("--backwards --until-end", "--until-end"),
            ("--to -1m --group g", "--group"),
        ] {
            let error = meaning(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
        assert!(meaning("--backwards --out pictures/").is_ok() && meaning("--backwards --out -").is_ok());
    }
}
