//! What a tile says of its stream; pure, time is an argument.

/// A stream's state as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamPhase {
    /// No frame has come yet.
    Connecting,
    /// Frames come in time.
    Live,
    /// Frames come late, or one is overdue.
    Late,
    /// The camera is away, or has been silent for long.
    Offline,
    /// The camera refuses its password.
    Denied,
    /// The publisher ended the stream.
    Ended,
}

impl StreamPhase {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Late => "late",
            Self::Offline => "offline",
            Self::Denied => "denied",
            Self::Ended => "ended",
        }
    }
}

/// How the reason of a refused password begins.
const UNAUTHORIZED: &str = "unauthorized";
/// A frame is overdue after this and after five intervals.
const LATE_MILLIS: i64 = 2_000;
/// A stream is taken for away after this and after ten intervals.
const OFFLINE_MILLIS: i64 = 10_000;
/// Frames on the way for longer than this are late.
const LATE_DELAY_MILLIS: f64 = 1_000.0;

/// What is known of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The newest epoch is complete.
    pub(crate) is_ended: bool,
    /// The publisher said that the camera is away, and why.
    pub(crate) offline: Option<String>,
    /// The configuration's camera cannot be run, and why.
    pub(crate) trouble: Option<String>,
    /// Nothing can be read from Kafka, and why.
    pub(crate) disconnected: Option<String>,
    /// Last frame, or word that nothing changed; Unix milliseconds.
    pub(crate) last_sign_millis: Option<i64>,
    /// Usual time between frames.
    pub(crate) interval_millis: Option<f64>,
    /// Submission to reception, by the publisher's and the broker's clock: a camera's own clock cannot make it late.
    pub(crate) delay_millis: Option<f64>,
}

/// A state since when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) phase: StreamPhase,
    pub(crate) since_millis: i64,
    pub(crate) reason: String,
}

impl Phase {
    pub(crate) fn new(now_millis: i64) -> Self {
        Self { phase: StreamPhase::Connecting, since_millis: now_millis, reason: String::new() }
    }

    /// Follows what is known now.
    pub(crate) fn update(&mut self, observed: &Observed, now_millis: i64) {
        let (phase, reason) = observed.phase(now_millis);
        if phase != self.phase {
            (self.phase, self.since_millis) = (phase, now_millis);
        }
        self.reason = reason;
    }
}

impl Observed {
    fn phase(&self, now_millis: i64) -> (StreamPhase, String) {
        let away = self.offline.as_ref().or(self.trouble.as_ref());
        if let Some(reason) = away.filter(|reason| reason.starts_with(UNAUTHORIZED)) {
            return (StreamPhase::Denied, reason.clone());
        }
        if self.is_ended {
            return (StreamPhase::Ended, String::new());
        }
        if let Some(reason) = &self.offline {
            return (StreamPhase::Offline, reason.clone());
        }
        let silence = self.last_sign_millis.map(|at| now_millis.saturating_sub(at));
        let is_overdue = silence.is_none_or(|silence| silence > self.patience(LATE_MILLIS, 5.0));
        if let Some(reason) = self.trouble.as_ref().filter(|_| is_overdue) {
            return (StreamPhase::Offline, reason.clone());
        }
        let broker = || self.disconnected.clone().unwrap_or_default();
        match silence {
            None => (StreamPhase::Connecting, broker()),
            Some(silence) if self.disconnected.is_none() && silence > self.patience(OFFLINE_MILLIS, 10.0) => {
                (StreamPhase::Offline, format!("no frame for {} s", silence / 1_000))
            }
            Some(_) if is_overdue => (StreamPhase::Late, broker()),
            Some(_) if self.delay_millis.is_some_and(|delay| delay > LATE_DELAY_MILLIS) => {
                (StreamPhase::Late, "frames are on the way for more than a second".to_owned())
            }
            Some(_) => (StreamPhase::Live, String::new()),
        }
    }

    fn patience(&self, least_millis: i64, intervals: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "an hour at most")]
        let by_rate = (self.interval_millis.unwrap_or(0.0) * intervals).clamp(0.0, 3_600_000.0) as i64;
        by_rate.max(least_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Observed {
        Observed { last_sign_millis: Some(10_000), interval_millis: Some(40.0), ..Observed::default() }
    }

    #[track_caller]
    fn check(observed: &Observed, now: i64, expected: StreamPhase) {
        assert_eq!(observed.phase(now).0, expected, "{observed:?} at {now}");
    }

    #[test]
    fn silence_is_late_then_offline() {
        check(&Observed::default(), 99_000, StreamPhase::Connecting);
        check(&live(), 10_500, StreamPhase::Live);
        check(&live(), 12_100, StreamPhase::Late);
        check(&live(), 20_100, StreamPhase::Offline);
        let rare = Observed { interval_millis: Some(5_000.0), ..live() };
        check(&rare, 34_000, StreamPhase::Live);
        check(&rare, 36_000, StreamPhase::Late);
        check(&rare, 61_000, StreamPhase::Offline);
    }

    #[test]
    fn a_broker_that_is_away_is_not_the_cameras_fault() {
        let observed = Observed { disconnected: Some("refused".to_owned()), ..live() };
        assert_eq!(observed.phase(60_000), (StreamPhase::Late, "refused".to_owned()));
    }

    #[test]
    fn what_the_publisher_says_counts() {
        let offline = Observed { offline: Some("cable".to_owned()), ..live() };
        assert_eq!(offline.phase(10_100), (StreamPhase::Offline, "cable".to_owned()));
        let denied = Observed { offline: Some("unauthorized: 401".to_owned()), ..live() };
        check(&denied, 10_100, StreamPhase::Denied);
        check(&Observed { is_ended: true, ..live() }, 10_100, StreamPhase::Ended);
    }

    #[test]
    fn trouble_of_the_configuration_shows_once_frames_are_missing() {
        let trouble = Observed { trouble: Some("no such file".to_owned()), ..live() };
        check(&trouble, 10_100, StreamPhase::Live);
        check(&trouble, 13_000, StreamPhase::Offline);
        let never = Observed { trouble: Some("unauthorized".to_owned()), ..Observed::default() };
        check(&never, 0, StreamPhase::Denied);
    }

    #[test]
    fn delay_makes_late() {
        check(&Observed { delay_millis: Some(1_500.0), ..live() }, 10_100, StreamPhase::Late);
    }

    #[test]
    fn the_time_of_a_state_is_that_of_its_beginning() {
        let mut phase = Phase::new(1);
        phase.update(&live(), 10_100);
        phase.update(&live(), 11_000);
        assert_eq!((phase.phase, phase.since_millis), (StreamPhase::Live, 10_100));
    }
}
