//! How a camera is: what its seconds look like, against limits and against what they looked like before.
//!
//! A second speaks for a state; a state that so many seconds in a row speak for becomes the camera's. Limits to leave a
//! state are wider than those to enter it, so nothing flutters.

mod view;

use lumenbus_wire::{Health, HealthState};
use serde::{Deserialize, Serialize};
use view::View;

/// What a second of a stream looked like, on average.
#[derive(Debug, Clone, PartialEq)]
pub struct SecondLook {
    /// Mean of the luma, 0 to 1.
    pub brightness: f32,
    /// As of [`Look`](crate::features::Look).
    pub contrast: f32,
    /// As of [`Look`](crate::features::Look).
    pub sharpness: f32,
    /// The largest change from one picture to the next, in levels; `None` where there was nothing to compare.
    pub change_levels: Option<f32>,
    /// Fields of its last picture, where that is known.
    pub grid: Option<Vec<u8>>,
    /// Capture time of the second's last frame.
    pub unix_nanos: i64,
}

/// Below this brightness, and this contrast, it is dark; and until there is more than the second.
const DARK_BRIGHTNESS: (f32, f32) = (0.06, 0.09);
const DARK_CONTRAST: (f32, f32) = (0.06, 0.08);
/// Below this contrast something even fills the view; and until there is more than the second.
const EVEN_CONTRAST: (f32, f32) = (0.045, 0.07);
/// What is even has no more detail than this; a view in fog still has edges.
const EVEN_SHARPNESS: (f32, f32) = (0.2, 0.3);
/// Sharpness below this part of what is usual is a blur; and until it is above the second.
const BLURRED_PART: (f32, f32) = (0.5, 0.65);
/// Where nothing is known of the camera: less sharpness than this with enough contrast to have some.
const BLURRED_ALWAYS: f32 = 0.03;
/// Pictures that differ by less than this many levels on average are the same one.
const SAME_LEVELS: f32 = 0.02;
/// Seconds for which it is the same picture.
const FROZEN_SECONDS: u32 = 10;
/// Seconds in a row that must speak for a state; for [`HealthState::Ok`] as well.
const CONFIRM_SECONDS: u32 = 3;
/// Seconds of a good picture after which it is known what is usual.
const KNOWN_SECONDS: u32 = 5;
/// How fast what is usual follows what is.
const FOLLOW: f32 = 0.05;
/// A view that was moved to is the usual one after so many seconds.
const SETTLED_SECONDS: u32 = 60;
/// Longest state that is read, in bytes.
const MAX_STATE_BYTES: usize = 4 * 1024;

/// The health of one stream.
///
/// Its state is in [`to_bytes`](Self::to_bytes), and whoever takes the stream over goes on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthWatch {
    #[serde(with = "name")]
    state: HealthState,
    since_unix_nanos: i64,
    /// What the last seconds spoke for, and how many of them.
    #[serde(with = "name")]
    pending: HealthState,
    pending_seconds: u32,
    /// Usual sharpness, and how many good seconds it is known from.
    sharpness: f32,
    known_seconds: u32,
    same_seconds: u32,
    moved_seconds: u32,
    view: View,
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthChange {
    /// How it is now.
    pub state: HealthState,
    /// How it was.
    pub previous: HealthState,
    /// How long that lasted.
    pub lasted_millis: u64,
}

impl HealthWatch {
    /// A camera of which nothing is known; it is taken to be well.
    #[must_use]
    pub fn new(unix_nanos: i64) -> Self {
        Self {
            state: HealthState::Ok,
            since_unix_nanos: unix_nanos,
            pending: HealthState::Ok,
            pending_seconds: 0,
            sharpness: 0.0,
            known_seconds: 0,
            same_seconds: 0,
            moved_seconds: 0,
            view: View::default(),
        }
    }

    /// How the camera is.
    #[must_use]
    pub fn health(&self) -> Health {
        Health { state: self.state, since_unix_nanos: self.since_unix_nanos }
    }

    /// Takes the next second; the change where it made one.
    pub fn second(&mut self, look: &SecondLook) -> Option<HealthChange> {
        self.same_seconds = match look.change_levels {
            Some(levels) if levels < SAME_LEVELS => self.same_seconds.saturating_add(1),
            Some(_) => 0,
            None => self.same_seconds,
        };
        let judged = self.judge(look);
        if self.pending != judged {
            (self.pending, self.pending_seconds) = (judged, 0);
        }
        self.pending_seconds = self.pending_seconds.saturating_add(1);
        self.learn(look, judged);
        // That it is frozen was waited for already.
        let is_confirmed = self.pending_seconds >= CONFIRM_SECONDS || judged == HealthState::Frozen;
        (judged != self.state && is_confirmed).then(|| self.turn(judged, look.unix_nanos))
    }

    fn turn(&mut self, state: HealthState, unix_nanos: i64) -> HealthChange {
        let lasted = unix_nanos.saturating_sub(self.since_unix_nanos).max(0);
        let previous = std::mem::replace(&mut self.state, state);
        (self.since_unix_nanos, self.moved_seconds) = (unix_nanos, 0);
        HealthChange { state, previous, lasted_millis: u64::try_from(lasted / 1_000_000).unwrap_or(0) }
    }

    /// What this second speaks for.
    fn judge(&self, look: &SecondLook) -> HealthState {
        let below = |value: f32, (enter, leave): (f32, f32), state: HealthState| {
            value < if self.state == state { leave } else { enter }
        };
        let dark = HealthState::Dark;
        if below(look.brightness, DARK_BRIGHTNESS, dark) && below(look.contrast, DARK_CONTRAST, dark) {
            return dark;
        }
        let covered = HealthState::Covered;
        if below(look.contrast, EVEN_CONTRAST, covered) && below(look.sharpness, EVEN_SHARPNESS, covered) {
            return covered;
        }
        if self.same_seconds >= FROZEN_SECONDS {
            return HealthState::Frozen;
        }
        if self.is_moved(look) {
            return HealthState::Moved;
        }
        let is_known = self.known_seconds >= KNOWN_SECONDS;
        let (enter, leave) = BLURRED_PART;
        let limits =
            if is_known { (enter * self.sharpness, leave * self.sharpness) } else { (BLURRED_ALWAYS, BLURRED_ALWAYS) };
        if below(look.sharpness, limits, HealthState::Blurred) { HealthState::Blurred } else { HealthState::Ok }
    }

    fn is_moved(&self, look: &SecondLook) -> bool {
        let Some(grid) = &look.grid else { return self.pending == HealthState::Moved };
        if self.known_seconds < KNOWN_SECONDS {
            return false;
        }
        if self.state == HealthState::Moved {
            return self.moved_seconds < SETTLED_SECONDS && !self.view.is_usual_again(grid);
        }
        self.view.is_other_and_still(grid)
    }

    /// What is usual follows good seconds, and a view that has stayed.
    fn learn(&mut self, look: &SecondLook, judged: HealthState) {
        let is_moved = self.state == HealthState::Moved;
        self.moved_seconds = if is_moved { self.moved_seconds.saturating_add(1) } else { 0 };
        let has_settled = is_moved && self.moved_seconds >= SETTLED_SECONDS;
        let is_well = self.state == HealthState::Ok && judged == HealthState::Ok;
        if has_settled {
            (self.known_seconds, self.sharpness) = (0, 0.0);
            self.view.forget();
        }
        if is_well || has_settled {
            self.known_seconds = self.known_seconds.saturating_add(1);
            let follow = FOLLOW.max(1.0 / f32::from(u16::try_from(self.known_seconds).unwrap_or(u16::MAX)));
            self.sharpness += follow * (look.sharpness - self.sharpness);
        }
        if let Some(grid) = &look.grid {
            self.view.learn(grid, is_well || has_settled);
        }
    }

    /// The state, to go on with: at most 3 KiB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("the state holds nothing that JSON cannot")
    }

    /// A state that [`to_bytes`](Self::to_bytes) gave; `None` for anything else, then everything is learnt anew.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let state: Self = (bytes.len() <= MAX_STATE_BYTES).then(|| serde_json::from_slice(bytes).ok())??;
        state.is_sound().then_some(state)
    }

    /// Whether a state that was read can be gone on with.
    pub(crate) fn is_sound(&self) -> bool {
        self.sharpness.is_finite() && self.view.is_sound()
    }
}

/// States by their names.
mod name {
    use lumenbus_wire::HealthState;
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use std::borrow::Cow;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(state: &HealthState, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(state.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<HealthState, D::Error> {
        Cow::<'de, str>::deserialize(input)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
