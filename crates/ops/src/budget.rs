//! What a configuration costs in latency, setting by setting. Pure arithmetic.

use lumenbus_bus::publisher::BatchLimits;
use lumenbus_bus::{BusConfig, Profile, Role};
use serde::Serialize;
use std::fmt;

/// The cameras that a configuration is judged for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Traffic {
    /// Megabits (10⁶ bits) per second of one camera.
    pub mbit: f64,
    /// Frames per second of one camera.
    pub fps: f64,
    /// Cameras that one consumer reads from one broker: they fill its fetches together.
    pub cameras: u32,
}

impl Default for Traffic {
    /// One 720p camera, which is the worst case: nobody else fills its fetches.
    fn default() -> Self {
        Self { mbit: 2.3, fps: 30.0, cameras: 1 }
    }
}

impl Traffic {
    fn bits_per_second(&self) -> f64 {
        (self.mbit * 1e6 * f64::from(self.cameras.max(1))).max(1.0)
    }

    fn frame_bytes(&self) -> f64 {
        self.mbit * 1e6 / 8.0 / self.fps.max(0.01)
    }

    fn shown(&self) -> String {
        match self.cameras {
            0 | 1 => format!("{} Mbit/s", self.mbit),
            cameras => format!("{cameras} × {} Mbit/s", self.mbit),
        }
    }
}

/// When a cost is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// By frames in ordinary operation, at worst.
    Always,
    /// When a reader is slower than its cameras.
    Behind,
    /// After a broker or a reader has failed.
    Failure,
}

/// What one setting costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// `linger.ms=0`
    pub setting: String,
    /// Under which conditions, where they matter.
    pub at: Option<String>,
    /// At worst, in milliseconds.
    pub adds_millis: f64,
    /// When it is paid.
    pub when: When,
    /// How it comes about, where the number does not say it.
    pub why: Option<String>,
    /// What to do; `None` where it is good as it is.
    pub advice: Option<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(at) = &self.at {
            write!(f, " at {at}")?;
        }
        write!(f, ": +{}", millis(self.adds_millis))?;
        match self.when {
            When::Always => {}
            When::Behind => f.write_str(" when a reader is behind")?,
            When::Failure => f.write_str(" after a failure")?,
        }
        if let Some(why) = &self.why {
            write!(f, " ({why})")?;
        }
        match &self.advice {
            Some(advice) => write!(f, ": {advice}"),
            None => Ok(()),
        }
    }
}

/// All lines and their sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// For these cameras.
    pub traffic: Traffic,
    /// Each setting that costs time, and those that are known to cost it elsewhere.
    pub lines: Vec<Line>,
    /// What all lines of [`When::Always`] add, in milliseconds.
    pub always_millis: f64,
}

/// `356 ms`, `16.7 s`
#[must_use]
pub fn millis(millis: f64) -> String {
    match millis {
        m if m >= 10_000.0 => format!("{:.1} s", m / 1e3),
        m if m < 9.95 && m.fract() > 0.049 => format!("{m:.1} ms"),
        m => format!("{m:.0} ms"),
    }
}

/// Judges the effective configuration: profile, then the user's properties, then librdkafka's defaults.
#[must_use]
pub fn budget(bus: &BusConfig, traffic: Traffic) -> Budget {
    let (producer, consumer) = (bus.client_config(Role::Producer), bus.client_config(Role::Consumer));
    let producing = |name: &'static str, default: &str| Setting::new(name, producer.get(name), default);
    let consuming = |name: &'static str, default: &str| Setting::new(name, consumer.get(name), default);
    let mut lines = vec![linger(&producing("linger.ms", "5"), &producing("batch.size", "1000000"), traffic)];
    lines.extend(frame_batches(bus));
    lines.extend(compression(&producing("compression.type", "none")));
    lines.push(acknowledgement(&producing("acks", "all")));
    lines.extend(nagle(&producing("socket.nagle.disable", "true")));
    lines.push(fetch(&consuming("fetch.min.bytes", "1"), &consuming("fetch.wait.max.ms", "500"), traffic));
    lines.push(fetch_backoff(&consuming("fetch.queue.backoff.ms", "1000")));
    lines.push(prefetched(&consuming("queued.max.messages.kbytes", "65536"), traffic));
    lines.extend(bus.max_poll_records().map(|records| poll_records(records, traffic)));
    lines.push(unanswered(&consuming("socket.timeout.ms", "60000")));
    lines.push(reconnecting(&consuming("reconnect.backoff.max.ms", "10000")));
    lines.push(failover(&consuming("session.timeout.ms", "45000")));
    let always_millis = lines.iter().filter(|line| line.when == When::Always).map(|line| line.adds_millis).sum();
    Budget { traffic, lines, always_millis }
}

/// A property in force.
struct Setting {
    name: &'static str,
    value: String,
}

impl Setting {
    fn new(name: &'static str, value: Option<&str>, default: &str) -> Self {
        Self { name, value: value.unwrap_or(default).trim().to_ascii_lowercase() }
    }

    fn number(&self) -> f64 {
        self.value.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0).unwrap_or(0.0)
    }

    fn line(&self, when: When, adds_millis: f64) -> Line {
        let setting = format!("{}={}", self.name, self.value);
        Line { setting, at: None, adds_millis, when, why: None, advice: None }
    }
}

fn linger(linger: &Setting, batch: &Setting, traffic: Traffic) -> Line {
    let line = linger.line(When::Always, linger.number());
    if linger.number() <= 0.0 {
        return line;
    }
    let frame = traffic.frame_bytes();
    if batch.number() < frame {
        let why = format!("a batch of {} B holds no frame of {frame:.0} B: nothing is gained by waiting", batch.value);
        return Line { at: Some(traffic.shown()), why: Some(why), advice: Some("set it to 0".to_owned()), ..line };
    }
    Line { advice: (linger.number() > 1.0).then(|| "set it to 0".to_owned()), ..line }
}

/// Ours, not Kafka's: several small frames in one record.
fn frame_batches(bus: &BusConfig) -> Option<Line> {
    let limits = BatchLimits::THROUGHPUT;
    (bus.profile == Profile::Throughput).then(|| Line {
        setting: format!("publish --batch {}", limits.frames),
        at: None,
        adds_millis: limits.wait.as_secs_f64() * 1e3,
        when: When::Always,
        why: Some("frames wait for others of their camera to share a record".to_owned()),
        advice: Some("publish with --batch 1, or --profile realtime".to_owned()),
    })
}

fn compression(compression: &Setting) -> Option<Line> {
    (compression.value != "none").then(|| Line {
        why: Some("coded pictures do not shrink; only processor time is spent".to_owned()),
        advice: Some("set it to none, but for uncompressed frames".to_owned()),
        ..compression.line(When::Always, 0.0)
    })
}

fn acknowledgement(acks: &Setting) -> Line {
    let line = acks.line(When::Always, 0.0);
    match acks.value.as_str() {
        "all" | "-1" => Line { why: Some("readers wait for the copies in any case".to_owned()), ..line },
        _ => Line {
            why: Some("saves nothing for readers, and what is acknowledged can be lost".to_owned()),
            advice: Some("set it to all".to_owned()),
            ..line
        },
    }
}

/// Delayed acknowledgements of TCP hold a small segment back for up to 40 ms on Linux.
fn nagle(disable: &Setting) -> Option<Line> {
    (disable.value == "false").then(|| Line {
        why: Some("small requests wait for the acknowledgement of the one before".to_owned()),
        advice: Some("set it to true".to_owned()),
        ..disable.line(When::Always, 40.0)
    })
}

fn fetch(min_bytes: &Setting, wait: &Setting, traffic: Traffic) -> Line {
    let least = min_bytes.number();
    if least <= traffic.frame_bytes().min(1_024.0) {
        let why = "brokers answer at the first byte".to_owned();
        return Line { why: Some(why), ..min_bytes.line(When::Always, 0.0) };
    }
    let fill = least * 8.0 / traffic.bits_per_second() * 1e3;
    let adds = fill.min(wait.number());
    let ended = format!("filled in {}; {}={} ends the wait", millis(fill), wait.name, wait.value);
    Line {
        at: Some(traffic.shown()),
        why: (adds < fill).then_some(ended),
        advice: Some("set it to 1".to_owned()),
        ..min_bytes.line(When::Always, adds)
    }
}

fn fetch_backoff(backoff: &Setting) -> Line {
    let advice = (backoff.number() > 20.0).then(|| "set it to 2".to_owned());
    let why = "no fetch for so long after the reader's own queue was full".to_owned();
    Line { why: Some(why), advice, ..backoff.line(When::Behind, backoff.number()) }
}

fn prefetched(kbytes: &Setting, traffic: Traffic) -> Line {
    let adds = kbytes.number() * 1_024.0 * 8.0 / traffic.bits_per_second() * 1e3;
    let why = "so much video lies in the reader's queue before Kafka is asked to wait; `--policy live` skips it";
    Line { at: Some(traffic.shown()), why: Some(why.to_owned()), ..kbytes.line(When::Behind, adds) }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn poll_records(records: usize, traffic: Traffic) -> Line {
    let adds = records as f64 / traffic.fps.max(0.01) * 1e3;
    Line {
        setting: format!("max.poll.records={records}"),
        at: Some(format!("{} fps", traffic.fps)),
        adds_millis: adds,
        when: When::Behind,
        why: Some("a lag of so many records of one camera is so old".to_owned()),
        advice: None,
    }
}

fn unanswered(timeout: &Setting) -> Line {
    let advice = (timeout.number() > 5_000.0).then(|| "set it to 2000".to_owned());
    let why = "a broker that falls silent is given up after so long".to_owned();
    Line { why: Some(why), advice, ..timeout.line(When::Failure, timeout.number()) }
}

fn reconnecting(backoff: &Setting) -> Line {
    let advice = (backoff.number() > 1_000.0).then(|| "set it to 500".to_owned());
    Line {
        why: Some("pause between attempts to connect".to_owned()),
        advice,
        ..backoff.line(When::Failure, backoff.number())
    }
}

fn failover(session: &Setting) -> Line {
    let advice = (session.number() > 15_000.0).then(|| "set it to 10000".to_owned());
    let why = "so long the cameras of a group's member that died stand still".to_owned();
    Line { why: Some(why), advice, ..session.line(When::Failure, session.number()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(properties: &[(&str, &str)], profile: Profile, traffic: Traffic) -> Budget {
        let mut bus = BusConfig { profile, ..BusConfig::new("127.0.0.1:1") };
        for (name, value) in properties {
            bus.set_property(name, value);
        }
        budget(&bus, traffic)
    }

    #[track_caller]
    fn says(budget: &Budget, expected: &str) {
        let lines: Vec<_> = budget.lines.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line == expected), "{expected:?} is not in {lines:#?}");
    }

    #[test]
    fn a_large_fetch_of_a_small_camera() {
        let settings = [("fetch.min.bytes", "102400"), ("fetch.wait.max.ms", "500")];
        let budget = judged(&settings, Profile::Realtime, Traffic::default());
        says(&budget, "fetch.min.bytes=102400 at 2.3 Mbit/s: +356 ms: set it to 1");
        assert!((budget.always_millis - 356.17).abs() < 0.01, "{}", budget.always_millis);
    }

    #[test]
    fn the_wait_ends_where_kafka_ends_it() {
        let budget = judged(&[("fetch.min.bytes", "102400")], Profile::Realtime, Traffic::default());
        let line = "fetch.min.bytes=102400 at 2.3 Mbit/s: +100 ms (filled in 356 ms; fetch.wait.max.ms=100 ends the wait): set it to 1";
        says(&budget, line);
        let many = Traffic { cameras: 40, ..Traffic::default() };
        let budget = judged(&[("fetch.min.bytes", "102400")], Profile::Realtime, many);
        says(&budget, "fetch.min.bytes=102400 at 40 × 2.3 Mbit/s: +8.9 ms: set it to 1");
    }

    #[test]
    fn the_realtime_profile_costs_nothing() {
        let budget = judged(&[], Profile::Realtime, Traffic::default());
        assert!(budget.always_millis.abs() < 1e-9);
        let always = |line: &&Line| line.when == When::Always && line.advice.is_some();
        assert_eq!(budget.lines.iter().find(always), None);
        says(&budget, "linger.ms=0: +0 ms");
    }

    #[test]
    fn the_throughput_profile_says_what_it_trades() {
        let budget = judged(&[], Profile::Throughput, Traffic::default());
        says(&budget, "linger.ms=5: +5 ms: set it to 0");
        // linger 5, frame batches 5, fetch 100
        assert!((budget.always_millis - 110.0).abs() < 1e-9, "{}", budget.always_millis);
    }

    #[test]
    fn batches_that_hold_no_frame() {
        let traffic = Traffic { mbit: 8.0, ..Traffic::default() };
        let budget = judged(&[("linger.ms", "5"), ("batch.size", "16384")], Profile::Realtime, traffic);
        says(
            &budget,
            "linger.ms=5 at 8 Mbit/s: +5 ms (a batch of 16384 B holds no frame of 33333 B: nothing is gained by waiting): set it to 0",
        );
    }

    #[test]
    fn a_lag_of_500_records_is_16_7_s() {
        let budget = judged(&[("max.poll.records", "500")], Profile::Realtime, Traffic::default());
        says(
            &budget,
            "max.poll.records=500 at 30 fps: +16.7 s when a reader is behind (a lag of so many records of one camera is so old)",
        );
    }

    #[test]
    fn nonsense_costs_nothing_and_does_not_fail() {
        let budget = judged(
            &[("fetch.min.bytes", "-5"), ("linger.ms", "NaN")],
            Profile::Realtime,
            Traffic { mbit: 0.0, fps: 0.0, cameras: 0 },
        );
        assert!(budget.lines.iter().all(|line| line.adds_millis.is_finite()));
    }
}
