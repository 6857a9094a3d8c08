//! One box for the many windows that a detector reports around one thing.

use crate::Bounds;
use lumenbus_opencv::Window;

/// Windows that share more than this of what they cover together show the same thing.
const SAME: f32 = 0.45;
/// A group that lies by more than this part in a surer one is part of that.
const INSIDE: f32 = 0.65;

/// Windows around one thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The mean of them.
    pub(super) bounds: Bounds,
    /// The greatest of them.
    pub(super) weight: f32,
    pub(super) windows: u16,
}

#[derive(Debug)]
struct Gathering {
    first: Bounds,
    weight: f32,
    sums: [f64; 4],
    windows: u16,
}

#[expect(clippy::cast_possible_truncation, reason = "coordinates of pictures are exact in f32 to a part of a pixel")]
fn bounds([x, y, width, height]: [f64; 4]) -> Bounds {
    Bounds::new(x as f32, y as f32, width as f32, height as f32)
}

/// Gathers windows, the surest first, around the first of each thing. Groups of fewer than `least` windows are chance;
/// the rest comes with the surest first.
///
/// The work is at most the square of the number of windows, which the caller bounds.
#[expect(clippy::cast_possible_truncation, reason = "a weight is no exact thing")]
pub(super) fn group(windows: &[Window], least: u16) -> Vec<Group> {
    let mut gatherings: Vec<Gathering> = Vec::new();
    for window in windows {
        let sides = [window.x, window.y, window.width, window.height];
        let here = bounds(sides);
        match gatherings.iter_mut().find(|gathering| gathering.first.iou(&here) > SAME) {
            Some(gathering) => {
                gathering.sums.iter_mut().zip(sides).for_each(|(sum, side)| *sum += side);
                gathering.windows = gathering.windows.saturating_add(1);
            }
            None => gatherings.push(Gathering { first: here, weight: window.weight as f32, sums: sides, windows: 1 }),
        }
    }
    gatherings.retain(|gathering| gathering.windows >= least);
    gatherings.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(b.windows.cmp(&a.windows)));
    let mut groups: Vec<Group> = Vec::new();
    for Gathering { sums, weight, windows, .. } in gatherings {
        let bounds = bounds(sums.map(|sum| sum / f64::from(windows)));
        let is_in = |surer: &Group| surer.bounds.overlap(&bounds) > INSIDE * surer.bounds.area().min(bounds.area());
        if !groups.iter().any(is_in) {
            groups.push(Group { bounds, weight, windows });
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(x: f64, y: f64, side: f64, weight: f64) -> Window {
        Window { x, y, width: side, height: 2.0 * side, weight }
    }

    #[test]
    fn windows_around_one_thing_become_their_mean() {
        let found = group(&[window(10.0, 20.0, 40.0, 2.0), window(14.0, 20.0, 40.0, 1.0)], 2);
        assert_eq!(found, [Group { bounds: Bounds::new(12.0, 20.0, 40.0, 80.0), weight: 2.0, windows: 2 }]);
    }

    #[test]
    fn a_single_window_is_chance() {
        let windows = [window(10.0, 20.0, 40.0, 2.0), window(200.0, 20.0, 40.0, 1.5), window(202.0, 20.0, 40.0, 1.0)];
        let found = group(&windows, 2);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].bounds, Bounds::new(201.0, 20.0, 40.0, 80.0));
        assert_eq!(group(&windows, 1).len(), 2);
    }

    #[test]
    fn what_lies_in_something_surer_belongs_to_it() {
        let found = group(&[window(10.0, 20.0, 100.0, 2.0), window(30.0, 60.0, 40.0, 1.0)], 1);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!((found[0].weight - 2.0).abs() < f32::EPSILON);
    }
}
