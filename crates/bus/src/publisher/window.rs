//! How many bytes may be on their way to Kafka.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a record costs in a window besides its value, so that a million empty records are not free.
pub(crate) const RECORD_COST_BYTES: usize = 1024;

/// What a record of this value takes from the windows.
pub(crate) fn cost(value_bytes: usize) -> usize {
    value_bytes + RECORD_COST_BYTES
}

/// Bytes on their way, of all streams of a publisher.
#[derive(Debug)]
pub(crate) struct TotalWindow {
    max_bytes: usize,
    used_bytes: AtomicUsize,
}

impl TotalWindow {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, used_bytes: AtomicUsize::new(0) }
    }

    /// Takes `bytes` when they fit; one record always fits an empty window, however large it is.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        self.used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used == 0 || used + bytes <= self.max_bytes).then_some(used + bytes)
            })
            .is_ok()
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_bytes_or_one_record() {
        let window = TotalWindow::new(100);
        assert!(window.try_take(60));
        assert!(!window.try_take(41));
        assert!(window.try_take(40));
        window.release(100);
        assert!(window.try_take(1_000), "a large record goes alone");
        assert!(!window.try_take(1));
        window.release(1_000);
        assert_eq!(window.used_bytes(), 0);
    }
}
