//! Where the camera looks: fields of the picture as they usually are.

use crate::features::GRID;
use serde::{Deserialize, Serialize};

/// Fixed point of the usual fields: 1/256 level.
const UNIT: i32 = 256;
/// Shift by which the usual fields follow.
const FOLLOW_SHIFT: u32 = 4;
/// Less alike than this (correlation of the fields' details) is another view.
const OTHER: f32 = 0.5;
/// More alike than this is the usual one again.
const USUAL: f32 = 0.65;
/// Less alike than this from one second to the next is a camera that is still moving.
const STILL: f32 = 0.6;
/// A view whose fields differ from their neighbours by less than this many levels (root of the mean square) has nothing to
/// know it by.
const PLAIN: f32 = 2.0;

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

/// The correlation of two sets of fields, −1 to 1, each taken against its neighbours: light that changes, and that it is
/// brighter above than below in most views, tell nothing. `None` where one is missing, or `one` is plain.
fn alike(one: &[u16], two: &[u16]) -> Option<f32> {
    if one.len() != two.len() || one.is_empty() {
        return None;
    }
    let (mut both, mut squares_one, mut squares_two) = (0.0, 0.0, 0.0);
    for (one, two) in details(one).zip(details(two)) {
        both += one * two;
        squares_one += one * one;
        squares_two += two * two;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred fields")]
    let is_plain = squares_one < PLAIN * PLAIN * one.len() as f32;
    let scale = (squares_one * squares_two).sqrt();
    (!is_plain && scale > 0.0).then(|| both / scale)
}

/// Each field less the mean of those around it and itself, in levels.
fn details(fields: &[u16]) -> impl Iterator<Item = f32> {
    let (columns, rows) = GRID;
    let around = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
    fields.iter().enumerate().map(move |(at, field)| {
        let lines = around(at / columns, rows).map(|row| &fields[row * columns..][around(at % columns, columns)]);
        let (sum, count) =
            lines.flatten().fold((0.0, 0.0), |(sum, count), field| (sum + f32::from(*field), count + 1.0));
        (f32::from(*field) - sum / count) / 256.0
    })
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
