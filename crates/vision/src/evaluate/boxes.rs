//! Which found boxes are which labelled ones.

use super::LabelledBox;
use crate::Bounds;

/// A found box is neither right nor wrong when this part of it lies in what is to be ignored.
const IGNORED_PART: f32 = 0.5;

/// What became of the boxes of one picture. Numbers are places in the given slices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// Labelled and found.
    pub right: Vec<(usize, usize)>,
    /// Labelled, to be found, and not found.
    pub missed: Vec<usize>,
    /// Found where nothing is.
    pub wrong: Vec<usize>,
}

/// Pairs labelled and found boxes that overlap by at least this intersection over union, the best first, each once.
#[must_use]
pub fn match_boxes(labelled: &[LabelledBox], found: &[Bounds], iou: f32) -> Matches {
    let mut pairs = Vec::new();
    for (row, label) in labelled.iter().enumerate().filter(|(_, label)| !label.ignore) {
        let bounds = label.bounds();
        let overlaps = found.iter().enumerate().map(|(column, found)| (found.iou(&bounds), row, column));
        pairs.extend(overlaps.filter(|(overlap, ..)| *overlap >= iou));
    }
    pairs.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut matches = Matches::default();
    let (mut is_found, mut is_right) = (vec![false; labelled.len()], vec![false; found.len()]);
    for (_, row, column) in pairs {
        if !is_found[row] && !is_right[column] {
            (is_found[row], is_right[column]) = (true, true);
            matches.right.push((row, column));
        }
    }
    let ignored: Vec<Bounds> = labelled.iter().filter(|label| label.ignore).map(LabelledBox::bounds).collect();
    let is_ignored = |bounds: &Bounds| ignored.iter().any(|area| bounds.overlap(area) >= IGNORED_PART * bounds.area());
    matches.missed = (0..labelled.len()).filter(|row| !labelled[*row].ignore && !is_found[*row]).collect();
    matches.wrong = (0..found.len()).filter(|column| !is_right[*column] && !is_ignored(&found[*column])).collect();
    matches
}

/// What was found of the labelled things of many pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxScore {
    iou: f32,
    /// Pictures.
    pub pictures: u32,
    /// Things that move and were found.
    pub moving_found: u32,
    /// Things that move and were not.
    pub moving_missed: u32,
    /// Things that stand still and were found.
    pub still_found: u32,
    /// Things that stand still and were not.
    pub still_missed: u32,
    /// Found where nothing is.
    pub wrong: u32,
}

impl BoxScore {
    /// Boxes match when they overlap by at least this intersection over union.
    #[must_use]
    pub fn new(iou: f32) -> Self {
        Self { iou, pictures: 0, moving_found: 0, moving_missed: 0, still_found: 0, still_missed: 0, wrong: 0 }
    }

    /// Counts one picture.
    pub fn add(&mut self, labelled: &[LabelledBox], found: &[Bounds]) -> Matches {
        let matches = match_boxes(labelled, found, self.iou);
        self.pictures += 1;
        for (row, _) in &matches.right {
            *(if labelled[*row].still { &mut self.still_found } else { &mut self.moving_found }) += 1;
        }
        for row in &matches.missed {
            *(if labelled[*row].still { &mut self.still_missed } else { &mut self.moving_missed }) += 1;
        }
        self.wrong += u32::try_from(matches.wrong.len()).unwrap_or(u32::MAX);
        matches
    }

    /// Which part of what was found is there; 1 of nothing.
    #[must_use]
    pub fn precision(&self) -> f64 {
        let right = self.moving_found + self.still_found;
        part(right, right + self.wrong)
    }

    /// Which part of what is there was found; 1 of nothing.
    #[must_use]
    pub fn recall(&self) -> f64 {
        let right = self.moving_found + self.still_found;
        part(right, right + self.moving_missed + self.still_missed)
    }

    /// Which part of what moves was found; 1 of nothing.
    #[must_use]
    pub fn moving_recall(&self) -> f64 {
        part(self.moving_found, self.moving_found + self.moving_missed)
    }

    /// The harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let (precision, recall) = (self.precision(), self.recall());
        if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
    }
}

fn part(some: u32, all: u32) -> f64 {
    if all == 0 { 1.0 } else { f64::from(some) / f64::from(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(x: f32) -> LabelledBox {
        let class = "person".to_owned();
        LabelledBox { x, y: 0.0, width: 10.0, height: 10.0, class, still: false, ignore: false }
    }

    fn found(x: f32) -> Bounds {
        Bounds::new(x, 0.0, 10.0, 10.0)
    }

    #[test]
    fn each_is_matched_once_and_the_best_pair_first() {
        // By hand: 4 of 16 columns between 0 and 6 is 0.25; 8 of 12 between 6 and 8 is 0.67; 2 of 18 between 0 and 8.
        let matches = match_boxes(&[label(0.0), label(8.0)], &[found(6.0)], 0.25);
        assert_eq!(matches, Matches { right: vec![(1, 0)], missed: vec![0], wrong: vec![] });
        // Two boxes on one person: one of them is wrong.
        let matches = match_boxes(&[label(0.0)], &[found(2.0), found(1.0)], 0.3);
        assert_eq!(matches, Matches { right: vec![(0, 1)], missed: vec![], wrong: vec![0] });
    }

    #[test]
    fn too_little_overlap_is_missed_and_wrong() {
        // 5 of 15 columns: 0.33.
        assert_eq!(match_boxes(&[label(0.0)], &[found(5.0)], 0.33).right, [(0, 0)]);
        let matches = match_boxes(&[label(0.0)], &[found(5.0)], 0.34);
        assert_eq!(matches, Matches { right: vec![], missed: vec![0], wrong: vec![0] });
    }

    #[test]
    fn what_is_ignored_counts_for_nothing() {
        let ignored = LabelledBox { ignore: true, ..label(0.0) };
        // Half of the first lies inside, less of the second; nobody misses the third.
        let matches = match_boxes(&[ignored], &[found(5.0), found(6.0)], 0.3);
        assert_eq!(matches, Matches { right: vec![], missed: vec![], wrong: vec![1] });
    }

    #[test]
    fn figures() {
        let mut score = BoxScore::new(0.3);
        assert!((score.precision() - 1.0).abs() < 1e-9 && (score.recall() - 1.0).abs() < 1e-9);
        let still = LabelledBox { still: true, ..label(100.0) };
        score.add(&[label(0.0), label(50.0), still.clone()], &[found(0.0), found(200.0)]);
        score.add(&[label(0.0), still], &[found(1.0), found(101.0)]);
        // Found: two of three that move, one of two that stand; one box of four is wrong.
        assert_eq!((score.moving_found, score.moving_missed, score.still_found, score.still_missed), (2, 1, 1, 1));
        assert!((score.precision() - 0.75).abs() < 1e-9 && (score.recall() - 0.6).abs() < 1e-9);
        assert!((score.moving_recall() - 2.0 / 3.0).abs() < 1e-9 && (score.f1() - 2.0 / 3.0).abs() < 1e-9);
    }
}
