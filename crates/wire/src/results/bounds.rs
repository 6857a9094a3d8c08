//! Where in a picture something is.

/// A rectangle in pixels of a picture: top left corner and size.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Columns.
    pub width: f32,
    /// Rows.
    pub height: f32,
}

impl Bounds {
    /// A rectangle from its top left corner and its size.
    #[must_use]
    pub fn new(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self { x, y, width, height }
    }

    /// Right edge.
    #[must_use]
    pub fn right(&self) -> f32 {
        self.x + self.width
    }

    /// Lower edge.
    #[must_use]
    pub fn bottom(&self) -> f32 {
        self.y + self.height
    }

    /// Its middle, x and y.
    #[must_use]
    pub fn centre(&self) -> (f32, f32) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// Square pixels.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Square pixels that both cover.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> f32 {
        let width = self.right().min(other.right()) - self.x.max(other.x);
        let height = self.bottom().min(other.bottom()) - self.y.max(other.y);
        width.max(0.0) * height.max(0.0)
    }

    /// Intersection over union: 1 for equal rectangles, 0 for those that don't touch (and for empty ones).
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let overlap = self.overlap(other);
        let union = self.area() + other.area() - overlap;
        if union > 0.0 { overlap / union } else { 0.0 }
    }

    /// The part of it inside a picture of this size; `None` when nothing is.
    #[must_use]
    pub fn clipped(&self, width: f32, height: f32) -> Option<Self> {
        let (x, y) = (self.x.clamp(0.0, width), self.y.clamp(0.0, height));
        let (right, bottom) = (self.right().clamp(0.0, width), self.bottom().clamp(0.0, height));
        (right > x && bottom > y).then(|| Self::new(x, y, right - x, bottom - y))
    }

    /// As parts of a picture of this size: 0 is its left or upper edge, 1 the right or lower one.
    #[must_use]
    pub fn normalised(&self, width: f32, height: f32) -> Self {
        Self::new(self.x / width, self.y / height, self.width / width, self.height / height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_counted_once() {
        let whole = Bounds::new(0.0, 0.0, 10.0, 10.0);
        let half = Bounds::new(5.0, 0.0, 10.0, 10.0);
        assert!((whole.iou(&whole) - 1.0).abs() < 1e-6);
        assert!((whole.iou(&half) - 1.0 / 3.0).abs() < 1e-6);
        assert!(whole.iou(&Bounds::new(20.0, 0.0, 5.0, 5.0)).abs() < 1e-6);
        assert!(Bounds::default().iou(&Bounds::default()).abs() < 1e-6);
    }

    #[test]
    fn what_lies_outside_is_cut() {
        let out = Bounds::new(-5.0, 90.0, 20.0, 20.0);
        assert_eq!(out.clipped(100.0, 100.0), Some(Bounds::new(0.0, 90.0, 15.0, 10.0)));
        assert_eq!(Bounds::new(-5.0, 0.0, 5.0, 5.0).clipped(100.0, 100.0), None);
        assert_eq!(Bounds::new(50.0, 25.0, 10.0, 10.0).normalised(100.0, 50.0), Bounds::new(0.5, 0.5, 0.1, 0.2));
    }
}
