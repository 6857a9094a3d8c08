//! Where a thing is expected: an alpha-beta filter of its centre, with constant velocity.

use crate::Bounds;

/// Part of the way from the expected to the found centre and size.
const ALPHA: f32 = 0.8;
/// Part of the difference that is a change of velocity.
const BETA: f32 = 0.35;
/// Nothing is expected further ahead: people turn.
const MAX_SECONDS: f32 = 1.0;

#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    centre: [f32; 2],
    size: [f32; 2],
    /// Pixels a second.
    velocity: [f32; 2],
    is_first: bool,
}

impl Path {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let (x, y) = bounds.centre();
        Self { centre: [x, y], size: [bounds.width, bounds.height], velocity: [0.0; 2], is_first: true }
    }

    /// Where the thing should be after this time.
    pub(super) fn expected(&self, seconds: f32) -> Bounds {
        let [x, y] = self.ahead(seconds);
        let [width, height] = self.size;
        Bounds::new(x - width / 2.0, y - height / 2.0, width, height)
    }

    fn ahead(&self, seconds: f32) -> [f32; 2] {
        let seconds = seconds.clamp(0.0, MAX_SECONDS);
        [0, 1].map(|axis| self.centre[axis] + self.velocity[axis] * seconds)
    }

    /// Takes in where it is after this time, which is more than 0.
    pub(super) fn follow(&mut self, found: &Bounds, seconds: f32) {
        let (x, y) = found.centre();
        let (expected, size) = (self.ahead(seconds), [found.width, found.height]);
        // Two points are all there is at first.
        let (alpha, beta) = if self.is_first { (1.0, 1.0) } else { (ALPHA, BETA) };
        for (axis, centre) in [x, y].into_iter().enumerate() {
            let difference = centre - expected[axis];
            self.centre[axis] = expected[axis] + alpha * difference;
            self.velocity[axis] += beta * difference / seconds.min(MAX_SECONDS);
            self.size[axis] += ALPHA * (size[axis] - self.size[axis]);
        }
        self.is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_walk_is_foreseen() {
        let at = |step: f32| Bounds::new(10.0 + 3.0 * step, 50.0 - 2.0 * step, 20.0, 40.0);
        let mut path = Path::new(&at(0.0));
        for step in [1.0, 2.0, 3.0, 4.0] {
            path.follow(&at(step), 0.1);
        }
        for (ahead, step) in [(0.1, 5.0), (0.3, 7.0)] {
            assert!(path.expected(ahead).iou(&at(step)) > 0.99, "{:?}", path.expected(ahead));
        }
        // Not for ever.
        assert_eq!(path.expected(5.0), path.expected(1.0));
    }
}
