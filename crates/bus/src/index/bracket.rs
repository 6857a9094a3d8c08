//! Where in a log a capture time may be: between what was found before it and after it.
//!
//! Append times lead there. They need not keep step with capture times: a camera's clock may be off or be set, and
//! pictures that waited for a link are appended faster than they were taken.

/// Frames this long before a moment are near it.
const CLOSE_NANOS: i64 = 5_000_000_000;

/// What was found, with its capture time in nanoseconds and append time in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Found<T> {
    what: T,
    capture: i64,
    append: i64,
}

/// The nearest finds on both sides of a moment.
#[derive(Debug)]
pub(super) struct Bracket<T> {
    capture: i64,
    before: Option<Found<T>>,
    after: Option<Found<T>>,
    /// Nothing after the moment is appended before this.
    least_after: i64,
    halves: bool,
}

/// What has a capture time.
pub(super) trait Captured {
    /// Whether it is after the moment.
    fn is_after(&self, moment_unix_nanos: i64) -> bool {
        self.capture_unix_nanos() > moment_unix_nanos
    }

    fn capture_unix_nanos(&self) -> i64;
}

impl<T: Captured> Bracket<T> {
    pub(super) fn new(capture: i64) -> Self {
        Self { capture, before: None, after: None, least_after: i64::MAX, halves: false }
    }

    pub(super) fn before(&self) -> Option<&T> {
        self.before.as_ref().map(|found| &found.what)
    }

    pub(super) fn after(&self) -> Option<&T> {
        self.after.as_ref().map(|found| &found.what)
    }

    pub(super) fn is_close(&self, capture: i64) -> bool {
        capture <= self.capture && self.capture.saturating_sub(capture) <= CLOSE_NANOS
    }

    /// Takes what was found by asking for `asked`; where to ask next, `None` when that leads no further.
    pub(super) fn narrow(&mut self, what: T, append: i64, asked: i64) -> Option<i64> {
        self.add(what, append);
        if self.after.as_ref().is_some_and(|after| after.append == append) && asked <= append {
            self.least_after = self.least_after.min(asked);
        }
        let next = match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                let (low, high) = (before.append.saturating_add(1), after.append.min(self.least_after));
                self.halves = !self.halves;
                let guess = if self.halves { between(before, after, self.capture) } else { i64::midpoint(low, high) };
                (low < high).then(|| guess.clamp(low, high - 1))?
            }
            (Some(before), None) => {
                let guess = self.shifted(before);
                if guess > asked { guess } else { i64::MAX }
            }
            (None, Some(after)) => {
                let guess = self.shifted(after);
                if guess < asked { guess } else { 0 }
            }
            (None, None) => return None,
        };
        (next != asked).then_some(next)
    }

    /// Takes what was found.
    fn add(&mut self, what: T, append: i64) {
        let is_after = what.is_after(self.capture);
        let found = Found { capture: what.capture_unix_nanos(), append, what };
        let (side, is_nearer): (_, fn(&i64, &i64) -> bool) =
            if is_after { (&mut self.after, i64::le) } else { (&mut self.before, i64::ge) };
        if side.as_ref().is_none_or(|known| is_nearer(&found.append, &known.append)) {
            *side = Some(found);
        }
    }

    /// When the moment was appended, if the clocks were as they were there.
    fn shifted(&self, found: &Found<T>) -> i64 {
        found.append.saturating_add(self.capture.saturating_sub(found.capture) / 1_000_000)
    }
}

/// As if everything between the two had been appended evenly.
fn between<T>(before: &Found<T>, after: &Found<T>, capture: i64) -> i64 {
    let share = |part: i64, whole: i64| i128::from(part) * 1_000_000 / i128::from(whole.max(1));
    let part = share(capture.saturating_sub(before.capture), after.capture.saturating_sub(before.capture));
    let way = i128::from(after.append.saturating_sub(before.append)) * part / 1_000_000;
    before.append.saturating_add(i64::try_from(way).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    impl Captured for i64 {
        fn capture_unix_nanos(&self) -> i64 {
            *self
        }
    }

    /// Asks a log of (append in milliseconds, capture in seconds) until a find is near `moment`; the questions.
    fn questions(log: &[(i64, i64)], moment: i64) -> (usize, i64) {
        let mut bracket = Bracket::new(moment * SECOND);
        let mut next = Some(moment * 1_000);
        for asked in 1..=8 {
            let Some(millis) = next else { break };
            let (append, capture) = *log.iter().find(|(append, _)| *append >= millis).unwrap_or(&log[log.len() - 1]);
            if bracket.is_close(capture * SECOND) {
                return (asked, capture);
            }
            next = bracket.narrow(capture * SECOND, append, millis);
        }
        (8, bracket.before().map_or(-1, |capture| capture / SECOND))
    }

    #[test]
    fn a_clock_that_is_right_or_off_leads_there_at_once() {
        let right: Vec<_> = (10_000..14_000).map(|n| (n * 1_000, n)).collect();
        assert_eq!(questions(&right, 12_345), (1, 12_345));
        let hour: Vec<_> = (10_000..14_000).map(|n| ((n + 3_600) * 1_000, n)).collect();
        let (asked, found) = questions(&hour, 12_345);
        assert!(asked <= 2 && found == 12_345, "{asked} {found}");
    }

    #[test]
    fn an_hour_that_was_sent_within_seconds_is_searched() {
        let burst: Vec<_> = (10_000..13_600).map(|n| (13_600_000 + (n - 10_000) * 5, n)).collect();
        for moment in [10_001, 11_111, 12_345, 13_598] {
            let (asked, found) = questions(&burst, moment);
            assert!(asked <= 5 && moment - found <= 5, "{moment}: {asked} {found}");
        }
        let uneven: Vec<_> = (0..3_600_i64).map(|n| (13_600_000 + n * n / 700, 10_000 + n)).collect();
        for moment in [10_500, 11_111, 13_000] {
            let (asked, found) = questions(&uneven, moment);
            assert!(asked <= 8 && moment - found <= 300, "{moment}: {asked} {found}");
        }
    }

    #[test]
    fn before_the_first_and_after_the_last_it_ends() {
        let log: Vec<_> = (10_000..10_100).map(|n| (n * 1_000, n)).collect();
        assert_eq!(questions(&log, 5).1, -1);
        assert_eq!(questions(&log, 99_999).1, 10_099);
    }
}
