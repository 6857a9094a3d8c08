//! Connected parts of a mask as rectangles.

/// A connected part; bounds in pixels of the mask, the last ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
    /// Pixels that are set.
    pub(super) pixels: usize,
    /// Sum of their weights.
    pub(super) weight: u64,
}

impl Blob {
    const NONE: Self = Self { left: usize::MAX, top: usize::MAX, right: 0, bottom: 0, pixels: 0, weight: 0 };

    pub(super) fn width(&self) -> usize {
        self.right + 1 - self.left
    }

    pub(super) fn height(&self) -> usize {
        self.bottom + 1 - self.top
    }

    pub(super) fn area(&self) -> usize {
        self.width() * self.height()
    }

    /// The part of its rectangle that is set.
    #[expect(clippy::cast_precision_loss, reason = "areas of a reduced picture")]
    pub(super) fn fill(&self) -> f32 {
        self.pixels as f32 / self.area() as f32
    }

    fn overlap(&self, other: &Self) -> usize {
        let side = |first: usize, last: usize| (last + 1).saturating_sub(first);
        side(self.left.max(other.left), self.right.min(other.right))
            * side(self.top.max(other.top), self.bottom.min(other.bottom))
    }

    fn add(&mut self, other: &Self) {
        self.left = self.left.min(other.left);
        self.top = self.top.min(other.top);
        self.right = self.right.max(other.right);
        self.bottom = self.bottom.max(other.bottom);
        self.pixels += other.pixels;
        self.weight += other.weight;
    }
}

/// A piece of a row in which the grown mask is set.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: usize,
    last: usize,
    label: usize,
}

/// Finds parts that touch, also by a corner. Its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Labeller {
    above: Vec<Run>,
    row: Vec<Run>,
    /// Per label one that it is the same as; itself when it is the first.
    same: Vec<usize>,
    blobs: Vec<Blob>,
}

impl Labeller {
    /// The parts of `grown`, with bounds, count and weight of what `mask` has of them; those without any are left
    /// out. In the order of their topmost pixels.
    pub(super) fn find(&mut self, mask: &[u8], grown: &[u8], weights: &[u8], width: usize) -> Vec<Blob> {
        self.same.clear();
        self.blobs.clear();
        self.above.clear();
        for (y, grown_row) in grown.chunks_exact(width).enumerate() {
            self.row.clear();
            self.runs(grown_row);
            let row = y * width..(y + 1) * width;
            for run in &self.row {
                let blob = &mut self.blobs[run.label];
                let set = (run.first..=run.last).filter(|x| mask[row.start + x] != 0);
                for x in set {
                    let weight = u64::from(weights[row.start + x]);
                    blob.add(&Blob { left: x, top: y, right: x, bottom: y, pixels: 1, weight });
                }
            }
            std::mem::swap(&mut self.above, &mut self.row);
        }
        self.joined()
    }

    /// The runs of a row, labelled like those above that they touch.
    fn runs(&mut self, grown_row: &[u8]) {
        let (mut x, mut candidate) = (0, 0);
        while let Some(skipped) = grown_row[x..].iter().position(|set| *set != 0) {
            let first = x + skipped;
            let length = grown_row[first..].iter().position(|set| *set == 0).unwrap_or(grown_row.len() - first);
            let last = first + length - 1;
            x = last + 1;
            while candidate < self.above.len() && self.above[candidate].last + 1 < first {
                candidate += 1;
            }
            let mut label = None;
            let touching = self.above[candidate..].iter().take_while(|run| run.first <= last + 1);
            for run in touching {
                let root = root(&mut self.same, run.label);
                match label {
                    None => label = Some(root),
                    Some(known) => self.same[known.max(root)] = known.min(root),
                }
                label = label.map(|label| label.min(root));
            }
            let label = label.unwrap_or_else(|| {
                self.same.push(self.same.len());
                self.blobs.push(Blob::NONE);
                self.same.len() - 1
            });
            self.row.push(Run { first, last, label });
        }
    }

    fn joined(&mut self) -> Vec<Blob> {
        for label in (0..self.same.len()).rev() {
            let root = root(&mut self.same, label);
            if root != label {
                let part = self.blobs[label];
                self.blobs[root].add(&part);
                self.blobs[label] = Blob::NONE;
            }
        }
        self.blobs.iter().filter(|blob| blob.pixels > 0).copied().collect()
    }
}

fn root(same: &mut [usize], mut label: usize) -> usize {
    while same[label] != label {
        // Each step halves the way of those who come after.
        same[label] = same[same[label]];
        label = same[label];
    }
    label
}

/// Makes one of two when most of the smaller lies inside the larger; `part` of its area.
pub(super) fn merge_nested(blobs: &mut Vec<Blob>, part: f32) {
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.area()));
    let mut at = 1;
    while at < blobs.len() {
        let blob = blobs[at];
        #[expect(clippy::cast_precision_loss, reason = "areas of a reduced picture")]
        let holds = |larger: &&mut Blob| larger.overlap(&blob) as f32 >= part * blob.area() as f32;
        match blobs[..at].iter_mut().find(holds) {
            Some(larger) => {
                larger.add(&blob);
                blobs.remove(at);
            }
            None => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(rows: &[&str]) -> Vec<Blob> {
        let mask: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|byte| u8::from(byte == b'#'))).collect();
        Labeller::default().find(&mask, &mask, &vec![2; mask.len()], rows[0].len())
    }

    fn blob(left: usize, top: usize, right: usize, bottom: usize, pixels: usize) -> Blob {
        Blob { left, top, right, bottom, pixels, weight: 2 * pixels as u64 }
    }

    #[test]
    fn parts_that_meet_later_are_one() {
        assert_eq!(find(&["#.#.#", "#.#.#", "###.#", "....#"]), [blob(0, 0, 2, 2, 7), blob(4, 0, 4, 3, 4)]);
        assert_eq!(find(&["#..#", ".##."]), [blob(0, 0, 3, 1, 4)]);
        assert_eq!(find(&["#.#.#", ".#.#."]), [blob(0, 0, 4, 1, 5)]);
        assert_eq!(find(&["....", "...."]), []);
    }

    #[test]
    fn what_lies_inside_is_taken_in() {
        let mut blobs = vec![blob(2, 2, 4, 4, 9), blob(0, 0, 9, 9, 50), blob(20, 20, 22, 22, 9)];
        merge_nested(&mut blobs, 0.5);
        assert_eq!(blobs, [blob(0, 0, 9, 9, 59), blob(20, 20, 22, 22, 9)]);
    }

    /// The same by flooding.
    fn flooded(mask: &[u8], width: usize) -> Vec<Blob> {
        let (mut left, height) = (mask.to_vec(), mask.len() / width);
        let mut found = Vec::new();
        for start in 0..left.len() {
            let (mut blob, mut open) = (Blob::NONE, vec![start]);
            while let Some(at) = open.pop() {
                if std::mem::take(&mut left[at]) == 0 {
                    continue;
                }
                let (x, y) = (at % width, at / width);
                blob.add(&Blob { left: x, top: y, right: x, bottom: y, pixels: 1, weight: 2 });
                let rows = y.saturating_sub(1)..=(y + 1).min(height - 1);
                open.extend(
                    rows.flat_map(|y| (x.saturating_sub(1)..=(x + 1).min(width - 1)).map(move |x| y * width + x)),
                );
            }
            found.extend((blob.pixels > 0).then_some(blob));
        }
        found
    }

    proptest! {
        #[test]
        fn parts_are_those_that_flooding_finds(mask in prop::collection::vec(0..2_u8, 15 * 12)) {
            let key = |blob: &Blob| (blob.left, blob.top, blob.right, blob.bottom, blob.pixels);
            let mut found = Labeller::default().find(&mask, &mask, &vec![2; mask.len()], 15);
            let mut wanted = flooded(&mask, 15);
            found.sort_by_key(key);
            wanted.sort_by_key(key);
            prop_assert_eq!(found, wanted);
        }
    }
}
