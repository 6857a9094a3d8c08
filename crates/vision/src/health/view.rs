//! Where the camera looks: fields of the picture as they usually are.

use crate::features::GRID;
use serde::{Deserialize, Serialize};

/// Fixed point of the usual fields: 1/256 level.
const UNIT: i32 = 256;
/// Shift by which the usual fields follow.
const FOLLOW_SHIFT: u32 = 4;
/// Less alike than this (correlation of the fields) is another view.
const OTHER: f32 = 0.6;
/// More alike than this is the usual one again.
const USUAL: f32 = 0.8;
/// Less alike than this from one second to the next is a camera that is still moving.
const STILL: f32 = 0.9;

/// Usual fields and those of the last second, each as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct View {
    #[serde(with = "hex")]
    usual: Vec<u16>,
    #[serde(with = "hex")]
    last: Vec<u16>,
}

impl View {
    pub(super) fn is_sound(&self) -> bool {
        [&self.usual, &self.last].into_iter().all(|fields| fields.is_empty() || fields.len() == GRID.0 * GRID.1)
    }

    pub(super) fn forget(&mut self) {
        self.usual.clear();
    }

    /// It looks elsewhere, and no longer moves.
    pub(super) fn is_other_and_still(&self, grid: &[u8]) -> bool {
        let fields = fixed(grid);
        alike(&self.usual, &fields).is_some_and(|part| part < OTHER)
            && alike(&self.last, &fields).is_some_and(|part| part > STILL)
    }

    pub(super) fn is_usual_again(&self, grid: &[u8]) -> bool {
        alike(&self.usual, &fixed(grid)).is_some_and(|part| part > USUAL)
    }

    pub(super) fn learn(&mut self, grid: &[u8], is_usual: bool) {
        self.last = fixed(grid);
        if !is_usual {
            return;
        }
        if self.usual.len() != self.last.len() {
            self.usual.clone_from(&self.last);
        }
        for (usual, now) in self.usual.iter_mut().zip(&self.last) {
            let step = (i32::from(*now) - i32::from(*usual)) >> FOLLOW_SHIFT;
            *usual = u16::try_from(i32::from(*usual) + step).unwrap_or(*usual);
        }
    }
}

fn fixed(grid: &[u8]) -> Vec<u16> {
    grid.iter().map(|level| u16::from(*level) * u16::try_from(UNIT).unwrap_or(1)).collect()
}

/// The correlation of two sets of fields, −1 to 1: not moved by a change of the light. `None` where one is missing or has no
/// structure.
fn alike(one: &[u16], two: &[u16]) -> Option<f32> {
    if one.len() != two.len() || one.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred fields")]
    let count = one.len() as f32;
    let mean = |fields: &[u16]| fields.iter().map(|field| f32::from(*field)).sum::<f32>() / count;
    let (mean_one, mean_two) = (mean(one), mean(two));
    let (mut both, mut squares_one, mut squares_two) = (0.0, 0.0, 0.0);
    for (one, two) in one.iter().zip(two) {
        let (one, two) = (f32::from(*one) - mean_one, f32::from(*two) - mean_two);
        both += one * two;
        squares_one += one * one;
        squares_two += two * two;
    }
    let scale = (squares_one * squares_two).sqrt();
    (scale > 0.0).then(|| both / scale)
}

/// Four digits a field.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use std::borrow::Cow;
    use std::fmt::Write as _;

    pub(super) fn serialize<S: Serializer>(fields: &[u16], out: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(fields.len() * 4);
        for field in fields {
            // Writing to a string does not fail.
            let _ = write!(text, "{field:04x}");
        }
        out.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u16>, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        let fields = text.as_bytes().chunks(4).map(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 4)?;
            u16::from_str_radix(digits, 16).ok()
        });
        fields.collect::<Option<_>>().ok_or_else(|| de::Error::custom("fields are four hexadecimal digits each"))
    }
}
