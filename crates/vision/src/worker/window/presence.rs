//! Which classes are in view.

use super::Seen;
use lumenbus_wire::{EventKind, PresencePhase};
use serde::{Deserialize, Serialize};

/// A class is gone when it was not seen for so long.
const GONE_NANOS: i64 = 5_000_000_000;
/// Classes in view at once; others have to wait.
const MAX_PRESENT: usize = 64;

/// A class that is in view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    class: Box<str>,
    began_unix_nanos: i64,
    seen_unix_nanos: i64,
    most: u32,
    score: f32,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Presence(Vec<Present>);

impl Presence {
    pub(super) fn is_sound(&self) -> bool {
        self.0.len() <= MAX_PRESENT && self.0.iter().all(|present| (0.0..=1.0).contains(&present.score))
    }

    /// Takes the next picture that was looked at; what began and what ended with it.
    pub(super) fn see(&mut self, unix_nanos: i64, seen: &Seen) -> Vec<EventKind> {
        let mut events = Vec::new();
        for (class, count) in seen.counts() {
            let score = seen.best_score(&class);
            if let Some(present) = self.0.iter_mut().find(|present| *present.class == *class) {
                // Pictures are taken in another order than they are coded in.
                present.seen_unix_nanos = present.seen_unix_nanos.max(unix_nanos);
                present.most = present.most.max(count);
                present.score = present.score.max(score);
            } else if self.0.len() < MAX_PRESENT {
                let (phase, lasted_millis) = (PresencePhase::Begin, None);
                events.push(EventKind::Presence { class: class.clone(), phase, count, score, lasted_millis });
                let (began_unix_nanos, seen_unix_nanos) = (unix_nanos, unix_nanos);
                let class = (*class).into();
                self.0.push(Present { class, began_unix_nanos, seen_unix_nanos, most: count, score });
            }
        }
        // A clock that was set back would keep them for ever.
        let is_gone = |present: &mut Present| unix_nanos.abs_diff(present.seen_unix_nanos) >= GONE_NANOS.unsigned_abs();
        events.extend(self.0.extract_if(.., is_gone).map(Present::end));
        events
    }

    /// The stream is over: nobody is in view.
    pub(super) fn end(&mut self) -> Vec<EventKind> {
        self.0.drain(..).map(Present::end).collect()
    }
}

impl Present {
    fn end(self) -> EventKind {
        let lasted = self.seen_unix_nanos.saturating_sub(self.began_unix_nanos).max(0) / 1_000_000;
        EventKind::Presence {
            class: self.class.into(),
            phase: PresencePhase::End,
            count: self.most,
            score: self.score,
            lasted_millis: u64::try_from(lasted).ok(),
        }
    }
}
