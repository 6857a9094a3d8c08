//! One box for one thing: of boxes that overlap, the best.

use lumenbus_wire::Bounds;
use std::collections::HashMap;

/// Boxes that are looked at; a model that reports more is not trained.
const MAX_CANDIDATES: usize = 4096;

/// What may be there, in pixels of the model's picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) class: usize,
    pub(super) score: f32,
    /// Left, top, right, bottom.
    pub(super) corners: [f32; 4],
}

impl Candidate {
    fn bounds(&self) -> Bounds {
        let [left, top, right, bottom] = self.corners;
        Bounds::new(left, top, right - left, bottom - top)
    }
}

/// The best first, at most [`MAX_CANDIDATES`]; equal scores keep their order.
pub(super) fn best(candidates: &mut Vec<Candidate>) {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
}

/// Keeps, class by class, what overlaps with nothing better by more than `iou`, up to `most`. The best come first.
pub(super) fn overlapping(candidates: &mut Vec<Candidate>, iou: f32, most: usize) {
    let (mut kept, mut count) = (HashMap::<usize, Vec<Bounds>>::new(), 0);
    candidates.retain(|candidate| {
        let bounds = candidate.bounds();
        let others = kept.entry(candidate.class).or_default();
        let is_kept = count < most && others.iter().all(|other| other.iou(&bounds) <= iou);
        if is_kept {
            others.push(bounds);
            count += 1;
        }
        is_kept
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(class: usize, score: f32, left: f32) -> Candidate {
        Candidate { class, score, corners: [left, 0.0, left + 10.0, 10.0] }
    }

    #[test]
    fn the_best_of_each_class_stays() {
        let mut all = vec![
            candidate(0, 0.5, 1.0),
            candidate(0, 0.9, 0.0),
            candidate(1, 0.6, 1.0),
            candidate(0, 0.4, 6.0),
            candidate(0, 0.3, 50.0),
        ];
        best(&mut all);
        overlapping(&mut all, 0.45, 10);
        assert_eq!(all.iter().map(|one| one.score).collect::<Vec<_>>(), [0.9, 0.6, 0.4, 0.3]);
        overlapping(&mut all, 0.45, 2);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_flood_is_cut_at_its_worst() {
        let mut all: Vec<_> = (0..10_000).map(|index| candidate(0, index as f32 / 10_000.0, 0.0)).collect();
        best(&mut all);
        assert_eq!(all.len(), MAX_CANDIDATES);
        assert!(all.last().is_some_and(|worst| worst.score > 0.59));
    }
}
