//! What becomes of one event: attempts, rests between them, and when it is given up. No I/O and no clock.

use std::fmt;
use std::time::Duration;

/// How attempts follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Rest after the first failure; doubles with each one.
    pub first_rest: Duration,
    /// Longest rest that doubling leads to.
    pub longest_rest: Duration,
    /// Longest rest that a receiver may ask for by `Retry-After`.
    pub longest_asked: Duration,
    /// An event that was refused so many times is passed over; 0: never.
    pub refusals: u32,
}

impl Default for RetryPolicy {
    /// 1 s, 60 s, 10 min, 8 refusals (two minutes).
    fn default() -> Self {
        Self {
            first_rest: Duration::from_secs(1),
            longest_rest: Duration::from_secs(60),
            longest_asked: Duration::from_secs(600),
            refusals: 8,
        }
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered.
    Status {
        /// The HTTP status.
        code: u16,
        /// What it says of the next attempt.
        retry_after: Option<Duration>,
    },
    /// It did not, or not in HTTP; with the reason.
    Failed(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code: code @ 300..=399, .. } => {
                write!(f, "answered {code}: redirects are not followed, name the address it leads to")
            }
            Self::Status { code, .. } => write!(f, "answered {code}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The event is there.
    Delivered,
    /// Another attempt, after this rest.
    Again(Duration),
    /// It was refused too often: the next event's turn.
    PassedOver,
    /// The receiver wants nothing more (410): the event stays, and so do all after it.
    Gone,
}

/// How a status is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Accepted,
    /// It may be different next time, whatever is sent.
    Trouble,
    /// It will be the same next time, unless somebody mends the receiver or the settings.
    Refusal,
    Gone,
}

fn kind(code: u16) -> Kind {
    match code {
        200..=299 => Kind::Accepted,
        410 => Kind::Gone,
        // RFC 9110 section 15.5.9, RFC 8470 section 5.2, RFC 6585 section 4.
        408 | 425 | 429 => Kind::Trouble,
        300..=499 => Kind::Refusal,
        _ => Kind::Trouble,
    }
}

/// The attempts at one event so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    made: u32,
    refusals: u32,
}

impl Attempts {
    /// How many there were.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Takes in an answer. `dice` is from 0 to 1 and spreads receivers' and senders' attempts.
    pub fn judge(&mut self, answer: &Answer, policy: &RetryPolicy, dice: f64) -> Verdict {
        self.made = self.made.saturating_add(1);
        let (kind, asked) = match answer {
            Answer::Status { code, retry_after } => (kind(*code), *retry_after),
            Answer::Failed(_) => (Kind::Trouble, None),
        };
        match kind {
            Kind::Accepted => return Verdict::Delivered,
            Kind::Gone => return Verdict::Gone,
            Kind::Refusal => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals == policy.refusals {
                    return Verdict::PassedOver;
                }
            }
            Kind::Trouble => {}
        }
        let asked = asked.unwrap_or_default().min(policy.longest_asked);
        Verdict::Again(self.rest(policy, dice).max(asked))
    }

    /// Half of it is sure, the other half is by chance.
    fn rest(&self, policy: &RetryPolicy, dice: f64) -> Duration {
        let doublings = self.made.saturating_sub(1).min(20);
        let full = policy.first_rest.saturating_mul(1 << doublings).min(policy.longest_rest);
        full.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
    }
}

/// The header `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3); `None` for what is neither. A date that is over
/// asks for no rest.
#[must_use]
pub fn retry_after(value: &str, now_unix_seconds: i64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is long enough.
        return Some(Duration::from_secs(value.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_second();
    Some(Duration::from_secs(u64::try_from(date.saturating_sub(now_unix_seconds)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Answer {
        Answer::Status { code, retry_after: None }
    }

    #[test]
    fn each_status_has_its_verdict() {
        let policy = RetryPolicy { refusals: 1, ..RetryPolicy::default() };
        let judge = |answer: &Answer| Attempts::default().judge(answer, &policy, 1.0);
        let again = Verdict::Again(policy.first_rest);
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(judge(&status(code)), Verdict::Delivered, "{code}");
        }
        for code in [100, 408, 425, 429, 500, 502, 503, 504, 599, 600, 999] {
            assert_eq!(judge(&status(code)), again, "{code}");
        }
        for code in [300, 301, 302, 307, 308, 400, 401, 403, 404, 413, 422, 451, 499] {
            assert_eq!(judge(&status(code)), Verdict::PassedOver, "{code}");
        }
        assert_eq!(judge(&status(410)), Verdict::Gone);
        assert_eq!(judge(&Answer::Failed("nobody listens".to_owned())), again);
    }

    #[test]
    fn rests_double_up_to_the_longest_and_half_of_each_is_by_chance() {
        let policy = RetryPolicy::default();
        let rests = |dice: f64| {
            let mut attempts = Attempts::default();
            let rest = |_| match attempts.judge(&status(500), &policy, dice) {
                Verdict::Again(rest) => rest.as_secs_f64(),
                other => panic!("{other:?}"),
            };
            (0..40).map(rest).collect::<Vec<_>>()
        };
        assert_eq!(rests(1.0)[..8], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(rests(0.0)[..8], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(rests(1.0)[39].to_bits(), 60_f64.to_bits());
    }

    #[test]
    fn only_refusals_count_towards_passing_over() {
        let policy = RetryPolicy { refusals: 3, ..RetryPolicy::default() };
        let mut attempts = Attempts::default();
        let mut judge = |code| attempts.judge(&status(code), &policy, 0.5);
        for code in [404, 500, 500, 503, 404, 429] {
            assert!(matches!(judge(code), Verdict::Again(_)), "{code}");
        }
        assert_eq!(judge(403), Verdict::PassedOver);
        assert_eq!(attempts.made(), 7);
        let never = RetryPolicy { refusals: 0, ..policy };
        let mut attempts = Attempts::default();
        assert!((0..1_000).all(|_| matches!(attempts.judge(&status(404), &never, 0.5), Verdict::Again(_))));
    }

    #[test]
    fn a_receiver_may_ask_for_longer_but_not_for_shorter() {
        let policy = RetryPolicy::default();
        let judge = |seconds| {
            let answer = Answer::Status { code: 503, retry_after: Some(Duration::from_secs(seconds)) };
            Attempts::default().judge(&answer, &policy, 1.0)
        };
        assert_eq!(judge(0), Verdict::Again(Duration::from_secs(1)));
        assert_eq!(judge(30), Verdict::Again(Duration::from_secs(30)));
        assert_eq!(judge(1_000_000), Verdict::Again(policy.longest_asked));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 1_445_412_480;
        let after = |text| retry_after(text, now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999999999999999"), Some(Duration::from_secs(u32::MAX.into())));
        for wrong in ["", "soon", "-1", "1.5", "+3", "Wed, 99 Oct 2015 07:28:30 GMT", "\u{661}"] {
            assert_eq!(after(wrong), None, "{wrong:?}");
        }
    }
}
